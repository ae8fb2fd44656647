//===- DeviceRowKernelConformance.cpp - launches of row kernels -----------===//

#include "DeviceConformance.h"
#include "DeviceKernels.h"

#include "seqpar/program/program_generated.h"
#include "seqpar/rt/Error.h"

#include <algorithm>

namespace seqpar::rt::test {
namespace {

constexpr int64_t kRowCounts[] = {0, 1, 2, 100, 300, 5000};

class RowKernelConformance : public DeviceConformance {
protected:
  void SetUp() override {
    DeviceConformance::SetUp();
    device->loadKernels(*program::GetProgram(kernelProgram().data()));
  }

  void launch(int kernel, std::vector<void *> operands, int64_t rows, bool accumulate = false) {
    device->rowKernel({kernel, operands, rows, accumulate});
  }
};

std::vector<int32_t> indices(int64_t rows) {
  std::vector<int32_t> result(rows);
  for (int64_t i = 0; i < rows; ++i)
    result[i] = int32_t(i * 5 % kRowsOfTable) - 1; // the last row is never named, -1 is no row
  return result;
}

TEST_P(RowKernelConformance, RunsEveryRowOnce) {
  for (int64_t rows : kRowCounts) {
    std::vector<float> x = randomFloats(rows * kColumns, 1), s = randomFloats(rows, 2),
                       bias = randomFloats(kColumns, 3), factor = {3.0f},
                       expected((rows + 1) * kColumns, -1.0f);
    DeviceArray<float> deviceX(*device, x), deviceS(*device, s), deviceBias(*device, bias),
        deviceFactor(*device, factor), y(*device, expected);
    for (int64_t i = 0; i < rows * kColumns; ++i)
      expected[i] = x[i] * s[i / kColumns] + bias[i % kColumns] * 3.0f;
    launch(ScaleAndBias,
           {deviceX.data(), deviceS.data(), deviceBias.data(), deviceFactor.data(), y.data()},
           rows);
    EXPECT_LT(relativeDifference(y.values(), expected), 1e-6) << rows << " rows";
  }
}

TEST_P(RowKernelConformance, SumsOverRows) {
  for (int64_t rows : kRowCounts)
    for (bool accumulate : {false, true}) {
      std::vector<float> x = randomFloats(rows * kColumns, 4);
      std::vector<double> sums(kColumns, accumulate ? 10.0 : 0.0);
      double squares = accumulate ? 20.0 : 0.0;
      for (int64_t i = 0; i < rows * kColumns; ++i) {
        sums[i % kColumns] += x[i];
        squares += double(x[i]) * x[i];
      }
      DeviceArray<float> deviceX(*device, x),
          deviceSums(*device, std::vector<float>(kColumns + 1, 10.0f)), y(*device, x);
      DeviceArray<double> deviceSquares(*device, {20.0});
      DeviceArray<int32_t> count(*device, {30});
      launch(SumRows,
             {deviceX.data(), deviceSums.data(), deviceSquares.data(), count.data(), y.data()},
             rows, accumulate);
      sums.push_back(10.0); // beyond the operand: untouched
      EXPECT_LT(relativeDifference(deviceSums.values(), sums), 2e-6) << rows << " rows";
      EXPECT_NEAR(deviceSquares.values()[0], squares, 1e-9 * std::max(1.0, squares));
      EXPECT_EQ(count.values()[0], rows + (accumulate ? 30 : 0));
    }
}

TEST_P(RowKernelConformance, GathersAndScatters) {
  for (int64_t rows : kRowCounts) {
    std::vector<float> table = randomFloats(kRowsOfTable * kColumns, 5),
                       x = randomFloats(rows * kColumns, 6), gathered(rows * kColumns);
    std::vector<int32_t> index = indices(rows);
    DeviceArray<float> deviceTable(*device, table), deviceX(*device, x), y(*device, gathered);
    DeviceArray<int32_t> deviceIndex(*device, index);
    launch(Gather, {deviceTable.data(), deviceIndex.data(), y.data()}, rows);
    std::vector<double> sums(table.begin(), table.end());
    for (int64_t i = 0; i < rows * kColumns; ++i) {
      int64_t row = index[i / kColumns], element = row * kColumns + i % kColumns;
      gathered[i] = row < 0 ? 0 : table[element];
      if (row >= 0)
        sums[element] += x[i];
    }
    EXPECT_EQ(y.values(), gathered);
    launch(ScatterAdd, {deviceX.data(), deviceIndex.data(), deviceTable.data()}, rows);
    EXPECT_LT(relativeDifference(deviceTable.values(), sums), 2e-6) << rows << " rows";
  }
}

TEST_P(RowKernelConformance, ErrorsNameTheKernelAndTheOperands) {
  auto message = [&](int kernel, std::vector<void *> operands) -> std::string {
    try {
      launch(kernel, operands, 1);
    } catch (const Error &error) {
      return error.what();
    }
    return "";
  };
  EXPECT_NE(message(17, {}).find("a kernel from 0 to 3, found 17"), std::string::npos);
  EXPECT_NE(message(Gather, {nullptr}).find("gather: expected 3 operands, found 1"),
            std::string::npos);
}

INSTANTIATE_TEST_SUITE_P(Devices, RowKernelConformance, testing::ValuesIn(deviceCases()), caseName);

} // namespace

INSTANTIATE_TEST_SUITE_P(Devices, DeviceConformance, testing::ValuesIn(deviceCases()), caseName);

} // namespace seqpar::rt::test
