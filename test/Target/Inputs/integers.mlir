// A counter-based random number for each element decides which to keep: integer ops on rows, a
// product of two words, and a value that three phases need.
%x = plan.buffer {value = "x"} : memref<ROWSxCOLUMNSxf32>
%sample = plan.buffer {value = "sample"} : memref<ROWSxi32>
%seed = plan.buffer {value = "seed"} : memref<i32>
%y = plan.buffer {value = "y"} : memref<ROWSxCOLUMNSxf32>
%kept = plan.buffer {value = "kept"} : memref<ROWSxi32>
%all = plan.buffer {value = "all"} : memref<i32>
%sums = plan.buffer {value = "sums"} : memref<COLUMNSxi32>
plan.rows "keep" rows(ROWS) ins(%x, %sample, %seed : memref<ROWSxCOLUMNSxf32>, memref<ROWSxi32>, memref<i32>)
    outs(%y, %kept, %all, %sums : memref<ROWSxCOLUMNSxf32>, memref<ROWSxi32>, memref<i32>, memref<COLUMNSxi32>)
    access [#plan.access<row>, #plan.access<row_scalar>, #plan.access<scalar>]
    results [#plan.access<row>, #plan.access<row_scalar>, #plan.access<sum_rows>, #plan.access<sum_rows>] {
^bb0(%a: tensor<COLUMNSxf32>, %i: i32, %s: i32):
  %factor = arith.constant dense<0xD2511F53> : tensor<COLUMNSxi32>
  %step = arith.constant dense<0x9E3779B9> : tensor<COLUMNSxi32>
  %threshold = arith.constant dense<0x4CCCCCCC> : tensor<COLUMNSxi32>
  %none = arith.constant dense<0> : tensor<COLUMNSxi32>
  %shift = arith.constant dense<3> : tensor<COLUMNSxi32>
  %zero = arith.constant dense<0.0> : tensor<COLUMNSxf32>
  %column = plan.row_iota : tensor<COLUMNSxi32>
  %is = tensor.splat %i : tensor<COLUMNSxi32>
  %ss = tensor.splat %s : tensor<COLUMNSxi32>
  %0 = arith.muli %column, %step : tensor<COLUMNSxi32>
  %1 = arith.addi %0, %is : tensor<COLUMNSxi32>
  %low, %high = arith.mului_extended %1, %factor : tensor<COLUMNSxi32>
  %2 = arith.xori %high, %ss : tensor<COLUMNSxi32>
  %3 = arith.shrui %low, %shift : tensor<COLUMNSxi32>
  %4 = arith.addi %2, %3 : tensor<COLUMNSxi32>
  %keep = arith.cmpi ult, %4, %threshold : tensor<COLUMNSxi32>
  %5 = arith.extui %keep : tensor<COLUMNSxi1> to tensor<COLUMNSxi32>
  %count = plan.row_reduce add %5 : tensor<COLUMNSxi32> -> i32
  %largest = plan.row_reduce max %4 : tensor<COLUMNSxi32> -> i32
  %ls = tensor.splat %largest : tensor<COLUMNSxi32>
  %is_largest = arith.cmpi eq, %4, %ls : tensor<COLUMNSxi32>
  %6 = arith.extui %is_largest : tensor<COLUMNSxi1> to tensor<COLUMNSxi32>
  %7 = plan.row_reduce add %6 : tensor<COLUMNSxi32> -> i32
  %count_f = arith.sitofp %count : i32 to f32
  %one = arith.constant 1.0 : f32
  %scale = arith.addf %count_f, %one : f32
  %sc = tensor.splat %scale : tensor<COLUMNSxf32>
  %8 = arith.divf %a, %sc : tensor<COLUMNSxf32>
  %9 = arith.select %keep, %8, %zero : tensor<COLUMNSxi1>, tensor<COLUMNSxf32>
  %10 = arith.addi %count, %7 : i32
  plan.row_yield %9, %10, %count, %5 : tensor<COLUMNSxf32>, i32, i32, tensor<COLUMNSxi32>
}
