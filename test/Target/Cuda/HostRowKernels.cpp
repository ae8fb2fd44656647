//===- HostRowKernels.cpp - CUDA text of row kernels run on the host -------===//
#include "HostRowKernels.h"
#include "TestPaths.h"

#include <gtest/gtest.h>

#include <dlfcn.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>

using namespace seqpar;
using namespace seqpar::test;

HostRowKernels::HostRowKernels(const std::string &source, const std::vector<Kernel> &kernels) {
  compile(source, kernels);
}

void HostRowKernels::compile(const std::string &source, const std::vector<Kernel> &kernels) {
  std::string folder = std::filesystem::temp_directory_path() / "seqpar-host-cuda-XXXXXX";
  ASSERT_NE(mkdtemp(folder.data()), nullptr);
  std::ofstream text(folder + "/rows.cu");
  text << source;
  for (const Kernel &kernel : kernels)
    for (const CudaLaunch &launch : kernel.cuda.launches)
      text << "HOSTCUDA_ENTRY(" << launch.symbol << ")\n";
  text.close();
  std::string here = SEQPAR_TEST_DIR "/Target/Cuda";
  std::string command = SEQPAR_HOST_COMPILER " -std=c++20 -O1 -fPIC -shared -Wno-unknown-pragmas "
                                             "-I" +
                        here + "/Host -include " + here + "/HostCuda.h -x c++ " + folder +
                        "/rows.cu -o " + folder + "/rows.so";
  ASSERT_EQ(std::system(command.c_str()), 0) << command;
  library = dlopen((folder + "/rows.so").c_str(), RTLD_NOW | RTLD_LOCAL);
  ASSERT_NE(library, nullptr) << dlerror();
  std::filesystem::remove_all(folder);
}

HostRowKernels::~HostRowKernels() {
  if (library)
    dlclose(library);
}

HostRowKernels::Launch HostRowKernels::find(const std::string &symbol) const {
  void *found = library ? dlsym(library, ("host_" + symbol).c_str()) : nullptr;
  EXPECT_NE(found, nullptr) << symbol;
  return reinterpret_cast<Launch>(found);
}

void HostRowKernels::run(const Kernel &kernel, void *const *operands, int64_t rows, bool accumulate,
                         unsigned order) const {
  ASSERT_NE(library, nullptr);
  ASSERT_FALSE(kernel.cuda.launches.empty());
  auto countBlocks = [&](const CudaLaunch &launch) {
    return std::min<int64_t>((rows + launch.rowsPerBlock - 1) / launch.rowsPerBlock, launch.blocks);
  };
  const CudaLaunch &first = kernel.cuda.launches.front();
  int64_t parts = first.rowsPerBlock > 0 ? countBlocks(first) * first.rowsPerBlock : 0;
  size_t bytes = rows * kernel.cuda.rowBytes + parts * kernel.cuda.partBytes;
  constexpr size_t kGuard = 64;
  constexpr unsigned char kGuardByte = 0x5a;
  std::vector<unsigned char> memory(bytes + 2 * kGuard + 256, 0xff);
  unsigned char *workspace = memory.data() + kGuard;
  workspace += (256 - reinterpret_cast<uintptr_t>(workspace) % 256) % 256;
  std::fill(workspace - kGuard, workspace, kGuardByte);
  std::fill(workspace + bytes, workspace + bytes + kGuard, kGuardByte);

  long long rowCount = rows;
  int adds = accumulate;
  std::vector<void *> pointers(operands, operands + kernel.operands.size());
  std::vector<void *> parameters;
  for (void *&pointer : pointers)
    parameters.push_back(&pointer);
  parameters.insert(parameters.end(), {&rowCount, &workspace, &adds});
  for (const CudaLaunch &launch : kernel.cuda.launches) {
    Launch entry = find(launch.symbol);
    if (!entry)
      return;
    if (launch.rowsPerBlock > 0 && rows == 0)
      continue;
    unsigned blocks = launch.rowsPerBlock > 0 ? countBlocks(launch) : launch.blocks;
    unsigned grid[] = {blocks, unsigned(launch.blocksY), 1},
             block[] = {unsigned(launch.threads), 1, 1};
    const char *error = entry(grid, block, launch.sharedBytes, parameters.data(), order);
    ASSERT_EQ(error, nullptr) << launch.symbol;
  }
  auto isGuard = [](unsigned char byte) { return byte == kGuardByte; };
  EXPECT_TRUE(std::all_of(workspace - kGuard, workspace, isGuard) &&
              std::all_of(workspace + bytes, workspace + bytes + kGuard, isGuard))
      << kernel.symbol << " writes outside of its workspace";
}
