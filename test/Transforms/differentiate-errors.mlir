// RUN: seqpar-opt %s --differentiate --verify-diagnostics --split-input-file

nn.model @unused_parameter {
  %order = nn.input sentence_order : tensor<2xi32>
  %a = nn.parameter "a" zeros : tensor<2x4xf32>
  // expected-error @below {{'spare.weight' gets no gradient: the loss does not depend on it}}
  %b = nn.parameter "spare.weight" zeros : tensor<2x4xf32>
  %c = nn.tanh %b : tensor<2x4xf32>
  %loss = nn.cross_entropy %a, %order : (tensor<2x4xf32>, tensor<2xi32>) -> tensor<f32>
  nn.loss mlm(%loss)
}

// -----

nn.model @repeat {
  %s = nn.input inverse_samples : tensor<f32>
  // expected-error @below {{is left: run unroll-layers before differentiate}}
  %t = nn.repeat 2 as "l." (%a = %s) : tensor<f32> {
    nn.yield %a : tensor<f32>
  }
  nn.loss mlm(%t)
}

// -----

nn.model @dynamic {
  // expected-error @below {{has a result of type 'tensor<?xi32>': run bind-shapes before differentiate}}
  %order = nn.input sentence_order : tensor<?xi32>
  %s = nn.input inverse_samples : tensor<f32>
  nn.loss mlm(%s)
}

// -----

// Its backward is inside it, so its cotangent must be known before it runs.
nn.model @loss_not_last {
  %tokens = nn.input tokens : tensor<2x8xi32>
  %table = nn.parameter "table" normal(0.02) decay : tensor<64x64xf32>
  %x = nn.embedding %tokens, %table : (tensor<2x8xi32>, tensor<64x64xf32>) -> tensor<2x8x64xf32>
  // expected-error @below {{can be differentiated only when its result is the loss that nn.loss takes}}
  %mlm = nn.masked_rows %x, %tokens, %tokens chunk(4) : (tensor<2x8x64xf32>, tensor<2x8xi32>, tensor<2x8xi32>) -> tensor<f32> {
  ^bb0(%rows: tensor<4x64xf32>, %targets: tensor<4xi32>):
    %loss = nn.cross_entropy %rows, %targets : (tensor<4x64xf32>, tensor<4xi32>) -> tensor<f32>
    nn.yield %loss : tensor<f32>
  }
  %squashed = nn.tanh %mlm : tensor<f32>
  nn.loss mlm(%squashed)
}

// -----

nn.model @captured_activation {
  %tokens = nn.input tokens : tensor<2x8xi32>
  %table = nn.parameter "table" normal(0.02) decay : tensor<64x64xf32>
  %x = nn.embedding %tokens, %table : (tensor<2x8xi32>, tensor<64x64xf32>) -> tensor<2x8x64xf32>
  // expected-note @below {{it uses this value of type 'tensor<2x64xf32>'}}
  %first = nn.select_token %x, 0 : (tensor<2x8x64xf32>) -> tensor<2x64xf32>
  // expected-error @below {{can be differentiated only when it uses no other values from above than parameters and scalars}}
  %mlm = nn.masked_rows %x, %tokens, %tokens chunk(4) : (tensor<2x8x64xf32>, tensor<2x8xi32>, tensor<2x8xi32>) -> tensor<f32> {
  ^bb0(%rows: tensor<4x64xf32>, %targets: tensor<4xi32>):
    %logits = nn.linear %rows, %first : (tensor<4x64xf32>, tensor<2x64xf32>) -> tensor<4x2xf32>
    %loss = nn.cross_entropy %logits, %targets : (tensor<4x2xf32>, tensor<4xi32>) -> tensor<f32>
    nn.yield %loss : tensor<f32>
  }
  nn.loss mlm(%mlm)
}

// -----

// A gradient op in a model: there is no second derivative.
nn.model @second {
  %order = nn.input sentence_order : tensor<2xi32>
  %a = nn.parameter "a" zeros : tensor<2x4xf32>
  // expected-error @below {{has no backward, but the loss depends on it}}
  %b = nn.tanh_grad %a, %a : tensor<2x4xf32>
  %loss = nn.cross_entropy %b, %order : (tensor<2x4xf32>, tensor<2xi32>) -> tensor<f32>
  nn.loss mlm(%loss)
}
