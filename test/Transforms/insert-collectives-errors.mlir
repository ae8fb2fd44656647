// RUN: seqpar-opt %s --pass-pipeline='builtin.module(nn.step(insert-collectives))' --split-input-file --verify-diagnostics

// A split where the op wants the whole is no partial sum: no all-reduce mends it.
!w = tensor<8x8xf32, #sp.layout<[sp, -]>>
!x = tensor<4x64x8xf32, #sp.layout<[-, sp, -]>>
nn.step @split_weight attributes {sp.grid = #sp.grid<dp = 1, pp = 1, sp = 4>} {
  %w = nn.parameter "w" normal(0.02) decay : !w
  %ids = nn.input tokens : tensor<4x64xi32, #sp.layout<[-, sp]>>
  // expected-error @below {{expected operand 1 to have layout #sp.layout<[-, -]>, found #sp.layout<[sp, -]>}}
  %x = nn.embedding %ids, %w : (tensor<4x64xi32, #sp.layout<[-, sp]>>, !w) -> !x
  %dw = nn.embedding_grad %x, %ids : (!x, tensor<4x64xi32, #sp.layout<[-, sp]>>) -> !w
  nn.accumulate "w", %dw : !w
} update {
}

// -----

// expected-error @below {{has no grid: run assign-layouts first}}
nn.step @no_grid {
} update {
}

// -----

nn.step @no_layout attributes {sp.grid = #sp.grid<dp = 1, pp = 1, sp = 4>} {
  %ids = nn.input tokens : tensor<4x64xi32>
  %w = nn.parameter "w" normal(0.02) decay : tensor<8x8xf32>
  // expected-error @below {{expected operand 0 to have a layout}}
  %x = nn.embedding %ids, %w : (tensor<4x64xi32>, tensor<8x8xf32>) -> tensor<4x64x8xf32>
  %dw = nn.embedding_grad %x, %ids : (tensor<4x64x8xf32>, tensor<4x64xi32>) -> tensor<8x8xf32>
  nn.accumulate "w", %dw : tensor<8x8xf32>
} update {
}
