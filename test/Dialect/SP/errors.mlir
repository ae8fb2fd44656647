// RUN: seqpar-opt %s --allow-unregistered-dialect --verify-diagnostics --split-input-file

// Double reduction.
%g = "test.value"() : () -> tensor<8x8xf32, #sp.layout<[-, -]>>
// expected-error @below {{reduces over 'sp', over which its operand is not a partial sum}}
%r = sp.all_reduce %g over [sp] : tensor<8x8xf32, #sp.layout<[-, -]>> -> tensor<8x8xf32, #sp.layout<[-, -]>>

// -----

// Forgotten axis.
%g = "test.value"() : () -> tensor<8x8xf32, #sp.layout<[-, -], partial [dp, sp]>>
// expected-error @below {{expected the result's layout to be #sp.layout<[-, -], partial [dp]>}}
%r = sp.all_reduce %g over [sp] : tensor<8x8xf32, #sp.layout<[-, -], partial [dp, sp]>> -> tensor<8x8xf32, #sp.layout<[-, -]>>

// -----

// No axis.
%g = "test.value"() : () -> tensor<8xf32, #sp.layout<[-], partial [sp]>>
// expected-error @below {{expected at least one axis}}
%r = sp.all_reduce %g over [] : tensor<8xf32, #sp.layout<[-], partial [sp]>> -> tensor<8xf32, #sp.layout<[-], partial [sp]>>

// -----

// Layout lost.
%g = "test.value"() : () -> tensor<8xf32, #sp.layout<[-], partial [sp]>>
// expected-error @below {{expected layouts on both operand and result, or on neither}}
%r = sp.all_reduce %g over [sp] : tensor<8xf32, #sp.layout<[-], partial [sp]>> -> tensor<8xf32>

// -----

// Reshape.
%g = "test.value"() : () -> tensor<8xf32>
// expected-error @below {{expected a result of the operand's shape and element type}}
%r = sp.all_reduce %g over [sp] : tensor<8xf32> -> tensor<4xf32>

// -----

// Reduce into.
%g = "test.value"() : () -> memref<8xf32>
// expected-error @below {{on a buffer works in place and has no result}}
%r = sp.all_reduce %g over [sp] : memref<8xf32> -> tensor<8xf32>

// -----

// No result.
%g = "test.value"() : () -> tensor<8xf32>
// expected-error @below {{on a tensor needs a result}}
sp.all_reduce %g over [sp] : tensor<8xf32>

// -----

// Unknown axis.
%g = "test.value"() : () -> tensor<8xf32>
// expected-error @below {{expected an axis (dp, pp or sp), found 'tp'}}
%r = sp.all_reduce %g over [tp] : tensor<8xf32> -> tensor<8xf32>

// -----

// Gather not split.
%x = "test.value"() : () -> tensor<4x8xf32, #sp.layout<[-, sp]>>
// expected-error @below {{gathers dimension 0 over 'sp', but the operand's layout is #sp.layout<[-, sp]>}}
%r = sp.all_gather %x dim 0 over [sp] : tensor<4x8xf32, #sp.layout<[-, sp]>> -> tensor<4x8xf32, #sp.layout<[-, -]>>

// -----

// Gather result.
%x = "test.value"() : () -> tensor<4x8xf32, #sp.layout<[-, sp]>>
// expected-error @below {{expected the result's layout to be #sp.layout<[-, -]>}}
%r = sp.all_gather %x dim 1 over [sp] : tensor<4x8xf32, #sp.layout<[-, sp]>> -> tensor<4x8xf32, #sp.layout<[-, sp]>>

// -----

// Gather dimension.
%x = "test.value"() : () -> tensor<4x8xf32>
// expected-error @below {{expected a dimension below 2, found 2}}
%r = sp.all_gather %x dim 2 over [sp] : tensor<4x8xf32> -> tensor<4x8xf32>

// -----

// Gather both.
%x = "test.value"() : () -> memref<4x8xf32>
%y = "test.value"() : () -> memref<4x32xf32>
// expected-error @below {{expected either a result or a buffer to write}}
%r = sp.all_gather %x into %y : memref<4x32xf32> dim 1 over [sp] : memref<4x8xf32> -> tensor<4x32xf32>

