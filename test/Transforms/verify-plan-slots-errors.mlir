// RUN: seqpar-opt %s --verify-plan --verify-diagnostics --split-input-file

// One copy of what two live micro-batches keep.

plan.program @one_copy #sp.grid<dp = 1, pp = 1, sp = 1> micro_batch(1) seq_length(4) chunk_length(4) vocabulary(8) {
  plan.stage 0 slots 2 order [F0, F1, B0, B1] {
    %w = plan.parameter "w" normal : memref<8x8xf32>
    plan.micro_batch {
      // expected-note @below {{this one: it is not written before, or overwritten since}}
      %x = plan.buffer at 0 : memref<4x8xf32>
      %y = plan.buffer at 128 : memref<4x8xf32>
      plan.fill %x : memref<4x8xf32>
      plan.backward
      // expected-error @below {{reads a buffer that does not hold its value}}
      plan.gemm %x, %w outs(%y : memref<4x8xf32>) : memref<4x8xf32>, memref<8x8xf32>
    }
    plan.update {
    }
  }
}

// -----

// Copies that are too close: that of the second micro-batch shares bytes with the first one's.

plan.program @close #sp.grid<dp = 1, pp = 1, sp = 1> micro_batch(1) seq_length(4) chunk_length(4) vocabulary(8) {
  plan.stage 0 slots 2 order [F0, F1, B0, B1] {
    %w = plan.parameter "w" normal : memref<8x8xf32>
    plan.micro_batch {
      // expected-note @below {{this one: it is not written before, or overwritten since}}
      %x = plan.buffer at 0 slots_every 64 : memref<4x8xf32>
      %y = plan.buffer at 256 : memref<4x8xf32>
      plan.fill %x : memref<4x8xf32>
      plan.backward
      // expected-error @below {{reads a buffer that does not hold its value}}
      plan.gemm %x, %w outs(%y : memref<4x8xf32>) : memref<4x8xf32>, memref<8x8xf32>
    }
    plan.update {
    }
  }
}

// -----

// A temporary value of the next forward part lies in the stash of the micro-batch before it.

plan.program @temporary #sp.grid<dp = 1, pp = 1, sp = 1> micro_batch(1) seq_length(4) chunk_length(4) vocabulary(8) {
  plan.stage 0 slots 2 order [F0, F1, B0, B1] {
    %w = plan.parameter "w" normal : memref<8x8xf32>
    plan.micro_batch {
      %t = plan.buffer at 0 : memref<4x8xf32>
      // expected-note @below {{this one: it is not written before, or overwritten since}}
      %x = plan.buffer at 0 slots_every 128 : memref<4x8xf32>
      %y = plan.buffer at 256 : memref<4x8xf32>
      plan.fill %t : memref<4x8xf32>
      plan.gemm %t, %w outs(%y : memref<4x8xf32>) : memref<4x8xf32>, memref<8x8xf32>
      plan.fill %x : memref<4x8xf32>
      plan.backward
      // expected-error @below {{reads a buffer that does not hold its value}}
      plan.gemm %x, %w outs(%y : memref<4x8xf32>) : memref<4x8xf32>, memref<8x8xf32>
    }
    plan.update {
    }
  }
}

// -----

// The next micro-batch writes what is still being sent.

plan.program @sent #sp.grid<dp = 1, pp = 2, sp = 1> micro_batch(1) seq_length(4) chunk_length(4) vocabulary(8) {
  plan.stage 0 order [F0, B0, F1, B1] {
    plan.micro_batch {
      %d = plan.buffer at 0 whole_step : memref<4x8xf32>
      plan.backward
      // expected-error @below {{writes a buffer that is in transit between ranks}}
      plan.fill %d : memref<4x8xf32>
      sp.send %d to stage 1 tag 0 : memref<4x8xf32>
    }
    plan.update {
      sp.wait tag 0
    }
  }
  plan.stage 1 {
    plan.micro_batch {
    }
    plan.update {
    }
  }
}

// -----

// Nobody waits for the last send.

plan.program @last #sp.grid<dp = 1, pp = 2, sp = 1> micro_batch(1) seq_length(4) chunk_length(4) vocabulary(8) {
  plan.stage 0 order [F0, B0, F1, B1] {
    plan.micro_batch {
      plan.backward
      sp.wait tag 0
      %d = plan.buffer at 0 whole_step : memref<4x8xf32>
      plan.fill %d : memref<4x8xf32>
      // expected-error @below {{is not waited for by the end of the step}}
      sp.send %d to stage 1 tag 0 : memref<4x8xf32>
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

// -----

// A receive is waited for in its part.

plan.program @receive #sp.grid<dp = 1, pp = 2, sp = 1> micro_batch(1) seq_length(4) chunk_length(4) vocabulary(8) {
  plan.stage 0 order [F0, B0] {
    plan.micro_batch {
      %x = plan.buffer at 0 : memref<4x8xf32>
      // expected-error @below {{has no wait with tag 0 behind it in its block}}
      sp.receive into %x : memref<4x8xf32> from stage 1 tag 0
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
