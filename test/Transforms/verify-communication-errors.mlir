// RUN: seqpar-opt %s --verify-communication --verify-diagnostics --split-input-file

// Fewer bytes than are sent.

plan.program @size #sp.grid<dp = 1, pp = 2, sp = 2> micro_batch(1) seq_length(8) chunk_length(4) vocabulary(8) {
  plan.stage 0 {
    plan.micro_batch {
      %x = plan.buffer at 0 : memref<4x8xf32>
      // expected-error @below {{of stage 0 sends 128 bytes with tag 0, but stage 1 receives 64}}
      sp.send %x to stage 1 tag 0 : memref<4x8xf32>
      plan.backward
      sp.wait tag 0
    }
    plan.update {
    }
  }
  plan.stage 1 {
    plan.micro_batch {
      %x = plan.buffer at 0 : memref<2x8xf32>
      // expected-note @below {{received here}}
      sp.receive into %x : memref<2x8xf32> from stage 0 tag 0
      sp.wait tag 0
    }
    plan.update {
    }
  }
}

// -----

// A receive that nothing is sent for.

plan.program @missing_send #sp.grid<dp = 1, pp = 2, sp = 1> micro_batch(1) seq_length(4) chunk_length(4) vocabulary(8) {
  plan.stage 0 {
    plan.micro_batch {
    }
    plan.update {
    }
  }
  plan.stage 1 {
    plan.micro_batch {
      %x = plan.buffer at 0 : memref<2x8xf32>
      // expected-error @below {{with tag 3: stage 0 sends 0 times in a step, but stage 1 receives 1 times}}
      sp.receive into %x : memref<2x8xf32> from stage 0 tag 3
      sp.wait tag 3
    }
    plan.update {
    }
  }
}

// -----

// A send that is received in the update only, once for all micro-batches.

plan.program @missing_receive #sp.grid<dp = 1, pp = 2, sp = 1> micro_batch(1) seq_length(4) chunk_length(4) vocabulary(8) {
  plan.stage 0 slots 2 order [F0, F1, B0, B1] {
    plan.micro_batch {
      %x = plan.buffer at 0 : memref<2x8xf32>
      // expected-error @below {{with tag 0: stage 0 sends 2 times in a step, but stage 1 receives 1 times}}
      sp.send %x to stage 1 tag 0 : memref<2x8xf32>
      plan.backward
    }
    plan.update {
      sp.wait tag 0
    }
  }
  plan.stage 1 order [F0, B0, F1, B1] {
    plan.micro_batch {
    }
    plan.update {
      %x = plan.buffer at 0 : memref<2x8xf32>
      // expected-note @below {{received here}}
      sp.receive into %x : memref<2x8xf32> from stage 0 tag 0
      sp.wait tag 0
    }
  }
}

// -----

// Each stage waits to receive before it sends.

plan.program @circle #sp.grid<dp = 1, pp = 2, sp = 1> micro_batch(1) seq_length(4) chunk_length(4) vocabulary(8) {
  plan.stage 0 {
    plan.micro_batch {
      %x = plan.buffer at 0 : memref<2x8xf32>
      %y = plan.buffer at 64 : memref<2x8xf32>
      sp.receive into %x : memref<2x8xf32> from stage 1 tag 1
      // expected-error @below {{would wait for ever: stage 0 waits for stage 1 to send with tag 1 in micro-batch 0}}
      sp.wait tag 1
      sp.send %y to stage 1 tag 0 : memref<2x8xf32>
      sp.wait tag 0
    }
    plan.update {
    }
  }
  plan.stage 1 {
    plan.micro_batch {
      %x = plan.buffer at 0 : memref<2x8xf32>
      %y = plan.buffer at 64 : memref<2x8xf32>
      sp.receive into %x : memref<2x8xf32> from stage 0 tag 0
      // expected-note @below {{stage 1 waits for stage 0 to send with tag 0 in micro-batch 0}}
      sp.wait tag 0
      sp.send %y to stage 0 tag 1 : memref<2x8xf32>
      sp.wait tag 1
    }
    plan.update {
    }
  }
}

// -----

// Turns that do not fit: stage 0 wants the gradient of its first micro-batch before stage 1, which has taken on the
// second one first, can have it.

