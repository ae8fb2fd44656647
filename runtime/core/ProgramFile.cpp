#include "seqpar/rt/ProgramFile.h"

#include "ProgramCheck.h"
#include "seqpar/rt/Error.h"

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <memory>
#include <sys/stat.h>
#include <unistd.h>

namespace seqpar::rt {

namespace {

constexpr size_t kAlignment = 64;
// FlatBuffers addresses its contents with signed 32-bit offsets.
constexpr size_t kLargestFile = (size_t(1) << 31) - 1;

struct Descriptor {
  int value;
  ~Descriptor() {
    if (value >= 0)
      close(value);
  }
};

} // namespace

void ProgramFile::Free::operator()(uint8_t *memory) const { std::free(memory); }

ProgramFile::ProgramFile(std::string name, size_t bytes) : theName(std::move(name)), size(bytes) {
  if (bytes == 0 || bytes > kLargestFile)
    fail("{}: not a program: expected 1 byte to 2 GiB, found {} bytes", theName, bytes);
  size_t rounded = (bytes + kAlignment - 1) / kAlignment * kAlignment;
  memory.reset(static_cast<uint8_t *>(std::aligned_alloc(kAlignment, rounded)));
  if (!memory)
    fail("{}: no memory for {} bytes", theName, bytes);
}

ProgramFile ProgramFile::fromFile(const std::string &path) {
  Descriptor file{open(path.c_str(), O_RDONLY | O_CLOEXEC)};
  struct stat status;
  if (file.value < 0 || fstat(file.value, &status) != 0)
    fail("{}: cannot be read: {}", path, std::strerror(errno));
  if (!S_ISREG(status.st_mode))
    fail("{}: cannot be read: not a regular file", path);
  ProgramFile loaded(path, static_cast<size_t>(status.st_size));
  for (size_t at = 0; at < loaded.size;) {
    ssize_t got = read(file.value, loaded.memory.get() + at, loaded.size - at);
    if (got < 0 && errno == EINTR)
      continue;
    if (got <= 0)
      fail("{}: cannot be read: {}", path, got < 0 ? std::strerror(errno) : "it became shorter");
    at += static_cast<size_t>(got);
  }
  loaded.check();
  return loaded;
}

ProgramFile ProgramFile::fromBytes(std::span<const uint8_t> bytes, const std::string &name) {
  ProgramFile loaded(name, bytes.size());
  std::memcpy(loaded.memory.get(), bytes.data(), bytes.size());
  loaded.check();
  return loaded;
}

void ProgramFile::check() {
  flatbuffers::Verifier verifier(memory.get(), size);
  if (size < 8 || !program::ProgramBufferHasIdentifier(memory.get()))
    fail("{}: not a program: expected the identifier {} at byte 4", theName,
         program::ProgramIdentifier());
  if (!program::VerifyProgramBuffer(verifier))
    fail("{}: damaged program: it is cut short or its contents were changed; write it again with "
         "seqpar-run --emit-program",
         theName);
  root = program::GetProgram(memory.get());
  try {
    checkProgram(*root);
  } catch (const Error &error) {
    fail("{}: damaged program: {}", theName, error.what());
  }
}

int64_t ProgramFile::globalBatch() const {
  return root->micro_batch() * root->micro_batches() * root->dp();
}

bool ProgramFile::hasLossScale() const {
  const auto &inputs = *stage(0).inputs();
  return std::any_of(inputs.begin(), inputs.end(), [](const program::Input *input) {
    return input->kind() == program::InputKind::InverseLossScale;
  });
}

uint64_t ProgramFile::sharedBytes(const program::Stage &stage) {
  return stage.shards() && stage.shards()->size() ? stage.parameter_bytes() : 0;
}

uint64_t ProgramFile::memoryBytes(const program::Stage &stage) {
  return stage.arena_bytes() + stage.parameter_bytes() + stage.gradient_bytes() +
         stage.optimizer_state_bytes() + stage.input_bytes();
}

} // namespace seqpar::rt
