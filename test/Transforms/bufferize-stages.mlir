// RUN: seqpar-opt %s --fuse-rows --overlap --bufferize | FileCheck %s

// Nothing is merged or moved over the border between forward and backward. What is sent forward is kept to its wait; the
// copy that is sent backward is made by the kernel that computes it, in a buffer for the whole step that is waited for
// before it is written again. Ring shifts get tags behind those of exchanges between stages.

// CHECK-LABEL: plan.program @middle
plan.program @middle #sp.grid<dp = 1, pp = 3, sp = 2> micro_batch(1) seq_length(8) chunk_length(4) vocabulary(8) {
  plan.stage 0 {
    plan.micro_batch {
    }
    plan.update {
    }
  }
  plan.stage 1 {
    %w = plan.parameter "w" normal : memref<8x8xf32>
    plan.micro_batch {
      // CHECK: %[[X:.*]] = plan.buffer communication
      // CHECK-NEXT: sp.receive into %[[X]] : memref<4x8xf32> from stage 0 tag 0
      // CHECK-NEXT: sp.wait tag 0
      // CHECK: plan.gemm %[[X]]
      // CHECK-NEXT: %[[Y:.*]] = plan.buffer {value = "double"}
      // CHECK-NEXT: plan.rows "double"
      // CHECK: sp.send %[[Y]] to stage 2 tag 2 : memref<4x8xf32>
      // CHECK-NEXT: plan.backward
      // CHECK: sp.ring_shift_start({{.*}}) into({{.*}}) tag 4
      // CHECK: %[[R:.*]] = plan.buffer communication
      // CHECK-NEXT: sp.receive into %[[R]] : memref<4x8xf32> from stage 2 tag 3
      // CHECK-NEXT: sp.wait tag 2
      // CHECK-NEXT: sp.wait tag 3
      // CHECK-NEXT: sp.wait tag 4
      // CHECK-NEXT: sp.wait tag 1
      // CHECK-NEXT: %[[D:.*]] = plan.buffer whole_step {value = "add+copy"}
      // CHECK-NEXT: plan.rows "add+copy" rows(4) ins(%{{.*}}, %[[R]] : {{.*}}) outs(%[[D]] : memref<4x8xf32>)
      // CHECK: sp.send %[[D]] to stage 0 tag 1 : memref<4x8xf32>
      %r = sp.receive from stage 0 tag 0 -> tensor<4x8xf32>
      %x = sp.wait(%r : tensor<4x8xf32>) tag 0 -> tensor<4x8xf32>
      %k = plan.gemm %x, %w : tensor<4x8xf32>, memref<8x8xf32> -> tensor<4x8xf32>
      %y = plan.rows "double" rows(4) ins(%k : tensor<4x8xf32>) access [#plan.access<row>] results [#plan.access<row>] -> tensor<4x8xf32> {
      ^bb0(%e: tensor<8xf32>):
        %s = arith.addf %e, %e : tensor<8xf32>
        plan.row_yield %s : tensor<8xf32>
      }
      sp.send %y to stage 2 tag 2 : tensor<4x8xf32>
      plan.backward
      %t = sp.receive from stage 2 tag 3 -> tensor<4x8xf32>
      sp.wait sent(%y : tensor<4x8xf32>) tag 2
      %dy = sp.wait(%t : tensor<4x8xf32>) tag 3 -> tensor<4x8xf32>
      %n = sp.ring_shift %k : tensor<4x8xf32> -> tensor<4x8xf32>
      %d = plan.rows "add" rows(4) ins(%n, %dy : tensor<4x8xf32>, tensor<4x8xf32>) access [#plan.access<row>, #plan.access<row>] results [#plan.access<row>] -> tensor<4x8xf32> {
      ^bb0(%e: tensor<8xf32>, %f: tensor<8xf32>):
        %s = arith.addf %e, %f : tensor<8xf32>
        plan.row_yield %s : tensor<8xf32>
      }
      %c = plan.rows "copy" rows(4) ins(%d : tensor<4x8xf32>) access [#plan.access<row>] results [#plan.access<row>] -> tensor<4x8xf32> {
      ^bb0(%e: tensor<8xf32>):
        plan.row_yield %e : tensor<8xf32>
      }
      sp.send %c to stage 0 tag 1 : tensor<4x8xf32>
    }
    plan.update {
      sp.wait tag 1
    }
  }
  plan.stage 2 {
    plan.micro_batch {
    }
    plan.update {
    }
  }
}
