// RUN: seqpar-opt %s --mark-cuts=stages=2 | FileCheck %s --check-prefixes=CHECK,TWO
// RUN: seqpar-opt %s --mark-cuts=stages=3 | FileCheck %s --check-prefixes=CHECK,THREE
// RUN: seqpar-opt %s --mark-cuts=stages=1 | FileCheck %s --check-prefix=ONE --implicit-check-not=nn.cut --implicit-check-not=stage_costs

// The embedding costs 3 * 8 * 2 * 4096 = 196608 operations by its bytes, a product 3 * 2 * 16 * 64 * 64 = 393216, a sum
// 3 * 8 * 3 * 4096 = 294912 by its bytes. The head is counted for the masked share of the positions, 2.4 of a chunk of 4:
// 0.6 * (3 * 2 * 4 * 64 * 64 + 3 * 8 * 1044) = 74016. The costliest stage is as cheap as can be.

!x = tensor<2x8x64xf32>
!ids = tensor<2x8xi32>
!w = tensor<64x64xf32>
!row = tensor<4x64xf32>

// ONE: nn.model @m {
// TWO: nn.model @m attributes {stage_costs = array<i64: 884736, 1450272>} {
// THREE: nn.model @m attributes {stage_costs = array<i64: 884736, 688128, 762144>} {
nn.model @m {
  %ids = nn.input tokens : !ids
  %loss_mask = nn.input loss_mask : !ids
  %labels = nn.input labels : !ids
  %table = nn.parameter "table" normal(0.02) : !w
  // CHECK: %[[E:.*]] = nn.embedding
  // CHECK-NEXT: %[[W0:.*]] = nn.parameter
  // Two values are needed until they are added, so there is no place in between.
  // CHECK-NEXT: %[[L:.*]] = nn.linear %[[E]], %[[W0]]
  // CHECK-NEXT: %[[A:.*]] = nn.add %[[E]], %[[L]]
  // CHECK-NEXT: %[[C:.*]] = nn.cut %[[A]] from 0 to 1 : tensor<2x8x64xf32>
  // CHECK-NEXT: nn.parameter
  // CHECK-NEXT: %[[M:.*]] = nn.linear %[[C]]
  // CHECK-NEXT: %[[B:.*]] = nn.add %[[C]], %[[M]]
  // THREE-NEXT: %[[D:.*]] = nn.cut %[[B]] from 1 to 2
  // THREE: nn.linear %[[D]]
  // TWO-NOT: nn.cut
  %e = nn.embedding %ids, %table : (!ids, !w) -> !x
  %w0 = nn.parameter "w0" normal(0.02) : !w
  %l = nn.linear %e, %w0 : (!x, !w) -> !x
  %a = nn.add %e, %l : !x
  %w1 = nn.parameter "w1" normal(0.02) : !w
  %m = nn.linear %a, %w1 : (!x, !w) -> !x
  %b = nn.add %a, %m : !x
  %w2 = nn.parameter "w2" normal(0.02) : !w
  %h = nn.linear %b, %w2 : (!x, !w) -> !x
  %g = nn.add %h, %b : !x
  %mlm = nn.masked_rows %g, %loss_mask, %labels chunk(4) : (!x, !ids, !ids) -> tensor<f32> {
  ^bb0(%rows: !row, %targets: tensor<4xi32>):
    %logits = nn.linear %rows, %table : (!row, !w) -> !row
    %loss = nn.cross_entropy %logits, %targets : (!row, tensor<4xi32>) -> tensor<f32>
    nn.yield %loss : tensor<f32>
  }
  nn.loss mlm(%mlm)
}
