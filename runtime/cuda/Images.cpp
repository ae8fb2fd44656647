#include "seqpar/rt/cuda/Images.h"

#include "seqpar/program/program_generated.h"

#include <algorithm>
#include <cctype>
#include <cstdlib>

namespace seqpar::rt::cuda {

namespace {

/// "sm_90a" in parts.
struct Architecture {
  bool isPtx;
  int capability;
  char only; ///< 'a': this very processor, 'f': its major version; 0: none of both
};

Architecture parse(std::string_view name) {
  bool ptx = name.starts_with("compute_");
  std::string rest(name.substr(ptx ? 8 : 3));
  char last = rest.empty() ? '\0' : rest.back();
  return {ptx, std::atoi(rest.c_str()),
          std::isalpha(static_cast<unsigned char>(last)) ? last : '\0'};
}

bool runs(const Architecture &image, int capability) {
  bool sameMajor = image.capability / 10 == capability / 10;
  if (image.only == 'a')
    return image.capability == capability;
  if (image.only == 'f' || !image.isPtx)
    return sameMajor && image.capability <= capability;
  return image.capability <= capability;
}

} // namespace

const program::CudaImage *chooseImage(const program::CudaCode &code, int capability) {
  const program::CudaImage *best = nullptr;
  int bestRank = -1;
  for (const program::CudaImage *image : *code.images()) {
    Architecture architecture = parse(image->architecture()->string_view());
    int rank = architecture.capability * 4 + (architecture.isPtx ? 0 : 4000) +
               (architecture.only == 'a'   ? 2
                : architecture.only == 'f' ? 1
                                           : 0);
    if (runs(architecture, capability) && rank > bestRank) {
      best = image;
      bestRank = rank;
    }
  }
  return best;
}

bool isOptional(const program::CudaCode &code) {
  return code.images()->size() &&
         std::all_of(code.images()->begin(), code.images()->end(),
                     [](const program::CudaImage *image) {
                       return parse(image->architecture()->string_view()).only == 'a';
                     });
}

Images::Images(const Context &context, const program::Program &program) : context(context) {
  if (!program.cuda())
    return;
  context.use();
  for (const program::CudaCode *code : *program.cuda()) {
    const program::CudaImage *image = chooseImage(*code, context.capability());
    if (image)
      modules.push_back(load(*code, *image));
    if (image || isOptional(*code))
      continue;
    std::string found;
    for (const program::CudaImage *each : *code->images())
      found += (found.empty() ? "" : ", ") + each->architecture()->str();
    fail("expected {} kernels in the program for sm_{} ({}) or PTX of an older one, found {}; "
         "compile it for this GPU",
         code->name()->string_view(), context.capability(), context.name(),
         found.empty() ? "none" : found);
  }
}

Images::~Images() {
  if (!context.tryUse())
    return;
  for (CUmodule module : modules)
    context->cuModuleUnload(module);
}

CUmodule Images::load(const program::CudaCode &code, const program::CudaImage &image) const {
  // The driver reads PTX up to a closing zero, which the program does not keep.
  std::string bytes(reinterpret_cast<const char *>(image.image()->data()), image.image()->size());
  char log[1024] = {};
  CUjit_option options[] = {CU_JIT_ERROR_LOG_BUFFER, CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES};
  void *values[] = {log, reinterpret_cast<void *>(sizeof(log) - 1)};
  CUmodule module = nullptr;
  CUresult result = context->cuModuleLoadDataEx(&module, bytes.c_str(), 2, options, values);
  if (result != CUDA_SUCCESS) {
    std::string reason(log);
    for (char &c : reason)
      c = c == '\n' ? ' ' : c;
    fail("the driver (CUDA {}.{}) refuses the {} kernels for {} on {}: {}{}{}",
         context.driver().version() / 1000, context.driver().version() % 1000 / 10,
         code.name()->string_view(), image.architecture()->string_view(), context.name(),
         context.driver().describe(result), reason.empty() ? "" : ": ", reason);
  }
  return module;
}

CUfunction Images::find(const std::string &symbol) const {
  for (CUmodule module : modules) {
    CUfunction function = nullptr;
    if (context->cuModuleGetFunction(&function, module, symbol.c_str()) == CUDA_SUCCESS)
      return function;
  }
  return nullptr;
}

CUfunction Images::get(const std::string &symbol) const {
  if (CUfunction function = find(symbol))
    return function;
  fail("the program's CUDA code lacks the kernel {}; compile the program again for --device=cuda",
       symbol);
}

} // namespace seqpar::rt::cuda
