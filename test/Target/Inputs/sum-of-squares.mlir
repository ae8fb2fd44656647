// The squares of all elements, added in f64.
%x = plan.buffer {value = "x"} : memref<ROWSxCOLUMNSxf32>
%sum = plan.buffer {value = "sum"} : memref<f64>
plan.rows "sum_of_squares" rows(ROWS) ins(%x : memref<ROWSxCOLUMNSxf32>) outs(%sum : memref<f64>)
    access [#plan.access<row>] results [#plan.access<sum_rows>] {
^bb0(%a: tensor<COLUMNSxf32>):
  %0 = arith.mulf %a, %a : tensor<COLUMNSxf32>
  %1 = plan.row_reduce add %0 : tensor<COLUMNSxf32> -> f32
  %2 = arith.extf %1 : f32 to f64
  plan.row_yield %2 : f64
}
