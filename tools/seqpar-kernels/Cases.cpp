#include "Cases.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <map>
#include <random>
#include <set>

namespace seqpar::tool {

using namespace program;

namespace {

size_t bytesOf(DataType type) {
  return type == DataType::F64 ? 8 : type == DataType::BF16 || type == DataType::F16 ? 2 : 4;
}

/// Floats are in [least, least + width), so that by default no logarithm or root leaves the
/// numbers; integers are small.
void fill(Array &array, uint32_t seed, double least = 0.1, double width = 1) {
  std::mt19937 random(seed);
  auto each = [&](auto zero, auto make) {
    using T = decltype(zero);
    auto *values = reinterpret_cast<T *>(array.bytes.data());
    for (size_t i = 0; i < array.bytes.size() / sizeof(T); ++i)
      values[i] = make(i);
  };
  auto real = [&](size_t) { return least + width * (double(random()) / 4294967296.0); };
  switch (array.type) {
  case DataType::F32:
    return each(float(), [&](size_t i) { return float(real(i)); });
  case DataType::F64:
    return each(double(), real);
  case DataType::I32:
    return each(int32_t(), [](size_t i) { return int32_t(i % 5); });
  default: // the upper half of a float; f16 that are numbers too
    return each(uint16_t(), [&](size_t) { return uint16_t(0x3c00 + random() % 256); });
  }
}

void grow(Array &array, size_t bytes) {
  if (bytes <= array.bytes.size())
    return;
  array.bytes.resize(bytes);
  fill(array, 1);
}

class Collector {
public:
  Collector(const Program &program, const Stage &stage, std::vector<Case> &cases,
            std::set<std::string> &known)
      : program(program), stage(stage), cases(cases), known(known) {}

  void list(const flatbuffers::Vector<flatbuffers::Offset<Instruction>> *instructions) {
    for (unsigned i = 0; instructions && i < instructions->size(); ++i) {
      const Instruction &each = *instructions->Get(i);
      place = each.location() ? each.location()->str() : "";
      if (auto *op = each.operation_as_RingLoop())
        list(op->body());
      else if (auto *op = each.operation_as_RowsLoop())
        list(op->body());
      else if (auto *op = each.operation_as_Gemm())
        gemm(*op);
      else if (auto *op = each.operation_as_RowKernel())
        rowKernel(*op);
      else if (auto *op = each.operation_as_AttentionForward())
        attention(*op, false);
      else if (auto *op = each.operation_as_AttentionBackward())
        attention(*op, true);
    }
  }

private:
  Case *start(const char *kind, std::string what) {
    if (!known.insert(kind + what).second)
      return nullptr;
    cases.push_back({kind, std::move(what), place, {}, {}});
    return &cases.back();
  }

  static size_t add(Case &made, std::string name, size_t bytes, DataType type = DataType::F32,
                    bool compared = false) {
    Array array{std::vector<uint8_t>(std::max<size_t>(bytes, 8)), type, compared, std::move(name)};
    fill(array, uint32_t(made.arrays.size()) + 1);
    made.arrays.push_back(std::move(array));
    return made.arrays.size() - 1;
  }

  void rowKernel(const RowKernel &op);
  void indices(Case &made, const Kernel &kernel, const std::vector<size_t> &arrays, int64_t rows);
  void gemm(const Gemm &op);
  template <typename Op> void attention(const Op &op, bool backward);

