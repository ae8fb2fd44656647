#include "RowKernelCases.h"

#include <cmath>

using namespace mlir;

namespace seqpar::test {

namespace {

constexpr double kTolerance = 1e-5;

void layerNorm(MLIRContext &context, int64_t columns, CheckCase check) {
  if (columns == 1)
    return; // its variance is 0
  RowKernelCase kernel(context, "layer-norm.mlir", {5, columns});
  check(kernel, kTolerance);
  for (unsigned input : {0, 1}) {
    RowKernelCase inPlace(context, "layer-norm.mlir", {5, columns});
    inPlace.shareMemory(0, input);
    inPlace.shareMemory(1, 1 - input);
    check(inPlace, kTolerance);
  }
}

void layerNormGrad(MLIRContext &context, int64_t columns, CheckCase check) {
  RowKernelCase kernel(context, "layer-norm-grad.mlir", {5, columns});
  check(kernel, kTolerance);
  for (unsigned input : {0, 4}) {
    RowKernelCase inPlace(context, "layer-norm-grad.mlir", {5, columns});
    inPlace.shareMemory(0, input);
    check(inPlace, kTolerance);
  }
}

void sumOfSquares(MLIRContext &context, int64_t columns, CheckCase check) {
  RowKernelCase kernel(context, "sum-of-squares.mlir", {25, columns});
  check(kernel, 1e-6);
}

void gelu(MLIRContext &context, int64_t columns, CheckCase check) {
  for (const char *file :
       {"bias-gelu-tanh.mlir", "gelu-tanh-grad.mlir", "bias-gelu-erf.mlir", "gelu-erf-grad.mlir"}) {
    RowKernelCase kernel(context, file, {5, columns});
    check(kernel, kTolerance);
    kernel.shareMemory(0, 0);
    check(kernel, kTolerance);
  }
}

void crossEntropy(MLIRContext &context, int64_t columns, CheckCase check) {
  RowKernelCase kernel(context, "cross-entropy.mlir", {9, columns, columns});
  kernel.operands[2].i[0] = -1;
  check(kernel, kTolerance);
  kernel.shareMemory(0, 0);
  check(kernel, kTolerance);
}

void embedding(MLIRContext &context, int64_t columns, CheckCase check) {
  RowKernelCase kernel(context, "embedding.mlir", {9, columns});
  for (int operand : {3, 4, 5})
    kernel.operands[operand].i[2] = -1;
  check(kernel, kTolerance);
}

void scatter(MLIRContext &context, int64_t columns, CheckCase check) {
  for (int64_t rows : {1, 9, 300}) {
    RowKernelCase kernel(context, "scatter.mlir", {rows, columns});
    for (int64_t row = 0; row < rows; ++row)
      kernel.operands[2].i[row] = row == 4 ? -1 : rows - 1 - row;
    check(kernel, kTolerance);
  }
}

void adamw(MLIRContext &context, int64_t columns, CheckCase check) {
  RowKernelCase kernel(context, "adamw.mlir", {5, columns});
  for (double &value : kernel.operands[3].f)
    value = std::fabs(value);
  kernel.operands[4].f = {1e-3};
  kernel.operands[5].f = {10};
  kernel.operands[6].f = {1000};
  check(kernel, kTolerance);
}

void biasResidual(MLIRContext &context, int64_t columns, CheckCase check) {
  RowKernelCase kernel(context, "bias-residual.mlir", {5, columns});
  check(kernel, 1e-6);
  kernel.shareMemory(0, 2);
  check(kernel, 1e-6);
}

void integers(MLIRContext &context, int64_t columns, CheckCase check) {
  RowKernelCase kernel(context, "integers.mlir", {9, columns});
  for (int64_t &sample : kernel.operands[1].i)
    sample = sample * 1234567 % 0x7fffffff;
  check(kernel, kTolerance);
  kernel.shareMemory(0, 0);
  check(kernel, kTolerance);
}

void dropout(MLIRContext &context, int64_t columns, CheckCase check) {
  for (int64_t training : {0, 1}) {
    RowKernelCase kernel(context, "dropout.mlir", {9, columns});
    kernel.operands[3].i = {65535};
    kernel.operands[4].i = {training};
    check(kernel, kTolerance);
    kernel.shareMemory(0, 0);
    check(kernel, kTolerance);
  }
}

} // namespace

std::vector<SharedCase> sharedCases() {
  return {{"layerNorm", layerNorm},
          {"layerNormGrad", layerNormGrad},
          {"sumOfSquares", sumOfSquares},
          {"gelu", gelu},
          {"crossEntropy", crossEntropy},
          {"embedding", embedding},
          {"scatter", scatter},
          {"adamw", adamw},
          {"biasResidual", biasResidual},
          {"integers", integers},
          {"dropout", dropout}};
}

} // namespace seqpar::test
