//===- SPOps.td - collectives and ring operations -----------*- tablegen -*-===//
#ifndef SEQPAR_DIALECT_SP_SPOPS_TD
#define SEQPAR_DIALECT_SP_SPOPS_TD

include "seqpar/Dialect/SP/SPDialect.td"
include "mlir/Interfaces/SideEffectInterfaces.td"
include "mlir/Interfaces/ControlFlowInterfaces.td"

class SP_Op<string mnemonic, list<Trait> traits = []> : Op<SP_Dialect, mnemonic, traits>;

def SP_Value : AnyTypeOf<[AnyRankedTensor, AnyMemRef], "tensor or buffer">;

//===----------------------------------------------------------------------===//
// Collectives
//===----------------------------------------------------------------------===//

def SP_AllReduceOp : SP_Op<"all_reduce"> {
  let summary = "partial sums to their sum on every rank";
  let description = [{
    The operand is partial over exactly the axes named; the result is not. On buffers the sum is
    taken in place, in the order of the ranks, so that every rank gets the same bits. With a `tag` it
    returns at once, and the `wait` with that tag completes it; in a micro-batch it is then done in the
    last one of a step only.

    ```mlir
    %r = sp.all_reduce %g over [dp, sp] : tensor<8x8xf32, #sp.layout<[-, -], partial [dp, sp]>>
           -> tensor<8x8xf32, #sp.layout<[-, -]>>
    ```
  }];
  let arguments = (ins SP_Value:$input, DenseI32ArrayAttr:$axes, DefaultValuedAttr<I64Attr, "-1">:$tag);
  let results = (outs Optional<AnyRankedTensor>:$result);
  let assemblyFormat = [{ $input `over` custom<Axes>($axes) (`tag` $tag^)? attr-dict `:` type($input) (`->` type($result)^)? }];
  let hasVerifier = 1;
}

def SP_AllGatherOp : SP_Op<"all_gather"> {
  let summary = "the chunks of a split dimension, together on every rank";
  let description = [{
    Dimension `dim` is split over the axis in the operand and whole in the result.
    On local values its extent grows by the number of ranks. On buffers there may be several axes, and
    the operand may be this rank's part of what is written.
  }];
  let arguments = (ins SP_Value:$input, Optional<AnyMemRef>:$out, I64Attr:$dim, DenseI32ArrayAttr:$axes);
  let results = (outs Optional<AnyRankedTensor>:$result);
  let assemblyFormat = [{
    $input (`into` $out^ `:` type($out))? `dim` $dim `over` custom<Axes>($axes) attr-dict `:` type($input) (`->` type($result)^)?
  }];
  let hasVerifier = 1;
}

def SP_ReduceScatterOp : SP_Op<"reduce_scatter"> {
  let summary = "partial sums to their sum, one chunk of a dimension per rank";
  let description = [{
    On buffers there may be several axes, what is written may be this rank's part of the operand, and
    `tag` means what it means in `all_reduce`.
  }];
  let arguments = (ins SP_Value:$input, Optional<AnyMemRef>:$out, I64Attr:$dim, DenseI32ArrayAttr:$axes,
                       DefaultValuedAttr<I64Attr, "-1">:$tag);
  let results = (outs Optional<AnyRankedTensor>:$result);
  let assemblyFormat = [{
    $input (`into` $out^ `:` type($out))? `dim` $dim `over` custom<Axes>($axes) (`tag` $tag^)? attr-dict `:` type($input) (`->` type($result)^)?
  }];
  let hasVerifier = 1;
}

//===----------------------------------------------------------------------===//
// The ring
//===----------------------------------------------------------------------===//

def SP_RingShiftOp : SP_Op<"ring_shift"> {
  let summary = "each value to the next rank of the sequence axis";
  let description = [{
    Rank r gets what rank r - 1 (mod P) held. With `skip_last` inside a ring loop the last
    iteration, whose result nobody reads, moves nothing. The layout stays the same: the ranks hold
    other chunks, the tensor is still split over the sequence axis.
    `overlap` replaces it by `ring_shift_start` and `wait`.
  }];
  let arguments = (ins Variadic<SP_Value>:$inputs, UnitAttr:$skip_last);
  let results = (outs Variadic<AnyRankedTensor>:$results);
  let assemblyFormat = [{ $inputs (`skip_last` $skip_last^)? attr-dict `:` type($inputs) `->` type($results) }];
  let hasVerifier = 1;
  let builders = [OpBuilder<(ins "mlir::ValueRange":$inputs, "bool":$skipLast), [{
    build($_builder, $_state, inputs.getTypes(), inputs, skipLast);
  }]>];
}

