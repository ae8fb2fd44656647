//===- RowKernels.cpp - a program's row kernels on the CPU ----------------===//

#include "seqpar/rt/cpu/RowKernels.h"

#include "seqpar/program/program_generated.h"
#include "seqpar/rt/Error.h"

#include <algorithm>
#include <cstring>

namespace seqpar::rt {

namespace {

/// Sums over rows are made of at most this many partial sums of at least so many rows.
constexpr int64_t kMaxSlices = 16, kRowsPerSlice = 128;

/// Below this many elements waking another thread costs more than it saves.
constexpr int64_t kWorthSplitting = 1 << 17;

int64_t sliceCount(int64_t rows) {
  return std::clamp<int64_t>(rows / kRowsPerSlice, 1, kMaxSlices);
}

size_t roundUp(size_t bytes) { return (bytes + 63) / 64 * 64; }

size_t elementBytes(program::DataType type) {
  switch (type) {
  case program::DataType::F64:
    return 8;
  case program::DataType::BF16:
  case program::DataType::F16:
    return 2;
  default:
    return 4;
  }
}

template <typename T> void addTo(void *to, const void *from, size_t bytes) {
  T *target = static_cast<T *>(to);
  const T *source = static_cast<const T *>(from);
  for (size_t i = 0; i < bytes / sizeof(T); ++i)
    target[i] += source[i];
}

} // namespace

RowKernels::RowKernels(ThreadPool &pool, const program::Program &program, const std::string &target)
    : pool(pool), image(program, target) {
  size_t operands = 0, bytes = 0;
  for (int i = 0; i < int(program.kernels()->size()); ++i) {
    kernels.push_back(describe(program, i));
    operands = std::max(operands, kernels.back().operands);
    bytes = std::max(bytes, kernels.back().sliceBytes);
  }
  operandsOfSlices.resize(operands * kMaxSlices);
  scratch.atLeast(bytes * kMaxSlices);
}

RowKernels::Kernel RowKernels::describe(const program::Program &program, int index) const {
  const program::Kernel &kernel = *program.kernels()->Get(index);
  Kernel result;
  result.name = kernel.symbol()->str();
  for (const program::KernelOperand *operand : *kernel.operands()) {
    size_t columns = std::max<int64_t>(operand->columns(), 1);
    result.elementsPerRow += columns;
    result.inOrder |= operand->access() == program::Access::ScatterAdd;
    if (operand->access() == program::Access::SumRows) {
      if (operand->type() != program::DataType::F32 && operand->type() != program::DataType::F64 &&
          operand->type() != program::DataType::I32)
        fail("kernel {}: expected sums over rows in f32, f64 or i32, found {}", result.name,
             int(operand->type()));
      size_t size = columns * elementBytes(operand->type());
      result.sums.push_back({result.operands, size, size_t(operand->type()), result.sliceBytes});
      result.sliceBytes += roundUp(size);
    }
    ++result.operands;
  }
  return result;
}

void RowKernels::run(const RowKernelArgs &args) {
  if (args.kernel < 0 || args.kernel >= int(kernels.size()))
    fail("expected a kernel from 0 to {}, found {}", int(kernels.size()) - 1, args.kernel);
  const Kernel &kernel = kernels[args.kernel];
  if (args.operands.size() != kernel.operands)
    fail("kernel {}: expected {} operands, found {}", kernel.name, kernel.operands,
         args.operands.size());
  int64_t slices = sliceCount(args.rows);
  if (!kernel.sums.empty() && !kernel.inOrder && slices > 1)
    return runSummed(kernel, args, slices);

  if (!args.accumulate)
    for (const Sum &sum : kernel.sums)
      std::memset(args.operands[sum.operand], 0, sum.bytes);
  if (args.rows <= 0)
    return;
  KernelImage::Function function = image.function(args.kernel);
  if (kernel.inOrder || !kernel.sums.empty() || args.rows * kernel.elementsPerRow < kWorthSplitting)
    return function(args.operands.data(), 0, args.rows);
  pool.parallelFor(args.rows, [&](int64_t begin, int64_t end, int) {
    function(args.operands.data(), begin, end);
  });
}

void RowKernels::runSummed(const Kernel &kernel, const RowKernelArgs &args, int64_t slices) {
  KernelImage::Function function = image.function(args.kernel);
  char *memory = static_cast<char *>(scratch.atLeast(0));
  std::memset(memory, 0, slices * kernel.sliceBytes);
  auto runSlices = [&](int64_t begin, int64_t end, int) {
    for (int64_t slice = begin; slice < end; ++slice) {
      void **operands = operandsOfSlices.data() + slice * kernel.operands;
      std::copy(args.operands.begin(), args.operands.end(), operands);
      for (const Sum &sum : kernel.sums)
        operands[sum.operand] = memory + slice * kernel.sliceBytes + sum.offset;
      function(operands, args.rows * slice / slices, args.rows * (slice + 1) / slices);
    }
  };
  if (args.rows * kernel.elementsPerRow < kWorthSplitting)
    runSlices(0, slices, 0);
  else
    pool.parallelFor(slices, runSlices);
  for (const Sum &sum : kernel.sums) {
    void *to = args.operands[sum.operand];
    if (!args.accumulate)
      std::memset(to, 0, sum.bytes);
    for (int64_t slice = 0; slice < slices; ++slice) {
      const char *from = memory + slice * kernel.sliceBytes + sum.offset;
      switch (program::DataType(sum.elementType)) {
      case program::DataType::F64:
        addTo<double>(to, from, sum.bytes);
        break;
      case program::DataType::I32:
        addTo<int32_t>(to, from, sum.bytes);
        break;
      default:
        addTo<float>(to, from, sum.bytes);
      }
    }
  }
}

} // namespace seqpar::rt
