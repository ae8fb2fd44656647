//===- Nvrtc.cpp - CUDA C++ to images -------------------------------------===//
//
// NVRTC is loaded when it is first needed, so that neither building nor running seqpar needs it.
//
//===----------------------------------------------------------------------===//
#include "seqpar/Target/Cuda/Nvrtc.h"

#include "seqpar/Target/Cuda/ImageCache.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/SmallVector.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/raw_ostream.h"

#include <dlfcn.h>

#include <cstdlib>
#include <thread>

using namespace llvm;
using namespace seqpar;
using namespace seqpar::cuda;

namespace {

/// NVRTC's functions, with the types of its C interface. Results are 0 when all is well.
struct Nvrtc {
  using Program = void *;
  int (*version)(int *major, int *minor) = nullptr;
  int (*createProgram)(Program *program, const char *source, const char *name, int headers,
                       const char *const *headerTexts, const char *const *headerNames) = nullptr;
  int (*compileProgram)(Program program, int count, const char *const *options) = nullptr;
  int (*destroyProgram)(Program *program) = nullptr;
  int (*getLogSize)(Program program, size_t *size) = nullptr;
  int (*getLog)(Program program, char *log) = nullptr;
  int (*getCubinSize)(Program program, size_t *size) = nullptr;
  int (*getCubin)(Program program, char *cubin) = nullptr;
  int (*getPtxSize)(Program program, size_t *size) = nullptr;
  int (*getPtx)(Program program, char *ptx) = nullptr;
  const char *(*getErrorString)(int result) = nullptr;
  std::string missing; ///< why it cannot be used

  static const Nvrtc &get() {
    static Nvrtc nvrtc;
    return nvrtc;
  }

private:
  Nvrtc();
};

Nvrtc::Nvrtc() {
  SmallVector<std::string> names;
  if (const char *wanted = std::getenv("SEQPAR_NVRTC"))
    names.push_back(wanted);
  else
    names = {SEQPAR_NVRTC, "libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so"};
  erase_if(names, [](const std::string &name) { return name.empty(); });
  void *library = nullptr;
  for (const std::string &name : names)
    if (!library)
      library = dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!library) {
    missing = "expected NVRTC to compile CUDA kernels, found none of " + join(names, ", ") +
              "; install the CUDA toolkit or name the library in SEQPAR_NVRTC";
    return;
  }
  auto find = [&](auto &function, const char *name) {
    function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(dlsym(library, name));
    if (!function && missing.empty())
      missing = std::string("expected NVRTC 12 or later, found one without ") + name;
  };
  find(version, "nvrtcVersion");
  find(createProgram, "nvrtcCreateProgram");
  find(compileProgram, "nvrtcCompileProgram");
  find(destroyProgram, "nvrtcDestroyProgram");
  find(getLogSize, "nvrtcGetProgramLogSize");
  find(getLog, "nvrtcGetProgramLog");
  find(getCubinSize, "nvrtcGetCUBINSize");
  find(getCubin, "nvrtcGetCUBIN");
  find(getPtxSize, "nvrtcGetPTXSize");
  find(getPtx, "nvrtcGetPTX");
  find(getErrorString, "nvrtcGetErrorString");
}

/// The toolkit's headers: those seen by CMake, or beside the library that is loaded.
std::string findIncludeFolder() {
  SmallString<256> beside;
  Dl_info info;
  if (dladdr(reinterpret_cast<void *>(Nvrtc::get().version), &info) && info.dli_fname) {
    beside = sys::path::parent_path(sys::path::parent_path(info.dli_fname));
    sys::path::append(beside, "include");
  }
  for (StringRef folder : {StringRef(beside), StringRef(SEQPAR_CUDA_INCLUDE)})
    if (!folder.empty() && sys::fs::exists(folder + "/cuda_bf16.h"))
      return folder.str();
  return "";
}

