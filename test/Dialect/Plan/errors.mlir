// RUN: seqpar-opt %s --allow-unregistered-dialect --verify-diagnostics --split-input-file

// expected-error @below {{expected 2 chunks to hold 16 positions, found chunks of 4}}
plan.program @chunks #sp.grid<dp = 1, pp = 1, sp = 2> micro_batch(1) seq_length(16) chunk_length(4) vocabulary(8) {
}

// -----

plan.program @no_update #sp.grid<dp = 1, pp = 1, sp = 1> micro_batch(1) seq_length(4) chunk_length(4) vocabulary(8) {
  // expected-error @below {{expected one micro_batch and one update, found 1 and 0}}
  plan.stage 0 {
    plan.micro_batch {
    }
  }
}

// -----

%a = "test.value"() : () -> memref<4x8xf32>
// expected-error @below {{expected either a result or a buffer to write}}
plan.gemm %a, %a transpose_b : memref<4x8xf32>, memref<4x8xf32>

// -----

%a = "test.value"() : () -> tensor<?x8xf32>
// expected-error @below {{expected matrices of static shape, found 'tensor<?x8xf32>'}}
%c = plan.gemm %a, %a transpose_b : tensor<?x8xf32>, tensor<?x8xf32> -> tensor<4x4xf32>

// -----

// The product over the batch: extents before the last count as rows.
%a = "test.value"() : () -> tensor<2x4x8xf32>
%b = "test.value"() : () -> tensor<9x16xf32>
// expected-error @below {{expected equal inner extents, found 8 and 9}}
%c = plan.gemm %a, %b : tensor<2x4x8xf32>, tensor<9x16xf32> -> tensor<2x4x16xf32>

// -----

%a = "test.value"() : () -> tensor<2x4x8xf32>
%b = "test.value"() : () -> tensor<8x16xf32>
// expected-error @below {{expected a result of 8x16, found 4x16}}
%c = plan.gemm %a, %b : tensor<2x4x8xf32>, tensor<8x16xf32> -> tensor<4x16xf32>

// -----

%a = "test.value"() : () -> tensor<4x8xf32>
// expected-error @below {{yields 1 values for 2 outputs}}
%r:2 = plan.rows "k" rows(4) ins(%a : tensor<4x8xf32>) access [#plan.access<row>] results [#plan.access<row>, #plan.access<row>] -> tensor<4x8xf32>, tensor<4x8xf32> {
^bb0(%x: tensor<8xf32>):
  plan.row_yield %x : tensor<8xf32>
}

// -----

%a = "test.value"() : () -> tensor<4x8xf32>
// expected-error @below {{expected one access and one body argument per input}}
%r = plan.rows "k" rows(4) ins(%a, %a : tensor<4x8xf32>, tensor<4x8xf32>) access [#plan.access<row>] results [#plan.access<row>] -> tensor<4x8xf32> {
^bb0(%x: tensor<8xf32>):
  plan.row_yield %x : tensor<8xf32>
}

// -----

%a = "test.value"() : () -> tensor<4x8xf32>
// expected-error @below {{output 0 has access 'broadcast' of an input}}
%r = plan.rows "k" rows(4) ins(%a : tensor<4x8xf32>) access [#plan.access<row>] results [#plan.access<broadcast>] -> tensor<4x8xf32> {
^bb0(%x: tensor<8xf32>):
  plan.row_yield %x : tensor<8xf32>
}

// -----

%a = "test.value"() : () -> tensor<4x8xf32>
%i = "test.value"() : () -> tensor<4xi32>
// expected-error @below {{expected a value or buffer to write for output 0}}
%r = plan.rows "k" rows(4) ins(%i, %a : tensor<4xi32>, tensor<4x8xf32>) access [#plan.access<row_scalar>, #plan.access<row>] results [#plan.access<scatter 0>] -> tensor<4x8xf32> {
^bb0(%n: i32, %x: tensor<8xf32>):
  plan.row_yield %x : tensor<8xf32>
}

// -----

%a = "test.value"() : () -> tensor<4x8xf32>
// expected-error @below {{expected a result for output 1}}
%r = plan.rows "k" rows(4) ins(%a : tensor<4x8xf32>) access [#plan.access<row>] results [#plan.access<row>, #plan.access<row>] -> tensor<4x8xf32> {
^bb0(%x: tensor<8xf32>):
  plan.row_yield %x, %x : tensor<8xf32>, tensor<8xf32>
}

// -----

%a = "test.value"() : () -> tensor<4x8xf32>
// expected-error @below {{expected one result or buffer per output}}
%r:2 = plan.rows "k" rows(4) ins(%a : tensor<4x8xf32>) access [#plan.access<row>] results [#plan.access<row>] -> tensor<4x8xf32>, tensor<4x8xf32> {
^bb0(%x: tensor<8xf32>):
  plan.row_yield %x : tensor<8xf32>
}

// -----

