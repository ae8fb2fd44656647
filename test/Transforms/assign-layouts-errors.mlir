// RUN: seqpar-opt %s --pass-pipeline='builtin.module(nn.step(assign-layouts{dp=3 sp=8}))' --split-input-file --verify-diagnostics

// expected-error @below {{expected at most as many sequence-parallel ranks as positions (7), found sp = 8}}
nn.step @short {
  %ids = nn.input tokens : tensor<3x7xi32>
} update {
}

// -----

// expected-error @below {{expected samples (4) divisible by dp = 3}}
nn.step @samples {
  %ids = nn.input tokens : tensor<4x64xi32>
} update {
}

// -----

nn.step @unbound {
  // expected-error @below {{has an unbound shape: run bind-shapes first}}
  %ids = nn.input tokens : tensor<?x?xi32>
} update {
}
