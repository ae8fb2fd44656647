#include "seqpar/rt/cuda/RowKernels.h"

#include "seqpar/program/program_generated.h"

#include <algorithm>

namespace seqpar::rt::cuda {

namespace {

using Instructions = flatbuffers::Vector<flatbuffers::Offset<program::Instruction>>;

/// Calls found(kernel, rows) for each launch of a row kernel.
template <typename Found> void forEachLaunch(const Instructions *list, const Found &found) {
  for (unsigned i = 0; list && i < list->size(); ++i) {
    const program::Instruction *instruction = list->Get(i);
    if (auto *kernel = instruction->operation_as_RowKernel())
      found(kernel->kernel(), kernel->rows());
    else if (auto *ring = instruction->operation_as_RingLoop())
      forEachLaunch(ring->body(), found);
    else if (auto *rows = instruction->operation_as_RowsLoop())
      forEachLaunch(rows->body(), found);
  }
}

} // namespace

int64_t RowKernels::Launch::blocksFor(int64_t rows) const {
  if (rowsPerBlock == 0)
    return blocks;
  return std::min<int64_t>((rows + rowsPerBlock - 1) / rowsPerBlock, blocks);
}

uint64_t RowKernels::Kernel::workspaceFor(int64_t rows) const {
  if (rows <= 0)
    return 0;
  const Launch &first = launches.front();
  uint64_t parts = uint64_t(first.rowsPerBlock) * uint64_t(first.blocksFor(rows));
  return uint64_t(rows) * rowBytes + parts * partBytes;
}

RowKernels::RowKernels(const Context &context, const Images &images,
                       const program::Program &program)
    : context(context) {
  size_t mostOperands = 0;
  for (const program::Kernel *each : *program.kernels()) {
    Kernel kernel;
    kernel.name = each->symbol()->str();
    kernel.operands = each->operands()->size();
    if (!each->cuda())
      fail("the program has no CUDA code for its kernel {}; compile it for --device=cuda",
           kernel.name);
    kernel.partBytes = each->cuda()->part_bytes();
    kernel.rowBytes = each->cuda()->row_bytes();
    for (const program::CudaLaunch *launch : *each->cuda()->launches()) {
      CUfunction function = images.get(launch->symbol()->str());
      // Up to 48 KiB need no leave.
      if (launch->shared_bytes() > 48 * 1024)
        context.driver().check(
            context->cuFuncSetAttribute(function, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES,
                                        launch->shared_bytes()),
            "cannot give a kernel its shared memory");
      kernel.launches.push_back({function, unsigned(launch->threads()), unsigned(launch->blocks()),
                                 unsigned(launch->blocks_y()), unsigned(launch->shared_bytes()),
                                 launch->rows_per_block()});
    }
    mostOperands = std::max(mostOperands, kernel.operands);
    kernels.push_back(std::move(kernel));
  }
  arguments.resize(mostOperands + 3);
  uint64_t bytes = 0;
  auto found = [&](int kernel, int64_t rows) {
    bytes = std::max(bytes, kernels[size_t(kernel)].workspaceFor(rows));
  };
  for (const program::Stage *stage : *program.stages()) {
    forEachLaunch(stage->micro_batch(), found);
    forEachLaunch(stage->update(), found);
  }
  reserve(bytes, nullptr);
}

RowKernels::~RowKernels() { context.release(workspace); }

void RowKernels::reserve(uint64_t bytes, const Stream *stream) {
  if (bytes <= workspaceBytes)
    return;
  if (stream)
    stream->synchronize();
  context.release(std::exchange(workspace, 0));
  workspaceBytes = 0;
  workspace = context.allocate(bytes);
  workspaceBytes = bytes;
}

void RowKernels::run(const RowKernelArgs &args, const Stream &stream, bool mayWait) {
  if (args.kernel < 0 || args.kernel >= int(kernels.size()))
    fail("expected a kernel from 0 to {}, found {}", int(kernels.size()) - 1, args.kernel);
  Kernel &kernel = kernels[size_t(args.kernel)];
  if (args.operands.size() != kernel.operands)
    fail("kernel {}: expected {} operands, found {}", kernel.name, kernel.operands,
         args.operands.size());
  uint64_t needed = kernel.workspaceFor(args.rows);
  if (needed > workspaceBytes && !mayWait)
    fail("kernel {}: a recording needs a workspace of {} bytes, there are {}", kernel.name, needed,
         workspaceBytes);
  reserve(needed, &stream);
  // The driver reads as many as the kernel declares.
  for (size_t i = 0; i < kernel.operands; ++i)
    arguments[i] = const_cast<void **>(&args.operands[i]);
  long long rows = args.rows;
  int accumulate = args.accumulate;
  arguments[kernel.operands] = &rows;
  arguments[kernel.operands + 1] = &workspace;
  arguments[kernel.operands + 2] = &accumulate;
  for (const Launch &launch : kernel.launches) {
    int64_t blocks = launch.blocksFor(args.rows);
    if (blocks <= 0)
      continue;
    CUresult result = context->cuLaunchKernel(launch.function, unsigned(blocks), launch.blocksY, 1,
                                              launch.threads, 1, 1, launch.sharedBytes, stream,
                                              arguments.data(), nullptr);
    if (result != CUDA_SUCCESS)
      fail("kernel {}: cannot be launched: {}", kernel.name, context.driver().describe(result));
  }
}

} // namespace seqpar::rt::cuda