%a = "test.value"() : () -> tensor<4x8xf32>
// expected-error @below {{input 0: expected a row of 'f32' in the body, found 'f32'}}
%r = plan.rows "k" rows(4) ins(%a : tensor<4x8xf32>) access [#plan.access<row>] results [#plan.access<row_scalar>] -> tensor<4xf32> {
^bb0(%x: f32):
  plan.row_yield %x : f32
}

// -----

%a = "test.value"() : () -> tensor<4x8xf32>
// expected-error @below {{input 0: expected the last extent of 'tensor<4x8xf32>' to be the columns, 4}}
%r = plan.rows "k" rows(8) ins(%a : tensor<4x8xf32>) access [#plan.access<row>] results [#plan.access<row>] -> tensor<8x4xf32> {
^bb0(%x: tensor<4xf32>):
  plan.row_yield %x : tensor<4xf32>
}

// -----

%a = "test.value"() : () -> tensor<4x8xf32>
%s = "test.value"() : () -> tensor<4xf32>
// expected-error @below {{input 1: expected an element 'f32' in the body, found 'tensor<8xf32>'}}
%r = plan.rows "k" rows(4) ins(%a, %s : tensor<4x8xf32>, tensor<4xf32>) access [#plan.access<row>, #plan.access<row_scalar>] results [#plan.access<row>] -> tensor<4x8xf32> {
^bb0(%x: tensor<8xf32>, %y: tensor<8xf32>):
  plan.row_yield %x : tensor<8xf32>
}

// -----

%a = "test.value"() : () -> tensor<4x8xf32>
// expected-error @below {{input 0: 'tensor<4x8xf32>' does not fit 5 rows with access 'row'}}
%r = plan.rows "k" rows(5) ins(%a : tensor<4x8xf32>) access [#plan.access<row>] results [#plan.access<row>] -> tensor<5x8xf32> {
^bb0(%x: tensor<8xf32>):
  plan.row_yield %x : tensor<8xf32>
}

// -----

// A sum over rows gives one row, not all.
%a = "test.value"() : () -> tensor<4x8xf32>
// expected-error @below {{output 0: 'tensor<4x8xf32>' does not fit 4 rows with access 'sum_rows'}}
%r = plan.rows "k" rows(4) ins(%a : tensor<4x8xf32>) access [#plan.access<row>] results [#plan.access<sum_rows>] -> tensor<4x8xf32> {
^bb0(%x: tensor<8xf32>):
  plan.row_yield %x : tensor<8xf32>
}

// -----

%a = "test.value"() : () -> tensor<4x8xf32>
%b = "test.value"() : () -> tensor<4x4xf32>
// expected-error @below {{expected every row to have 8 columns, found 'tensor<4xf32>'}}
%r = plan.rows "k" rows(4) ins(%a, %b : tensor<4x8xf32>, tensor<4x4xf32>) access [#plan.access<row>, #plan.access<row>] results [#plan.access<row>] -> tensor<4x8xf32> {
^bb0(%x: tensor<8xf32>, %y: tensor<4xf32>):
  plan.row_yield %x : tensor<8xf32>
}

// -----

%a = "test.value"() : () -> tensor<4x8xf32>
%i = "test.value"() : () -> tensor<4xf32>
// expected-error @below {{expected the row number of #plan.access<gather 0> to be a row_scalar input of i32}}
%r = plan.rows "k" rows(4) ins(%i, %a : tensor<4xf32>, tensor<4x8xf32>) access [#plan.access<row_scalar>, #plan.access<gather 0>] results [#plan.access<row>] -> tensor<4x8xf32> {
^bb0(%n: f32, %x: tensor<8xf32>):
  plan.row_yield %x : tensor<8xf32>
}

// -----

// expected-error @below {{expected the number of the input that holds the row for access 'gather'}}
"test.op"() {access = #plan.access<gather>} : () -> ()

// -----

// expected-error @below {{expected no input number for access 'row'}}
"test.op"() {access = #plan.access<row 1>} : () -> ()

// -----

%m = "test.value"() : () -> memref<4xi32>
// expected-error @below {{expected a chunk of at least one row}}
plan.rows_loop chunk(0) (%r = %m, %l = %m : memref<4xi32>, memref<4xi32>) {
  sp.yield
}

// -----

%m = "test.value"() : () -> memref<4xi32>
%x = "test.value"() : () -> tensor<4xf32>
// expected-error @below {{expected initial, yielded and resulting values of the same types}}
%y = plan.rows_loop chunk(2) (%r = %m, %l = %m : memref<4xi32>, memref<4xi32>) iter(%a = %x) : tensor<4xf32> {
  sp.yield
}

// -----

plan.program @constants #sp.grid<dp = 1, pp = 1, sp = 1> micro_batch(1) seq_length(16) chunk_length(16) vocabulary(8) {
  plan.stage 0 {
    // expected-error @below {{expected a value for a constant, and for nothing else}}
    %a = plan.input constant : memref<i32>
    plan.micro_batch {
    }
    plan.update {
    }
  }
}

// -----

plan.program @values #sp.grid<dp = 1, pp = 1, sp = 1> micro_batch(1) seq_length(16) chunk_length(16) vocabulary(8) {
  plan.stage 0 {
    // expected-error @below {{expected a value for a constant, and for nothing else}}
    %a = plan.input seed(3) : memref<i32>
    plan.micro_batch {
    }
    plan.update {
    }
  }
}

