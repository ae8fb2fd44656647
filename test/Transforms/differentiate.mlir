// RUN: seqpar-opt %s --differentiate | FileCheck %s --implicit-check-not=nn.loss --implicit-check-not=nn.model

!x = tensor<2x8x64xf32>
!ids = tensor<2x8xi32>
!w = tensor<64x64xf32>
!h = tensor<64xf32>
!row = tensor<2x64xf32>

// A model becomes a step. The cotangents of the two parts of the loss are inputs at its start; the loss sums are shown
// multiplied by them. The cross entropy is not divided by anything.
// CHECK-LABEL: nn.step @loss {
nn.model @loss {
  // CHECK: %[[TOKENS:.*]] = nn.input inverse_loss_tokens : tensor<f32>
  // CHECK: %[[SAMPLES:.*]] = nn.input inverse_samples : tensor<f32>
  // CHECK: %[[A:.*]] = nn.parameter "a"
  // CHECK: %[[B:.*]] = nn.parameter "b"
  // CHECK: %[[MLM:.*]] = nn.cross_entropy %[[A]], %[[ORDER:.*]] :
  // CHECK: %[[SOP:.*]] = nn.cross_entropy %[[B]], %[[ORDER]] :
  // CHECK: nn.accumulate_metric mlm %[[MLM]] scale %[[TOKENS]] : tensor<f32>, tensor<f32>
  // CHECK: nn.accumulate_metric sop %[[SOP]] scale %[[SAMPLES]] : tensor<f32>, tensor<f32>
  // CHECK-NEXT: nn.backward
  // CHECK: %[[DB:.*]] = nn.cross_entropy_grad %[[B]], %[[ORDER]], %[[SAMPLES]] : (tensor<2x64xf32>, tensor<2xi32>, tensor<f32>) -> tensor<2x64xf32>
  // CHECK: %[[DA:.*]] = nn.cross_entropy_grad %[[A]], %[[ORDER]], %[[TOKENS]]
  // CHECK: nn.accumulate "a", %[[DA]] : tensor<2x64xf32>
  // CHECK: nn.accumulate "b", %[[DB]] : tensor<2x64xf32>
  // CHECK-NEXT: } update {
  // CHECK-NEXT: }
  %order = nn.input sentence_order : tensor<2xi32>
  %a = nn.parameter "a" zeros : !row
  %b = nn.parameter "b" zeros : !row
  %mlm = nn.cross_entropy %a, %order : (!row, tensor<2xi32>) -> tensor<f32>
  %sop = nn.cross_entropy %b, %order : (!row, tensor<2xi32>) -> tensor<f32>
  nn.loss mlm(%mlm) sop(%sop)
}

// Without sentence order there is no trace of it.
// CHECK-LABEL: nn.step @mlm_only {
// CHECK-NOT: inverse_samples
// CHECK-NOT: accumulate_metric sop
// CHECK: } update {
nn.model @mlm_only {
  %order = nn.input sentence_order : tensor<2xi32>
  %a = nn.parameter "a" zeros : !row
  %mlm = nn.cross_entropy %a, %order : (!row, tensor<2xi32>) -> tensor<f32>
  nn.loss mlm(%mlm)
}