// -----

// Gather tensor into buffer.
%x = "test.value"() : () -> tensor<4x8xf32>
%y = "test.value"() : () -> memref<4x32xf32>
// expected-error @below {{expected a buffer as operand beside the buffer to write}}
sp.all_gather %x into %y : memref<4x32xf32> dim 1 over [sp] : tensor<4x8xf32>

// -----

// Scatter not partial.
%x = "test.value"() : () -> tensor<4x8xf32, #sp.layout<[-, -]>>
// expected-error @below {{reduces over 'sp', over which its operand is not a partial sum}}
%r = sp.reduce_scatter %x dim 1 over [sp] : tensor<4x8xf32, #sp.layout<[-, -]>> -> tensor<4x8xf32, #sp.layout<[-, sp]>>

// -----

// Scatter split.
%x = "test.value"() : () -> tensor<4x8xf32, #sp.layout<[dp, -], partial [sp]>>
// expected-error @below {{expected dimension 0 of the operand not to be split}}
%r = sp.reduce_scatter %x dim 0 over [sp] : tensor<4x8xf32, #sp.layout<[dp, -], partial [sp]>> -> tensor<4x8xf32, #sp.layout<[sp, -]>>

// -----

// Scatter result.
%x = "test.value"() : () -> tensor<4x8xf32, #sp.layout<[-, -], partial [dp, sp]>>
// expected-error @below {{expected the result's layout to be #sp.layout<[-, sp], partial [dp]>}}
%r = sp.reduce_scatter %x dim 1 over [sp] : tensor<4x8xf32, #sp.layout<[-, -], partial [dp, sp]>> -> tensor<4x8xf32, #sp.layout<[-, sp]>>

// -----

// Shift whole.
%x = "test.value"() : () -> tensor<4x8xf32, #sp.layout<[-, -]>>
// expected-error @below {{expected a value split over 'sp', found layout #sp.layout<[-, -]>}}
%r = sp.ring_shift %x : tensor<4x8xf32, #sp.layout<[-, -]>> -> tensor<4x8xf32, #sp.layout<[-, -]>>

// -----

// Shift partial.
%x = "test.value"() : () -> tensor<4x8xf32, #sp.layout<[sp, -], partial [dp]>>
// expected-error @below {{expected a value that is not a partial sum}}
%r = sp.ring_shift %x : tensor<4x8xf32, #sp.layout<[sp, -], partial [dp]>> -> tensor<4x8xf32, #sp.layout<[sp, -], partial [dp]>>

// -----

// Shift relayout.
%x = "test.value"() : () -> tensor<4x8xf32, #sp.layout<[sp, -]>>
// expected-error @below {{expected results of the operands' types}}
%r = sp.ring_shift %x : tensor<4x8xf32, #sp.layout<[sp, -]>> -> tensor<4x8xf32, #sp.layout<[-, sp]>>

// -----

// Skip last outside.
%x = "test.value"() : () -> tensor<4x8xf32>
// expected-error @below {{skip_last has a meaning in a ring loop only}}
%r = sp.ring_shift %x skip_last : tensor<4x8xf32> -> tensor<4x8xf32>

// -----

// Start without end.
%x = "test.value"() : () -> memref<4x8xf32>
// expected-error @below {{expected either results or buffers to write}}
sp.ring_shift_start (%x) tag 0 : memref<4x8xf32>

// -----

// Start shape.
%x = "test.value"() : () -> memref<4x8xf32>
%y = "test.value"() : () -> memref<4x9xf32>
// expected-error @below {{expected the received value to have the shape of 'memref<4x8xf32>', found 'memref<4x9xf32>'}}
sp.ring_shift_start (%x) into (%y : memref<4x9xf32>) tag 0 : memref<4x8xf32>

// -----

// Start count.
%x = "test.value"() : () -> memref<4x8xf32>
%y = "test.value"() : () -> memref<4x8xf32>
// expected-error @below {{sends 2 values and receives 1}}
sp.ring_shift_start (%x, %x) into (%y : memref<4x8xf32>) tag 0 : memref<4x8xf32>, memref<4x8xf32>

