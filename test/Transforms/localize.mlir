// RUN: seqpar-opt %s --pass-pipeline='builtin.module(nn.step(assign-layouts{dp=2 sp=4},insert-collectives,lower-attention),localize)' | FileCheck %s --implicit-check-not=nn. --implicit-check-not=sp.layout

// 61 positions over 4 ranks: chunks of 16, the last one padded. 4 samples over 2 replicas: 2 each.
// CHECK-LABEL: plan.program @step <dp = 2, pp = 1, sp = 4> micro_batch(2) seq_length(61) chunk_length(16) vocabulary(16)
!x = tensor<4x61x8xf32>
nn.step @step {
  %seed = nn.input inverse_loss_tokens : tensor<f32>
  // CHECK-DAG: %[[SEED:.*]] = plan.input inverse_loss_tokens : memref<f32>
  // CHECK-DAG: %[[IDS:.*]] = plan.input tokens : memref<2x16xi32>
  // The mask is that of all chunks, the masked positions come as a list.
  // CHECK-DAG: %[[MASK:.*]] = plan.input padding_mask : memref<2x64xi32>
  // CHECK-DAG: %[[ROWS:.*]] = plan.input masked_rows : memref<32xi32>
  // CHECK-DAG: %[[LABELS:.*]] = plan.input masked_labels : memref<32xi32>
  // CHECK-DAG: %[[W:.*]] = plan.parameter "w" normal decay {deviation = 2.000000e-02 : f32, partial_axes = array<i32: 0, 2>} : memref<16x8xf32>
  // CHECK-DAG: %[[GW:.*]] = plan.gradient "w" : memref<16x8xf32>
  // CHECK-DAG: plan.moment 1 of "w" : memref<16x8xf32>
  // CHECK-DAG: plan.moment 2 of "w" : memref<16x8xf32>
  // CHECK-DAG: %[[MLM:.*]] = plan.metric mlm_loss {partial_axes = array<i32: 0, 2>} : memref<f32>
  // CHECK-DAG: %[[NORM:.*]] = plan.metric gradient_norm : memref<f64>
  %ids = nn.input tokens : tensor<4x61xi32>
  %mask = nn.input padding_mask : tensor<4x61xi32>
  %loss_mask = nn.input loss_mask : tensor<4x61xi32>
  %labels = nn.input labels : tensor<4x61xi32>
  %w = nn.parameter "w" normal(0.02) decay : tensor<16x8xf32>
  // CHECK: plan.micro_batch {
  // CHECK: %[[X:.*]] = plan.rows "embedding" rows(32) ins(%[[IDS]], %[[W]] : memref<2x16xi32>, memref<16x8xf32>) access [#plan.access<row_scalar>, #plan.access<gather 0>] results [#plan.access<row>] -> tensor<2x16x8xf32>
  %x = nn.embedding %ids, %w : (tensor<4x61xi32>, tensor<16x8xf32>) -> !x
  // CHECK: sp.attention_block own initialize heads(2) (%[[X]], %[[X]], %[[X]], %[[MASK]] : tensor<2x16x8xf32>, tensor<2x16x8xf32>, tensor<2x16x8xf32>, memref<2x64xi32>) -> tensor<2x16x8xf32>, tensor<2x2x16xf32>, tensor<2x2x16xf32>
  %a = nn.attention %x, %x, %x, %mask heads(2) : (!x, !x, !x, tensor<4x61xi32>) -> !x

  // Masked rows: gathered chunk by chunk, given back to their places, sums straight to the accumulators.
  // CHECK: %[[ZEROS:.*]] = plan.zeros : tensor<2x16x8xf32>
  // CHECK: %[[DX:.*]] = plan.rows_loop chunk(8) (%[[R:.*]] = %[[ROWS]], %[[L:.*]] = %[[LABELS]] : memref<32xi32>, memref<32xi32>) iter(%[[ACC:.*]] = %[[ZEROS]]) : tensor<2x16x8xf32> {
  // CHECK: %[[CHUNK:.*]] = plan.rows "gather_rows" rows(8) ins(%[[R]], %{{.*}} access [#plan.access<row_scalar>, #plan.access<gather 0>]
  // CHECK: %[[LOGITS:.*]] = plan.gemm %[[CHUNK]], %[[W]] transpose_b {active_rows = #plan<active_rows m>} : tensor<8x8xf32>, memref<16x8xf32> -> tensor<8x16xf32>
  // CHECK: %[[LOSS:.*]] = plan.rows "cross_entropy" rows(8) ins(%[[LOGITS]], %[[L]] :
  // CHECK: plan.gemm %{{.*}}, %[[CHUNK]] transpose_a {active_rows = #plan<active_rows k>}
  // CHECK-DAG: plan.accumulate %[[LOSS]] into %[[MLM]]
  // CHECK-DAG: plan.rows "scatter_rows" rows(8) {{.*}} outs(%[[ACC]] : tensor<2x16x8xf32>) access [#plan.access<row>, #plan.access<row_scalar>] results [#plan.access<scatter 1>]
  // CHECK-DAG: plan.accumulate %{{.*}} into %[[GW]]
  // CHECK: sp.yield
  %mlm, %dx, %dw = nn.masked_rows %a, %loss_mask, %labels chunk(8) : (!x, tensor<4x61xi32>, tensor<4x61xi32>) -> (tensor<f32>, !x, tensor<16x8xf32>) {
  ^bb0(%rows: tensor<8x8xf32>, %targets: tensor<8xi32>):
    %logits = nn.linear %rows, %w : (tensor<8x8xf32>, tensor<16x8xf32>) -> tensor<8x16xf32>
    %loss = nn.cross_entropy %logits, %targets : (tensor<8x16xf32>, tensor<8xi32>) -> tensor<f32>
    %dl = nn.cross_entropy_grad %logits, %targets, %seed : (tensor<8x16xf32>, tensor<8xi32>, tensor<f32>) -> tensor<8x16xf32>
    %dr = nn.linear_grad_input %dl, %w : (tensor<8x16xf32>, tensor<16x8xf32>) -> tensor<8x8xf32>
    %d = nn.linear_grad_weight %dl, %rows : (tensor<8x16xf32>, tensor<8x8xf32>) -> tensor<16x8xf32>
    nn.yield %loss, %dr, %d : tensor<f32>, tensor<8x8xf32>, tensor<16x8xf32>
  }
  // CHECK: %[[Z:.*]] = plan.zeros : tensor<16x8xf32>
  // CHECK: %[[DE:.*]] = plan.rows "embedding_grad" rows(32) ins(%[[IDS]], %[[DX]] {{.*}} outs(%[[Z]] : tensor<16x8xf32>) access [#plan.access<row_scalar>, #plan.access<row>] results [#plan.access<scatter_add 0>]
  // CHECK: plan.accumulate %[[DE]] into %[[GW]]
  %de = nn.embedding_grad %dx, %ids : (!x, tensor<4x61xi32>) -> tensor<16x8xf32>
  nn.accumulate "w", %dw, %de : tensor<16x8xf32>, tensor<16x8xf32>
  nn.accumulate_metric mlm %mlm scale %seed : tensor<f32>, tensor<f32>

// The update: one reduction of all gradients, the metric's total and scale, the norm in double precision, AdamW in place.
// CHECK: plan.update {
// CHECK: %[[RANGE:.*]] = plan.range gradient at 0 : memref<1x4096xf32>
// CHECK: sp.all_reduce %[[RANGE]] over [dp, sp] : memref<1x4096xf32>
// CHECK: sp.all_reduce %[[MLM]] over [dp, sp] : memref<f32>
// CHECK: plan.rows "scale_metric" rows(1) ins(%[[MLM]], %[[SEED]]
// CHECK: plan.rows "sum_of_squares" rows(1) ins(%{{.*}} : memref<1x4096xf32>) outs(%[[NORM]] : memref<f64>) access [#plan.access<row>] results [#plan.access<sum_rows>]
// CHECK: math.sqrt
// CHECK: plan.rows "adamw_decay" rows(1) {{.*}} outs(%{{.*}}, %{{.*}}, %{{.*}} : memref<1x4096xf32>, memref<1x4096xf32>, memref<1x4096xf32>)
} update {
  %g = nn.gradient "w" : tensor<16x8xf32>
  %n = nn.global_norm %g : (tensor<16x8xf32>) -> tensor<f32>
  nn.adamw "w", %g, %n decay beta1(0.9) beta2(0.999) eps(1.0e-8) : tensor<16x8xf32>, tensor<f32>
}
