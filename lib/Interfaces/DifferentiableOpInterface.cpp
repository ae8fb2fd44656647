//===- DifferentiableOpInterface.cpp ----------------------------------------------------------===//

#include "seqpar/Interfaces/DifferentiableOpInterface.h"

#include "seqpar/Interfaces/DifferentiableOpInterface.cpp.inc"
