//===- DeviceKernels.cpp - a program of the device tests' kernels ---------===//

#include "DeviceKernels.h"

#include "seqpar/program/program_generated.h"

namespace seqpar::rt::test {

using namespace program;

namespace {

using Specs = std::vector<KernelOperandSpec>;

const std::vector<std::pair<const char *, Specs>> &kernelTable() {
  constexpr DataType f32 = DataType::F32, i32 = DataType::I32, f64 = DataType::F64;
  static const std::vector<std::pair<const char *, Specs>> table = {
      {"scale_and_bias",
       {{Access::Row, kColumns, f32},
        {Access::RowScalar, 1, f32},
        {Access::Broadcast, kColumns, f32},
        {Access::Scalar, 1, f32},
        {Access::Row, kColumns, f32, -1, true}}},
      {"sum_rows",
       {{Access::Row, kColumns, f32},
        {Access::SumRows, kColumns, f32, -1, true},
        {Access::SumRows, 1, f64, -1, true},
        {Access::SumRows, 1, i32, -1, true},
        {Access::Row, kColumns, f32, -1, true}}},
      {"gather",
       {{Access::Gather, kColumns, f32, 1},
        {Access::RowScalar, 1, i32},
        {Access::Row, kColumns, f32, -1, true}}},
      {"scatter_add",
       {{Access::Row, kColumns, f32},
        {Access::RowScalar, 1, i32},
        {Access::ScatterAdd, kColumns, f32, 1, true}}}};
  return table;
}

flatbuffers::Offset<Kernel> kernel(flatbuffers::FlatBufferBuilder &builder, const char *symbol,
                                   const Specs &specs, const CudaWriter *cuda) {
  std::vector<flatbuffers::Offset<KernelOperand>> operands;
  for (const KernelOperandSpec &spec : specs)
    operands.push_back(CreateKernelOperand(builder, spec.access, spec.type, spec.columns,
                                           spec.index, spec.output));
  flatbuffers::Offset<CudaRowKernel> launches;
  if (cuda)
    launches = cuda->launches(builder, symbol, specs);
  return CreateKernelDirect(builder, symbol, &operands, kColumns, nullptr, launches);
}

} // namespace

const std::vector<KernelOperandSpec> &kernelOperands(TestKernel kernel) {
  return kernelTable()[size_t(kernel)].second;
}

std::vector<uint8_t> buildKernelProgram(const std::vector<CpuImage> &images, bool missing,
                                        const CudaWriter *cuda) {
  flatbuffers::FlatBufferBuilder builder;
  std::vector<flatbuffers::Offset<Kernel>> kernels;
  for (auto &[symbol, specs] : kernelTable())
    kernels.push_back(kernel(builder, symbol, specs, cuda));
  if (missing)
    kernels.push_back(kernel(builder, "no_such_kernel", {}, cuda));
  std::vector<flatbuffers::Offset<CpuObject>> objects;
  for (const CpuImage &image : images)
    objects.push_back(CreateCpuObjectDirect(builder, image.target.c_str(), &image.object));
  std::vector<flatbuffers::Offset<Stage>> stages;
  auto kernelOffset = builder.CreateVector(kernels);
  auto objectOffset = builder.CreateVector(objects);
  auto stageOffset = builder.CreateVector(stages);
  std::vector<flatbuffers::Offset<CudaCode>> code;
  if (cuda)
    code.push_back(writeCudaCode(builder, *cuda));
  auto codeOffset = builder.CreateVector(code);
  program::ProgramBuilder program(builder);
  program.add_kernels(kernelOffset);
  program.add_cpu(objectOffset);
  program.add_stages(stageOffset);
  program.add_cuda(codeOffset);
  builder.Finish(program.Finish(), ProgramIdentifier());
  return {builder.GetBufferPointer(), builder.GetBufferPointer() + builder.GetSize()};
}

} // namespace seqpar::rt::test