// The backward of each op, in the order against the program, from the cotangent of its result.
// CHECK-LABEL: nn.step @each_op {
nn.model @each_op {
  // CHECK: %[[T:.*]] = nn.input tokens
  // CHECK: %[[MASK:.*]] = nn.input padding_mask
  // CHECK: %[[E:.*]] = nn.embedding %[[T]]
  // CHECK: %[[Q:.*]] = nn.linear %[[E]], %[[W:.*]], %{{.*}} :
  // The forward's attention also gives its log-sum-exp.
  // CHECK: %[[A:.*]], %[[LSE:.*]] = nn.attention %[[Q]], %[[E]], %[[E]], %[[MASK]] heads(4) rate(0.1) site(3) : {{.*}} -> (tensor<2x8x64xf32>, tensor<2x4x8xf32>)
  // CHECK: %[[N:.*]] = nn.layer_norm %[[A]], %[[GAMMA:.*]], %{{.*}} eps(1.0e-12)
  // CHECK: %[[G:.*]] = nn.gelu %[[N]] tanh
  // CHECK: nn.dropout %[[G]] rate(0.1) site(5)
  // CHECK: %[[TANH:.*]] = nn.tanh
  // CHECK: %[[CE:.*]] = nn.cross_entropy_grad
  // CHECK: %[[DS:.*]] = nn.tanh_grad %[[CE]], %[[TANH]] : tensor<2x64xf32>
  // CHECK: %[[DD:.*]] = nn.select_token_grad %[[DS]], 3 : (tensor<2x64xf32>) -> tensor<2x8x64xf32>
  // CHECK: %[[DG:.*]] = nn.dropout_grad %[[DD]] rate(0.1) site(5) : tensor<2x8x64xf32>
  // CHECK: %[[DN:.*]] = nn.gelu_grad %[[DG]], %[[N]] tanh : tensor<2x8x64xf32>
  // CHECK: %[[DA:.*]], %[[DGAMMA:.*]], %[[DBETA:.*]] = nn.layer_norm_grad %[[DN]], %[[A]], %[[GAMMA]] eps(1.0e-12)
  // CHECK: %[[DQ:.*]], %[[DK:.*]], %[[DV:.*]] = nn.attention_grad %[[DA]], %[[Q]], %[[E]], %[[E]], %[[MASK]], %[[A]], %[[LSE]] heads(4) rate(0.1) site(3)
  // CHECK: %[[DX:.*]] = nn.linear_grad_input %[[DQ]], %[[W]] : (tensor<2x8x64xf32>, tensor<64x64xf32>) -> tensor<2x8x64xf32>
  // CHECK: %[[DW:.*]] = nn.linear_grad_weight %[[DQ]], %[[E]] : (tensor<2x8x64xf32>, tensor<2x8x64xf32>) -> tensor<64x64xf32>
  // CHECK: %[[DB:.*]] = nn.sum_rows %[[DQ]] : (tensor<2x8x64xf32>) -> tensor<64xf32>
  // %e is used three times.
  // CHECK: %[[SUM:.*]] = nn.add %[[DK]], %[[DV]] : tensor<2x8x64xf32>
  // CHECK: %[[DE:.*]] = nn.add %[[SUM]], %[[DX]] : tensor<2x8x64xf32>
  // CHECK: %[[DT:.*]] = nn.embedding_grad %[[DE]], %[[T]] : (tensor<2x8x64xf32>, tensor<2x8xi32>) -> tensor<64x64xf32>
  // CHECK: nn.accumulate "table", %[[DT]] : tensor<64x64xf32>
  // CHECK: nn.accumulate "w", %[[DW]] : tensor<64x64xf32>
  // CHECK: nn.accumulate "b", %[[DB]] : tensor<64xf32>
  // CHECK: nn.accumulate "gamma", %[[DGAMMA]] : tensor<64xf32>
  // CHECK: nn.accumulate "beta", %[[DBETA]] : tensor<64xf32>
  %tokens = nn.input tokens : !ids
  %mask = nn.input padding_mask : !ids
  %order = nn.input sentence_order : tensor<2xi32>
  %table = nn.parameter "table" normal(0.02) decay : !w
  %w = nn.parameter "w" normal(0.02) decay : !w
  %b = nn.parameter "b" zeros : !h
  %gamma = nn.parameter "gamma" ones : !h
  %beta = nn.parameter "beta" zeros : !h
  %e = nn.embedding %tokens, %table : (!ids, !w) -> !x
  %q = nn.linear %e, %w, %b : (!x, !w, !h) -> !x
  %a = nn.attention %q, %e, %e, %mask heads(4) rate(0.1) site(3) : (!x, !x, !x, !ids) -> !x
  %n = nn.layer_norm %a, %gamma, %beta eps(1.0e-12) : (!x, !h, !h) -> !x
  %g = nn.gelu %n tanh : !x
  %d = nn.dropout %g rate(0.1) site(5) : !x
  %s = nn.select_token %d, 3 : (!x) -> !row
  %t = nn.tanh %s : !row
  %loss = nn.cross_entropy %t, %order : (!row, tensor<2xi32>) -> tensor<f32>
  nn.loss mlm(%loss)
}

// A residual: both ways get the cotangent of the sum, and their contributions are added.
// CHECK-LABEL: nn.step @residual {
nn.model @residual {
  // CHECK: %[[D:.*]] = nn.cross_entropy_grad
  // CHECK-NEXT: %[[DT:.*]] = nn.tanh_grad %[[D]], %{{.*}} : tensor<2x64xf32>
  // CHECK-NEXT: nn.accumulate "p", %[[D]], %[[DT]] : tensor<2x64xf32>, tensor<2x64xf32>
  %order = nn.input sentence_order : tensor<2xi32>
  %p = nn.parameter "p" zeros : !row
  %t = nn.tanh %p : !row
  %y = nn.add %p, %t : !row
  %loss = nn.cross_entropy %y, %order : (!row, tensor<2xi32>) -> tensor<f32>
  nn.loss mlm(%loss)
}

