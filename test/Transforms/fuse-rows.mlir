// RUN: seqpar-opt %s --fuse-rows --split-input-file | FileCheck %s

#row = #plan.access<row>
#broadcast = #plan.access<broadcast>
#index = #plan.access<row_scalar>
#sum = #plan.access<sum_rows>
!x = tensor<4x16x8xf32>
!r = tensor<8xf32>

// A chain becomes one kernel. The middle value has another reader, so it stays an output; the first has none and never
// reaches memory. The product in between still sees its operand.
// CHECK-LABEL: plan.program @chain
plan.program @chain <dp = 1, pp = 1, sp = 1> micro_batch(4) seq_length(16) chunk_length(16) vocabulary(16) {
  plan.stage 0 {
    %b = plan.parameter "b" zeros : memref<8xf32>
    %w = plan.parameter "w" zeros : memref<8x8xf32>
    // CHECK: plan.micro_batch {
    plan.micro_batch {
      // CHECK: %[[IN:.*]] = plan.zeros
      // CHECK: %[[OTHER:.*]] = plan.zeros
      %in = plan.zeros : !x
      %other = plan.zeros : !x
      // CHECK-NEXT: %[[F:.*]]:2 = plan.rows "bias+add+double" rows(64) ins(%[[IN]], %{{.*}}, %[[OTHER]] : {{.*}}) access [#plan.access<row>, #plan.access<broadcast>, #plan.access<row>] results [#plan.access<row>, #plan.access<row>] -> tensor<4x16x8xf32>, tensor<4x16x8xf32> {
      // CHECK-NEXT: ^bb0(%[[A0:.*]]: tensor<8xf32>, %[[A1:.*]]: tensor<8xf32>, %[[A2:.*]]: tensor<8xf32>):
      // CHECK-NEXT: %[[S0:.*]] = arith.addf %[[A0]], %[[A1]]
      // CHECK-NEXT: %[[S1:.*]] = arith.addf %[[S0]], %[[A2]]
      // CHECK-NEXT: %[[S2:.*]] = arith.addf %[[S1]], %[[S1]]
      // CHECK-NEXT: plan.row_yield %[[S1]], %[[S2]]
      // CHECK-NOT: plan.rows
      %0 = plan.rows "bias" rows(64) ins(%in, %b : !x, memref<8xf32>) access [#row, #broadcast] results [#row] -> !x {
      ^bb0(%x: !r, %bias: !r):
        %s = arith.addf %x, %bias : !r
        plan.row_yield %s : !r
      }
      %1 = plan.rows "add" rows(64) ins(%0, %other : !x, !x) access [#row, #row] results [#row] -> !x {
      ^bb0(%x: !r, %y: !r):
        %s = arith.addf %x, %y : !r
        plan.row_yield %s : !r
      }
      %2 = plan.rows "double" rows(64) ins(%1 : !x) access [#row] results [#row] -> !x {
      ^bb0(%x: !r):
        %s = arith.addf %x, %x : !r
        plan.row_yield %s : !r
      }
      // CHECK: plan.gemm %[[F]]#1,
      // CHECK: plan.gemm %[[F]]#0,
      %3 = plan.gemm %2, %w : !x, memref<8x8xf32> -> !x
      %4 = plan.gemm %1, %w : !x, memref<8x8xf32> -> !x
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

// A value that an op between the two needs keeps its kernel in front; the consumer moves up to it.
// CHECK-LABEL: plan.program @hoist
plan.program @hoist <dp = 1, pp = 1, sp = 1> micro_batch(4) seq_length(16) chunk_length(16) vocabulary(16) {
  plan.stage 0 {
    %w = plan.parameter "w" zeros : memref<8x8xf32>
    %g = plan.gradient "b" : memref<8xf32>
    plan.micro_batch {
      %in = plan.zeros : !x
      // CHECK: %[[F:.*]]:2 = plan.rows "double+sum_rows"
      // CHECK: plan.gemm %[[F]]#0,
      // CHECK-NOT: plan.rows
      // CHECK: plan.accumulate %[[F]]#1
      %1 = plan.rows "double" rows(64) ins(%in : !x) access [#row] results [#row] -> !x {
      ^bb0(%x: !r):
        %s = arith.addf %x, %x : !r
        plan.row_yield %s : !r
      }
      %2 = plan.gemm %1, %w : !x, memref<8x8xf32> -> !x
      %3 = plan.rows "sum_rows" rows(64) ins(%1 : !x) access [#row] results [#sum] -> tensor<8xf32> {
      ^bb0(%x: !r):
        plan.row_yield %x : !r
      }
      plan.accumulate %3 into %g : tensor<8xf32>, memref<8xf32>
    }
    plan.update {
    }
  }
}

// -----

#row = #plan.access<row>
!x = tensor<4x16x8xf32>
!r = tensor<8xf32>

// What cannot move stays: the product needs the first kernel, the second kernel needs the product.
// CHECK-LABEL: plan.program @apart
plan.program @apart <dp = 1, pp = 1, sp = 1> micro_batch(4) seq_length(16) chunk_length(16) vocabulary(16) {
  plan.stage 0 {
    %w = plan.parameter "w" zeros : memref<8x8xf32>
    plan.micro_batch {
      %in = plan.zeros : !x
      // CHECK: plan.rows "first"
      // CHECK: plan.gemm
      // CHECK: plan.rows "second"
      %1 = plan.rows "first" rows(64) ins(%in : !x) access [#row] results [#row] -> !x {
      ^bb0(%x: !r):
        %s = arith.addf %x, %x : !r
        plan.row_yield %s : !r
      }
      %2 = plan.gemm %1, %w : !x, memref<8x8xf32> -> !x
      %3 = plan.rows "second" rows(64) ins(%1, %2 : !x, !x) access [#row, #row] results [#row] -> !x {
      ^bb0(%x: !r, %y: !r):
        %s = arith.addf %x, %y : !r
        plan.row_yield %s : !r
      }
    }
    plan.update {
    }
  }
}

// -----

#row = #plan.access<row>
#index = #plan.access<row_scalar>
#scatter = #plan.access<scatter_add 1>
!x = tensor<4x16x8xf32>
!r = tensor<8xf32>

// Scattering additions of one value share a kernel, with the row numbers renumbered; they do not join the kernel that
// makes the value, which runs on all threads.
// CHECK-LABEL: plan.program @scatters
plan.program @scatters <dp = 1, pp = 1, sp = 1> micro_batch(4) seq_length(16) chunk_length(16) vocabulary(16) {
  plan.stage 0 {
    %ids = plan.input tokens : memref<4x16xi32>
    %types = plan.input types : memref<4x16xi32>
    plan.micro_batch {
      %in = plan.zeros : !x
      // CHECK: %[[D:.*]] = plan.rows "double"
      // CHECK: %[[Z0:.*]] = plan.zeros : tensor<16x8xf32>
      // CHECK: %[[Z1:.*]] = plan.zeros : tensor<2x8xf32>
      // CHECK: plan.rows "scatter" rows(64) ins(%[[D]], %{{.*}}, %{{.*}} : {{.*}}) outs(%[[Z0]], %[[Z1]] : tensor<16x8xf32>, tensor<2x8xf32>) access [#plan.access<row>, #plan.access<row_scalar>, #plan.access<row_scalar>] results [#plan.access<scatter_add 1>, #plan.access<scatter_add 2>]
      %0 = plan.rows "double" rows(64) ins(%in : !x) access [#row] results [#row] -> !x {
      ^bb0(%x: !r):
        %s = arith.addf %x, %x : !r
        plan.row_yield %s : !r
      }
      %z0 = plan.zeros : tensor<16x8xf32>
      %1 = plan.rows "scatter" rows(64) ins(%0, %ids : !x, memref<4x16xi32>) outs(%z0 : tensor<16x8xf32>) access [#row, #index] results [#scatter] -> tensor<16x8xf32> {
      ^bb0(%x: !r, %i: i32):
        plan.row_yield %x : !r
      }
      %z1 = plan.zeros : tensor<2x8xf32>
      %2 = plan.rows "scatter" rows(64) ins(%0, %types : !x, memref<4x16xi32>) outs(%z1 : tensor<2x8xf32>) access [#row, #index] results [#scatter] -> tensor<2x8xf32> {
      ^bb0(%x: !r, %i: i32):
        plan.row_yield %x : !r
      }
      %g0 = plan.gemm %1, %1 transpose_a : tensor<16x8xf32>, tensor<16x8xf32> -> tensor<8x8xf32>
      %g1 = plan.gemm %2, %2 transpose_a : tensor<2x8xf32>, tensor<2x8xf32> -> tensor<8x8xf32>
    }
    plan.update {
    }
  }
}

// -----

#row = #plan.access<row>
!x = tensor<4x16x8xf32>
!r = tensor<8xf32>

// The parts of a micro-batch stay apart: other micro-batches may run between them.
// CHECK-LABEL: plan.program @parts
plan.program @parts <dp = 1, pp = 1, sp = 1> micro_batch(4) seq_length(16) chunk_length(16) vocabulary(16) {
  plan.stage 0 {
    %dw = plan.gradient "w" : memref<8xf32>
    plan.micro_batch {
      // CHECK: %[[A:.*]] = plan.rows "double" rows(64)
      // CHECK: plan.backward
      // CHECK: plan.rows "double_grad+sum" rows(64) ins(%[[A]] :
      %in = plan.zeros : !x
      %a = plan.rows "double" rows(64) ins(%in : !x) access [#row] results [#row] -> !x {
      ^bb0(%x: !r):
        %s = arith.addf %x, %x : !r
        plan.row_yield %s : !r
      }
      plan.backward
      %b = plan.rows "double_grad" rows(64) ins(%a : !x) access [#row] results [#row] -> !x {
      ^bb0(%x: !r):
        %s = arith.addf %x, %x : !r
        plan.row_yield %s : !r
      }
      %c = plan.rows "sum" rows(64) ins(%b : !x) access [#row] results [#plan.access<sum_rows>] -> !r {
      ^bb0(%x: !r):
        plan.row_yield %x : !r
      }
      plan.accumulate %c into %dw : !r, memref<8xf32>
    }
    plan.update {
    }
  }
}
