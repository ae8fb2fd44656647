// RUN: seqpar-opt %s --verify-plan --verify-diagnostics --split-input-file

// A buffer that nothing has written.

plan.program @unset #sp.grid<dp = 1, pp = 1, sp = 1> micro_batch(1) seq_length(4) chunk_length(4) vocabulary(8) {
  plan.stage 0 {
    %w = plan.parameter "w" normal : memref<8x8xf32>
    plan.micro_batch {
      // expected-note @below {{this one: it is not written before, or overwritten since}}
      %x = plan.buffer at 0 {value = "b"} : memref<4x8xf32>
      %y = plan.buffer at 128 {value = "b"} : memref<4x8xf32>
      // expected-error @below {{reads a buffer that does not hold its value}}
      plan.gemm %x, %w outs(%y : memref<4x8xf32>) : memref<4x8xf32>, memref<8x8xf32>
    }
    plan.update {
    }
  }
}

// -----

// Two buffers share bytes while both are needed.

plan.program @overlap #sp.grid<dp = 1, pp = 1, sp = 1> micro_batch(1) seq_length(4) chunk_length(4) vocabulary(8) {
  plan.stage 0 {
    %w = plan.parameter "w" normal : memref<8x8xf32>
    plan.micro_batch {
      // expected-note @below {{this one: it is not written before, or overwritten since}}
      %x = plan.buffer at 0 {value = "b"} : memref<4x8xf32>
      %y = plan.buffer at 64 {value = "b"} : memref<4x8xf32>
      plan.fill %x : memref<4x8xf32>
      plan.fill %y : memref<4x8xf32>
      // expected-error @below {{reads a buffer that does not hold its value}}
      plan.gemm %x, %w outs(%y : memref<4x8xf32>) : memref<4x8xf32>, memref<8x8xf32>
    }
    plan.update {
    }
  }
}

// -----

// An op must not write over what it reads.

plan.program @own_input #sp.grid<dp = 1, pp = 1, sp = 1> micro_batch(1) seq_length(4) chunk_length(4) vocabulary(8) {
  plan.stage 0 {
    %w = plan.parameter "w" normal : memref<8x8xf32>
    plan.micro_batch {
      // expected-note @below {{this one: it is not written before, or overwritten since}}
      %x = plan.buffer at 0 {value = "b"} : memref<4x8xf32>
      %y = plan.buffer at 64 {value = "b"} : memref<4x8xf32>
      %z = plan.buffer at 256 {value = "b"} : memref<4x8xf32>
      plan.fill %x : memref<4x8xf32>
      plan.gemm %x, %w outs(%y : memref<4x8xf32>) : memref<4x8xf32>, memref<8x8xf32>
      // expected-error @below {{reads a buffer that does not hold its value}}
      plan.gemm %x, %w outs(%z : memref<4x8xf32>) : memref<4x8xf32>, memref<8x8xf32>
    }
    plan.update {
    }
  }
}

// -----

// A gradient is added to before it is set or cleared.

plan.program @gradient #sp.grid<dp = 1, pp = 1, sp = 1> micro_batch(1) seq_length(4) chunk_length(4) vocabulary(8) {
  plan.stage 0 {
    // expected-note @below {{this one: it is not written before, or overwritten since}}
    %dw = plan.gradient "w" : memref<8x8xf32>
    plan.micro_batch {
      %x = plan.buffer at 0 {value = "b"} : memref<4x8xf32>
      plan.fill %x : memref<4x8xf32>
      // expected-error @below {{reads a buffer that does not hold its value}}
      plan.gemm %x, %x transpose_a outs(%dw : memref<8x8xf32>) {combine = #plan<combine add>} : memref<4x8xf32>, memref<4x8xf32>
    }
    plan.update {
    }
  }
}

// -----

// What arrives must not be read before the wait.

