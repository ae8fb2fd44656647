//===- EmitSums.cpp - sums over rows and additions to tables --------------===//
//
// The order of all additions depends on the number of rows and the kernel alone, so that a run on
// the same data gives the same bits on any GPU.
//
//===----------------------------------------------------------------------===//
#include "EmitRows.h"

#include "mlir/IR/TypeUtilities.h"

using namespace mlir;
using namespace seqpar;
using namespace seqpar::cuda;
using llvm::formatv;

/// Threads that add parts side by side, each for a column of its own.
static constexpr int64_t kLanes = 32;
static constexpr int kSumsThreads = 256;
static constexpr int kMaxScatterThreads = 256, kMaxScatterBlocks = 1 << 16;

/// "+ N", or nothing.
static std::string plus(int64_t offset) {
  return offset == 0 ? "" : formatv(" + {0}", offset).str();
}

/// Where the parts start in the workspace.
static std::string afterRows(int64_t rowBytes) {
  return rowBytes == 0 ? "workspace" : formatv("workspace + rows * {0}", rowBytes).str();
}

std::string RowEmitter::getPartAddress(int64_t offset, const std::string &type) const {
  return formatv("reinterpret_cast<{0} *>({1} + part * {2}{3})", type, afterRows(shape.rowBytes),
                 shape.partBytes, plus(offset));
}

void RowEmitter::emitSumsFunction() {
  std::string symbol = kernel.symbol + "_sums";
  int64_t blocks = 1;
  bool hasParts = false;
  for (const RowSum &sum : shape.sums) {
    if (RowPhases::isRow(sum.value))
      blocks = (shape.columns + kLanes - 1) / kLanes;
    hasParts |= sum.rowOutput < 0;
  }
  kernel.cuda.launches.push_back({symbol, kSumsThreads, 0, int(blocks), int(shape.sums.size()), 0});
  text.blank();
  openFunction(symbol, kSumsThreads, true, true);
  if (hasParts) {
    if (shape.isWarp())
      text.line("const long long blocks = (rows + {0}) / {1};", shape.rowsPerBlock - 1,
                shape.rowsPerBlock);
    else
      text.add("const long long blocks = rows;");
    text.line("const long long parts = (blocks < {0} ? blocks : {0}) * {1};", shape.maxBlocks,
              shape.rowsPerBlock);
  }
  for (auto [i, sum] : llvm::enumerate(shape.sums)) {
    Type element = getElementTypeOrSelf(sum.value.getType());
    std::string type = getComputeType(element);
    int64_t columns = RowPhases::isRow(sum.value) ? shape.columns : 1;
    std::string source = sum.rowOutput >= 0 ? formatv("out{0}", sum.rowOutput).str()
                                            : formatv("reinterpret_cast<const {0} *>({1}{2})", type,
                                                      afterRows(shape.rowBytes), plus(sum.offset))
                                                  .str();
    int64_t stride = sum.rowOutput >= 0 ? columns : shape.partBytes / getComputeBytes(element);
    text.line("if (blockIdx.y == {0})", i);
    text.line("  sumParts<{0}, {1}>(out{2}, {3}, {4}, {5}, {6}, accumulate);",
              columns > 1 ? kLanes : 1, type, sum.output, source, stride, columns,
              sum.rowOutput >= 0 ? "rows" : "parts");
  }
  text.close();
}

void RowEmitter::emitScatterFunction(const RowScatter &scatter) {
  Type element = getElementTypeOrSelf(getYielded(scatter.output).getType());
  std::string symbol = formatv("{0}_scatter_{1}", kernel.symbol, scatter.output);
  int64_t loads = shape.columns / shape.width;
  int threads = int(std::min<int64_t>(kMaxScatterThreads, (loads + 31) / 32 * 32));
  kernel.cuda.launches.push_back({symbol, threads, 1, kMaxScatterBlocks});
  bool isInput = scatter.source >= 0;
  std::string type = getComputeType(element);
  std::string source =
      isInput ? formatv("in{0}", scatter.source).str()
              : formatv("reinterpret_cast<const {0} *>(workspace{1})", type, plus(scatter.offset))
                    .str();
  text.blank();
  openFunction(symbol, threads, !isInput, false);
  text.line("scatterAdd<{0}, {1}, {2}, {3}>(out{4}, {5}, {6}, in{7}, rows);", threads, shape.width,
            shape.columns, type, scatter.output, source,
            isInput ? shape.columns : shape.rowBytes / getComputeBytes(element),
            getOutput(scatter.output).index);
  text.close();
}
