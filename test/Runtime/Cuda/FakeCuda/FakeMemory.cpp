//===- FakeMemory.cpp - devices and memory of the fake driver -------------===//

#include "FakeState.h"

#include <algorithm>
#include <cstdlib>

using namespace fakecuda;

namespace {

CUresult allocate(size_t bytes, int device, void **memory) {
  State &s = state();
  if (bytes == 0)
    return CUDA_ERROR_INVALID_VALUE;
  size_t used = 0;
  for (auto &[address, allocation] : s.memory)
    used += allocation.device == device ? allocation.bytes : 0;
  if (device >= 0 && (bytes > s.configuration.memory || used + bytes > s.configuration.memory))
    return CUDA_ERROR_OUT_OF_MEMORY;
  *memory = std::aligned_alloc(512, (bytes + 511) / 512 * 512);
  if (!*memory)
    return CUDA_ERROR_OUT_OF_MEMORY;
  // Memory holds what it holds: floats that are NaN. The beginning does, for large ones.
  std::memset(*memory, 0xff, std::min(bytes, size_t(1) << 20));
  s.memory[reinterpret_cast<uintptr_t>(*memory)] = {bytes, device};
  return CUDA_SUCCESS;
}

CUresult release(uintptr_t address, bool ofHost) {
  State &s = state();
  std::vector<Stream *> running;
  {
    Lock lock(s.mutex);
    auto found = s.memory.find(address);
    if (found == s.memory.end() || (found->second.device < 0) != ofHost) {
      s.problem("memory is freed that is not allocated");
      return CUDA_ERROR_INVALID_VALUE;
    }
    for (auto &[stream, owner] : s.streams)
      if (stream->device == found->second.device)
        running.push_back(stream);
  }
  for (Stream *stream : running) // as the driver does
    stream->drain();
  Lock lock(s.mutex);
  s.races.forget(reinterpret_cast<void *>(address), s.memory[address].bytes);
  s.memory.erase(address);
  std::free(reinterpret_cast<void *>(address));
  return CUDA_SUCCESS;
}

void *pointer(CUdeviceptr address) { return reinterpret_cast<void *>(address); }

CUresult move(const char *function, void *to, const void *from, size_t bytes, CUstream stream,
              const std::vector<Access> &accesses) {
  State &s = state();
  Lock lock(s.mutex);
  if (CUresult error = s.begin(function))
    return error;
  Stream *found = s.find(stream);
  if (!found)
    return CUDA_ERROR_INVALID_HANDLE;
  if (found->graph && std::string(function) != "cuMemcpyDtoDAsync")
    s.problem(std::string(function) + " is captured: its host memory is read at every replay");
  return s.issue(*found, {"copy", accesses, [=] { std::memmove(to, from, bytes); }});
}

CUresult set(const char *function, const std::vector<Access> &accesses, unsigned char value,
             CUstream stream) {
  State &s = state();
  Lock lock(s.mutex);
  if (CUresult error = s.begin(function))
    return error;
  Stream *found = s.find(stream);
  if (!found)
    return CUDA_ERROR_INVALID_HANDLE;
  return s.issue(*found, {"set", accesses, [=] {
                            for (const Access &access : accesses)
                              std::memset(const_cast<void *>(access.memory), value, access.bytes);
                          }});
}

bool isDeviceMemory(CUdeviceptr address) {
  auto after = state().memory.upper_bound(address);
  if (after == state().memory.begin())
    return false;
  auto before = std::prev(after);
  return before->second.device >= 0 && address < before->first + before->second.bytes;
}

} // namespace

