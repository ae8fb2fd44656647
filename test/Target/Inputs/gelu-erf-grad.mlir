// The gradient of GeLU, erf form.
%x = plan.buffer {value = "x"} : memref<ROWSxCOLUMNSxf32>
%dy = plan.buffer {value = "dy"} : memref<ROWSxCOLUMNSxf32>
%dx = plan.buffer {value = "dx"} : memref<ROWSxCOLUMNSxf32>
plan.rows "gelu_erf_grad" rows(ROWS) ins(%x, %dy : memref<ROWSxCOLUMNSxf32>, memref<ROWSxCOLUMNSxf32>)
    outs(%dx : memref<ROWSxCOLUMNSxf32>)
    access [#plan.access<row>, #plan.access<row>] results [#plan.access<row>] {
^bb0(%u: tensor<COLUMNSxf32>, %d: tensor<COLUMNSxf32>):
  %half = arith.constant dense<0.5> : tensor<COLUMNSxf32>
  %minus_half = arith.constant dense<-0.5> : tensor<COLUMNSxf32>
  %root = arith.constant dense<0.707106769> : tensor<COLUMNSxf32>
  %density = arith.constant dense<0.398942292> : tensor<COLUMNSxf32>
  %0 = arith.mulf %u, %root : tensor<COLUMNSxf32>
  %1 = math.erf %0 : tensor<COLUMNSxf32>
  %2 = arith.mulf %1, %half : tensor<COLUMNSxf32>
  %3 = arith.addf %2, %half : tensor<COLUMNSxf32>
  %4 = arith.mulf %u, %u : tensor<COLUMNSxf32>
  %5 = arith.mulf %4, %minus_half : tensor<COLUMNSxf32>
  %6 = math.exp %5 : tensor<COLUMNSxf32>
  %7 = arith.mulf %6, %density : tensor<COLUMNSxf32>
  %8 = arith.mulf %7, %u : tensor<COLUMNSxf32>
  %9 = arith.addf %3, %8 : tensor<COLUMNSxf32>
  %10 = arith.mulf %9, %d : tensor<COLUMNSxf32>
  plan.row_yield %10 : tensor<COLUMNSxf32>
}
