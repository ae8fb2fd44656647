// RUN: seqpar-opt %s --pass-pipeline='builtin.module(differentiate,insert-optimizer,nn.step(assign-layouts{pp=2 sp=2},insert-collectives,verify-layouts),cut-stages)' | FileCheck %s

// Each stage has its ops, the parameters and inputs they use, and an update of those parameters. Activation and gradient
// are split along the sequence when they are sent.

!x = tensor<2x8x64xf32>
!ids = tensor<2x8xi32>
!w = tensor<64x64xf32>
!row = tensor<4x64xf32>

// CHECK-LABEL: nn.step @m.stage0 stage 0 attributes {sp.grid = #sp.grid<dp = 1, pp = 2, sp = 2>, stage_costs = array<i64: 7>} {
// CHECK-NEXT: %[[IDS:.*]] = nn.input tokens
// CHECK-NEXT: nn.parameter "table"
// CHECK-NEXT: nn.parameter "w0"
// CHECK-NEXT: nn.embedding %[[IDS]]
// CHECK-NEXT: %[[L:.*]] = nn.linear
// CHECK-NEXT: sp.send %[[L]] to stage 1 tag 0 : tensor<2x8x64xf32, #sp.layout<[-, sp, -]>>
// CHECK-NEXT: nn.backward
// CHECK-NEXT: %[[R:.*]] = sp.receive from stage 1 tag 1 -> tensor<2x8x64xf32, #sp.layout<[-, sp, -]>>
// CHECK-NEXT: sp.wait sent(%[[L]] : {{.*}}) tag 0
// CHECK-NEXT: %[[D:.*]] = sp.wait(%[[R]] : {{.*}}) tag 1
// CHECK-NEXT: nn.linear_grad_input %[[D]]
// CHECK-NEXT: nn.linear_grad_weight %[[D]]
// CHECK-NEXT: %[[E:.*]] = nn.embedding_grad
// CHECK-NEXT: nn.accumulate "table", %[[E]] :
// CHECK-NEXT: nn.accumulate "w0"
// CHECK-NEXT: } update {
// CHECK: %[[T:.*]] = sp.all_reduce %{{.*}} over [sp] : tensor<64x64xf32, #sp.layout<[-, -], partial [sp]>>
// CHECK: %[[S:.*]] = sp.sum_stages %[[T]] over [0, 1] tag 2
// CHECK-NEXT: %[[N:.*]] = nn.global_norm %[[S]], %{{[^ ]*}} over_stages
// CHECK-NEXT: nn.adamw "table", %[[S]], %[[N]]
// CHECK-NEXT: nn.adamw "w0"

// CHECK-LABEL: nn.step @m.stage1 stage 1 attributes {sp.grid = #sp.grid<dp = 1, pp = 2, sp = 2>, stage_costs = array<i64: 9>} {
// CHECK-NOT: nn.input tokens
// CHECK-NOT: nn.parameter "w0"
// CHECK: %[[R:.*]] = sp.receive from stage 0 tag 0
// CHECK-NEXT: %[[X:.*]] = sp.wait(%[[R]] : {{.*}}) tag 0
// CHECK-NEXT: %[[H:.*]]:3 = nn.masked_rows %[[X]]
// CHECK: nn.accumulate_metric mlm
// CHECK-NEXT: nn.backward
// CHECK-NEXT: sp.send %[[H]]#1 to stage 0 tag 1
// CHECK-NEXT: nn.accumulate "table", %[[H]]#2 :
// CHECK-NEXT: } update {
// What the last micro-batch sent is waited for.
// CHECK-NEXT: sp.wait tag 1
// The other holder counts the norm.
// CHECK: %[[S:.*]] = sp.sum_stages %{{.*}} over [0, 1] tag 2
// CHECK-NEXT: %[[N:.*]] = nn.global_norm over_stages : () ->
// CHECK-NEXT: nn.adamw "table", %[[S]], %[[N]]
// CHECK-NEXT: }
// CHECK-NEXT: }
nn.model @m attributes {stage_costs = array<i64: 7, 9>} {
  %ids = nn.input tokens : !ids
  %loss_mask = nn.input loss_mask : !ids
  %labels = nn.input labels : !ids
  %table = nn.parameter "table" normal(0.02) : !w
  %e = nn.embedding %ids, %table : (!ids, !w) -> !x
  %w0 = nn.parameter "w0" normal(0.02) : !w
  %l = nn.linear %e, %w0 : (!x, !w) -> !x
  %c = nn.cut %l from 0 to 1 : !x
  %mlm = nn.masked_rows %c, %loss_mask, %labels chunk(4) : (!x, !ids, !ids) -> tensor<f32> {
  ^bb0(%rows: !row, %targets: tensor<4xi32>):
    %logits = nn.linear %rows, %table : (!row, !w) -> !row
    %loss = nn.cross_entropy %logits, %targets : (!row, tensor<4xi32>) -> tensor<f32>
    nn.yield %loss : tensor<f32>
  }
  nn.loss mlm(%mlm)
}
