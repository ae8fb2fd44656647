// RUN: seqpar-opt %s --unroll-layers --verify-diagnostics --split-input-file

// Names that differ in the file and are the same once they are complete.
nn.model @names {
  // expected-note @below {{the other parameter}}
  %p = nn.parameter "layer.1.bias" zeros : tensor<f32>

  %u = nn.repeat 2 as "layer." (%a = %p) : tensor<f32> {
    // expected-error @below {{has the name 'layer.1.bias' of another parameter}}
    %q = nn.parameter "bias" zeros : tensor<f32>
    %c = nn.add %a, %q : tensor<f32>
    nn.yield %c : tensor<f32>
  }
  nn.loss mlm(%u)
}
