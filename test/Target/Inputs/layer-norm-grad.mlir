// The gradients of layer_norm: dx, and the sums over rows for gamma and beta.
%x = plan.buffer {value = "x"} : memref<ROWSxCOLUMNSxf32>
%mean = plan.buffer {value = "mean"} : memref<ROWSxf32>
%scale = plan.buffer {value = "scale"} : memref<ROWSxf32>
%gamma = plan.buffer {value = "gamma"} : memref<COLUMNSxf32>
%dy = plan.buffer {value = "dy"} : memref<ROWSxCOLUMNSxf32>
%dx = plan.buffer {value = "dx"} : memref<ROWSxCOLUMNSxf32>
%dgamma = plan.buffer {value = "dgamma"} : memref<COLUMNSxf32>
%dbeta = plan.buffer {value = "dbeta"} : memref<COLUMNSxf32>
plan.rows "layer_norm_grad" rows(ROWS)
    ins(%x, %mean, %scale, %gamma, %dy : memref<ROWSxCOLUMNSxf32>, memref<ROWSxf32>, memref<ROWSxf32>, memref<COLUMNSxf32>, memref<ROWSxCOLUMNSxf32>)
    outs(%dx, %dgamma, %dbeta : memref<ROWSxCOLUMNSxf32>, memref<COLUMNSxf32>, memref<COLUMNSxf32>)
    access [#plan.access<row>, #plan.access<row_scalar>, #plan.access<row_scalar>, #plan.access<broadcast>, #plan.access<row>]
    results [#plan.access<row>, #plan.access<sum_rows>, #plan.access<sum_rows>] {
^bb0(%a: tensor<COLUMNSxf32>, %m: f32, %s: f32, %g: tensor<COLUMNSxf32>, %d: tensor<COLUMNSxf32>):
  %inverse = arith.constant INVERSE_COLUMNS : f32
  %ms = tensor.splat %m : tensor<COLUMNSxf32>
  %ss = tensor.splat %s : tensor<COLUMNSxf32>
  %0 = arith.subf %a, %ms : tensor<COLUMNSxf32>
  %n = arith.mulf %0, %ss : tensor<COLUMNSxf32>
  %dn = arith.mulf %d, %g : tensor<COLUMNSxf32>
  %1 = arith.mulf %dn, %n : tensor<COLUMNSxf32>
  %2 = plan.row_reduce add %dn : tensor<COLUMNSxf32> -> f32
  %3 = plan.row_reduce add %1 : tensor<COLUMNSxf32> -> f32
  %4 = arith.mulf %2, %inverse : f32
  %5 = arith.mulf %3, %inverse : f32
  %6 = tensor.splat %4 : tensor<COLUMNSxf32>
  %7 = tensor.splat %5 : tensor<COLUMNSxf32>
  %8 = arith.mulf %n, %7 : tensor<COLUMNSxf32>
  %9 = arith.addf %6, %8 : tensor<COLUMNSxf32>
  %10 = arith.subf %dn, %9 : tensor<COLUMNSxf32>
  %11 = arith.mulf %10, %ss : tensor<COLUMNSxf32>
  %12 = arith.mulf %d, %n : tensor<COLUMNSxf32>
  plan.row_yield %11, %12, %d : tensor<COLUMNSxf32>, tensor<COLUMNSxf32>, tensor<COLUMNSxf32>
}
