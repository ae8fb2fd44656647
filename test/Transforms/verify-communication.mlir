// RUN: seqpar-opt %s --verify-communication | FileCheck %s

// 1F1B over three micro-batches: what is sent forward is waited for in the backward part, what is sent backward before
// the next one and in the update.

// CHECK-LABEL: plan.program @pipeline
plan.program @pipeline #sp.grid<dp = 1, pp = 2, sp = 1> micro_batch(1) seq_length(4) chunk_length(4) vocabulary(8) {
  plan.stage 0 slots 2 order [F0, F1, B0, F2, B1, B2] {
    %norm = plan.metric gradient_norm : memref<f64>
    plan.micro_batch {
      %x = plan.buffer at 0 slots_every 64 : memref<2x8xf32>
      %d = plan.buffer at 128 : memref<2x8xf32>
      sp.send %x to stage 1 tag 0 : memref<2x8xf32>
      plan.backward
      sp.receive into %d : memref<2x8xf32> from stage 1 tag 1
      sp.wait tag 0
      sp.wait tag 1
    }
    plan.update {
      sp.all_reduce %norm over [pp] : memref<f64>
    }
  }
  plan.stage 1 order [F0, B0, F1, B1, F2, B2] {
    %norm = plan.metric gradient_norm : memref<f64>
    plan.micro_batch {
      %x = plan.buffer at 0 : memref<2x8xf32>
      sp.receive into %x : memref<2x8xf32> from stage 0 tag 0
      sp.wait tag 0
      plan.backward
      sp.wait tag 1
      %d = plan.buffer at 64 whole_step : memref<2x8xf32>
      sp.send %d to stage 0 tag 1 : memref<2x8xf32>
    }
    plan.update {
      sp.wait tag 1
      sp.all_reduce %norm over [pp] : memref<f64>
    }
  }
}

// CHECK-LABEL: plan.program @nothing
plan.program @nothing #sp.grid<dp = 1, pp = 1, sp = 1> micro_batch(1) seq_length(4) chunk_length(4) vocabulary(8) {
  plan.stage 0 {
    plan.micro_batch {
    }
    plan.update {
    }
  }
}
