//===- DeviceMemoryConformance.cpp - allocation and copies ----------------===//

#include "DeviceConformance.h"

#include "seqpar/rt/Error.h"

namespace seqpar::rt::test {
namespace {

TEST_P(DeviceConformance, AllocatesAligned) {
  for (size_t bytes : {size_t(0), size_t(1), size_t(100), size_t(5) << 20}) {
    void *memory = device->allocate(bytes);
    ASSERT_NE(memory, nullptr);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(memory) % 64, 0u) << bytes;
    device->release(memory);
  }
}

TEST_P(DeviceConformance, AllocationErrorNamesTheSize) {
  for (size_t bytes : {size_t(1) << 60, SIZE_MAX}) {
    try {
      device->release(device->allocate(bytes));
      FAIL() << "an allocation of " << bytes << " bytes succeeded";
    } catch (const Error &error) {
      EXPECT_NE(std::string(error.what()).find(std::to_string(bytes)), std::string::npos)
          << error.what();
    }
  }
}

TEST_P(DeviceConformance, CopiesAndZeroes) {
  for (size_t count : {size_t(0), size_t(1), size_t(1000), (size_t(3) << 18) + 5}) {
    std::vector<float> values = randomFloats(count, 1);
    DeviceArray<float> array(*device, values);
    EXPECT_EQ(array.values(), values);
    size_t begin = count / 3, end = count / 2;
    device->zero(array.data() + begin, (end - begin) * sizeof(float));
    std::fill(values.begin() + begin, values.begin() + end, 0.0f);
    EXPECT_EQ(array.values(), values);
  }
}

} // namespace
} // namespace seqpar::rt::test