// The head on masked rows: its region computes forward and backward of a chunk; the tied table has two contributions in
// its one accumulate; only the rows' gradient goes back to where the rows came from.
// CHECK-LABEL: nn.step @masked_rows {
nn.model @masked_rows {
  // CHECK: %[[TOKENS:.*]] = nn.input inverse_loss_tokens
  // CHECK: %[[TABLE:.*]] = nn.parameter "table"
  // CHECK: %[[X:.*]] = nn.embedding
  // CHECK: %[[R:.*]]:4 = nn.masked_rows %[[X]], %{{.*}}, %{{.*}} chunk(4) : (tensor<2x8x64xf32>, tensor<2x8xi32>, tensor<2x8xi32>) -> (tensor<f32>, tensor<2x8x64xf32>, tensor<64x64xf32>, tensor<64xf32>) {
  // CHECK-NEXT: ^bb0(%[[ROWS:.*]]: tensor<4x64xf32>, %[[TARGETS:.*]]: tensor<4xi32>):
  // CHECK-NEXT: %[[LOGITS:.*]] = nn.linear %[[ROWS]], %[[TABLE]]
  // CHECK-NEXT: %[[LOSS:.*]] = nn.cross_entropy %[[LOGITS]], %[[TARGETS]]
  // CHECK-NEXT: %[[DL:.*]] = nn.cross_entropy_grad %[[LOGITS]], %[[TARGETS]], %[[TOKENS]]
  // CHECK-NEXT: %[[DX:.*]] = nn.linear_grad_input %[[DL]], %[[TABLE]]
  // CHECK-NEXT: %[[DW:.*]] = nn.linear_grad_weight %[[DL]], %[[ROWS]]
  // CHECK-NEXT: %[[DB:.*]] = nn.sum_rows %[[DL]]
  // CHECK-NEXT: nn.yield %[[LOSS]], %[[DX]], %[[DW]], %[[DB]] : tensor<f32>, tensor<4x64xf32>, tensor<64x64xf32>, tensor<64xf32>
  // CHECK-NEXT: }
  // CHECK: nn.accumulate_metric mlm %[[R]]#0 scale %[[TOKENS]]
  // CHECK-NEXT: nn.backward
  // CHECK-NEXT: %[[DT:.*]] = nn.embedding_grad %[[R]]#1
  // CHECK-NEXT: nn.accumulate "table", %[[R]]#2, %[[DT]] : tensor<64x64xf32>, tensor<64x64xf32>
  // CHECK-NEXT: nn.accumulate "bias", %[[R]]#3 : tensor<64xf32>
  %tokens = nn.input tokens : !ids
  %loss_mask = nn.input loss_mask : !ids
  %labels = nn.input labels : !ids
  %table = nn.parameter "table" normal(0.02) decay : !w
  %bias = nn.parameter "bias" zeros : !h
  %x = nn.embedding %tokens, %table : (!ids, !w) -> !x
  %mlm = nn.masked_rows %x, %loss_mask, %labels chunk(4) : (!x, !ids, !ids) -> tensor<f32> {
  ^bb0(%rows: tensor<4x64xf32>, %targets: tensor<4xi32>):
    %logits = nn.linear %rows, %table, %bias : (tensor<4x64xf32>, !w, !h) -> tensor<4x64xf32>
    %loss = nn.cross_entropy %logits, %targets : (tensor<4x64xf32>, tensor<4xi32>) -> tensor<f32>
    nn.yield %loss : tensor<f32>
  }
  nn.loss mlm(%mlm)
}

// A chunk of as many rows as the hidden size: a weight's gradient has the shape of the rows' and is yet a sum.
// CHECK-LABEL: nn.step @square {
// CHECK: nn.masked_rows {{.*}} chunk(64) : {{.*}} -> (tensor<f32>, tensor<2x8x64xf32>, tensor<64x64xf32>) {
// CHECK: nn.yield %{{.*}}, %{{.*}}, %{{.*}} : tensor<f32>, tensor<64x64xf32>, tensor<64x64xf32>
nn.model @square {
  %tokens = nn.input tokens : !ids
  %table = nn.parameter "table" normal(0.02) decay : !w
  %x = nn.embedding %tokens, %table : (!ids, !w) -> !x
  %mlm = nn.masked_rows %x, %tokens, %tokens chunk(64) : (!x, !ids, !ids) -> tensor<f32> {
  ^bb0(%rows: !w, %targets: tensor<64xi32>):
    %logits = nn.linear %rows, %table : (!w, !w) -> !w
    %loss = nn.cross_entropy %logits, %targets : (!w, tensor<64xi32>) -> tensor<f32>
    nn.yield %loss : tensor<f32>
  }
  nn.loss mlm(%mlm)
}
