// RUN: seqpar-opt %s --assign-segments | FileCheck %s

// Parameters with one set of partial axes lie together, those with weight decay first; each group fills rows of 4096
// elements. Gradients and moments follow; metrics lie behind the gradients.

// CHECK: plan.stage 0 attributes {gradient_bytes = 65664 : i64, input_bytes = 128 : i64, optimizer_state_bytes = 131072 : i64, parameter_bytes = 65536 : i64}
plan.program @p #sp.grid<dp = 2, pp = 1, sp = 2> micro_batch(1) seq_length(8) chunk_length(4) vocabulary(8) {
  plan.stage 0 {
    // CHECK: plan.parameter "bias" zeros at 32768
    // CHECK: plan.parameter "weight" normal decay at 0
    // CHECK: plan.parameter "whole" normal decay at 49152
    // CHECK: plan.parameter "weight2" normal decay at 16384
    %b = plan.parameter "bias" zeros {partial_axes = array<i32: 0, 2>} : memref<5xf32>
    %w = plan.parameter "weight" normal decay {partial_axes = array<i32: 2, 0>} : memref<64x64xf32>
    %h = plan.parameter "whole" normal decay {partial_axes = array<i32: 0>} : memref<5x3xf32>
    %w2 = plan.parameter "weight2" normal decay {partial_axes = array<i32: 0, 2>} : memref<3xf32>
    // CHECK: plan.gradient "weight2" at 16384
    // CHECK: plan.gradient "bias" at 32768
    %dw2 = plan.gradient "weight2" : memref<3xf32>
    %db = plan.gradient "bias" : memref<5xf32>
    // CHECK: plan.moment 1 of "bias" at 32768
    // CHECK: plan.moment 2 of "bias" at 98304
    %m = plan.moment 1 of "bias" : memref<5xf32>
    %v = plan.moment 2 of "bias" : memref<5xf32>
    // CHECK: plan.metric mlm_loss at 65536
    // CHECK: plan.metric gradient_norm at 65600
    %l = plan.metric mlm_loss : memref<f32>
    %n = plan.metric gradient_norm : memref<f64>
    // CHECK: plan.input tokens at 0
    // CHECK: plan.input step at 64
    %t = plan.input tokens : memref<4xi32>
    %s = plan.input step : memref<i32>
    plan.micro_batch {
    }
    plan.update {
    }
  }
}
