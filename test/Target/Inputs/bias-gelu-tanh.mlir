// GeLU of x + bias, tanh form.
%x = plan.buffer {value = "x"} : memref<ROWSxCOLUMNSxf32>
%bias = plan.buffer {value = "bias"} : memref<COLUMNSxf32>
%y = plan.buffer {value = "y"} : memref<ROWSxCOLUMNSxf32>
plan.rows "bias_gelu_tanh" rows(ROWS) ins(%x, %bias : memref<ROWSxCOLUMNSxf32>, memref<COLUMNSxf32>)
    outs(%y : memref<ROWSxCOLUMNSxf32>)
    access [#plan.access<row>, #plan.access<broadcast>] results [#plan.access<row>] {
^bb0(%a: tensor<COLUMNSxf32>, %b: tensor<COLUMNSxf32>):
  %half = arith.constant dense<0.5> : tensor<COLUMNSxf32>
  %one = arith.constant dense<1.0> : tensor<COLUMNSxf32>
  %cubic = arith.constant dense<0.044715> : tensor<COLUMNSxf32>
  %root = arith.constant dense<0.797884583> : tensor<COLUMNSxf32>
  %u = arith.addf %a, %b : tensor<COLUMNSxf32>
  %0 = arith.mulf %u, %u : tensor<COLUMNSxf32>
  %1 = arith.mulf %0, %cubic : tensor<COLUMNSxf32>
  %2 = arith.addf %1, %one : tensor<COLUMNSxf32>
  %3 = arith.mulf %u, %root : tensor<COLUMNSxf32>
  %4 = arith.mulf %3, %2 : tensor<COLUMNSxf32>
  %t = math.tanh %4 : tensor<COLUMNSxf32>
  %5 = arith.addf %t, %one : tensor<COLUMNSxf32>
  %6 = arith.mulf %u, %half : tensor<COLUMNSxf32>
  %7 = arith.mulf %6, %5 : tensor<COLUMNSxf32>
  plan.row_yield %7 : tensor<COLUMNSxf32>
}
