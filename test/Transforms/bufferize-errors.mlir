// RUN: seqpar-opt %s --bufferize --verify-diagnostics --split-input-file

// A ring shift must have been split.

plan.program @shift #sp.grid<dp = 1, pp = 1, sp = 2> micro_batch(1) seq_length(8) chunk_length(4) vocabulary(8) {
  plan.stage 0 {
    plan.micro_batch {
      %x = plan.zeros : tensor<4x8xf32>
      // expected-error @below {{has no buffer form (ring shifts get one from overlap)}}
      %y = sp.ring_shift %x : tensor<4x8xf32> -> tensor<4x8xf32>
    }
    plan.update {
    }
  }
}

// -----

// The value summed in place is read again.

plan.program @read_later #sp.grid<dp = 1, pp = 1, sp = 2> micro_batch(1) seq_length(8) chunk_length(4) vocabulary(8) {
  plan.stage 0 {
    %w = plan.parameter "w" normal : memref<8x8xf32>
    plan.micro_batch {
      %x = plan.zeros : tensor<4x8xf32>
      %y = plan.gemm %x, %w : tensor<4x8xf32>, memref<8x8xf32> -> tensor<4x8xf32>
      // expected-error @below {{updates in place a value that is read later}}
      %z = sp.all_reduce %y over [sp] : tensor<4x8xf32> -> tensor<4x8xf32>
      // expected-note @below {{read here}}
      %u = plan.gemm %y, %w : tensor<4x8xf32>, memref<8x8xf32> -> tensor<4x8xf32>
    }
    plan.update {
    }
  }
}

// -----

// What is sent must not change before the wait.

plan.program @sent #sp.grid<dp = 1, pp = 1, sp = 2> micro_batch(1) seq_length(8) chunk_length(4) vocabulary(8) {
  plan.stage 0 {
    %w = plan.parameter "w" normal : memref<8x8xf32>
    plan.micro_batch {
      %x = plan.zeros : tensor<4x8xf32>
      %y = plan.gemm %x, %w : tensor<4x8xf32>, memref<8x8xf32> -> tensor<4x8xf32>
      %s = sp.ring_shift_start (%y) tag 0 : tensor<4x8xf32> -> tensor<4x8xf32>
      // expected-error @below {{updates in place a value that is read later}}
      %z = sp.all_reduce %y over [sp] : tensor<4x8xf32> -> tensor<4x8xf32>
      // expected-note @below {{read here}}
      %n = sp.wait (%s : tensor<4x8xf32>) sent (%y : tensor<4x8xf32>) tag 0 -> tensor<4x8xf32>
    }
    plan.update {
    }
  }
}

// -----

// Every iteration would update the same outer value.

plan.program @outer #sp.grid<dp = 1, pp = 1, sp = 2> micro_batch(1) seq_length(8) chunk_length(4) vocabulary(8) {
  plan.stage 0 {
    %w = plan.parameter "w" normal : memref<8x8xf32>
    plan.micro_batch {
      %x = plan.zeros : tensor<4x8xf32>
      %y = plan.gemm %x, %w : tensor<4x8xf32>, memref<8x8xf32> -> tensor<4x8xf32>
      sp.ring_loop {
        // expected-error @below {{updates in place a value made outside the loop; carry it}}
        %z = sp.all_reduce %y over [sp] : tensor<4x8xf32> -> tensor<4x8xf32>
        sp.yield
      }
    }
    plan.update {
    }
  }
}

// -----

// The output would overwrite what the kernel also reads.

plan.program @also_read #sp.grid<dp = 1, pp = 1, sp = 1> micro_batch(1) seq_length(4) chunk_length(4) vocabulary(8) {
  plan.stage 0 {
    %w = plan.parameter "w" normal : memref<8x8xf32>
    %rows = plan.input masked_rows : memref<4xi32>
    plan.micro_batch {
      %x = plan.zeros : tensor<4x8xf32>
      %y = plan.gemm %x, %w : tensor<4x8xf32>, memref<8x8xf32> -> tensor<4x8xf32>
      // expected-error @below {{updates in place a value that it also reads}}
      %z = plan.rows "scatter" rows(4) ins(%rows, %y : memref<4xi32>, tensor<4x8xf32>) outs(%y : tensor<4x8xf32>)
             access [#plan.access<row_scalar>, #plan.access<row>] results [#plan.access<scatter 0>] -> tensor<4x8xf32> {
      ^bb0(%i: i32, %e: tensor<8xf32>):
        plan.row_yield %e : tensor<8xf32>
      }
    }
    plan.update {
    }
  }
}