plan.program @turns #sp.grid<dp = 1, pp = 2, sp = 1> micro_batch(1) seq_length(4) chunk_length(4) vocabulary(8) {
  plan.stage 0 order [F0, B0, F1, B1] {
    plan.micro_batch {
      %x = plan.buffer at 0 : memref<2x8xf32>
      %d = plan.buffer at 64 : memref<2x8xf32>
      sp.send %x to stage 1 tag 0 : memref<2x8xf32>
      plan.backward
      sp.wait tag 0
      sp.receive into %d : memref<2x8xf32> from stage 1 tag 1
      // expected-error @below {{would wait for ever: stage 0 waits for stage 1 to send with tag 1 in micro-batch 0}}
      sp.wait tag 1
    }
    plan.update {
    }
  }
  plan.stage 1 slots 2 order [F0, F1, B0, B1] {
    plan.micro_batch {
      %x = plan.buffer at 0 : memref<2x8xf32>
      %d = plan.buffer at 64 : memref<2x8xf32>
      sp.receive into %x : memref<2x8xf32> from stage 0 tag 0
      // expected-note @below {{stage 1 waits for stage 0 to send with tag 0 in micro-batch 1}}
      sp.wait tag 0
      plan.backward
      sp.send %d to stage 0 tag 1 : memref<2x8xf32>
    }
    plan.update {
      sp.wait tag 1
    }
  }
}

// -----

// The stages come to different reductions.

plan.program @collectives #sp.grid<dp = 1, pp = 2, sp = 1> micro_batch(1) seq_length(4) chunk_length(4) vocabulary(8) {
  plan.stage 0 {
    plan.micro_batch {
    }
    plan.update {
      %a = plan.range gradient at 0 : memref<8xf32>
      %b = plan.range gradient at 64 : memref<4xf32>
      // expected-error @below {{of stage 0 on 'memref<8xf32>' meets another one in stage 1}}
      sp.all_reduce %a over [pp] : memref<8xf32>
      sp.all_reduce %b over [pp] : memref<4xf32>
    }
  }
  plan.stage 1 {
    plan.micro_batch {
    }
    plan.update {
      %a = plan.range gradient at 0 : memref<8xf32>
      %b = plan.range gradient at 64 : memref<4xf32>
      // expected-note @below {{stage 1 is at sp.all_reduce on 'memref<4xf32>'}}
      sp.all_reduce %b over [pp] : memref<4xf32>
      sp.all_reduce %a over [pp] : memref<8xf32>
    }
  }
}

// -----

// Axes differ.

plan.program @axes #sp.grid<dp = 2, pp = 2, sp = 1> micro_batch(1) seq_length(4) chunk_length(4) vocabulary(8) {
  plan.stage 0 {
    plan.micro_batch {
    }
    plan.update {
      %a = plan.range gradient at 0 : memref<8xf32>
      // expected-error @below {{meets another one in stage 1}}
      sp.all_reduce %a over [pp] : memref<8xf32>
    }
  }
  plan.stage 1 {
    plan.micro_batch {
    }
    plan.update {
      %a = plan.range gradient at 0 : memref<8xf32>
      // expected-note @below {{stage 1 is at sp.all_reduce}}
      sp.all_reduce %a over [dp, pp] : memref<8xf32>
    }
  }
}

// -----

// A reduction that one stage does not take part in.

plan.program @alone #sp.grid<dp = 1, pp = 2, sp = 1> micro_batch(1) seq_length(4) chunk_length(4) vocabulary(8) {
  plan.stage 0 {
    plan.micro_batch {
    }
    plan.update {
      %a = plan.range gradient at 0 : memref<8xf32>
      // expected-error @below {{would wait for ever: stage 0 waits for the other stages}}
      sp.all_reduce %a over [pp] : memref<8xf32>
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

// Ranks run the loop over masked rows as often as they have rows.

plan.program @rows_loop #sp.grid<dp = 1, pp = 1, sp = 2> micro_batch(1) seq_length(8) chunk_length(4) vocabulary(8) {
  plan.stage 0 {
    %rows = plan.input masked_rows : memref<4xi32>
    %labels = plan.input masked_labels : memref<4xi32>
    %dw = plan.gradient "w" : memref<8xf32>
    plan.micro_batch {
      plan.rows_loop chunk(2) (%i = %rows, %l = %labels : memref<4xi32>, memref<4xi32>) {
        // expected-error @below {{communicates in a plan.rows_loop, whose iterations are not as many on every rank}}
        sp.all_reduce %dw over [sp] : memref<8xf32>
        sp.yield
      }
    }
    plan.update {
    }
  }
}

// -----

// A stage that does not exist.

plan.program @peer #sp.grid<dp = 1, pp = 2, sp = 1> micro_batch(1) seq_length(4) chunk_length(4) vocabulary(8) {
  plan.stage 0 {
    plan.micro_batch {
      %x = plan.buffer at 0 : memref<2x8xf32>
      // expected-error @below {{expected another of 2 stages, found stage 2}}
      sp.send %x to stage 2 tag 0 : memref<2x8xf32>
      sp.wait tag 0
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

// Values have no size yet.

plan.program @values #sp.grid<dp = 1, pp = 2, sp = 1> micro_batch(1) seq_length(4) chunk_length(4) vocabulary(8) {
  plan.stage 0 {
    plan.micro_batch {
      // expected-error @below {{is not in buffer form: run bufferize first}}
      %x = sp.receive from stage 1 tag 0 -> tensor<4x8xf32>
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
