//===- SPDialect.td - layouts and movement ------------------*- tablegen -*-===//
#ifndef SEQPAR_DIALECT_SP_SPDIALECT_TD
#define SEQPAR_DIALECT_SP_SPDIALECT_TD

include "mlir/IR/OpBase.td"
include "mlir/IR/AttrTypeBase.td"
include "mlir/IR/EnumAttr.td"
include "mlir/IR/TensorEncoding.td"

def SP_Dialect : Dialect {
  let name = "sp";
  let summary = "How tensors are laid out over the ranks of a grid, and how they move";
  let description = [{
    A tensor of a sharded program keeps its global shape and carries a layout as its encoding:
    `tensor<4x512x768xf32, #sp.layout<[dp, sp, -]>>` is split over the data parallel axis along its
    first dimension and over the sequence parallel axis along its second;
    `#sp.layout<[-, -], partial [dp, sp]>` is a value of which each rank holds one summand.
    Collectives change the layout and nothing else.

    Ring operations are used at three levels: on global tensors with layouts, on a rank's local
    tensors (after `localize`), and on buffers (after `bufferize`), where results become `outs`.
  }];
  let cppNamespace = "::seqpar::sp";
  let useDefaultAttributePrinterParser = 1;
  let extraClassDeclaration = [{ void registerAttributes(); }];
}

def SP_AxisDP : I32EnumAttrCase<"DP", 0, "dp">;
def SP_AxisPP : I32EnumAttrCase<"PP", 1, "pp">;
def SP_AxisSP : I32EnumAttrCase<"SP", 2, "sp">;
def SP_Axis : I32EnumAttr<"Axis", "axis of the grid", [SP_AxisDP, SP_AxisPP, SP_AxisSP]> {
  let cppNamespace = "::seqpar::sp";
  let genSpecializedAttr = 0;
}

def SP_BlockOwn : I32EnumAttrCase<"Own", 0, "own">;
def SP_BlockRing : I32EnumAttrCase<"Ring", 1, "ring">;
def SP_BlockWhole : I32EnumAttrCase<"Whole", 2, "whole">;
def SP_KeyBlock : I32EnumAttr<"KeyBlock", "which keys a block holds", [SP_BlockOwn, SP_BlockRing, SP_BlockWhole]> {
  let cppNamespace = "::seqpar::sp";
}

class SP_Attr<string name, string mnemonicName, list<Trait> traits = []> : AttrDef<SP_Dialect, name, traits> {
  let mnemonic = mnemonicName;
}

def SP_GridAttr : SP_Attr<"Grid", "grid"> {
  let summary = "number of ranks along each axis";
  let description = [{
    `#sp.grid<dp = 2, pp = 1, sp = 8>`. The sequence axis is fastest, then the stages, then the
    replicas: `rank = (dp * PP + pp) * SP + sp`.
  }];
  let parameters = (ins "int64_t":$dp, "int64_t":$pp, "int64_t":$sp);
  let assemblyFormat = "`<` struct(params) `>`";
  let genVerifyDecl = 1;
  let extraClassDeclaration = [{
    int64_t getSize(Axis axis) const {
      return axis == Axis::DP ? getDp() : axis == Axis::PP ? getPp() : getSp();
    }
    int64_t getNumRanks() const { return getDp() * getPp() * getSp(); }
  }];
}

def SP_LayoutAttr
    : SP_Attr<"Layout", "layout", [DeclareAttrInterfaceMethods<VerifiableTensorEncoding>]> {
  let summary = "how a tensor is spread over the grid";
  let description = [{
    One entry per dimension, an axis or `-`, then the axes over which the value is a sum of what
    the ranks hold: `#sp.layout<[dp, sp, -]>`, `#sp.layout<[-, -], partial [dp, sp]>`. An axis
    occurs at most once. Axes not named: every rank along them holds the same.
    Splitting a dimension of extent n over P ranks gives each rank ceil(n / P) positions, of which
    the last may lie past the end.
  }];
  let parameters = (ins ArrayRefParameter<"int32_t">:$splits, ArrayRefParameter<"Axis">:$partial);
  let hasCustomAssemblyFormat = 1;
  let genVerifyDecl = 1;
  let extraClassDeclaration = [{
    static constexpr int32_t kNone = -1;
    bool isPartial() const { return !getPartial().empty(); }
    bool isPartialOver(Axis axis) const { return llvm::is_contained(getPartial(), axis); }
    bool isSplit() const {
      return llvm::any_of(getSplits(), [](int32_t split) { return split != kNone; });
    }
    /// The dimension split over `axis`, or nothing.
    std::optional<int64_t> getDimSplitOver(Axis axis) const;
  }];
}

#endif // SEQPAR_DIALECT_SP_SPDIALECT_TD
