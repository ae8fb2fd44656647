// Rows of a table of 16 bits are gathered, written to others, and copied; one is widened.
%table = plan.buffer {value = "table"} : memref<TABLExCOLUMNSxFUNCTION>
%x = plan.buffer {value = "x"} : memref<ROWSxCOLUMNSxf32>
%index = plan.buffer {value = "index"} : memref<ROWSxi32>
%place = plan.buffer {value = "place"} : memref<ROWSxi32>
%copy = plan.buffer {value = "copy"} : memref<ROWSxCOLUMNSxFUNCTION>
%moved = plan.buffer {value = "moved"} : memref<ROWSxCOLUMNSxFUNCTION>
%wide = plan.buffer {value = "wide"} : memref<ROWSxCOLUMNSxf32>
%first = plan.buffer {value = "first"} : memref<ROWSxFUNCTION>
plan.rows "gather_FUNCTION" rows(ROWS)
    ins(%table, %x, %index, %place : memref<TABLExCOLUMNSxFUNCTION>, memref<ROWSxCOLUMNSxf32>, memref<ROWSxi32>, memref<ROWSxi32>)
    outs(%copy, %moved, %wide, %first : memref<ROWSxCOLUMNSxFUNCTION>, memref<ROWSxCOLUMNSxFUNCTION>, memref<ROWSxCOLUMNSxf32>, memref<ROWSxFUNCTION>)
    access [#plan.access<gather 2>, #plan.access<row>, #plan.access<row_scalar>, #plan.access<row_scalar>]
    results [#plan.access<row>, #plan.access<scatter 3>, #plan.access<row>, #plan.access<row_scalar>] {
^bb0(%a16: tensor<COLUMNSxFUNCTION>, %b: tensor<COLUMNSxf32>, %i: i32, %j: i32):
  %a = arith.extf %a16 : tensor<COLUMNSxFUNCTION> to tensor<COLUMNSxf32>
  %0 = arith.mulf %a, %b : tensor<COLUMNSxf32>
  %1 = arith.truncf %0 : tensor<COLUMNSxf32> to tensor<COLUMNSxFUNCTION>
  %2 = arith.addf %a, %b : tensor<COLUMNSxf32>
  %3 = plan.row_reduce max %2 : tensor<COLUMNSxf32> -> f32
  %4 = arith.truncf %3 : f32 to FUNCTION
  plan.row_yield %a16, %1, %2, %4 : tensor<COLUMNSxFUNCTION>, tensor<COLUMNSxFUNCTION>, tensor<COLUMNSxf32>, FUNCTION
}
