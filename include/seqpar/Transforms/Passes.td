//===- Passes.td - The passes, from a model to its plan ---------------------------------------===//

#ifndef SEQPAR_TRANSFORMS_PASSES_TD
#define SEQPAR_TRANSFORMS_PASSES_TD

include "mlir/Pass/PassBase.td"

//===- Phase specialize -----------------------------------------------------------------------===//

def BindShapes : Pass<"bind-shapes", "::mlir::ModuleOp"> {
  let summary = "bind batch, sequence length, chunk and dropout rate of a model";
  let description = [{
    Expects an `nn.model` whose first dimension of activations (samples of a micro-batch) and second (positions) may be
    `?`. Gives each `?` its extent, `nn.masked_rows` its chunk (never more rows than there are), and `nn.dropout` and
    `nn.attention` the rate; at rate 0 it removes `nn.dropout`.

    ```mlir
    // before
    %x = nn.embedding %tokens, %table : (tensor<?x?xi32>, tensor<512x64xf32>) -> tensor<?x?x64xf32>
    // after bind-shapes{batch=4 seq-length=128}
    %x = nn.embedding %tokens, %table : (tensor<4x128xi32>, tensor<512x64xf32>) -> tensor<4x128x64xf32>
    ```

    When it is done all shapes are static, and the table of positions has a row for each position.
  }];
  let options = [
    Option<"batch", "batch", "int64_t", "1", "samples of one micro-batch">,
    Option<"seqLength", "seq-length", "int64_t", "128", "positions of one sample">,
    Option<"dropout", "dropout", "double", "0.0", "rate of all dropouts, at least 0 and below 1">,
    Option<"chunk", "chunk", "int64_t", "128", "largest number of masked rows computed at a time">
  ];
  let dependentDialects = ["::seqpar::nn::NNDialect"];
}

def UnrollLayers : Pass<"unroll-layers", "::mlir::ModuleOp"> {
  let summary = "write out the layers of nn.repeat";
  let description = [{
    Replaces `nn.repeat` by copies of its body, one after the other. The parameters of layer i get their full name, the
    prefix, i, a dot and the name in the body. Numbers the sites of dropout in the order of the program.

    ```mlir
    // before
    %y = nn.repeat 2 as "layer." (%h = %x) : tensor<4x128x64xf32> {
      %b = nn.parameter "bias" zeros : tensor<64xf32>
      ...
    }
    // after
    %b0 = nn.parameter "layer.0.bias" zeros : tensor<64xf32>
    ...
    %b1 = nn.parameter "layer.1.bias" zeros : tensor<64xf32>
    ```

    When it is done no `nn.repeat` is left, parameter names are complete, and no two dropouts have one site.
  }];
  let dependentDialects = ["::seqpar::nn::NNDialect"];
}

def MarkCuts : Pass<"mark-cuts", "::mlir::ModuleOp"> {
  let summary = "mark where a model is cut into pipeline stages";
  let description = [{
    Inserts `nn.cut` at stages - 1 of the places where one activation is all that is computed before and needed behind:
    those that make the costliest stage as cheap as can be (an exact search). Costs come from the shapes: floating-point
    operations of products and attention, and the bytes that other ops move, forward and backward (`CostModel.h`). They
    are kept in `stage_costs`, in floating-point operations of a micro-batch of all replicas.

    It runs before `differentiate`, so that the gradient is cut by the backward of the same op.

    ```mlir
    // after mark-cuts{stages=2}
    nn.model @m attributes {stage_costs = array<i64: 81330176, 79691776>} {
      ...
      %y = nn.cut %x from 0 to 1 : tensor<4x128x64xf32>
    ```

    Expects static shapes. More stages than there are places is an error that says how many are possible.
  }];
  let options = [Option<"stages", "stages", "int64_t", "1", "pipeline stages">];
  let dependentDialects = ["::seqpar::nn::NNDialect"];
}

//===- Phase differentiate --------------------------------------------------------------------===//

