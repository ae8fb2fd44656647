//===- RowKernelBench.cpp - the row kernels of a program ------------------===//

#include "RowKernelBench.h"

#include "Bench.h"

#include "seqpar/program/program_generated.h"
#include "seqpar/rt/Error.h"

#include <cstring>
#include <fstream>
#include <iterator>
#include <map>
#include <vector>

namespace seqpar::bench {

using namespace program;

namespace {

/// The launch of a kernel with the most rows.
struct Launch {
  const RowKernel *kernel;
  const Stage *stage;
};

using Instructions = flatbuffers::Vector<flatbuffers::Offset<Instruction>>;

void collect(const Stage &stage, const Instructions &instructions, std::map<int, Launch> &largest) {
  for (const Instruction *instruction : instructions) {
    if (const RingLoop *loop = instruction->operation_as_RingLoop())
      collect(stage, *loop->body(), largest);
    if (const RowsLoop *loop = instruction->operation_as_RowsLoop())
      collect(stage, *loop->body(), largest);
    if (const RowKernel *kernel = instruction->operation_as_RowKernel()) {
      Launch &launch = largest[kernel->kernel()];
      if (!launch.kernel || kernel->rows() > launch.kernel->rows())
        launch = {kernel, &stage};
    }
  }
}

/// Memory for one operand: floats in (0.5, 1), integers 0.
std::vector<char> operandMemory(const Launch &launch, const Operand &operand, DataType type) {
  if (operand.buffer() < 0 || operand.buffer() >= int(launch.stage->buffers()->size()))
    rt::fail("expected a buffer below {} in the program, found {}", launch.stage->buffers()->size(),
             operand.buffer());
  const Buffer &buffer = *launch.stage->buffers()->Get(operand.buffer());
  std::vector<char> memory(buffer.bytes() + 64);
  if (type == DataType::F32)
    for (size_t i = 0; i + 4 <= memory.size(); i += 4) {
      float value = 0.5f + 0.5f * float(i * 2654435761u % 65536) / 65536.0f;
      std::memcpy(memory.data() + i, &value, 4);
    }
  return memory;
}

size_t bytesMoved(const KernelOperand &operand, int64_t rows) {
  size_t element = operand.type() == DataType::F64 ? 8 : 4;
  size_t columns = std::max<int64_t>(operand.columns(), 1) * element;
  switch (operand.access()) {
  case Access::Broadcast:
  case Access::Scalar:
  case Access::SumRows:
    return columns;
  case Access::ScatterAdd:
    return 2 * rows * columns;
  default:
    return rows * columns;
  }
}

void benchLaunch(rt::Device &device, const Kernel &kernel, const Launch &launch) {
  int64_t rows = launch.kernel->rows();
  size_t bytes = 0;
  std::vector<std::vector<char>> memory;
  std::vector<void *> operands;
  for (unsigned i = 0; i < kernel.operands()->size(); ++i) {
    const KernelOperand &operand = *kernel.operands()->Get(i);
    bytes += bytesMoved(operand, rows);
    memory.push_back(operandMemory(launch, *launch.kernel->operands()->Get(i), operand.type()));
    operands.push_back(memory.back().data());
  }
  // memcpy reads and writes: half of the bytes each.
  std::vector<char> from(bytes / 2 + 1), to(bytes / 2 + 1);
  Pair time = compare(
      [&] {
        device.rowKernel({launch.kernel->kernel(), operands, rows, false});
        device.synchronize();
      },
      [&] {
        std::memcpy(to.data(), from.data(), bytes / 2);
        asm volatile("" : : "r"(to.data()) : "memory"); // or the copy would be optimised away
      },
      5);
  fmt::print("{{\"bench\":\"rowKernel\",\"kernel\":\"{}\",\"rows\":{},\"columns\":{},\"us\":{:.2f},"
             "\"gb_per_s\":{:.2f},\"limit\":{:.2f},\"ratio\":{:.3f}}}\n",
             kernel.symbol()->str(), rows, kernel.columns(), time.first * 1e6,
             1e-9 * double(bytes) / time.first, 1e-9 * double(bytes) / time.second,
             time.second / time.first);
}

} // namespace

void benchRowKernels(rt::Device &device, const std::string &programFile) {
  std::ifstream file(programFile, std::ios::binary);
  std::vector<char> bytes{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  flatbuffers::Verifier verifier(reinterpret_cast<const uint8_t *>(bytes.data()), bytes.size());
  if (!VerifyProgramBuffer(verifier))
    rt::fail("expected a program, found something else in {}", programFile);
  const Program &program = *GetProgram(bytes.data());
  device.loadKernels(program);
  std::map<int, Launch> largest;
  for (const Stage *stage : *program.stages()) {
    collect(*stage, *stage->micro_batch(), largest);
    collect(*stage, *stage->update(), largest);
  }
  for (const auto &[number, launch] : largest)
    if (launch.kernel->rows() > 0)
      benchLaunch(device, *program.kernels()->Get(number), launch);
}

} // namespace seqpar::bench