// -----

plan.program @order #sp.grid<dp = 1, pp = 1, sp = 1> micro_batch(1) seq_length(16) chunk_length(16) vocabulary(8) {
  // expected-error @below {{expected turn F0 before B0}}
  plan.stage 0 order [B0, F0] {
    plan.micro_batch {
    }
    plan.update {
    }
  }
}

// -----

plan.program @skipped #sp.grid<dp = 1, pp = 1, sp = 1> micro_batch(1) seq_length(16) chunk_length(16) vocabulary(8) {
  // expected-error @below {{expected turn F1 before F2}}
  plan.stage 0 slots 3 order [F0, F2, F1, B0, B1, B2] {
    plan.micro_batch {
    }
    plan.update {
    }
  }
}

// -----

plan.program @slots #sp.grid<dp = 1, pp = 1, sp = 1> micro_batch(1) seq_length(16) chunk_length(16) vocabulary(8) {
  // expected-error @below {{has 2 slots, too few for micro-batch 2}}
  plan.stage 0 slots 2 order [F0, F1, F2, B0, B1, B2] {
    plan.micro_batch {
    }
    plan.update {
    }
  }
}

// -----

plan.program @unfinished #sp.grid<dp = 1, pp = 1, sp = 1> micro_batch(1) seq_length(16) chunk_length(16) vocabulary(8) {
  // expected-error @below {{expected both parts of each micro-batch in the order}}
  plan.stage 0 slots 2 order [F0, F1, B0] {
    plan.micro_batch {
    }
    plan.update {
    }
  }
}

// -----

plan.program @turn #sp.grid<dp = 1, pp = 1, sp = 1> micro_batch(1) seq_length(16) chunk_length(16) vocabulary(8) {
  // expected-error @below {{expected a turn: F or B and the number of a micro-batch}}
  plan.stage 0 order [G0] {
    plan.micro_batch {
    }
    plan.update {
    }
  }
}

// -----

plan.program @many_slots #sp.grid<dp = 1, pp = 1, sp = 1> micro_batch(1) seq_length(16) chunk_length(16) vocabulary(8) {
  // expected-error @below {{expected from 1 to 1048576 slots, found 1152921504606846976}}
  plan.stage 0 slots 1152921504606846976 {
    plan.micro_batch {
    }
    plan.update {
    }
  }
}

// -----

// expected-error @below {{expected one stage for each of the grid's 2 pipeline stages, found 1}}
plan.program @few_stages #sp.grid<dp = 1, pp = 2, sp = 1> micro_batch(1) seq_length(16) chunk_length(16) vocabulary(8) {
  plan.stage 0 {
    plan.micro_batch {
    }
    plan.update {
    }
  }
}

// -----

plan.program @stage_order #sp.grid<dp = 1, pp = 2, sp = 1> micro_batch(1) seq_length(16) chunk_length(16) vocabulary(8) {
  // expected-error @below {{expected stage 0 at this place, found stage 1}}
  plan.stage 1 {
    plan.micro_batch {
    }
    plan.update {
    }
  }
  plan.stage 0 {
    plan.micro_batch {
    }
    plan.update {
    }
  }
}

// -----

plan.program @shard_axes_order #sp.grid<dp = 2, pp = 1, sp = 2> micro_batch(1) seq_length(16) chunk_length(8) vocabulary(8) {
  // expected-error @below {{expected shard axes dp (0) and sp (2), each at most once and in this order, found [2, 0]}}
  plan.stage 0 attributes {shard_axes = array<i32: 2, 0>} {
    plan.micro_batch {
    }
    plan.update {
    }
  }
}

// -----

plan.program @shard_axes_twice #sp.grid<dp = 2, pp = 1, sp = 2> micro_batch(1) seq_length(16) chunk_length(8) vocabulary(8) {
  // expected-error @below {{expected shard axes dp (0) and sp (2), each at most once and in this order, found [2, 2]}}
  plan.stage 0 attributes {shard_axes = array<i32: 2, 2>} {
    plan.micro_batch {
    }
    plan.update {
    }
  }
}

// -----

plan.program @shard_axes_stages #sp.grid<dp = 2, pp = 1, sp = 2> micro_batch(1) seq_length(16) chunk_length(8) vocabulary(8) {
  // expected-error @below {{expected shard axes dp (0) and sp (2), each at most once and in this order, found [0, 1]}}
  plan.stage 0 attributes {shard_axes = array<i32: 0, 1>} {
    plan.micro_batch {
    }
    plan.update {
    }
  }
}

// -----

plan.program @bucket_bytes #sp.grid<dp = 2, pp = 1, sp = 2> micro_batch(1) seq_length(16) chunk_length(8) vocabulary(8) {
  // expected-error @below {{expected at least 0 bucket bytes, found -1}}
  plan.stage 0 attributes {bucket_bytes = -1 : i64} {
    plan.micro_batch {
    }
    plan.update {
    }
  }
}
