// RUN: seqpar-opt %s --bind-shapes="batch=4 seq-length=96" --verify-diagnostics --split-input-file
// RUN: not seqpar-opt %s --bind-shapes="batch=0" 2>&1 | FileCheck %s --check-prefix=BATCH
// RUN: not seqpar-opt %s --bind-shapes="seq-length=-1" 2>&1 | FileCheck %s --check-prefix=LENGTH
// RUN: not seqpar-opt %s --bind-shapes="chunk=99999999999" 2>&1 | FileCheck %s --check-prefix=CHUNK
// RUN: not seqpar-opt %s --bind-shapes="dropout=1.0" 2>&1 | FileCheck %s --check-prefix=DROPOUT
// RUN: not seqpar-opt %s --bind-shapes="dropout=0.99999999999" 2>&1 | FileCheck %s --check-prefix=DROPOUT
// RUN: not seqpar-opt %s --bind-shapes="dropout=nan" 2>&1 | FileCheck %s --check-prefix=NAN
// RUN: not seqpar-opt %models/bert-tiny.mlir --bind-shapes="batch=2147483647 seq-length=512" 2>&1 | FileCheck %s --check-prefix=LARGE
// LARGE: error: 'nn.embedding' op has a result of type 'tensor<2147483647x512x128xf32>', but a tensor may have 1 to 2^40 elements: use a smaller batch or sequence length
// BATCH: error: bind-shapes: batch must be from 1 to 2147483647, but is 0
// LENGTH: error: bind-shapes: seq-length must be from 1 to 2147483647, but is -1
// CHUNK: error: bind-shapes: chunk must be from 1 to 2147483647, but is 99999999999
// DROPOUT: error: bind-shapes: dropout must be at least 0 and below 1 in single precision, but is 1.000000e+00
// NAN: error: bind-shapes: dropout must be at least 0 and below 1 in single precision, but is nan

nn.model @too_few_positions {
  %positions = nn.input positions : tensor<?x?xi32>
  %table = nn.parameter "positions" normal(0.02) decay : tensor<64x8xf32>
  // expected-error @below {{has a table of 64 positions, which is less than the sequence length 96: use a shorter sequence or a model with a larger maximum}}
  %x = nn.embedding %positions, %table : (tensor<?x?xi32>, tensor<64x8xf32>) -> tensor<?x?x8xf32>
  %loss = nn.input inverse_samples : tensor<f32>
  nn.loss mlm(%loss)
}

// -----

nn.model @unknown_hidden {
  %tokens = nn.input tokens : tensor<?x?xi32>
  %table = nn.parameter "words" normal(0.02) decay : tensor<64x8xf32>
  // expected-error @below {{has a result of type 'tensor<4x96x?xf32>', in which only the first two dimensions may be '?'}}
  %x = nn.embedding %tokens, %table : (tensor<?x?xi32>, tensor<64x8xf32>) -> tensor<?x?x?xf32>
  %loss = nn.input inverse_samples : tensor<f32>
  nn.loss mlm(%loss)
}

// -----

// What is written in the model is not overruled, and does not fit.
nn.model @other_length {
  %tokens = nn.input tokens : tensor<?x8xi32>
  %types = nn.input types : tensor<?x?xi32>
  %table = nn.parameter "words" normal(0.02) decay : tensor<64x8xf32>
  %x = nn.embedding %tokens, %table : (tensor<?x8xi32>, tensor<64x8xf32>) -> tensor<?x8x8xf32>
  %y = nn.embedding %types, %table : (tensor<?x?xi32>, tensor<64x8xf32>) -> tensor<?x?x8xf32>
  // expected-error @below {{extent s of [b,s,h],[b,s,h]->[b,s,h] is 8 in operand 0, but 96 in operand 1}}
  %z = nn.add %x, %y : (tensor<?x8x8xf32>, tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
  %loss = nn.input inverse_samples : tensor<f32>
  nn.loss mlm(%loss)
}
