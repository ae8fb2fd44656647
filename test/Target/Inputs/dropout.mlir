// What nn.dropout becomes, and the words by which it chooses.
%x = plan.buffer {value = "x"} : memref<ROWSxCOLUMNSxf32>
%seed = plan.buffer {value = "seed"} : memref<i32>
%step = plan.buffer {value = "step"} : memref<i32>
%site = plan.buffer {value = "site"} : memref<i32>
%training = plan.buffer {value = "training"} : memref<i32>
%sample = plan.buffer {value = "sample"} : memref<ROWSxi32>
%position = plan.buffer {value = "position"} : memref<ROWSxi32>
%y = plan.buffer {value = "y"} : memref<ROWSxCOLUMNSxf32>
%words = plan.buffer {value = "words"} : memref<ROWSxCOLUMNSxi32>
plan.rows "dropout" rows(ROWS)
    ins(%x, %seed, %step, %site, %training, %sample, %position : memref<ROWSxCOLUMNSxf32>, memref<i32>, memref<i32>, memref<i32>, memref<i32>, memref<ROWSxi32>, memref<ROWSxi32>)
    outs(%y, %words : memref<ROWSxCOLUMNSxf32>, memref<ROWSxCOLUMNSxi32>)
    access [#plan.access<row>, #plan.access<scalar>, #plan.access<scalar>, #plan.access<scalar>, #plan.access<scalar>, #plan.access<row_scalar>, #plan.access<row_scalar>]
    results [#plan.access<row>, #plan.access<row>] {
^bb0(%a: tensor<COLUMNSxf32>, %e: i32, %t: i32, %i: i32, %on: i32, %s: i32, %p: i32):
  %rate = arith.constant 0x4CCCCCCC : i32
  %none = arith.constant 0 : i32
  %one = arith.constant 1.0 : f32
  %kept = arith.constant 1.42857146 : f32
  %zero = arith.constant dense<0.0> : tensor<COLUMNSxf32>
  %threshold = arith.muli %on, %rate : i32
  %off = arith.cmpi eq, %on, %none : i32
  %scale = arith.select %off, %one, %kept : f32
  %w = plan.row_random seed(%e) step(%t) site(%i) sample(%s) position(%p) : tensor<COLUMNSxi32>
  %ts = tensor.splat %threshold : tensor<COLUMNSxi32>
  %drop = arith.cmpi ult, %w, %ts : tensor<COLUMNSxi32>
  %ss = tensor.splat %scale : tensor<COLUMNSxf32>
  %0 = arith.mulf %a, %ss : tensor<COLUMNSxf32>
  %1 = arith.select %drop, %zero, %0 : tensor<COLUMNSxi1>, tensor<COLUMNSxf32>
  plan.row_yield %1, %w : tensor<COLUMNSxf32>, tensor<COLUMNSxi32>
}
