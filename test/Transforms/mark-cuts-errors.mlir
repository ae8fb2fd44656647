// RUN: not seqpar-opt %s --mark-cuts=stages=4 2>&1 | FileCheck %s --check-prefix=MANY
// RUN: not seqpar-opt %s --mark-cuts=stages=0 2>&1 | FileCheck %s --check-prefix=ZERO
// RUN: not seqpar-opt %s --mark-cuts=stages=2 --mark-cuts=stages=2 2>&1 | FileCheck %s --check-prefix=TWICE

// MANY: mark-cuts-errors.mlir:[[#@LINE+4]]:1: error: 'nn.model' op cannot be cut into 4 pipeline stages: one activation alone crosses at 2 places, so at most 3 are possible
// ZERO: error: 'nn.model' op expected at least one pipeline stage, found 0
// TWICE: error: 'nn.model' op has cuts already

nn.model @m {
  %ids = nn.input tokens : tensor<2x8xi32>
  %order = nn.input sentence_order : tensor<2xi32>
  %table = nn.parameter "table" normal(0.02) : tensor<16x8xf32>
  %e = nn.embedding %ids, %table : (tensor<2x8xi32>, tensor<16x8xf32>) -> tensor<2x8x8xf32>
  %g = nn.gelu %e tanh : tensor<2x8x8xf32>
  // Behind it a row per sample crosses, which no rank has a chunk of.
  %first = nn.select_token %g, 0 : (tensor<2x8x8xf32>) -> tensor<2x8xf32>
  %mlm = nn.cross_entropy %first, %order : (tensor<2x8xf32>, tensor<2xi32>) -> tensor<f32>
  nn.loss mlm(%mlm)
}
