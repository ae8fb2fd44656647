//===- ParameterFiles.h - parameters in safetensors files -------*- C++ -*-===//
#pragma once

#include "seqpar/rt/Executor.h"
#include "seqpar/rt/LossScale.h"
#include "seqpar/rt/Safetensors.h"

#include <cstdint>
#include <optional>
#include <string>

namespace seqpar::rt {

/// Checks that the file has every parameter of the program, with its shape, and nothing else, with
/// or without the prefix `param.`. Left alone: batches (`batch.`), and what Hugging Face files hold
/// twice, if it is equal (the decoder, tied to the embedding) or not learned (position_ids).
void checkParameterFile(const ProgramFile &program, const SafetensorsFile &file);

/// Sets this rank's parameters from a file that was checked.
void loadParameters(Executor &executor, const SafetensorsFile &file);

/// Writes a part of every parameter times `factor`, once each, as prefix + name. Collective: every
/// rank calls it, rank 0 writes.
void saveParameters(const std::string &path, const ProgramFile &program, Executor &executor,
                    Communicator &communicator, ParameterPart part, const std::string &prefix,
                    float factor = 1);

/// Where a run is: the steps done and the samples consumed by them.
struct RunPosition {
  int64_t step = 0, samples = 0;
  int64_t skipped = 0; ///< of the steps, those that have changed no parameter
  std::optional<LossScale> lossScale = std::nullopt; ///< of a program that has one
};

/// Writes DIRECTORY/step-NNNNNNNNN.safetensors with values, moments and position. It depends on the
/// model alone, not on the grid. Collective, as saveParameters.
void saveCheckpoint(const std::string &directory, const ProgramFile &program, Executor &executor,
                    Communicator &communicator, const RunPosition &position, uint32_t seed);
/// `path`, or, when it is a folder, its checkpoint of the largest step.
std::string findCheckpoint(const std::string &path);
/// Checks the file against the program and returns the position, with a loss scale if both have
/// one. Throws Error when it is not a checkpoint of this model and seed.
RunPosition checkCheckpoint(const ProgramFile &program, const SafetensorsFile &file, uint32_t seed);
/// Sets this rank's parameters and moments from a file that was checked.
void loadCheckpoint(Executor &executor, const SafetensorsFile &file);

} // namespace seqpar::rt
