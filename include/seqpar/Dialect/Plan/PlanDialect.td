//===- PlanDialect.td - what a rank does --------------------*- tablegen -*-===//
#ifndef SEQPAR_DIALECT_PLAN_PLANDIALECT_TD
#define SEQPAR_DIALECT_PLAN_PLANDIALECT_TD

include "mlir/IR/OpBase.td"
include "mlir/IR/AttrTypeBase.td"
include "mlir/IR/EnumAttr.td"

def Plan_Dialect : Dialect {
  let name = "plan";
  let summary = "What one rank does: buffers, GEMMs, row kernels, loops";
  let description = [{
    A `plan.program` holds one `plan.stage` per pipeline stage: declarations of parameters,
    gradients, inputs and metrics, then what is run once per micro-batch and once per step.
    All shapes are a rank's own.

    Ops exist in two forms. In value form they take tensors and return tensors; memory that
    outlives the micro-batch (parameters, gradients, inputs) is a memref from the start. In buffer
    form, after `bufferize`, all operands are memrefs and results have become `outs`.
  }];
  let cppNamespace = "::seqpar::plan";
  let useDefaultAttributePrinterParser = 1;
  let dependentDialects = ["::seqpar::sp::SPDialect", "::mlir::arith::ArithDialect", "::mlir::math::MathDialect",
                           "::mlir::tensor::TensorDialect"];
}

class Plan_Attr<string name, string mnemonicName, list<Trait> traits = []> : AttrDef<Plan_Dialect, name, traits> {
  let mnemonic = mnemonicName;
}

//===----------------------------------------------------------------------===//
// Enums: the numbers are those of program.fbs.
//===----------------------------------------------------------------------===//

class Plan_Enum<string name, string summary, list<I32EnumAttrCase> cases> : I32EnumAttr<name, summary, cases> {
  let cppNamespace = "::seqpar::plan";
  let genSpecializedAttr = 0;
}

def Plan_AccessKind : Plan_Enum<"AccessKind", "how an operand relates to the row of a row kernel", [
  I32EnumAttrCase<"Row", 0, "row">, I32EnumAttrCase<"Broadcast", 1, "broadcast">,
  I32EnumAttrCase<"RowScalar", 2, "row_scalar">, I32EnumAttrCase<"Scalar", 3, "scalar">,
  I32EnumAttrCase<"Gather", 4, "gather">, I32EnumAttrCase<"SumRows", 5, "sum_rows">,
  I32EnumAttrCase<"ScatterAdd", 6, "scatter_add">, I32EnumAttrCase<"Scatter", 7, "scatter">]>;

def Plan_Combine : Plan_Enum<"Combine", "how a result combines with what its buffer holds", [
  I32EnumAttrCase<"Overwrite", 0, "overwrite">, I32EnumAttrCase<"Add", 1, "add">,
  I32EnumAttrCase<"AddAfterFirstMicroBatch", 2, "add_after_first_micro_batch">]>;
def Plan_CombineAttr : EnumAttr<Plan_Dialect, Plan_Combine, "combine">;

def Plan_ActiveRows : Plan_Enum<"ActiveRows", "which GEMM extent is the number of rows of the present chunk", [
  I32EnumAttrCase<"None", 0, "none">, I32EnumAttrCase<"M", 1, "m">, I32EnumAttrCase<"K", 2, "k">]>;
def Plan_ActiveRowsAttr : EnumAttr<Plan_Dialect, Plan_ActiveRows, "active_rows">;

def Plan_Segment : Plan_Enum<"Segment", "memory that a rank allocates once", [
  I32EnumAttrCase<"Arena", 0, "arena">, I32EnumAttrCase<"Parameter", 1, "parameter">,
  I32EnumAttrCase<"Gradient", 2, "gradient">, I32EnumAttrCase<"OptimizerState", 3, "optimizer_state">,
  I32EnumAttrCase<"Input", 4, "input">]>;
def Plan_SegmentAttr : EnumAttr<Plan_Dialect, Plan_Segment, "segment">;

