// RUN: seqpar-opt %s --verify-diagnostics --split-input-file

nn.model @no_loss {
  // expected-error @below {{block with no terminator}}
  %tokens = nn.input tokens : tensor<?x?xi32>
}

// -----

nn.model @same_name {
  // expected-note @below {{the other parameter}}
  %a = nn.parameter "a" zeros : tensor<4xf32>
  // expected-error @below {{has the name 'a' of another parameter}}
  %b = nn.parameter "a" zeros : tensor<4xf32>
  %s = nn.input inverse_samples : tensor<f32>
  nn.loss mlm(%s)
}

// -----

// expected-error @below {{of kind tokens must be tensor<?x?xi32> (the dimensions may be bound), but is 'tensor<?x?xf32>'}}
%t = nn.input tokens : tensor<?x?xf32>

// -----

// expected-error @below {{result 0 must have rank 1 (->[b]), but is 'tensor<2x4xi32>'}}
%t = nn.input sentence_order : tensor<2x4xi32>

// -----

// expected-error @below {{of kind inverse_samples must be tensor<f32> (the dimensions may be bound), but is 'tensor<i32>'}}
%t = nn.input inverse_samples : tensor<i32>

// -----

// expected-error @below {{custom op 'nn.input' expected}}
%t = nn.input colours : tensor<2x4xi32>

// -----

// expected-error @below {{expected an initializer (zeros, ones, or normal(deviation)), found 'uniform'}}
%p = nn.parameter "p" uniform : tensor<4xf32>

// -----

// expected-error @below {{'p' needs a deviation: normal(0.02)}}
%p = nn.parameter "p" normal : tensor<4xf32>

// -----

// expected-error @below {{'p' has a deviation, which only normal takes}}
%p = nn.parameter "p" zeros(0.02) : tensor<4xf32>

// -----

// expected-error @below {{'p' must have a finite deviation of at least 0}}
%p = nn.parameter "p" normal(-0.02) : tensor<4xf32>

// -----

// expected-error @below {{'p' must have a static shape, but is 'tensor<?xf32>'}}
%p = nn.parameter "p" zeros : tensor<?xf32>

// -----

// expected-error @below {{'p' must have at least 1 and at most 2^40 elements, but is 'tensor<4294967296x4294967296xf32>'}}
%p = nn.parameter "p" zeros : tensor<4294967296x4294967296xf32>

// -----

// expected-error @below {{'p' must have at least 1 and at most 2^40 elements, but is 'tensor<4x0xf32>'}}
%p = nn.parameter "p" zeros : tensor<4x0xf32>

// -----

// expected-error @below {{has an empty name}}
%p = nn.parameter "" zeros : tensor<4xf32>

// -----

%x = nn.parameter "x" zeros : tensor<2x8x64xf32>
%w = nn.parameter "w" zeros : tensor<32x48xf32>
// expected-error @below {{extent k of [b,s,k],[n,k]->[b,s,n] is 64 in operand 0, but 48 in operand 1}}
%y = nn.linear %x, %w : (tensor<2x8x64xf32>, tensor<32x48xf32>) -> tensor<2x8x32xf32>

// -----

%x = nn.parameter "x" zeros : tensor<2x8x64xf32>
%w = nn.parameter "w" zeros : tensor<32x64xf32>
%b = nn.parameter "b" zeros : tensor<32x1xf32>
// expected-error @below {{operand 2 must have rank 1 ([b,s,k],[n,k],[n]->[b,s,n]), but is 'tensor<32x1xf32>'}}
%y = nn.linear %x, %w, %b : (tensor<2x8x64xf32>, tensor<32x64xf32>, tensor<32x1xf32>) -> tensor<2x8x32xf32>

// -----

%x = nn.parameter "x" zeros : tensor<2x8x64xf32>
%w = nn.parameter "w" zeros : tensor<32x64xf32>
// expected-error @below {{extent n of [b,s,k],[n,k]->[b,s,n] is 32 in operand 1, but 64 in result 0}}
%y = nn.linear %x, %w : (tensor<2x8x64xf32>, tensor<32x64xf32>) -> tensor<2x8x64xf32>

// -----

%x = nn.parameter "x" zeros : tensor<f32>
%w = nn.parameter "w" zeros : tensor<32x64xf32>
// expected-error @below {{operand 0 must have rank 3}}
%y = nn.linear %x, %w : (tensor<f32>, tensor<32x64xf32>) -> tensor<2x8x64xf32>