def SP_RingShiftStartOp : SP_Op<"ring_shift_start", [AttrSizedOperandSegments]> {
  let summary = "begins a ring shift and returns at once";
  let description = [{
    The results (or `outs`) must not be read, nor the inputs overwritten, before the `wait` with the
    same tag.
  }];
  let arguments = (ins Variadic<SP_Value>:$inputs, Variadic<AnyMemRef>:$outs, I64Attr:$tag, UnitAttr:$skip_last);
  let results = (outs Variadic<AnyRankedTensor>:$results);
  let hasVerifier = 1;
  let assemblyFormat = [{
    `(` $inputs `)` (`into` `(` $outs^ `:` type($outs) `)`)? `tag` $tag (`skip_last` $skip_last^)? attr-dict `:` type($inputs) (`->` type($results)^)?
  }];
}

def SP_WaitOp : SP_Op<"wait", [AttrSizedOperandSegments]> {
  let summary = "waits for the exchange with the same tag";
  let description = [{
    On tensors: `received` are the results of the start, passed through as results, and `sent` its
    inputs, named so that they stay alive until here. On buffers there are no operands.
  }];
  let arguments = (ins Variadic<AnyRankedTensor>:$received, Variadic<SP_Value>:$sent, I64Attr:$tag, UnitAttr:$skip_last);
  let results = (outs Variadic<AnyRankedTensor>:$results);
  let assemblyFormat = [{
    (`(` $received^ `:` type($received) `)`)? (`sent` `(` $sent^ `:` type($sent) `)`)? `tag` $tag (`skip_last` $skip_last^)? attr-dict (`->` type($results)^)?
  }];
  let hasVerifier = 1;
  let builders = [OpBuilder<(ins "int64_t":$tag, CArg<"bool", "false">:$skipLast), [{
    build($_builder, $_state, ::mlir::TypeRange(), ::mlir::ValueRange(), ::mlir::ValueRange(), tag, skipLast);
  }]>];
}

def SP_RingLoopOp : SP_Op<"ring_loop", [SingleBlock, RecursiveMemoryEffects]> {
  let summary = "iterations 1 to P - 1 of the ring";
  let description = [{
    In iteration i rank r works on the chunk of rank (r - i) mod P. Values carried from one
    iteration to the next are block arguments; the yielded values become the next iteration's, and
    after the last one the loop's results. With one rank the body never runs.

    ```mlir
    %k2, %acc = sp.ring_loop iter(%kk = %k1, %a = %acc0) : tensor<...>, tensor<...> {
      %next = sp.ring_shift %kk skip_last : tensor<...>
      ...
      sp.yield %next, %a2 : tensor<...>, tensor<...>
    }
    ```
    On buffers nothing is carried: `sp.alternate` names the buffer of the present iteration.
  }];
  let arguments = (ins Variadic<AnyRankedTensor>:$inits);
  let results = (outs Variadic<AnyRankedTensor>:$results);
  let regions = (region SizedRegion<1>:$body);
  let hasCustomAssemblyFormat = 1;
  let hasVerifier = 1;
}

def SP_YieldOp : SP_Op<"yield", [Terminator, Pure, ReturnLike]> {
  let summary = "ends the body of a loop";
  let arguments = (ins Variadic<AnyRankedTensor>:$operands);
  let assemblyFormat = "($operands^ `:` type($operands))? attr-dict";
  let builders = [OpBuilder<(ins), [{ build($_builder, $_state, ::mlir::ValueRange()); }]>];
}

def SP_AlternateOp : SP_Op<"alternate", [Pure, AllTypesMatch<["odd", "even", "result"]>]> {
  let summary = "the buffer of the present iteration of a ring loop";
  let description = [{ `odd` in iterations 1, 3, ..., `even` in iterations 2, 4, ... }];
  let arguments = (ins AnyMemRef:$odd, AnyMemRef:$even);
  let results = (outs AnyMemRef:$result);
  let assemblyFormat = "$odd `,` $even attr-dict `:` type($odd)";
}

def SP_AttentionBlockOp : SP_Op<"attention_block", [AttrSizedOperandSegments]> {
  let summary = "queries of this rank against one block of keys and values";
  let description = [{
    Online softmax over one block (FlashAttention, Dao et al. 2022, algorithm 1; ring: Li et al.
    2023, section 3.2). The state is `out` [B, C, A] (accumulator), `lse` and `sum` [B, heads, C]
    (running maximum and sum). Without `state` operands it is set, else updated in place. `finish`
    (in a ring loop: in the last iteration) normalises `out` and turns `lse` into the
    log-sum-exp.

    The keys are this rank's own (`own`), those of the ring loop's iteration (`ring`), or all of
    the sequence (`whole`); this decides which columns of the padding mask belong to them.

    Queries, keys and values may have 16 bits. The state is f32 then as well, but a block that is the only one
    (`initialize` and `finish`) may write `out` in the type of the queries.
  }];
  let arguments = (ins SP_Value:$query, SP_Value:$key, SP_Value:$value, SP_Value:$mask,
                       Variadic<AnyRankedTensor>:$state, Variadic<AnyMemRef>:$outs,
                       I64Attr:$heads, SP_KeyBlock:$block, UnitAttr:$initialize, UnitAttr:$finish,
                       DefaultValuedAttr<F32Attr, "0.0">:$dropout, DefaultValuedAttr<I64Attr, "0">:$site);
  let results = (outs Variadic<AnyRankedTensor>:$results);
  let assemblyFormat = [{
    $block (`initialize` $initialize^)? (`finish` $finish^)? `heads` `(` $heads `)`
    `(` $query `,` $key `,` $value `,` $mask `:` type($query) `,` type($key) `,` type($value) `,` type($mask) `)`
    (`state` `(` $state^ `:` type($state) `)`)? (`outs` `(` $outs^ `:` type($outs) `)`)? attr-dict (`->` type($results)^)?
  }];
  let hasVerifier = 1;
}

