//===- PlanOps.td - operations of a rank --------------------*- tablegen -*-===//
#ifndef SEQPAR_DIALECT_PLAN_PLANOPS_TD
#define SEQPAR_DIALECT_PLAN_PLANOPS_TD

include "seqpar/Dialect/Plan/PlanDialect.td"
include "seqpar/Dialect/SP/SPDialect.td"
include "mlir/IR/SymbolInterfaces.td"
include "mlir/Interfaces/SideEffectInterfaces.td"
include "mlir/Interfaces/ControlFlowInterfaces.td"

class Plan_Op<string mnemonic, list<Trait> traits = []> : Op<Plan_Dialect, mnemonic, traits>;

def Plan_Value : AnyTypeOf<[AnyRankedTensor, AnyMemRef], "tensor or buffer">;

//===----------------------------------------------------------------------===//
// Structure
//===----------------------------------------------------------------------===//

def Plan_ProgramOp : Plan_Op<"program", [IsolatedFromAbove, Symbol, SingleBlock, NoTerminator]> {
  let summary = "one training step for every rank of a grid";
  let description = [{
    `micro_batch` samples of one micro-batch and replica; `seq_length` the global L; `chunk_length`
    positions of one rank, C = ceil(L / P); `vocabulary` rows of the word embedding. The body has a `plan.stage` for each
    pipeline stage of the grid, in order.
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, SP_GridAttr:$grid, I64Attr:$micro_batch, I64Attr:$seq_length,
                       I64Attr:$chunk_length, I64Attr:$vocabulary);
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = [{
    $sym_name $grid `micro_batch` `(` $micro_batch `)` `seq_length` `(` $seq_length `)` `chunk_length` `(` $chunk_length `)`
    `vocabulary` `(` $vocabulary `)` attr-dict-with-keyword $body
  }];
  let hasVerifier = 1;
}

def Plan_StageOp : Plan_Op<"stage", [HasParent<"ProgramOp">, SingleBlock, NoTerminator]> {
  let summary = "the part of a program that one pipeline stage runs";
  let description = [{
    Declarations, then one `plan.micro_batch` and one `plan.update`. `arena` passes set
    `arena_bytes` and `arena_lower_bound` (the largest sum of live buffers), `assign-segments` the
    sizes of the other segments.

    `order`: the turns of a step, F the forward and B the backward part of a micro-batch. `slots`: how many
    micro-batches are between the two at most; each has a copy of the buffers that live from one part into the
    other, micro-batch i the copy i mod slots. Without an order both parts of each micro-batch are run in turn.

    ```mlir
    plan.stage 0 slots 2 order [F0, F1, B0, F2, B1, B2] { ... }
    ```

    `bucket_bytes`: gradients are reduced in groups of about that size; 0: in as few as can be. `shard_axes`: the ranks of
    a group over these axes, dp, sp or both, share the update (ZeRO-1): each has a shard of every `plan.range sharded`.
  }];
  let arguments = (ins I64Attr:$index, DefaultValuedAttr<I64Attr, "1">:$slots,
                       OptionalAttr<DenseI32ArrayAttr>:$order, OptionalAttr<I64Attr>:$cost,
                       OptionalAttr<I64Attr>:$arena_bytes, OptionalAttr<I64Attr>:$arena_lower_bound,
                       OptionalAttr<I64Attr>:$parameter_bytes, OptionalAttr<I64Attr>:$gradient_bytes,
                       OptionalAttr<I64Attr>:$optimizer_state_bytes, OptionalAttr<I64Attr>:$input_bytes,
                       DefaultValuedAttr<I64Attr, "0">:$bucket_bytes,
                       DefaultValuedAttr<DenseI32ArrayAttr, "{}">:$shard_axes);
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = [{
    $index (`slots` $slots^)? (`order` custom<Turns>($order)^)? attr-dict-with-keyword $body
  }];
  let hasVerifier = 1;
}

def Plan_MicroBatchOp : Plan_Op<"micro_batch", [HasParent<"StageOp">, SingleBlock, NoTerminator, RecursiveMemoryEffects]> {
  let summary = "run once per micro-batch";
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = "attr-dict-with-keyword $body";
}

def Plan_BackwardOp : Plan_Op<"backward", [HasParent<"MicroBatchOp">]> {
  let summary = "where the backward part of a micro-batch begins";
  let description = [{
    A stage of a pipeline runs other micro-batches between the two parts, so nothing may move across it.
  }];
  let assemblyFormat = "attr-dict";
}

def Plan_UpdateOp : Plan_Op<"update", [HasParent<"StageOp">, SingleBlock, NoTerminator, RecursiveMemoryEffects]> {
  let summary = "run once per step, after the micro-batches";
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = "attr-dict-with-keyword $body";
}

//===----------------------------------------------------------------------===//
// Declarations
//===----------------------------------------------------------------------===//

class Plan_Declaration<string mnemonic, list<Trait> traits = []> : Plan_Op<mnemonic, traits # [HasParent<"StageOp">, Pure]> {
  let results = (outs AnyMemRef:$result);
}

