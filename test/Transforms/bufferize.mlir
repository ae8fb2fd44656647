// RUN: seqpar-opt %s --bufferize --split-input-file | FileCheck %s
// RUN: seqpar-opt %s --bufferize=reuse-inputs=false --split-input-file | FileCheck %s --check-prefix=FRESH

// An output takes over the buffer of an input that dies in its row kernel, not of one that lives on.

// CHECK-LABEL: plan.program @reuse
// FRESH-LABEL: plan.program @reuse
plan.program @reuse #sp.grid<dp = 1, pp = 1, sp = 1> micro_batch(1) seq_length(4) chunk_length(4) vocabulary(8) {
  plan.stage 0 {
    %w = plan.parameter "w" normal : memref<8x8xf32>
    %dw = plan.gradient "w" : memref<8x8xf32>
    plan.micro_batch {
      // CHECK: %[[X:.*]] = plan.buffer {value = "gemm"}
      // CHECK: %[[Y:.*]] = plan.buffer {value = "gemm"}
      // CHECK: plan.rows "dies" rows(4) ins(%[[X]], %[[Y]] : {{.*}}) outs(%[[Y]] :
      // CHECK: %[[Z:.*]] = plan.buffer {value = "lives"}
      // CHECK: plan.rows "lives" rows(4) ins(%[[Y]] : {{.*}}) outs(%[[Z]] :
      // FRESH: %[[Z:.*]] = plan.buffer {value = "dies"}
      // FRESH-NEXT: plan.rows "dies" rows(4) {{.*}} outs(%[[Z]] :
      %z0 = plan.zeros : tensor<4x8xf32>
      %x = plan.gemm %z0, %w : tensor<4x8xf32>, memref<8x8xf32> -> tensor<4x8xf32>
      %y = plan.gemm %x, %w : tensor<4x8xf32>, memref<8x8xf32> -> tensor<4x8xf32>
      %z = plan.rows "dies" rows(4) ins(%x, %y : tensor<4x8xf32>, tensor<4x8xf32>)
             access [#plan.access<row>, #plan.access<row>] results [#plan.access<row>] -> tensor<4x8xf32> {
      ^bb0(%e: tensor<8xf32>, %f: tensor<8xf32>):
        %g = arith.mulf %e, %f : tensor<8xf32>
        plan.row_yield %g : tensor<8xf32>
      }
      %u = plan.rows "lives" rows(4) ins(%z : tensor<4x8xf32>) access [#plan.access<row>] results [#plan.access<row>]
             -> tensor<4x8xf32> {
      ^bb0(%e: tensor<8xf32>):
        plan.row_yield %e : tensor<8xf32>
      }
      %v = plan.gemm %x, %u transpose_a : tensor<4x8xf32>, tensor<4x8xf32> -> tensor<8x8xf32>
      plan.accumulate %v into %dw : tensor<8x8xf32>, memref<8x8xf32>
      %t = plan.gemm %z, %z transpose_a : tensor<4x8xf32>, tensor<4x8xf32> -> tensor<8x8xf32>
      plan.accumulate %t into %dw : tensor<8x8xf32>, memref<8x8xf32>
    }
    plan.update {
    }
  }
}

// -----

// What is received while the loop computes goes into a second buffer; the two alternate. With four
// ranks the result lies in the second one.

// CHECK-LABEL: plan.program @alternate
plan.program @alternate #sp.grid<dp = 1, pp = 1, sp = 4> micro_batch(1) seq_length(16) chunk_length(4) vocabulary(8) {
  plan.stage 0 {
    %dw = plan.gradient "w" : memref<8x8xf32>
    plan.micro_batch {
      // CHECK: %[[ODD:.*]] = plan.buffer {value = "zeros"}
      // CHECK: %[[EVEN:.*]] = plan.buffer communication {value = "received"}
      // CHECK-NEXT: sp.ring_loop {
      // CHECK-DAG: %[[NOW:.*]] = sp.alternate %[[ODD]], %[[EVEN]]
      // CHECK-DAG: %[[NEXT:.*]] = sp.alternate %[[EVEN]], %[[ODD]]
      // CHECK: sp.ring_shift_start(%[[NOW]]) into(%[[NEXT]] : memref<4x8xf32>) tag 0
      // CHECK-NEXT: plan.gemm %[[NOW]], %[[NOW]]
      // CHECK-NEXT: sp.wait tag 0
      // CHECK-NEXT: sp.yield
      // CHECK: plan.gemm %[[EVEN]], %[[EVEN]]
      %x = plan.zeros : tensor<4x8xf32>
      %r = sp.ring_loop iter(%k = %x) : tensor<4x8xf32> {
        %s = sp.ring_shift_start (%k) tag 0 : tensor<4x8xf32> -> tensor<4x8xf32>
        %g = plan.gemm %k, %k transpose_a : tensor<4x8xf32>, tensor<4x8xf32> -> tensor<8x8xf32>
        plan.accumulate %g into %dw : tensor<8x8xf32>, memref<8x8xf32>
        %n = sp.wait (%s : tensor<4x8xf32>) sent (%k : tensor<4x8xf32>) tag 0 -> tensor<4x8xf32>
        sp.yield %n : tensor<4x8xf32>
      }
      %h = plan.gemm %r, %r transpose_a : tensor<4x8xf32>, tensor<4x8xf32> -> tensor<8x8xf32>
      plan.accumulate %h into %dw : tensor<8x8xf32>, memref<8x8xf32>
    }
    plan.update {
    }
  }
}

