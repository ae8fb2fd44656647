// RUN: seqpar-opt %s --pass-pipeline='builtin.module(nn.step(verify-layouts))' --split-input-file --verify-diagnostics

!ids = tensor<4x64xi32, #sp.layout<[-, sp]>>
!x = tensor<4x64x8xf32, #sp.layout<[-, sp, -]>>
!w = tensor<8x8xf32, #sp.layout<[-, -]>>
!dw = tensor<8x8xf32, #sp.layout<[-, -], partial [sp]>>

// A gradient of which each rank still holds a summand cannot reach the optimiser.
nn.step @partial_gradient attributes {sp.grid = #sp.grid<dp = 1, pp = 1, sp = 4>} {
  %ids = nn.input tokens : !ids
  %w = nn.parameter "w" normal(0.02) decay : !w
  %x = nn.embedding %ids, %w : (!ids, !w) -> !x
  %dw = nn.embedding_grad %x, %ids : (!x, !ids) -> !dw
  nn.accumulate "w", %dw : !dw
} update {
  %g = nn.gradient "w" : !dw
  // expected-error @below {{expected operand 0 to have layout #sp.layout<[-, -]>, found #sp.layout<[-, -], partial [sp]>}}
  %n = nn.global_norm %g : (!dw) -> tensor<f32, #sp.layout<[]>>
  nn.adamw "w", %g, %n decay beta1(0.9) beta2(0.999) eps(1.0e-8) : !dw, tensor<f32, #sp.layout<[]>>
}

// -----

!ids = tensor<4x64xi32, #sp.layout<[-, sp]>>
!x = tensor<4x64x8xf32, #sp.layout<[-, sp, -]>>
!w = tensor<8x8xf32, #sp.layout<[-, -]>>

// A result that claims to be a total when it is a sum of summands.
nn.step @claimed_total attributes {sp.grid = #sp.grid<dp = 1, pp = 1, sp = 4>} {
  %ids = nn.input tokens : !ids
  %w = nn.parameter "w" normal(0.02) decay : !w
  %x = nn.embedding %ids, %w : (!ids, !w) -> !x
  // expected-error @below {{expected result 0 to have layout #sp.layout<[-, -], partial [sp]>, found #sp.layout<[-, -]>}}
  %dw = nn.embedding_grad %x, %ids : (!x, !ids) -> !w
  nn.accumulate "w", %dw : !w
} update {
}
