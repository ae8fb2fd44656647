// Adds rows to a table, copies them to another, and adds their squares to a third.
%x = plan.buffer {value = "x"} : memref<ROWSxCOLUMNSxf32>
%index = plan.buffer {value = "index"} : memref<ROWSxi32>
%place = plan.buffer {value = "place"} : memref<ROWSxi32>
%sums = plan.buffer {value = "sums"} : memref<TABLExCOLUMNSxf32>
%copies = plan.buffer {value = "copies"} : memref<ROWSxCOLUMNSxf32>
%squares = plan.buffer {value = "squares"} : memref<TABLExCOLUMNSxf32>
plan.rows "scatter" rows(ROWS) ins(%x, %index, %place : memref<ROWSxCOLUMNSxf32>, memref<ROWSxi32>, memref<ROWSxi32>)
    outs(%sums, %copies, %squares : memref<TABLExCOLUMNSxf32>, memref<ROWSxCOLUMNSxf32>, memref<TABLExCOLUMNSxf32>)
    access [#plan.access<row>, #plan.access<row_scalar>, #plan.access<row_scalar>]
    results [#plan.access<scatter_add 1>, #plan.access<scatter 2>, #plan.access<scatter_add 1>] {
^bb0(%a: tensor<COLUMNSxf32>, %i: i32, %j: i32):
  %0 = arith.mulf %a, %a : tensor<COLUMNSxf32>
  plan.row_yield %a, %a, %0 : tensor<COLUMNSxf32>, tensor<COLUMNSxf32>, tensor<COLUMNSxf32>
}