// -----

// With three ranks the result lies in the first buffer.

// CHECK-LABEL: plan.program @alternate_odd
plan.program @alternate_odd #sp.grid<dp = 1, pp = 1, sp = 3> micro_batch(1) seq_length(12) chunk_length(4) vocabulary(8) {
  plan.stage 0 {
    %dw = plan.gradient "w" : memref<8x8xf32>
    plan.micro_batch {
      // CHECK: %[[ODD:.*]] = plan.buffer {value = "zeros"}
      // CHECK: plan.gemm %[[ODD]], %[[ODD]]
      %x = plan.zeros : tensor<4x8xf32>
      %r = sp.ring_loop iter(%k = %x) : tensor<4x8xf32> {
        %s = sp.ring_shift_start (%k) tag 0 : tensor<4x8xf32> -> tensor<4x8xf32>
        %n = sp.wait (%s : tensor<4x8xf32>) sent (%k : tensor<4x8xf32>) tag 0 -> tensor<4x8xf32>
        sp.yield %n : tensor<4x8xf32>
      }
      %h = plan.gemm %r, %r transpose_a : tensor<4x8xf32>, tensor<4x8xf32> -> tensor<8x8xf32>
      plan.accumulate %h into %dw : tensor<8x8xf32>, memref<8x8xf32>
    }
    plan.update {
    }
  }
}

// -----

// The state of attention stays in its buffers through the loop.

