// RUN: seqpar-opt %s --pass-pipeline='builtin.module(nn.step(assign-layouts{dp=2 sp=4},insert-collectives,verify-layouts))' | FileCheck %s

// CHECK-LABEL: nn.step @step
nn.step @step {
  %order = nn.input sentence_order : tensor<4xi32>
  %ids = nn.input tokens : tensor<4x64xi32>
  %seed = nn.input inverse_samples : tensor<f32>
  %table = nn.parameter "table" normal(0.02) decay : tensor<2x2xf32>
  %x = nn.embedding %ids, %table : (tensor<4x64xi32>, tensor<2x2xf32>) -> tensor<4x64x2xf32>

  // The sum goes right behind the partial value, over its axes only, and once for all its uses.
  // CHECK: %[[T:.*]] = nn.select_token
  // CHECK-NEXT: %[[R:.*]] = sp.all_reduce %[[T]] over [sp] : tensor<4x2xf32, #sp.layout<[dp, -], partial [sp]>> -> tensor<4x2xf32, #sp.layout<[dp, -]>>
  // CHECK-NEXT: nn.cross_entropy %[[R]],
  // CHECK-NEXT: nn.cross_entropy_grad %[[R]],
  %t = nn.select_token %x, 0 : (tensor<4x64x2xf32>) -> tensor<4x2xf32>
  %l = nn.cross_entropy %t, %order : (tensor<4x2xf32>, tensor<4xi32>) -> tensor<f32>
  %dt = nn.cross_entropy_grad %t, %order, %seed : (tensor<4x2xf32>, tensor<4xi32>, tensor<f32>) -> tensor<4x2xf32>
  %dx = nn.select_token_grad %dt, 0 : (tensor<4x2xf32>) -> tensor<4x64x2xf32>

  // What is accumulated stays a partial sum: it is reduced once per step.
  // CHECK-NOT: sp.all_reduce
  // CHECK: %[[DW:.*]] = nn.embedding_grad
  // CHECK-NEXT: nn.accumulate "table", %[[DW]] : tensor<2x2xf32, #sp.layout<[-, -], partial [dp, sp]>>
  %dw = nn.embedding_grad %dx, %ids : (tensor<4x64x2xf32>, tensor<4x64xi32>) -> tensor<2x2xf32>
  nn.accumulate "table", %dw : tensor<2x2xf32>
  nn.accumulate_metric sop %l scale %seed : tensor<f32>, tensor<f32>
  // CHECK: } update {
} update {
  // CHECK: %[[G:.*]] = nn.gradient "table"
  // CHECK-NEXT: %[[S:.*]] = sp.all_reduce %[[G]] over [dp, sp]
  // CHECK-NEXT: %[[N:.*]] = nn.global_norm %[[S]]
  // CHECK-NEXT: nn.adamw "table", %[[S]], %[[N]]
  %g = nn.gradient "table" : tensor<2x2xf32>
  %n = nn.global_norm %g : (tensor<2x2xf32>) -> tensor<f32>
  nn.adamw "table", %g, %n decay beta1(0.9) beta2(0.999) eps(1.0e-8) : tensor<2x2xf32>, tensor<f32>
}
