//===- HostCuda.h - CUDA C++ as host code -----------------------*- C++ -*-===//
//
// With this header in front of it (`clang++ -std=c++20 -include HostCuda.h -x c++ KERNELS.cu`) the
// text of a kernel compiles for the host and runs there, one block at a time, each thread a fiber
// of its own. Barriers and warp collectives work as on the device: a thread waits in them for the
// others. Threads run in an order that the test chooses, so that a missing barrier shows up as a
// wrong result in one of the orders.
//
// Found and reported as std::runtime_error by the launch: threads that wait for ever (a barrier
// that some threads never reach), collectives whose lanes disagree, a lane that the mask lacks, a
// value taken from a lane outside of the mask, writes beyond the dynamic shared memory asked for.
//
// Dynamic shared memory is declared in kernels as
//   extern __shared__ __align__(128) unsigned char dynamicShared[];
// and holds bytes 0xff (NaNs) when a block starts. Kernels that wait for another block by spinning
// would hang. x86-64 only.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "HostCudaTypes.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdio>
#include <functional>
#include <memory>
#include <numeric>
#include <random>
#include <stdexcept>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#define __global__
#define __device__
#define __host__
#define __constant__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __align__(bytes) __attribute__((aligned(bytes)))
// All fibers of a block run in one thread of the host; at block scope this also means static.
#define __shared__ thread_local

inline constexpr unsigned kHostCudaSharedBytes = 227 * 1024;
extern "C" {
inline thread_local __align__(128) unsigned char dynamicShared[kHostCudaSharedBytes];
}

/// Of the thread that runs.
inline uint3 threadIdx, blockIdx;
inline dim3 blockDim, gridDim;
inline constexpr int warpSize = 32;