def Differentiate : Pass<"differentiate", "::mlir::ModuleOp"> {
  let summary = "turn a model into a step: forward and backward of a micro-batch";
  let description = [{
    Replaces each `nn.model` by an `nn.step`, whose first region has the model's ops and what is accumulated of the
    losses, then, behind `nn.backward`, the backward of the ops in reverse order (by DifferentiableOpInterface) and what
    is accumulated of the gradients. The cotangents of the model's two losses are the inputs `inverse_loss_tokens` and
    `inverse_samples`. A value used twice gets the sum of both gradients by `nn.add`; a parameter used twice gets both as
    contributions of its `nn.accumulate`. The backward of `nn.masked_rows` is inside it. Each backward op has the source
    location of its forward op.

    ```mlir
    // before
    nn.model @m {
      %w = nn.parameter "w" normal(0.02) decay : tensor<2x64xf32>
      %y = nn.linear %x, %w : (tensor<4x64xf32>, tensor<2x64xf32>) -> tensor<4x2xf32>
      ...
    }
    // after
    nn.step @m {
      %w = nn.parameter "w" normal(0.02) decay : tensor<2x64xf32>
      %y = nn.linear %x, %w : (tensor<4x64xf32>, tensor<2x64xf32>) -> tensor<4x2xf32>
      ...
      nn.accumulate_metric mlm %mlm scale %inverse_loss_tokens : tensor<f32>, tensor<f32>
      nn.backward
      ...
      %dw = nn.linear_grad_weight %dy, %x : (tensor<4x2xf32>, tensor<4x64xf32>) -> tensor<2x64xf32>
      nn.accumulate "w", %dw : tensor<2x64xf32>
    } update {
    }
    ```

    Expects static shapes and no `nn.repeat`. When it is done each parameter has exactly one `nn.accumulate`; a parameter
    on which the loss does not depend is an error.
  }];
  let dependentDialects = ["::seqpar::nn::NNDialect"];
}

def InsertOptimizer : Pass<"insert-optimizer", "::mlir::ModuleOp"> {
  let summary = "fill in the update of a step: clip by the global norm, AdamW";
  let description = [{
    ```mlir
    // before
    } update {
    }
    // after
    } update {
      %g = nn.gradient "w" : tensor<2x64xf32>
      %norm = nn.global_norm %g : (tensor<2x64xf32>) -> tensor<f32>
      nn.adamw "w", %g, %norm decay beta1(0.9) beta2(0.999) eps(1.0e-8) : tensor<2x64xf32>, tensor<f32>
    }
    ```

    When it is done each parameter is in the norm once and updated once.
  }];
  let options = [
    Option<"beta1", "beta1", "double", "0.9", "decay of the first moment">,
    Option<"beta2", "beta2", "double", "0.999", "decay of the second moment">,
    Option<"eps", "eps", "double", "1e-8", "added to the root of the second moment">
  ];
  let dependentDialects = ["::seqpar::nn::NNDialect"];
}

//===- Phase shard ----------------------------------------------------------------------------===//

def AssignLayouts : Pass<"assign-layouts", "::seqpar::nn::StepOp"> {
  let summary = "a layout for every value of a step";
  let description = [{
    Splits samples over dp and positions over sp, by each op's layout rule; sums over them become partial sums.

    ```mlir
    // before
    %y = nn.linear %x, %w : (tensor<4x64x8xf32>, tensor<8x8xf32>) -> tensor<4x64x8xf32>
    // after assign-layouts{sp=2}
    %y = nn.linear %x, %w : (tensor<4x64x8xf32, #sp.layout<[-, sp, -]>>, tensor<8x8xf32, #sp.layout<[-, -]>>)
           -> tensor<4x64x8xf32, #sp.layout<[-, sp, -]>>
    ```

    When it is done every tensor outside per-rank regions has a layout, and the step has the grid.
  }];
  let options = [
    Option<"dp", "dp", "int64_t", "1", "data-parallel replicas">,
    Option<"pp", "pp", "int64_t", "1", "pipeline stages">,
    Option<"sp", "sp", "int64_t", "1", "sequence-parallel ranks, at most 64">
  ];
  let dependentDialects = ["::seqpar::sp::SPDialect"];
}

