//===- Agreement.h - what the processes of a run must have alike -*- C++ -*-===//
//
// Texts of words NAME=VALUE, equal when the things are: Processes::agree compares them and shows
// the words that differ.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "seqpar/rt/Feed.h"
#include "seqpar/rt/ProgramFile.h"
#include "seqpar/rt/RunOptions.h"
#include "seqpar/rt/Safetensors.h"

#include <string>

namespace seqpar::rt {

std::string wordsOf(const ProgramFile &file);

/// The options that change numbers or that ranks act on together. Paths may differ: machines have
/// their own folders, and what is read is compared itself.
std::string wordsOf(const RunOptions &options);

std::string wordsOf(const GlobalBatch &batch);

/// Of all its bytes, which are read.
std::string wordsOf(const SafetensorsFile &file);

} // namespace seqpar::rt
