// RUN: seqpar-opt %s | seqpar-opt | FileCheck %s
// RUN: seqpar-opt --mlir-print-op-generic %s | seqpar-opt | FileCheck %s

!x = tensor<?x?x64xf32>
!ids = tensor<?x?xi32>
!w = tensor<64x64xf32>
!h = tensor<64xf32>

// CHECK-LABEL: nn.model @every_op {
nn.model @every_op {
  // CHECK: nn.input tokens : tensor<?x?xi32>
  %tokens = nn.input tokens : !ids
  // CHECK: nn.input padding_mask : tensor<?x?xi32>
  %padding_mask = nn.input padding_mask : !ids
  %loss_mask = nn.input loss_mask : !ids
  %labels = nn.input labels : !ids
  // CHECK: nn.input sentence_order : tensor<?xi32>
  %order = nn.input sentence_order : tensor<?xi32>
  // CHECK: nn.parameter "table" normal(0.02) decay : tensor<512x64xf32>
  %table = nn.parameter "table" normal(0.02) decay : tensor<512x64xf32>
  // CHECK: nn.parameter "gamma" ones : tensor<64xf32>
  %gamma = nn.parameter "gamma" ones : !h
  // CHECK: nn.parameter "beta" zeros : tensor<64xf32>
  %beta = nn.parameter "beta" zeros : !h
  // CHECK: nn.embedding %{{.*}}, %{{.*}} : (tensor<?x?xi32>, tensor<512x64xf32>) -> tensor<?x?x64xf32>
  %x = nn.embedding %tokens, %table : (!ids, tensor<512x64xf32>) -> !x
  // CHECK: %[[Y:.*]] = nn.repeat 2 as "layer." (%[[H:.*]] = %{{.*}}) : tensor<?x?x64xf32> {
  %y = nn.repeat 2 as "layer." (%h = %x) : !x {
    %w = nn.parameter "w" normal(1.0e-3) decay : !w
    // CHECK: nn.linear %[[H]], %{{.*}}, %{{.*}} : (tensor<?x?x64xf32>, tensor<64x64xf32>, tensor<64xf32>) -> tensor<?x?x64xf32>
    %a = nn.linear %h, %w, %beta : (!x, !w, !h) -> !x
    // CHECK: nn.linear %[[H]], %{{.*}} : (tensor<?x?x64xf32>, tensor<64x64xf32>) -> tensor<?x?x64xf32>
    %b = nn.linear %h, %w : (!x, !w) -> !x
    // CHECK: nn.layer_norm %{{.*}}, %{{.*}}, %{{.*}} eps(1.0e-12) : (tensor<?x?x64xf32>, tensor<64xf32>, tensor<64xf32>) -> tensor<?x?x64xf32>
    %n = nn.layer_norm %a, %gamma, %beta eps(1.0e-12) : (!x, !h, !h) -> !x
    // CHECK: nn.attention %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}} heads(4) : (tensor<?x?x64xf32>, tensor<?x?x64xf32>, tensor<?x?x64xf32>, tensor<?x?xi32>) -> tensor<?x?x64xf32>
    %c = nn.attention %a, %b, %n, %padding_mask heads(4) : (!x, !x, !x, !ids) -> !x
    // CHECK: nn.attention {{.*}} heads(4) rate(0.1) site(2) : ({{.*}}) -> (tensor<?x?x64xf32>, tensor<?x4x?xf32>)
    %d, %lse = nn.attention %a, %b, %n, %padding_mask heads(4) rate(0.1) site(2) : (!x, !x, !x, !ids) -> (!x, tensor<?x4x?xf32>)
    // CHECK: nn.gelu %{{.*}} tanh : tensor<?x?x64xf32>
    %e = nn.gelu %c tanh : !x
    // CHECK: nn.gelu %{{.*}} erf : tensor<?x?x64xf32>
    %f = nn.gelu %d erf : !x
    // CHECK: nn.dropout %{{[0-9]+}} : tensor<?x?x64xf32>
    %g = nn.dropout %e : !x
    // CHECK: nn.dropout %{{[0-9]+}} rate(0.1) site(3) : tensor<?x?x64xf32>
    %i = nn.dropout %f rate(0.1) site(3) : !x
    // CHECK: nn.cut %{{[0-9]+}} from 0 to 1 : tensor<?x?x64xf32>
    %cut = nn.cut %f from 0 to 1 : !x
    // CHECK: nn.add %{{.*}}, %{{.*}} : tensor<?x?x64xf32>
    %j = nn.add %g, %i : !x
    // CHECK: nn.yield %{{.*}} : tensor<?x?x64xf32>
    nn.yield %j : !x
  }
  // CHECK: nn.masked_rows %[[Y]], %{{.*}}, %{{.*}} : (tensor<?x?x64xf32>, tensor<?x?xi32>, tensor<?x?xi32>) -> tensor<f32> {
  // CHECK-NEXT: ^bb0(%{{.*}}: tensor<?x64xf32>, %{{.*}}: tensor<?xi32>):
  %mlm = nn.masked_rows %y, %loss_mask, %labels : (!x, !ids, !ids) -> tensor<f32> {
  ^bb0(%rows: tensor<?x64xf32>, %targets: tensor<?xi32>):
    %logits = nn.linear %rows, %table : (tensor<?x64xf32>, tensor<512x64xf32>) -> tensor<?x512xf32>
    // CHECK: nn.cross_entropy %{{.*}}, %{{.*}} : (tensor<?x512xf32>, tensor<?xi32>) -> tensor<f32>
    %loss = nn.cross_entropy %logits, %targets : (tensor<?x512xf32>, tensor<?xi32>) -> tensor<f32>
    nn.yield %loss : tensor<f32>
  }
  // CHECK: nn.select_token %[[Y]], 0 : (tensor<?x?x64xf32>) -> tensor<?x64xf32>
  %first = nn.select_token %y, 0 : (!x) -> tensor<?x64xf32>
  // CHECK: nn.tanh %{{.*}} : tensor<?x64xf32>
  %pooled = nn.tanh %first : tensor<?x64xf32>
  %sop = nn.cross_entropy %pooled, %order : (tensor<?x64xf32>, tensor<?xi32>) -> tensor<f32>
  // CHECK: nn.loss mlm(%{{.*}}) sop(%{{.*}})
  nn.loss mlm(%mlm) sop(%sop)
}

