// RUN: seqpar-opt %s --bufferize --split-input-file | FileCheck %s

// The first contribution to a gradient sets it in the first micro-batch; the others add.

// CHECK-LABEL: plan.program @two_products
plan.program @two_products #sp.grid<dp = 1, pp = 1, sp = 1> micro_batch(1) seq_length(4) chunk_length(4) vocabulary(8) {
  plan.stage 0 {
    // CHECK: %[[DW:.*]] = plan.gradient
    %dw = plan.gradient "w" : memref<8x8xf32>
    plan.micro_batch {
      // CHECK: plan.micro_batch {
      // CHECK-NEXT: %[[X:.*]] = plan.buffer
      // CHECK-NEXT: plan.fill %[[X]] :
      // CHECK: plan.gemm %{{.*}}, %{{.*}} transpose_a outs(%[[DW]] : memref<8x8xf32>) {combine = #plan<combine add_after_first_micro_batch>}
      // CHECK: plan.gemm %{{.*}}, %{{.*}} transpose_a outs(%[[DW]] : memref<8x8xf32>) {combine = #plan<combine add>}
      // CHECK-NOT: plan.accumulate
      %x = plan.zeros : tensor<4x8xf32>
      %g = plan.gemm %x, %x transpose_a : tensor<4x8xf32>, tensor<4x8xf32> -> tensor<8x8xf32>
      plan.accumulate %g into %dw : tensor<8x8xf32>, memref<8x8xf32>
      %h = plan.gemm %x, %x transpose_a : tensor<4x8xf32>, tensor<4x8xf32> -> tensor<8x8xf32>
      plan.accumulate %h into %dw : tensor<8x8xf32>, memref<8x8xf32>
    }
    plan.update {
    }
  }
}

// -----

// A loop over masked rows may not run: the gradient is cleared at the beginning of the step.

// CHECK-LABEL: plan.program @in_rows_loop
plan.program @in_rows_loop #sp.grid<dp = 1, pp = 1, sp = 1> micro_batch(1) seq_length(4) chunk_length(4) vocabulary(8) {
  plan.stage 0 {
    // CHECK: %[[DW:.*]] = plan.gradient
    %dw = plan.gradient "w" : memref<8x8xf32>
    %rows = plan.input masked_rows : memref<4xi32>
    %labels = plan.input masked_labels : memref<4xi32>
    plan.micro_batch {
      // CHECK: plan.micro_batch {
      // CHECK-NEXT: plan.fill %[[DW]] first_micro_batch_only : memref<8x8xf32>
      // CHECK: plan.rows_loop
      // CHECK: plan.gemm {{.*}} outs(%[[DW]] : memref<8x8xf32>) {{.*}}combine = #plan<combine add>
      // CHECK: plan.gemm {{.*}} outs(%[[DW]] : memref<8x8xf32>) {combine = #plan<combine add>}
      %x = plan.zeros : tensor<2x8xf32>
      plan.rows_loop chunk(2) (%r = %rows, %l = %labels : memref<4xi32>, memref<4xi32>) {
        %g = plan.gemm %x, %x transpose_a {active_rows = #plan<active_rows k>} : tensor<2x8xf32>, tensor<2x8xf32> -> tensor<8x8xf32>
        plan.accumulate %g into %dw : tensor<8x8xf32>, memref<8x8xf32>
        sp.yield
      }
      %h = plan.gemm %x, %x transpose_a : tensor<2x8xf32>, tensor<2x8xf32> -> tensor<8x8xf32>
      plan.accumulate %h into %dw : tensor<8x8xf32>, memref<8x8xf32>
    }
    plan.update {
    }
  }
}

// -----

// A scatter over zeros adds to the cleared gradient itself.

// CHECK-LABEL: plan.program @scatter
plan.program @scatter #sp.grid<dp = 1, pp = 1, sp = 1> micro_batch(1) seq_length(4) chunk_length(4) vocabulary(8) {
  plan.stage 0 {
    // CHECK: %[[DW:.*]] = plan.gradient
    %dw = plan.gradient "w" : memref<8x8xf32>
    %tokens = plan.input tokens : memref<4xi32>
    plan.micro_batch {
      // CHECK: plan.micro_batch {
      // CHECK-NEXT: plan.fill %[[DW]] first_micro_batch_only
      // CHECK-NEXT: %[[X:.*]] = plan.buffer
      // CHECK-NEXT: plan.fill %[[X]]
      // CHECK-NEXT: plan.rows "scatter" rows(4) {{.*}} outs(%[[DW]] : memref<8x8xf32>)
      %x = plan.zeros : tensor<4x8xf32>
      %z = plan.zeros : tensor<8x8xf32>
      %g = plan.rows "scatter" rows(4) ins(%tokens, %x : memref<4xi32>, tensor<4x8xf32>) outs(%z : tensor<8x8xf32>)
             access [#plan.access<row_scalar>, #plan.access<row>] results [#plan.access<scatter_add 0>] -> tensor<8x8xf32> {
      ^bb0(%i: i32, %e: tensor<8xf32>):
        plan.row_yield %e : tensor<8xf32>
      }
      plan.accumulate %g into %dw : tensor<8x8xf32>, memref<8x8xf32>
    }
    plan.update {
    }
  }
}

