// RUN: seqpar-opt %s --pass-pipeline='builtin.module(nn.step(assign-layouts),localize)' --split-input-file --verify-diagnostics

nn.step @attention_left {
  %seed = nn.input inverse_samples : tensor<f32>
  %ids = nn.input tokens : tensor<4x64xi32>
  %mask = nn.input padding_mask : tensor<4x64xi32>
  %w = nn.parameter "w" normal(0.02) decay : tensor<16x8xf32>
  %x = nn.embedding %ids, %w : (tensor<4x64xi32>, tensor<16x8xf32>) -> tensor<4x64x8xf32>
  // expected-error @below {{has no lowering to a rank's plan}}
  %a = nn.attention %x, %x, %x, %mask heads(2) : (tensor<4x64x8xf32>, tensor<4x64x8xf32>, tensor<4x64x8xf32>, tensor<4x64xi32>) -> tensor<4x64x8xf32>
  %dw = nn.embedding_grad %a, %ids : (tensor<4x64x8xf32>, tensor<4x64xi32>) -> tensor<16x8xf32>
  nn.accumulate "w", %dw : tensor<16x8xf32>
} update {
}

// -----

nn.step @other_token {
  %ids = nn.input tokens : tensor<4x64xi32>
  %w = nn.parameter "w" normal(0.02) decay : tensor<16x8xf32>
  %x = nn.embedding %ids, %w : (tensor<4x64xi32>, tensor<16x8xf32>) -> tensor<4x64x8xf32>
  // expected-error @below {{is lowered for position 0 only, found 3}}
  %t = nn.select_token %x, 3 : (tensor<4x64x8xf32>) -> tensor<4x8xf32>
  %dx = nn.select_token_grad %t, 0 : (tensor<4x8xf32>) -> tensor<4x64x8xf32>
  %dw = nn.embedding_grad %dx, %ids : (tensor<4x64x8xf32>, tensor<4x64xi32>) -> tensor<16x8xf32>
  nn.accumulate "w", %dw : tensor<16x8xf32>
} update {
}

// -----

// expected-error @below {{expected an input of tokens}}
nn.step @no_tokens {
} update {
}

// -----

// expected-error @below {{expected an nn.accumulate_metric mlm}}
nn.step @no_loss {
  %ids = nn.input tokens : tensor<4x64xi32>
} update {
}

// -----

// expected-error @below {{updates 0 of 1 parameters: run insert-optimizer first}}
nn.step @no_update {
  %seed = nn.input inverse_loss_tokens : tensor<f32>
  %ids = nn.input tokens : tensor<4x64xi32>
  %order = nn.input sentence_order : tensor<4xi32>
  %w = nn.parameter "w" normal(0.02) decay : tensor<4x8xf32>
  %l = nn.cross_entropy %w, %order : (tensor<4x8xf32>, tensor<4xi32>) -> tensor<f32>
  %d = nn.cross_entropy_grad %w, %order, %seed : (tensor<4x8xf32>, tensor<4xi32>, tensor<f32>) -> tensor<4x8xf32>
  %z = nn.sum_rows %d : (tensor<4x8xf32>) -> tensor<8xf32>
  %e = nn.linear_grad_weight %d, %d : (tensor<4x8xf32>, tensor<4x8xf32>) -> tensor<8x8xf32>
  %f = nn.linear_grad_input %d, %e : (tensor<4x8xf32>, tensor<8x8xf32>) -> tensor<4x8xf32>
  nn.accumulate "w", %f : tensor<4x8xf32>
  nn.accumulate_metric mlm %l scale %seed : tensor<f32>, tensor<f32>
} update {
}

// -----

nn.step @dropout_of_masked_rows {
  %seed = nn.input inverse_loss_tokens : tensor<f32>
  %ids = nn.input tokens : tensor<4x64xi32>
  %loss_mask = nn.input loss_mask : tensor<4x64xi32>
  %labels = nn.input labels : tensor<4x64xi32>
  %w = nn.parameter "w" normal(0.02) decay : tensor<16x8xf32>
  %x = nn.embedding %ids, %w : (tensor<4x64xi32>, tensor<16x8xf32>) -> tensor<4x64x8xf32>
  %mlm = nn.masked_rows %x, %loss_mask, %labels chunk(8) : (tensor<4x64x8xf32>, tensor<4x64xi32>, tensor<4x64xi32>) -> tensor<f32> {
  ^bb0(%rows: tensor<8x8xf32>, %targets: tensor<8xi32>):
    // expected-error @below {{is defined on [samples, positions, features] and [samples, features], and not inside of nn.masked_rows}}
    %d = nn.dropout %rows rate(0.1) site(1) : tensor<8x8xf32>
    %logits = nn.linear %d, %w : (tensor<8x8xf32>, tensor<16x8xf32>) -> tensor<8x16xf32>
    %loss = nn.cross_entropy %logits, %targets : (tensor<8x16xf32>, tensor<8xi32>) -> tensor<f32>
    nn.yield %loss : tensor<f32>
  }
  nn.accumulate_metric mlm %mlm scale %seed : tensor<f32>, tensor<f32>
  %dw = nn.embedding_grad %x, %ids : (tensor<4x64x8xf32>, tensor<4x64xi32>) -> tensor<16x8xf32>
  nn.accumulate "w", %dw : tensor<16x8xf32>
} update {
}
