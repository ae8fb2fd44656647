//===- DeviceConformance.h - cases that every Device passes -----*- C++ -*-===//
//
// The Device*Conformance.cpp files are linked into one test program per back end, which supplies
// deviceCases() and registers nothing else: the cases run on every device of the list and compare
// with plain double-precision references.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "seqpar/rt/Device.h"
#include "seqpar/rt/Float16.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
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

inline float rounded(FloatType type, float value) {
  return type == FloatType::F32    ? value
         : type == FloatType::BF16 ? fromBf16(toBf16(value))
                                   : fromF16(toF16(value));
}

/// Half the distance between a type's numbers at `value`: what rounding to the nearest may change.
inline double halfUnit(FloatType type, double value) {
  int digits = type == FloatType::F32 ? 24 : type == FloatType::BF16 ? 8 : 11;
  int smallest = type == FloatType::F16 ? -14 : -126;
  return std::ldexp(1.0, std::max(value == 0 ? smallest : std::ilogb(value), smallest) - digits);
}

/// An array of a floating type on a device, from and to fp32 numbers.
class FloatArray {
public:
  FloatArray(Device &device, const std::vector<float> &values, FloatType type)
      : type(type), bytes(device, stored(values, type)) {}

  void *data() const { return bytes.data(); }
  std::vector<float> values() const {
    std::vector<uint8_t> from = bytes.values();
    std::vector<float> result(from.size() / bytesOf(type));
    for (size_t i = 0; i < result.size(); ++i) {
      uint16_t bits;
      if (type == FloatType::F32) {
        std::memcpy(&result[i], &from[i * sizeof(float)], sizeof(float));
        continue;
      }
      std::memcpy(&bits, &from[i * sizeof(bits)], sizeof(bits));
      result[i] = type == FloatType::BF16 ? fromBf16(bits) : fromF16(bits);
    }
    return result;
  }

private:
  static std::vector<uint8_t> stored(const std::vector<float> &values, FloatType type) {
    std::vector<uint8_t> to(values.size() * bytesOf(type));
    for (size_t i = 0; i < values.size(); ++i) {
      uint16_t bits = type == FloatType::BF16 ? toBf16(values[i]) : toF16(values[i]);
      if (type == FloatType::F32)
        std::memcpy(&to[i * sizeof(float)], &values[i], sizeof(float));
      else
        std::memcpy(&to[i * sizeof(bits)], &bits, sizeof(bits));
    }
    return to;
  }

  FloatType type;
  DeviceArray<uint8_t> bytes;
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