def InsertCollectives : Pass<"insert-collectives", "::seqpar::nn::StepOp"> {
  let summary = "an all-reduce where a partial sum is used as a total";
  let description = [{
    ```mlir
    // before
    %t = nn.select_token %x, 0 : (...) -> tensor<4x8xf32, #sp.layout<[-, -], partial [sp]>>
    %p = nn.tanh %t : ...
    // after
    %t = nn.select_token %x, 0 : (...) -> tensor<4x8xf32, #sp.layout<[-, -], partial [sp]>>
    %r = sp.all_reduce %t over [sp] : ... -> tensor<4x8xf32, #sp.layout<[-, -]>>
    %p = nn.tanh %r : ...
    ```

    When it is done `verify-layouts` holds.
  }];
  let dependentDialects = ["::seqpar::sp::SPDialect"];
}

def VerifyLayouts : Pass<"verify-layouts", "::seqpar::nn::StepOp"> {
  let summary = "check that each use has the layout its op asks for";
  let description = [{
    The promise of phase `shard`: operands and results are laid out as the rules say; a partial sum reaches only what
    goes on summing, so no gradient that is still partial reaches the optimiser.
  }];
}

//===- Phase ring -----------------------------------------------------------------------------===//

def LowerAttention : Pass<"lower-attention", "::seqpar::nn::StepOp"> {
  let summary = "attention over a split sequence, by a ring exchange or by gathering";
  let description = [{
    With `ring`, keys and values travel around the ring of sequence-parallel ranks; with `all-gather` every rank
    gathers them.

    ```mlir
    // before, with sp = 4
    %a, %lse = nn.attention %q, %k, %v, %mask heads(2) : ...
    // after
    %k1:2 = sp.ring_shift %k, %v : ...
    %own:3 = sp.attention_block own initialize heads(2) (%q, %k, %v, %mask : ...) -> ...
    %all:5 = sp.ring_loop iter(%kk = %k1#0, %vv = %k1#1, %o = %own#0, %l = %own#1, %s = %own#2) : ... {
      %next:2 = sp.ring_shift %kk, %vv skip_last : ...
      %b:3 = sp.attention_block ring finish heads(2) (%q, %kk, %vv, %mask : ...) state(%o, %l, %s : ...) -> ...
      sp.yield %next#0, %next#1, %b#0, %b#1, %b#2 : ...
    }
    ```

    When it is done no nn.attention is left and no array of L x L or L x (L / P) elements exists.
  }];
  let options = [Option<"strategy", "strategy", "std::string", "\"ring\"", "ring or all-gather">];
  let dependentDialects = ["::seqpar::sp::SPDialect", "::seqpar::plan::PlanDialect"];
}

//===- Phase stage ------------------------------------------------------------------------------===//

def CutStages : Pass<"cut-stages", "::mlir::ModuleOp"> {
  let summary = "a step for each pipeline stage, with sends and receives between them";
  let description = [{
    Replaces an `nn.step` with `nn.cut` ops by one step per stage. Where an activation or gradient is cut, the one stage
    sends it and the other receives it, chunk by chunk: each rank to the one with the same dp and sp. A stage declares
    the parameters and inputs that it uses. A parameter of several stages is in each of them: `sp.sum_stages` adds up
    its gradient, and only the first of them has it in the norm, which is `over_stages`.

    ```mlir
    // after
    nn.step @m.stage0 stage 0 {
      ...
      sp.send %x to stage 1 tag 0 : !x
      nn.backward
      %r = sp.receive from stage 1 tag 1 -> !x
      sp.wait sent(%x : !x) tag 0
      %dy = sp.wait(%r : !x) tag 1 -> !x
      ...
    }
    nn.step @m.stage1 stage 1 {
      %r = sp.receive from stage 0 tag 0 -> !x
      %y = sp.wait(%r : !x) tag 0 -> !x
      ...
      sp.send %dy to stage 0 tag 1 : !x
    }
    ```

    A value that one stage computes and another uses without a cut is an error. A grid with one stage stays whole.
  }];
  let dependentDialects = ["::seqpar::nn::NNDialect", "::seqpar::sp::SPDialect"];
}

//===- Phase plan -----------------------------------------------------------------------------===//

