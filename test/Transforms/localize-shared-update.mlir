// RUN: seqpar-opt %s --pass-pipeline='builtin.module(nn.step(assign-layouts{dp=2 sp=4},insert-collectives),localize{zero=true bucket-bytes=40000})' | FileCheck %s
// RUN: seqpar-opt %s --pass-pipeline='builtin.module(nn.step(assign-layouts{dp=2 sp=4},insert-collectives),localize{bucket-bytes=40000})' | FileCheck %s --check-prefix=ALL --implicit-check-not=shard --implicit-check-not=all_gather
// RUN: seqpar-opt %s --pass-pipeline='builtin.module(nn.step(assign-layouts,insert-collectives),localize{zero=true bucket-bytes=40000})' | FileCheck %s --check-prefix=ONE --implicit-check-not=shard --implicit-check-not=sp.all --implicit-check-not=sp.reduce

// Three parameters of 32 KiB, which a bucket of 40000 bytes holds one of. Eight ranks: a shard is two rows of 512
// elements.

// CHECK: plan.stage 0 attributes {bucket_bytes = 40000 : i64, shard_axes = array<i32: 0, 2>}
// CHECK-NOT: plan.moment
// CHECK: plan.shard at 0 bytes 4096 moments 0, 12288
// CHECK: plan.shard at 32768 bytes 4096 moments 4096, 16384
// CHECK: plan.shard at 65536 bytes 4096 moments 8192, 20480

// Each rank has the total of its own rows only.
// CHECK: plan.update {
// CHECK: %[[WHOLE:.*]] = plan.range gradient at 0 : memref<16x512xf32>
// CHECK: %[[OWN:.*]] = plan.range gradient sharded at 0 : memref<2x512xf32>
// CHECK: sp.reduce_scatter %[[WHOLE]] into %[[OWN]] : memref<2x512xf32> dim 0 over [dp, sp] : memref<16x512xf32>
// CHECK: plan.range gradient at 32768
// CHECK: sp.reduce_scatter
// CHECK: plan.range gradient at 65536
// CHECK: sp.reduce_scatter

// The norm is that of all rows.
// CHECK-COUNT-3: plan.rows "sum_of_squares" rows(2)
// CHECK: sp.all_reduce %[[NORM:.*]] over [dp, sp] : memref<f64>
// CHECK: plan.rows "norm" rows(1) ins(%[[NORM]]

// CHECK: plan.range parameter sharded at 0 : memref<2x512xf32>
// CHECK: plan.range optimizer_state at 0 : memref<2x512xf32>
// CHECK: plan.range optimizer_state at 12288 : memref<2x512xf32>
// CHECK: plan.rows "adamw_decay" rows(2)
// CHECK: %[[P:.*]] = plan.range parameter sharded at 0 : memref<2x512xf32>
// CHECK: %[[PALL:.*]] = plan.range parameter at 0 : memref<16x512xf32>
// CHECK: sp.all_gather %[[P]] into %[[PALL]] : memref<16x512xf32> dim 0 over [dp, sp] : memref<2x512xf32>

// Without it every rank has it all.
// ALL-COUNT-6: plan.moment
// ALL-COUNT-3: sp.all_reduce %{{.*}} over [dp, sp] : memref<2x4096xf32>
// ALL: sp.all_reduce %{{.*}} over [dp, sp] : memref<f32>
// ALL-COUNT-3: plan.rows "adamw_decay" rows(2)

// One rank shares with nobody.
// ONE-COUNT-6: plan.moment
// ONE-COUNT-3: plan.rows "adamw_decay" rows(2)

!x = tensor<4x64x64xf32>
!w = tensor<128x64xf32>
nn.step @step {
  %seed = nn.input inverse_loss_tokens : tensor<f32>
  %ids = nn.input tokens : tensor<4x64xi32>
  %loss_mask = nn.input loss_mask : tensor<4x64xi32>
  %labels = nn.input labels : tensor<4x64xi32>
  %e = nn.parameter "e" normal(0.02) decay : !w
  %u = nn.parameter "u" normal(0.02) decay : !w
  %v = nn.parameter "v" normal(0.02) decay : !w
  %x = nn.embedding %ids, %e : (tensor<4x64xi32>, !w) -> !x
  %mlm, %dx, %du, %dv = nn.masked_rows %x, %loss_mask, %labels chunk(8) : (!x, tensor<4x64xi32>, tensor<4x64xi32>) -> (tensor<f32>, !x, !w, !w) {
  ^bb0(%rows: tensor<8x64xf32>, %targets: tensor<8xi32>):
    %a = nn.linear %rows, %u : (tensor<8x64xf32>, !w) -> tensor<8x128xf32>
    %b = nn.linear %rows, %v : (tensor<8x64xf32>, !w) -> tensor<8x128xf32>
    %logits = nn.add %a, %b : tensor<8x128xf32>
    %loss = nn.cross_entropy %logits, %targets : (tensor<8x128xf32>, tensor<8xi32>) -> tensor<f32>
    %dl = nn.cross_entropy_grad %logits, %targets, %seed : (tensor<8x128xf32>, tensor<8xi32>, tensor<f32>) -> tensor<8x128xf32>
    %dr = nn.linear_grad_input %dl, %u : (tensor<8x128xf32>, !w) -> tensor<8x64xf32>
    %d = nn.linear_grad_weight %dl, %rows : (tensor<8x128xf32>, tensor<8x64xf32>) -> !w
    %d2 = nn.linear_grad_weight %dl, %rows : (tensor<8x128xf32>, tensor<8x64xf32>) -> !w
    nn.yield %loss, %dr, %d, %d2 : tensor<f32>, tensor<8x64xf32>, !w, !w
  }
  %de = nn.embedding_grad %dx, %ids : (!x, tensor<4x64xi32>) -> !w
  nn.accumulate "e", %de : !w
  nn.accumulate "u", %du : !w
  nn.accumulate "v", %dv : !w
  nn.accumulate_metric mlm %mlm scale %seed : tensor<f32>, tensor<f32>
} update {
  %ge = nn.gradient "e" : !w
  %gu = nn.gradient "u" : !w
  %gv = nn.gradient "v" : !w
  %n = nn.global_norm %ge, %gu, %gv : (!w, !w, !w) -> tensor<f32>
  nn.adamw "e", %ge, %n decay beta1(0.9) beta2(0.999) eps(1.0e-8) : !w, tensor<f32>
  nn.adamw "u", %gu, %n decay beta1(0.9) beta2(0.999) eps(1.0e-8) : !w, tensor<f32>
  nn.adamw "v", %gv, %n decay beta1(0.9) beta2(0.999) eps(1.0e-8) : !w, tensor<f32>
}
