//===- CudaDevice.cpp - a GPU as a device ---------------------------------===//
//
// All compute of a rank is on one stream, so its instructions need no events between them.
//
//===----------------------------------------------------------------------===//

#include "seqpar/rt/cuda/CudaDevice.h"

#include "seqpar/rt/Error.h"
#include "seqpar/rt/cuda/Attention.h"
#include "seqpar/rt/cuda/DeviceMemory.h"
#include "seqpar/rt/cuda/Gemm.h"
#ifdef SEQPAR_HAVE_NCCL
#include "seqpar/rt/cuda/Nccl.h"
#endif
#include "seqpar/rt/cuda/Recordings.h"
#include "seqpar/rt/cuda/RowKernels.h"
#include "seqpar/rt/cuda/Staging.h"

#include <algorithm>
#include <cstdlib>

namespace seqpar::rt {

namespace cuda {

namespace {

CUdeviceptr address(const void *memory) { return reinterpret_cast<CUdeviceptr>(memory); }

class CudaDevice final : public Device {
public:
  explicit CudaDevice(const CudaOptions &options);
  ~CudaDevice() override;

  std::string name() const override {
    return fmt::format("cuda:{} ({}, sm_{})", context.ordinal(), context.name(),
                       context.capability());
  }
  void loadKernels(const program::Program &program) override;

  void *allocate(size_t bytes) override {
    return reinterpret_cast<void *>(context.allocate(bytes));
  }
  void release(void *memory) override { context.release(address(memory)); }

  void copyToDevice(void *to, const void *from, size_t bytes) override;
  void copyToHost(void *to, const void *from, size_t bytes) override;
  void zero(void *memory, size_t bytes) override;

  void gemm(const GemmArgs &args) override;
  void rowKernel(const RowKernelArgs &args) override;
  void attentionForward(const AttentionForwardArgs &args) override;
  void attentionBackward(const AttentionBackwardArgs &args) override;

  void synchronize() override;
  std::unique_ptr<Communicator> exchange(std::unique_ptr<Communicator> host) override;

  bool canRecord() const override { return true; }
  void beginRecording() override;
  Recording endRecording() override { return recordings.end(); }
  void replay(Recording recording) override;
  void cancelRecording() noexcept override { recordings.cancel(); }

private:
  void refuseWhileRecording(const char *what) const;
  DropoutWords dropoutWords(const AttentionDropout &dropout);
  Attention &attentionKernels();