// -----

// Loop types.
%x = "test.value"() : () -> tensor<4xf32>
// expected-error @below {{expected initial, carried, yielded and resulting values of the same types}}
%r = sp.ring_loop iter(%a = %x) : tensor<4xf32> {
  sp.yield
}

// -----

// Width.
%q = "test.value"() : () -> tensor<1x4x6xf32>
%m = "test.value"() : () -> tensor<1x4xi32>
// expected-error @below {{expected a width divisible by 4 heads, found 6}}
%r:3 = sp.attention_block own initialize finish heads(4) (%q, %q, %q, %m : tensor<1x4x6xf32>, tensor<1x4x6xf32>, tensor<1x4x6xf32>, tensor<1x4xi32>)
  -> tensor<1x4x6xf32>, tensor<1x4x4xf32>, tensor<1x4x4xf32>

// -----

// Head too wide.
%q = "test.value"() : () -> tensor<1x4x512xf32>
%m = "test.value"() : () -> tensor<1x4xi32>
// expected-error @below {{expected at most 256 elements per head, found 512}}
%r:3 = sp.attention_block own initialize finish heads(1) (%q, %q, %q, %m : tensor<1x4x512xf32>, tensor<1x4x512xf32>, tensor<1x4x512xf32>, tensor<1x4xi32>)
  -> tensor<1x4x512xf32>, tensor<1x1x4xf32>, tensor<1x1x4xf32>

// -----

// Keys values.
%q = "test.value"() : () -> tensor<1x4x8xf32>
%k = "test.value"() : () -> tensor<1x2x8xf32>
%m = "test.value"() : () -> tensor<1x4xi32>
// expected-error @below {{expected keys and values of one shape}}
%r:3 = sp.attention_block own initialize finish heads(2) (%q, %k, %q, %m : tensor<1x4x8xf32>, tensor<1x2x8xf32>, tensor<1x4x8xf32>, tensor<1x4xi32>)
  -> tensor<1x4x8xf32>, tensor<1x2x4xf32>, tensor<1x2x4xf32>

// -----

// Batch.
%q = "test.value"() : () -> tensor<1x4x8xf32>
%k = "test.value"() : () -> tensor<2x4x8xf32>
%m = "test.value"() : () -> tensor<1x4xi32>
// expected-error @below {{expected queries and keys of one batch and width}}
%r:3 = sp.attention_block own initialize finish heads(2) (%q, %k, %k, %m : tensor<1x4x8xf32>, tensor<2x4x8xf32>, tensor<2x4x8xf32>, tensor<1x4xi32>)
  -> tensor<1x4x8xf32>, tensor<1x2x4xf32>, tensor<1x2x4xf32>

// -----

// Rank.
%q = "test.value"() : () -> tensor<4x8xf32>
%m = "test.value"() : () -> tensor<1x4xi32>
// expected-error @below {{expected queries and keys of rank 3}}
%r:3 = sp.attention_block own initialize finish heads(2) (%q, %q, %q, %m : tensor<4x8xf32>, tensor<4x8xf32>, tensor<4x8xf32>, tensor<1x4xi32>)
  -> tensor<4x8xf32>, tensor<2x4xf32>, tensor<2x4xf32>

// -----

// Results.
%q = "test.value"() : () -> tensor<1x4x8xf32>
%m = "test.value"() : () -> tensor<1x4xi32>
// expected-error @below {{expected 3 results or 3 buffers to write, found 1 and 0}}
%r = sp.attention_block own initialize finish heads(2) (%q, %q, %q, %m : tensor<1x4x8xf32>, tensor<1x4x8xf32>, tensor<1x4x8xf32>, tensor<1x4xi32>)
  -> tensor<1x4x8xf32>

// -----

// State.
%q = "test.value"() : () -> tensor<1x4x8xf32>
%m = "test.value"() : () -> tensor<1x4xi32>
// expected-error @below {{expected the state as operands unless it is initialised here}}
%r:3 = sp.attention_block own finish heads(2) (%q, %q, %q, %m : tensor<1x4x8xf32>, tensor<1x4x8xf32>, tensor<1x4x8xf32>, tensor<1x4xi32>)
  -> tensor<1x4x8xf32>, tensor<1x2x4xf32>, tensor<1x2x4xf32>