def Plan_ParameterOp : Plan_Declaration<"parameter"> {
  let summary = "a parameter's value";
  let description = [{
    `partial_axes`: the axes over which its gradient is a sum of what the ranks hold; `stages`: the pipeline stages that
    hold it, when there are several.
  }];
  let arguments = (ins StrAttr:$name, Plan_InitializerAttr:$init, DefaultValuedAttr<F32Attr, "0.0">:$deviation,
                       UnitAttr:$decay, DefaultValuedAttr<DenseI32ArrayAttr, "{}">:$partial_axes,
                       DefaultValuedAttr<DenseI32ArrayAttr, "{}">:$stages,
                       OptionalAttr<I64Attr>:$offset);
  let assemblyFormat = "$name $init (`decay` $decay^)? (`at` $offset^)? attr-dict `:` type($result)";
}

def Plan_GradientOp : Plan_Declaration<"gradient"> {
  let summary = "the accumulator of a parameter's gradient";
  let arguments = (ins StrAttr:$name, OptionalAttr<I64Attr>:$offset);
  let assemblyFormat = "$name (`at` $offset^)? attr-dict `:` type($result)";
}

def Plan_MomentOp : Plan_Declaration<"moment"> {
  let summary = "first or second AdamW moment of a parameter";
  let arguments = (ins StrAttr:$name, I64Attr:$order, OptionalAttr<I64Attr>:$offset);
  let assemblyFormat = "$order `of` $name (`at` $offset^)? attr-dict `:` type($result)";
}

def Plan_InputOp : Plan_Declaration<"input"> {
  let summary = "what the feed or the executor writes before a micro-batch or step";
  let description = [{
    `value` is that of a `constant`, the one kind of which there may be several. `slot_bytes`: distance between the
    copies for the stage's slots.
  }];
  let arguments = (ins Plan_InputKindAttr:$kind, OptionalAttr<I32Attr>:$value,
      OptionalAttr<I64Attr>:$offset, OptionalAttr<I64Attr>:$slot_bytes);
  let assemblyFormat = "$kind (`(` $value^ `)`)? (`at` $offset^)? attr-dict `:` type($result)";
  let hasVerifier = 1;
}

def Plan_MetricOp : Plan_Declaration<"metric"> {
  let summary = "a scalar of the step that the log shows; lives beside the gradients";
  let description = [{ `partial_axes`: the axes over which it is a sum of what the ranks hold. }];
  let arguments = (ins Plan_MetricKindAttr:$kind, DefaultValuedAttr<DenseI32ArrayAttr, "{}">:$partial_axes,
                       OptionalAttr<I64Attr>:$offset);
  let assemblyFormat = "$kind (`at` $offset^)? attr-dict `:` type($result)";
}

def Plan_RangeOp : Plan_Op<"range", [Pure]> {
  let summary = "a contiguous range of a segment that holds several declarations";
  let description = [{
    Used by the update, which runs over all parameters of a kind at once, and by the reductions of gradients:
    `plan.range gradient at 0 : memref<27x4096xf32>`.

    `sharded`, of parameters and gradients: rank i of a group over the stage's shard axes means the bytes from `offset` +
    i * n on, n the bytes of the type. So all members together have n bytes each, one behind the other from `offset` on;
    `plan.range` of them all, at the same offset, is not sharded. Nor are moments: a rank's optimiser state holds those
    of its own shards alone.
  }];
  let arguments = (ins Plan_SegmentAttr:$segment, I64Attr:$offset, UnitAttr:$sharded);
  let results = (outs AnyMemRef:$result);
  let assemblyFormat = "$segment (`sharded` $sharded^)? `at` $offset attr-dict `:` type($result)";
}

