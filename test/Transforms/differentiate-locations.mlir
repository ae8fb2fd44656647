// RUN: seqpar-opt %s --differentiate --mlir-print-debuginfo --mlir-print-local-scope | FileCheck %s

// A backward op has the location of its forward op, also inside nn.masked_rows.
nn.model @m {
  %tokens = nn.input tokens : tensor<2x8xi32>
  %table = nn.parameter "table" normal(0.02) decay : tensor<64x64xf32>
  %x = nn.embedding %tokens, %table : (tensor<2x8xi32>, tensor<64x64xf32>) -> tensor<2x8x64xf32> loc("an embedding")
  %y = nn.gelu %x erf : tensor<2x8x64xf32> loc("a gelu")
  %mlm = nn.masked_rows %y, %tokens, %tokens chunk(4) : (tensor<2x8x64xf32>, tensor<2x8xi32>, tensor<2x8xi32>) -> tensor<f32> {
  ^bb0(%rows: tensor<4x64xf32>, %targets: tensor<4xi32>):
    %loss = nn.cross_entropy %rows, %targets : (tensor<4x64xf32>, tensor<4xi32>) -> tensor<f32> loc("a cross entropy")
    nn.yield %loss : tensor<f32>
  } loc("a head")
  nn.loss mlm(%mlm)
}
// CHECK: nn.cross_entropy_grad {{.*}} loc("a cross entropy")
// CHECK: } loc("a head")
// CHECK: nn.gelu_grad {{.*}} loc("a gelu")
// CHECK: nn.embedding_grad {{.*}} loc("an embedding")