// -----

// Ring outside.
%q = "test.value"() : () -> tensor<1x4x8xf32>
%m = "test.value"() : () -> tensor<1x4xi32>
// expected-error @below {{expected key block 'ring' inside a ring loop and nowhere else}}
%r:3 = sp.attention_block ring initialize finish heads(2) (%q, %q, %q, %m : tensor<1x4x8xf32>, tensor<1x4x8xf32>, tensor<1x4x8xf32>, tensor<1x4xi32>)
  -> tensor<1x4x8xf32>, tensor<1x2x4xf32>, tensor<1x2x4xf32>

// -----

// Attention of a type that no kernel multiplies.
%q = "test.value"() : () -> tensor<1x4x8xf64>
%m = "test.value"() : () -> tensor<1x4xi32>
// expected-error @below {{expected queries of f32, bf16 or f16, found 'f64'}}
%r:3 = sp.attention_block own initialize finish heads(2) (%q, %q, %q, %m : tensor<1x4x8xf64>, tensor<1x4x8xf64>, tensor<1x4x8xf64>, tensor<1x4xi32>)
  -> tensor<1x4x8xf32>, tensor<1x2x4xf32>, tensor<1x2x4xf32>

// -----

// Keys of another type than queries.
%q = "test.value"() : () -> tensor<1x4x8xbf16>
%k = "test.value"() : () -> tensor<1x4x8xf32>
%m = "test.value"() : () -> tensor<1x4xi32>
// expected-error @below {{expected operands of the queries' type 'bf16', found 'tensor<1x4x8xf32>'}}
%r:3 = sp.attention_block own initialize finish heads(2) (%q, %k, %k, %m : tensor<1x4x8xbf16>, tensor<1x4x8xf32>, tensor<1x4x8xf32>, tensor<1x4xi32>)
  -> tensor<1x4x8xf32>, tensor<1x2x4xf32>, tensor<1x2x4xf32>

// -----

// Statistics in 16 bits.
%q = "test.value"() : () -> tensor<1x4x8xbf16>
%m = "test.value"() : () -> tensor<1x4xi32>
// expected-error @below {{expected sums and statistics of f32, found 'tensor<1x2x4xbf16>'}}
%r:3 = sp.attention_block own initialize finish heads(2) (%q, %q, %q, %m : tensor<1x4x8xbf16>, tensor<1x4x8xbf16>, tensor<1x4x8xbf16>, tensor<1x4xi32>)
  -> tensor<1x4x8xf32>, tensor<1x2x4xbf16>, tensor<1x2x4xbf16>

// -----

// An accumulator in 16 bits that goes on to another block.
%q = "test.value"() : () -> tensor<1x4x8xbf16>
%m = "test.value"() : () -> tensor<1x4xi32>
// expected-error @below {{expected an accumulator of f32, or of the queries' type when one block sets and finishes it, found 'tensor<1x4x8xbf16>'}}
%r:3 = sp.attention_block own initialize heads(2) (%q, %q, %q, %m : tensor<1x4x8xbf16>, tensor<1x4x8xbf16>, tensor<1x4x8xbf16>, tensor<1x4xi32>)
  -> tensor<1x4x8xbf16>, tensor<1x2x4xf32>, tensor<1x2x4xf32>

// -----

// Grad accumulators.
%q = "test.value"() : () -> tensor<1x4x8xf32>
%l = "test.value"() : () -> tensor<1x2x4xf32>
%m = "test.value"() : () -> tensor<1x4xi32>
// expected-error @below {{expected accumulators for keys and values or none}}
%r:4 = sp.attention_block_grad own initialize heads(2) (%q, %q, %q, %m, %q, %l, %q : tensor<1x4x8xf32>, tensor<1x4x8xf32>, tensor<1x4x8xf32>, tensor<1x4xi32>, tensor<1x4x8xf32>, tensor<1x2x4xf32>, tensor<1x4x8xf32>)
  accumulators(%q : tensor<1x4x8xf32>)
  -> tensor<1x2x4xf32>, tensor<1x4x8xf32>, tensor<1x4x8xf32>, tensor<1x4x8xf32>