// CHECK-LABEL: nn.step @every_step_op {
nn.step @every_step_op {
  %mask = nn.input padding_mask : tensor<2x8xi32>
  // CHECK: nn.input inverse_samples : tensor<f32>
  %scale = nn.input inverse_samples : tensor<f32>
  %w = nn.parameter "w" normal(0.02) decay : !w
  %v = nn.parameter "v" zeros : tensor<2x8x64xf32>
  // CHECK: nn.embedding_grad %{{.*}}, %{{.*}} : (tensor<2x8x64xf32>, tensor<2x8xi32>) -> tensor<64x64xf32>
  %dt = nn.embedding_grad %v, %mask : (tensor<2x8x64xf32>, tensor<2x8xi32>) -> !w
  // CHECK: nn.linear_grad_input %{{.*}}, %{{.*}} : (tensor<2x8x64xf32>, tensor<64x64xf32>) -> tensor<2x8x64xf32>
  %dx = nn.linear_grad_input %v, %w : (tensor<2x8x64xf32>, !w) -> tensor<2x8x64xf32>
  // CHECK: nn.linear_grad_weight %{{.*}}, %{{.*}} : (tensor<2x8x64xf32>, tensor<2x8x64xf32>) -> tensor<64x64xf32>
  %dw = nn.linear_grad_weight %dx, %v : (tensor<2x8x64xf32>, tensor<2x8x64xf32>) -> !w
  // CHECK: nn.sum_rows %{{.*}} : (tensor<2x8x64xf32>) -> tensor<64xf32>
  %db = nn.sum_rows %v : (tensor<2x8x64xf32>) -> !h
  // CHECK: nn.layer_norm_grad %{{.*}}, %{{.*}}, %{{.*}} eps(1.0e-12) : (tensor<2x8x64xf32>, tensor<2x8x64xf32>, tensor<64xf32>) -> (tensor<2x8x64xf32>, tensor<64xf32>, tensor<64xf32>)
  %ln:3 = nn.layer_norm_grad %dx, %v, %db eps(1.0e-12) : (tensor<2x8x64xf32>, tensor<2x8x64xf32>, !h) -> (tensor<2x8x64xf32>, !h, !h)
  // CHECK: nn.gelu_grad %{{.*}}, %{{.*}} tanh : tensor<2x8x64xf32>
  %dg = nn.gelu_grad %dx, %v tanh : tensor<2x8x64xf32>
  // CHECK: nn.tanh_grad %{{.*}}, %{{.*}} : tensor<2x8x64xf32>
  %dth = nn.tanh_grad %dg, %v : tensor<2x8x64xf32>
  // CHECK: nn.dropout_grad %{{.*}} rate(0.1) site(1) : tensor<2x8x64xf32>
  %dd = nn.dropout_grad %dth rate(0.1) site(1) : tensor<2x8x64xf32>
  %out, %lse = nn.attention %v, %v, %v, %mask heads(2) : (tensor<2x8x64xf32>, tensor<2x8x64xf32>, tensor<2x8x64xf32>, tensor<2x8xi32>) -> (tensor<2x8x64xf32>, tensor<2x2x8xf32>)
  // CHECK: nn.attention_grad {{.*}} heads(2) : ({{.*}}) -> (tensor<2x8x64xf32>, tensor<2x8x64xf32>, tensor<2x8x64xf32>)
  %at:3 = nn.attention_grad %dd, %v, %v, %v, %mask, %out, %lse heads(2)
    : (tensor<2x8x64xf32>, tensor<2x8x64xf32>, tensor<2x8x64xf32>, tensor<2x8x64xf32>, tensor<2x8xi32>, tensor<2x8x64xf32>, tensor<2x2x8xf32>)
    -> (tensor<2x8x64xf32>, tensor<2x8x64xf32>, tensor<2x8x64xf32>)
  %t = nn.select_token %v, 0 : (tensor<2x8x64xf32>) -> tensor<2x64xf32>
  // CHECK: nn.select_token_grad %{{.*}}, 0 : (tensor<2x64xf32>) -> tensor<2x8x64xf32>
  %ts = nn.select_token_grad %t, 0 : (tensor<2x64xf32>) -> tensor<2x8x64xf32>
  %order = nn.input sentence_order : tensor<2xi32>
  // CHECK: nn.cross_entropy_grad %{{.*}}, %{{.*}}, %{{.*}} : (tensor<2x64xf32>, tensor<2xi32>, tensor<f32>) -> tensor<2x64xf32>
  %dl = nn.cross_entropy_grad %t, %order, %scale : (tensor<2x64xf32>, tensor<2xi32>, tensor<f32>) -> tensor<2x64xf32>
  // CHECK: nn.accumulate "w", %{{.*}}, %{{.*}} : tensor<64x64xf32>, tensor<64x64xf32>
  nn.accumulate "w", %dw, %dt : !w, !w
  nn.accumulate "v", %ts : tensor<2x8x64xf32>
  // CHECK: nn.accumulate_metric sop %{{.*}} scale %{{.*}} : tensor<f32>, tensor<f32>
  nn.accumulate_metric sop %scale scale %scale : tensor<f32>, tensor<f32>
  // CHECK: } update {
} update {
  // CHECK: %[[G:.*]] = nn.gradient "w" : tensor<64x64xf32>
  %g = nn.gradient "w" : !w
  %g2 = nn.gradient "v" : tensor<2x8x64xf32>
  // CHECK: nn.global_norm %[[G]], %{{.*}} : (tensor<64x64xf32>, tensor<2x8x64xf32>) -> tensor<f32>
  %norm = nn.global_norm %g, %g2 : (!w, tensor<2x8x64xf32>) -> tensor<f32>
  // CHECK: nn.adamw "w", %[[G]], %{{.*}} decay beta1(0.9) beta2(0.999) eps(1.0e-08) : tensor<64x64xf32>, tensor<f32>
  nn.adamw "w", %g, %norm decay beta1(0.9) beta2(0.999) eps(1.0e-8) : !w, tensor<f32>
  // CHECK: nn.adamw "v", %{{.*}}, %{{.*}} beta1(0.9) beta2(0.999) eps(1.0e-08) : tensor<2x8x64xf32>, tensor<f32>
  nn.adamw "v", %g2, %norm beta1(0.9) beta2(0.999) eps(1.0e-8) : tensor<2x8x64xf32>, tensor<f32>
}

// CHECK-LABEL: nn.step @nothing {
// CHECK-NEXT: } update {
// CHECK-NEXT: }
nn.step @nothing {
} update {
}

// A sum whose operands have different encodings shows all types.
// CHECK-LABEL: nn.step @encodings
nn.step @encodings {
  %s = nn.input inverse_samples : tensor<f32>
  %t = nn.input inverse_samples : tensor<f32, "elsewhere">
  // CHECK: nn.add %{{.*}}, %{{.*}} : (tensor<f32>, tensor<f32, "elsewhere">) -> tensor<f32>
  %u = nn.add %s, %t : (tensor<f32>, tensor<f32, "elsewhere">) -> tensor<f32>
} update {
}
