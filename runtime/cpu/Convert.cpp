#include "seqpar/rt/cpu/Convert.h"

#include "seqpar/rt/Float16.h"

#include <algorithm>

namespace seqpar::rt {

namespace {

/// body(row, begin, end) over parts of rows that are worth a thread's while.
template <typename Body>
void overRows(ThreadPool &pool, int64_t rows, int64_t columns, const Body &body) {
  constexpr int64_t kPart = 1 << 14;
  int64_t perRow = std::max<int64_t>(1, columns / kPart), parts = rows * perRow;
  auto share = [&](int64_t begin, int64_t end, int) {
    for (int64_t part = begin; part < end; ++part) {
      int64_t row = part / perRow, at = part % perRow;
      body(row, columns * at / perRow, columns * (at + 1) / perRow);
    }
  };
  if (rows * columns <= kPart)
    return share(0, parts, 0);
  pool.parallelFor(parts, share);
}

template <auto convert, typename From, typename To>
void convertAll(ThreadPool &pool, const From *from, int64_t fromLd, To *to, int64_t toLd,
                int64_t rows, int64_t columns) {
  overRows(pool, rows, columns, [=](int64_t row, int64_t begin, int64_t end) {
    const From *source = from + row * fromLd;
    To *target = to + row * toLd;
    for (int64_t i = begin; i < end; ++i)
      target[i] = convert(source[i]);
  });
}

constexpr float same(float value) { return value; }

} // namespace

void widen(ThreadPool &pool, FloatType type, const void *from, int64_t fromLd, float *to,
           int64_t toLd, int64_t rows, int64_t columns) {
  auto *halves = static_cast<const uint16_t *>(from);
  switch (type) {
  case FloatType::F32:
    return convertAll<same>(pool, static_cast<const float *>(from), fromLd, to, toLd, rows,
                            columns);
  case FloatType::BF16:
    return convertAll<fromBf16>(pool, halves, fromLd, to, toLd, rows, columns);
  case FloatType::F16:
    return convertAll<fromF16>(pool, halves, fromLd, to, toLd, rows, columns);
  }
}

void narrow(ThreadPool &pool, FloatType type, const float *from, int64_t fromLd, void *to,
            int64_t toLd, int64_t rows, int64_t columns) {
  auto *halves = static_cast<uint16_t *>(to);
  switch (type) {
  case FloatType::F32:
    return convertAll<same>(pool, from, fromLd, static_cast<float *>(to), toLd, rows, columns);
  case FloatType::BF16:
    return convertAll<toBf16>(pool, from, fromLd, halves, toLd, rows, columns);
  case FloatType::F16:
    return convertAll<toF16>(pool, from, fromLd, halves, toLd, rows, columns);
  }
}

const float *asFloats(ThreadPool &pool, FloatType type, const void *from, int64_t rows,
                      int64_t columns, Scratch &scratch) {
  if (type == FloatType::F32)
    return static_cast<const float *>(from);
  auto *to = static_cast<float *>(scratch.atLeast(size_t(rows * columns) * sizeof(float)));
  widen(pool, type, from, columns, to, columns, rows, columns);
  return to;
}

} // namespace seqpar::rt
