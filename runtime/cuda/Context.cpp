#include "seqpar/rt/cuda/Context.h"

#include <cstring>

namespace seqpar::rt::cuda {

Context::Context(std::shared_ptr<Driver> driver, int ordinal)
    : theDriver(std::move(driver)), theOrdinal(ordinal) {
  if (ordinal < 0 || ordinal >= theDriver->devices())
    fail("expected a CUDA device from 0 to {}, found {}", theDriver->devices() - 1, ordinal);
  theDriver->check(theDriver->cuDeviceGet(&device, ordinal), "cannot open the CUDA device");
  char text[256] = {};
  theDriver->check(theDriver->cuDeviceGetName(text, sizeof(text) - 1, device),
                   "cannot read the CUDA device's name");
  theName = text;
  theCapability = attribute(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR) * 10 +
                  attribute(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR);
  theDriver->check(theDriver->cuDevicePrimaryCtxRetain(&context, device),
                   "cannot create a CUDA context");
}

Context::~Context() { theDriver->cuDevicePrimaryCtxRelease(device); }

int Context::attribute(CUdevice_attribute which) const {
  int value = 0;
  theDriver->check(theDriver->cuDeviceGetAttribute(&value, which, device),
                   "cannot read an attribute of the CUDA device");
  return value;
}

std::array<int64_t, 2> Context::uuid() const {
  CUuuid found{};
  theDriver->check(theDriver->cuDeviceGetUuid(&found, device), "cannot read the GPU's number");
  std::array<int64_t, 2> words;
  static_assert(sizeof(words) == sizeof(found));
  std::memcpy(words.data(), &found, sizeof(found));
  return words;
}

void Context::use() const {
  theDriver->check(theDriver->cuCtxSetCurrent(context), "cannot use the CUDA context");
}

bool Context::tryUse() const noexcept {
  return theDriver->cuCtxSetCurrent(context) == CUDA_SUCCESS;
}

size_t Context::availableMemory() const {
  use();
  size_t available = 0, total = 0;
  theDriver->check(theDriver->cuMemGetInfo(&available, &total), "cannot read the GPU's memory");
  return available;
}

size_t Context::totalMemory() const {
  use();
  size_t available = 0, total = 0;
  theDriver->check(theDriver->cuMemGetInfo(&available, &total), "cannot read the GPU's memory");
  return total;
}

CUdeviceptr Context::allocate(size_t bytes) const {
  use();
  CUdeviceptr memory = 0;
  // There is always an address, as on the CPU.
  CUresult result = theDriver->cuMemAlloc(&memory, bytes ? bytes : 1);
  if (result == CUDA_ERROR_OUT_OF_MEMORY) {
    size_t available = 0, total = 0;
    theDriver->cuMemGetInfo(&available, &total);
    fail("not enough memory on {} (device {}): {} bytes asked for, {} of {} are free", theName,
         theOrdinal, bytes, available, total);
  }
  if (result != CUDA_SUCCESS)
    fail("cannot allocate {} bytes on {} (device {}): {}", bytes, theName, theOrdinal,
         theDriver->describe(result));
  return memory;
}

void Context::release(CUdeviceptr memory) const noexcept {
  if (memory && tryUse())
    theDriver->cuMemFree(memory);
}

bool Context::ownsMemory(const void *memory) const {
  use();
  unsigned type = 0;
  CUresult result = theDriver->cuPointerGetAttribute(&type, CU_POINTER_ATTRIBUTE_MEMORY_TYPE,
                                                     reinterpret_cast<CUdeviceptr>(memory));
  return result == CUDA_SUCCESS && type == CU_MEMORYTYPE_DEVICE;
}

Stream::Stream(const Context &context) : context(context) {
  context.use();
  context.driver().check(context->cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING),
                         "cannot create a CUDA stream");
}

Stream::~Stream() {
  if (context.tryUse())
    context->cuStreamDestroy(stream);
}

void Stream::synchronize() const {
  context.use();
  context.driver().check(context->cuStreamSynchronize(stream), "the GPU has failed");
}

Event::Event(const Context &context, bool timed) : context(context) {
  context.use();
  unsigned flags = CU_EVENT_BLOCKING_SYNC | (timed ? 0u : unsigned(CU_EVENT_DISABLE_TIMING));
  context.driver().check(context->cuEventCreate(&event, flags), "cannot create a CUDA event");
}

Event::~Event() {
  if (context.tryUse())
    context->cuEventDestroy(event);
}

void Event::record(CUstream stream) {
  context.driver().check(context->cuEventRecord(event, stream), "cannot record a CUDA event");
}

void Event::block(CUstream stream) const {
  context.driver().check(context->cuStreamWaitEvent(stream, event, 0),
                         "cannot wait for a CUDA event");
}

void Event::synchronize() const {
  context.use();
  context.driver().check(context->cuEventSynchronize(event), "the GPU has failed");
}

bool Event::over() const { return context->cuEventQuery(event) != CUDA_ERROR_NOT_READY; }

float Event::since(const Event &begin) const {
  float milliseconds = 0;
  context.driver().check(context->cuEventElapsedTime(&milliseconds, begin.event, event),
                         "cannot read the time of a CUDA event");
  return milliseconds;
}

} // namespace seqpar::rt::cuda