def SP_AttentionBlockGradOp : SP_Op<"attention_block_grad", [AttrSizedOperandSegments]> {
  let summary = "gradients of one attention block";
  let description = [{
    State `delta` [B, heads, C] (row sums of dout * out) and `dq`: without `state` operands they are
    set, else read and `dq` is added to. `dk`, `dv`: without `accumulators` they are set, else added
    to in place, except in the first iteration of a ring loop, where they are set.
    Results (or `outs`): delta, dq, dk, dv, all f32, whatever the type of the queries. On buffers `accumulate` says that
    there were accumulators.
  }];
  let arguments = (ins SP_Value:$query, SP_Value:$key, SP_Value:$value, SP_Value:$mask,
                       SP_Value:$out, SP_Value:$lse, SP_Value:$dout,
                       Variadic<AnyRankedTensor>:$state, Variadic<AnyRankedTensor>:$accumulators,
                       Variadic<AnyMemRef>:$outs,
                       I64Attr:$heads, SP_KeyBlock:$block, UnitAttr:$initialize, UnitAttr:$accumulate,
                       DefaultValuedAttr<F32Attr, "0.0">:$dropout, DefaultValuedAttr<I64Attr, "0">:$site);
  let results = (outs Variadic<AnyRankedTensor>:$results);
  let assemblyFormat = [{
    $block (`initialize` $initialize^)? (`accumulate` $accumulate^)? `heads` `(` $heads `)`
    `(` $query `,` $key `,` $value `,` $mask `,` $out `,` $lse `,` $dout `:` type($query) `,` type($key) `,` type($value) `,` type($mask)
       `,` type($out) `,` type($lse) `,` type($dout) `)`
    (`state` `(` $state^ `:` type($state) `)`)? (`accumulators` `(` $accumulators^ `:` type($accumulators) `)`)?
    (`outs` `(` $outs^ `:` type($outs) `)`)? attr-dict (`->` type($results)^)?
  }];
  let hasVerifier = 1;
}

//===----------------------------------------------------------------------===//
// Between pipeline stages
//===----------------------------------------------------------------------===//

def SP_SendOp : SP_Op<"send"> {
  let summary = "begins to send this rank's chunk to another stage, and returns at once";
  let description = [{
    It goes to the rank with the same dp and sp in stage `stage`. The k-th send of a tag meets the k-th receive of that
    tag there. The value must not be overwritten before the `wait` with this tag: the next one behind it in the
    micro-batch, or else (a gradient is sent at the very end) the one before the next micro-batch writes it.
  }];
  let arguments = (ins SP_Value:$input, I64Attr:$stage, I64Attr:$tag);
  let assemblyFormat = "$input `to` `stage` $stage `tag` $tag attr-dict `:` type($input)";
  let hasVerifier = 1;
}

def SP_ReceiveOp : SP_Op<"receive"> {
  let summary = "begins to receive what another stage sends, and returns at once";
  let description = [{ What is received must not be read before the `wait` with the same tag. }];
  let arguments = (ins Optional<AnyMemRef>:$out, I64Attr:$stage, I64Attr:$tag);
  let results = (outs Optional<AnyRankedTensor>:$result);
  let assemblyFormat = [{
    (`into` $out^ `:` type($out))? `from` `stage` $stage `tag` $tag attr-dict (`->` type($result)^)?
  }];
  let hasVerifier = 1;
}

def SP_SumStagesOp : SP_Op<"sum_stages", [AllTypesMatch<["input", "result"]>]> {
  let summary = "sum of what several stages hold of one parameter's gradient";
  let description = [{
    Each stage named sends its value to the others and adds up in the order of the stages, so that all get the same bits.
    The stages, two at least, are ascending. With n stages, what the i-th sends the j-th has the tag `tag` + i n + j.
  }];
  let arguments = (ins AnyRankedTensor:$input, DenseI32ArrayAttr:$stages, I64Attr:$tag);
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = "$input `over` $stages `tag` $tag attr-dict `:` type($input)";
  let hasVerifier = 1;
}

#endif // SEQPAR_DIALECT_SP_SPOPS_TD
