//===- FakeModules.cpp - images and launches ------------------------------===//

#include "FakeState.h"

#include <elf.h>

#include <cstdlib>
#include <sstream>

using namespace fakecuda;

namespace {

constexpr char kMagic[] = "\177ELFFAKE "; // as programs want it of cubins
constexpr unsigned kMachineCuda = 190;

struct Image {
  int architecture = 0;  ///< 90 for sm_90
  bool portable = false; ///< PTX: for later devices too
  std::set<std::string> kernels;
};

bool readOwn(const std::string &text, Image &image) {
  if (text.compare(0, sizeof(kMagic) - 1, kMagic) != 0)
    return false;
  std::istringstream lines(text.substr(sizeof(kMagic) - 1));
  std::string line;
  std::getline(lines, line);
  image.architecture = std::atoi(line.c_str() + 3);
  while (std::getline(lines, line))
    image.kernels.insert(line);
  return true;
}

bool readPtx(const std::string &text, Image &image) {
  size_t target = text.find(".target sm_");
  if (text.find(".version") == std::string::npos || target == std::string::npos)
    return false;
  image.portable = true;
  image.architecture = std::atoi(text.c_str() + target + 11);
  for (size_t at = text.find(".entry "); at != std::string::npos; at = text.find(".entry ", at)) {
    at += 7;
    image.kernels.insert(text.substr(at, text.find_first_of(" (\n", at) - at));
  }
  return true;
}

/// Functions of the symbol table. The architecture is in the header's flags, whose place changed
/// with version 8 of the format.
bool readCubin(const unsigned char *bytes, Image &image) {
  Elf64_Ehdr header;
  std::memcpy(&header, bytes, sizeof(header));
  if (std::memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 || header.e_machine != kMachineCuda)
    return false;
  image.architecture = header.e_ident[EI_ABIVERSION] >= 8 ? int(header.e_flags >> 8 & 0xff)
                                                          : int(header.e_flags & 0xff);
  auto section = [&](size_t i) {
    Elf64_Shdr found;
    std::memcpy(&found, bytes + header.e_shoff + i * sizeof(found), sizeof(found));
    return found;
  };
  for (size_t i = 0; i < header.e_shnum; ++i) {
    Elf64_Shdr symbols = section(i);
    if (symbols.sh_type != SHT_SYMTAB)
      continue;
    Elf64_Shdr names = section(symbols.sh_link);
    for (size_t at = 0; at < symbols.sh_size; at += sizeof(Elf64_Sym)) {
      Elf64_Sym symbol;
      std::memcpy(&symbol, bytes + symbols.sh_offset + at, sizeof(symbol));
      if (ELF64_ST_TYPE(symbol.st_info) == STT_FUNC)
        image.kernels.insert(
            reinterpret_cast<const char *>(bytes + names.sh_offset + symbol.st_name));
    }
  }
  return true;
}

const Kernel *findKernel(const std::string &name) {
  auto &kernels = state().kernels;
  if (auto found = kernels.find(name); found != kernels.end())
    return &found->second;
  for (auto &[pattern, kernel] : kernels)
    if (pattern.ends_with('*') &&
        name.compare(0, pattern.size() - 1, pattern, 0, pattern.size() - 1) == 0)
      return &kernel;
  return nullptr;
}

/// Kernels for one processor alone are there when they are named, not by a pattern.
bool named(const std::set<std::string> &kernels, const std::string &name) {
  if (kernels.contains(name))
    return true;
  if (name.find("_warpgroup_") != std::string::npos)
    return false;
  for (const std::string &pattern : kernels)
    if (pattern.ends_with('*') &&
        name.compare(0, pattern.size() - 1, pattern, 0, pattern.size() - 1) == 0)
      return true;
  return false;
}

} // namespace

namespace fakecuda {

std::vector<unsigned char> image(const std::string &architecture,
                                 const std::vector<std::string> &kernels) {
  std::string text = kMagic + architecture + "\n";
  for (const std::string &kernel : kernels)
    text += kernel + "\n";
  std::vector<unsigned char> bytes(text.begin(), text.end());
  bytes.push_back(0);
  return bytes;
}

} // namespace fakecuda