plan.program @in_transit #sp.grid<dp = 1, pp = 1, sp = 2> micro_batch(1) seq_length(8) chunk_length(4) vocabulary(8) {
  plan.stage 0 {
    %w = plan.parameter "w" normal : memref<8x8xf32>
    plan.micro_batch {
      %x = plan.buffer at 0 {value = "b"} : memref<4x8xf32>
      %y = plan.buffer at 128 {value = "b"} : memref<4x8xf32>
      %z = plan.buffer at 256 {value = "b"} : memref<4x8xf32>
      plan.fill %x : memref<4x8xf32>
      sp.ring_shift_start (%x) into (%y : memref<4x8xf32>) tag 0 : memref<4x8xf32>
      // expected-error @below {{reads a buffer before the wait for what it receives}}
      plan.gemm %y, %w outs(%z : memref<4x8xf32>) : memref<4x8xf32>, memref<8x8xf32>
      sp.wait tag 0
    }
    plan.update {
    }
  }
}

// -----

// What is sent must not be written before the wait.

plan.program @sent #sp.grid<dp = 1, pp = 1, sp = 2> micro_batch(1) seq_length(8) chunk_length(4) vocabulary(8) {
  plan.stage 0 {
    plan.micro_batch {
      %x = plan.buffer at 0 {value = "b"} : memref<4x8xf32>
      %y = plan.buffer at 128 {value = "b"} : memref<4x8xf32>
      plan.fill %x : memref<4x8xf32>
      sp.ring_shift_start (%x) into (%y : memref<4x8xf32>) tag 0 : memref<4x8xf32>
      // expected-error @below {{writes a buffer that is in transit between ranks}}
      plan.fill %x : memref<4x8xf32>
      sp.wait tag 0
    }
    plan.update {
    }
  }
}

// -----

// Bytes that are sent belong to nothing else before the wait.

plan.program @sent_bytes #sp.grid<dp = 1, pp = 1, sp = 2> micro_batch(1) seq_length(8) chunk_length(4) vocabulary(8) {
  plan.stage 0 {
    plan.micro_batch {
      %x = plan.buffer at 0 {value = "b"} : memref<4x8xf32>
      %y = plan.buffer at 128 {value = "b"} : memref<4x8xf32>
      %z = plan.buffer at 64 {value = "b"} : memref<4xf32>
      plan.fill %x : memref<4x8xf32>
      sp.ring_shift_start (%x) into (%y : memref<4x8xf32>) tag 0 : memref<4x8xf32>
      // expected-error @below {{writes a buffer that is in transit between ranks}}
      plan.fill %z : memref<4xf32>
      sp.wait tag 0
    }
    plan.update {
    }
  }
}

// -----

// Every exchange is waited for.

plan.program @no_wait #sp.grid<dp = 1, pp = 1, sp = 2> micro_batch(1) seq_length(8) chunk_length(4) vocabulary(8) {
  plan.stage 0 {
    plan.micro_batch {
      %x = plan.buffer at 0 {value = "b"} : memref<4x8xf32>
      %y = plan.buffer at 128 {value = "b"} : memref<4x8xf32>
      plan.fill %x : memref<4x8xf32>
      // expected-error @below {{has no wait with tag 0 behind it in its block}}
      sp.ring_shift_start (%x) into (%y : memref<4x8xf32>) tag 0 : memref<4x8xf32>
    }
    plan.update {
    }
  }
}

// -----

// A wait needs its start.

plan.program @no_start #sp.grid<dp = 1, pp = 1, sp = 2> micro_batch(1) seq_length(8) chunk_length(4) vocabulary(8) {
  plan.stage 0 {
    plan.micro_batch {
      // expected-error @below {{has no start with tag 0 before it in its block}}
      sp.wait tag 0
    }
    plan.update {
    }
  }
}

// -----

// A buffer set only in a loop that may not run.

