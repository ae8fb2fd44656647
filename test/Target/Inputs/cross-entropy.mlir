// Softmax cross entropy and its gradient; a row with label -1 counts for nothing.
%logits = plan.buffer {value = "logits"} : memref<ROWSxCOLUMNSxf32>
%bias = plan.buffer {value = "bias"} : memref<COLUMNSxf32>
%labels = plan.buffer {value = "labels"} : memref<ROWSxi32>
%inverse_tokens = plan.buffer {value = "inverse_tokens"} : memref<f32>
%dlogits = plan.buffer {value = "dlogits"} : memref<ROWSxCOLUMNSxf32>
%loss = plan.buffer {value = "loss"} : memref<f32>
%dbias = plan.buffer {value = "dbias"} : memref<COLUMNSxf32>
plan.rows "cross_entropy" rows(ROWS)
    ins(%logits, %bias, %labels, %inverse_tokens : memref<ROWSxCOLUMNSxf32>, memref<COLUMNSxf32>, memref<ROWSxi32>, memref<f32>)
    outs(%dlogits, %loss, %dbias : memref<ROWSxCOLUMNSxf32>, memref<f32>, memref<COLUMNSxf32>)
    access [#plan.access<row>, #plan.access<broadcast>, #plan.access<row_scalar>, #plan.access<scalar>]
    results [#plan.access<row>, #plan.access<sum_rows>, #plan.access<sum_rows>] {
^bb0(%a: tensor<COLUMNSxf32>, %b: tensor<COLUMNSxf32>, %label: i32, %inverse: f32):
  %zero = arith.constant dense<0.0> : tensor<COLUMNSxf32>
  %one = arith.constant dense<1.0> : tensor<COLUMNSxf32>
  %none = arith.constant 0 : i32
  %nothing = arith.constant 0.0 : f32
  %x = arith.addf %a, %b : tensor<COLUMNSxf32>
  %max = plan.row_reduce max %x : tensor<COLUMNSxf32> -> f32
  %maxs = tensor.splat %max : tensor<COLUMNSxf32>
  %0 = arith.subf %x, %maxs : tensor<COLUMNSxf32>
  %e = math.exp %0 : tensor<COLUMNSxf32>
  %sum = plan.row_reduce add %e : tensor<COLUMNSxf32> -> f32
  %column = plan.row_iota : tensor<COLUMNSxi32>
  %labels_ = tensor.splat %label : tensor<COLUMNSxi32>
  %hit = arith.cmpi eq, %column, %labels_ : tensor<COLUMNSxi32>
  %1 = arith.select %hit, %x, %zero : tensor<COLUMNSxi1>, tensor<COLUMNSxf32>
  %target = plan.row_reduce add %1 : tensor<COLUMNSxf32> -> f32
  %2 = math.log %sum : f32
  %3 = arith.addf %2, %max : f32
  %4 = arith.subf %3, %target : f32
  %valid = arith.cmpi sge, %label, %none : i32
  %weight = arith.select %valid, %inverse, %nothing : f32
  %loss_ = arith.mulf %4, %weight : f32
  %5 = arith.divf %weight, %sum : f32
  %6 = tensor.splat %5 : tensor<COLUMNSxf32>
  %7 = arith.mulf %e, %6 : tensor<COLUMNSxf32>
  %8 = tensor.splat %weight : tensor<COLUMNSxf32>
  %9 = arith.select %hit, %8, %zero : tensor<COLUMNSxi1>, tensor<COLUMNSxf32>
  %10 = arith.subf %7, %9 : tensor<COLUMNSxf32>
  plan.row_yield %10, %loss_, %10 : tensor<COLUMNSxf32>, f32, tensor<COLUMNSxf32>
}
