// The gradient of GeLU, tanh form, and of the bias before it.
%x = plan.buffer {value = "x"} : memref<ROWSxCOLUMNSxf32>
%bias = plan.buffer {value = "bias"} : memref<COLUMNSxf32>
%dy = plan.buffer {value = "dy"} : memref<ROWSxCOLUMNSxf32>
%dx = plan.buffer {value = "dx"} : memref<ROWSxCOLUMNSxf32>
%dbias = plan.buffer {value = "dbias"} : memref<COLUMNSxf32>
plan.rows "gelu_tanh_grad" rows(ROWS) ins(%x, %bias, %dy : memref<ROWSxCOLUMNSxf32>, memref<COLUMNSxf32>, memref<ROWSxCOLUMNSxf32>)
    outs(%dx, %dbias : memref<ROWSxCOLUMNSxf32>, memref<COLUMNSxf32>)
    access [#plan.access<row>, #plan.access<broadcast>, #plan.access<row>]
    results [#plan.access<row>, #plan.access<sum_rows>] {
^bb0(%a: tensor<COLUMNSxf32>, %b: tensor<COLUMNSxf32>, %d: tensor<COLUMNSxf32>):
  %half = arith.constant dense<0.5> : tensor<COLUMNSxf32>
  %one = arith.constant dense<1.0> : tensor<COLUMNSxf32>
  %cubic = arith.constant dense<0.044715> : tensor<COLUMNSxf32>
  %cubic3 = arith.constant dense<0.134145> : tensor<COLUMNSxf32>
  %root = arith.constant dense<0.797884583> : tensor<COLUMNSxf32>
  %u = arith.addf %a, %b : tensor<COLUMNSxf32>
  %0 = arith.mulf %u, %u : tensor<COLUMNSxf32>
  %1 = arith.mulf %0, %cubic : tensor<COLUMNSxf32>
  %2 = arith.addf %1, %one : tensor<COLUMNSxf32>
  %3 = arith.mulf %u, %root : tensor<COLUMNSxf32>
  %4 = arith.mulf %3, %2 : tensor<COLUMNSxf32>
  %t = math.tanh %4 : tensor<COLUMNSxf32>
  %5 = arith.addf %t, %one : tensor<COLUMNSxf32>
  %6 = arith.mulf %5, %half : tensor<COLUMNSxf32>
  %7 = arith.mulf %t, %t : tensor<COLUMNSxf32>
  %8 = arith.subf %one, %7 : tensor<COLUMNSxf32>
  %9 = arith.mulf %0, %cubic3 : tensor<COLUMNSxf32>
  %10 = arith.addf %9, %one : tensor<COLUMNSxf32>
  %11 = arith.mulf %3, %10 : tensor<COLUMNSxf32>
  %12 = arith.mulf %11, %8 : tensor<COLUMNSxf32>
  %13 = arith.mulf %12, %half : tensor<COLUMNSxf32>
  %14 = arith.addf %6, %13 : tensor<COLUMNSxf32>
  %15 = arith.mulf %14, %d : tensor<COLUMNSxf32>
  plan.row_yield %15, %15 : tensor<COLUMNSxf32>, tensor<COLUMNSxf32>
}