def Plan_ShardOp : Plan_Op<"shard", [HasParent<"StageOp">]> {
  let summary = "parameters whose update the ranks of a group share";
  let description = [{
    Rank i of a group over the stage's shard axes updates the `bytes` bytes of parameters from `offset` + i * `bytes` on,
    and keeps their moments at its bytes `first` and `second` of the optimiser state. A stage with shards has no
    `plan.moment`.

    ```mlir
    plan.shard at 0 bytes 16384 moments 0, 65536
    ```
  }];
  let arguments = (ins I64Attr:$offset, I64Attr:$bytes, I64Attr:$first, I64Attr:$second);
  let assemblyFormat = "`at` $offset `bytes` $bytes `moments` $first `,` $second attr-dict";
}

def Plan_BufferOp : Plan_Op<"buffer", [MemoryEffects<[MemAlloc]>]> {
  let summary = "a buffer of the arena";
  let description = [{
    Made by `bufferize`, at the first op that writes it; `assign-arena` sets the offset in bytes.
    `communication`: holds data in transit between ranks. `value` names the value of the model. `slot_bytes`: distance
    between the copies for the stage's slots; without it all micro-batches share one. `whole_step`: lives over all of a
    step, micro-batches and update, so that it shares its memory with nothing. What it holds is still being sent while
    other micro-batches run; all write the same copy, and wait before that for what the one before has sent.
  }];
  let arguments = (ins OptionalAttr<I64Attr>:$offset, OptionalAttr<I64Attr>:$slot_bytes, UnitAttr:$communication,
                       UnitAttr:$whole_step, DefaultValuedStrAttr<StrAttr, "">:$value);
  let results = (outs AnyMemRef:$result);
  let assemblyFormat = [{
    (`at` $offset^)? (`slots_every` $slot_bytes^)? (`communication` $communication^)? (`whole_step` $whole_step^)? attr-dict
    `:` type($result)
  }];
}

//===----------------------------------------------------------------------===//
// Compute
//===----------------------------------------------------------------------===//

def Plan_GemmOp : Plan_Op<"gemm", [AttrSizedOperandSegments, AttrSizedResultSegments,
                                   DeclareOpInterfaceMethods<MemoryEffectsOpInterface>]> {
  let summary = "matrix product";
  let description = [{
    `c = combine(op(a) * op(b))`. Operands of rank 3 are seen as [product of leading extents, last]. They have one type,
    f32, bf16 or f16; the result has that type or f32. Sums are f32.
    `active_rows` inside a `rows_loop`: that extent is the number of rows of the present chunk.

    ```mlir
    %y = plan.gemm %x, %w transpose_b : tensor<4x64x128xf32>, memref<512x128xf32> -> tensor<4x64x512xf32>
    plan.gemm %dy, %x transpose_a outs(%dw : memref<512x128xf32>) combine(add) : tensor<...>, tensor<...>
    ```

    With an epilogue (`fuse-epilogues`) more is done before the result is rounded: `bias`, one element a column, is added
    to each row; with `gelu` that sum is `saved`, and the result is its GeLU in the tanh form.

    ```mlir
    %y, %h = plan.gemm %x, %w transpose_b bias(%b : tensor<512xbf16>) gelu
      : tensor<4x64x128xbf16>, tensor<512x128xbf16> -> tensor<4x64x512xbf16> saves tensor<4x64x512xbf16>
    ```
  }];
  let arguments = (ins Plan_Value:$a, Plan_Value:$b, Optional<Plan_Value>:$bias, Optional<AnyMemRef>:$out,
                       Optional<AnyMemRef>:$saved_out, UnitAttr:$transpose_a, UnitAttr:$transpose_b, UnitAttr:$gelu,
                       DefaultValuedAttr<Plan_CombineAttr, "::seqpar::plan::Combine::Overwrite">:$combine,
                       DefaultValuedAttr<Plan_ActiveRowsAttr, "::seqpar::plan::ActiveRows::None">:$active_rows);
  let results = (outs Optional<AnyRankedTensor>:$result, Optional<AnyRankedTensor>:$saved);
  let assemblyFormat = [{
    $a `,` $b (`transpose_a` $transpose_a^)? (`transpose_b` $transpose_b^)? (`bias` `(` $bias^ `:` type($bias) `)`)?
    (`gelu` $gelu^)? (`outs` `(` $out^ `:` type($out) `)`)? (`saves` `(` $saved_out^ `:` type($saved_out) `)`)?
    attr-dict `:` type($a) `,` type($b) (`->` type($result)^)? (`saves` type($saved)^)?
  }];
  let hasVerifier = 1;
  let extraClassDeclaration = [{
    struct Extents { int64_t m, n, k; };
    Extents getExtents();
  }];
}