// -----

%ids = nn.input tokens : tensor<2x8xi32>
// expected-error @below {{operand #1 must be ranked tensor of 32-bit float values}}
%y = nn.embedding %ids, %ids : (tensor<2x8xi32>, tensor<2x8xi32>) -> tensor<2x8x8xf32>

// -----

%x = nn.parameter "x" zeros : tensor<2x8x64xf32>
%g = nn.parameter "g" zeros : tensor<32xf32>
// expected-error @below {{extent h of [b,s,h],[h],[h]->[b,s,h] is 64 in operand 0, but 32 in operand 1}}
%y = nn.layer_norm %x, %g, %g eps(1.0e-12) : (tensor<2x8x64xf32>, tensor<32xf32>, tensor<32xf32>) -> tensor<2x8x64xf32>

// -----

%x = nn.parameter "x" zeros : tensor<2x8x64xf32>
%g = nn.parameter "g" zeros : tensor<64xf32>
// expected-error @below {{eps must be above 0, but is 0.0}}
%y = nn.layer_norm %x, %g, %g eps(0.0) : (tensor<2x8x64xf32>, tensor<64xf32>, tensor<64xf32>) -> tensor<2x8x64xf32>

// -----

%x = nn.parameter "x" zeros : tensor<2x8x64xf32>
%mask = nn.input padding_mask : tensor<2x8xi32>
// expected-error @below {{the number of heads must divide the hidden size 64, but is 5}}
%y = nn.attention %x, %x, %x, %mask heads(5) : (tensor<2x8x64xf32>, tensor<2x8x64xf32>, tensor<2x8x64xf32>, tensor<2x8xi32>) -> tensor<2x8x64xf32>

// -----

%x = nn.parameter "x" zeros : tensor<2x8x64xf32>
%mask = nn.input padding_mask : tensor<2x8xi32>
// expected-error @below {{the number of heads must divide the hidden size 64, but is 0}}
%y = nn.attention %x, %x, %x, %mask heads(0) : (tensor<2x8x64xf32>, tensor<2x8x64xf32>, tensor<2x8x64xf32>, tensor<2x8xi32>) -> tensor<2x8x64xf32>

// -----

%x = nn.parameter "x" zeros : tensor<2x8x64xf32>
%mask = nn.input padding_mask : tensor<2x8xi32>
// expected-error @below {{the log-sum-exp must have extent 4 (heads) in dimension 1, but is 'tensor<2x2x8xf32>'}}
%y, %lse = nn.attention %x, %x, %x, %mask heads(4) : (tensor<2x8x64xf32>, tensor<2x8x64xf32>, tensor<2x8x64xf32>, tensor<2x8xi32>) -> (tensor<2x8x64xf32>, tensor<2x2x8xf32>)

// -----

%x = nn.parameter "x" zeros : tensor<2x8x64xf32>
// expected-error @below {{rate must be at least 0 and below 1 in single precision, but is 1.0}}
%y = nn.dropout %x rate(1.0) : tensor<2x8x64xf32>

// -----

// Rounded to single precision it is 1, and what is kept would be divided by 0.
%x = nn.parameter "x" zeros : tensor<2x8x64xf32>
// expected-error @below {{rate must be at least 0 and below 1 in single precision, but is 1.0}}
%y = nn.dropout %x rate(0.99999999999) : tensor<2x8x64xf32>

// -----

%x = nn.parameter "x" zeros : tensor<2x8x64xf32>
// expected-error @below {{rate must be at least 0 and below 1 in single precision, but is 1.0}}
%y = nn.dropout_grad %x rate(0.99999999999) : tensor<2x8x64xf32>

// -----

%x = nn.parameter "x" zeros : tensor<2x8x64xf32>
%mask = nn.input padding_mask : tensor<2x8xi32>
// expected-error @below {{rate must be at least 0 and below 1 in single precision and site at least 0, but are 1.0}}
%y = nn.attention %x, %x, %x, %mask heads(4) rate(0.99999999999) : (tensor<2x8x64xf32>, tensor<2x8x64xf32>, tensor<2x8x64xf32>, tensor<2x8xi32>) -> tensor<2x8x64xf32>

// -----

%x = nn.parameter "x" zeros : tensor<2x8x64xf32>
// expected-error @below {{site must be from 0 to 65535, but is 65536}}
%y = nn.dropout %x rate(0.1) site(65536) : tensor<2x8x64xf32>

