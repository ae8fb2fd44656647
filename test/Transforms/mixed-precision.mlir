// RUN: seqpar-opt %s --mixed-precision=dtype=bf16 --split-input-file | FileCheck %s --check-prefix=CHECK -D$NARROW=bf16
// RUN: seqpar-opt %s --mixed-precision=dtype=fp16 --split-input-file | FileCheck %s --check-prefix=CHECK -D$NARROW=f16
// RUN: seqpar-opt %s --mixed-precision --fuse-rows --split-input-file | FileCheck %s --check-prefix=FUSED

#row = #plan.access<row>
#broadcast = #plan.access<broadcast>
#sum = #plan.access<sum_rows>
!x = tensor<2x8x4xf32>
!u = tensor<2x8x6xf32>

// A product reads 16 bits: its weight by a cast of its own, used in both parts. Rows are widened where they are read
// and rounded where they are written; a contribution to a gradient and a sum over rows keep fp32.
// CHECK-LABEL: plan.program @product
// FUSED-LABEL: plan.program @product
plan.program @product <dp = 1, pp = 1, sp = 1> micro_batch(2) seq_length(8) chunk_length(8) vocabulary(16) {
  plan.stage 0 {
    %w = plan.parameter "w" zeros : memref<6x4xf32>
    %b = plan.parameter "b" zeros : memref<6xf32>
    %gw = plan.gradient "w" : memref<6x4xf32>
    %gb = plan.gradient "b" : memref<6xf32>
    plan.micro_batch {
      // CHECK: %[[X:.*]] = plan.zeros : tensor<2x8x4x[[$NARROW]]>
      %x = plan.zeros : !x
      // CHECK: %[[W:.*]] = plan.rows "cast" rows(6) ins(%{{.*}} : memref<6x4xf32>) access [#plan.access<row>] results [#plan.access<row>] -> tensor<6x4x[[$NARROW]]> {
      // CHECK-NEXT: ^bb0(%[[A:.*]]: tensor<4xf32>):
      // CHECK-NEXT: %[[R:.*]] = arith.truncf %[[A]] : tensor<4xf32> to tensor<4x[[$NARROW]]>
      // CHECK-NEXT: plan.row_yield %[[R]]
      // CHECK: %[[U:.*]] = plan.gemm %[[X]], %[[W]] transpose_b : tensor<2x8x4x[[$NARROW]]>, tensor<6x4x[[$NARROW]]> -> tensor<2x8x6x[[$NARROW]]>
      %u = plan.gemm %x, %w transpose_b : !x, memref<6x4xf32> -> !u
      // CHECK: %[[Y:.*]] = plan.rows "bias" rows(16) ins(%[[U]], %{{.*}} : tensor<2x8x6x[[$NARROW]]>, memref<6xf32>)
      // CHECK-SAME: -> tensor<2x8x6x[[$NARROW]]>
      // CHECK-NEXT: ^bb0(%[[A:.*]]: tensor<6x[[$NARROW]]>, %[[B:.*]]: tensor<6xf32>):
      // CHECK-NEXT: %[[E:.*]] = arith.extf %[[A]] : tensor<6x[[$NARROW]]> to tensor<6xf32>
      // CHECK-NEXT: %[[S:.*]] = arith.addf %[[E]], %[[B]] : tensor<6xf32>
      // CHECK-NEXT: %[[T:.*]] = arith.truncf %[[S]] : tensor<6xf32> to tensor<6x[[$NARROW]]>
      // CHECK-NEXT: plan.row_yield %[[T]]
      // Fused, the first kernel's rounded row is not read back: tanh has it as it was.
      // FUSED: plan.rows "bias+tanh"
      // FUSED: %[[E:.*]] = arith.extf %{{.*}} : tensor<6xbf16> to tensor<6xf32>
      // FUSED-NEXT: %[[S:.*]] = arith.addf %[[E]], %{{.*}} : tensor<6xf32>
      // FUSED-NEXT: %[[H:.*]] = math.tanh %[[S]] : tensor<6xf32>
      // FUSED-NEXT: %[[T:.*]] = arith.truncf %[[H]] : tensor<6xf32> to tensor<6xbf16>
      // FUSED-NEXT: plan.row_yield %[[T]]
      %y = plan.rows "bias" rows(16) ins(%u, %b : !u, memref<6xf32>) access [#row, #broadcast] results [#row] -> !u {
      ^bb0(%a: tensor<6xf32>, %c: tensor<6xf32>):
        %s = arith.addf %a, %c : tensor<6xf32>
        plan.row_yield %s : tensor<6xf32>
      }
      %z = plan.rows "tanh" rows(16) ins(%y : !u) access [#row] results [#row] -> !u {
      ^bb0(%a: tensor<6xf32>):
        %s = math.tanh %a : tensor<6xf32>
        plan.row_yield %s : tensor<6xf32>
      }
      plan.backward
      // CHECK: plan.rows "sum_rows" {{.*}} -> tensor<6xf32>
      // CHECK-NEXT: ^bb0(%[[A:.*]]: tensor<6x[[$NARROW]]>):
      // CHECK-NEXT: %[[E:.*]] = arith.extf %[[A]]
      // CHECK-NEXT: plan.row_yield %[[E]] : tensor<6xf32>
      %db = plan.rows "sum_rows" rows(16) ins(%z : !u) access [#row] results [#sum] -> tensor<6xf32> {
      ^bb0(%a: tensor<6xf32>):
        plan.row_yield %a : tensor<6xf32>
      }
      plan.accumulate %db into %gb : tensor<6xf32>, memref<6xf32>
      // CHECK: plan.gemm %{{.*}}, %[[X]] transpose_a : tensor<2x8x6x[[$NARROW]]>, tensor<2x8x4x[[$NARROW]]> -> tensor<6x4xf32>
      %dw = plan.gemm %z, %x transpose_a : !u, !x -> tensor<6x4xf32>
      plan.accumulate %dw into %gw : tensor<6x4xf32>, memref<6x4xf32>
      // CHECK: plan.gemm %{{.*}}, %[[W]] : tensor<2x8x6x[[$NARROW]]>, tensor<6x4x[[$NARROW]]> -> tensor<2x8x4x[[$NARROW]]>
      %dx = plan.gemm %z, %w : !u, memref<6x4xf32> -> !x
    }
    plan.update {
    }
  }
}