def Plan_RowsOp : Plan_Op<"rows", [AttrSizedOperandSegments, SingleBlock, DeclareOpInterfaceMethods<MemoryEffectsOpInterface>]> {
  let summary = "a row kernel: the same computation for each row";
  let description = [{
    The body sees one row. Each input is a block argument: access `row`, `broadcast` and `gather`
    give a `tensor<Cx...>` with C the columns of the kernel, `row_scalar` and `scalar` an element.
    The body holds arith and math ops on those, `tensor.splat`, `plan.row_reduce`, `plan.row_iota`
    and `plan.row_random`. It yields one value per output: a row for `row`, `scatter`, `scatter_add`, an
    element for `row_scalar`, either for `sum_rows` (a sum over all rows).

    In value form, outputs with access row, row_scalar and sum_rows are fresh results; scatter and
    scatter_add update a value given in `outs` and return it. In buffer form all outputs are in
    `outs`. `combine` tells what a sum_rows output does with what its buffer holds.
    `active_rows`: in a rows_loop, only the present chunk's rows.

    ```mlir
    %y = plan.rows "gelu" rows(256) ins(%u, %b : tensor<4x64x512xf32>, memref<512xf32>)
           access [#plan.access<row>, #plan.access<broadcast>] results [#plan.access<row>] -> tensor<4x64x512xf32> {
    ^bb0(%x: tensor<512xf32>, %bias: tensor<512xf32>):
      %0 = arith.addf %x, %bias : tensor<512xf32>
      ...
      plan.row_yield %9 : tensor<512xf32>
    }
    ```
  }];
  let arguments = (ins StrAttr:$name, I64Attr:$rows, Variadic<Plan_Value>:$inputs, Variadic<Plan_Value>:$outs,
                       Plan_AccessArrayAttr:$input_access, Plan_AccessArrayAttr:$output_access,
                       DefaultValuedAttr<Plan_CombineAttr, "::seqpar::plan::Combine::Overwrite">:$combine,
                       UnitAttr:$active_rows);
  let results = (outs Variadic<AnyRankedTensor>:$results);
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = [{
    $name `rows` `(` $rows `)` (`ins` `(` $inputs^ `:` type($inputs) `)`)? (`outs` `(` $outs^ `:` type($outs) `)`)?
    `access` $input_access `results` $output_access (`->` type($results)^)? attr-dict-with-keyword $body
  }];
  let hasVerifier = 1;
  let extraClassDeclaration = [{
    AccessAttr getInputAccess(unsigned i) { return mlir::cast<AccessAttr>(getInputAccessAttr()[i]); }
    AccessAttr getOutputAccess(unsigned i) { return mlir::cast<AccessAttr>(getOutputAccessAttr()[i]); }
    unsigned getNumOutputs() { return getOutputAccessAttr().size(); }
    bool hasBufferForm() { return getResults().empty() && getOuts().size() == getNumOutputs(); }
    /// Extent of every row value of the body; 1 when there is none.
    int64_t getColumns();
  }];
}

def Plan_RowReduceOp : Plan_Op<"row_reduce", [Pure]> {
  let summary = "sum or maximum of a row";
  let arguments = (ins Plan_ReduceKindAttr:$kind, AnyRankedTensor:$input);
  let results = (outs AnyTypeOf<[AnyFloat, AnyInteger]>:$result);
  let assemblyFormat = "$kind $input attr-dict `:` type($input) `->` type($result)";
}

