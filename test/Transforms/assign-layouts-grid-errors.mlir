// RUN: not seqpar-opt %s --pass-pipeline='builtin.module(nn.step(assign-layouts{sp=0}))' 2>&1 | FileCheck %s --check-prefix=ZERO
// RUN: not seqpar-opt %s --pass-pipeline='builtin.module(nn.step(assign-layouts{sp=65}))' 2>&1 | FileCheck %s --check-prefix=MANY

// ZERO: a grid needs at least one rank along each axis, found dp = 1, pp = 1, sp = 0
// MANY: expected at most 64 ranks along sp, found 65
nn.step @step {
  %ids = nn.input tokens : tensor<4x128xi32>
} update {
}