/// One compilation.
struct Job {
  CudaCode *code;
  std::string architecture;
  std::string log{}, error{};
  std::vector<uint8_t> image{};
  std::string notKept{}; ///< why
  void run(const std::string &include, const ImageCache *cache);

private:
  std::vector<std::string> makeOptions(const std::string &include) const;
  std::string getKey(const std::string &include) const;
  void compile(const std::string &include);
  template <typename Size, typename Get> void fetch(void *program, Size size, Get get, bool text);
};

/// A text comes with a closing zero, which is left out.
template <typename Size, typename Get>
void Job::fetch(void *program, Size size, Get get, bool text) {
  size_t bytes = 0;
  if (size(program, &bytes) == 0) {
    image.resize(bytes);
    get(program, reinterpret_cast<char *>(image.data()));
  }
  while (text && !image.empty() && image.back() == 0)
    image.pop_back();
  if (image.empty())
    error = "NVRTC made no code for " + architecture;
}

/// The first error of a log, in one line.
std::string findError(StringRef log, StringRef otherwise) {
  SmallVector<StringRef> lines;
  log.split(lines, '\n', -1, /*KeepEmpty=*/false);
  for (StringRef line : lines)
    if (line.contains("error"))
      return line.trim().str();
  return lines.empty() ? otherwise.str() : lines.front().trim().str();
}

std::vector<std::string> Job::makeOptions(const std::string &include) const {
  std::vector<std::string> options = {"--gpu-architecture=" + architecture, "--std=c++17",
                                      "--device-as-default-execution-space"};
  if (StringRef(architecture).starts_with("sm_"))
    options.push_back("--ptxas-options=-v");
  if (!include.empty())
    options.push_back("--include-path=" + include);
  return options;
}

/// The library that is loaded: its version leaves out some updates, its file does not.
std::string getLibraryId() {
  Dl_info info;
  sys::fs::file_status status;
  SmallString<256> path;
  if (!dladdr(reinterpret_cast<void *>(Nvrtc::get().version), &info) || !info.dli_fname ||
      sys::fs::real_path(info.dli_fname, path) || sys::fs::status(path, status))
    return "";
  return formatv("{0} {1} {2}", path, status.getSize(),
                 status.getLastModificationTime().time_since_epoch().count());
}

/// All that an image depends on; of the toolkit's headers, those that the text names, and where
/// they have their bodies.
std::string Job::getKey(const std::string &include) const {
  std::vector<std::string> parts = makeOptions(include);
  parts.push_back(getNvrtcVersion());
  parts.push_back(getLibraryId());
  parts.push_back(code->name);
  parts.push_back(code->source);
  SmallVector<StringRef> lines;
  StringRef(code->source).split(lines, '\n');
  for (StringRef line : lines)
    if (line.consume_front("#include <")) {
      std::string path = include + "/" + line.split('>').first.str();
      for (const std::string &each : {path, path + "pp"}) { // X.h and X.hpp
        auto header = MemoryBuffer::getFile(each);
        parts.push_back(header ? (*header)->getBuffer().str() : "");
      }
    }
  return ImageCache::getKey(SmallVector<StringRef>(parts.begin(), parts.end()));
}

void Job::run(const std::string &include, const ImageCache *cache) {
  std::string key;
  if (cache) {
    key = getKey(include);
    if (std::optional<ImageCache::Entry> known = cache->find(key)) {
      image = std::move(known->image);
      log = std::move(known->log);
      return;
    }
  }
  compile(include);
  if (cache && error.empty())
    cache->add(key, {image, log}, notKept);
}

void Job::compile(const std::string &include) {
  const Nvrtc &nvrtc = Nvrtc::get();
  std::string name = code->name + ".cu";
  std::vector<std::string> texts = makeOptions(include);
  std::vector<const char *> options;
  for (const std::string &text : texts)
    options.push_back(text.c_str());
  bool isCubin = StringRef(architecture).starts_with("sm_");
  void *program = nullptr;
  int result =
      nvrtc.createProgram(&program, code->source.c_str(), name.c_str(), 0, nullptr, nullptr);
  if (result == 0)
    result = nvrtc.compileProgram(program, int(options.size()), options.data());
  size_t bytes = 0;
  if (program && nvrtc.getLogSize(program, &bytes) == 0) {
    log.resize(bytes);
    nvrtc.getLog(program, log.data());
    while (!log.empty() && log.back() == 0)
      log.pop_back();
  }
  if (result != 0)
    error = findError(log, nvrtc.getErrorString(result)) + " (for " + architecture + ")";
  else if (isCubin)
    fetch(program, nvrtc.getCubinSize, nvrtc.getCubin, /*text=*/false);
  else
    fetch(program, nvrtc.getPtxSize, nvrtc.getPtx, /*text=*/true);
  if (program)
    nvrtc.destroyProgram(&program);
}