  const Program &program;
  const Stage &stage;
  std::vector<Case> &cases;
  std::set<std::string> &known;
  std::string place;
};

/// Row numbers stay inside of the table that they index, and are distinct where rows are written.
void Collector::indices(Case &made, const Kernel &kernel, const std::vector<size_t> &arrays,
                        int64_t rows) {
  for (unsigned i = 0; i < kernel.operands()->size(); ++i) {
    const KernelOperand &operand = *kernel.operands()->Get(i);
    if (operand.index() < 0)
      continue;
    auto tableRows =
        int64_t(made.arrays[arrays[i]].bytes.size() /
                (size_t(std::max<int64_t>(operand.columns(), 1)) * bytesOf(operand.type())));
    auto *index =
        reinterpret_cast<int32_t *>(made.arrays[arrays[size_t(operand.index())]].bytes.data());
    for (int64_t row = 0; row < rows; ++row)
      index[row] = operand.access() == Access::Scatter ? (row < tableRows ? int32_t(row) : -1)
                   : row % 11 == 10                    ? -1
                                                       : int32_t(row * 5 % tableRows);
  }
}

void Collector::rowKernel(const RowKernel &op) {
  const Kernel &kernel = *program.kernels()->Get(unsigned(op.kernel()));
  bool accumulate = op.combine() != Combine::Overwrite;
  Case *made = start("row kernel", fmt::format("{} of {} rows{}", kernel.symbol()->string_view(),
                                               op.rows(), accumulate ? ", added" : ""));
  if (!made)
    return;
  // Operands in one buffer are one array.
  std::map<int, size_t> arrayOf;
  std::vector<size_t> arrays;
  for (unsigned i = 0; i < kernel.operands()->size(); ++i) {
    const KernelOperand &operand = *kernel.operands()->Get(i);
    int number = op.operands()->Get(i)->buffer();
    const Buffer &buffer = *stage.buffers()->Get(unsigned(number));
    bool perRow = operand.access() == Access::Row || operand.access() == Access::Gather ||
                  operand.access() == Access::ScatterAdd || operand.access() == Access::Scatter;
    double bytes =
        double(std::max<int64_t>(operand.columns(), 1)) * double(bytesOf(operand.type()));
    if (perRow || operand.access() == Access::RowScalar)
      bytes *= double(op.rows());
    made->bytes += bytes;
    // A chunk of masked rows may be more than there are positions.
    bool whole = operand.access() == Access::Row || operand.access() == Access::RowScalar;
    size_t size = std::max<size_t>(buffer.bytes(), whole ? size_t(bytes) : 0);
    if (!arrayOf.contains(number))
      arrayOf[number] = add(*made, buffer.name() ? buffer.name()->str() : "", size, operand.type());
    grow(made->arrays[arrayOf[number]], size);
    arrays.push_back(arrayOf[number]);
    made->arrays[arrays.back()].compared |= operand.output();
  }
  indices(*made, kernel, arrays, op.rows());
  made->run = [number = op.kernel(), rows = op.rows(), accumulate,
               arrays](rt::Device &device, const std::vector<void *> &at) {
    std::vector<void *> operands;
    for (size_t array : arrays)
      operands.push_back(at[array]);
    device.rowKernel({number, operands, rows, accumulate});
  };
}

void Collector::gemm(const Gemm &op) {
  bool accumulate = op.combine() != Combine::Overwrite;
  Case *made =
      start("gemm", fmt::format("{}{} {}x{}x{} ld {},{},{}{}", op.transpose_a() ? 'T' : 'N',
                                op.transpose_b() ? 'T' : 'N', op.m(), op.n(), op.k(), op.lda(),
                                op.ldb(), op.ldc(), accumulate ? ", added" : ""));
  if (!made)
    return;
  add(*made, "a", size_t((op.transpose_a() ? op.k() : op.m()) * op.lda()) * 4);
  add(*made, "b", size_t((op.transpose_b() ? op.n() : op.k()) * op.ldb()) * 4);
  add(*made, "c", size_t(op.m() * op.ldc()) * 4, DataType::F32, true);
  // Of both signs: among terms of one sign a wrong one is small beside the sum. A float below 1 may
  // not round up to it.
  for (size_t i = 0; i < made->arrays.size(); ++i)
    fill(made->arrays[i], uint32_t(i) + 1, -1, 1.9999999);
  made->operations = 2.0 * double(op.m()) * double(op.n()) * double(op.k());
  rt::GemmArgs args{nullptr,  nullptr,          nullptr,          op.m(),   op.n(),
                    op.k(),   op.transpose_a(), op.transpose_b(), op.lda(), op.ldb(),
                    op.ldc(), op.alpha(),       accumulate};
  made->run = [args](rt::Device &device, const std::vector<void *> &at) {
    rt::GemmArgs own = args;
    own.a = static_cast<float *>(at[0]);
    own.b = static_cast<float *>(at[1]);
    own.c = static_cast<float *>(at[2]);
    device.gemm(own);
  };
}

// A whole block: the forward pass makes what the backward pass reads.
template <typename Op> void Collector::attention(const Op &op, bool backward) {
  rt::AttentionShape shape{
      op.batch(),       op.heads(), op.head_dim(), op.query_length(), op.key_length(),
      op.mask_length(), 0,          op.scale()};
  Case *made =
      start(backward ? "attention backward" : "attention forward",
            fmt::format("batch {} heads {} of {}, {} queries, {} keys, dropout {:g}", shape.batch,
                        shape.heads, shape.headDim, shape.queries, shape.keys, op.dropout()));
  if (!made)
    return;
  size_t q = size_t(shape.batch * shape.queries * shape.heads * shape.headDim) * 4;
  size_t k = size_t(shape.batch * shape.keys * shape.heads * shape.headDim) * 4;
  size_t s = size_t(shape.batch * shape.heads * shape.queries) * 4;
  constexpr DataType f32 = DataType::F32, i32 = DataType::I32;
  for (auto [name, bytes] : {std::pair("q", q), {"k", k}, {"v", k}})
    add(*made, name, bytes);
  size_t mask = add(*made, "mask", size_t(shape.batch * shape.maskLength) * 4, i32);
  auto *keys = reinterpret_cast<int32_t *>(made->arrays[mask].bytes.data());
  for (int64_t i = 0; i < shape.batch * shape.maskLength; ++i)
    keys[i] = i % 7 != 3 || i % shape.maskLength == 0; // a query without keys has an infinite lse
  add(*made, "samples", size_t(shape.batch) * 4, i32);
  add(*made, "out", q, f32, !backward);
  add(*made, "lse", s, f32, !backward);
  add(*made, "sum", s);
  add(*made, "dout", q);
  add(*made, "delta", s);
  for (auto [name, bytes] : {std::pair("dq", q), {"dk", k}, {"dv", k}})
    add(*made, name, bytes, f32, backward);
  made->operations = (backward ? 10.0 : 4.0) * double(shape.batch * shape.heads) *
                     double(shape.queries) * double(shape.keys) * double(shape.headDim);
  made->run = [=, rate = op.dropout(), site = uint32_t(op.site())](rt::Device &device,
                                                                   const std::vector<void *> &at) {
    auto f = [&](size_t i) { return static_cast<float *>(at[i]); };
    auto *m = static_cast<int32_t *>(at[3]);
    rt::AttentionDropout dropout{rate, 7, 1, site, static_cast<int32_t *>(at[4])};
    device.attentionForward({shape, f(0), f(1), f(2), m, f(5), f(6), f(7), true, true, dropout});
    if (backward)
      device.attentionBackward({shape, f(0), f(1), f(2), m, f(5), f(6), f(8), f(9), f(10), f(11),
                                f(12), true, false, dropout});
  };
  if (backward)
    made->operations *= 1.4; // with the forward pass that it runs
}

/// Rounding of a 16-bit type to that of the tolerance, which is for fp32.
constexpr double kRoundingOf16Bits = 300;

std::vector<double> numbersOf(const Array &array) {
  std::vector<double> numbers(array.bytes.size() / bytesOf(array.type));
  for (size_t i = 0; i < numbers.size(); ++i) {
    auto read = [&](auto value) {
      std::memcpy(&value, array.bytes.data() + i * sizeof(value), sizeof(value));
      return value;
    };
    switch (array.type) {
    case DataType::F64:
      numbers[i] = read(double());
      break;
    case DataType::I32:
      numbers[i] = read(int32_t());
      break;
    case DataType::BF16:
      numbers[i] = double(std::bit_cast<float>(uint32_t(read(uint16_t())) << 16));
      break;
    case DataType::F16:
      numbers[i] = double(read(_Float16()));
      break;
    default:
      numbers[i] = double(read(float()));
    }
  }
  return numbers;
}

double difference(const Array &found, const Array &expected) {
  std::vector<double> a = numbersOf(found), b = numbersOf(expected);
  double largest = 1e-30, most = 0;
  for (size_t i = 0; i < b.size(); ++i) {
    if (!std::isfinite(a[i]) || !std::isfinite(b[i]))
      return INFINITY;
    largest = std::max(largest, std::abs(b[i]));
    most = std::max(most, std::abs(a[i] - b[i]));
  }
  return most / largest / (bytesOf(expected.type) == 2 ? kRoundingOf16Bits : 1);
}

} // namespace

std::vector<Case> casesOf(const rt::ProgramFile &file) {
  std::vector<Case> cases;
  std::set<std::string> known;
  for (const Stage *stage : *file.program().stages()) {
    Collector collector(file.program(), *stage, cases, known);
    collector.list(stage->micro_batch());
    collector.list(stage->update());
  }
  return cases;
}

double differenceOf(const std::vector<Array> &found, const std::vector<Array> &expected,
                    std::string &where) {
  double most = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    if (!expected[i].compared)
      continue;
    double each = difference(found[i], expected[i]);
    if (!(each <= most)) {
      most = each;
      where = expected[i].name;
    }
  }
  return most;
}

} // namespace seqpar::tool