// -----

// Sums of one row kernel have one combine: where they differ, all add, to cleared memory.

// CHECK-LABEL: plan.program @sums
plan.program @sums #sp.grid<dp = 1, pp = 1, sp = 1> micro_batch(1) seq_length(4) chunk_length(4) vocabulary(8) {
  plan.stage 0 {
    // CHECK: %[[A:.*]] = plan.gradient "a"
    // CHECK: %[[B:.*]] = plan.gradient "b"
    %da = plan.gradient "a" : memref<8xf32>
    %db = plan.gradient "b" : memref<8xf32>
    %dc = plan.gradient "c" : memref<8x8xf32>
    plan.micro_batch {
      // CHECK: plan.micro_batch {
      // CHECK-NEXT: plan.fill %[[A]] first_micro_batch_only
      // CHECK-NEXT: plan.fill %[[B]] first_micro_batch_only
      // CHECK: %[[C:.*]] = plan.buffer {value = "sums"} : memref<8xf32>
      // CHECK-NEXT: plan.fill %[[C]] : memref<8xf32>
      // CHECK: plan.rows "sums" {{.*}} outs(%[[A]], %[[B]], %[[C]] : {{.*}} attributes {combine = #plan<combine add>}
      %x = plan.zeros : tensor<4x8xf32>
      %s:3 = plan.rows "sums" rows(4) ins(%x : tensor<4x8xf32>) access [#plan.access<row>]
              results [#plan.access<sum_rows>, #plan.access<sum_rows>, #plan.access<sum_rows>]
              -> tensor<8xf32>, tensor<8xf32>, tensor<8xf32> {
      ^bb0(%e: tensor<8xf32>):
        plan.row_yield %e, %e, %e : tensor<8xf32>, tensor<8xf32>, tensor<8xf32>
      }
      plan.accumulate %s#0 into %da : tensor<8xf32>, memref<8xf32>
      plan.accumulate %s#1 into %db : tensor<8xf32>, memref<8xf32>
      %y = plan.rows "use" rows(4) ins(%x, %s#2 : tensor<4x8xf32>, tensor<8xf32>)
              access [#plan.access<row>, #plan.access<broadcast>] results [#plan.access<row>] -> tensor<4x8xf32> {
      ^bb0(%e: tensor<8xf32>, %f: tensor<8xf32>):
        plan.row_yield %f : tensor<8xf32>
      }
      %g = plan.gemm %y, %y transpose_a : tensor<4x8xf32>, tensor<4x8xf32> -> tensor<8x8xf32>
      plan.accumulate %g into %dc : tensor<8x8xf32>, memref<8x8xf32>
    }
    plan.update {
    }
  }
}

// -----

// Sums that all set share the combine that does so.

// CHECK-LABEL: plan.program @equal_sums
plan.program @equal_sums #sp.grid<dp = 1, pp = 1, sp = 1> micro_batch(1) seq_length(4) chunk_length(4) vocabulary(8) {
  plan.stage 0 {
    %da = plan.gradient "a" : memref<8xf32>
    %db = plan.gradient "b" : memref<8xf32>
    plan.micro_batch {
      // CHECK-NOT: first_micro_batch_only
      // CHECK: plan.rows "sums" {{.*}} attributes {combine = #plan<combine add_after_first_micro_batch>}
      %x = plan.zeros : tensor<4x8xf32>
      %s:2 = plan.rows "sums" rows(4) ins(%x : tensor<4x8xf32>) access [#plan.access<row>]
              results [#plan.access<sum_rows>, #plan.access<sum_rows>] -> tensor<8xf32>, tensor<8xf32> {
      ^bb0(%e: tensor<8xf32>):
        plan.row_yield %e, %e : tensor<8xf32>, tensor<8xf32>
      }
      plan.accumulate %s#0 into %da : tensor<8xf32>, memref<8xf32>
      plan.accumulate %s#1 into %db : tensor<8xf32>, memref<8xf32>
    }
    plan.update {
    }
  }
}
