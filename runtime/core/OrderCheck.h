//===- OrderCheck.h - the turns and exchanges of a stage --------*- C++ -*-===//
#pragma once

#include "seqpar/program/program_generated.h"

#include <string>

namespace seqpar::rt {

/// The model op and source position of an instruction, or the name of its operation.
std::string locationOf(const program::Instruction &instruction);

/// Checks that each micro-batch has one forward turn and then one backward turn, both in the order
/// of the micro-batches, and no two that live at the same time one slot; without an order, that
/// there is one slot. Throws Error naming the turn.
void checkOrder(const program::Program &program, const program::Stage &stage);

/// Follows the exchanges of a step, loops unrolled: each is started, then waited for. Expects a
/// stage that checkOrder accepts. Throws Error with the instruction's location.
void checkExchanges(const program::Program &program, const program::Stage &stage);

} // namespace seqpar::rt
