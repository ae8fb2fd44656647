// RUN: seqpar-opt %s --assign-segments --verify-diagnostics --split-input-file

// Names are unique.

plan.program @twice #sp.grid<dp = 1, pp = 1, sp = 1> micro_batch(1) seq_length(4) chunk_length(4) vocabulary(8) {
  plan.stage 0 {
    %a = plan.parameter "w" normal : memref<8x8xf32>
    // expected-error @below {{declares 'w' a second time}}
    %b = plan.parameter "w" normal : memref<8x8xf32>
    plan.micro_batch {
    }
    plan.update {
    }
  }
}

// -----

// A gradient belongs to a parameter.

plan.program @stray #sp.grid<dp = 1, pp = 1, sp = 1> micro_batch(1) seq_length(4) chunk_length(4) vocabulary(8) {
  plan.stage 0 {
    // expected-error @below {{names 'w', which is no parameter of this stage}}
    %a = plan.gradient "w" : memref<8x8xf32>
    plan.micro_batch {
    }
    plan.update {
    }
  }
}

// -----

// A moment has its parameter's shape.

plan.program @shape #sp.grid<dp = 1, pp = 1, sp = 1> micro_batch(1) seq_length(4) chunk_length(4) vocabulary(8) {
  plan.stage 0 {
    %a = plan.parameter "w" normal : memref<8x8xf32>
    // expected-error @below {{expected the parameter's type 'memref<8x8xf32>', found 'memref<64xf32>'}}
    %b = plan.moment 1 of "w" : memref<64xf32>
    plan.micro_batch {
    }
    plan.update {
    }
  }
}

// -----

// Parameters are fp32.

plan.program @type #sp.grid<dp = 1, pp = 1, sp = 1> micro_batch(1) seq_length(4) chunk_length(4) vocabulary(8) {
  plan.stage 0 {
    // expected-error @below {{expected elements of f32, found 'memref<8xi32>'}}
    %a = plan.parameter "w" normal : memref<8xi32>
    plan.micro_batch {
    }
    plan.update {
    }
  }
}

// -----

// The update stays within the parameters.

plan.program @range #sp.grid<dp = 1, pp = 1, sp = 1> micro_batch(1) seq_length(4) chunk_length(4) vocabulary(8) {
  plan.stage 0 {
    %a = plan.parameter "w" normal : memref<8x8xf32>
    plan.micro_batch {
    }
    plan.update {
      // expected-error @below {{expected a range of parameters, gradients or moments that ends by byte 16384, found 'parameter' up to byte 32768}}
      %r = plan.range parameter at 0 : memref<2x4096xf32>
    }
  }
}
