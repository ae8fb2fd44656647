//===- DeviceCudaTest.cpp - the CUDA device on the fake driver ------------===//

#include "CudaTest.h"

#include "../DeviceConformance.h"
#include "../DeviceKernels.h"

#include "seqpar/program/program_generated.h"
#include "seqpar/rt/cuda/Attention.h"

extern "C" {
void scale_and_bias(void *const *operands, int64_t begin, int64_t end);
void sum_rows(void *const *operands, int64_t begin, int64_t end);
void gather(void *const *operands, int64_t begin, int64_t end);
void scatter_add(void *const *operands, int64_t begin, int64_t end);
}

namespace seqpar::rt::test {

namespace {

FakeCode &fakeCode() {
  static FakeCode code({"sm_80", "sm_90", "compute_90"});
  return code;
}

void registerTestKernels() {
  auto onRows = [](void (*function)(void *const *, int64_t, int64_t)) {
    return [=](void *const *operands, int64_t rows) { function(operands, 0, rows); };
  };
  kernelProgram(); // knows the operands
  fakeCode().registerKernels({{"scale_and_bias", onRows(scale_and_bias)},
                              {"sum_rows", onRows(sum_rows)},
                              {"gather", onRows(gather)},
                              {"scatter_add", onRows(scatter_add)}});
}

/// Loads the kernels' program, as attention is in it, and ends with the check that the fake has
/// found nothing wrong.
class CheckedDevice final : public ForwardingDevice {
public:
  CheckedDevice() : ForwardingDevice(create()) {}
  ~CheckedDevice() override {
    device.reset();
    EXPECT_THAT(fakecuda::takeProblems(), testing::IsEmpty());
    EXPECT_EQ(fakecuda::allocatedBytes(), 0u);
  }

private:
  static std::unique_ptr<Device> create() {
    fakecuda::reset();
    fakecublaslt::configure({});
    registerTestKernels();
    auto device = createCudaDevice(fakeOptions());
    device->loadKernels(*program::GetProgram(kernelProgram().data()));
    return device;
  }
};

} // namespace

std::vector<DeviceCase> deviceCases() {
  return {{"Fake", [] { return std::make_unique<CheckedDevice>(); }}};
}

const std::vector<uint8_t> &kernelProgram() {
  static const std::vector<uint8_t> program = buildKernelProgram({}, false, &fakeCode().writer);
  return program;
}

namespace {

class CudaDeviceTest : public CudaTest {
protected:
  void SetUp() override {
    CudaTest::SetUp();
    registerTestKernels();
  }
  const program::Program &program() { return *program::GetProgram(kernelProgram().data()); }
};

TEST_F(CudaDeviceTest, NamesTheGpu) {
  EXPECT_EQ(createCudaDevice(fakeOptions())->name(), "cuda:0 (Fake GPU, sm_90)");
  EXPECT_THAT(errorOf([] { createCudaDevice(fakeOptions(3)); }),
              testing::HasSubstr("expected a CUDA device from 0 to 0, found 3"));
}

/// What a context has made can end when the driver no longer takes calls.
TEST_F(CudaDeviceTest, EndsWithoutTheDriver) {
  cuda::Context context(cuda::loadDriver(SEQPAR_FAKE_CUDA), 0);
  auto stream = std::make_unique<cuda::Stream>(context);
  auto event = std::make_unique<cuda::Event>(context);
  auto refuse = [] { fakecuda::failNext("cuCtxSetCurrent", CUDA_ERROR_DEINITIALIZED); };
  refuse();
  event.reset();
  refuse();
  stream.reset();
  refuse();
  context.release(CUdeviceptr(64)); // unknown to the driver, which is not asked
  EXPECT_TRUE(context.tryUse());
}

TEST_F(CudaDeviceTest, WithoutDriverThereIsNoDevice) {
  CudaOptions options = fakeOptions();
  options.driver = "/nowhere/libcuda.so.1";
  CudaProbe probe = probeCuda(options);
  EXPECT_EQ(probe.devices, 0);
  EXPECT_THAT(probe.reason, testing::HasSubstr("the CUDA device needs /nowhere/libcuda.so.1"));
  EXPECT_EQ(errorOf([&] { createCudaDevice(options); }), probe.reason);
  // A library that is none of CUDA's.
  options.driver = "libm.so.6";
  EXPECT_THAT(probeCuda(options).reason, testing::HasSubstr("lacks the function"));
}

TEST_F(CudaDeviceTest, OldDriversAreNamed) {
  fakecuda::reset({.driverVersion = 12040});
  EXPECT_THAT(probeCuda(fakeOptions()).reason,
              testing::HasSubstr("for CUDA 13.0 or later, found one for 12.4; update the driver"));
  fakecuda::reset({.devices = 0});
  EXPECT_THAT(probeCuda(fakeOptions()).reason, testing::HasSubstr("finds no device"));
  fakecuda::reset();
  EXPECT_EQ(probeCuda(fakeOptions()).devices, 1);
}

TEST_F(CudaDeviceTest, TheBestImageIsTaken) {
  struct Case {
    int major, minor;
    std::vector<std::string> images;
    std::string expected; ///< empty: none
  };
  const std::vector<Case> cases = {{9, 0, {"sm_80", "sm_90", "compute_90"}, "sm_90"},
                                   {8, 6, {"sm_80", "sm_90", "compute_90"}, "sm_80"},
                                   {10, 0, {"sm_80", "sm_90", "compute_90"}, "compute_90"},
                                   {8, 0, {"sm_86", "compute_80"}, "compute_80"},
                                   {9, 0, {"sm_90", "sm_90a"}, "sm_90a"},
                                   {10, 0, {"compute_90a", "compute_80"}, "compute_80"},
                                   {7, 5, {"sm_80", "sm_90", "compute_90"}, ""},
                                   {10, 0, {"sm_80", "sm_90"}, ""}};
  for (const Case &each : cases) {
    SCOPED_TRACE(each.major * 10 + each.minor);
    fakecuda::reset({.major = each.major, .minor = each.minor});
    FakeCode code(each.images);
    // The image that is taken is the one that has kernels.
    for (auto &[architecture, image] : code.writer.images)
      if (architecture != each.expected && !architecture.starts_with("compute_"))
        image = fakecuda::image(architecture, {"none"});
    std::vector<uint8_t> bytes = buildKernelProgram({}, false, &code.writer);
    std::string error = errorOf(
        [&] { createCudaDevice(fakeOptions())->loadKernels(*program::GetProgram(bytes.data())); });
    if (each.expected.empty())
      EXPECT_THAT(error, testing::HasSubstr("compile it for this GPU"));
    else
      EXPECT_EQ(error, "");
  }
  EXPECT_THAT(errorOf([&] {
                fakecuda::reset({.major = 7, .minor = 5});
                createCudaDevice(fakeOptions())->loadKernels(program());
              }),
              testing::HasSubstr("for sm_75 (Fake GPU) or PTX of an older one, found sm_80, sm_90, "
                                 "compute_90"));
}

/// Groups of code, with images that hold the named kernels.
struct Group {
  std::string name;
  std::vector<std::string> architectures, kernels;
};

std::vector<uint8_t> programOf(const std::vector<Group> &groups) {
  flatbuffers::FlatBufferBuilder builder;
  std::vector<flatbuffers::Offset<program::CudaCode>> codes;
  for (const Group &group : groups) {
    std::vector<flatbuffers::Offset<program::CudaImage>> images;
    for (const std::string &architecture : group.architectures) {
      std::vector<uint8_t> image = fakecuda::image(architecture, group.kernels);
      images.push_back(program::CreateCudaImageDirect(builder, architecture.c_str(), &image));
    }
    codes.push_back(program::CreateCudaCodeDirect(builder, group.name.c_str(), "", &images));
  }
  auto none = builder.CreateVector(std::vector<flatbuffers::Offset<program::Kernel>>());
  auto stages = builder.CreateVector(std::vector<flatbuffers::Offset<program::Stage>>());
  auto cuda = builder.CreateVector(codes);
  program::ProgramBuilder program(builder);
  program.add_kernels(none);
  program.add_stages(stages);
  program.add_cuda(cuda);
  builder.Finish(program.Finish());
  return {builder.GetBufferPointer(), builder.GetBufferPointer() + builder.GetSize()};
}

TEST_F(CudaDeviceTest, KernelsOfWarpgroupsAreTakenWhereTheyRun) {
  using Storage = ::seqpar::cuda::AttentionStorage;
  using Kernel = ::seqpar::cuda::AttentionKernel;
  const std::vector<uint8_t> bytes = programOf(
      {{"attention", {"sm_80", "sm_90"}, {"seqpar_attention_*"}},
       {"attention_warpgroup", {"sm_90a"}, {"seqpar_attention_forward_warpgroup_bf16_64"}}});
  for (auto [major, minor] : {std::pair(9, 0), {8, 6}}) {
    SCOPED_TRACE(major);
    fakecuda::reset({.major = major, .minor = minor});
    cuda::Context context(cuda::loadDriver(SEQPAR_FAKE_CUDA), 0);
    cuda::Images images(context, *program::GetProgram(bytes.data()));
    cuda::Attention attention(context, images);
    EXPECT_EQ(attention.choose(Kernel::Forward, {Storage::BF16, 64, false}).kernel,
              major == 9 ? Kernel::ForwardWarpgroup : Kernel::Forward);
    EXPECT_EQ(attention.choose(Kernel::Delta, {Storage::BF16, 64, false}).kernel, Kernel::Delta);
    EXPECT_EQ(attention.choose(Kernel::BackwardKeys, {Storage::BF16, 64, false}).kernel,
              Kernel::BackwardKeys);
    EXPECT_EQ(attention.choose(Kernel::Forward, {Storage::BF16, 64, true}).kernel, Kernel::Forward);
    EXPECT_EQ(attention.choose(Kernel::Forward, {Storage::F32, 64, false}).kernel, Kernel::Forward);
  }
}

TEST_F(CudaDeviceTest, KernelsOfWarpgroupsAreLaunchedWhereTheyRun) {
  const std::string mma = "seqpar_attention_forward_bf16_64",
                    warpgroup = "seqpar_attention_forward_warpgroup_bf16_64";
  const std::vector<uint8_t> bytes =
      programOf({{"attention", {"sm_80", "sm_90"}, {"seqpar_attention_*"}},
                 {"attention_warpgroup", {"sm_90a"}, {warpgroup}}});
  constexpr size_t queries = 130, elements = queries * 64;
  for (auto [major, minor] : {std::pair(9, 0), {8, 6}}) {
    SCOPED_TRACE(major);
    fakecuda::reset({.major = major, .minor = minor});
    registerTestKernels();
    auto device = createCudaDevice(fakeOptions());
    device->loadKernels(*program::GetProgram(bytes.data()));
    DeviceArray<uint16_t> q(*device, std::vector<uint16_t>(elements, 0x3f80)); // 1
    const std::vector<float> zeros(elements);
    DeviceArray<float> out(*device, zeros), lse(*device, zeros), sum(*device, zeros);
    DeviceArray<int32_t> mask(*device, std::vector<int32_t>(queries, 1));
    fakecuda::takeOperations();
    device->attentionForward({.shape = {1, 1, 64, queries, queries, queries, 0, 1.0f},
                              .q = q.data(),
                              .k = q.data(),
                              .v = q.data(),
                              .mask = mask.data(),
                              .out = out.data(),
                              .lse = lse.data(),
                              .sum = sum.data(),
                              .initialize = true,
                              .finish = true,
                              .type = FloatType::BF16});
    EXPECT_THAT(fakecuda::takeOperations(),
                testing::ElementsAre("launch " + (major == 9 ? warpgroup : mma)));
    EXPECT_THAT(out.values(), testing::Each(testing::FloatNear(1, 1e-5f)));
  }
}

TEST_F(CudaDeviceTest, RefusedImagesAreNamed) {
  fakecuda::failNext("cuModuleLoadDataEx", CUDA_ERROR_NO_BINARY_FOR_GPU);
  EXPECT_THAT(
      errorOf([&] { createCudaDevice(fakeOptions())->loadKernels(program()); }),
      testing::HasSubstr("the driver (CUDA 13.0) refuses the test kernels for sm_90 on Fake "
                         "GPU: CUDA_ERROR_NO_BINARY_FOR_GPU"));
}

TEST_F(CudaDeviceTest, ProgramsForTheCpuAreRefused) {
  std::vector<uint8_t> bytes = buildKernelProgram({});
  EXPECT_THAT(errorOf([&] {
                createCudaDevice(fakeOptions())->loadKernels(*program::GetProgram(bytes.data()));
              }),
              testing::HasSubstr("no CUDA code for its kernel scale_and_bias; compile it for "
                                 "--device=cuda"));
}

TEST_F(CudaDeviceTest, MissingKernelsAreNamed) {
  FakeCode code({"sm_90"});
  code.writer.images[0].second = fakecuda::image("sm_90", {"scale_and_bias_main"});
  std::vector<uint8_t> bytes = buildKernelProgram({}, false, &code.writer);
  EXPECT_THAT(errorOf([&] {
                createCudaDevice(fakeOptions())->loadKernels(*program::GetProgram(bytes.data()));
              }),
              testing::HasSubstr("lacks the kernel scale_and_bias_sums"));
}

TEST_F(CudaDeviceTest, OutOfMemoryNamesWhatIsFree) {
  fakecuda::reset({.memory = size_t(64) << 20});
  auto device = createCudaDevice(fakeOptions());
  size_t used = fakecuda::allocatedBytes();
  EXPECT_EQ(errorOf([&] { device->allocate(size_t(1) << 30); }),
            fmt::format("not enough memory on Fake GPU (device 0): 1073741824 bytes asked for, {} "
                        "of 67108864 are free",
                        (size_t(64) << 20) - used));
  CudaMemory memory = cudaMemory(fakeOptions());
  EXPECT_EQ(memory.total, size_t(64) << 20);
  EXPECT_EQ(memory.available, memory.total - used);
}

TEST_F(CudaDeviceTest, FailuresOfTheGpuAreSeenWhenWaited) {
  auto device = createCudaDevice(fakeOptions());
  device->loadKernels(program());
  fakecuda::registerKernel("scale_and_bias_main", {{8, 8, 8, 8, 8, 8, 8, 4},
                                                   [](const fakecuda::Launch &) {
                                                     throw std::runtime_error("illegal address");
                                                   },
                                                   {}});
  DeviceArray<float> x(*device, std::vector<float>(kColumns));
  void *operands[] = {x.data(), x.data(), x.data(), x.data(), x.data()};
  EXPECT_THAT(errorOf([&] {
                device->rowKernel({ScaleAndBias, operands, 1, false});
                device->synchronize();
              }),
              testing::HasSubstr("CUDA_ERROR_LAUNCH_FAILED"));
  EXPECT_THAT(fakecuda::takeProblems(),
              testing::Contains(testing::HasSubstr("an operation failed: illegal address")));
}

TEST_F(CudaDeviceTest, CopiesKeepTheCallersMemoryFree) {
  auto device = createCudaDevice(fakeOptions());
  constexpr size_t count = 3'000'001; // several halves of the staging memory
  std::vector<int32_t> values(count), back(count);
  for (size_t i = 0; i < count; ++i)
    values[i] = int32_t(i * 7);
  void *memory = device->allocate(count * 4);
  for (int round = 0; round < 3; ++round) {
    std::vector<int32_t> sent = values;
    device->copyToDevice(memory, sent.data(), count * 4);
    std::fill(sent.begin(), sent.end(), -1);
  }
  // Many small ones run into each other's place.
  for (size_t i = 0; i < 20000; ++i) {
    int32_t value = int32_t(i);
    device->copyToDevice(static_cast<int32_t *>(memory) + i, &value, 4);
  }
  device->copyToHost(back.data(), memory, count * 4);
  device->synchronize();
  device->release(memory);
  for (size_t i = 0; i < count; ++i)
    ASSERT_EQ(back[i], i < 20000 ? int32_t(i) : values[i]) << i;
}

TEST_F(CudaDeviceTest, AStepOfWorkIsRecordedAndReplayed) {
  auto device = createCudaDevice(fakeOptions());
  device->loadKernels(program());
  ASSERT_TRUE(device->canRecord());
  std::vector<float> ones(4 * kColumns, 1.0f);
  DeviceArray<float> x(*device, ones), s(*device, {1.0f, 2.0f, 3.0f, 4.0f}),
      bias(*device, std::vector<float>(kColumns, 10.0f)), factor(*device, {2.0f}), y(*device, ones),
      c(*device, std::vector<float>(16));
  void *operands[] = {x.data(), s.data(), bias.data(), factor.data(), y.data()};
  auto work = [&] {
    device->rowKernel({ScaleAndBias, operands, 4, false});
    device->gemm({y.data(), y.data(), c.data(), 4, 4, kColumns, false, true, kColumns, kColumns, 4,
                  1.0f, false});
  };
  work(); // measures, and allocates what it needs
  std::vector<float> before = c.values();
  device->zero(c.data(), 16 * 4);
  fakecuda::takeOperations();
  device->beginRecording();
  work();
  Device::Recording recording = device->endRecording();
  EXPECT_THAT(fakecuda::takeOperations(),
              testing::ElementsAre("capture", "launch scale_and_bias_main",
                                   "launch scale_and_bias_sums", "product"));
  EXPECT_EQ(c.values(), std::vector<float>(16)); // nothing has run
  device->replay(recording);
  EXPECT_EQ(c.values(), before);
  float other = 3.0f;
  device->copyToDevice(factor.data(), &other, 4);
  device->replay(recording);
  device->replay(recording);
  EXPECT_EQ(y.values()[0], 31.0f); // it reads the new factor
  EXPECT_THAT(errorOf([&] { device->replay(7); }),
              testing::HasSubstr("expected a recording from 0 to 0, found 7"));
}

TEST_F(CudaDeviceTest, RecordingsRefuseTheHost) {
  auto device = createCudaDevice(fakeOptions());
  DeviceArray<float> x(*device, {1.0f});
  float value = 2;
  device->beginRecording();
  EXPECT_THAT(errorOf([&] { device->copyToDevice(x.data(), &value, 4); }),
              testing::HasSubstr("cannot be part of a recording"));
  EXPECT_THAT(errorOf([&] { device->synchronize(); }),
              testing::HasSubstr("cannot be part of a recording"));
  device->cancelRecording();
  device->copyToDevice(x.data(), &value, 4);
  EXPECT_EQ(x.values()[0], 2.0f);
}

} // namespace

} // namespace seqpar::rt::test
