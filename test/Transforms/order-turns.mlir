// RUN: seqpar-opt %s --order-turns='micro-batches=4' | FileCheck %s --check-prefix=ONE
// RUN: seqpar-opt %s --order-turns='schedule=gpipe micro-batches=3' | FileCheck %s --check-prefix=GPIPE
// RUN: seqpar-opt %s --order-turns='micro-batches=1' | FileCheck %s --check-prefix=FEW
// RUN: not seqpar-opt %s --order-turns='schedule=zigzag' 2>&1 | FileCheck %s --check-prefix=ZIGZAG

// RUN: not seqpar-opt %s --order-turns='micro-batches=2000000' 2>&1 | FileCheck %s --check-prefix=MANY

// MANY: 'plan.program' op expected at most 1048576 micro-batches in a pipeline, found 2000000: use a larger micro-batch
// ONE-LABEL: plan.program @three
// ONE: plan.stage 0 slots 3 order [F0, F1, F2, B0, F3, B1, B2, B3] {
// ONE: plan.stage 1 slots 2 order [F0, F1, B0, F2, B1, F3, B2, B3] {
// ONE: plan.stage 2 order [F0, B0, F1, B1, F2, B2, F3, B3] {
// GPIPE-LABEL: plan.program @three
// GPIPE: plan.stage 0 slots 3 order [F0, F1, F2, B0, B1, B2] {
// GPIPE: plan.stage 1 slots 3 order [F0, F1, F2, B0, B1, B2] {
// GPIPE: plan.stage 2 slots 3 order [F0, F1, F2, B0, B1, B2] {
// No more than there are.
// FEW-COUNT-3: plan.stage {{[0-9]}} order [F0, B0] {
// ZIGZAG: order-turns: expected schedule '1f1b' or 'gpipe' and at least one micro-batch, found 'zigzag' and 1
plan.program @three #sp.grid<dp = 1, pp = 3, sp = 1> micro_batch(1) seq_length(4) chunk_length(4) vocabulary(8) {
  plan.stage 0 {
    plan.micro_batch {
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
  plan.stage 2 {
    plan.micro_batch {
    }
    plan.update {
    }
  }
}

// One stage runs its micro-batches one after the other.
// ONE-LABEL: plan.program @one
// ONE: plan.stage 0 {
// FEW-LABEL: plan.program @one
// FEW: plan.stage 0 {
plan.program @one #sp.grid<dp = 1, pp = 1, sp = 1> micro_batch(1) seq_length(4) chunk_length(4) vocabulary(8) {
  plan.stage 0 {
    plan.micro_batch {
    }
    plan.update {
    }
  }
}
