//===- DeviceConformance.h - cases that every Device passes -----*- C++ -*-===//
//
// The Device*Conformance.cpp files are linked into one test program per back end, which supplies
// deviceCases() and registers nothing else: the cases run on every device of the list and compare
// with plain double-precision references.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "seqpar/rt/Device.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <vector>

namespace seqpar::rt::test {

struct DeviceCase {
  std::string name; ///< letters, digits and underscores
  std::function<std::unique_ptr<Device>()> create;
};

/// Given by the test program of a back end.
std::vector<DeviceCase> deviceCases();

/// A finished program file with the kernels of DeviceKernels.h and images for every back end that
/// the test program knows. Given by the test program of a back end.
const std::vector<uint8_t> &kernelProgram();

class DeviceConformance : public testing::TestWithParam<DeviceCase> {
protected:
  void SetUp() override { device = GetParam().create(); }
  std::unique_ptr<Device> device;
};

inline std::string caseName(const testing::TestParamInfo<DeviceCase> &info) {
  return info.param.name;
}

/// An array on a device.
template <typename T> class DeviceArray {
public:
  DeviceArray(Device &device, const std::vector<T> &values)
      : device(device), count(values.size()), memory(device.allocate(count * sizeof(T))) {
    device.copyToDevice(memory, values.data(), count * sizeof(T));
  }
  ~DeviceArray() { device.release(memory); }
  DeviceArray(const DeviceArray &) = delete;
  DeviceArray &operator=(const DeviceArray &) = delete;

  T *data() const { return static_cast<T *>(memory); }
  std::vector<T> values() const {
    std::vector<T> result(count);
    device.synchronize();
    device.copyToHost(result.data(), memory, count * sizeof(T));
    device.synchronize();
    return result;
  }

private:
  Device &device;
  size_t count;
  void *memory;
};

inline std::vector<float> randomFloats(size_t count, uint32_t seed) {
  std::mt19937 generator(seed);
  std::vector<float> values(count);
  for (float &value : values)
    value = float(generator()) / 2147483648.0f - 1.0f;
  return values;
}

/// Largest difference relative to the largest magnitude expected; infinities and NaN must agree.
template <typename T>
double relativeDifference(const std::vector<float> &found, const std::vector<T> &expected) {
  if (found.size() != expected.size())
    return INFINITY;
  double largest = 1e-30, difference = 0;
  for (T value : expected)
    if (std::isfinite(value))
      largest = std::max(largest, std::abs(double(value)));
  for (size_t i = 0; i < found.size(); ++i) {
    if (std::isfinite(expected[i]) && std::isfinite(found[i]))
      difference = std::max(difference, std::abs(double(found[i]) - double(expected[i])));
    else if (double(found[i]) != double(expected[i]))
      return INFINITY;
  }
  return difference / largest;
}

} // namespace seqpar::rt::test