// -----

%x = nn.parameter "x" zeros : tensor<2x8x64xf32>
// expected-error @below {{position 8 is not in 'tensor<2x8x64xf32>'}}
%y = nn.select_token %x, 8 : (tensor<2x8x64xf32>) -> tensor<2x64xf32>

// -----

%x = nn.parameter "x" zeros : tensor<2x64xf32>
%targets = nn.input sentence_order : tensor<3xi32>
// expected-error @below {{extent b of [b,v],[b]->[] is 2 in operand 0, but 3 in operand 1}}
%y = nn.cross_entropy %x, %targets : (tensor<2x64xf32>, tensor<3xi32>) -> tensor<f32>

// -----

%x = nn.parameter "x" zeros : tensor<2x4xf32>
// expected-error @below {{result 0 is 'tensor<2x4xf32>', but in its yielded values 'tensor<f32>'}}
%y = nn.repeat 2 as "l." (%h = %x) : tensor<2x4xf32> {
  %s = nn.input inverse_samples : tensor<f32>
  nn.yield %s : tensor<f32>
}

// -----

%x = nn.parameter "x" zeros : tensor<2x4xf32>
// expected-error @below {{has 1 results, but 0 yielded values}}
%y = nn.repeat 2 as "l." (%h = %x) : tensor<2x4xf32> {
  nn.yield
}

// -----

%x = nn.parameter "x" zeros : tensor<2x4xf32>
// expected-error @below {{count must be from 1 to 10000, but is 0}}
%y = nn.repeat 0 as "l." (%h = %x) : tensor<2x4xf32> {
  nn.yield %h : tensor<2x4xf32>
}

// -----

%x = nn.parameter "x" zeros : tensor<2x4xf32>
%y = nn.repeat 2 as "l." (%h = %x) : tensor<2x4xf32> {
  // expected-error @below {{block with no terminator}}
  %z = nn.tanh %x : tensor<2x4xf32>
}

// -----

%x = nn.parameter "x" zeros : tensor<2x8x64xf32>
%ids = nn.input labels : tensor<2x8xi32>
// expected-error @below {{region must have the arguments ('tensor<4x64xf32>', 'tensor<4xi32>')}}
%y = nn.masked_rows %x, %ids, %ids chunk(4) : (tensor<2x8x64xf32>, tensor<2x8xi32>, tensor<2x8xi32>) -> tensor<f32> {
^bb0(%rows: tensor<8x64xf32>, %targets: tensor<8xi32>):
  %loss = nn.cross_entropy %rows, %targets : (tensor<8x64xf32>, tensor<8xi32>) -> tensor<f32>
  nn.yield %loss : tensor<f32>
}

// -----

%x = nn.parameter "x" zeros : tensor<2x8x64xf32>
%ids = nn.input labels : tensor<2x8xi32>
// expected-error @below {{chunk must be at least 1, but is 0}}
%y = nn.masked_rows %x, %ids, %ids chunk(0) : (tensor<2x8x64xf32>, tensor<2x8xi32>, tensor<2x8xi32>) -> tensor<f32> {
^bb0(%rows: tensor<0x64xf32>, %targets: tensor<0xi32>):
  %s = nn.input inverse_samples : tensor<f32>
  nn.yield %s : tensor<f32>
}

// -----

%x = nn.parameter "x" zeros : tensor<2x8x64xf32>
%ids = nn.input labels : tensor<2x8xi32>
// expected-error @below {{has 1 results, but yields 0 values}}
%y = nn.masked_rows %x, %ids, %ids chunk(4) : (tensor<2x8x64xf32>, tensor<2x8xi32>, tensor<2x8xi32>) -> tensor<f32> {
^bb0(%rows: tensor<4x64xf32>, %targets: tensor<4xi32>):
  nn.yield
}

// -----

%x = nn.parameter "x" zeros : tensor<2x8x64xf32>
%ids = nn.input labels : tensor<2x8xi32>
// expected-error @below {{result 0 is 'tensor<8x64xf32>', but yields 'tensor<4x64xf32>': expected 'tensor<4x64xf32>' (a sum over chunks), or rows of 'tensor<2x8x64xf32>'}}
%y = nn.masked_rows %x, %ids, %ids chunk(4) : (tensor<2x8x64xf32>, tensor<2x8xi32>, tensor<2x8xi32>) -> tensor<8x64xf32> {
^bb0(%rows: tensor<4x64xf32>, %targets: tensor<4xi32>):
  nn.yield %rows : tensor<4x64xf32>
}