// -----

// The value that enters a loop is overwritten there.

plan.program @init_read_later #sp.grid<dp = 1, pp = 1, sp = 4> micro_batch(1) seq_length(16) chunk_length(4) vocabulary(8) {
  plan.stage 0 {
    %w = plan.parameter "w" normal : memref<8x8xf32>
    plan.micro_batch {
      %x = plan.zeros : tensor<4x8xf32>
      %y = plan.gemm %x, %w : tensor<4x8xf32>, memref<8x8xf32> -> tensor<4x8xf32>
      // expected-error @below {{updates in place a value that is read later}}
      %r = sp.ring_loop iter(%k = %y) : tensor<4x8xf32> {
        %s = sp.ring_shift_start (%k) tag 0 : tensor<4x8xf32> -> tensor<4x8xf32>
        %n = sp.wait (%s : tensor<4x8xf32>) sent (%k : tensor<4x8xf32>) tag 0 -> tensor<4x8xf32>
        sp.yield %n : tensor<4x8xf32>
      }
      // expected-note @below {{read here}}
      %u = plan.gemm %y, %w : tensor<4x8xf32>, memref<8x8xf32> -> tensor<4x8xf32>
    }
    plan.update {
    }
  }
}

// -----

// A fresh value is no update of the carried one.

plan.program @fresh #sp.grid<dp = 1, pp = 1, sp = 4> micro_batch(1) seq_length(16) chunk_length(4) vocabulary(8) {
  plan.stage 0 {
    %w = plan.parameter "w" normal : memref<8x8xf32>
    plan.micro_batch {
      %x = plan.zeros : tensor<4x8xf32>
      // expected-error @below {{carried value 0 is neither updated in place nor received by a ring shift}}
      %r = sp.ring_loop iter(%k = %x) : tensor<4x8xf32> {
        %n = plan.gemm %k, %w : tensor<4x8xf32>, memref<8x8xf32> -> tensor<4x8xf32>
        sp.yield %n : tensor<4x8xf32>
      }
    }
    plan.update {
    }
  }
}

// -----

// Only some ops can add to memory.

plan.program @no_sum #sp.grid<dp = 1, pp = 1, sp = 1> micro_batch(1) seq_length(4) chunk_length(4) vocabulary(8) {
  plan.stage 0 {
    %dw = plan.gradient "w" : memref<8x8xf32>
    plan.micro_batch {
      %x = plan.zeros : tensor<8x8xf32>
      // expected-error @below {{expected a value that a plan.gemm, or a plan.rows as sum_rows or as scatter_add over zeros, makes in the same block}}
      plan.accumulate %x into %dw : tensor<8x8xf32>, memref<8x8xf32>
    }
    plan.update {
    }
  }
}

// -----

// A value that is added is nowhere else.

plan.program @used_twice #sp.grid<dp = 1, pp = 1, sp = 1> micro_batch(1) seq_length(4) chunk_length(4) vocabulary(8) {
  plan.stage 0 {
    %dw = plan.gradient "w" : memref<8x8xf32>
    plan.micro_batch {
      %x = plan.zeros : tensor<8x8xf32>
      %y = plan.gemm %x, %x : tensor<8x8xf32>, tensor<8x8xf32> -> tensor<8x8xf32>
      // expected-error @below {{expected a value without another use}}
      plan.accumulate %y into %dw : tensor<8x8xf32>, memref<8x8xf32>
      %z = plan.gemm %y, %x : tensor<8x8xf32>, tensor<8x8xf32> -> tensor<8x8xf32>
    }
    plan.update {
    }
  }
}

// -----

// Value and accumulator have one shape.

plan.program @shape #sp.grid<dp = 1, pp = 1, sp = 1> micro_batch(1) seq_length(4) chunk_length(4) vocabulary(8) {
  plan.stage 0 {
    %dw = plan.gradient "w" : memref<64xf32>
    plan.micro_batch {
      %x = plan.zeros : tensor<8x8xf32>
      %y = plan.gemm %x, %x : tensor<8x8xf32>, tensor<8x8xf32> -> tensor<8x8xf32>
      // expected-error @below {{expected an accumulator of the value's shape, found 'memref<64xf32>'}}
      plan.accumulate %y into %dw : tensor<8x8xf32>, memref<64xf32>
    }
    plan.update {
    }
  }
}
