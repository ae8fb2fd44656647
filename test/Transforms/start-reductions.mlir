// RUN: seqpar-opt %s --assign-segments --start-reductions | FileCheck %s

// Two buckets. That of `b` is complete after the first product, that of `a` after the second; both tags are new.

// CHECK-LABEL: plan.program @p
plan.program @p #sp.grid<dp = 1, pp = 1, sp = 2> micro_batch(1) seq_length(8) chunk_length(4) vocabulary(8) {
  plan.stage 0 attributes {bucket_bytes = 64 : i64, shard_axes = array<i32: 2>} {
    %a = plan.parameter "a" normal decay {partial_axes = array<i32: 2>} : memref<8x8xf32>
    %b = plan.parameter "b" normal decay {partial_axes = array<i32: 2>} : memref<8x8xf32>
    // CHECK: %[[GA:.*]] = plan.gradient "a" at 0
    // CHECK: %[[GB:.*]] = plan.gradient "b" at 4096
    %ga = plan.gradient "a" : memref<8x8xf32>
    %gb = plan.gradient "b" : memref<8x8xf32>
    %l = plan.metric mlm_loss : memref<f32>
    // CHECK: plan.micro_batch
    plan.micro_batch {
      %x = plan.buffer : memref<4x8xf32>
      %y = plan.buffer : memref<4x8xf32>
      plan.fill %x : memref<4x8xf32>
      // CHECK: sp.ring_shift_start({{.*}} tag 4
      // CHECK: sp.wait tag 4
      sp.ring_shift_start (%x) into (%y : memref<4x8xf32>) tag 4 : memref<4x8xf32>
      sp.wait tag 4
      // CHECK: plan.gemm {{.*}} outs(%[[GB]]
      // CHECK-NEXT: %[[ALL:.*]] = plan.range gradient at 4096 : memref<2x512xf32>
      // CHECK-NEXT: %[[OWN:.*]] = plan.range gradient sharded at 4096 : memref<1x512xf32>
      // CHECK-NEXT: sp.reduce_scatter %[[ALL]] into %[[OWN]] : memref<1x512xf32> dim 0 over [sp] tag 6 : memref<2x512xf32>
      plan.gemm %x, %y transpose_a outs(%gb : memref<8x8xf32>) : memref<4x8xf32>, memref<4x8xf32>
      // CHECK-NEXT: plan.gemm {{.*}} outs(%[[GA]]
      // CHECK-NEXT: %[[R:.*]] = plan.range gradient at 0 : memref<2x512xf32>
      // CHECK-NEXT: sp.all_reduce %[[R]] over [sp] tag 5 : memref<2x512xf32>
      plan.gemm %x, %y transpose_a outs(%ga : memref<8x8xf32>) : memref<4x8xf32>, memref<4x8xf32>
      // CHECK-NEXT: plan.fill
      plan.fill %x : memref<4x8xf32>
    }
    // CHECK: plan.update
    plan.update {
      // What is no gradient is reduced where it was.
      // CHECK: sp.wait tag 5
      // CHECK: sp.wait tag 6
      // CHECK: sp.all_reduce %{{.*}} over [sp] : memref<f32>
      %r = plan.range gradient at 0 : memref<2x512xf32>
      sp.all_reduce %r over [sp] : memref<2x512xf32>
      %all = plan.range gradient at 4096 : memref<2x512xf32>
      %own = plan.range gradient sharded at 4096 : memref<1x512xf32>
      sp.reduce_scatter %all into %own : memref<1x512xf32> dim 0 over [sp] : memref<2x512xf32>
      sp.all_reduce %l over [sp] : memref<f32>
    }
  }
}