def Localize : Pass<"localize", "::mlir::ModuleOp"> {
  let summary = "from global tensors to what one rank does";
  let description = [{
    Replaces each `nn.step`, or the steps of all stages of one, by a `plan.program` with its stages: declarations, `plan.gemm`, `plan.rows` and operations
    of dialect `sp` on one rank's chunks. The update runs over whole groups of parameters.

    ```mlir
    // before, with sp = 2
    %y = nn.gelu %x erf : tensor<4x64x8xf32, #sp.layout<[-, sp, -]>>
    // after
    %y = plan.rows "gelu" rows(128) ins(%x : tensor<4x32x8xf32>) access [#plan.access<row>]
           results [#plan.access<row>] -> tensor<4x32x8xf32> { ... }
    ```

    With `zero`, the ranks over dp and sp share the update (ZeRO-1, Rajbhandari et al. 2020): gradients that are partial
    sums over both are reduce-scattered, each rank keeps the moments of its shard of each group and updates it, and the
    parameters are gathered. Without it gradients are all-reduced and every rank updates all.

    With `loss-scale` the backward starts from `scaled_inverse_loss_tokens` and `scaled_inverse_samples`, and the update
    multiplies gradients by `inverse_loss_scale`; it changes nothing when their norm is not finite.

    When it is done no op of dialect `nn` and no layout is left.
  }];
  let options = [Option<"zero", "zero", "bool", "false", "share the update over dp and sp">,
                 Option<"bucketBytes", "bucket-bytes", "int64_t", "0",
                        "size of the groups of parameters that are reduced together; 0: no limit">,
                 Option<"lossScale", "loss-scale", "bool", "false",
                        "gradients of a micro-batch are scaled, the update takes the scale away">];
  let dependentDialects = ["::seqpar::sp::SPDialect", "::seqpar::plan::PlanDialect"];
}

def OrderTurns : Pass<"order-turns", "::mlir::ModuleOp"> {
  let summary = "the order in which a stage runs the parts of its micro-batches";
  let description = [{
    Sets `order` and `slots` of each stage of a program with several. With `1f1b` (Narayanan et al. 2019) stage s of p
    starts with min(m, p - 1 - s) forwards, then alternates one forward and one backward: min(m, p - s) micro-batches
    are live at most. With `gpipe` (Huang et al. 2019) all forwards come first: m are live.
  }];
  let options = [Option<"schedule", "schedule", "std::string", "\"1f1b\"", "1f1b or gpipe">,
                 Option<"microBatches", "micro-batches", "int64_t", "1", "micro-batches of one step and replica">];
  let dependentDialects = ["::seqpar::plan::PlanDialect"];
}

def MixedPrecision : Pass<"mixed-precision", "::mlir::ModuleOp"> {
  let summary = "activations are stored in 16 bits";
  let description = [{
    Expects value form. Values of a micro-batch get 16 bits (`dtype`: `bf16` or `fp16`), except contributions to gradients
    and metrics, sums over ranks, statistics, sums that attention makes block by block, and what a loss is computed from.
    Row kernels widen what they read and round what they write; products, attention and other stages read 16 bits.

    ```mlir
    // before
    %u = plan.gemm %x, %w transpose_b : tensor<2x8x4xf32>, memref<6x4xf32> -> tensor<2x8x6xf32>
    // after
    %n = plan.rows "cast" rows(6) ins(%w : memref<6x4xf32>) access [#plan.access<row>] results [#plan.access<row>]
           -> tensor<6x4xbf16> { ... }
    %u = plan.gemm %x, %n transpose_b : tensor<2x8x4xbf16>, tensor<6x4xbf16> -> tensor<2x8x6xbf16>
    ```

    When it is done every product and every attention block reads 16 bits, and all arithmetic is in fp32 still.
  }];
  let options = [Option<"dtype", "dtype", "std::string", "\"bf16\"", "bf16 or fp16">];
  let dependentDialects = ["::seqpar::plan::PlanDialect"];
}

