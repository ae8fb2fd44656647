// The gradients of layer_norm with activations of 16 bits: arithmetic and sums over rows in f32.
%x = plan.buffer {value = "x"} : memref<ROWSxCOLUMNSxFUNCTION>
%mean = plan.buffer {value = "mean"} : memref<ROWSxf32>
%scale = plan.buffer {value = "scale"} : memref<ROWSxf32>
%gamma = plan.buffer {value = "gamma"} : memref<COLUMNSxf32>
%dy = plan.buffer {value = "dy"} : memref<ROWSxCOLUMNSxFUNCTION>
%dx = plan.buffer {value = "dx"} : memref<ROWSxCOLUMNSxFUNCTION>
%dgamma = plan.buffer {value = "dgamma"} : memref<COLUMNSxf32>
%copy = plan.buffer {value = "copy"} : memref<ROWSxCOLUMNSxf32>
plan.rows "layer_norm_grad_FUNCTION" rows(ROWS)
    ins(%x, %mean, %scale, %gamma, %dy : memref<ROWSxCOLUMNSxFUNCTION>, memref<ROWSxf32>, memref<ROWSxf32>, memref<COLUMNSxf32>, memref<ROWSxCOLUMNSxFUNCTION>)
    outs(%dx, %dgamma, %copy : memref<ROWSxCOLUMNSxFUNCTION>, memref<COLUMNSxf32>, memref<ROWSxCOLUMNSxf32>)
    access [#plan.access<row>, #plan.access<row_scalar>, #plan.access<row_scalar>, #plan.access<broadcast>, #plan.access<row>]
    results [#plan.access<row>, #plan.access<sum_rows>, #plan.access<row>] {
^bb0(%a16: tensor<COLUMNSxFUNCTION>, %m: f32, %s: f32, %g: tensor<COLUMNSxf32>, %d16: tensor<COLUMNSxFUNCTION>):
  %inverse = arith.constant INVERSE_COLUMNS : f32
  %a = arith.extf %a16 : tensor<COLUMNSxFUNCTION> to tensor<COLUMNSxf32>
  %d = arith.extf %d16 : tensor<COLUMNSxFUNCTION> to tensor<COLUMNSxf32>
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
  %13 = arith.truncf %11 : tensor<COLUMNSxf32> to tensor<COLUMNSxFUNCTION>
  plan.row_yield %13, %12, %11 : tensor<COLUMNSxFUNCTION>, tensor<COLUMNSxf32>, tensor<COLUMNSxf32>
}
