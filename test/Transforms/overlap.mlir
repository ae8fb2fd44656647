// RUN: seqpar-opt %s --overlap --split-input-file | FileCheck %s

// The exchange of the next block starts as early as its operands exist and ends before its first use.

// CHECK-LABEL: plan.program @start_and_wait
plan.program @start_and_wait #sp.grid<dp = 1, pp = 1, sp = 4> micro_batch(1) seq_length(16) chunk_length(4) vocabulary(8) {
  plan.stage 0 {
    %w = plan.parameter "w" normal : memref<8x8xf32>
    plan.micro_batch {
      // CHECK: %[[X:.*]] = plan.zeros
      // CHECK: %[[K:.*]] = plan.gemm
      // CHECK-NEXT: %[[S:.*]] = sp.ring_shift_start(%[[K]]) tag 0
      // CHECK-NEXT: %[[A:.*]] = plan.gemm %[[K]]
      // CHECK-NEXT: %[[W:.*]] = sp.wait(%[[S]] : tensor<4x8xf32>) sent(%[[K]] : tensor<4x8xf32>) tag 0
      // CHECK-NEXT: plan.gemm %[[W]]
      %x = plan.zeros : tensor<4x8xf32>
      %k = plan.gemm %x, %w : tensor<4x8xf32>, memref<8x8xf32> -> tensor<4x8xf32>
      %a = plan.gemm %k, %w : tensor<4x8xf32>, memref<8x8xf32> -> tensor<4x8xf32>
      %k1 = sp.ring_shift %k : tensor<4x8xf32> -> tensor<4x8xf32>
      %b = plan.gemm %k1, %w : tensor<4x8xf32>, memref<8x8xf32> -> tensor<4x8xf32>
    }
    plan.update {
    }
  }
}

// -----

// In a loop: at its beginning, and before the yield; both keep skip_last.

// CHECK-LABEL: plan.program @in_a_loop
plan.program @in_a_loop #sp.grid<dp = 1, pp = 1, sp = 4> micro_batch(1) seq_length(16) chunk_length(4) vocabulary(8) {
  plan.stage 0 {
    %w = plan.parameter "w" normal : memref<8x8xf32>
    %dw = plan.gradient "w" : memref<8x8xf32>
    plan.micro_batch {
      %x = plan.zeros : tensor<4x8xf32>
      // CHECK: sp.ring_loop iter(%[[K:.*]] = %{{.*}}) : tensor<4x8xf32> {
      // CHECK-NEXT: %[[S:.*]] = sp.ring_shift_start(%[[K]]) tag 0 skip_last
      // CHECK-NEXT: plan.gemm
      // CHECK-NEXT: plan.accumulate
      // CHECK-NEXT: %[[W:.*]] = sp.wait(%[[S]] : tensor<4x8xf32>) sent(%[[K]] : tensor<4x8xf32>) tag 0 skip_last
      // CHECK-NEXT: sp.yield %[[W]]
      %r = sp.ring_loop iter(%k = %x) : tensor<4x8xf32> {
        %g = plan.gemm %k, %k transpose_a : tensor<4x8xf32>, tensor<4x8xf32> -> tensor<8x8xf32>
        plan.accumulate %g into %dw : tensor<8x8xf32>, memref<8x8xf32>
        %n = sp.ring_shift %k skip_last : tensor<4x8xf32> -> tensor<4x8xf32>
        sp.yield %n : tensor<4x8xf32>
      }
    }
    plan.update {
    }
  }
}

// -----

// A use inside a loop counts where the loop is; tags are unique.

// CHECK-LABEL: plan.program @used_in_a_loop
plan.program @used_in_a_loop #sp.grid<dp = 1, pp = 1, sp = 4> micro_batch(1) seq_length(16) chunk_length(4) vocabulary(8) {
  plan.stage 0 {
    %dw = plan.gradient "w" : memref<8x8xf32>
    plan.micro_batch {
      // CHECK: sp.ring_shift_start{{.*}} tag 0
      // CHECK-NEXT: sp.ring_shift_start{{.*}} tag 1
      // CHECK-NEXT: sp.wait{{.*}} tag 0
      // CHECK-NEXT: sp.wait{{.*}} tag 1
      // CHECK-NEXT: sp.ring_loop
      %x = plan.zeros : tensor<4x8xf32>
      %q = sp.ring_shift %x : tensor<4x8xf32> -> tensor<4x8xf32>
      %k0 = sp.ring_shift %x : tensor<4x8xf32> -> tensor<4x8xf32>
      %r = sp.ring_loop iter(%k = %k0) : tensor<4x8xf32> {
        %g = plan.gemm %q, %k transpose_a : tensor<4x8xf32>, tensor<4x8xf32> -> tensor<8x8xf32>
        plan.accumulate %g into %dw : tensor<8x8xf32>, memref<8x8xf32>
        sp.yield %k : tensor<4x8xf32>
      }
    }
    plan.update {
    }
  }
}

// -----

// What the backward part shifts around the ring once more is not fetched in the forward part already, nor before the
// ring of a later layer, whose backward comes first, has ended.

// CHECK-LABEL: plan.program @backward
plan.program @backward #sp.grid<dp = 1, pp = 1, sp = 4> micro_batch(1) seq_length(16) chunk_length(4) vocabulary(8) {
  plan.stage 0 {
    %w = plan.parameter "w" normal : memref<8x8xf32>
    %dw = plan.gradient "w" : memref<8x8xf32>
    plan.micro_batch {
      %x = plan.zeros : tensor<4x8xf32>
      %k = plan.gemm %x, %w : tensor<4x8xf32>, memref<8x8xf32> -> tensor<4x8xf32>
      // CHECK: plan.gemm
      // CHECK-NEXT: plan.backward
      // CHECK-NEXT: sp.ring_shift_start{{.*}} tag 0
      // CHECK-NEXT: plan.gemm
      // CHECK-NEXT: sp.wait{{.*}} tag 0
      // CHECK-NEXT: sp.ring_loop
      // CHECK: }
      // CHECK-NEXT: sp.ring_shift_start{{.*}} tag 1
      // CHECK-NEXT: plan.gemm
      // CHECK-NEXT: sp.wait{{.*}} tag 1
      plan.backward
      %a = plan.gemm %k, %w : tensor<4x8xf32>, memref<8x8xf32> -> tensor<4x8xf32>
      %k1 = sp.ring_shift %k : tensor<4x8xf32> -> tensor<4x8xf32>
      %r = sp.ring_loop iter(%c = %k1) : tensor<4x8xf32> {
        sp.yield %c : tensor<4x8xf32>
      }
      %b = plan.gemm %a, %w : tensor<4x8xf32>, memref<8x8xf32> -> tensor<4x8xf32>
      %k2 = sp.ring_shift %k : tensor<4x8xf32> -> tensor<4x8xf32>
      %d = plan.gemm %k2, %w : tensor<4x8xf32>, memref<8x8xf32> -> tensor<4x8xf32>
    }
    plan.update {
    }
  }
}
