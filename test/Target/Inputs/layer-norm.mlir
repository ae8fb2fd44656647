// y = (x - mean) / sqrt(variance + eps) * gamma + beta, with x = u + residual + bias.
%u = plan.buffer {value = "u"} : memref<ROWSxCOLUMNSxf32>
%residual = plan.buffer {value = "residual"} : memref<ROWSxCOLUMNSxf32>
%bias = plan.buffer {value = "bias"} : memref<COLUMNSxf32>
%gamma = plan.buffer {value = "gamma"} : memref<COLUMNSxf32>
%beta = plan.buffer {value = "beta"} : memref<COLUMNSxf32>
%sum = plan.buffer {value = "sum"} : memref<ROWSxCOLUMNSxf32>
%y = plan.buffer {value = "y"} : memref<ROWSxCOLUMNSxf32>
%mean = plan.buffer {value = "mean"} : memref<ROWSxf32>
%scale = plan.buffer {value = "scale"} : memref<ROWSxf32>
plan.rows "layer_norm" rows(ROWS)
    ins(%u, %residual, %bias, %gamma, %beta : memref<ROWSxCOLUMNSxf32>, memref<ROWSxCOLUMNSxf32>, memref<COLUMNSxf32>, memref<COLUMNSxf32>, memref<COLUMNSxf32>)
    outs(%sum, %y, %mean, %scale : memref<ROWSxCOLUMNSxf32>, memref<ROWSxCOLUMNSxf32>, memref<ROWSxf32>, memref<ROWSxf32>)
    access [#plan.access<row>, #plan.access<row>, #plan.access<broadcast>, #plan.access<broadcast>, #plan.access<broadcast>]
    results [#plan.access<row>, #plan.access<row>, #plan.access<row_scalar>, #plan.access<row_scalar>] {
^bb0(%a: tensor<COLUMNSxf32>, %r: tensor<COLUMNSxf32>, %b: tensor<COLUMNSxf32>, %g: tensor<COLUMNSxf32>, %h: tensor<COLUMNSxf32>):
  %inverse = arith.constant INVERSE_COLUMNS : f32
  %eps = arith.constant 1.0e-12 : f32
  %0 = arith.addf %a, %b : tensor<COLUMNSxf32>
  %x = arith.addf %0, %r : tensor<COLUMNSxf32>
  %1 = plan.row_reduce add %x : tensor<COLUMNSxf32> -> f32
  %m = arith.mulf %1, %inverse : f32
  %ms = tensor.splat %m : tensor<COLUMNSxf32>
  %c = arith.subf %x, %ms : tensor<COLUMNSxf32>
  %2 = arith.mulf %c, %c : tensor<COLUMNSxf32>
  %3 = plan.row_reduce add %2 : tensor<COLUMNSxf32> -> f32
  %4 = arith.mulf %3, %inverse : f32
  %5 = arith.addf %4, %eps : f32
  %s = math.rsqrt %5 : f32
  %ss = tensor.splat %s : tensor<COLUMNSxf32>
  %n = arith.mulf %c, %ss : tensor<COLUMNSxf32>
  %6 = arith.mulf %n, %g : tensor<COLUMNSxf32>
  %7 = arith.addf %6, %h : tensor<COLUMNSxf32>
  plan.row_yield %x, %7, %m, %s : tensor<COLUMNSxf32>, tensor<COLUMNSxf32>, f32, f32
} loc("nn.layer_norm"("model.mlir":21:10))
