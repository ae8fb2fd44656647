// RUN: seqpar-opt %s --fuse-epilogues --split-input-file | FileCheck %s
// RUN: seqpar-opt %s --fuse-epilogues --bufferize --split-input-file | FileCheck %s --check-prefix=BUFFERS

#row = #plan.access<row>
#broadcast = #plan.access<broadcast>
!x = tensor<2x8x4xbf16>
!u = tensor<2x8x8xbf16>
!w = tensor<8x4xbf16>

// The product adds the bias, in the type of its result, and applies GeLU; the sum, which the backward reads, is saved.
// CHECK-LABEL: plan.program @gelu
// BUFFERS-LABEL: plan.program @gelu
plan.program @gelu <dp = 1, pp = 1, sp = 1> micro_batch(2) seq_length(8) chunk_length(8) vocabulary(16) {
  plan.stage 0 {
    %b = plan.parameter "b" zeros : memref<8xf32>
    plan.micro_batch {
      %x = plan.zeros : !x
      %w = plan.zeros : !w
      // CHECK-NOT: plan.rows "bias"
      // CHECK: %[[C:.*]] = plan.rows "cast" rows(1) ins(%{{.*}} : memref<8xf32>) {{.*}} -> tensor<8xbf16>
      // CHECK: %[[Y:.*]], %[[H:.*]] = plan.gemm %{{.*}}, %{{.*}} transpose_b bias(%[[C]] : tensor<8xbf16>) gelu : {{.*}} -> tensor<2x8x8xbf16> saves tensor<2x8x8xbf16>
      // CHECK-NEXT: plan.gemm %[[Y]], %
      // BUFFERS: plan.gemm {{.*}} bias(%{{.*}} : memref<8xbf16>) gelu outs(%[[Y:.*]] : memref<2x8x8xbf16>) saves(%[[H:.*]] : memref<2x8x8xbf16>)
      // BUFFERS: plan.gemm %[[Y]], %
      // BUFFERS: plan.rows "gelu_grad" {{.*}}%[[H]]
      %u = plan.gemm %x, %w transpose_b : !x, !w -> !u
      %h = plan.rows "bias" rows(16) ins(%u, %b : !u, memref<8xf32>) access [#row, #broadcast] results [#row] -> !u {
      ^bb0(%a: tensor<8xbf16>, %c: tensor<8xf32>):
        %e = arith.extf %a : tensor<8xbf16> to tensor<8xf32>
        %s = arith.addf %e, %c : tensor<8xf32>
        %t = arith.truncf %s : tensor<8xf32> to tensor<8xbf16>
        plan.row_yield %t : tensor<8xbf16>
      }
      %y = plan.rows "gelu" rows(16) ins(%h : !u) access [#row] results [#row] -> !u {
      ^bb0(%a: tensor<8xbf16>):
        %e = arith.extf %a : tensor<8xbf16> to tensor<8xf32>
        %s = math.tanh %e : tensor<8xf32>
        %t = arith.truncf %s : tensor<8xf32> to tensor<8xbf16>
        plan.row_yield %t : tensor<8xbf16>
      }
      %z = plan.gemm %y, %w : !u, !w -> !x
      plan.backward
      // CHECK: plan.rows "gelu_grad" {{.*}} ins(%[[H]], %[[H]] :
      %d = plan.rows "gelu_grad" rows(16) ins(%h, %h : !u, !u) access [#row, #row] results [#row] -> !u {
      ^bb0(%a: tensor<8xbf16>, %c: tensor<8xbf16>):
        plan.row_yield %c : tensor<8xbf16>
      }
    }
    plan.update {
    }
  }
}

// -----

#row = #plan.access<row>
#broadcast = #plan.access<broadcast>
!x = tensor<2x8x4xf32>

// In fp32 the parameter is the bias. The second sum is read by row kernels alone, which fuse-rows puts it into; a GeLU in
// 32 bits stays a row kernel too.
// CHECK-LABEL: plan.program @bias
// BUFFERS-LABEL: plan.program @bias
plan.program @bias <dp = 1, pp = 1, sp = 1> micro_batch(2) seq_length(8) chunk_length(8) vocabulary(16) {
  plan.stage 0 {
    // CHECK: %[[W:.*]] = plan.parameter "w"
    %w = plan.parameter "w" zeros : memref<4x4xf32>
    // CHECK: %[[B:.*]] = plan.parameter "b"
    %b = plan.parameter "b" zeros : memref<4xf32>
    plan.micro_batch {
      %x = plan.zeros : !x
      // CHECK: %[[Q:.*]] = plan.gemm %{{.*}}, %[[W]] transpose_b bias(%[[B]] : memref<4xf32>) :
      %u = plan.gemm %x, %w transpose_b : !x, memref<4x4xf32> -> !x
      %q = plan.rows "bias" rows(16) ins(%u, %b : !x, memref<4xf32>) access [#row, #broadcast] results [#row] -> !x {
      ^bb0(%a: tensor<4xf32>, %c: tensor<4xf32>):
        %s = arith.addf %a, %c : tensor<4xf32>
        plan.row_yield %s : tensor<4xf32>
      }
      // CHECK-NEXT: %[[V:.*]] = plan.gemm %[[Q]], %[[W]] transpose_b :
      %v = plan.gemm %q, %w transpose_b : !x, memref<4x4xf32> -> !x
      // CHECK-NEXT: plan.rows "bias" {{.*}} ins(%[[V]], %[[B]] :
      %h = plan.rows "bias" rows(16) ins(%v, %b : !x, memref<4xf32>) access [#row, #broadcast] results [#row] -> !x {
      ^bb0(%a: tensor<4xf32>, %c: tensor<4xf32>):
        %s = arith.addf %a, %c : tensor<4xf32>
        plan.row_yield %s : tensor<4xf32>
      }
      // CHECK: plan.rows "gelu"
      %y = plan.rows "gelu" rows(16) ins(%h : !x) access [#row] results [#row] -> !x {
      ^bb0(%a: tensor<4xf32>):
        %s = math.tanh %a : tensor<4xf32>
        plan.row_yield %s : tensor<4xf32>
      }
    }
    plan.update {
    }
  }
}
