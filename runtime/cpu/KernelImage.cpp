//===- KernelImage.cpp - native code of a program's row kernels -----------===//

#include "seqpar/rt/cpu/KernelImage.h"

#include "seqpar/program/program_generated.h"
#include "seqpar/rt/Error.h"

#include <dlfcn.h>
#include <elf.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace seqpar::rt {

namespace {

constexpr const char *kTargets[] = {"x86-64-v4", "x86-64-v3"}; // best first

/// The loader trusts what it reads; a truncated object would crash it.
void checkObject(std::span<const uint8_t> object, const std::string &target) {
  Elf64_Ehdr header;
  bool good = object.size() >= sizeof(header);
  if (good) {
    std::memcpy(&header, object.data(), sizeof(header));
    good = std::memcmp(header.e_ident, ELFMAG, SELFMAG) == 0 &&
           header.e_ident[EI_CLASS] == ELFCLASS64 && header.e_type == ET_DYN &&
           header.e_machine == EM_X86_64 && header.e_phentsize == sizeof(Elf64_Phdr) &&
           header.e_phoff <= object.size() &&
           header.e_phnum <= (object.size() - header.e_phoff) / sizeof(Elf64_Phdr);
  }
  for (int i = 0; good && i < header.e_phnum; ++i) {
    Elf64_Phdr segment;
    std::memcpy(&segment, object.data() + header.e_phoff + i * sizeof(segment), sizeof(segment));
    good =
        segment.p_offset <= object.size() && segment.p_filesz <= object.size() - segment.p_offset;
  }
  if (!good)
    fail("the program's kernels for {} are not a complete x86-64 shared object ({} bytes); compile "
         "the program again",
         target, object.size());
}

const program::CpuObject *findObject(const program::Program &program, const std::string &target) {
  if (program.cpu())
    for (const program::CpuObject *object : *program.cpu())
      if (object->target()->string_view() == target)
        return object;
  return nullptr;
}

const program::CpuObject &chooseObject(const program::Program &program, const std::string &target) {
  for (const char *candidate : kTargets)
    if ((target.empty() || target == candidate) && hostSupports(candidate))
      if (const program::CpuObject *object = findObject(program, candidate))
        return *object;
  std::string found;
  if (program.cpu())
    for (const program::CpuObject *object : *program.cpu())
      found += (found.empty() ? "" : ", ") + object->target()->str();
  fail("expected kernels for {} in the program, found {}; compile it for this processor",
       target.empty() ? hostTarget() + " or older" : target, found.empty() ? "none" : found);
}

} // namespace

bool hostSupports(const std::string &target) {
  __builtin_cpu_init();
  bool v3 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
            __builtin_cpu_supports("bmi2");
  if (target == "x86-64-v3")
    return v3;
  return target == "x86-64-v4" && v3 && __builtin_cpu_supports("avx512f") &&
         __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512cd") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}

std::string hostTarget() {
  for (const char *target : kTargets)
    if (hostSupports(target))
      return target;
  fail("the CPU device needs a processor with AVX2 and FMA (x86-64-v3), and this one has neither "
       "these nor AVX-512");
}

KernelImage::KernelImage(const program::Program &program, const std::string &target) {
  if (program.kernels()->size() == 0)
    return;
  const program::CpuObject &object = chooseObject(program, target);
  std::span<const uint8_t> bytes(object.object()->data(), object.object()->size());
  checkObject(bytes, object.target()->str());
  load(bytes);
  for (const program::Kernel *kernel : *program.kernels()) {
    void *symbol = dlsym(handle.get(), kernel->symbol()->c_str());
    if (!symbol)
      fail("the program's kernels for {} lack {}; compile the program again",
           object.target()->str(), kernel->symbol()->str());
    functions.push_back(reinterpret_cast<Function>(symbol));
  }
}

void KernelImage::load(std::span<const uint8_t> object) {
  file.descriptor = memfd_create("seqpar-kernels", MFD_CLOEXEC);
  if (file.descriptor < 0)
    fail("cannot create a memory file for the program's kernels: {}", std::strerror(errno));
  for (size_t written = 0; written < object.size();) {
    ssize_t count = write(file.descriptor, object.data() + written, object.size() - written);
    if (count < 0 && errno == EINTR)
      continue;
    if (count <= 0)
      fail("cannot write {} bytes of kernels to a memory file: {}", object.size(),
           std::strerror(errno));
    written += count;
  }
  // The loader takes an object whose path it knows for loaded, so the file stays open: no other
  // image gets the same number meanwhile.
  std::string path = fmt::format("/proc/self/fd/{}", file.descriptor);
  handle.reset(dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL));
  if (!handle)
    fail("cannot load the program's kernels: {}", dlerror());
}

KernelImage::File::~File() {
  if (descriptor >= 0)
    close(descriptor);
}

void KernelImage::Unload::operator()(void *handle) const { dlclose(handle); }

} // namespace seqpar::rt
