// RUN: not seqpar-opt %s --pass-pipeline='builtin.module(nn.step(assign-layouts{sp=4},lower-attention{strategy=star}))' 2>&1 | FileCheck %s --check-prefix=STRATEGY
// RUN: not seqpar-opt %s --pass-pipeline='builtin.module(nn.step(lower-attention))' 2>&1 | FileCheck %s --check-prefix=GRID

// STRATEGY: expected attention strategy 'ring' or 'all-gather', found 'star'
// GRID: has no grid: run assign-layouts first
nn.step @step {
  %ids = nn.input tokens : tensor<4x128xi32>
} update {
}
