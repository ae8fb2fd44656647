// RUN: seqpar-opt %s --emit-cpu-kernels --verify-diagnostics --split-input-file

%x = plan.buffer {value = "x"} : memref<8x16xf32>
%y = plan.buffer {value = "y"} : memref<8x16xf32>
plan.rows "sine" rows(8) ins(%x : memref<8x16xf32>) outs(%y : memref<8x16xf32>)
    access [#plan.access<row>] results [#plan.access<row>] {
^bb0(%a: tensor<16xf32>):
  // expected-error @below {{'math.sin' op row kernels have no such function; write the body with exp, log, tanh, erf, sqrt, rsqrt and arith ops}}
  %0 = math.sin %a : tensor<16xf32>
  plan.row_yield %0 : tensor<16xf32>
}

// -----

%x = plan.buffer {value = "x"} : memref<8x16xf64>
plan.rows "wide_exponential" rows(8) ins(%x : memref<8x16xf64>) outs(%x : memref<8x16xf64>)
    access [#plan.access<row>] results [#plan.access<row>] {
^bb0(%a: tensor<16xf64>):
  // expected-error @below {{'math.exp' op row kernels compute this function in f32, found 'f64'}}
  %0 = math.exp %a : tensor<16xf64>
  plan.row_yield %0 : tensor<16xf64>
}

// -----

%x = plan.buffer {value = "x"} : memref<8x16xf32>
plan.rows "remainder" rows(8) ins(%x : memref<8x16xf32>) outs(%x : memref<8x16xf32>)
    access [#plan.access<row>] results [#plan.access<row>] {
^bb0(%a: tensor<16xf32>):
  // expected-error @below {{'arith.remf' op is not an op that row kernels compute; use elementwise arith and math ops}}
  %0 = arith.remf %a, %a : tensor<16xf32>
  plan.row_yield %0 : tensor<16xf32>
}

// -----

%x = plan.buffer {value = "x"} : memref<8x16xf32>
plan.rows "steps" rows(8) ins(%x : memref<8x16xf32>) outs(%x : memref<8x16xf32>)
    access [#plan.access<row>] results [#plan.access<row>] {
^bb0(%a: tensor<16xf32>):
  // expected-error @below {{'arith.constant' op expected a constant with the same value in each column}}
  %c = arith.constant dense<[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 11.0, 12.0, 13.0, 14.0, 15.0]> : tensor<16xf32>
  %0 = arith.addf %a, %c : tensor<16xf32>
  plan.row_yield %0 : tensor<16xf32>
}

// -----

%x = plan.buffer {value = "x"} : memref<8x16xf64>
%y = plan.buffer {value = "y"} : memref<8x16xbf16>
plan.rows "round" rows(8) ins(%x : memref<8x16xf64>) outs(%y : memref<8x16xbf16>)
    access [#plan.access<row>] results [#plan.access<row>] {
^bb0(%a: tensor<16xf64>):
  // expected-error @below {{'arith.truncf' op on the CPU, row kernels round f32 to 16 bits, found 'f64'}}
  %0 = arith.truncf %a : tensor<16xf64> to tensor<16xbf16>
  plan.row_yield %0 : tensor<16xbf16>
}

// -----

%x = plan.zeros : tensor<8x16xf32>
// expected-error @below {{'plan.rows' op expected buffers as operands and outputs; run bufferize first}}
%0 = plan.rows "copy" rows(8) ins(%x : tensor<8x16xf32>) access [#plan.access<row>] results [#plan.access<row>] -> tensor<8x16xf32> {
^bb0(%a: tensor<16xf32>):
  plan.row_yield %a : tensor<16xf32>
}

// -----

%x = plan.buffer {value = "x"} : memref<8x16xf32>
%one = arith.constant 1.0 : f32
%two = arith.addf %one, %one : f32
plan.rows "scale" rows(8) ins(%x : memref<8x16xf32>) outs(%x : memref<8x16xf32>)
    access [#plan.access<row>] results [#plan.access<row>] {
^bb0(%a: tensor<16xf32>):
  %0 = tensor.splat %one : tensor<16xf32>
  // expected-error @below {{'tensor.splat' op uses a value from outside of the row kernel; pass it as an input}}
  %1 = tensor.splat %two : tensor<16xf32>
  %2 = arith.mulf %0, %1 : tensor<16xf32>
  plan.row_yield %2 : tensor<16xf32>
}
