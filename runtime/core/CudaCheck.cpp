//===- CudaCheck.cpp - CUDA code of a program -----------------------------===//
#include "ProgramCheck.h"

#include "seqpar/rt/Error.h"

#include <set>
#include <string_view>

namespace seqpar::rt {

using namespace program;

namespace {

constexpr int kMaxThreads = 1024;
constexpr int kMaxBlocksY = 65535;
constexpr int kMaxSharedBytes = 227 * 1024; ///< what any architecture lets a block have
/// Of a row or a part: far above what kernels need, and low enough for products with row numbers.
constexpr uint64_t kMaxWorkspaceBytes = uint64_t(1) << 31;

void checkLaunch(const CudaLaunch &launch) {
  auto within = [&](const char *name, int value, int least, int most) {
    if (value < least || value > most)
      fail("cuda launch {}: {} is {}, expected {} to {}", launch.symbol()->string_view(), name,
           value, least, most);
  };
  constexpr int kLargest = std::numeric_limits<int32_t>::max();
  if (launch.symbol()->size() == 0)
    fail("cuda launch: its symbol is empty");
  within("threads", launch.threads(), 1, kMaxThreads);
  within("rows_per_block", launch.rows_per_block(), 0, kMaxThreads);
  within("blocks", launch.blocks(), 1, kLargest);
  within("blocks_y", launch.blocks_y(), 1, kMaxBlocksY);
  within("shared_bytes", launch.shared_bytes(), 0, kMaxSharedBytes);
}

void checkRowKernel(const CudaRowKernel &kernel, std::set<std::string_view> &symbols) {
  if (kernel.part_bytes() > kMaxWorkspaceBytes || kernel.row_bytes() > kMaxWorkspaceBytes)
    fail("cuda: a workspace of {} bytes a row and {} a part, expected at most {}",
         kernel.row_bytes(), kernel.part_bytes(), kMaxWorkspaceBytes);
  if (kernel.launches()->size() == 0)
    fail("cuda: expected at least one launch");
  for (const CudaLaunch *launch : *kernel.launches()) {
    checkLaunch(*launch);
    if (!symbols.insert(launch->symbol()->string_view()).second)
      fail("cuda launch {}: another kernel has the same symbol", launch->symbol()->string_view());
  }
}

/// "sm_90" or "compute_90", with an "a" or "f" behind it where the code needs just that processor.
bool isArchitecture(std::string_view name) {
  for (std::string_view prefix : {"sm_", "compute_"}) {
    if (!name.starts_with(prefix))
      continue;
    std::string_view number = name.substr(prefix.size());
    if (number.ends_with('a') || number.ends_with('f'))
      number.remove_suffix(1);
    return (number.size() == 2 || number.size() == 3) &&
           number.find_first_not_of("0123456789") == number.npos;
  }
  return false;
}

void checkImage(const CudaImage &image) {
  std::string_view architecture = image.architecture()->string_view();
  if (!isArchitecture(architecture))
    fail("expected an architecture like sm_90 or compute_90, found \"{}\"", architecture);
  std::string_view bytes(reinterpret_cast<const char *>(image.image()->data()),
                         image.image()->size());
  if (architecture.starts_with("sm_") && !bytes.starts_with("\177ELF"))
    fail("the image for {} is no ELF file", architecture);
  if (architecture.starts_with("compute_") &&
      (bytes.find(".version") == bytes.npos || bytes.find('\0') != bytes.npos))
    fail("the image for {} is no PTX", architecture);
}

/// Puts "NAME NUMBER: " in front of an error's text.
template <typename Check> void naming(const char *name, unsigned number, Check check) {
  try {
    check();
  } catch (const Error &error) {
    fail("{} {}: {}", name, number, error.what());
  }
}

} // namespace

void checkCuda(const Program &program) {
  std::set<std::string_view> symbols;
  for (unsigned i = 0; i < program.kernels()->size(); ++i) {
    const Kernel &kernel = *program.kernels()->Get(i);
    if (kernel.cuda())
      naming("kernel", i, [&] { checkRowKernel(*kernel.cuda(), symbols); });
  }
  if (!program.cuda())
    return;
  for (unsigned i = 0; i < program.cuda()->size(); ++i)
    naming("cuda code", i, [&] {
      for (const CudaImage *image : *program.cuda()->Get(i)->images())
        checkImage(*image);
    });
}

} // namespace seqpar::rt