// -----

// Grad state.
%q = "test.value"() : () -> tensor<1x4x8xf32>
%l = "test.value"() : () -> tensor<1x2x4xf32>
%m = "test.value"() : () -> tensor<1x4xi32>
// expected-error @below {{expected the state as operands unless it is initialised here}}
%r:4 = sp.attention_block_grad own heads(2) (%q, %q, %q, %m, %q, %l, %q : tensor<1x4x8xf32>, tensor<1x4x8xf32>, tensor<1x4x8xf32>, tensor<1x4xi32>, tensor<1x4x8xf32>, tensor<1x2x4xf32>, tensor<1x4x8xf32>)
  -> tensor<1x2x4xf32>, tensor<1x4x8xf32>, tensor<1x4x8xf32>, tensor<1x4x8xf32>

// -----

// expected-error @below {{axis 'sp' occurs twice in a layout}}
%x = "test.value"() : () -> tensor<4x8xf32, #sp.layout<[sp, sp]>>

// -----

// expected-error @below {{a grid needs at least one rank along each axis, found dp = 0}}
"test.op"() {grid = #sp.grid<dp = 0, pp = 1, sp = 1>} : () -> ()

// -----

// expected-error @below {{expected at most 64 ranks along sp, found 65}}
"test.op"() {grid = #sp.grid<dp = 1, pp = 1, sp = 65>} : () -> ()

// -----

// expected-error @below {{expected a layout with an entry for each of the tensor's 2 dimensions, found 3}}
%x = "test.value"() : () -> tensor<4x8xf32, #sp.layout<[sp, -, -]>>

// -----

%x = "test.value"() : () -> tensor<4x8xf32, #sp.layout<[-, -], partial [sp]>>
// expected-error @below {{expected a value that is not a partial sum, found layout}}
sp.send %x to stage 1 tag 0 : tensor<4x8xf32, #sp.layout<[-, -], partial [sp]>>

// -----

// expected-error @below {{expected a stage and a tag of at least 0, found 1 and -1}}
%x = sp.receive from stage 1 tag -1 -> tensor<4x8xf32>

// -----

// expected-error @below {{expected either a result or a buffer to write}}
sp.receive from stage 1 tag 0

// -----

%x = "test.value"() : () -> tensor<4x8xf32>
// expected-error @below {{expected one axis, found 2}}
%r = sp.all_gather %x dim 0 over [dp, sp] : tensor<4x8xf32> -> tensor<16x8xf32>

// -----

%x = "test.value"() : () -> tensor<4x8xf32>
// expected-error @below {{has a tag, but works on a tensor}}
%r = sp.all_reduce %x over [sp] tag 0 : tensor<4x8xf32> -> tensor<4x8xf32>

// -----

%x = "test.value"() : () -> memref<4x8xf32>
// expected-error @below {{expected a tag from 0, found -2}}
sp.all_reduce %x over [sp] tag -2 : memref<4x8xf32>

// -----

%x = "test.value"() : () -> tensor<4x8xf32>
// expected-error @below {{expected two or more stages, ascending, found [1]}}
%y = sp.sum_stages %x over [1] tag 0 : tensor<4x8xf32>

// -----

%x = "test.value"() : () -> tensor<4x8xf32>
// expected-error @below {{expected two or more stages, ascending, found [0, 2, 2]}}
%y = sp.sum_stages %x over [0, 2, 2] tag 0 : tensor<4x8xf32>

// -----

%x = "test.value"() : () -> tensor<4x8xf32>
// expected-error @below {{expected a stage and a tag of at least 0, found -1 and 0}}
%y = sp.sum_stages %x over [-1, 0] tag 0 : tensor<4x8xf32>

// -----

%x = "test.value"() : () -> tensor<4x8xf32, #sp.layout<[-, -], partial [sp]>>
// expected-error @below {{expected a value that is not a partial sum, found layout}}
%y = sp.sum_stages %x over [0, 1] tag 0 : tensor<4x8xf32, #sp.layout<[-, -], partial [sp]>>
