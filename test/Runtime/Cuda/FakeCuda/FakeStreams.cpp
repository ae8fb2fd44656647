//===- FakeStreams.cpp - streams, events and graphs -----------------------===//

#include "FakeState.h"

#include <utility>

using namespace fakecuda;

extern "C" {

CUresult cuStreamCreate(CUstream *stream, unsigned flags) {
  State &s = state();
  Lock lock(s.mutex);
  if (CUresult error = s.begin("cuStreamCreate"))
    return error;
  if (flags != CU_STREAM_NON_BLOCKING)
    s.problem("a stream is created that waits for the default stream");
  auto owner = std::make_unique<Stream>(s.streamCount++);
  owner->device = currentDevice;
  *stream = reinterpret_cast<CUstream>(owner.get());
  Stream *key = owner.get();
  s.streams[key] = std::move(owner);
  return CUDA_SUCCESS;
}

CUresult cuStreamDestroy(CUstream stream) {
  State &s = state();
  std::unique_ptr<Stream> owner; // ends outside of the lock
  {
    Lock lock(s.mutex);
    Stream *found = s.find(stream);
    if (!found)
      return CUDA_ERROR_INVALID_HANDLE;
    owner = std::move(s.streams[found]);
    s.streams.erase(found);
  }
  owner->drain();
  return CUDA_SUCCESS;
}

CUresult cuStreamSynchronize(CUstream stream) {
  State &s = state();
  Stream *found;
  Clock clock;
  {
    Lock lock(s.mutex);
    if (CUresult error = s.begin("cuStreamSynchronize"))
      return error;
    found = s.find(stream);
    if (!found)
      return CUDA_ERROR_INVALID_HANDLE;
    if (found->graph) {
      s.problem("cuStreamSynchronize of a stream that captures");
      return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
    }
    clock = found->clock;
  }
  found->drain();
  Lock lock(s.mutex);
  s.host.join(clock);
  s.operations.push_back("synchronize");
  return s.broken ? CUDA_ERROR_LAUNCH_FAILED : CUDA_SUCCESS;
}

CUresult cuEventCreate(CUevent *event, unsigned) {
  State &s = state();
  Lock lock(s.mutex);
  if (CUresult error = s.begin("cuEventCreate"))
    return error;
  auto owner = std::make_unique<Event>();
  Event *key = owner.get();
  *event = reinterpret_cast<CUevent>(key);
  s.events[key] = std::move(owner);
  return CUDA_SUCCESS;
}

CUresult cuEventDestroy(CUevent event) {
  State &s = state();
  Lock lock(s.mutex);
  Event *found = s.find(event);
  if (!found)
    return CUDA_ERROR_INVALID_HANDLE;
  // Work that names it may still be queued: it is kept until the end of the process.
  s.formerEvents.push_back(std::move(s.events[found]));
  s.events.erase(found);
  return CUDA_SUCCESS;
}

CUresult cuEventRecord(CUevent event, CUstream stream) {
  State &s = state();
  Lock lock(s.mutex);
  if (CUresult error = s.begin("cuEventRecord"))
    return error;
  Event *found = s.find(event);
  Stream *on = s.find(stream);
  if (!found || !on)
    return CUDA_ERROR_INVALID_HANDLE;
  s.operations.push_back("record");
  if (!on->graph)
    on->clock.join(s.host);
  found->clock = on->graph ? on->captured : on->clock;
  found->graph = on->graph;
  found->stream = on;
  if (on->graph)
    return CUDA_SUCCESS;
  uint64_t version = ++found->recorded;
  on->push([=] { found->finish(version); });
  return CUDA_SUCCESS;
}

CUresult cuStreamWaitEvent(CUstream stream, CUevent event, unsigned) {
  State &s = state();
  Lock lock(s.mutex);
  if (CUresult error = s.begin("cuStreamWaitEvent"))
    return error;
  Event *found = s.find(event);
  Stream *on = s.find(stream);
  if (!found || !on)
    return CUDA_ERROR_INVALID_HANDLE;
  s.operations.push_back("wait");
  if (!found->stream) {
    s.problem("a stream waits for an event that was never recorded");
    return CUDA_SUCCESS;
  }
  if (found->graph) {
    if (!found->graph->open || (on->graph && on->graph != found->graph)) {
      s.problem("a stream waits for an event of another capture");
      return CUDA_ERROR_STREAM_CAPTURE_ISOLATION;
    }
    if (!on->graph) { // it joins the capture
      on->graph = found->graph;
      on->captured = {};
    }
    on->captured.join(found->clock);
    return CUDA_SUCCESS;
  }
  if (on->graph) {
    // Work before the capture is not part of it: a replay would not wait for it.
    if (found->clock.of(found->stream->number) > s.host.of(found->stream->number))
      s.problem("a stream that captures waits for an event from before the capture");
    return CUDA_ERROR_STREAM_CAPTURE_ISOLATION;
  }
  on->clock.join(found->clock);
  uint64_t version = found->recorded;
  on->push([=] { found->wait(version); });
  return CUDA_SUCCESS;
}

CUresult cuEventQuery(CUevent event) {
  State &s = state();
  Lock lock(s.mutex);
  Event *found = s.find(event);
  if (!found)
    return CUDA_ERROR_INVALID_HANDLE;
  if (found->graph) {
    s.problem("an event of a capture is asked for");
    return CUDA_ERROR_CAPTURED_EVENT;
  }
  if (s.broken)
    return CUDA_ERROR_LAUNCH_FAILED;
  std::lock_guard eventLock(found->mutex);
  if (found->done < found->recorded)
    return CUDA_ERROR_NOT_READY;
  s.host.join(found->clock);
  return CUDA_SUCCESS;
}

CUresult cuEventSynchronize(CUevent event) {
  State &s = state();
  Event *found;
  Clock clock;
  uint64_t version;
  {
    Lock lock(s.mutex);
    if (CUresult error = s.begin("cuEventSynchronize"))
      return error;
    found = s.find(event);
    if (!found)
      return CUDA_ERROR_INVALID_HANDLE;
    if (found->graph) {
      s.problem("the host waits for an event of a capture");
      return CUDA_ERROR_CAPTURED_EVENT;
    }
    clock = found->clock;
    version = found->recorded;
  }
  found->wait(version);
  Lock lock(s.mutex);
  s.host.join(clock);
  return s.broken ? CUDA_ERROR_LAUNCH_FAILED : CUDA_SUCCESS;
}

CUresult cuEventElapsedTime(float *milliseconds, CUevent from, CUevent to) {
  Lock lock(state().mutex);
  Event *begin = state().find(from), *end = state().find(to);
  if (!begin || !end)
    return CUDA_ERROR_INVALID_HANDLE;
  *milliseconds = std::chrono::duration<float, std::milli>(end->time - begin->time).count();
  return CUDA_SUCCESS;
}

CUresult cuStreamBeginCapture(CUstream stream, CUstreamCaptureMode mode) {
  State &s = state();
  Lock lock(s.mutex);
  if (CUresult error = s.begin("cuStreamBeginCapture"))
    return error;
  Stream *found = s.find(stream);
  if (!found)
    return CUDA_ERROR_INVALID_HANDLE;
  if (found->graph) {
    s.problem("a stream that captures is asked to capture");
    return CUDA_ERROR_ILLEGAL_STATE;
  }
  found->graph = std::make_shared<Graph>();
  found->graph->origin = found->number;
  found->graph->mode = mode;
  found->graph->thread = std::this_thread::get_id();
  found->origin = true;
  found->captured = {};
  s.operations.push_back("capture");
  return CUDA_SUCCESS;
}

CUresult cuStreamEndCapture(CUstream stream, CUgraph *graph) {
  State &s = state();
  Lock lock(s.mutex);
  if (CUresult error = s.begin("cuStreamEndCapture"))
    return error;
  Stream *found = s.find(stream);
  if (!found || !found->graph || !found->origin) {
    s.problem("a stream ends a capture that it has not begun");
    return CUDA_ERROR_ILLEGAL_STATE;
  }
  std::shared_ptr<Graph> captured = found->graph;
  if (captured->mode != CU_STREAM_CAPTURE_MODE_RELAXED &&
      captured->thread != std::this_thread::get_id()) {
    s.problem("a capture is ended by another thread than began it");
    return CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD;
  }
  CUresult result = CUDA_SUCCESS;
  captured->open = false;
  for (auto &[each, owner] : s.streams) {
    if (each->graph != captured)
      continue;
    if (each->captured.of(each->number) > found->captured.of(each->number)) {
      s.problem("a capture ends without work of another stream that it began");
      result = CUDA_ERROR_STREAM_CAPTURE_UNJOINED;
    }
    each->graph.reset();
    each->origin = false;
  }
  *graph = reinterpret_cast<CUgraph>(captured.get());
  s.graphs[captured.get()] = captured;
  return result;
}

CUresult cuGraphInstantiate(CUgraphExec *executable, CUgraph graph, unsigned long long) {
  State &s = state();
  Lock lock(s.mutex);
  if (CUresult error = s.begin("cuGraphInstantiate"))
    return error;
  auto found = s.graphs.find(graph);
  if (found == s.graphs.end())
    return CUDA_ERROR_INVALID_HANDLE;
  auto copy = std::make_shared<Graph>(*found->second);
  for (const Node &node : copy->nodes) {
    if (node.stream == copy->origin || copy->branches.contains(node.stream))
      continue;
    std::shared_ptr<Stream> branch = s.branches[node.stream].lock();
    if (!branch)
      branch = std::make_shared<Stream>(s.streamCount++);
    s.branches[node.stream] = copy->branches[node.stream] = branch;
  }
  *executable = reinterpret_cast<CUgraphExec>(copy.get());
  s.executables[copy.get()] = copy;
  return CUDA_SUCCESS;
}

CUresult cuGraphLaunch(CUgraphExec executable, CUstream stream) {
  State &s = state();
  Lock lock(s.mutex);
  if (CUresult error = s.begin("cuGraphLaunch"))
    return error;
  Stream *found = s.find(stream);
  auto graph = s.executables.find(executable);
  if (!found || graph == s.executables.end())
    return CUDA_ERROR_INVALID_HANDLE;
  s.operations.push_back("graph");
  if (found->graph) {
    s.problem("a graph is launched while a stream captures");
    return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
  }
  s.launch(*graph->second, *found);
  return CUDA_SUCCESS;
}

CUresult cuGraphExecDestroy(CUgraphExec executable) {
  std::shared_ptr<Graph> ended; // its threads end outside of the lock
  Lock lock(state().mutex);
  auto found = state().executables.find(executable);
  if (found == state().executables.end())
    return CUDA_ERROR_INVALID_HANDLE;
  ended = std::move(found->second);
  state().executables.erase(found);
  return CUDA_SUCCESS;
}

CUresult cuGraphDestroy(CUgraph graph) {
  Lock lock(state().mutex);
  auto found = state().graphs.find(graph);
  if (found == state().graphs.end())
    return CUDA_ERROR_INVALID_HANDLE;
  found->second->nodes.clear(); // events still know what they were captured in
  state().graphs.erase(found);
  return CUDA_SUCCESS;
}

} // extern "C"
