#include "seqpar/rt/cuda/DeviceMemory.h"

#include <algorithm>

namespace seqpar::rt::cuda {

namespace {

constexpr const char *kNames[] = {"seqpar_add_f32", "seqpar_add_f64", "seqpar_add_i32",
                                  "seqpar_add_i64"};
constexpr unsigned kThreads = 256, kBlocks = 1024;

/// to[i] += from[i], with a stride of the grid. This is all that the runtime itself runs on a GPU,
/// so it is written in PTX: no compiler is needed.
constexpr const char *kAdd = R"(
.visible .entry {name}(.param .u64 to, .param .u64 from, .param .u64 elements)
{{
  .reg .pred %p;
  .reg .b32 %r<4>;
  .reg .b64 %d<8>;
  .reg {type} %v<3>;
  ld.param.u64 %d1, [to];
  ld.param.u64 %d2, [from];
  ld.param.u64 %d3, [elements];
  mov.u32 %r1, %ctaid.x;
  mov.u32 %r2, %ntid.x;
  mov.u32 %r3, %tid.x;
  mul.wide.u32 %d4, %r1, %r2;
  cvt.u64.u32 %d5, %r3;
  add.u64 %d4, %d4, %d5;
  mov.u32 %r1, %nctaid.x;
  mul.wide.u32 %d5, %r1, %r2;
LOOP:
  setp.ge.u64 %p, %d4, %d3;
  @%p bra DONE;
  shl.b64 %d6, %d4, {shift};
  add.u64 %d7, %d1, %d6;
  add.u64 %d6, %d2, %d6;
  ld.global{type} %v1, [%d7];
  ld.global{type} %v2, [%d6];
  {add} %v1, %v1, %v2;
  st.global{type} [%d7], %v1;
  add.u64 %d4, %d4, %d5;
  bra LOOP;
DONE:
  ret;
}}
)";

} // namespace

std::string addKernels() {
  std::string text = ".version 8.0\n.target sm_80\n.address_size 64\n";
  auto add = [&](ElementType type, const char *registers, const char *instruction) {
    text += fmt::format(kAdd, fmt::arg("name", kNames[int(type)]), fmt::arg("type", registers),
                        fmt::arg("shift", elementBytes(type) == 8 ? 3 : 2),
                        fmt::arg("add", instruction));
  };
  add(ElementType::F32, ".f32", "add.rn.f32");
  add(ElementType::F64, ".f64", "add.rn.f64");
  add(ElementType::I32, ".u32", "add.u32");
  add(ElementType::I64, ".u64", "add.u64");
  return text;
}

DeviceMemory::DeviceMemory(const Context &context) : context(context), stream(context) {
  std::string text = addKernels();
  context.driver().check(context->cuModuleLoadDataEx(&module, text.c_str(), 0, nullptr, nullptr),
                         "cannot load the kernels that add ranks' memory");
  for (size_t i = 0; i < adders.size(); ++i)
    context.driver().check(context->cuModuleGetFunction(&adders[i], module, kNames[i]),
                           "cannot find a kernel that adds ranks' memory");
  sum = context.allocate(kPieceBytes);
  next = context.allocate(kPieceBytes);
}

DeviceMemory::~DeviceMemory() {
  context.release(sum);
  context.release(next);
  if (context.tryUse())
    context->cuModuleUnload(module);
}

// Addresses tell whose memory they are, the host's included.
void DeviceMemory::move(CUdeviceptr to, CUdeviceptr from, size_t bytes) {
  context.driver().check(context->cuMemcpyAsync(to, from, bytes, stream),
                         "cannot copy between ranks");
}

void DeviceMemory::copy(void *to, const void *from, size_t bytes) {
  if (bytes == 0)
    return;
  if (!context.ownsMemory(to) && !context.ownsMemory(from))
    return hostMemory().copy(to, from, bytes);
  move(reinterpret_cast<CUdeviceptr>(to), reinterpret_cast<CUdeviceptr>(from), bytes);
  stream.synchronize();
}

void DeviceMemory::add(CUdeviceptr to, CUdeviceptr from, size_t elements, ElementType type) {
  unsigned long long count = elements;
  void *arguments[] = {&to, &from, &count};
  auto blocks = unsigned(std::min<size_t>((elements + kThreads - 1) / kThreads, kBlocks));
  context.driver().check(context->cuLaunchKernel(adders[size_t(type)], blocks, 1, 1, kThreads, 1, 1,
                                                 0, stream, arguments, nullptr),
                         "cannot add ranks' memory");
}

void DeviceMemory::sumInOrder(std::span<const void *const> from, std::span<void *const> to,
                              size_t begin, size_t end, ElementType type) {
  if (begin >= end)
    return;
  if (!context.ownsMemory(from[0]) || type == ElementType::Byte) // which the host refuses
    return hostMemory().sumInOrder(from, to, begin, end, type);
  size_t size = elementBytes(type), most = kPieceBytes / size;
  for (size_t at = begin; at < end; at += most) {
    size_t count = std::min(most, end - at);
    auto place = [&](const void *memory) {
      return reinterpret_cast<CUdeviceptr>(memory) + at * size;
    };
    move(sum, place(from[0]), count * size);
    for (const void *member : from.subspan(1)) {
      move(next, place(member), count * size);
      add(sum, next, count, type);
    }
    for (void *member : to)
      move(place(member), sum, count * size);
  }
  stream.synchronize();
}

} // namespace seqpar::rt::cuda
