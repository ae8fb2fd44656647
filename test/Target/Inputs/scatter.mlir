// Adds rows to a table, and copies them to another.
%x = plan.buffer {value = "x"} : memref<ROWSxCOLUMNSxf32>
%index = plan.buffer {value = "index"} : memref<ROWSxi32>
%place = plan.buffer {value = "place"} : memref<ROWSxi32>
%sums = plan.buffer {value = "sums"} : memref<TABLExCOLUMNSxf32>
%copies = plan.buffer {value = "copies"} : memref<ROWSxCOLUMNSxf32>
plan.rows "scatter" rows(ROWS) ins(%x, %index, %place : memref<ROWSxCOLUMNSxf32>, memref<ROWSxi32>, memref<ROWSxi32>)
    outs(%sums, %copies : memref<TABLExCOLUMNSxf32>, memref<ROWSxCOLUMNSxf32>)
    access [#plan.access<row>, #plan.access<row_scalar>, #plan.access<row_scalar>]
    results [#plan.access<scatter_add 1>, #plan.access<scatter 2>] {
^bb0(%a: tensor<COLUMNSxf32>, %i: i32, %j: i32):
  plan.row_yield %a, %a : tensor<COLUMNSxf32>, tensor<COLUMNSxf32>
}
