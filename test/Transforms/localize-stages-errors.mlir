// RUN: seqpar-opt %s --localize --split-input-file --verify-diagnostics

// A sum over stages of something else than a gradient.

nn.step @no_gradient.stage0 stage 0 attributes {sp.grid = #sp.grid<dp = 1, pp = 2, sp = 1>} {
  %w = nn.parameter "w" zeros : tensor<8x8xf32>
  %ids = nn.input tokens : tensor<2x4xi32>
  %e = nn.embedding %ids, %w : (tensor<2x4xi32>, tensor<8x8xf32>) -> tensor<2x4x8xf32>
  nn.backward
  %g = nn.embedding_grad %e, %ids : (tensor<2x4x8xf32>, tensor<2x4xi32>) -> tensor<8x8xf32>
  nn.accumulate "w", %g : tensor<8x8xf32>
} update {
  %dw = nn.gradient "w" : tensor<8x8xf32>
  %twice = nn.add %dw, %dw : tensor<8x8xf32>
  // expected-error @below {{expected the gradient of a parameter: nn.gradient, or sp.all_reduce of one}}
  %sum = sp.sum_stages %twice over [0, 1] tag 2 : tensor<8x8xf32>
  %norm = nn.global_norm %sum : (tensor<8x8xf32>) -> tensor<f32>
  nn.adamw "w", %sum, %norm beta1(0.9) beta2(0.999) eps(1.0e-8) : tensor<8x8xf32>, tensor<f32>
}
nn.step @no_gradient.stage1 stage 1 attributes {sp.grid = #sp.grid<dp = 1, pp = 2, sp = 1>} {
} update {
}

// -----

// A gradient of no parameter.

nn.step @no_parameter.stage0 stage 0 attributes {sp.grid = #sp.grid<dp = 1, pp = 2, sp = 1>} {
  %w = nn.parameter "w" zeros : tensor<8x8xf32>
  %ids = nn.input tokens : tensor<2x4xi32>
  %e = nn.embedding %ids, %w : (tensor<2x4xi32>, tensor<8x8xf32>) -> tensor<2x4x8xf32>
  nn.backward
  %g = nn.embedding_grad %e, %ids : (tensor<2x4x8xf32>, tensor<2x4xi32>) -> tensor<8x8xf32>
  nn.accumulate "w", %g : tensor<8x8xf32>
} update {
  // expected-error @below {{names 'v', which is no parameter of this step}}
  %dw = nn.gradient "v" : tensor<8x8xf32>
  %sum = sp.sum_stages %dw over [0, 1] tag 2 : tensor<8x8xf32>
  %norm = nn.global_norm %sum : (tensor<8x8xf32>) -> tensor<f32>
  nn.adamw "w", %sum, %norm beta1(0.9) beta2(0.999) eps(1.0e-8) : tensor<8x8xf32>, tensor<f32>
}
nn.step @no_parameter.stage1 stage 1 attributes {sp.grid = #sp.grid<dp = 1, pp = 2, sp = 1>} {
} update {
}

// -----

// A sum over other stages.

nn.step @elsewhere.stage0 stage 0 attributes {sp.grid = #sp.grid<dp = 1, pp = 2, sp = 1>} {
  %w = nn.parameter "w" zeros : tensor<8x8xf32>
  %ids = nn.input tokens : tensor<2x4xi32>
  %e = nn.embedding %ids, %w : (tensor<2x4xi32>, tensor<8x8xf32>) -> tensor<2x4x8xf32>
  nn.backward
  %g = nn.embedding_grad %e, %ids : (tensor<2x4x8xf32>, tensor<2x4xi32>) -> tensor<8x8xf32>
  nn.accumulate "w", %g : tensor<8x8xf32>
} update {
  %dw = nn.gradient "w" : tensor<8x8xf32>
  // expected-error @below {{expected stage 0, that of its step, among those that sum up}}
  %sum = sp.sum_stages %dw over [1, 2] tag 2 : tensor<8x8xf32>
  %norm = nn.global_norm %sum : (tensor<8x8xf32>) -> tensor<f32>
  nn.adamw "w", %sum, %norm beta1(0.9) beta2(0.999) eps(1.0e-8) : tensor<8x8xf32>, tensor<f32>
}
nn.step @elsewhere.stage1 stage 1 attributes {sp.grid = #sp.grid<dp = 1, pp = 2, sp = 1>} {
} update {
}
