// The sum of three gathered table rows.
%words = plan.buffer {value = "words"} : memref<TABLExCOLUMNSxf32>
%positions = plan.buffer {value = "positions"} : memref<TABLExCOLUMNSxf32>
%types = plan.buffer {value = "types"} : memref<TABLExCOLUMNSxf32>
%word = plan.buffer {value = "word"} : memref<ROWSxi32>
%position = plan.buffer {value = "position"} : memref<ROWSxi32>
%type = plan.buffer {value = "type"} : memref<ROWSxi32>
%y = plan.buffer {value = "y"} : memref<ROWSxCOLUMNSxf32>
plan.rows "embedding" rows(ROWS)
    ins(%words, %positions, %types, %word, %position, %type : memref<TABLExCOLUMNSxf32>, memref<TABLExCOLUMNSxf32>, memref<TABLExCOLUMNSxf32>, memref<ROWSxi32>, memref<ROWSxi32>, memref<ROWSxi32>)
    outs(%y : memref<ROWSxCOLUMNSxf32>)
    access [#plan.access<gather 3>, #plan.access<gather 4>, #plan.access<gather 5>, #plan.access<row_scalar>, #plan.access<row_scalar>, #plan.access<row_scalar>]
    results [#plan.access<row>] {
^bb0(%a: tensor<COLUMNSxf32>, %b: tensor<COLUMNSxf32>, %c: tensor<COLUMNSxf32>, %i: i32, %j: i32, %k: i32):
  %0 = arith.addf %a, %b : tensor<COLUMNSxf32>
  %1 = arith.addf %0, %c : tensor<COLUMNSxf32>
  plan.row_yield %1 : tensor<COLUMNSxf32>
}
