// RUN: seqpar-opt %s --pass-pipeline='builtin.module(insert-optimizer,nn.step(assign-layouts{dp=2 sp=4},insert-collectives,lower-attention),localize)' | FileCheck %s --implicit-check-not=nn.dropout

// CHECK-LABEL: plan.program @step
!x = tensor<4x61x8xf32>
nn.step @step {
  // Each row has a sample and a position of its own; the site is an operand, so that layers share kernels.
  // CHECK-DAG: %[[SEED:.*]] = plan.input seed : memref<i32>
  // CHECK-DAG: %[[STEP:.*]] = plan.input step : memref<i32>
  // CHECK-DAG: %[[SITE:.*]] = plan.input constant(3) : memref<i32>
  // CHECK-DAG: %[[TRAINING:.*]] = plan.input training : memref<i32>
  // CHECK-DAG: %[[SAMPLES:.*]] = plan.input row_samples : memref<2x16xi32>
  // CHECK-DAG: %[[POSITIONS:.*]] = plan.input positions : memref<2x16xi32>
  %seed = nn.input inverse_loss_tokens : tensor<f32>
  %samples = nn.input inverse_samples : tensor<f32>
  %ids = nn.input tokens : tensor<4x61xi32>
  %mask = nn.input padding_mask : tensor<4x61xi32>
  %w = nn.parameter "w" normal(0.02) decay : tensor<16x8xf32>
  %x = nn.embedding %ids, %w : (tensor<4x61xi32>, tensor<16x8xf32>) -> !x

  // CHECK: plan.rows "dropout" rows(32) ins(%[[TRAINING]], %[[SEED]], %[[STEP]], %[[SITE]], %[[SAMPLES]], %[[POSITIONS]], %{{.*}}) access [#plan.access<scalar>, #plan.access<scalar>, #plan.access<scalar>, #plan.access<scalar>, #plan.access<row_scalar>, #plan.access<row_scalar>, #plan.access<row>]
  // CHECK: ^bb0(%[[T:.*]]: i32, %[[E:.*]]: i32, %[[S:.*]]: i32, %[[I:.*]]: i32, %[[N:.*]]: i32, %[[P:.*]]: i32, %[[X:.*]]: tensor<8xf32>):
  // A quarter of 2^32, or nothing.
  // CHECK: %[[RATE:.*]] = arith.constant 1073741824 : i32
  // CHECK: %[[THRESHOLD:.*]] = arith.muli %[[T]], %[[RATE]] : i32
  // CHECK: %[[OFF:.*]] = arith.cmpi eq, %[[T]], %{{.*}} : i32
  // CHECK: %[[SCALE:.*]] = arith.select %[[OFF]], %{{.*}}, %{{.*}} : f32
  // CHECK: %[[WORDS:.*]] = plan.row_random seed(%[[E]]) step(%[[S]]) site(%[[I]]) sample(%[[N]]) position(%[[P]]) : tensor<8xi32>
  // CHECK: %[[LIMIT:.*]] = tensor.splat %[[THRESHOLD]]
  // CHECK: arith.cmpi ult, %[[WORDS]], %[[LIMIT]]
  %y = nn.dropout %x rate(0.25) site(3) : !x
  // The first token's row has the sample's number, at position 0.
  // CHECK: sp.attention_block own
  %a = nn.attention %y, %y, %y, %mask heads(2) rate(0.25) site(4) : (!x, !x, !x, tensor<4x61xi32>) -> !x
  %t = nn.select_token %a, 0 : (!x) -> tensor<4x8xf32>
  // CHECK: plan.rows "dropout" rows(2) ins(%[[TRAINING]], %[[SEED]], %[[STEP]], %{{.*}}, %[[NUMBERS:.*]], %{{.*}} : memref<i32>, memref<i32>, memref<i32>, memref<i32>, memref<2xi32>, tensor<2x8xf32>)
  // CHECK: %[[ZERO:.*]] = arith.constant 0 : i32
  // CHECK: plan.row_random seed(%{{.*}}) step(%{{.*}}) site(%{{.*}}) sample(%{{.*}}) position(%{{.*}}) : tensor<8xi32>
  %u = nn.dropout %t rate(0.25) site(5) : tensor<4x8xf32>
  %dx = nn.select_token_grad %u, 0 : (tensor<4x8xf32>) -> !x
  // The backward draws the words of its forward.
  // CHECK: plan.rows "dropout_grad" rows(32) ins(%[[TRAINING]], %[[SEED]], %[[STEP]], %[[SITE]], %[[SAMPLES]], %[[POSITIONS]], %{{.*}})
  // CHECK: plan.row_random
  %dy = nn.dropout_grad %dx rate(0.25) site(3) : !x
  %dw = nn.embedding_grad %dy, %ids : (!x, tensor<4x61xi32>) -> tensor<16x8xf32>
  nn.accumulate "w", %dw : tensor<16x8xf32>
  nn.accumulate_metric mlm %seed scale %seed : tensor<f32>, tensor<f32>
} update {
}
