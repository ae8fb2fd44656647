#include "seqpar/rt/cuda/Recordings.h"

#include <utility>

namespace seqpar::rt::cuda {

Recordings::~Recordings() {
  cancel();
  clear();
}

void Recordings::begin() {
  context.use();
  context.driver().check(context->cuStreamBeginCapture(stream, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL),
                         "cannot record");
  recording = true;
}

int Recordings::end() {
  if (!recording)
    fail("expected beginRecording before endRecording");
  context.use();
  recording = false;
  CUgraph graph = nullptr;
  context.driver().check(context->cuStreamEndCapture(stream, &graph), "cannot end a recording");
  CUgraphExec executable = nullptr;
  CUresult result = context->cuGraphInstantiate(&executable, graph, 0);
  context->cuGraphDestroy(graph);
  context.driver().check(result, "cannot instantiate a recording");
  graphs.push_back(executable);
  return int(graphs.size()) - 1;
}

void Recordings::cancel() noexcept {
  if (!std::exchange(recording, false) || !context.tryUse())
    return;
  CUgraph graph = nullptr;
  if (context->cuStreamEndCapture(stream, &graph) == CUDA_SUCCESS && graph)
    context->cuGraphDestroy(graph);
}

void Recordings::replay(int number) const {
  if (number < 0 || number >= int(graphs.size()))
    fail("expected a recording from 0 to {}, found {}", int(graphs.size()) - 1, number);
  context.use();
  context.driver().check(context->cuGraphLaunch(graphs[size_t(number)], stream),
                         "cannot replay a recording");
}

void Recordings::clear() noexcept {
  if (graphs.empty() || !context.tryUse())
    return;
  for (CUgraphExec graph : std::exchange(graphs, {}))
    context->cuGraphExecDestroy(graph);
}

} // namespace seqpar::rt::cuda