namespace hostcuda {

/// Bytes that a lane can hand to the others in one collective.
inline constexpr size_t kExchangeBytes = 256;

/// The order in which threads of a block run between barriers, and blocks one after the other:
/// 0 ascending, 1 descending, otherwise the seed of a random order.
inline unsigned order = 0;

/// The lanes of a warp that meet in a collective: those of one mask. A lane can be one collective
/// ahead of another that has yet to read, hence two sets of slots.
struct Group {
  unsigned mask = 0, arrived = 0, generation = 0;
  unsigned took[2] = {}; ///< lanes that took part, of the last two collectives
  const char *what = nullptr;
  alignas(16) unsigned char slots[2][32][kExchangeBytes];
};

struct Warp {
  unsigned live = 0; ///< lanes that have not returned
  std::vector<std::unique_ptr<Group>> groups;
};

struct Fiber {
  void *stack = nullptr; ///< pointer of the suspended fiber
  uint3 index;
  unsigned lane = 0, warp = 0;
  bool done = false;
  const unsigned *waitOn = nullptr; ///< runs when this is no longer `waitValue`
  unsigned waitValue = 0;
  const char *waitsIn = "";
};

struct Block {
  std::vector<Fiber> fibers;
  std::vector<Warp> warps;
  unsigned live = 0, arrived = 0, generation = 0, votes[2] = {};
  std::function<void()> body;
  std::string error;
};

inline Block *block = nullptr;
inline Fiber *current = nullptr;
inline void *schedulerStack = nullptr;

//===----------------------------------------------------------------------===//
// Fibers
//===----------------------------------------------------------------------===//

/// Saves the registers that a function must keep on the present stack and takes up another.
__attribute__((naked, noinline)) inline void switchStack(void **, void *) {
  asm("pushq %rbp\n pushq %rbx\n pushq %r12\n pushq %r13\n pushq %r14\n pushq %r15\n"
      "movq %rsp, (%rdi)\n movq %rsi, %rsp\n"
      "popq %r15\n popq %r14\n popq %r13\n popq %r12\n popq %rbx\n popq %rbp\n ret");
}

inline void yield() { switchStack(&current->stack, schedulerStack); }

/// Ends the launch with an error; does not return to the thread that calls it.
[[noreturn]] inline void fail(const std::string &message) {
  char place[160];
  std::snprintf(place, sizeof(place), "block (%u, %u, %u) thread (%u, %u, %u): ", blockIdx.x,
                blockIdx.y, blockIdx.z, threadIdx.x, threadIdx.y, threadIdx.z);
  block->error = place + message;
  for (;;)
    yield();
}

inline void waitFor(const unsigned &generation, unsigned value, const char *where) {
  current->waitsIn = where;
  current->waitOn = &generation;
  current->waitValue = value;
  yield();
  current->waitOn = nullptr;
}

inline void completeBarrier() {
  if (block->live > 0 && block->arrived == block->live) {
    block->arrived = 0;
    ++block->generation;
    block->votes[block->generation & 1] = 0;
  }
}

inline void completeGroup(const Warp &warp, Group &group) {
  if (group.arrived && group.arrived == (group.mask & warp.live)) {
    group.took[group.generation & 1] = group.arrived;
    group.arrived = 0;
    ++group.generation;
  }
}

inline void fiberMain() {
  block->body();
  current->done = true;
  Warp &warp = block->warps[current->warp];
  warp.live &= ~(1u << current->lane);
  --block->live;
  completeBarrier();
  for (auto &group : warp.groups)
    completeGroup(warp, *group);
  for (;;)
    yield();
}

/// Stacks of all fibers, kept between launches; each has an unmapped page at its low end.
class Stacks {
public:
  static constexpr size_t kBytes = 256 * 1024, kMax = 1024;
  static Stacks &get() {
    static Stacks stacks;
    return stacks;
  }
  void *top(size_t fiber) { return base + (fiber + 1) * kBytes; }

private:
  Stacks() {
    void *memory = mmap(nullptr, kMax * kBytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED)
      throw std::runtime_error("no memory for the stacks of a block's threads");
    base = static_cast<char *>(memory);
    for (size_t i = 0; i < kMax; ++i)
      mprotect(base + i * kBytes, 4096, PROT_NONE);
  }
  char *base;
};

//===----------------------------------------------------------------------===//
// Collectives
//===----------------------------------------------------------------------===//

inline Group &findGroup(Warp &warp, unsigned mask) {
  for (auto &group : warp.groups)
    if (group->mask == mask)
      return *group;
  warp.groups.push_back(std::make_unique<Group>());
  warp.groups.back()->mask = mask;
  return *warp.groups.back();
}

template <typename T> struct Gathered {
  const T *all;   ///< [lane]
  unsigned lanes; ///< that have one: those of the mask that have not returned
};

/// Every lane of `mask` hands in a value and gets those of all. They stay valid until the lane's
/// next collective. `what` must be the same string for all.
template <typename T> Gathered<T> gather(unsigned mask, const T &mine, const char *what) {
  static_assert(std::is_trivially_copyable_v<T> && sizeof(T) <= kExchangeBytes);
  Warp &warp = block->warps[current->warp];
  Group &group = findGroup(warp, mask);
  if (!(mask >> current->lane & 1))
    fail(std::string(what) + ": the mask lacks the lane that calls it");
  if (group.arrived && std::string(group.what) != what)
    fail(std::string(what) + ": other lanes of the mask are in " + group.what);
  group.what = what;
  unsigned generation = group.generation;
  unsigned char *slots = group.slots[generation & 1][0];
  new (slots + current->lane * sizeof(T)) T(mine);
  group.arrived |= 1u << current->lane;
  completeGroup(warp, group);
  if (group.generation == generation)
    waitFor(group.generation, generation, what);
  return {reinterpret_cast<const T *>(slots), group.took[generation & 1]};
}

template <typename T> T shuffle(unsigned mask, T value, unsigned source, const char *what) {
  static_assert(sizeof(T) == 4 || sizeof(T) == 8 || sizeof(T) == 2);
  auto [all, lanes] = gather(mask, value, what);
  if (!(lanes >> source & 1))
    fail(std::string(what) + ": takes a value from lane " + std::to_string(source) +
         ", which takes no part");
  return all[source];
}

/// All threads of the block; returns how many gave a vote.
inline unsigned barrier(bool vote, const char *what) {
  unsigned generation = block->generation;
  unsigned &votes = block->votes[generation & 1];
  votes += vote;
  ++block->arrived;
  completeBarrier();
  if (block->generation == generation)
    waitFor(block->generation, generation, what);
  return block->votes[generation & 1];
}

//===----------------------------------------------------------------------===//
// Launch
//===----------------------------------------------------------------------===//

inline std::vector<unsigned> makeOrder(unsigned count) {
  std::vector<unsigned> numbers(count);
  std::iota(numbers.begin(), numbers.end(), 0u);
  if (order == 1)
    std::reverse(numbers.begin(), numbers.end());
  else if (order > 1)
    std::shuffle(numbers.begin(), numbers.end(), std::mt19937(order));
  return numbers;
}

inline void prepareFibers(Block &state) {
  unsigned threads = blockDim.x * blockDim.y * blockDim.z;
  state.fibers.assign(threads, {});
  state.warps.clear();
  state.warps.resize((threads + 31) / 32);
  state.live = threads;
  for (unsigned i = 0; i < threads; ++i) {
    Fiber &fiber = state.fibers[i];
    fiber.index = {i % blockDim.x, i / blockDim.x % blockDim.y, i / blockDim.x / blockDim.y};
    fiber.lane = i % 32;
    fiber.warp = i / 32;
    state.warps[fiber.warp].live |= 1u << fiber.lane;
    // A stack as switchStack leaves it: six registers, the address to return to, and one word so
    // that the function starts with the alignment it expects.
    void **top = static_cast<void **>(Stacks::get().top(i)) - 8;
    std::fill(top, top + 8, nullptr);
    top[6] = reinterpret_cast<void *>(&fiberMain);
    fiber.stack = top;
  }
}

/// Runs the threads of `turns` as far as each gets without waiting; returns whether any could run.
inline bool runOnce(Block &state, const std::vector<unsigned> &turns) {
  bool any = false;
  for (unsigned turn : turns) {
    Fiber &fiber = state.fibers[turn];
    if (fiber.done || (fiber.waitOn && *fiber.waitOn == fiber.waitValue))
      continue;
    any = true;
    current = &fiber;
    threadIdx = fiber.index;
    switchStack(&schedulerStack, fiber.stack);
    if (!state.error.empty())
      throw std::runtime_error(state.error);
  }
  return any;
}

/// A warp runs as far as barriers of the block let it before the next one does, so that it is as
/// far ahead of others, or behind them, as it may be.
inline void runBlock(Block &state) {
  prepareFibers(state);
  std::vector<std::vector<unsigned>> turns; // of each warp
  std::vector<size_t> placeOfWarp(state.warps.size(), SIZE_MAX);
  for (unsigned turn : makeOrder(state.fibers.size())) {
    size_t &place = placeOfWarp[state.fibers[turn].warp];
    if (place == SIZE_MAX) {
      place = turns.size();
      turns.emplace_back();
    }
    turns[place].push_back(turn);
  }
  while (state.live > 0) {
    bool any = false;
    for (const std::vector<unsigned> &ofWarp : turns)
      while (runOnce(state, ofWarp))
        any = true;
    if (any)
      continue;
    for (const Fiber &fiber : state.fibers)
      if (!fiber.done)
        throw std::runtime_error("thread " + std::to_string(fiber.index.x) + " of block " +
                                 std::to_string(blockIdx.x) + " waits for ever in " +
                                 fiber.waitsIn);
  }
}

/// The rest is as it was: each byte is 0xff, as the one before.
inline void checkSharedBytes(size_t sharedBytes) {
  const unsigned char *rest = dynamicShared + sharedBytes;
  size_t bytes = kHostCudaSharedBytes - sharedBytes;
  if (bytes == 0 || (rest[0] == 0xff && std::memcmp(rest, rest + 1, bytes - 1) == 0))
    return;
  size_t at = std::find_if(rest, rest + bytes, [](unsigned char b) { return b != 0xff; }) - rest;
  throw std::runtime_error("dynamic shared memory is written at byte " +
                           std::to_string(sharedBytes + at) + ", beyond the " +
                           std::to_string(sharedBytes) + " asked for");
}

inline void run(dim3 grid, dim3 blockExtents, size_t sharedBytes, std::function<void()> body) {
  gridDim = grid;
  blockDim = blockExtents;
  size_t threads = size_t(blockDim.x) * blockDim.y * blockDim.z;
  if (threads == 0 || threads > Stacks::kMax)
    throw std::runtime_error("expected 1 to 1024 threads of a block, found " +
                             std::to_string(threads));
  if (sharedBytes > kHostCudaSharedBytes)
    throw std::runtime_error("expected at most 227 KiB of shared memory, found " +
                             std::to_string(sharedBytes) + " bytes");
  Block state;
  state.body = std::move(body);
  block = &state;
  std::memset(dynamicShared, 0xff, kHostCudaSharedBytes);
  for (unsigned number : makeOrder(grid.x * grid.y * grid.z)) {
    blockIdx = {number % grid.x, number / grid.x % grid.y, number / grid.x / grid.y};
    std::memset(dynamicShared, 0xff, sharedBytes);
    runBlock(state);
    checkSharedBytes(sharedBytes);
  }
}

/// kernel<<<grid, block, sharedBytes>>>(arguments...)
template <typename... P>
void launch(void (*kernel)(P...), dim3 grid, dim3 blockExtents, size_t sharedBytes,
            std::type_identity_t<P>... arguments) {
  run(grid, blockExtents, sharedBytes, [&] { kernel(arguments...); });
}

/// As cuLaunchKernel: `parameters[i]` points at argument i.
template <typename... P>
void launchPacked(void (*kernel)(P...), dim3 grid, dim3 blockExtents, size_t sharedBytes,
                  void *const *parameters) {
  [&]<size_t... I>(std::index_sequence<I...>) {
    launch(kernel, grid, blockExtents, sharedBytes,
           *static_cast<std::remove_cv_t<P> *>(parameters[I])...);
  }(std::index_sequence_for<P...>());
}

/// A launch as a function that tests find in a shared object: `grid` and `block` have three
/// extents. Returns an error's text, or null. The text lives until the next launch.
using PackedLaunch = const char *(*)(const unsigned *grid, const unsigned *block,
                                     size_t sharedBytes, void *const *parameters, unsigned order);

template <typename Kernel>
const char *launchReporting(Kernel kernel, const unsigned *grid, const unsigned *blockExtents,
                            size_t sharedBytes, void *const *parameters, unsigned inOrder) {
  static std::string message;
  order = inOrder;
  try {
    launchPacked(kernel, {grid[0], grid[1], grid[2]},
                 {blockExtents[0], blockExtents[1], blockExtents[2]}, sharedBytes, parameters);
    return nullptr;
  } catch (const std::exception &error) {
    message = error.what();
    return message.c_str();
  }
}

} // namespace hostcuda

