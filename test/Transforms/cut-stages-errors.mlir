// RUN: seqpar-opt %s --pass-pipeline='builtin.module(nn.step(assign-layouts{pp=2}),cut-stages)' --verify-diagnostics --split-input-file

// A grid with stages, but no cuts.

// expected-error @below {{expected 2 cuts for 2 pipeline stages, found 0: run mark-cuts before differentiate}}
nn.step @whole {
  %ids = nn.input tokens : tensor<4x128xi32>
  nn.backward
} update {
}

// -----

// A value that goes around the cut.

nn.step @around {
  %w = nn.parameter "w" zeros : tensor<8x8xf32>
  %ids = nn.input tokens : tensor<2x4xi32>
  // expected-note @below {{the value}}
  %e = nn.embedding %ids, %w : (tensor<2x4xi32>, tensor<8x8xf32>) -> tensor<2x4x8xf32>
  %x = nn.cut %e from 0 to 1 : tensor<2x4x8xf32>
  // expected-error @below {{of stage 1 uses a value of stage 0; only what nn.cut hands on crosses stages}}
  %y = nn.add %x, %e : tensor<2x4x8xf32>
  nn.backward
  %d = nn.cut %y from 1 to 0 : tensor<2x4x8xf32>
  %g = nn.embedding_grad %d, %ids : (tensor<2x4x8xf32>, tensor<2x4xi32>) -> tensor<8x8xf32>
  nn.accumulate "w", %g : tensor<8x8xf32>
} update {
}

// -----

// Cuts that skip a stage.

nn.step @order {
  %w = nn.parameter "w" zeros : tensor<8x8xf32>
  %ids = nn.input tokens : tensor<2x4xi32>
  %e = nn.embedding %ids, %w : (tensor<2x4xi32>, tensor<8x8xf32>) -> tensor<2x4x8xf32>
  // expected-error @below {{expected a cut from stage 0 to its neighbour in the forward direction}}
  %x = nn.cut %e from 1 to 2 : tensor<2x4x8xf32>
  nn.backward
  %d = nn.cut %x from 2 to 1 : tensor<2x4x8xf32>
  %g = nn.embedding_grad %d, %ids : (tensor<2x4x8xf32>, tensor<2x4xi32>) -> tensor<8x8xf32>
  nn.accumulate "w", %g : tensor<8x8xf32>
} update {
}

// -----

// The border between forward and backward is in the last stage, which has the losses.

nn.step @border {
  %w = nn.parameter "w" zeros : tensor<8x8xf32>
  %ids = nn.input tokens : tensor<2x4xi32>
  %e = nn.embedding %ids, %w : (tensor<2x4xi32>, tensor<8x8xf32>) -> tensor<2x4x8xf32>
  // expected-error @below {{expected in the last stage, found in stage 0}}
  nn.backward
  %x = nn.cut %e from 0 to 1 : tensor<2x4x8xf32>
  %d = nn.cut %x from 1 to 0 : tensor<2x4x8xf32>
  %g = nn.embedding_grad %d, %ids : (tensor<2x4x8xf32>, tensor<2x4xi32>) -> tensor<8x8xf32>
  nn.accumulate "w", %g : tensor<8x8xf32>
} update {
}

// -----

// A norm of something else than gradients: of which stage it is, nobody knows.

nn.step @norm {
  %w = nn.parameter "w" zeros : tensor<8x8xf32>
  %ids = nn.input tokens : tensor<2x4xi32>
  %e = nn.embedding %ids, %w : (tensor<2x4xi32>, tensor<8x8xf32>) -> tensor<2x4x8xf32>
  %x = nn.cut %e from 0 to 1 : tensor<2x4x8xf32>
  nn.backward
  %d = nn.cut %x from 1 to 0 : tensor<2x4x8xf32>
  %g = nn.embedding_grad %d, %ids : (tensor<2x4x8xf32>, tensor<2x4xi32>) -> tensor<8x8xf32>
  nn.accumulate "w", %g : tensor<8x8xf32>
} update {
  %dw = nn.gradient "w" : tensor<8x8xf32>
  %twice = nn.add %dw, %dw : tensor<8x8xf32>
  // expected-error @below {{expected the gradients of parameters: nn.gradient, or sp.all_reduce of one}}
  %norm = nn.global_norm %twice : (tensor<8x8xf32>) -> tensor<f32>
  nn.adamw "w", %dw, %norm beta1(0.9) beta2(0.999) eps(1.0e-8) : tensor<8x8xf32>, tensor<f32>
}
