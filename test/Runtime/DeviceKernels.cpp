//===- DeviceKernels.cpp - a program of the device tests' kernels ---------===//

#include "DeviceKernels.h"

#include "seqpar/program/program_generated.h"

namespace seqpar::rt::test {

using namespace program;

namespace {

struct OperandSpec {
  Access access;
  DataType type;
  int64_t columns;
  int index;
  bool output;
};

flatbuffers::Offset<Kernel> kernel(flatbuffers::FlatBufferBuilder &builder, const char *symbol,
                                   const std::vector<OperandSpec> &specs) {
  std::vector<flatbuffers::Offset<KernelOperand>> operands;
  for (const OperandSpec &spec : specs)
    operands.push_back(CreateKernelOperand(builder, spec.access, spec.type, spec.columns,
                                           spec.index, spec.output));
  return CreateKernelDirect(builder, symbol, &operands, kColumns);
}

} // namespace

std::vector<uint8_t> buildKernelProgram(const std::vector<CpuImage> &images, bool missing) {
  flatbuffers::FlatBufferBuilder builder;
  constexpr DataType f32 = DataType::F32, i32 = DataType::I32, f64 = DataType::F64;
  std::vector<flatbuffers::Offset<Kernel>> kernels = {
      kernel(builder, "scale_and_bias",
             {{Access::Row, f32, kColumns, -1, false},
              {Access::RowScalar, f32, 1, -1, false},
              {Access::Broadcast, f32, kColumns, -1, false},
              {Access::Scalar, f32, 1, -1, false},
              {Access::Row, f32, kColumns, -1, true}}),
      kernel(builder, "sum_rows",
             {{Access::Row, f32, kColumns, -1, false},
              {Access::SumRows, f32, kColumns, -1, true},
              {Access::SumRows, f64, 1, -1, true},
              {Access::SumRows, i32, 1, -1, true},
              {Access::Row, f32, kColumns, -1, true}}),
      kernel(builder, "gather",
             {{Access::Gather, f32, kColumns, 1, false},
              {Access::RowScalar, i32, 1, -1, false},
              {Access::Row, f32, kColumns, -1, true}}),
      kernel(builder, "scatter_add",
             {{Access::Row, f32, kColumns, -1, false},
              {Access::RowScalar, i32, 1, -1, false},
              {Access::ScatterAdd, f32, kColumns, 1, true}})};
  if (missing)
    kernels.push_back(kernel(builder, "no_such_kernel", {}));
  std::vector<flatbuffers::Offset<CpuObject>> objects;
  for (const CpuImage &image : images)
    objects.push_back(CreateCpuObjectDirect(builder, image.target.c_str(), &image.object));
  std::vector<flatbuffers::Offset<Stage>> stages;
  auto kernelTable = builder.CreateVector(kernels);
  auto objectTable = builder.CreateVector(objects);
  auto stageTable = builder.CreateVector(stages);
  ProgramBuilder program(builder);
  program.add_kernels(kernelTable);
  program.add_cpu(objectTable);
  program.add_stages(stageTable);
  builder.Finish(program.Finish(), ProgramIdentifier());
  return {builder.GetBufferPointer(), builder.GetBufferPointer() + builder.GetSize()};
}

} // namespace seqpar::rt::test