def RecomputeRows : Pass<"recompute-rows", "::mlir::ModuleOp"> {
  let summary = "row kernels run again in the backward instead of keeping what they make";
  let description = [{
    Expects value form. The result of a row kernel of the forward part that the backward part reads is made again there,
    if all that the kernel reads lives until then anyway. Of kernels with several results, or with one of another access
    than `row`, all is kept. A wait that names what was sent is no read, and goes on naming that.

    ```mlir
    // before
    %y = plan.rows "gelu" ... ins(%h : ...) ...
    plan.backward
    %dw = plan.gemm %dz, %y transpose_a : ...
    %dh = plan.rows "gelu_grad" ... ins(%dy, %h : ...) ...
    // after
    %y = plan.rows "gelu" ... ins(%h : ...) ...
    plan.backward
    %again = plan.rows "gelu" ... ins(%h : ...) ...
    %dw = plan.gemm %dz, %again transpose_a : ...
    %dh = plan.rows "gelu_grad" ... ins(%dy, %h : ...) ...
    ```

    When it is done the backward part reads no result of a row kernel of the forward part that has one result, of access
    `row`, and all of whose operands live until the first such read anyway.
  }];
  let dependentDialects = ["::seqpar::plan::PlanDialect"];
  let statistics = [Statistic<"numKernels", "kernels", "Number of kernels that run twice">];
}

def FuseEpilogues : Pass<"fuse-epilogues", "::mlir::ModuleOp"> {
  let summary = "products add a bias and apply GeLU before they store";
  let description = [{
    Expects value form. Directly in a micro-batch: where a product's one reader adds a bias that is a parameter, and not
    only row kernels of the block read the sum, the product adds it; where GeLU (tanh form, in 16 bits) follows, the
    product applies it and saves the sum.

    ```mlir
    // before
    %u = plan.gemm %x, %w transpose_b : ...
    %h = plan.rows "bias" ... ins(%u, %b : ...) ...
    %y = plan.rows "gelu" ... ins(%h : ...) ...
    // after
    %c = plan.rows "cast" ... ins(%b : ...) ...
    %y, %h = plan.gemm %x, %w transpose_b bias(%c : ...) gelu : ...
    ```

    When it is done no such row kernel of the micro-batch itself reads a product.
  }];
  let dependentDialects = ["::seqpar::plan::PlanDialect"];
  let statistics = [Statistic<"numProducts", "products", "Number of products with an epilogue">];
}

def FuseRows : Pass<"fuse-rows", "::mlir::ModuleOp"> {
  let summary = "chains of row kernels become one";
  let description = [{
    ```mlir
    // before
    %a = plan.rows "bias" ... ins(%g, %b : ...) ...
    %y = plan.rows "gelu" ... ins(%a : ...) ...
    // after
    %y = plan.rows "bias+gelu" ... ins(%g, %b : ...) ...
    ```

    Within a kernel nothing is rounded: what one part rounds to 16 bits for memory, a later part has as it was. So in 16
    bits the last bits of a result depend on what was merged, and with it on the cuts between pipeline stages.

    When it is done no row kernel only feeds, row by row, another one that it could be merged with.
  }];
  let dependentDialects = ["::seqpar::plan::PlanDialect"];
}

def Overlap : Pass<"overlap", "::mlir::ModuleOp"> {
  let summary = "splits each ring shift into a start and a wait around the work that needs neither";
  let description = [{
    Expects value form. Each `sp.ring_shift` becomes an `sp.ring_shift_start`, as early as its operands exist but not
    before an earlier ring loop has ended (what is received would be kept for too long), and an
    `sp.wait` before the first use of what is received (in a ring loop: at the latest before the yield). The wait
    names what was sent, so that it stays alive until then. Tags are unique in a stage.
  }];
  let dependentDialects = ["::seqpar::sp::SPDialect", "::seqpar::plan::PlanDialect"];
}

def Bufferize : Pass<"bufferize", "::mlir::ModuleOp"> {
  let summary = "turns values into buffers";
  let description = [{
    Expects value form, after `overlap`. Each value gets a `plan.buffer` (or the memory of the value that it updates
    in place, or of an input of its row kernel that dies there), each op its buffer form. `plan.accumulate` folds into
    the op that makes the value. Carried values of a ring loop that are received from a neighbour get two buffers and
    alternate. A value that is sent to another stage and not waited for in its micro-batch (a gradient) gets a buffer for
    the `whole_step` and a wait before it is written again.

    Promise: no tensor is left outside the bodies of row kernels. An update in place of a value that is read later
    is an error, not a copy.
  }];
  let options = [Option<"reuseInputs", "reuse-inputs", "bool", "true",
                        "let an output of a row kernel take over the buffer of an input that dies there">];
  let dependentDialects = ["::seqpar::sp::SPDialect", "::seqpar::plan::PlanDialect"];
}

