//===- NNBase.td - Dialect nn: dialect, enumerations, types, op classes -----------------------===//

#ifndef SEQPAR_DIALECT_NN_NNBASE_TD
#define SEQPAR_DIALECT_NN_NNBASE_TD

include "mlir/IR/EnumAttr.td"
include "mlir/IR/OpBase.td"
include "mlir/IR/SymbolInterfaces.td"
include "mlir/Interfaces/SideEffectInterfaces.td"
include "seqpar/Interfaces/DifferentiableOpInterface.td"
include "seqpar/Interfaces/LayoutOpInterface.td"
include "seqpar/Interfaces/PlanLoweringOpInterface.td"

def NN_Dialect : Dialect {
  let name = "nn";
  let cppNamespace = "::seqpar::nn";
  let summary = "A neural network as one writes it, and its training step";
  let description = [{
    A model (`nn.model`) is a list of parameters and ops on whole tensors: shapes are those of one micro-batch, for the
    whole sequence; nothing says how many ranks there are. Activations and parameters are f32, ids and masks i32. The
    number of samples (written B below) and of positions (L) may be `?` until pass `bind-shapes`.

    `differentiate` turns a model into a training step (`nn.step`): forward and backward of one micro-batch, which
    accumulates gradients, and an update, which applies them. The ops whose names end in `_grad` and the linear
    gradients exist for it; a model file has no use for them.

    Tensor types may carry an encoding (the layout of dialect `sp`). Verifiers of this dialect compare shapes and
    element types only.
  }];
}

//===- Enumerations ---------------------------------------------------------------------------===//

def NN_InputKind : I32EnumAttr<"InputKind", "what the feed provides", [
  I32EnumAttrCase<"Tokens", 0, "tokens">, I32EnumAttrCase<"Types", 1, "types">,
  I32EnumAttrCase<"Positions", 2, "positions">, I32EnumAttrCase<"PaddingMask", 3, "padding_mask">,
  I32EnumAttrCase<"LossMask", 4, "loss_mask">, I32EnumAttrCase<"Labels", 5, "labels">,
  I32EnumAttrCase<"SentenceOrder", 6, "sentence_order">,
  I32EnumAttrCase<"InverseLossTokens", 7, "inverse_loss_tokens">,
  I32EnumAttrCase<"InverseSamples", 8, "inverse_samples">
]> { let cppNamespace = "::seqpar::nn"; }

def NN_InitializerKind : I32EnumAttr<"InitializerKind", "how a parameter starts", [
  I32EnumAttrCase<"Zeros", 0, "zeros">, I32EnumAttrCase<"Ones", 1, "ones">,
  I32EnumAttrCase<"Normal", 2, "normal">
]> { let cppNamespace = "::seqpar::nn"; }

def NN_GeluForm : I32EnumAttr<"GeluForm", "which GeLU", [
  I32EnumAttrCase<"Tanh", 0, "tanh">, I32EnumAttrCase<"Erf", 1, "erf">
]> { let cppNamespace = "::seqpar::nn"; }

def NN_MetricKind : I32EnumAttr<"MetricKind", "a part of the loss", [
  I32EnumAttrCase<"Mlm", 0, "mlm">, I32EnumAttrCase<"Sop", 1, "sop">
]> { let cppNamespace = "::seqpar::nn"; }

//===- Types ----------------------------------------------------------------------------------===//

def NN_Float : RankedTensorOf<[F32]>;
def NN_Int : RankedTensorOf<[I32]>;
def NN_Any : RankedTensorOf<[F32, I32]>;
def NN_Scalar : TensorRankOf<[F32], [0]>;
// A scalar without encoding, so that its type need not be written.
def NN_PlainScalar : Type<CPred<"$_self == ::mlir::RankedTensorType::get({}, "
                                "::mlir::Float32Type::get($_self.getContext()))">, "tensor<f32>">,
                     BuildableType<"::mlir::RankedTensorType::get({}, $_builder.getF32Type())">;

//===- Op classes -----------------------------------------------------------------------------===//

class NN_Op<string mnemonic, list<Trait> traits = []> : Op<NN_Dialect, mnemonic, traits>;

// An op on tensors without side effects, with a layout rule.
class NN_LayoutOp<string mnemonic, list<Trait> traits = []>
    : NN_Op<mnemonic, !listconcat([Pure, DeclareOpInterfaceMethods<LayoutOpInterface>], traits)>;

// One that becomes ops of dialect plan by itself.
class NN_TensorOp<string mnemonic, list<Trait> traits = []>
    : NN_LayoutOp<mnemonic, !listconcat([DeclareOpInterfaceMethods<PlanLoweringOpInterface>], traits)>;

// A tensor op of a model: it can be differentiated.
class NN_ForwardOp<string mnemonic, list<Trait> traits = []>
    : NN_TensorOp<mnemonic, !listconcat([DeclareOpInterfaceMethods<DifferentiableOpInterface>], traits)>;

#endif