extern "C" {

CUresult cuModuleLoadDataEx(CUmodule *module, const void *data, unsigned, CUjit_option *, void **) {
  State &s = state();
  Lock lock(s.mutex);
  if (CUresult error = s.begin("cuModuleLoadDataEx"))
    return error;
  Image image;
  auto *bytes = static_cast<const unsigned char *>(data);
  bool cubin = std::memcmp(bytes, ELFMAG, SELFMAG) == 0;
  const char *text = static_cast<const char *>(data);
  bool own = std::strncmp(text, kMagic, sizeof(kMagic) - 1) == 0;
  if (!(own ? readOwn(text, image) : cubin ? readCubin(bytes, image) : readPtx(text, image)))
    return CUDA_ERROR_INVALID_IMAGE;
  int device = s.configuration.major * 10 + s.configuration.minor;
  if (image.architecture > device ||
      (!image.portable && image.architecture / 10 != s.configuration.major))
    return image.portable ? CUDA_ERROR_INVALID_PTX : CUDA_ERROR_NO_BINARY_FOR_GPU;
  auto owner = std::make_unique<Module>();
  owner->kernels = image.kernels;
  Module *key = owner.get();
  *module = reinterpret_cast<CUmodule>(key);
  s.modules[key] = std::move(owner);
  return CUDA_SUCCESS;
}

CUresult cuModuleUnload(CUmodule module) {
  State &s = state();
  Lock lock(s.mutex);
  auto *found = reinterpret_cast<Module *>(module);
  std::erase_if(s.functions, [&](auto &entry) {
    if (entry.first.first != found)
      return false;
    s.knownFunctions.erase(entry.second.get());
    return true;
  });
  return s.modules.erase(found) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

CUresult cuModuleGetFunction(CUfunction *function, CUmodule module, const char *name) {
  State &s = state();
  Lock lock(s.mutex);
  auto *found = reinterpret_cast<Module *>(module);
  if (!s.modules.contains(found))
    return CUDA_ERROR_INVALID_HANDLE;
  if (!named(found->kernels, name))
    return CUDA_ERROR_NOT_FOUND;
  auto &entry = s.functions[{found, name}];
  if (!entry)
    entry = std::make_unique<Function>(Function{name});
  s.knownFunctions.insert(entry.get());
  *function = reinterpret_cast<CUfunction>(entry.get());
  return CUDA_SUCCESS;
}

CUresult cuFuncSetAttribute(CUfunction function, CUfunction_attribute attribute, int value) {
  State &s = state();
  Lock lock(s.mutex);
  auto *found = reinterpret_cast<Function *>(function);
  if (!s.knownFunctions.contains(found))
    return CUDA_ERROR_INVALID_HANDLE;
  if (attribute != CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES || value > 227 * 1024)
    return CUDA_ERROR_INVALID_VALUE;
  found->dynamicShared = unsigned(value);
  return CUDA_SUCCESS;
}

CUresult cuLaunchKernel(CUfunction function, unsigned gridX, unsigned gridY, unsigned gridZ,
                        unsigned blockX, unsigned blockY, unsigned blockZ, unsigned sharedBytes,
                        CUstream stream, void **parameters, void **) {
  State &s = state();
  Lock lock(s.mutex);
  if (CUresult error = s.begin("cuLaunchKernel"))
    return error;
  auto *found = reinterpret_cast<Function *>(function);
  Stream *on = s.find(stream);
  if (!on || !s.knownFunctions.contains(found)) {
    s.problem("a function is launched that no loaded module has");
    return CUDA_ERROR_INVALID_HANDLE;
  }
  auto threads = uint64_t(blockX) * blockY * blockZ;
  if (gridX == 0 || gridY == 0 || gridZ == 0 || gridX > 0x7fffffff || gridY > 65535 ||
      gridZ > 65535 || threads == 0 || threads > 1024 || blockZ > 64 ||
      sharedBytes > found->dynamicShared) {
    s.problem("launch " + found->name + ": grid, block or shared memory outside of the limits");
    return CUDA_ERROR_INVALID_VALUE;
  }
  const Kernel *kernel = findKernel(found->name);
  if (!kernel) {
    s.problem("launch " + found->name + ": the test has registered no such kernel");
    return CUDA_ERROR_INVALID_VALUE;
  }
  Launch launch{found->name, {gridX, gridY, gridZ}, {blockX, blockY, blockZ}, sharedBytes, {}};
  for (size_t i = 0; i < kernel->argumentBytes.size(); ++i) {
    auto *begin = static_cast<const unsigned char *>(parameters[i]);
    launch.arguments.emplace_back(begin, begin + kernel->argumentBytes[i]);
  }
  std::vector<Access> accesses =
      kernel->accesses ? kernel->accesses(launch) : std::vector<Access>();
  return s.issue(*on, {"launch " + found->name, accesses,
                       [run = kernel->run, launch = std::move(launch)] { run(launch); }});
}

} // extern "C"
