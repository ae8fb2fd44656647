// RUN: seqpar-opt %s --assign-arena --verify-plan | FileCheck %s

// Two slots of the stash %a and %b. %t, used before %b is written, lies where %b will be, in the slot of its micro-batch;
// %u, used when %b is no longer needed, as well. %big fits in no hole: all micro-batches share it. %sent is alone.

// CHECK-LABEL: plan.program @slots
// CHECK: plan.stage 0 slots 2 order [F0, F1, B0, F2, B1, B2] attributes {arena_bytes = 1152 : i64, arena_lower_bound = 1152 : i64}
plan.program @slots #sp.grid<dp = 1, pp = 2, sp = 1> micro_batch(1) seq_length(4) chunk_length(4) vocabulary(8) {
  plan.stage 0 slots 2 order [F0, F1, B0, F2, B1, B2] {
    %w = plan.parameter "w" normal : memref<8x8xf32>
    plan.micro_batch {
      // CHECK: plan.buffer at 0 slots_every 256 {value = "a"}
      // CHECK: plan.buffer at 128 slots_every 256 {value = "t"}
      // CHECK: plan.buffer at 128 slots_every 256 {value = "b"}
      // CHECK: plan.backward
      // CHECK: plan.buffer at 512 {value = "big"}
      // CHECK: plan.buffer at 128 slots_every 256 {value = "u"}
      // CHECK: plan.buffer at 1024 whole_step {value = "sent"}
      %a = plan.buffer {value = "a"} : memref<4x8xf32>
      plan.fill %a : memref<4x8xf32>
      %t = plan.buffer {value = "t"} : memref<4x8xf32>
      plan.gemm %a, %w outs(%t : memref<4x8xf32>) : memref<4x8xf32>, memref<8x8xf32>
      plan.gemm %t, %w outs(%a : memref<4x8xf32>) : memref<4x8xf32>, memref<8x8xf32>
      %b = plan.buffer {value = "b"} : memref<4x8xf32>
      plan.gemm %a, %w outs(%b : memref<4x8xf32>) : memref<4x8xf32>, memref<8x8xf32>
      plan.backward
      %big = plan.buffer {value = "big"} : memref<16x8xf32>
      plan.fill %big : memref<16x8xf32>
      plan.gemm %b, %w outs(%a : memref<4x8xf32>) {combine = #plan<combine add>} : memref<4x8xf32>, memref<8x8xf32>
      plan.fill %big : memref<16x8xf32>
      %u = plan.buffer {value = "u"} : memref<4x8xf32>
      plan.gemm %a, %w outs(%u : memref<4x8xf32>) : memref<4x8xf32>, memref<8x8xf32>
      sp.wait tag 1
      %sent = plan.buffer whole_step {value = "sent"} : memref<4x8xf32>
      plan.gemm %u, %w outs(%sent : memref<4x8xf32>) : memref<4x8xf32>, memref<8x8xf32>
      sp.send %sent to stage 1 tag 1 : memref<4x8xf32>
    }
    plan.update {
      sp.wait tag 1
      // No micro-batch lives now.
      // CHECK: plan.buffer at 0 {value = "update"}
      %c = plan.buffer {value = "update"} : memref<32x8xf32>
      plan.fill %c : memref<32x8xf32>
    }
  }
  plan.stage 1 {
    plan.micro_batch {
    }
    plan.update {
    }
  }
}
