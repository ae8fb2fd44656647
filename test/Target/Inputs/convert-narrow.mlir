// Rounds numbers to 16 bits and widens others.
%x = plan.buffer {value = "x"} : memref<ROWSxCOLUMNSxf32>
%y = plan.buffer {value = "y"} : memref<ROWSxCOLUMNSxFUNCTION>
%narrow = plan.buffer {value = "narrow"} : memref<ROWSxCOLUMNSxFUNCTION>
%wide = plan.buffer {value = "wide"} : memref<ROWSxCOLUMNSxf32>
plan.rows "convert_FUNCTION" rows(ROWS)
    ins(%x, %y : memref<ROWSxCOLUMNSxf32>, memref<ROWSxCOLUMNSxFUNCTION>)
    outs(%narrow, %wide : memref<ROWSxCOLUMNSxFUNCTION>, memref<ROWSxCOLUMNSxf32>)
    access [#plan.access<row>, #plan.access<row>] results [#plan.access<row>, #plan.access<row>] {
^bb0(%a: tensor<COLUMNSxf32>, %b: tensor<COLUMNSxFUNCTION>):
  %0 = arith.truncf %a : tensor<COLUMNSxf32> to tensor<COLUMNSxFUNCTION>
  %1 = arith.extf %b : tensor<COLUMNSxFUNCTION> to tensor<COLUMNSxf32>
  plan.row_yield %0, %1 : tensor<COLUMNSxFUNCTION>, tensor<COLUMNSxf32>
}