def Plan_InputKind
    : Plan_Enum<"InputKind", "what the feed or the executor writes",
                [I32EnumAttrCase<"Tokens", 0, "tokens">, I32EnumAttrCase<"Types", 1, "types">,
                 I32EnumAttrCase<"Positions", 2, "positions">,
                 I32EnumAttrCase<"PaddingMask", 3, "padding_mask">,
                 I32EnumAttrCase<"MaskedRows", 4, "masked_rows">,
                 I32EnumAttrCase<"MaskedLabels", 5, "masked_labels">,
                 I32EnumAttrCase<"SentenceOrder", 6, "sentence_order">,
                 I32EnumAttrCase<"SampleNumbers", 7, "sample_numbers">,
                 I32EnumAttrCase<"InverseLossTokens", 8, "inverse_loss_tokens">,
                 I32EnumAttrCase<"InverseSamples", 9, "inverse_samples">,
                 I32EnumAttrCase<"LearningRate", 10, "learning_rate">,
                 I32EnumAttrCase<"BiasCorrection1", 11, "bias_correction1">,
                 I32EnumAttrCase<"BiasCorrection2", 12, "bias_correction2">,
                 I32EnumAttrCase<"Step", 13, "step">, I32EnumAttrCase<"ClipNorm", 14, "clip_norm">,
                 I32EnumAttrCase<"WeightDecay", 15, "weight_decay">,
                 I32EnumAttrCase<"Seed", 16, "seed">,
                 I32EnumAttrCase<"FirstTokenRows", 17, "first_token_rows">,
                 I32EnumAttrCase<"RowSamples", 18, "row_samples">,
                 I32EnumAttrCase<"Training", 19, "training">,
                 I32EnumAttrCase<"Constant", 20, "constant">,
                 I32EnumAttrCase<"ScaledInverseLossTokens", 21, "scaled_inverse_loss_tokens">,
                 I32EnumAttrCase<"ScaledInverseSamples", 22, "scaled_inverse_samples">,
                 I32EnumAttrCase<"InverseLossScale", 23, "inverse_loss_scale">]>;
def Plan_InputKindAttr : EnumAttr<Plan_Dialect, Plan_InputKind, "input_kind">;

def Plan_Initializer : Plan_Enum<"Initializer", "initial value of a parameter", [
  I32EnumAttrCase<"Zeros", 0, "zeros">, I32EnumAttrCase<"Ones", 1, "ones">, I32EnumAttrCase<"Normal", 2, "normal">]>;
def Plan_InitializerAttr : EnumAttr<Plan_Dialect, Plan_Initializer, "initializer">;

def Plan_MetricKind : Plan_Enum<"MetricKind", "a number of the step that the log shows", [
  I32EnumAttrCase<"MlmLoss", 0, "mlm_loss">, I32EnumAttrCase<"SopLoss", 1, "sop_loss">,
  I32EnumAttrCase<"GradientNorm", 2, "gradient_norm">]>;
def Plan_MetricKindAttr : EnumAttr<Plan_Dialect, Plan_MetricKind, "metric_kind">;

def Plan_ReduceKind : Plan_Enum<"ReduceKind", "reduction of a row", [
  I32EnumAttrCase<"Add", 0, "add">, I32EnumAttrCase<"Max", 1, "max">]>;
def Plan_ReduceKindAttr : EnumAttr<Plan_Dialect, Plan_ReduceKind, "reduce">;

def Plan_AccessAttr : Plan_Attr<"Access", "access"> {
  let summary = "how an operand relates to the row of a row kernel";
  let description = [{
    `#plan.access<row>`; `gather`, `scatter` and `scatter_add` name the input that holds the table
    row's number (i32, access row_scalar): `#plan.access<gather 2>`. A negative number gathers zeros
    and scatters nothing.
  }];
  let parameters = (ins EnumParameter<Plan_AccessKind>:$kind, DefaultValuedParameter<"int64_t", "-1">:$index);
  let hasCustomAssemblyFormat = 1;
  let builders = [AttrBuilder<(ins "AccessKind":$kind), [{ return $_get($_ctxt, kind, -1); }]>];
  let genVerifyDecl = 1;
  let extraClassDeclaration = [{
    bool isIndexed() const {
      return getKind() == AccessKind::Gather || getKind() == AccessKind::ScatterAdd || getKind() == AccessKind::Scatter;
    }
  }];
}
def Plan_AccessArrayAttr : TypedArrayAttrBase<Plan_AccessAttr, "array of accesses">;

#endif // SEQPAR_DIALECT_PLAN_PLANDIALECT_TD
