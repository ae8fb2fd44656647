// RUN: seqpar-opt %s --overlap --bufferize --assign-segments --assign-arena --verify-plan | FileCheck %s

// A micro-batch with everything in it passes: ring attention forward and backward, masked rows, accumulation.

// CHECK-LABEL: plan.program @p
plan.program @p #sp.grid<dp = 1, pp = 1, sp = 4> micro_batch(2) seq_length(64) chunk_length(16) vocabulary(512) {
  // CHECK: plan.stage 0 attributes {arena_bytes = [[BYTES:[0-9]+]] : i64, arena_lower_bound = [[BYTES]] : i64
  plan.stage 0 {
    %w = plan.parameter "w" normal decay : memref<64x64xf32>
    %b = plan.parameter "b" zeros : memref<64xf32>
    %dw = plan.gradient "w" : memref<64x64xf32>
    %db = plan.gradient "b" : memref<64xf32>
    %mask = plan.input padding_mask : memref<2x64xi32>
    %tokens = plan.input tokens : memref<2x16xi32>
    %rows = plan.input masked_rows : memref<32xi32>
    %labels = plan.input masked_labels : memref<32xi32>
    plan.micro_batch {
      %x = plan.rows "embedding" rows(32) ins(%tokens, %w : memref<2x16xi32>, memref<64x64xf32>)
             access [#plan.access<row_scalar>, #plan.access<gather 0>] results [#plan.access<row>] -> tensor<2x16x64xf32> {
      ^bb0(%i: i32, %e: tensor<64xf32>):
        plan.row_yield %e : tensor<64xf32>
      }
      %q = plan.gemm %x, %w transpose_b : tensor<2x16x64xf32>, memref<64x64xf32> -> tensor<2x16x64xf32>
      %k = plan.gemm %x, %w transpose_b : tensor<2x16x64xf32>, memref<64x64xf32> -> tensor<2x16x64xf32>
      %v = plan.gemm %x, %w transpose_b : tensor<2x16x64xf32>, memref<64x64xf32> -> tensor<2x16x64xf32>
      %s:3 = sp.attention_block own initialize heads(4) (%q, %k, %v, %mask : tensor<2x16x64xf32>, tensor<2x16x64xf32>, tensor<2x16x64xf32>, memref<2x64xi32>) -> tensor<2x16x64xf32>, tensor<2x4x16xf32>, tensor<2x4x16xf32>
      %k1:2 = sp.ring_shift %k, %v : tensor<2x16x64xf32>, tensor<2x16x64xf32> -> tensor<2x16x64xf32>, tensor<2x16x64xf32>
      %r:5 = sp.ring_loop iter(%kk = %k1#0, %vv = %k1#1, %a0 = %s#0, %b0 = %s#1, %c0 = %s#2) : tensor<2x16x64xf32>, tensor<2x16x64xf32>, tensor<2x16x64xf32>, tensor<2x4x16xf32>, tensor<2x4x16xf32> {
        %t:3 = sp.attention_block ring finish heads(4) (%q, %kk, %vv, %mask : tensor<2x16x64xf32>, tensor<2x16x64xf32>, tensor<2x16x64xf32>, memref<2x64xi32>) state(%a0, %b0, %c0 : tensor<2x16x64xf32>, tensor<2x4x16xf32>, tensor<2x4x16xf32>) -> tensor<2x16x64xf32>, tensor<2x4x16xf32>, tensor<2x4x16xf32>
        %n:2 = sp.ring_shift %kk, %vv skip_last : tensor<2x16x64xf32>, tensor<2x16x64xf32> -> tensor<2x16x64xf32>, tensor<2x16x64xf32>
        sp.yield %n#0, %n#1, %t#0, %t#1, %t#2 : tensor<2x16x64xf32>, tensor<2x16x64xf32>, tensor<2x16x64xf32>, tensor<2x4x16xf32>, tensor<2x4x16xf32>
      }
      %z = plan.zeros : tensor<2x16x64xf32>
      %dy = plan.rows_loop chunk(8) (%rr = %rows, %ll = %labels : memref<32xi32>, memref<32xi32>) iter(%acc = %z) : tensor<2x16x64xf32> {
        %h = plan.rows "gather" rows(8) ins(%rr, %r#2 : memref<8xi32>, tensor<2x16x64xf32>) access [#plan.access<row_scalar>, #plan.access<gather 0>] results [#plan.access<row>] -> tensor<8x64xf32> attributes {active_rows} {
        ^bb0(%i: i32, %e: tensor<64xf32>):
          plan.row_yield %e : tensor<64xf32>
        }
        %g2 = plan.gemm %h, %h transpose_a {active_rows = #plan<active_rows k>} : tensor<8x64xf32>, tensor<8x64xf32> -> tensor<64x64xf32>
        plan.accumulate %g2 into %dw : tensor<64x64xf32>, memref<64x64xf32>
        %acc2, %sb = plan.rows "scatter" rows(8) ins(%rr, %h : memref<8xi32>, tensor<8x64xf32>) outs(%acc : tensor<2x16x64xf32>) access [#plan.access<row_scalar>, #plan.access<row>] results [#plan.access<scatter 0>, #plan.access<sum_rows>] -> tensor<2x16x64xf32>, tensor<64xf32> attributes {active_rows} {
        ^bb0(%i: i32, %e: tensor<64xf32>):
          plan.row_yield %e, %e : tensor<64xf32>, tensor<64xf32>
        }
        plan.accumulate %sb into %db : tensor<64xf32>, memref<64xf32>
        sp.yield %acc2 : tensor<2x16x64xf32>
      }
      %own:4 = sp.attention_block_grad own initialize heads(4) (%q, %k, %v, %mask, %r#2, %r#3, %dy : tensor<2x16x64xf32>, tensor<2x16x64xf32>, tensor<2x16x64xf32>, memref<2x64xi32>, tensor<2x16x64xf32>, tensor<2x4x16xf32>, tensor<2x16x64xf32>) -> tensor<2x4x16xf32>, tensor<2x16x64xf32>, tensor<2x16x64xf32>, tensor<2x16x64xf32>
      %j1:2 = sp.ring_shift %k, %v : tensor<2x16x64xf32>, tensor<2x16x64xf32> -> tensor<2x16x64xf32>, tensor<2x16x64xf32>
      %e0 = plan.empty : tensor<2x16x64xf32>
      %back:6 = sp.ring_loop iter(%kk = %j1#0, %vv = %j1#1, %a1 = %own#0, %b1 = %own#1, %dk = %e0, %dv = %e0) : tensor<2x16x64xf32>, tensor<2x16x64xf32>, tensor<2x4x16xf32>, tensor<2x16x64xf32>, tensor<2x16x64xf32>, tensor<2x16x64xf32> {
        %g:4 = sp.attention_block_grad ring heads(4) (%q, %kk, %vv, %mask, %r#2, %r#3, %dy : tensor<2x16x64xf32>, tensor<2x16x64xf32>, tensor<2x16x64xf32>, memref<2x64xi32>, tensor<2x16x64xf32>, tensor<2x4x16xf32>, tensor<2x16x64xf32>) state(%a1, %b1 : tensor<2x4x16xf32>, tensor<2x16x64xf32>) accumulators(%dk, %dv : tensor<2x16x64xf32>, tensor<2x16x64xf32>) -> tensor<2x4x16xf32>, tensor<2x16x64xf32>, tensor<2x16x64xf32>, tensor<2x16x64xf32>
        %n:2 = sp.ring_shift %kk, %vv skip_last : tensor<2x16x64xf32>, tensor<2x16x64xf32> -> tensor<2x16x64xf32>, tensor<2x16x64xf32>
        %d:2 = sp.ring_shift %g#2, %g#3 : tensor<2x16x64xf32>, tensor<2x16x64xf32> -> tensor<2x16x64xf32>, tensor<2x16x64xf32>
        sp.yield %n#0, %n#1, %g#0, %g#1, %d#0, %d#1 : tensor<2x16x64xf32>, tensor<2x16x64xf32>, tensor<2x4x16xf32>, tensor<2x16x64xf32>, tensor<2x16x64xf32>, tensor<2x16x64xf32>
      }
      %dk2 = plan.rows "add" rows(32) ins(%own#2, %back#4 : tensor<2x16x64xf32>, tensor<2x16x64xf32>) access [#plan.access<row>, #plan.access<row>] results [#plan.access<row>] -> tensor<2x16x64xf32> {
      ^bb0(%e: tensor<64xf32>, %f: tensor<64xf32>):
        %g = arith.addf %e, %f : tensor<64xf32>
        plan.row_yield %g : tensor<64xf32>
      }
      %gk = plan.gemm %dk2, %x transpose_a : tensor<2x16x64xf32>, tensor<2x16x64xf32> -> tensor<64x64xf32>
      plan.accumulate %gk into %dw : tensor<64x64xf32>, memref<64x64xf32>
      %gq = plan.gemm %back#3, %x transpose_a : tensor<2x16x64xf32>, tensor<2x16x64xf32> -> tensor<64x64xf32>
      plan.accumulate %gq into %dw : tensor<64x64xf32>, memref<64x64xf32>
    }
    plan.update {
    }
  }
}
