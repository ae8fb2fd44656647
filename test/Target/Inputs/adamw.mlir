// One AdamW step on many parameters, in place.
%p = plan.buffer {value = "p"} : memref<ROWSxCOLUMNSxf32>
%g = plan.buffer {value = "g"} : memref<ROWSxCOLUMNSxf32>
%m = plan.buffer {value = "m"} : memref<ROWSxCOLUMNSxf32>
%v = plan.buffer {value = "v"} : memref<ROWSxCOLUMNSxf32>
%rate = plan.buffer {value = "rate"} : memref<f32>
%correction1 = plan.buffer {value = "correction1"} : memref<f32>
%correction2 = plan.buffer {value = "correction2"} : memref<f32>
plan.rows "adamw" rows(ROWS)
    ins(%p, %g, %m, %v, %rate, %correction1, %correction2 : memref<ROWSxCOLUMNSxf32>, memref<ROWSxCOLUMNSxf32>, memref<ROWSxCOLUMNSxf32>, memref<ROWSxCOLUMNSxf32>, memref<f32>, memref<f32>, memref<f32>)
    outs(%p, %m, %v : memref<ROWSxCOLUMNSxf32>, memref<ROWSxCOLUMNSxf32>, memref<ROWSxCOLUMNSxf32>)
    access [#plan.access<row>, #plan.access<row>, #plan.access<row>, #plan.access<row>, #plan.access<scalar>, #plan.access<scalar>, #plan.access<scalar>]
    results [#plan.access<row>, #plan.access<row>, #plan.access<row>] {
^bb0(%w: tensor<COLUMNSxf32>, %d: tensor<COLUMNSxf32>, %a: tensor<COLUMNSxf32>, %b: tensor<COLUMNSxf32>, %lr: f32, %c1: f32, %c2: f32):
  %beta1 = arith.constant dense<0.9> : tensor<COLUMNSxf32>
  %beta2 = arith.constant dense<0.999> : tensor<COLUMNSxf32>
  %rest1 = arith.constant dense<0.1> : tensor<COLUMNSxf32>
  %rest2 = arith.constant dense<0.001> : tensor<COLUMNSxf32>
  %eps = arith.constant dense<1.0e-8> : tensor<COLUMNSxf32>
  %decay = arith.constant dense<0.01> : tensor<COLUMNSxf32>
  %0 = arith.mulf %a, %beta1 : tensor<COLUMNSxf32>
  %1 = arith.mulf %d, %rest1 : tensor<COLUMNSxf32>
  %2 = arith.addf %0, %1 : tensor<COLUMNSxf32>
  %3 = arith.mulf %b, %beta2 : tensor<COLUMNSxf32>
  %4 = arith.mulf %d, %d : tensor<COLUMNSxf32>
  %5 = arith.mulf %4, %rest2 : tensor<COLUMNSxf32>
  %6 = arith.addf %3, %5 : tensor<COLUMNSxf32>
  %c1s = tensor.splat %c1 : tensor<COLUMNSxf32>
  %c2s = tensor.splat %c2 : tensor<COLUMNSxf32>
  %lrs = tensor.splat %lr : tensor<COLUMNSxf32>
  %7 = arith.mulf %6, %c2s : tensor<COLUMNSxf32>
  %8 = math.sqrt %7 : tensor<COLUMNSxf32>
  %9 = arith.addf %8, %eps : tensor<COLUMNSxf32>
  %10 = arith.mulf %2, %c1s : tensor<COLUMNSxf32>
  %11 = arith.divf %10, %9 : tensor<COLUMNSxf32>
  %12 = arith.mulf %w, %decay : tensor<COLUMNSxf32>
  %13 = arith.addf %11, %12 : tensor<COLUMNSxf32>
  %14 = arith.mulf %13, %lrs : tensor<COLUMNSxf32>
  %15 = arith.subf %w, %14 : tensor<COLUMNSxf32>
  plan.row_yield %15, %2, %6 : tensor<COLUMNSxf32>, tensor<COLUMNSxf32>, tensor<COLUMNSxf32>
}