plan.program @rows_loop #sp.grid<dp = 1, pp = 1, sp = 1> micro_batch(1) seq_length(4) chunk_length(4) vocabulary(8) {
  plan.stage 0 {
    %w = plan.parameter "w" normal : memref<8x8xf32>
    %rows = plan.input masked_rows : memref<4xi32>
    %labels = plan.input masked_labels : memref<4xi32>
    plan.micro_batch {
      // expected-note @below {{this one: it is not written before, or overwritten since}}
      %x = plan.buffer at 0 {value = "b"} : memref<4x8xf32>
      %y = plan.buffer at 128 {value = "b"} : memref<4x8xf32>
      plan.rows_loop chunk(2) (%i = %rows, %l = %labels : memref<4xi32>, memref<4xi32>) {
        plan.fill %x : memref<4x8xf32>
        sp.yield
      }
      // expected-error @below {{reads a buffer that does not hold its value}}
      plan.gemm %x, %w outs(%y : memref<4x8xf32>) : memref<4x8xf32>, memref<8x8xf32>
    }
    plan.update {
    }
  }
}

// -----

// In the second iteration the buffer of the first would be needed again.

plan.program @second_iteration #sp.grid<dp = 1, pp = 1, sp = 4> micro_batch(1) seq_length(16) chunk_length(4) vocabulary(8) {
  plan.stage 0 {
    %w = plan.parameter "w" normal : memref<8x8xf32>
    %dx = plan.gradient "x" : memref<4x8xf32>
    plan.micro_batch {
      // expected-note @below {{this one: it is not written before, or overwritten since}}
      %x = plan.buffer at 0 {value = "b"} : memref<4x8xf32>
      %y = plan.buffer at 64 {value = "b"} : memref<4x8xf32>
      plan.fill %x : memref<4x8xf32>
      sp.ring_loop {
        // expected-error @below {{reads a buffer that does not hold its value}}
        plan.gemm %x, %w outs(%dx : memref<4x8xf32>) : memref<4x8xf32>, memref<8x8xf32>
        plan.fill %y : memref<4x8xf32>
        sp.yield
      }
    }
    plan.update {
    }
  }
}

// -----

// Start and wait skip the last iteration together.

plan.program @skip_last #sp.grid<dp = 1, pp = 1, sp = 4> micro_batch(1) seq_length(16) chunk_length(4) vocabulary(8) {
  plan.stage 0 {
    plan.micro_batch {
      %x = plan.buffer at 0 {value = "b"} : memref<4x8xf32>
      %y = plan.buffer at 128 {value = "b"} : memref<4x8xf32>
      plan.fill %x : memref<4x8xf32>
      sp.ring_loop {
        sp.ring_shift_start (%x) into (%y : memref<4x8xf32>) tag 0 skip_last : memref<4x8xf32>
        // expected-error @below {{and its start do not agree on skip_last}}
        sp.wait tag 0
        sp.yield
      }
    }
    plan.update {
    }
  }
}

// -----

// A product cannot be taken in place.

plan.program @in_place #sp.grid<dp = 1, pp = 1, sp = 1> micro_batch(1) seq_length(4) chunk_length(4) vocabulary(8) {
  plan.stage 0 {
    %w = plan.parameter "w" normal : memref<8x8xf32>
    plan.micro_batch {
      %x = plan.buffer at 0 {value = "b"} : memref<4x8xf32>
      plan.fill %x : memref<4x8xf32>
      // expected-error @below {{overwrites a buffer while it reads it}}
      plan.gemm %x, %w outs(%x : memref<4x8xf32>) : memref<4x8xf32>, memref<8x8xf32>
    }
    plan.update {
    }
  }
}

// -----

// A table that is gathered from cannot be overwritten by rows.

plan.program @gathered #sp.grid<dp = 1, pp = 1, sp = 1> micro_batch(1) seq_length(4) chunk_length(4) vocabulary(8) {
  plan.stage 0 {
    %rows = plan.input masked_rows : memref<4xi32>
    plan.micro_batch {
      %x = plan.buffer at 0 {value = "b"} : memref<4x8xf32>
      plan.fill %x : memref<4x8xf32>
      // expected-error @below {{overwrites a buffer while it reads it}}
      plan.rows "permute" rows(4) ins(%rows, %x : memref<4xi32>, memref<4x8xf32>) outs(%x : memref<4x8xf32>)
        access [#plan.access<row_scalar>, #plan.access<gather 0>] results [#plan.access<row>] {
      ^bb0(%i: i32, %e: tensor<8xf32>):
        plan.row_yield %e : tensor<8xf32>
      }
    }
    plan.update {
    }
  }
}