// -----

!x = tensor<2x8x4xf32>
!s = tensor<2x2x8xf32>

// One block writes its result in 16 bits; gradients are sums, products read casts of them.
// CHECK-LABEL: plan.program @one_block
// FUSED-LABEL: plan.program @one_block
plan.program @one_block <dp = 1, pp = 1, sp = 1> micro_batch(2) seq_length(8) chunk_length(8) vocabulary(16) {
  plan.stage 0 {
    %mask = plan.input padding_mask : memref<2x8xi32>
    %w = plan.parameter "w" zeros : memref<4x4xf32>
    plan.micro_batch {
      %q = plan.zeros : !x
      // CHECK: %[[O:.*]]:3 = sp.attention_block own initialize finish {{.*}} -> tensor<2x8x4x[[$NARROW]]>, tensor<2x2x8xf32>, tensor<2x2x8xf32>
      %o:3 = sp.attention_block own initialize finish heads(2) (%q, %q, %q, %mask : !x, !x, !x, memref<2x8xi32>) -> !x, !s, !s
      // CHECK: plan.gemm %[[O]]#0, %
      %p = plan.gemm %o#0, %w : !x, memref<4x4xf32> -> !x
      plan.backward
      // CHECK: %[[G:.*]]:4 = sp.attention_block_grad own initialize {{.*}} -> tensor<2x2x8xf32>, tensor<2x8x4xf32>, tensor<2x8x4xf32>, tensor<2x8x4xf32>
      // CHECK: %[[C:.*]] = plan.rows "cast" rows(16) ins(%[[G]]#1 : tensor<2x8x4xf32>)
      %g:4 = sp.attention_block_grad own initialize heads(2)
        (%q, %q, %q, %mask, %o#0, %o#1, %p : !x, !x, !x, memref<2x8xi32>, !x, !s, !x) -> !s, !x, !x, !x
      // CHECK: plan.gemm %[[C]], %
      %dq = plan.gemm %g#1, %w : !x, memref<4x4xf32> -> !x
    }
    plan.update {
    }
  }
}

// -----

!x = tensor<2x4x4xf32>
!s = tensor<2x2x4xf32>

// In a ring, keys and values travel in 16 bits and the state is a sum; what follows reads a cast of it.
// CHECK-LABEL: plan.program @ring
// FUSED-LABEL: plan.program @ring
plan.program @ring <dp = 1, pp = 1, sp = 2> micro_batch(2) seq_length(8) chunk_length(4) vocabulary(16) {
  plan.stage 0 {
    %mask = plan.input padding_mask : memref<2x8xi32>
    %w = plan.parameter "w" zeros : memref<4x4xf32>
    plan.micro_batch {
      %k = plan.zeros : !x
      // CHECK: %[[K1:.*]]:2 = sp.ring_shift {{.*}} -> tensor<2x4x4x[[$NARROW]]>, tensor<2x4x4x[[$NARROW]]>
      %k1:2 = sp.ring_shift %k, %k : !x, !x -> !x, !x
      // CHECK: sp.attention_block own initialize heads({{.*}} -> tensor<2x4x4xf32>, tensor<2x2x4xf32>, tensor<2x2x4xf32>
      %o:3 = sp.attention_block own initialize heads(2) (%k, %k, %k, %mask : !x, !x, !x, memref<2x8xi32>) -> !x, !s, !s
      // CHECK: %[[R:.*]]:5 = sp.ring_loop
      // CHECK-SAME: tensor<2x4x4x[[$NARROW]]>, tensor<2x4x4x[[$NARROW]]>, tensor<2x4x4xf32>, tensor<2x2x4xf32>, tensor<2x2x4xf32>
      %r:5 = sp.ring_loop iter(%kk = %k1#0, %vv = %k1#1, %a = %o#0, %m = %o#1, %l = %o#2) : !x, !x, !x, !s, !s {
        %kn:2 = sp.ring_shift %kk, %vv skip_last : !x, !x -> !x, !x
        %b:3 = sp.attention_block ring finish heads(2) (%k, %kk, %vv, %mask : !x, !x, !x, memref<2x8xi32>)
          state(%a, %m, %l : !x, !s, !s) -> !x, !s, !s
        sp.yield %kn#0, %kn#1, %b#0, %b#1, %b#2 : !x, !x, !x, !s, !s
      }
      // CHECK: %[[C:.*]] = plan.rows "cast" rows(8) ins(%[[R]]#2 : tensor<2x4x4xf32>)
      // CHECK: plan.gemm %[[C]], %
      %p = plan.gemm %r#2, %w : !x, memref<4x4xf32> -> !x
    }
    plan.update {
    }
  }
}

// -----

#row = #plan.access<row>
#scalar = #plan.access<row_scalar>
#broadcast = #plan.access<broadcast>
#sum = #plan.access<sum_rows>
#gather = #plan.access<gather 1>
#scatter = #plan.access<scatter 1>
!x = tensor<2x8x4xf32>

// The logits that a loss is computed from are fp32, and the product that they come from; their gradient is not, nor
// what the rows of the loop are gathered from and scattered to. The weight is cast once, before the loop.
// CHECK-LABEL: plan.program @loss
// FUSED-LABEL: plan.program @loss
plan.program @loss <dp = 1, pp = 1, sp = 1> micro_batch(2) seq_length(8) chunk_length(8) vocabulary(16) {
  plan.stage 0 {
    %rows = plan.input masked_rows : memref<16xi32>
    %labels = plan.input masked_labels : memref<16xi32>
    %w = plan.parameter "w" zeros : memref<16x4xf32>
    %b = plan.parameter "b" zeros : memref<16xf32>
    %loss = plan.metric mlm_loss : memref<f32>
    plan.micro_batch {
      // CHECK: %[[X:.*]] = plan.zeros
      %x = plan.zeros : !x
      // CHECK: %[[D:.*]] = plan.zeros : tensor<2x8x4x[[$NARROW]]>
      %d = plan.zeros : !x
      // CHECK: %[[W:.*]] = plan.rows "cast" rows(16) ins(%{{.*}} : memref<16x4xf32>)
      // CHECK: plan.rows_loop {{.*}} iter(%{{.*}} = %[[D]]) : tensor<2x8x4x[[$NARROW]]>
      %dx = plan.rows_loop chunk(8) (%r = %rows, %l = %labels : memref<16xi32>, memref<16xi32>) iter(%acc = %d) : !x {
        // CHECK: %[[G:.*]] = plan.rows "gather_rows"
        // CHECK-NEXT: ^bb0(%[[A:.*]]: tensor<4x[[$NARROW]]>, %{{.*}}: i32):
        // CHECK-NEXT: plan.row_yield %[[A]]
        %g = plan.rows "gather_rows" rows(8) ins(%x, %r : !x, memref<8xi32>) access [#gather, #scalar] results [#row]
               -> tensor<8x4xf32> attributes {active_rows} {
        ^bb0(%a: tensor<4xf32>, %i: i32):
          plan.row_yield %a : tensor<4xf32>
        }
        // CHECK: %[[P:.*]] = plan.gemm %[[G]], %[[W]] transpose_b {active_rows = {{.*}}} : tensor<8x4x[[$NARROW]]>, tensor<16x4x[[$NARROW]]> -> tensor<8x16xf32>
        %p = plan.gemm %g, %w transpose_b {active_rows = #plan<active_rows m>} : tensor<8x4xf32>, memref<16x4xf32> -> tensor<8x16xf32>
        // CHECK: plan.rows "bias" {{.*}} -> tensor<8x16xf32>
        %logits = plan.rows "bias" rows(8) ins(%p, %b : tensor<8x16xf32>, memref<16xf32>) access [#row, #broadcast]
                    results [#row] -> tensor<8x16xf32> attributes {active_rows} {
        ^bb0(%a: tensor<16xf32>, %c: tensor<16xf32>):
          %s = arith.addf %a, %c : tensor<16xf32>
          plan.row_yield %s : tensor<16xf32>
        }
        // CHECK: plan.rows "cross_entropy" {{.*}} -> tensor<f32>
        %ce = plan.rows "cross_entropy" rows(8) ins(%logits : tensor<8x16xf32>) access [#row] results [#sum]
                -> tensor<f32> attributes {active_rows} {
        ^bb0(%a: tensor<16xf32>):
          %m = plan.row_reduce max %a : tensor<16xf32> -> f32
          plan.row_yield %m : f32
        }
        plan.accumulate %ce into %loss : tensor<f32>, memref<f32>
        // CHECK: %[[DL:.*]] = plan.rows "cross_entropy_grad" {{.*}} -> tensor<8x16x[[$NARROW]]>
        %dl = plan.rows "cross_entropy_grad" rows(8) ins(%logits : tensor<8x16xf32>) access [#row] results [#row]
                -> tensor<8x16xf32> attributes {active_rows} {
        ^bb0(%a: tensor<16xf32>):
          %s = math.exp %a : tensor<16xf32>
          plan.row_yield %s : tensor<16xf32>
        }
        // CHECK: plan.gemm %[[DL]], %[[W]] {{.*}} -> tensor<8x4x[[$NARROW]]>
        %dg = plan.gemm %dl, %w {active_rows = #plan<active_rows m>} : tensor<8x16xf32>, memref<16x4xf32> -> tensor<8x4xf32>
        // CHECK: plan.rows "scatter_rows" {{.*}} -> tensor<2x8x4x[[$NARROW]]>
        %s = plan.rows "scatter_rows" rows(8) ins(%dg, %r : tensor<8x4xf32>, memref<8xi32>) outs(%acc : !x)
               access [#row, #scalar] results [#scatter] -> !x attributes {active_rows} {
        ^bb0(%a: tensor<4xf32>, %i: i32):
          plan.row_yield %a : tensor<4xf32>
        }
        sp.yield %s : !x
      }
    }
    plan.update {
    }
  }
}

// -----

#row = #plan.access<row>
!x = tensor<2x4x4xf32>
!f = tensor<2x4xf32>

// A sum over ranks is fp32 (the first token's row, which one rank holds). Other stages get 16 bits.
// CHECK-LABEL: plan.program @exchanges
// FUSED-LABEL: plan.program @exchanges
plan.program @exchanges <dp = 1, pp = 2, sp = 2> micro_batch(2) seq_length(8) chunk_length(4) vocabulary(16) {
  plan.stage 0 {
    plan.micro_batch {
      // CHECK: %[[T:.*]] = plan.rows "token" {{.*}} -> tensor<2x4xf32>
      %x = plan.zeros : !f
      %t = plan.rows "token" rows(2) ins(%x : !f) access [#row] results [#row] -> !f {
      ^bb0(%a: tensor<4xf32>):
        %s = arith.addf %a, %a : tensor<4xf32>
        plan.row_yield %s : tensor<4xf32>
      }
      // CHECK: %[[F:.*]] = sp.all_reduce %[[T]] over [sp] : tensor<2x4xf32> -> tensor<2x4xf32>
      %f = sp.all_reduce %t over [sp] : !f -> !f
      // CHECK: %[[C:.*]] = plan.rows "cast" rows(2) ins(%[[F]] : tensor<2x4xf32>)
      // CHECK: sp.send %[[C]] to stage 1 tag 0 : tensor<2x4x[[$NARROW]]>
      sp.send %f to stage 1 tag 0 : !f
      // CHECK: sp.wait sent(%[[C]] : tensor<2x4x[[$NARROW]]>) tag 0
      sp.wait sent(%f : !f) tag 0
      // CHECK: sp.receive from stage 1 tag 1 -> tensor<2x4x4x[[$NARROW]]>
      %y = sp.receive from stage 1 tag 1 -> !x
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
