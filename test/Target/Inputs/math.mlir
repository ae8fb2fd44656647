// One function of each element; FUNCTION is replaced.
%x = plan.buffer {value = "x"} : memref<ROWSxCOLUMNSxf32>
%y = plan.buffer {value = "y"} : memref<ROWSxCOLUMNSxf32>
plan.rows "math" rows(ROWS) ins(%x : memref<ROWSxCOLUMNSxf32>) outs(%y : memref<ROWSxCOLUMNSxf32>)
    access [#plan.access<row>] results [#plan.access<row>] {
^bb0(%a: tensor<COLUMNSxf32>):
  %0 = FUNCTION %a : tensor<COLUMNSxf32>
  plan.row_yield %0 : tensor<COLUMNSxf32>
}
