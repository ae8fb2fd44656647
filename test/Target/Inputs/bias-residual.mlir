// y = x + bias + residual.
%x = plan.buffer {value = "x"} : memref<ROWSxCOLUMNSxf32>
%bias = plan.buffer {value = "bias"} : memref<COLUMNSxf32>
%residual = plan.buffer {value = "residual"} : memref<ROWSxCOLUMNSxf32>
%y = plan.buffer {value = "y"} : memref<ROWSxCOLUMNSxf32>
plan.rows "bias_residual" rows(ROWS) ins(%x, %bias, %residual : memref<ROWSxCOLUMNSxf32>, memref<COLUMNSxf32>, memref<ROWSxCOLUMNSxf32>)
    outs(%y : memref<ROWSxCOLUMNSxf32>)
    access [#plan.access<row>, #plan.access<broadcast>, #plan.access<row>] results [#plan.access<row>] {
^bb0(%a: tensor<COLUMNSxf32>, %b: tensor<COLUMNSxf32>, %r: tensor<COLUMNSxf32>):
  %0 = arith.addf %a, %b : tensor<COLUMNSxf32>
  %1 = arith.addf %0, %r : tensor<COLUMNSxf32>
  plan.row_yield %1 : tensor<COLUMNSxf32>
}
