// RUN: seqpar-opt %s --bind-shapes="batch=4 seq-length=96 chunk=32 dropout=0.1" | FileCheck %s --implicit-check-not="?"
// RUN: seqpar-opt %s --bind-shapes="batch=4 seq-length=96" | FileCheck %s --check-prefix=OFF --implicit-check-not=nn.dropout --implicit-check-not=rate
// RUN: seqpar-opt %s --bind-shapes="batch=2 seq-length=5" | FileCheck %s --check-prefix=SMALL

!x = tensor<?x?x64xf32>
!ids = tensor<?x?xi32>

// CHECK-LABEL: nn.model @m
// OFF-LABEL: nn.model @m
// SMALL-LABEL: nn.model @m
nn.model @m {
  // CHECK: nn.input tokens : tensor<4x96xi32>
  %tokens = nn.input tokens : !ids
  %positions = nn.input positions : !ids
  %padding_mask = nn.input padding_mask : !ids
  %loss_mask = nn.input loss_mask : !ids
  %labels = nn.input labels : !ids
  // Of one dimension: samples.
  // CHECK: nn.input sentence_order : tensor<4xi32>
  %order = nn.input sentence_order : tensor<?xi32>
  %table = nn.parameter "table" normal(0.02) decay : tensor<512x64xf32>
  // A table of positions may have more rows than are used.
  // CHECK: nn.parameter "positions" normal(0.02) decay : tensor<128x64xf32>
  %rows = nn.parameter "positions" normal(0.02) decay : tensor<128x64xf32>
  // CHECK: nn.embedding {{.*}} -> tensor<4x96x64xf32>
  %e = nn.embedding %tokens, %table : (!ids, tensor<512x64xf32>) -> !x
  %p = nn.embedding %positions, %rows : (!ids, tensor<128x64xf32>) -> !x
  // CHECK: nn.add {{.*}} : tensor<4x96x64xf32>
  // OFF: %[[ADD:.*]] = nn.add {{.*}} : tensor<4x96x64xf32>
  %s = nn.add %e, %p : !x
  // CHECK: nn.dropout %{{.*}} rate(0.1) : tensor<4x96x64xf32>
  %x = nn.dropout %s : !x
  // CHECK: nn.repeat {{.*}} : tensor<4x96x64xf32> {
  // OFF: nn.repeat 2 as "layer." (%{{.*}} = %[[ADD]]) : tensor<4x96x64xf32> {
  %y = nn.repeat 2 as "layer." (%h = %x) : !x {
    // CHECK: nn.attention {{.*}} heads(2) rate(0.1) : {{.*}} -> tensor<4x96x64xf32>
    // OFF: %[[A:.*]] = nn.attention {{.*}} heads(2) : {{.*}} -> tensor<4x96x64xf32>
    // OFF: nn.yield %[[A]]
    %a = nn.attention %h, %h, %h, %padding_mask heads(2) : (!x, !x, !x, !ids) -> !x
    %d = nn.dropout %a : !x
    nn.yield %d : !x
  }
  // Rows of a chunk, not of a sample; the default is 128, and never more than there are positions.
  // CHECK: nn.masked_rows {{.*}} chunk(32)
  // CHECK-NEXT: ^bb0(%{{.*}}: tensor<32x64xf32>, %{{.*}}: tensor<32xi32>):
  // CHECK-NEXT: nn.linear {{.*}} -> tensor<32x512xf32>
  // OFF: nn.masked_rows {{.*}} chunk(128)
  // SMALL: nn.masked_rows {{.*}} chunk(10)
  // SMALL-NEXT: ^bb0(%{{.*}}: tensor<10x64xf32>, %{{.*}}: tensor<10xi32>):
  %mlm = nn.masked_rows %y, %loss_mask, %labels : (!x, !ids, !ids) -> tensor<f32> {
  ^bb0(%r: tensor<?x64xf32>, %t: tensor<?xi32>):
    %logits = nn.linear %r, %table : (tensor<?x64xf32>, tensor<512x64xf32>) -> tensor<?x512xf32>
    %loss = nn.cross_entropy %logits, %t : (tensor<?x512xf32>, tensor<?xi32>) -> tensor<f32>
    nn.yield %loss : tensor<f32>
  }
  // A selected token has samples only.
  // CHECK: nn.select_token {{.*}} -> tensor<4x64xf32>
  %first = nn.select_token %y, 0 : (!x) -> tensor<?x64xf32>
  %sop = nn.cross_entropy %first, %order : (tensor<?x64xf32>, tensor<?xi32>) -> tensor<f32>
  nn.loss mlm(%mlm) sop(%sop)
}

// A chunk that the model gives stays.
// CHECK-LABEL: nn.model @own_chunk
nn.model @own_chunk {
  %loss_mask = nn.input loss_mask : !ids
  %table = nn.parameter "table" normal(0.02) decay : tensor<512x64xf32>
  %x = nn.embedding %loss_mask, %table : (!ids, tensor<512x64xf32>) -> !x
  // CHECK: nn.masked_rows {{.*}} chunk(7)
  // CHECK-NEXT: ^bb0(%{{.*}}: tensor<7x64xf32>, %{{.*}}: tensor<7xi32>):
  %mlm = nn.masked_rows %x, %loss_mask, %loss_mask chunk(7) : (!x, !ids, !ids) -> tensor<f32> {
  ^bb0(%r: tensor<7x64xf32>, %t: tensor<7xi32>):
    %loss = nn.cross_entropy %r, %t : (tensor<7x64xf32>, tensor<7xi32>) -> tensor<f32>
    nn.yield %loss : tensor<f32>
  }
  nn.loss mlm(%mlm)
}
