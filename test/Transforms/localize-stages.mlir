// RUN: seqpar-opt %s --pass-pipeline='builtin.module(differentiate,insert-optimizer,nn.step(assign-layouts{pp=2 sp=2},insert-collectives,verify-layouts),cut-stages,localize)' | FileCheck %s --implicit-check-not=nn. --implicit-check-not=sp.layout
// RUN: not seqpar-opt %s --pass-pipeline='builtin.module(differentiate,insert-optimizer,nn.step(assign-layouts{pp=2},insert-collectives),localize)' 2>&1 | FileCheck %s --check-prefix=WHOLE

// The steps of all stages become one program. What both stages hold lies alike in both; each sends its gradient to the
// other, and both add up the first stage's, then the second's.

// WHOLE: expected 2 steps, one per pipeline stage, found 0 in order: run cut-stages first

!x = tensor<2x8x64xf32>
!ids = tensor<2x8xi32>
!w = tensor<64x64xf32>
!row = tensor<4x64xf32>

// CHECK: plan.program @m <dp = 1, pp = 2, sp = 2> micro_batch(2) seq_length(8) chunk_length(4) vocabulary(64) {
// CHECK-LABEL: plan.stage 0 attributes {cost = 7 : i64} {
// CHECK-DAG: plan.parameter "table" normal decay {deviation = 2.000000e-02 : f32, partial_axes = array<i32: 2>, stages = array<i32: 0, 1>}
// CHECK-DAG: plan.parameter "w0" normal decay {deviation = 2.000000e-02 : f32, partial_axes = array<i32: 2>}
// CHECK-DAG: %[[NORM:.*]] = plan.metric gradient_norm
// CHECK: sp.send %{{.*}} to stage 1 tag 0 : tensor<2x4x64xf32>
// CHECK: plan.backward
// CHECK: plan.update {
// What both stages hold is a group of its own.
// CHECK-COUNT-2: sp.all_reduce %{{.*}} over [sp] : memref<1x4096xf32>
// CHECK: %[[OWN:.*]] = plan.range gradient at 0 : memref<1x4096xf32>
// CHECK: %[[OTHER:.*]] = plan.buffer communication
// CHECK: sp.receive into %[[OTHER]] : memref<1x4096xf32> from stage 1 tag 4
// CHECK: sp.send %[[OWN]] to stage 1 tag 3
// CHECK: sp.wait tag 4
// CHECK: sp.wait tag 3
// CHECK: plan.rows "sum_stages" rows(1) ins(%[[OWN]], %[[OTHER]] : {{.*}}) outs(%[[OWN]] :
// CHECK-COUNT-2: plan.rows "sum_of_squares"
// CHECK: sp.all_reduce %[[NORM]] over [pp] : memref<f64>
// CHECK: plan.rows "norm"
// CHECK-COUNT-2: plan.rows "adamw_decay"

// CHECK-LABEL: plan.stage 1 attributes {cost = 9 : i64} {
// CHECK-DAG: plan.parameter "table" normal decay {deviation = 2.000000e-02 : f32, partial_axes = array<i32: 2>, stages = array<i32: 0, 1>}
// CHECK-DAG: %[[NORM1:.*]] = plan.metric gradient_norm
// CHECK-DAG: plan.metric mlm_loss
// What is sent beyond its micro-batch is a copy.
// CHECK: plan.backward
// CHECK: %[[COPY:.*]] = plan.rows "copy"
// CHECK: sp.send %[[COPY]] to stage 0 tag 1 : tensor<2x4x64xf32>
// CHECK: plan.update {
// CHECK: sp.wait tag 1
// CHECK: sp.all_reduce %{{.*}} over [sp] : memref<1x4096xf32>
// CHECK: %[[OWN1:.*]] = plan.range gradient at 0 : memref<1x4096xf32>
// CHECK: %[[FIRST:.*]] = plan.buffer communication
// CHECK: sp.receive into %[[FIRST]] : memref<1x4096xf32> from stage 0 tag 3
// CHECK: sp.send %[[OWN1]] to stage 0 tag 4
// CHECK: plan.rows "sum_stages" rows(1) ins(%[[FIRST]], %[[OWN1]] : {{.*}}) outs(%[[OWN1]] :
// The norm has it from the first stage.
// CHECK-NOT: sum_of_squares
// CHECK: plan.fill %[[NORM1]]
// CHECK: sp.all_reduce %[[NORM1]] over [pp] : memref<f64>
// CHECK-COUNT-1: plan.rows "adamw_decay"
nn.model @m attributes {stage_costs = array<i64: 7, 9>} {
  %ids = nn.input tokens : !ids
  %loss_mask = nn.input loss_mask : !ids
  %labels = nn.input labels : !ids
  %table = nn.parameter "table" normal(0.02) decay : !w
  %e = nn.embedding %ids, %table : (!ids, !w) -> !x
  %w0 = nn.parameter "w0" normal(0.02) decay : !w
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