def AssignSegments : Pass<"assign-segments", "::mlir::ModuleOp"> {
  let summary = "gives parameters, gradients, moments, metrics and inputs their offsets";
  let description = [{
    Follows `computeStageLayout`: the offsets that the update's `plan.range` ops already rely on.
    Sets the sizes of all segments but the arena on `plan.stage`.
  }];
  let dependentDialects = ["::seqpar::plan::PlanDialect"];
}

def StartReductions : Pass<"start-reductions", "::mlir::ModuleOp"> {
  let summary = "gradients are reduced while the backward part still runs";
  let description = [{
    Expects buffer form and offsets. A reduction in the update of a range of gradients is begun in the micro-batch behind
    the last op that adds to one of them (in a step's last micro-batch only), and waited for where it was.

    ```mlir
    // before
    plan.micro_batch {
      plan.gemm %dy, %x transpose_a outs(%dw : !w) combine(add) : !y, !x
      ...
    }
    plan.update {
      %g = plan.range gradient at 0 : !g
      sp.all_reduce %g over [dp, sp] : !g
    // after
    plan.micro_batch {
      plan.gemm %dy, %x transpose_a outs(%dw : !w) combine(add) : !y, !x
      %g = plan.range gradient at 0 : !g
      sp.all_reduce %g over [dp, sp] tag 3 : !g
      ...
    }
    plan.update {
      sp.wait tag 3
    ```
  }];
  let dependentDialects = ["::seqpar::sp::SPDialect", "::seqpar::plan::PlanDialect"];
}

def AssignArena : Pass<"assign-arena", "::mlir::ModuleOp"> {
  let summary = "gives each buffer its offset in the arena";
  let description = [{
    Expects buffer form. Two buffers may share memory when they do not live at the same time. Greedy best fit is
    tried in several orders and the smallest arena kept. With several slots, buffers that live from the forward into the
    backward part have a copy in each slot; others lie in the holes of their micro-batch's slot, before such a buffer is
    written or after it was read last, or in memory that all micro-batches share. Sets `arena_bytes` and
    `arena_lower_bound`, the largest sum of sizes that live at any op, on `plan.stage`.
  }];
  let dependentDialects = ["::seqpar::plan::PlanDialect"];
  let statistics = [Statistic<"numBuffers", "buffers", "Number of buffers">];
}

def VerifyPlan : Pass<"verify-plan", "::mlir::ModuleOp"> {
  let summary = "checks that every op reads what was meant for it";
  let description = [{
    Follows the turns of a step, including up to four iterations of each ring loop, and keeps account of which buffers
    hold their value: writing a buffer destroys those that share bytes with it. Reports an op that reads
    a buffer before it is written or after it was overwritten, and one that touches a buffer in transit.
  }];
  let dependentDialects = ["::seqpar::plan::PlanDialect"];
}

def VerifyCommunication : Pass<"verify-communication", "::mlir::ModuleOp"> {
  let summary = "checks that the stages' communications meet, and that none waits for ever";
  let description = [{
    Follows a whole step of all stages at once. Ranks of one stage run the same ops, so only what goes between stages can
    go wrong: the k-th send of a tag must meet the k-th receive of that tag with as many bytes, and all stages must come
    to their reductions over the stages in one order with the same sizes. A send is taken to last until its receive has
    begun. When no stage can go on, an error names what each waits for. Communication in a `plan.rows_loop`, which runs a
    different number of times on each rank, is an error.
  }];
  let dependentDialects = ["::seqpar::plan::PlanDialect"];
}

//===- Phase emit --------------------------------------------------------------------------------===//

def WriteProgram : Pass<"write-program", "::mlir::ModuleOp"> {
  let summary = "writes the plan as a program file, without native code";
  let description = [{
    For inspection: `flatc --json --raw-binary program/program.fbs -- FILE` shows it as text. seqpar-run adds the native
    code of the kernels.
  }];
  let options = [Option<"output", "output", "std::string", "\"-\"", "file to write">,
                 Option<"microBatches", "micro-batches", "int64_t", "1", "micro-batches of one step and replica">];
  let dependentDialects = ["::seqpar::plan::PlanDialect"];
}

#endif
