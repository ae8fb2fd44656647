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

// -----

%x = plan.buffer {value = "x"} : memref<8x16xbf16>
plan.rows "narrow_sum" rows(8) ins(%x : memref<8x16xbf16>) outs(%x : memref<8x16xbf16>)
    access [#plan.access<row>] results [#plan.access<row>] {
^bb0(%a: tensor<16xbf16>):
  // expected-error @below {{'arith.addf' op row kernels compute in f32, f64 and integers of at most 64 bits, found 'bf16'}}
  %0 = arith.addf %a, %a : tensor<16xbf16>
  plan.row_yield %0 : tensor<16xbf16>
}

// -----

%x = plan.buffer {value = "x"} : memref<8x16xi16>
// expected-error @below {{'plan.rows' op expected buffers of f32, f64, bf16, f16 or i32, found 'memref<8x16xi16>'}}
plan.rows "words" rows(8) ins(%x : memref<8x16xi16>) outs(%x : memref<8x16xi16>)
    access [#plan.access<row>] results [#plan.access<row>] {
^bb0(%a: tensor<16xi16>):
  plan.row_yield %a : tensor<16xi16>
}
