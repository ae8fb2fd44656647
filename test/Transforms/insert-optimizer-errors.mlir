// RUN: seqpar-opt %s --insert-optimizer --verify-diagnostics --split-input-file
// RUN: not seqpar-opt %s --insert-optimizer="beta1=1.5" 2>&1 | FileCheck %s --check-prefix=BETA
// BETA: error: insert-optimizer: beta1 and beta2 must be at least 0 and below 1 and eps above 0, but are 1.500000e+00, 9.990000e-01 and 1.000000e-08

// expected-error @below {{has an update already}}
nn.step @twice {
  %b = nn.parameter "b" zeros : tensor<8xf32>
  nn.accumulate "b", %b : tensor<8xf32>
} update {
  %g = nn.gradient "b" : tensor<8xf32>
  %norm = nn.global_norm %g : (tensor<8xf32>) -> tensor<f32>
  nn.adamw "b", %g, %norm beta1(0.9) beta2(0.999) eps(1.0e-8) : tensor<8xf32>, tensor<f32>
}
