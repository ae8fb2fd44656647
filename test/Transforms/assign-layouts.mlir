// RUN: seqpar-opt %s --pass-pipeline='builtin.module(nn.step(assign-layouts{sp=4}))' --split-input-file | FileCheck %s --check-prefixes=CHECK,SP
// RUN: seqpar-opt %s --pass-pipeline='builtin.module(nn.step(assign-layouts{dp=2 sp=4}))' --split-input-file | FileCheck %s --check-prefixes=CHECK,BOTH
// RUN: seqpar-opt %s --pass-pipeline='builtin.module(nn.step(assign-layouts))' --split-input-file | FileCheck %s --check-prefixes=CHECK,ONE

// Positions are split over sp and samples over dp; parameters are whole; axes with one rank are not named. The gradient
// of a weight is a sum over samples and positions, so partial over the axes that split them.
// CHECK-LABEL: nn.step @linear
// SP-SAME: sp.grid = #sp.grid<dp = 1, pp = 1, sp = 4>
nn.step @linear {
  %ids = nn.input tokens : tensor<4x64xi32>
  // SP: nn.parameter "table" {{.*}} : tensor<16x8xf32, #sp.layout<[-, -]>>
  %table = nn.parameter "table" normal(0.02) decay : tensor<16x8xf32>
  // SP: nn.embedding {{.*}} -> tensor<4x64x8xf32, #sp.layout<[-, sp, -]>>
  // BOTH: nn.embedding {{.*}} -> tensor<4x64x8xf32, #sp.layout<[dp, sp, -]>>
  // ONE: nn.embedding {{.*}} -> tensor<4x64x8xf32, #sp.layout<[-, -, -]>>
  %x = nn.embedding %ids, %table : (tensor<4x64xi32>, tensor<16x8xf32>) -> tensor<4x64x8xf32>
  // SP: nn.embedding_grad {{.*}} -> tensor<16x8xf32, #sp.layout<[-, -], partial [sp]>>
  // BOTH: nn.embedding_grad {{.*}} -> tensor<16x8xf32, #sp.layout<[-, -], partial [dp, sp]>>
  // ONE: nn.embedding_grad {{.*}} -> tensor<16x8xf32, #sp.layout<[-, -]>>
  %dt = nn.embedding_grad %x, %ids : (tensor<4x64x8xf32>, tensor<4x64xi32>) -> tensor<16x8xf32>
  nn.accumulate "table", %dt : tensor<16x8xf32>
} update {
  // The accumulated gradient is laid out as its contributions are.
  // SP: nn.gradient "table" : tensor<16x8xf32, #sp.layout<[-, -], partial [sp]>>
  %g = nn.gradient "table" : tensor<16x8xf32>
  %n = nn.global_norm %g : (tensor<16x8xf32>) -> tensor<f32>
  nn.adamw "table", %g, %n decay beta1(0.9) beta2(0.999) eps(1.0e-8) : tensor<16x8xf32>, tensor<f32>
}

// -----

// The padding mask is whole along the sequence; the first token is on one rank, so its selection is a partial sum; what
// is per sample is not split over sp.
// CHECK-LABEL: nn.step @tokens
nn.step @tokens {
  // SP: nn.input padding_mask : tensor<4x64xi32, #sp.layout<[-, -]>>
  // BOTH: nn.input padding_mask : tensor<4x64xi32, #sp.layout<[dp, -]>>
  %mask = nn.input padding_mask : tensor<4x64xi32>
  %order = nn.input sentence_order : tensor<4xi32>
  %ids = nn.input tokens : tensor<4x64xi32>
  %table = nn.parameter "table" normal(0.02) decay : tensor<2x2xf32>
  %x = nn.embedding %ids, %table : (tensor<4x64xi32>, tensor<2x2xf32>) -> tensor<4x64x2xf32>
  // SP: nn.select_token {{.*}} -> tensor<4x2xf32, #sp.layout<[-, -], partial [sp]>>
  // BOTH: nn.select_token {{.*}} -> tensor<4x2xf32, #sp.layout<[dp, -], partial [sp]>>
  // ONE: nn.select_token {{.*}} -> tensor<4x2xf32, #sp.layout<[-, -]>>
  %t = nn.select_token %x, 0 : (tensor<4x64x2xf32>) -> tensor<4x2xf32>
  // SP: nn.cross_entropy {{.*}} -> tensor<f32, #sp.layout<[]>>
  // BOTH: nn.cross_entropy {{.*}} -> tensor<f32, #sp.layout<[], partial [dp]>>
  %l = nn.cross_entropy %t, %order : (tensor<4x2xf32>, tensor<4xi32>) -> tensor<f32>
  // SP: nn.select_token_grad {{.*}} -> tensor<4x64x2xf32, #sp.layout<[-, sp, -]>>
  %dx = nn.select_token_grad %t, 0 : (tensor<4x2xf32>) -> tensor<4x64x2xf32>
  %dt = nn.embedding_grad %dx, %ids : (tensor<4x64x2xf32>, tensor<4x64xi32>) -> tensor<2x2xf32>
  nn.accumulate "table", %dt : tensor<2x2xf32>
} update {
}

// -----

// Attention keeps its operands split; lower-attention deals with the keys of the other ranks.
// CHECK-LABEL: nn.step @attention
nn.step @attention {
  %ids = nn.input tokens : tensor<4x64xi32>
  %mask = nn.input padding_mask : tensor<4x64xi32>
  %table = nn.parameter "table" normal(0.02) decay : tensor<16x8xf32>
  %x = nn.embedding %ids, %table : (tensor<4x64xi32>, tensor<16x8xf32>) -> tensor<4x64x8xf32>
  // SP: nn.attention {{.*}} -> (tensor<4x64x8xf32, #sp.layout<[-, sp, -]>>, tensor<4x2x64xf32, #sp.layout<[-, -, sp]>>)
  %a, %lse = nn.attention %x, %x, %x, %mask heads(2) : (tensor<4x64x8xf32>, tensor<4x64x8xf32>, tensor<4x64x8xf32>, tensor<4x64xi32>) -> (tensor<4x64x8xf32>, tensor<4x2x64xf32>)
  %dt = nn.embedding_grad %a, %ids : (tensor<4x64x8xf32>, tensor<4x64xi32>) -> tensor<16x8xf32>
  nn.accumulate "table", %dt : tensor<16x8xf32>
} update {
}