def Plan_RowIotaOp : Plan_Op<"row_iota", [Pure]> {
  let summary = "the number of each column";
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = "attr-dict `:` type($result)";
}

def Plan_RowRandomOp : Plan_Op<"row_random", [Pure]> {
  let summary = "a random word for each column";
  let description = [{
    Word `column mod 4` of a block of Philox4x32-10 (Salmon et al., SC 2011) with

    ```
    counter = { column / 4, position, sample, site << 16 }   key = { seed, step }
    ```

    so it depends on these coordinates alone, never on ranks, threads or earlier draws, and four
    neighbouring columns share a block. The runtime's Philox.h computes the same on the host.

    ```mlir
    %w = plan.row_random seed(%seed) step(%step) site(%site) sample(%sample) position(%position) : tensor<512xi32>
    ```
  }];
  let arguments = (ins I32:$seed, I32:$step, I32:$site, I32:$sample, I32:$position);
  let results = (outs 1DTensorOf<[I32]>:$result);
  let assemblyFormat = [{
    `seed` `(` $seed `)` `step` `(` $step `)` `site` `(` $site `)` `sample` `(` $sample `)` `position` `(` $position `)`
    attr-dict `:` type($result)
  }];
}

def Plan_RowYieldOp : Plan_Op<"row_yield", [Terminator, Pure, ReturnLike, HasParent<"RowsOp">]> {
  let summary = "ends the body of a row kernel";
  let arguments = (ins Variadic<AnyType>:$operands);
  let assemblyFormat = "$operands attr-dict `:` type($operands)";
}

def Plan_AccumulateOp : Plan_Op<"accumulate"> {
  let summary = "adds a value to memory that outlives the micro-batch";
  let description = [{
    The op that makes the value writes it straight to the accumulator: `bufferize` removes this op.
    So the value must come from a `gemm`, or be a sum_rows result, in the same block, and have no other use.
  }];
  let arguments = (ins AnyRankedTensor:$value, AnyMemRef:$accumulator);
  let assemblyFormat = "$value `into` $accumulator attr-dict `:` type($value) `,` type($accumulator)";
}

def Plan_ZerosOp : Plan_Op<"zeros", [MemoryEffects<[MemAlloc]>]> {
  let summary = "a value of zeros";
  let description = "Each stands for memory of its own, since it may be updated in place.";
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = "attr-dict `:` type($result)";
}

def Plan_EmptyOp : Plan_Op<"empty", [MemoryEffects<[MemAlloc]>]> {
  let summary = "a value that nobody reads before it is written";
  let description = "Each stands for memory of its own, since it may be updated in place.";
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = "attr-dict `:` type($result)";
}

def Plan_FillOp : Plan_Op<"fill"> {
  let summary = "sets a buffer to zero";
  let arguments = (ins AnyMemRef:$out, UnitAttr:$first_micro_batch_only);
  let assemblyFormat = "$out (`first_micro_batch_only` $first_micro_batch_only^)? attr-dict `:` type($out)";
}

def Plan_RowsLoopOp : Plan_Op<"rows_loop", [SingleBlock, RecursiveMemoryEffects]> {
  let summary = "the body for each chunk of masked rows";
  let description = [{
    Runs ceil(count / chunk) times, where count is the number of this rank's positions with
    loss_mask = 1. The first two block arguments are the present chunk of `masked_rows` and
    `masked_labels`; then come the carried values, as in `sp.ring_loop`. The last chunk may go on past the
    count, with rows and labels of -1: the body must be such that they change nothing.

    ```mlir
    %dx = plan.rows_loop chunk(128) (%rows = %masked_rows, %labels = %masked_labels : memref<256xi32>, memref<256xi32>)
            iter(%acc = %zeros) : tensor<4x64x128xf32> {
      ...
      sp.yield %acc2 : tensor<4x64x128xf32>
    }
    ```
  }];
  let arguments = (ins I64Attr:$chunk, AnyMemRef:$rows, AnyMemRef:$labels, Variadic<AnyRankedTensor>:$inits);
  let results = (outs Variadic<AnyRankedTensor>:$results);
  let regions = (region SizedRegion<1>:$body);
  let hasCustomAssemblyFormat = 1;
  let hasVerifier = 1;
}

#endif // SEQPAR_DIALECT_PLAN_PLANOPS_TD