extern "C" {

CUresult cuInit(unsigned) {
  Lock lock(state().mutex);
  return state().begin("cuInit", false);
}

CUresult cuDriverGetVersion(int *version) {
  Lock lock(state().mutex);
  *version = state().configuration.driverVersion;
  return state().begin("cuDriverGetVersion", false);
}

CUresult cuGetErrorName(CUresult error, const char **text) {
  switch (error) {
  case CUDA_ERROR_OUT_OF_MEMORY:
    *text = "CUDA_ERROR_OUT_OF_MEMORY";
    break;
  case CUDA_ERROR_NO_BINARY_FOR_GPU:
    *text = "CUDA_ERROR_NO_BINARY_FOR_GPU";
    break;
  case CUDA_ERROR_LAUNCH_FAILED:
    *text = "CUDA_ERROR_LAUNCH_FAILED";
    break;
  case CUDA_ERROR_NOT_FOUND:
    *text = "CUDA_ERROR_NOT_FOUND";
    break;
  default:
    *text = "CUDA_ERROR_OF_THE_FAKE";
  }
  return CUDA_SUCCESS;
}

CUresult cuGetErrorString(CUresult error, const char **text) {
  *text = error == CUDA_ERROR_OUT_OF_MEMORY ? "out of memory" : "as the test wanted";
  return CUDA_SUCCESS;
}

CUresult cuDeviceGetCount(int *count) {
  Lock lock(state().mutex);
  *count = state().configuration.devices;
  return state().begin("cuDeviceGetCount", false);
}

CUresult cuDeviceGet(CUdevice *device, int ordinal) {
  Lock lock(state().mutex);
  *device = ordinal;
  return ordinal >= 0 && ordinal < state().configuration.devices ? CUDA_SUCCESS
                                                                 : CUDA_ERROR_INVALID_DEVICE;
}

CUresult cuDeviceGetName(char *name, int length, CUdevice) {
  Lock lock(state().mutex);
  std::snprintf(name, size_t(length), "%s", state().configuration.name.c_str());
  return CUDA_SUCCESS;
}

CUresult cuDeviceGetAttribute(int *value, CUdevice_attribute attribute, CUdevice) {
  Lock lock(state().mutex);
  switch (attribute) {
  case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR:
    *value = state().configuration.major;
    return CUDA_SUCCESS;
  case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR:
    *value = state().configuration.minor;
    return CUDA_SUCCESS;
  case CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT:
    *value = 4;
    return CUDA_SUCCESS;
  case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN:
    *value = 227 * 1024;
    return CUDA_SUCCESS;
  default:
    return CUDA_ERROR_INVALID_VALUE;
  }
}

CUresult cuDeviceGetUuid(CUuuid *uuid, CUdevice device) {
  *uuid = {};
  uuid->bytes[3] = char(device + 1);
  return CUDA_SUCCESS;
}

CUresult cuDevicePrimaryCtxRetain(CUcontext *context, CUdevice device) {
  *context = reinterpret_cast<CUcontext>(uintptr_t(device) + 1);
  return CUDA_SUCCESS;
}

CUresult cuDevicePrimaryCtxRelease(CUdevice) { return CUDA_SUCCESS; }

CUresult cuCtxSetCurrent(CUcontext context) {
  Lock lock(state().mutex);
  if (CUresult error = state().takeFailure("cuCtxSetCurrent"))
    return error;
  currentDevice = int(reinterpret_cast<uintptr_t>(context)) - 1;
  return CUDA_SUCCESS;
}

CUresult cuMemGetInfo(size_t *available, size_t *total) {
  Lock lock(state().mutex);
  if (CUresult error = state().begin("cuMemGetInfo"))
    return error;
  *total = state().configuration.memory;
  *available = *total;
  for (auto &[address, allocation] : state().memory)
    if (allocation.device == currentDevice)
      *available -= allocation.bytes;
  return CUDA_SUCCESS;
}

CUresult cuMemAlloc(CUdeviceptr *address, size_t bytes) {
  Lock lock(state().mutex);
  if (CUresult error = state().begin("cuMemAlloc"))
    return error;
  if (state().refusesWhileCapturing("cuMemAlloc"))
    return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
  void *memory = nullptr;
  CUresult result = allocate(bytes, currentDevice, &memory);
  *address = reinterpret_cast<CUdeviceptr>(memory);
  return result;
}

CUresult cuMemFree(CUdeviceptr address) { return release(address, false); }

CUresult cuMemHostAlloc(void **memory, size_t bytes, unsigned) {
  Lock lock(state().mutex);
  if (CUresult error = state().begin("cuMemHostAlloc"))
    return error;
  return allocate(bytes, -1, memory);
}

CUresult cuMemFreeHost(void *memory) { return release(reinterpret_cast<uintptr_t>(memory), true); }

CUresult cuMemcpyHtoDAsync(CUdeviceptr to, const void *from, size_t bytes, CUstream stream) {
  return move("cuMemcpyHtoDAsync", pointer(to), from, bytes, stream, {writes(pointer(to), bytes)});
}

CUresult cuMemcpyDtoHAsync(void *to, CUdeviceptr from, size_t bytes, CUstream stream) {
  return move("cuMemcpyDtoHAsync", to, pointer(from), bytes, stream, {reads(pointer(from), bytes)});
}

CUresult cuMemcpyDtoDAsync(CUdeviceptr to, CUdeviceptr from, size_t bytes, CUstream stream) {
  return move("cuMemcpyDtoDAsync", pointer(to), pointer(from), bytes, stream,
              {reads(pointer(from), bytes), writes(pointer(to), bytes)});
}

// Of the two sides, what is no memory of the device is memory of the host, about which nothing is
// known.
CUresult cuMemcpyAsync(CUdeviceptr to, CUdeviceptr from, size_t bytes, CUstream stream) {
  std::vector<Access> accesses;
  {
    Lock lock(state().mutex);
    if (isDeviceMemory(from))
      accesses.push_back(reads(pointer(from), bytes));
    if (isDeviceMemory(to))
      accesses.push_back(writes(pointer(to), bytes));
  }
  return move("cuMemcpyAsync", pointer(to), pointer(from), bytes, stream, accesses);
}

CUresult cuPointerGetAttribute(void *value, CUpointer_attribute attribute, CUdeviceptr address) {
  Lock lock(state().mutex);
  if (attribute != CU_POINTER_ATTRIBUTE_MEMORY_TYPE || !isDeviceMemory(address))
    return CUDA_ERROR_INVALID_VALUE;
  *static_cast<unsigned *>(value) = CU_MEMORYTYPE_DEVICE;
  return CUDA_SUCCESS;
}

CUresult cuMemsetD2D8Async(CUdeviceptr to, size_t pitch, unsigned char value, size_t width,
                           size_t height, CUstream stream) {
  std::vector<Access> accesses;
  for (size_t row = 0; row < height; ++row)
    accesses.push_back(writes(pointer(to + row * pitch), width));
  return set("cuMemsetD2D8Async", accesses, value, stream);
}

CUresult cuMemsetD8Async(CUdeviceptr to, unsigned char value, size_t bytes, CUstream stream) {
  return set("cuMemsetD8Async", {writes(pointer(to), bytes)}, value, stream);
}

} // extern "C"
