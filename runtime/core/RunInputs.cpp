#include "RunInputs.h"

#include "Agreement.h"
#include "seqpar/rt/Error.h"
#include "seqpar/rt/Processes.h"

namespace seqpar::rt {

namespace {

// Machines may have files of one name and other contents.
void agreeOn(const char *option, const SafetensorsFile &file, Processes *processes) {
  if (processes && processes->count() > 1)
    processes->agree(fmt::format("the file of {}", option), wordsOf(file));
}

// The first process makes the files that are kept beside the data, and the others read them.
RunFeeds openFeeds(const ProgramFile &file, const RunOptions &options, Processes *processes) {
  RunFeeds feeds;
  bool isFirst = !processes || processes->isFirst();
  if (isFirst)
    feeds = createFeeds(file, options);
  if (processes)
    processes->agree("the data's being ready", "");
  if (!isFirst)
    feeds = createFeeds(file, options);
  return feeds;
}

} // namespace

RunInputs openInputs(const ProgramFile &file, const RunOptions &options, Processes *processes) {
  RunInputs inputs;
  if (!options.initFrom.empty()) {
    inputs.initial = std::make_unique<SafetensorsFile>(options.initFrom);
    checkParameterFile(file, *inputs.initial);
    agreeOn("--init-from", *inputs.initial, processes);
  }
  if (!options.load.empty()) {
    inputs.checkpoint = std::make_unique<SafetensorsFile>(findCheckpoint(options.load));
    inputs.start = checkCheckpoint(file, *inputs.checkpoint, options.seed);
    agreeOn("--load", *inputs.checkpoint, processes);
  }
  if (!options.saveGradients.empty() && inputs.start.step >= options.steps)
    throw UsageError(
        fmt::format("--save-gradients: {} is of step {}, --steps={} leaves none to run",
                    inputs.checkpoint->path(), inputs.start.step, options.steps));
  if (options.steps > 0)
    inputs.feeds = openFeeds(file, options, processes);
  return inputs;
}

} // namespace seqpar::rt
