//===- CommunicatorConformance.h - cases for every Communicator -*- C++ -*-===//
//
// CommunicatorConformance.cpp is linked into one test program per transport, which supplies
// communicatorCases(): the cases run on every transport of the list.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "seqpar/rt/Communicator.h"

#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

namespace seqpar::rt::test {

/// What one rank does.
using RankBody = std::function<void(Communicator &)>;

struct CommunicatorCase {
  std::string name; ///< letters, digits and underscores
  /// Runs the body on every rank of a grid at the same time and returns what each threw, by rank;
  /// empty for a rank that returned. A rank that throws aborts the others.
  std::function<std::vector<std::string>(Grid, const RankBody &)> run;
};

inline void PrintTo(const CommunicatorCase &value, std::ostream *stream) { *stream << value.name; }

/// Given by the test program of a transport.
std::vector<CommunicatorCase> communicatorCases();

class CommunicatorConformance : public testing::TestWithParam<CommunicatorCase> {
protected:
  /// Runs the body and expects that no rank fails.
  void run(Grid grid, const RankBody &body) {
    std::vector<std::string> errors = GetParam().run(grid, body);
    ASSERT_EQ(errors.size(), static_cast<size_t>(grid.size()));
    for (const std::string &error : errors)
      EXPECT_EQ(error, "");
  }
};

} // namespace seqpar::rt::test