/// Defines `host_KERNEL` of type hostcuda::PackedLaunch, with C linkage.
#define HOSTCUDA_ENTRY(kernel)                                                                     \
  extern "C" const char *host_##kernel(const unsigned *grid, const unsigned *block,                \
                                       size_t sharedBytes, void *const *parameters,                \
                                       unsigned order) {                                           \
    return hostcuda::launchReporting(&kernel, grid, block, sharedBytes, parameters, order);        \
  }

//===----------------------------------------------------------------------===//
// What CUDA calls them
//===----------------------------------------------------------------------===//

inline void __syncthreads() { hostcuda::barrier(false, "__syncthreads"); }
inline int __syncthreads_count(int vote) {
  return int(hostcuda::barrier(vote != 0, "__syncthreads_count"));
}
inline int __syncthreads_or(int vote) {
  return hostcuda::barrier(vote != 0, "__syncthreads_or") != 0;
}
inline int __syncthreads_and(int vote) {
  return hostcuda::barrier(vote == 0, "__syncthreads_and") == 0;
}
inline void __syncwarp(unsigned mask = ~0u) { hostcuda::gather(mask, 0, "__syncwarp"); }

template <typename T> T __shfl_sync(unsigned mask, T value, int source, int width = 32) {
  unsigned first = hostcuda::current->lane & ~unsigned(width - 1);
  return hostcuda::shuffle(mask, value, first + (unsigned(source) & unsigned(width - 1)),
                           "__shfl_sync");
}
template <typename T> T __shfl_xor_sync(unsigned mask, T value, int bits, int width = 32) {
  unsigned lane = hostcuda::current->lane, source = lane ^ unsigned(bits);
  unsigned end = (lane & ~unsigned(width - 1)) + unsigned(width);
  return hostcuda::shuffle(mask, value, source < end ? source : lane, "__shfl_xor_sync");
}
template <typename T> T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32) {
  unsigned lane = hostcuda::current->lane, end = (lane & ~unsigned(width - 1)) + unsigned(width);
  return hostcuda::shuffle(mask, value, lane + delta < end ? lane + delta : lane,
                           "__shfl_down_sync");
}
template <typename T> T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32) {
  unsigned lane = hostcuda::current->lane, first = lane & ~unsigned(width - 1);
  return hostcuda::shuffle(mask, value, lane >= first + delta ? lane - delta : lane,
                           "__shfl_up_sync");
}

