//===- AddKernelsTest.cpp - the runtime's own PTX -------------------------===//

#include "seqpar/rt/cuda/DeviceMemory.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <unistd.h>

namespace seqpar::rt::test {

TEST(AddKernels, AssembleForEveryArchitecture) {
  namespace fs = std::filesystem;
  fs::path folder = fs::temp_directory_path() / ("seqpar-add-" + std::to_string(getpid()));
  fs::create_directories(folder);
  std::ofstream(folder / "add.ptx") << cuda::addKernels();
  for (const char *architecture : {"sm_80", "sm_90"}) {
    std::string command = fmt::format("{} -arch={} -o {}/add.cubin {}/add.ptx", SEQPAR_PTXAS,
                                      architecture, folder.string(), folder.string());
    EXPECT_EQ(std::system(command.c_str()), 0) << architecture;
  }
  fs::remove_all(folder);
}

} // namespace seqpar::rt::test
