#include "TensorBoard.h"

#include "seqpar/rt/Error.h"

#include <array>
#include <bit>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <system_error>
#include <unistd.h>

namespace seqpar::rt {

namespace {

constexpr std::array<uint32_t, 256> makeTable() {
  std::array<uint32_t, 256> table{};
  for (uint32_t i = 0; i < 256; ++i) {
    uint32_t value = i;
    for (int bit = 0; bit < 8; ++bit)
      value = value & 1 ? value >> 1 ^ 0x82F63B78u : value >> 1;
    table[i] = value;
  }
  return table;
}

/// As TFRecord stores a checksum, so that the checksum of data which holds checksums is no special
/// number.
uint32_t masked(uint32_t crc) { return (crc >> 15 | crc << 17) + 0xa282ead8u; }

template <typename T> void appendBytes(std::string &to, T value) {
  static_assert(std::endian::native == std::endian::little);
  to.append(reinterpret_cast<const char *>(&value), sizeof(value));
}

void appendVarint(std::string &to, uint64_t value) {
  for (; value >= 0x80; value >>= 7)
    to += static_cast<char>(value | 0x80);
  to += static_cast<char>(value);
}

// Fields of a protocol buffer: number and kind of the field, then its value.
void appendKey(std::string &to, unsigned field, unsigned kind) {
  appendVarint(to, field << 3 | kind);
}
void appendDouble(std::string &to, unsigned field, double value) {
  appendKey(to, field, 1);
  appendBytes(to, value);
}
void appendFloat(std::string &to, unsigned field, float value) {
  appendKey(to, field, 5);
  appendBytes(to, value);
}
void appendInteger(std::string &to, unsigned field, int64_t value) {
  appendKey(to, field, 0);
  appendVarint(to, static_cast<uint64_t>(value));
}
void appendText(std::string &to, unsigned field, std::string_view value) {
  appendKey(to, field, 2);
  appendVarint(to, value.size());
  to += value;
}

double secondsNow() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

std::string hostName() {
  char name[256] = {};
  return gethostname(name, sizeof(name) - 1) == 0 && *name ? name : "host";
}

} // namespace

uint32_t crc32c(std::string_view data) {
  static constexpr std::array<uint32_t, 256> table = makeTable();
  uint32_t crc = ~0u;
  for (char c : data)
    crc = table[(crc ^ static_cast<uint8_t>(c)) & 0xff] ^ crc >> 8;
  return ~crc;
}

TensorBoard::TensorBoard(const std::string &folder) {
  double now = secondsNow();
  std::string event;
  appendDouble(event, 1, now);
  appendText(event, 3, "brain.Event:2");
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  thePath = fmt::format("{}/events.out.tfevents.{}.{}.{}", folder, static_cast<int64_t>(now),
                        hostName(), getpid());
  for (int other = 1; !error && std::filesystem::exists(thePath); ++other)
    thePath = fmt::format("{}/events.out.tfevents.{}.{}.{}.{}", folder, static_cast<int64_t>(now),
                          hostName(), getpid(), other);
  file.reset(std::fopen(thePath.c_str(), "wxe"));
  if (!file)
    throw UsageError(
        fmt::format("--tensorboard: {}: cannot be written: {}", folder, std::strerror(errno)));
  writeRecord(event);
}

void TensorBoard::write(int64_t step, std::span<const Scalar> scalars) {
  std::string summary, event;
  for (const Scalar &scalar : scalars) {
    std::string value;
    appendText(value, 1, scalar.tag);
    appendFloat(value, 2, scalar.value);
    appendText(summary, 1, value);
  }
  appendDouble(event, 1, secondsNow());
  appendInteger(event, 2, step);
  appendText(event, 5, summary);
  writeRecord(event);
}

void TensorBoard::writeRecord(const std::string &event) {
  std::string record;
  appendBytes(record, static_cast<uint64_t>(event.size()));
  appendBytes(record, masked(crc32c(record)));
  record += event;
  appendBytes(record, masked(crc32c(event)));
  if (std::fwrite(record.data(), 1, record.size(), file.get()) != record.size() ||
      std::fflush(file.get()) != 0)
    fail("{}: cannot be written: {}", thePath, std::strerror(errno));
}

} // namespace seqpar::rt