inline unsigned __ballot_sync(unsigned mask, int vote) {
  auto [all, lanes] = hostcuda::gather(mask, int(vote != 0), "__ballot_sync");
  unsigned bits = 0;
  for (unsigned lane = 0; lane < 32; ++lane)
    if (lanes >> lane & 1)
      bits |= unsigned(all[lane]) << lane;
  return bits;
}
inline int __any_sync(unsigned mask, int vote) { return __ballot_sync(mask, vote) != 0; }
inline int __all_sync(unsigned mask, int vote) { return __ballot_sync(mask, !vote) == 0; }

inline void __threadfence() {}
inline void __threadfence_block() {}
[[noreturn]] inline void __trap() { hostcuda::fail("__trap"); }

// Threads of a block never run at the same time.
template <typename T> T atomicAdd(T *address, std::type_identity_t<T> value) {
  T old = *address;
  *address = old + value;
  return old;
}
template <typename T> T atomicMax(T *address, std::type_identity_t<T> value) {
  T old = *address;
  *address = old > value ? old : value;
  return old;
}
template <typename T> T atomicExch(T *address, std::type_identity_t<T> value) {
  return std::exchange(*address, value);
}
template <typename T>
T atomicCAS(T *address, std::type_identity_t<T> expected, std::type_identity_t<T> value) {
  T old = *address;
  if (old == expected)
    *address = value;
  return old;
}
inline unsigned atomicInc(unsigned *address, unsigned last) {
  unsigned old = *address;
  *address = old >= last ? 0 : old + 1;
  return old;
}