/// The number before `word` in a line like "8 bytes stack frame, 0 bytes spill stores".
int64_t numberBefore(StringRef line, StringRef word) {
  size_t at = line.find(word);
  if (at == StringRef::npos)
    return 0;
  StringRef before = line.take_front(at).rtrim();
  StringRef digits = before.take_back(before.size() - before.find_last_not_of("0123456789") - 1);
  int64_t number = 0;
  digits.getAsInteger(10, number);
  return number;
}

/// What the assembler says with -v:
///   ptxas info    : Compiling entry function 'NAME' for 'sm_90'
///   ptxas info    : Function properties for NAME
///   ptxas         .     0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
///   ptxas info    : Used 16 registers, used 1 barriers, 32 bytes smem, 376 bytes cmem[0]
void parseUsages(const Job &job, std::vector<KernelUsage> &usages) {
  SmallVector<StringRef> lines;
  StringRef(job.log).split(lines, '\n');
  for (StringRef line : lines) {
    if (line.contains("Compiling entry function '")) {
      KernelUsage usage;
      usage.symbol = line.split('\'').second.split('\'').first.str();
      usage.architecture = job.architecture;
      usages.push_back(usage);
    }
    if (usages.empty())
      continue;
    KernelUsage &usage = usages.back();
    if (line.contains("bytes stack frame")) {
      usage.stackBytes += numberBefore(line, " bytes stack frame");
      usage.spillStores += numberBefore(line, " bytes spill stores");
      usage.spillLoads += numberBefore(line, " bytes spill loads");
    }
    if (line.contains("Used ")) {
      usage.registers = int(numberBefore(line, " registers"));
      usage.sharedBytes = numberBefore(line, " bytes smem");
    }
  }
}

} // namespace

bool cuda::hasNvrtc(std::string &reason) {
  reason = Nvrtc::get().missing;
  return reason.empty();
}

std::string cuda::getNvrtcVersion() {
  int major = 0, minor = 0;
  if (!Nvrtc::get().missing.empty() || Nvrtc::get().version(&major, &minor) != 0)
    return "";
  return std::to_string(major) + "." + std::to_string(minor);
}

bool cuda::compileImages(MutableArrayRef<CudaCode> codes, ArrayRef<StringRef> architectures,
                         std::string &error, std::vector<KernelUsage> *usages,
                         const ImageCache *cache) {
  if (!hasNvrtc(error))
    return false;
  std::string include = findIncludeFolder();
  std::vector<Job> jobs;
  for (CudaCode &code : codes) {
    for (const std::string &own : code.architectures)
      jobs.push_back({&code, own});
    for (StringRef architecture :
         code.architectures.empty() ? architectures : ArrayRef<StringRef>())
      jobs.push_back({&code, architecture.str()});
  }
  std::vector<std::thread> threads;
  for (Job &job : jobs)
    threads.emplace_back([&] { job.run(include, cache); });
  for (std::thread &thread : threads)
    thread.join();
  auto notKept = find_if(jobs, [](const Job &job) { return !job.notKept.empty(); });
  if (notKept != jobs.end())
    errs() << notKept->notKept << "; CUDA images are not kept\n";
  for (Job &job : jobs) {
    if (!job.error.empty()) {
      error = job.error;
      return false;
    }
    if (usages)
      parseUsages(job, *usages);
    job.code->images.push_back({job.architecture, std::move(job.image)});
  }
  return true;
}
