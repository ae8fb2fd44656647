// RUN: seqpar-opt %s --write-program="output=%t.program" --verify-diagnostics --split-input-file
// RUN: test ! -e %t.program

// expected-error @below {{expected one plan.program, found 0}}
module {
}

// -----

plan.program @no_sizes #sp.grid<dp = 1, pp = 1, sp = 1> micro_batch(1) seq_length(4) chunk_length(4) vocabulary(8) {
  // expected-error @below {{has no segment sizes: run assign-segments and assign-arena first}}
  plan.stage 0 {
    plan.micro_batch {
    }
    plan.update {
    }
  }
}

// -----

plan.program @no_offset #sp.grid<dp = 1, pp = 1, sp = 1> micro_batch(1) seq_length(4) chunk_length(4) vocabulary(8) {
  plan.stage 0 attributes {arena_bytes = 0 : i64, parameter_bytes = 0 : i64} {
    plan.micro_batch {
      // expected-error @below {{has no offset: run assign-segments and assign-arena first}}
      %b = plan.buffer {value = "b"} : memref<4xf32>
      plan.fill %b : memref<4xf32>
    }
    plan.update {
    }
  }
}

// -----

plan.program @values #sp.grid<dp = 1, pp = 1, sp = 1> micro_batch(1) seq_length(4) chunk_length(4) vocabulary(8) {
  plan.stage 0 attributes {arena_bytes = 0 : i64, parameter_bytes = 0 : i64} {
    plan.micro_batch {
      // expected-error @below {{is not in buffer form: run bufferize first}}
      %b = plan.zeros : tensor<4xf32>
    }
    plan.update {
    }
  }
}
