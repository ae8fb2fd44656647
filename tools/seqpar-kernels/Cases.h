//===- Cases.h - the compute of a program, one piece at a time --*- C++ -*-===//
#pragma once

#include "seqpar/program/program_generated.h"
#include "seqpar/rt/Device.h"
#include "seqpar/rt/ProgramFile.h"

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace seqpar::tool {

/// Values of one array of a case, the same for every device that runs it.
struct Array {
  std::vector<uint8_t> bytes;
  program::DataType type = program::DataType::F32;
  bool compared = false; ///< a result
  bool rounded = false;  ///< made from probabilities that a device may round to 16 bits
  std::string name;
};

/// One distinct launch, product or attention block of a program.
struct Case {
  std::string kind;  ///< "row kernel", "gemm", "attention forward", "attention backward"
  std::string what;  ///< its name and extents
  std::string place; ///< of the first instruction that is one, in the model
  std::vector<Array> arrays;
  /// Runs it on a device, given the addresses of the arrays there.
  std::function<void(rt::Device &, const std::vector<void *> &)> run;
  double bytes = 0;      ///< that it must move, for row kernels
  double operations = 0; ///< that it is credited with, for the others
};

/// All of a program, each distinct one once, with made-up values.
std::vector<Case> casesOf(const rt::ProgramFile &file);

/// Largest difference of the compared arrays, each relative to the largest magnitude expected.
/// Infinity when a number of either is not finite: it tells nothing. `where` gets the array's name.
double differenceOf(const std::vector<Array> &found, const std::vector<Array> &expected,
                    std::string &where);

} // namespace seqpar::tool
