// RUN: seqpar-opt %s --unroll-layers | FileCheck %s --implicit-check-not=nn.repeat

!x = tensor<2x8x64xf32>
!w = tensor<64x64xf32>

// Each layer takes the result of the one before, and has parameters of its own with full names. The prefix is as given.
// CHECK-LABEL: nn.model @layers
nn.model @layers {
  %tokens = nn.input tokens : tensor<2x8xi32>
  %table = nn.parameter "table" normal(0.02) decay : !w
  // CHECK: %[[X:.*]] = nn.embedding
  %x = nn.embedding %tokens, %table : (tensor<2x8xi32>, !w) -> !x
  // CHECK-NEXT: %[[W0:.*]] = nn.parameter "stack.layer.0.output.dense.weight" normal(0.01) decay : tensor<64x64xf32>
  // CHECK-NEXT: %[[Y0:.*]] = nn.linear %[[X]], %[[W0]]
  // CHECK-NEXT: %[[W1:.*]] = nn.parameter "stack.layer.1.output.dense.weight" normal(0.01) decay : tensor<64x64xf32>
  // CHECK-NEXT: %[[Y1:.*]] = nn.linear %[[Y0]], %[[W1]]
  // CHECK-NEXT: %[[W2:.*]] = nn.parameter "stack.layer.2.output.dense.weight" normal(0.01) decay : tensor<64x64xf32>
  // CHECK-NEXT: %[[Y2:.*]] = nn.linear %[[Y1]], %[[W2]]
  %y = nn.repeat 3 as "stack.layer." (%h = %x) : !x {
    %w = nn.parameter "output.dense.weight" normal(0.01) decay : !w
    %z = nn.linear %h, %w : (!x, !w) -> !x
    nn.yield %z : !x
  }
  // CHECK-NEXT: nn.select_token %[[Y2]]
  %first = nn.select_token %y, 0 : (!x) -> tensor<2x64xf32>
  %order = nn.input sentence_order : tensor<2xi32>
  %loss = nn.cross_entropy %first, %order : (tensor<2x64xf32>, tensor<2xi32>) -> tensor<f32>
  nn.loss mlm(%loss)
}

// Two values carried, exchanged by each layer: three layers end with them exchanged.
// CHECK-LABEL: nn.model @exchange
nn.model @exchange {
  %s = nn.input inverse_samples : tensor<f32>
  // CHECK: %[[S:.*]] = nn.input inverse_samples
  // CHECK: %[[T:.*]] = nn.input inverse_loss_tokens
  %t = nn.input inverse_loss_tokens : tensor<f32>
  %u:2 = nn.repeat 3 as "l." (%a = %s, %b = %t) : tensor<f32>, tensor<f32> {
    nn.yield %b, %a : tensor<f32>, tensor<f32>
  }
  // CHECK: nn.loss mlm(%[[T]]) sop(%[[S]])
  nn.loss mlm(%u#0) sop(%u#1)
}

// Layers of layers.
// CHECK-LABEL: nn.model @nested
nn.model @nested {
  %s = nn.input inverse_samples : tensor<f32>
  // CHECK: nn.parameter "a.0.b.0.p"
  // CHECK: nn.parameter "a.0.b.1.p"
  // CHECK: nn.parameter "a.1.b.0.p"
  // CHECK: nn.parameter "a.1.b.1.p"
  %u = nn.repeat 2 as "a." (%a = %s) : tensor<f32> {
    %v = nn.repeat 2 as "b." (%b = %a) : tensor<f32> {
      %p = nn.parameter "p" zeros : tensor<f32>
      %c = nn.add %b, %p : tensor<f32>
      nn.yield %c : tensor<f32>
    }
    nn.yield %v : tensor<f32>
  }
  nn.loss mlm(%u)
}

// Every dropout has a site of its own, from 1 on in the order of the program.
// CHECK-LABEL: nn.model @sites
nn.model @sites {
  %mask = nn.input padding_mask : tensor<2x8xi32>
  %table = nn.parameter "table" normal(0.02) decay : !w
  %e = nn.embedding %mask, %table : (tensor<2x8xi32>, !w) -> !x
  // CHECK: nn.dropout %{{.*}} rate(0.1) site(1)
  // CHECK: nn.attention {{.*}} rate(0.1) site(2)
  // CHECK: nn.dropout %{{.*}} rate(0.1) site(3)
  // CHECK: nn.attention {{.*}} rate(0.1) site(4)
  // CHECK: nn.dropout %{{.*}} rate(0.1) site(5)
  %x = nn.dropout %e rate(0.1) : !x
  %y = nn.repeat 2 as "l." (%h = %x) : !x {
    %a = nn.attention %h, %h, %h, %mask heads(2) rate(0.1) : (!x, !x, !x, tensor<2x8xi32>) -> !x
    %d = nn.dropout %a rate(0.1) : !x
    nn.yield %d : !x
  }
  %loss = nn.input inverse_samples : tensor<f32>
  nn.loss mlm(%loss)
}