// -----

// A gradient is added to while it is reduced.

plan.program @reduced #sp.grid<dp = 1, pp = 1, sp = 2> micro_batch(1) seq_length(8) chunk_length(4) vocabulary(8) {
  plan.stage 0 {
    %g = plan.gradient "w" at 0 : memref<8x8xf32>
    plan.micro_batch {
      %x = plan.buffer at 0 : memref<4x8xf32>
      plan.fill %x : memref<4x8xf32>
      plan.gemm %x, %x transpose_a outs(%g : memref<8x8xf32>) : memref<4x8xf32>, memref<4x8xf32>
      %r = plan.range gradient at 0 : memref<2x4096xf32>
      sp.all_reduce %r over [sp] tag 0 : memref<2x4096xf32>
      // expected-error @below {{writes a buffer that is in transit between ranks}}
      plan.gemm %x, %x transpose_a outs(%g : memref<8x8xf32>) : memref<4x8xf32>, memref<4x8xf32>
    }
    plan.update {
      sp.wait tag 0
    }
  }
}

// -----

// A reduction that nobody waits for.

plan.program @forgotten #sp.grid<dp = 1, pp = 1, sp = 2> micro_batch(1) seq_length(8) chunk_length(4) vocabulary(8) {
  plan.stage 0 {
    plan.micro_batch {
      %r = plan.range gradient at 0 : memref<2x4096xf32>
      // expected-error @below {{is not waited for by the end of the step}}
      sp.all_reduce %r over [sp] tag 0 : memref<2x4096xf32>
    }
    plan.update {
    }
  }
}

// -----

// A shard is read, by another name, before its sum has arrived.

plan.program @shard_read #sp.grid<dp = 1, pp = 1, sp = 2> micro_batch(1) seq_length(8) chunk_length(4) vocabulary(8) {
  plan.stage 0 attributes {shard_axes = array<i32: 2>} {
    plan.micro_batch {
      %all = plan.range gradient at 0 : memref<2x512xf32>
      %own = plan.range gradient sharded at 0 : memref<1x512xf32>
      sp.reduce_scatter %all into %own : memref<1x512xf32> dim 0 over [sp] tag 0 : memref<2x512xf32>
    }
    plan.update {
      %p = plan.range parameter sharded at 0 : memref<1x512xf32>
      %sum = plan.range gradient sharded at 0 : memref<1x512xf32>
      // expected-error @below {{reads a buffer before the wait for what it receives}}
      plan.rows "sgd" rows(1) ins(%sum : memref<1x512xf32>) outs(%p : memref<1x512xf32>)
        access [#plan.access<row>] results [#plan.access<row>] {
      ^bb0(%e: tensor<512xf32>):
        plan.row_yield %e : tensor<512xf32>
      }
      sp.wait tag 0
    }
  }
}

// -----

// A gradient is written that is in the shard of a rank which sends it: ranks run the same ops. What lies behind the last
// shard is free.

plan.program @shard_written #sp.grid<dp = 2, pp = 1, sp = 2> micro_batch(1) seq_length(8) chunk_length(4) vocabulary(8) {
  plan.stage 0 attributes {shard_axes = array<i32: 2>} {
    %behind = plan.gradient "behind" at 4096 : memref<8x8xf32>
    %second = plan.gradient "second" at 3840 : memref<8x8xf32>
    plan.micro_batch {
      %x = plan.buffer at 0 : memref<4x8xf32>
      plan.fill %x : memref<4x8xf32>
      %own = plan.range gradient sharded at 0 : memref<1x512xf32>
      sp.all_reduce %own over [dp] tag 0 : memref<1x512xf32>
      plan.gemm %x, %x transpose_a outs(%behind : memref<8x8xf32>) : memref<4x8xf32>, memref<4x8xf32>
      // expected-error @below {{writes a buffer that is in transit between ranks}}
      plan.gemm %x, %x transpose_a outs(%second : memref<8x8xf32>) : memref<4x8xf32>, memref<4x8xf32>
    }
    plan.update {
      sp.wait tag 0
    }
  }
}
