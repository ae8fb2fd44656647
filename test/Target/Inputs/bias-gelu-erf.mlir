// GeLU of x + bias, erf form.
%x = plan.buffer {value = "x"} : memref<ROWSxCOLUMNSxf32>
%bias = plan.buffer {value = "bias"} : memref<COLUMNSxf32>
%y = plan.buffer {value = "y"} : memref<ROWSxCOLUMNSxf32>
plan.rows "bias_gelu_erf" rows(ROWS) ins(%x, %bias : memref<ROWSxCOLUMNSxf32>, memref<COLUMNSxf32>)
    outs(%y : memref<ROWSxCOLUMNSxf32>)
    access [#plan.access<row>, #plan.access<broadcast>] results [#plan.access<row>] {
^bb0(%a: tensor<COLUMNSxf32>, %b: tensor<COLUMNSxf32>):
  %half = arith.constant dense<0.5> : tensor<COLUMNSxf32>
  %root = arith.constant dense<0.707106769> : tensor<COLUMNSxf32>
  %u = arith.addf %a, %b : tensor<COLUMNSxf32>
  %0 = arith.mulf %u, %root : tensor<COLUMNSxf32>
  %1 = math.erf %0 : tensor<COLUMNSxf32>
  %2 = arith.mulf %1, %half : tensor<COLUMNSxf32>
  %3 = arith.addf %2, %half : tensor<COLUMNSxf32>
  %4 = arith.mulf %u, %3 : tensor<COLUMNSxf32>
  plan.row_yield %4 : tensor<COLUMNSxf32>
}
