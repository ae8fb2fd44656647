// RUN: seqpar-opt %s --pass-pipeline='builtin.module(nn.step(assign-layouts,insert-collectives),localize{loss-scale=true})' | FileCheck %s
// RUN: seqpar-opt %s --pass-pipeline='builtin.module(nn.step(assign-layouts,insert-collectives),localize)' | FileCheck %s --check-prefix=PLAIN --implicit-check-not=scaled_ --implicit-check-not=loss_scale

// The backward starts from the scaled weight of the loss, the metric from the plain one.
// CHECK-DAG: %[[UNSCALED:.*]] = plan.input inverse_loss_tokens : memref<f32>
// CHECK-DAG: %[[SCALED:.*]] = plan.input scaled_inverse_loss_tokens : memref<f32>
// CHECK-DAG: %[[INVERSE:.*]] = plan.input inverse_loss_scale : memref<f32>
// CHECK-DAG: %[[NORM:.*]] = plan.metric gradient_norm : memref<f64>
// CHECK: plan.micro_batch
// CHECK: plan.rows "cross_entropy_grad" {{.*}} ins(%{{.*}}, %{{.*}}, %[[SCALED]] :
// CHECK: plan.update
// CHECK: plan.rows "scale_metric" {{.*}} ins(%{{.*}}, %[[UNSCALED]] :

// The norm is that of the gradients without the scale.
// CHECK: plan.rows "norm" rows(1) ins(%[[NORM]], %[[INVERSE]] : memref<f64>, memref<f32>)
// CHECK-NEXT: ^bb0(%[[SQUARES:.*]]: f64, %[[S:.*]]: f32):
// CHECK-NEXT: %[[ROOT:.*]] = math.sqrt %[[SQUARES]] : f64
// CHECK-NEXT: %[[D:.*]] = arith.extf %[[S]] : f32 to f64
// CHECK-NEXT: arith.mulf %[[ROOT]], %[[D]] : f64

// A norm that is not finite, which no number is above, leaves the parameter and both moments as they are.
// CHECK: plan.rows "adamw" {{.*}}ins({{.*}}%[[NORM]], %[[INVERSE]],
// CHECK: %[[TOTAL:.*]] = arith.truncf %{{.*}} : f64 to f32
// CHECK: %[[FINITE:.*]] = arith.cmpf ogt, %{{.*}}, %[[TOTAL]] : f32
// CHECK-COUNT-3: arith.select %[[FINITE]], %{{.*}}, %arg{{[0-2]}} : tensor<4096xf32>

// PLAIN: plan.rows "adamw"
// PLAIN-COUNT-1: arith.cmpf
// PLAIN-NOT: arith.cmpf

!x = tensor<2x8x8xf32>
!w = tensor<16x8xf32>
nn.step @step {
  %seed = nn.input inverse_loss_tokens : tensor<f32>
  %ids = nn.input tokens : tensor<2x8xi32>
  %loss_mask = nn.input loss_mask : tensor<2x8xi32>
  %labels = nn.input labels : tensor<2x8xi32>
  %e = nn.parameter "e" normal(0.02) : !w
  %x = nn.embedding %ids, %e : (tensor<2x8xi32>, !w) -> !x
  %mlm, %dx, %du = nn.masked_rows %x, %loss_mask, %labels chunk(8) : (!x, tensor<2x8xi32>, tensor<2x8xi32>) -> (tensor<f32>, !x, !w) {
  ^bb0(%rows: tensor<8x8xf32>, %targets: tensor<8xi32>):
    %logits = nn.linear %rows, %e : (tensor<8x8xf32>, !w) -> tensor<8x16xf32>
    %loss = nn.cross_entropy %logits, %targets : (tensor<8x16xf32>, tensor<8xi32>) -> tensor<f32>
    %dl = nn.cross_entropy_grad %logits, %targets, %seed : (tensor<8x16xf32>, tensor<8xi32>, tensor<f32>) -> tensor<8x16xf32>
    %dr = nn.linear_grad_input %dl, %e : (tensor<8x16xf32>, !w) -> tensor<8x8xf32>
    %d = nn.linear_grad_weight %dl, %rows : (tensor<8x16xf32>, tensor<8x8xf32>) -> !w
    nn.yield %loss, %dr, %d : tensor<f32>, tensor<8x8xf32>, !w
  }
  %de = nn.embedding_grad %dx, %ids : (!x, tensor<2x8xi32>) -> !w
  nn.accumulate "e", %du, %de : !w, !w
  nn.accumulate_metric mlm %mlm scale %seed : tensor<f32>, tensor<f32>
} update {
  %ge = nn.gradient "e" : !w
  %n = nn.global_norm %ge : (!w) -> tensor<f32>
  nn.adamw "e", %ge, %n beta1(0.9) beta2(0.999) eps(1.0e-8) : !w, tensor<f32>
}
