// RUN: seqpar-opt %s --emit-cuda-kernels --verify-diagnostics --split-input-file -o /dev/null

%x = plan.buffer {value = "x"} : memref<8x16xi32>
plan.rows "narrow" rows(8) ins(%x : memref<8x16xi32>) outs(%x : memref<8x16xi32>)
    access [#plan.access<row>] results [#plan.access<row>] {
^bb0(%a: tensor<16xi32>):
  // expected-error @below {{'arith.trunci' op on these types is no op of CUDA row kernels}}
  %0 = arith.trunci %a : tensor<16xi32> to tensor<16xi8>
  %1 = arith.extui %0 : tensor<16xi8> to tensor<16xi32>
  plan.row_yield %1 : tensor<16xi32>
}

// -----

%x = plan.buffer {value = "x"} : memref<8x16xi32>
plan.rows "ceil" rows(8) ins(%x : memref<8x16xi32>) outs(%x : memref<8x16xi32>)
    access [#plan.access<row>] results [#plan.access<row>] {
^bb0(%a: tensor<16xi32>):
  // expected-error @below {{'arith.ceildivsi' op on these types is no op of CUDA row kernels}}
  %0 = arith.ceildivsi %a, %a : tensor<16xi32>
  plan.row_yield %0 : tensor<16xi32>
}