// -----

%x = nn.parameter "x" zeros : tensor<2x8x64xf32>
%ids = nn.input labels : tensor<2x8xi32>
%y = nn.masked_rows %x, %ids, %ids chunk(4) : (tensor<2x8x64xf32>, tensor<2x8xi32>, tensor<2x8xi32>) -> tensor<4xf32> {
^bb0(%rows: tensor<4x64xf32>, %targets: tensor<4xi32>):
  // expected-error @below {{must be above nn.masked_rows, which runs once for each chunk}}
  %p = nn.parameter "p" zeros : tensor<4xf32>
  nn.yield %p : tensor<4xf32>
}

// -----

nn.step @twice {
  %w = nn.parameter "w" zeros : tensor<4xf32>
  // expected-note @below {{the first}}
  nn.accumulate "w", %w : tensor<4xf32>
  // expected-error @below {{is the second for parameter 'w', expected one}}
  nn.accumulate "w", %w : tensor<4xf32>
} update {
}

// -----

nn.step @forgotten {
  // expected-error @below {{'w' has no nn.accumulate, expected one}}
  %w = nn.parameter "w" zeros : tensor<4xf32>
} update {
}

// -----

nn.step @unknown {
  %s = nn.input inverse_samples : tensor<f32>
  // expected-error @below {{names 'w', which is no parameter of this step}}
  nn.accumulate "w", %s : tensor<f32>
} update {
}

// -----

nn.step @shape {
  %s = nn.input inverse_samples : tensor<f32>
  %w = nn.parameter "w" zeros : tensor<4xf32>
  // expected-error @below {{of parameter 'w' must have its shape 'tensor<4xf32>', but is 'tensor<f32>'}}
  nn.accumulate "w", %s : tensor<f32>
} update {
}

// -----

nn.step @shapes {
  %w = nn.parameter "w" zeros : tensor<4xf32>
  %v = nn.parameter "v" zeros : tensor<8xf32>
  // expected-error @below {{extent i of [i],[i]-> is 4 in operand 0, but 8 in operand 1}}
  nn.accumulate "w", %w, %v : tensor<4xf32>, tensor<8xf32>
} update {
}

// -----

nn.step @update_twice {
  %w = nn.parameter "w" zeros : tensor<4xf32>
  nn.accumulate "w", %w : tensor<4xf32>
} update {
  %g = nn.gradient "w" : tensor<4xf32>
  %n = nn.global_norm %g : (tensor<4xf32>) -> tensor<f32>
  // expected-note @below {{the first}}
  nn.adamw "w", %g, %n beta1(0.9) beta2(0.999) eps(1.0e-8) : tensor<4xf32>, tensor<f32>
  // expected-error @below {{is the second for parameter 'w', expected one}}
  nn.adamw "w", %g, %n beta1(0.9) beta2(0.999) eps(1.0e-8) : tensor<4xf32>, tensor<f32>
}

// -----

nn.step @update_forgotten {
  // expected-error @below {{'w' has no nn.adamw, expected one}}
  %w = nn.parameter "w" zeros : tensor<4xf32>
  nn.accumulate "w", %w : tensor<4xf32>
} update {
  %g = nn.gradient "w" : tensor<4xf32>
}

// -----

%s = "nn.parameter"() <{initializer = 0 : i32, parameter_name = "s"}> : () -> tensor<f32>
// expected-error @below {{expects parent op 'nn.step'}}
nn.accumulate "s", %s : tensor<f32>

// -----

// An op with a region that is empty or ends in something else is an error, not a crash.
%x = nn.parameter "x" zeros : tensor<2x8x64xf32>
%ids = nn.input labels : tensor<2x8xi32>
// expected-error @below {{expects region #0 to have 0 or 1 blocks}}
%y = "nn.masked_rows"(%x, %ids, %ids) ({
^bb0(%rows: tensor<?x64xf32>, %targets: tensor<?xi32>):
  nn.yield
^bb1:
  nn.yield
}) : (tensor<2x8x64xf32>, tensor<2x8xi32>, tensor<2x8xi32>) -> tensor<f32>

// -----

%x = nn.parameter "x" zeros : tensor<2x8x64xf32>
// expected-error @below {{must go from a stage to its neighbour, but goes from 0 to 2}}
%y = nn.cut %x from 0 to 2 : tensor<2x8x64xf32>
