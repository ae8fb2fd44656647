//===- Locations.cpp - source locations as people read them ---------------===//
#include "seqpar/Transforms/Locations.h"

#include "mlir/IR/BuiltinAttributes.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/Path.h"

using namespace mlir;

/// `name` is that of the NameLoc around; the parts of a fused location share it.
static void collect(Location location, StringRef name, SmallVectorImpl<std::string> &parts) {
  if (auto named = dyn_cast<NameLoc>(location))
    return collect(named.getChildLoc(), named.getName(), parts);
  if (auto call = dyn_cast<CallSiteLoc>(location))
    return collect(call.getCallee(), name, parts);
  if (auto fused = dyn_cast<FusedLoc>(location)) {
    for (Location part : fused.getLocations())
      collect(part, name, parts);
    return;
  }
  std::string text = name.str();
  if (auto file = dyn_cast<FileLineColLoc>(location))
    text += (name.empty() ? "" : " ") + llvm::sys::path::filename(file.getFilename()).str() + ":" +
            std::to_string(file.getLine()) + ":" + std::to_string(file.getColumn());
  if (!text.empty() && !llvm::is_contained(parts, text))
    parts.push_back(text);
}

std::string seqpar::describeLocation(Location location) {
  SmallVector<std::string> parts;
  collect(location, "", parts);
  return llvm::join(parts, ", ");
}