// CHECK-LABEL: plan.program @attention
plan.program @attention #sp.grid<dp = 1, pp = 1, sp = 2> micro_batch(1) seq_length(8) chunk_length(4) vocabulary(8) {
  plan.stage 0 {
    %mask = plan.input padding_mask : memref<1x8xi32>
    plan.micro_batch {
      // CHECK: %[[O:.*]] = plan.buffer {value = "attention"}
      // CHECK: %[[L:.*]] = plan.buffer {value = "attention.lse"}
      // CHECK: %[[S:.*]] = plan.buffer {value = "attention.sum"}
      // CHECK: sp.attention_block own initialize {{.*}} outs(%[[O]], %[[L]], %[[S]] :
      // CHECK: sp.ring_loop {
      // CHECK: sp.attention_block ring finish {{.*}} outs(%[[O]], %[[L]], %[[S]] :
      // CHECK: %[[D:.*]] = plan.buffer {value = "attention.delta"}
      // CHECK: sp.attention_block_grad own initialize heads(2) {{.*}} outs(%[[D]], %[[DQ:.*]], %{{.*}}, %{{.*}} :
      // CHECK: sp.ring_loop {
      // CHECK: sp.attention_block_grad ring accumulate heads(2) {{.*}} outs(%[[D]], %[[DQ]], %[[DK:.*]], %[[DV:.*]] :
      %q = plan.zeros : tensor<1x4x8xf32>
      %s:3 = sp.attention_block own initialize heads(2) (%q, %q, %q, %mask : tensor<1x4x8xf32>, tensor<1x4x8xf32>, tensor<1x4x8xf32>, memref<1x8xi32>)
               -> tensor<1x4x8xf32>, tensor<1x2x4xf32>, tensor<1x2x4xf32>
      %r:3 = sp.ring_loop iter(%a = %s#0, %b = %s#1, %c = %s#2) : tensor<1x4x8xf32>, tensor<1x2x4xf32>, tensor<1x2x4xf32> {
        %t:3 = sp.attention_block ring finish heads(2) (%q, %q, %q, %mask : tensor<1x4x8xf32>, tensor<1x4x8xf32>, tensor<1x4x8xf32>, memref<1x8xi32>)
                 state (%a, %b, %c : tensor<1x4x8xf32>, tensor<1x2x4xf32>, tensor<1x2x4xf32>)
                 -> tensor<1x4x8xf32>, tensor<1x2x4xf32>, tensor<1x2x4xf32>
        sp.yield %t#0, %t#1, %t#2 : tensor<1x4x8xf32>, tensor<1x2x4xf32>, tensor<1x2x4xf32>
      }
      %g:4 = sp.attention_block_grad own initialize heads(2) (%q, %q, %q, %mask, %r#0, %r#1, %q : tensor<1x4x8xf32>, tensor<1x4x8xf32>, tensor<1x4x8xf32>, memref<1x8xi32>, tensor<1x4x8xf32>, tensor<1x2x4xf32>, tensor<1x4x8xf32>)
               -> tensor<1x2x4xf32>, tensor<1x4x8xf32>, tensor<1x4x8xf32>, tensor<1x4x8xf32>
      %e0 = plan.empty : tensor<1x4x8xf32>
      %e1 = plan.empty : tensor<1x4x8xf32>
      %u:4 = sp.ring_loop iter(%a = %g#0, %b = %g#1, %dk = %e0, %dv = %e1) : tensor<1x2x4xf32>, tensor<1x4x8xf32>, tensor<1x4x8xf32>, tensor<1x4x8xf32> {
        %h:4 = sp.attention_block_grad ring heads(2) (%q, %q, %q, %mask, %r#0, %r#1, %q : tensor<1x4x8xf32>, tensor<1x4x8xf32>, tensor<1x4x8xf32>, memref<1x8xi32>, tensor<1x4x8xf32>, tensor<1x2x4xf32>, tensor<1x4x8xf32>)
                 state (%a, %b : tensor<1x2x4xf32>, tensor<1x4x8xf32>) accumulators (%dk, %dv : tensor<1x4x8xf32>, tensor<1x4x8xf32>)
                 -> tensor<1x2x4xf32>, tensor<1x4x8xf32>, tensor<1x4x8xf32>, tensor<1x4x8xf32>
        sp.yield %h#0, %h#1, %h#2, %h#3 : tensor<1x2x4xf32>, tensor<1x4x8xf32>, tensor<1x4x8xf32>, tensor<1x4x8xf32>
      }
    }
    plan.update {
    }
  }
}

// -----

// Each written zero has its own memory, cleared right before its use.

// CHECK-LABEL: plan.program @zeros
plan.program @zeros #sp.grid<dp = 1, pp = 1, sp = 1> micro_batch(1) seq_length(4) chunk_length(4) vocabulary(8) {
  plan.stage 0 {
    %rows = plan.input masked_rows : memref<4xi32>
    %labels = plan.input masked_labels : memref<4xi32>
    plan.micro_batch {
      // CHECK: %[[A:.*]] = plan.buffer
      // CHECK-NEXT: plan.fill %[[A]]
      // CHECK-NEXT: %[[B:.*]] = plan.buffer
      // CHECK-NEXT: plan.fill %[[B]]
      // CHECK-NEXT: plan.rows_loop
      // CHECK: plan.rows "scatter" {{.*}} outs(%[[B]], %[[A]] :
      %z = plan.zeros : tensor<4x8xf32>
      %r:2 = plan.rows_loop chunk(2) (%i = %rows, %l = %labels : memref<4xi32>, memref<4xi32>) iter(%a = %z, %b = %z) : tensor<4x8xf32>, tensor<4x8xf32> {
        %x = plan.zeros : tensor<2x8xf32>
        %c:2 = plan.rows "scatter" rows(2) ins(%i, %x : memref<2xi32>, tensor<2x8xf32>) outs(%a, %b : tensor<4x8xf32>, tensor<4x8xf32>)
               access [#plan.access<row_scalar>, #plan.access<row>] results [#plan.access<scatter 0>, #plan.access<scatter_add 0>]
               -> tensor<4x8xf32>, tensor<4x8xf32> attributes {active_rows} {
        ^bb0(%n: i32, %e: tensor<8xf32>):
          plan.row_yield %e, %e : tensor<8xf32>, tensor<8xf32>
        }
        sp.yield %c#0, %c#1 : tensor<4x8xf32>, tensor<4x8xf32>
      }
    }
    plan.update {
    }
  }
}

// -----

// Gathers get a buffer of their own; a sum over ranks is taken in place.

// CHECK-LABEL: plan.program @collectives
plan.program @collectives #sp.grid<dp = 1, pp = 1, sp = 2> micro_batch(1) seq_length(8) chunk_length(4) vocabulary(8) {
  plan.stage 0 {
    plan.micro_batch {
      // CHECK: %[[X:.*]] = plan.buffer {value = "zeros"}
      // CHECK: %[[G:.*]] = plan.buffer communication {value = "all_gather"} : memref<8x8xf32>
      // CHECK: sp.all_gather %[[X]] into %[[G]] : memref<8x8xf32> dim 0 over [sp] : memref<4x8xf32>
      // CHECK: sp.all_reduce %[[G]] over [sp] : memref<8x8xf32>
      // CHECK: %[[S:.*]] = plan.buffer communication {value = "reduce_scatter"} : memref<4x8xf32>
      // CHECK: sp.reduce_scatter %[[G]] into %[[S]] : memref<4x8xf32> dim 0 over [sp] : memref<8x8xf32>
      %x = plan.zeros : tensor<4x8xf32>
      %g = sp.all_gather %x dim 0 over [sp] : tensor<4x8xf32> -> tensor<8x8xf32>
      %h = sp.all_reduce %g over [sp] : tensor<8x8xf32> -> tensor<8x8xf32>
      %s = sp.reduce_scatter %h dim 0 over [sp] : tensor<8x8xf32> -> tensor<4x8xf32>
    }
    plan.update {
    }
  }
}
