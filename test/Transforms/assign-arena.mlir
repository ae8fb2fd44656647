// RUN: seqpar-opt %s --assign-arena --split-input-file | FileCheck %s

// A buffer that is no longer needed gives its place to another; offsets are multiples of 64.

// CHECK-LABEL: plan.program @share
// CHECK: plan.stage 0 attributes {arena_bytes = 384 : i64, arena_lower_bound = 384 : i64}
plan.program @share #sp.grid<dp = 1, pp = 1, sp = 1> micro_batch(1) seq_length(4) chunk_length(4) vocabulary(8) {
  plan.stage 0 {
    %w = plan.parameter "w" normal : memref<10x10xf32>
    plan.micro_batch {
      // CHECK: plan.buffer at [[A:[0-9]+]] {value = "a"}
      // CHECK: plan.buffer at [[B:[0-9]+]] {value = "b"}
      // CHECK: plan.buffer at [[A]] {value = "c"}
      %a = plan.buffer {value = "a"} : memref<4x10xf32>
      plan.fill %a : memref<4x10xf32>
      %b = plan.buffer {value = "b"} : memref<4x10xf32>
      plan.gemm %a, %w outs(%b : memref<4x10xf32>) : memref<4x10xf32>, memref<10x10xf32>
      %c = plan.buffer {value = "c"} : memref<4x10xf32>
      plan.gemm %b, %w outs(%c : memref<4x10xf32>) : memref<4x10xf32>, memref<10x10xf32>
    }
    plan.update {
    }
  }
}

// -----

// What a loop reads lives to the loop's end, and what is sent or received to the wait; buffers of the loop's body
// live within it.

// CHECK-LABEL: plan.program @loop
// CHECK: plan.stage 0 attributes {arena_bytes = 576 : i64, arena_lower_bound = 576 : i64}
plan.program @loop #sp.grid<dp = 1, pp = 1, sp = 4> micro_batch(1) seq_length(16) chunk_length(4) vocabulary(8) {
  plan.stage 0 {
    %w = plan.parameter "w" normal : memref<8x8xf32>
    plan.micro_batch {
      // %a, %b, %d through the loop, %e across the writing of %f.
      %a = plan.buffer {value = "b"} : memref<4x8xf32>
      plan.fill %a : memref<4x8xf32>
      %b = plan.buffer communication {value = "b"} : memref<4x8xf32>
      %d = plan.buffer {value = "b"} : memref<4x8xf32>
      sp.ring_loop {
        %now = sp.alternate %a, %b : memref<4x8xf32>
        %next = sp.alternate %b, %a : memref<4x8xf32>
        sp.ring_shift_start (%now) into (%next : memref<4x8xf32>) tag 0 : memref<4x8xf32>
        %e = plan.buffer {value = "b"} : memref<2x8xf32>
        plan.fill %e : memref<2x8xf32>
        %f = plan.buffer {value = "b"} : memref<4x8xf32>
        plan.fill %f : memref<4x8xf32>
        plan.fill %e : memref<2x8xf32>
        %g = plan.buffer {value = "b"} : memref<2x8xf32>
        plan.fill %g : memref<2x8xf32>
        plan.gemm %now, %w outs(%d : memref<4x8xf32>) : memref<4x8xf32>, memref<8x8xf32>
        sp.wait tag 0
        sp.yield
      }
    }
    plan.update {
    }
  }
}

// -----

// In transit to the wait: nothing takes the place of a before it.

// CHECK-LABEL: plan.program @transit
// CHECK: arena_bytes = 384 : i64
plan.program @transit #sp.grid<dp = 1, pp = 1, sp = 4> micro_batch(1) seq_length(16) chunk_length(4) vocabulary(8) {
  plan.stage 0 {
    plan.micro_batch {
      %a = plan.buffer {value = "b"} : memref<4x8xf32>
      plan.fill %a : memref<4x8xf32>
      %b = plan.buffer communication {value = "b"} : memref<4x8xf32>
      sp.ring_shift_start (%a) into (%b : memref<4x8xf32>) tag 0 : memref<4x8xf32>
      %c = plan.buffer {value = "b"} : memref<4x8xf32>
      plan.fill %c : memref<4x8xf32>
      sp.wait tag 0
    }
    plan.update {
    }
  }
}
