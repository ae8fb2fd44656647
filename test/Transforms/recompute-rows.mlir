// RUN: seqpar-opt %s --recompute-rows --split-input-file | FileCheck %s

#row = #plan.access<row>
#broadcast = #plan.access<broadcast>
!x = tensor<4x16x8xf32>
!r = tensor<8xf32>

// What the kernel reads is read after the use anyway: it is run again there, and only there.
// CHECK-LABEL: plan.program @again
plan.program @again <dp = 1, pp = 1, sp = 1> micro_batch(4) seq_length(16) chunk_length(16) vocabulary(16) {
  plan.stage 0 {
    %b = plan.parameter "b" zeros : memref<8xf32>
    %w = plan.parameter "w" zeros : memref<8x8xf32>
    plan.micro_batch {
      // CHECK: %[[H:.*]] = plan.zeros
      %h = plan.zeros : !x
      // CHECK: %[[Y:.*]] = plan.rows "act" {{.*}}ins(%[[H]], %[[B:.*]] :
      %y = plan.rows "act" rows(64) ins(%h, %b : !x, memref<8xf32>) access [#row, #broadcast] results [#row] -> !x {
      ^bb0(%a: !r, %c: !r):
        %s = arith.mulf %a, %c : !r
        plan.row_yield %s : !r
      }
      // CHECK: plan.gemm %[[Y]], %
      %z = plan.gemm %y, %w : !x, memref<8x8xf32> -> !x
      // CHECK: plan.backward
      plan.backward
      // CHECK: %[[AGAIN:.*]] = plan.rows "act" {{.*}}ins(%[[H]], %[[B]] :
      // CHECK: plan.gemm %{{.*}}, %[[AGAIN]] transpose_a
      // CHECK: plan.gemm %{{.*}}, %[[AGAIN]] transpose_a
      // CHECK-NOT: plan.rows "act"
      %d = plan.zeros : !x
      %dw = plan.gemm %d, %y transpose_a : !x, !x -> tensor<8x8xf32>
      %dv = plan.gemm %d, %y transpose_a : !x, !x -> tensor<8x8xf32>
      // CHECK: plan.rows "act_grad"
      %dh = plan.rows "act_grad" rows(64) ins(%d, %h : !x, !x) access [#row, #row] results [#row] -> !x {
      ^bb0(%a: !r, %c: !r):
        %s = arith.mulf %a, %c : !r
        plan.row_yield %s : !r
      }
    }
    plan.update {
    }
  }
}

// -----

#row = #plan.access<row>
#sum = #plan.access<sum_rows>
!x = tensor<4x16x8xf32>
!r = tensor<8xf32>

// What the kernel reads would have to live longer for it; a sum over rows is not made again either.
// CHECK-LABEL: plan.program @kept
// CHECK: plan.backward
// CHECK-NOT: plan.rows
plan.program @kept <dp = 1, pp = 1, sp = 1> micro_batch(4) seq_length(16) chunk_length(16) vocabulary(16) {
  plan.stage 0 {
    plan.micro_batch {
      %h = plan.zeros : !x
      %g = plan.zeros : !x
      %y = plan.rows "act" rows(64) ins(%h : !x) access [#row] results [#row] -> !x {
      ^bb0(%a: !r):
        %s = arith.addf %a, %a : !r
        plan.row_yield %s : !r
      }
      %t = plan.rows "total" rows(64) ins(%g : !x) access [#row] results [#sum] -> tensor<8xf32> {
      ^bb0(%a: !r):
        plan.row_yield %a : !r
      }
      plan.backward
      %dw = plan.gemm %g, %y transpose_a : !x, !x -> tensor<8x8xf32>
      %dv = plan.gemm %g, %g transpose_a : !x, !x -> tensor<8x8xf32>
    }
    plan.update {
    }
  }
}

// -----

#row = #plan.access<row>
!x = tensor<4x16x8xf32>
!r = tensor<8xf32>

// Without a backward part nothing is run twice.
// CHECK-LABEL: plan.program @forward
// CHECK-COUNT-1: plan.rows
// CHECK-NOT: plan.rows
plan.program @forward <dp = 1, pp = 1, sp = 1> micro_batch(4) seq_length(16) chunk_length(16) vocabulary(16) {
  plan.stage 0 {
    %w = plan.parameter "w" zeros : memref<8x8xf32>
    plan.micro_batch {
      %h = plan.zeros : !x
      %y = plan.rows "act" rows(64) ins(%h : !x) access [#row] results [#row] -> !x {
      ^bb0(%a: !r):
        %s = arith.addf %a, %a : !r
        plan.row_yield %s : !r
      }
      %z = plan.gemm %y, %w : !x, memref<8x8xf32> -> !x
      %u = plan.gemm %h, %w : !x, memref<8x8xf32> -> !x
    }
    plan.update {
    }
  }
}

// -----

#row = #plan.access<row>
!x = tensor<4x16x8xf32>
!r = tensor<8xf32>

// A wait reads nothing: it only keeps what was sent, and that is the first one.
// CHECK-LABEL: plan.program @sent
plan.program @sent <dp = 1, pp = 2, sp = 1> micro_batch(4) seq_length(16) chunk_length(16) vocabulary(16) {
  plan.stage 0 {
    plan.micro_batch {
      %h = plan.zeros : !x
      // CHECK: %[[Y:.*]] = plan.rows "waited"
      %y = plan.rows "waited" rows(64) ins(%h : !x) access [#row] results [#row] -> !x {
      ^bb0(%a: !r):
        %s = arith.addf %a, %a : !r
        plan.row_yield %s : !r
      }
      // CHECK: %[[Z:.*]] = plan.rows "waited_and_read"
      %z = plan.rows "waited_and_read" rows(64) ins(%h : !x) access [#row] results [#row] -> !x {
      ^bb0(%a: !r):
        %s = arith.mulf %a, %a : !r
        plan.row_yield %s : !r
      }
      sp.send %y to stage 1 tag 0 : !x
      sp.send %z to stage 1 tag 2 : !x
      // CHECK: plan.backward
      plan.backward
      // CHECK-NOT: plan.rows
      // CHECK: sp.wait sent(%[[Y]] :
      sp.wait sent(%y : !x) tag 0
      // CHECK-NEXT: sp.wait sent(%[[Z]] :
      sp.wait sent(%z : !x) tag 2
      // CHECK-NEXT: plan.zeros
      %d = plan.zeros : !x
      // CHECK-NEXT: %[[AGAIN:.*]] = plan.rows "waited_and_read"
      // CHECK: plan.gemm %{{.*}}, %[[AGAIN]] transpose_a
      %dw = plan.gemm %d, %z transpose_a : !x, !x -> tensor<8x8xf32>
      %dv = plan.gemm %d, %h transpose_a : !x, !x -> tensor<8x8xf32>
    }
    plan.update {
    }
  }
  plan.stage 1 {
    plan.micro_batch {
    }
    plan.update {
    }
  }
}