  Context context;
  Stream compute;
  Staging staging;
  Gemm products;
  std::string nccl;      ///< path of the library
  CUdeviceptr words = 0; ///< seed and step of dropout that come with a call
  std::unique_ptr<Images> images;
  std::unique_ptr<RowKernels> rowKernels;
  std::unique_ptr<Attention> attention;
  std::unique_ptr<DeviceMemory> exchanged;
  Recordings recordings;
};

CudaDevice::CudaDevice(const CudaOptions &options)
    : context(loadDriver(options.driver), options.device), compute(context),
      staging(context, compute), products(context, loadCublasLt(options.cublasLt),
                                          sharedAlgorithmCache(options.algorithms), options.tf32),
      nccl(options.nccl), words(context.allocate(2 * sizeof(uint32_t))),
      recordings(context, compute) {}

CudaDevice::~CudaDevice() {
  cancelRecording();
  try {
    compute.synchronize();
  } catch (const Error &) {
    // What failed has been reported where it was waited for.
  }
  context.release(words);
}

void CudaDevice::loadKernels(const program::Program &program) {
  attention.reset();
  rowKernels.reset();
  images = std::make_unique<Images>(context, program);
  rowKernels = std::make_unique<RowKernels>(context, *images, program);
  attention = std::make_unique<Attention>(context, *images);
}

void CudaDevice::refuseWhileRecording(const char *what) const {
  if (recordings.active())
    fail("{} cannot be part of a recording", what);
}

void CudaDevice::copyToDevice(void *to, const void *from, size_t bytes) {
  refuseWhileRecording("a copy from the host");
  context.use();
  staging.toDevice(address(to), from, bytes);
}

void CudaDevice::copyToHost(void *to, const void *from, size_t bytes) {
  refuseWhileRecording("a copy to the host");
  context.use();
  staging.toHost(to, address(from), bytes);
}

void CudaDevice::zero(void *memory, size_t bytes) {
  if (bytes == 0)
    return;
  context.use();
  context.driver().check(context->cuMemsetD8Async(address(memory), 0, bytes, compute),
                         "cannot set memory");
}

void CudaDevice::gemm(const GemmArgs &args) {
  GemmCall call{.a = args.a,
                .b = args.b,
                .c = args.c,
                .m = args.m,
                .n = args.n,
                .k = args.k,
                .transposeA = args.transposeA,
                .transposeB = args.transposeB,
                .lda = args.lda,
                .ldb = args.ldb,
                .ldc = args.ldc,
                .alpha = args.alpha,
                .accumulate = args.accumulate,
                .type = args.type,
                .resultType = args.resultType,
                .epilogue = args.saved  ? GemmEpilogue::Gelu
                            : args.bias ? GemmEpilogue::Bias
                                        : GemmEpilogue::None,
                .bias = const_cast<void *>(args.bias),
                .saved = args.saved,
                .ldSaved = args.saved ? args.ldc : 0};
  products.run(call, compute, !recordings.active());
}

void CudaDevice::rowKernel(const RowKernelArgs &args) {
  if (!rowKernels)
    fail("expected loadKernels before the first kernel");
  context.use();
  rowKernels->run(args, compute, !recordings.active());
}

Attention &CudaDevice::attentionKernels() {
  if (!attention)
    fail("expected loadKernels before the first kernel");
  context.use();
  return *attention;
}

DropoutWords CudaDevice::dropoutWords(const AttentionDropout &dropout) {
  if (dropout.rate == 0)
    return {};
  if (dropout.seedAddress && dropout.stepAddress)
    return {dropout.seedAddress, dropout.stepAddress};
  uint32_t values[] = {dropout.seed, dropout.step};
  copyToDevice(reinterpret_cast<void *>(words), values, sizeof(values));
  auto *at = reinterpret_cast<const uint32_t *>(words);
  return {at, at + 1};
}

void CudaDevice::attentionForward(const AttentionForwardArgs &args) {
  attentionKernels().forward(args, dropoutWords(args.dropout), compute);
}

void CudaDevice::attentionBackward(const AttentionBackwardArgs &args) {
  attentionKernels().backward(args, dropoutWords(args.dropout), compute);
}

void CudaDevice::synchronize() {
  refuseWhileRecording("waiting");
  compute.synchronize();
}

std::unique_ptr<Communicator> CudaDevice::exchange(std::unique_ptr<Communicator> host) {
  if (host->size() == 1)
    return host;
  // Whether every rank has a GPU of its own, as NCCL wants.
  std::array<int64_t, 2> own = context.uuid();
  std::vector<std::array<int64_t, 2>> all(size_t(host->size()));
  host->allGather(own.data(), all.data(), 1, own.size(), ElementType::I64, kAllAxes);
  host->forgetBytesSent();
  std::sort(all.begin(), all.end());
  bool apart = std::adjacent_find(all.begin(), all.end()) == all.end();
  bool together = host->sharesMemory(kAllAxes);
  if (apart) {
    std::string reason = "this build lacks NCCL";
#ifdef SEQPAR_HAVE_NCCL
    try {
      auto library = std::make_shared<Nccl>(nccl);
      return createNcclCommunicator(std::move(host), context, compute, recordings, library);
    } catch (const Error &error) {
      if (!host)
        throw;
      reason = error.what();
    }
#endif
    if (!together)
      fail("{}", reason);
    if (host->rank() == 0)
      fmt::print(stderr, "ranks exchange through copies that wait for the GPUs: {}\n", reason);
  } else if (!together) {
    fail("ranks in several processes need a GPU each, found some that share {}; start one process, "
         "or as many ranks as there are GPUs",
         context.name());
  }
  exchanged = std::make_unique<DeviceMemory>(context);
  host->setMemory(*exchanged);
  return host;
}

void CudaDevice::beginRecording() {
  refuseWhileRecording("a recording");
  recordings.begin();
}

void CudaDevice::replay(Recording number) {
  refuseWhileRecording("a recording");
  recordings.replay(number);
}

} // namespace

} // namespace cuda

CudaOptions cudaOptionsFromEnvironment() {
  auto variable = [](const char *name) {
    const char *value = std::getenv(name);
    return std::string(value ? value : "");
  };
  CudaOptions options;
  options.driver = variable("SEQPAR_LIBCUDA");
  options.cublasLt = variable("SEQPAR_LIBCUBLASLT");
  options.nccl = variable("SEQPAR_LIBNCCL");
  options.algorithms = cuda::defaultAlgorithmCachePath();
  return options;
}

CudaProbe probeCuda(const CudaOptions &options) {
  try {
    return {cuda::loadDriver(options.driver)->devices(), ""};
  } catch (const Error &error) {
    return {0, error.what()};
  }
}

CudaMemory cudaMemory(const CudaOptions &options) {
  cuda::Context context(cuda::loadDriver(options.driver), options.device);
  return {context.name(), context.availableMemory(), context.totalMemory()};
}

std::unique_ptr<Device> createCudaDevice(const CudaOptions &options) {
  return std::make_unique<cuda::CudaDevice>(options);
}

} // namespace seqpar::rt
