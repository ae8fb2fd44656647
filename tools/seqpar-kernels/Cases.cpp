#include "Cases.h"

#include "seqpar/rt/Float16.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <random>
#include <set>

namespace seqpar::tool {

using namespace program;

namespace {

using rt::bytesOf;

rt::FloatType floatType(DataType type) {
  return type == DataType::BF16  ? rt::FloatType::BF16
         : type == DataType::F16 ? rt::FloatType::F16
                                 : rt::FloatType::F32;
}

/// What is said of types beside fp32.
std::string typesText(DataType type, DataType result) {
  if (type == DataType::F32)
    return "";
  return fmt::format(", {}{}", EnumNameDataType(type),
                     result == type ? "" : std::string(" to ") + EnumNameDataType(result));
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
  case DataType::BF16:
    return each(uint16_t(), [&](size_t i) { return rt::toBf16(float(real(i))); });
  case DataType::F16:
    return each(uint16_t(), [&](size_t i) { return rt::toF16(float(real(i))); });
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
    Array array{.bytes = std::vector<uint8_t>(std::max<size_t>(bytes, 8)),
                .type = type,
                .compared = compared,
                .name = std::move(name)};
    fill(array, uint32_t(made.arrays.size()) + 1);
    made.arrays.push_back(std::move(array));
    return made.arrays.size() - 1;
  }

  void rowKernel(const RowKernel &op);
  void indices(Case &made, const Kernel &kernel, const std::vector<size_t> &arrays, int64_t rows);
  void gemm(const Gemm &op);
  template <typename Op> void attention(const Op &op, bool backward);
  DataType typeOf(const Operand *operand) const {
    return stage.buffers()->Get(unsigned(operand->buffer()))->type();
  }

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
  DataType type = typeOf(op.a()), resultType = typeOf(op.c());
  Case *made = start("gemm", fmt::format("{}{} {}x{}x{} ld {},{},{}{}{}",
                                         op.transpose_a() ? 'T' : 'N', op.transpose_b() ? 'T' : 'N',
                                         op.m(), op.n(), op.k(), op.lda(), op.ldb(), op.ldc(),
                                         typesText(type, resultType), accumulate ? ", added" : "") +
                                 (op.saved() ? ", bias and gelu" : op.bias() ? ", bias" : ""));
  if (!made)
    return;
  size_t size = bytesOf(type);
  add(*made, "a", size_t((op.transpose_a() ? op.k() : op.m()) * op.lda()) * size, type);
  add(*made, "b", size_t((op.transpose_b() ? op.n() : op.k()) * op.ldb()) * size, type);
  add(*made, "c", size_t(op.m() * op.ldc()) * bytesOf(resultType), resultType, true);
  if (op.bias())
    add(*made, "bias", size_t(op.n()) * bytesOf(resultType), resultType);
  if (op.saved())
    add(*made, "saved", size_t(op.m() * op.ldc()) * bytesOf(resultType), resultType, true);
  // Of both signs: among terms of one sign a wrong one is small beside the sum. A float below 1 may
  // not round up to it.
  for (size_t i = 0; i < made->arrays.size(); ++i)
    fill(made->arrays[i], uint32_t(i) + 1, -1, 1.9999999);
  made->operations = 2.0 * double(op.m()) * double(op.n()) * double(op.k());
  rt::GemmArgs args{nullptr,  nullptr,          nullptr,          op.m(),   op.n(),
                    op.k(),   op.transpose_a(), op.transpose_b(), op.lda(), op.ldb(),
                    op.ldc(), op.alpha(),       accumulate};
  args.type = floatType(type);
  args.resultType = floatType(resultType);
  made->run = [args](rt::Device &device, const std::vector<void *> &at) {
    rt::GemmArgs own = args;
    own.a = at[0];
    own.b = at[1];
    own.c = at[2];
    own.bias = at.size() > 3 ? at[3] : nullptr;
    own.saved = at.size() > 4 ? at[4] : nullptr;
    device.gemm(own);
  };
}

// A whole block: the forward pass makes what the backward pass reads.
template <typename Op> void Collector::attention(const Op &op, bool backward) {
  DataType type = typeOf(op.q()), outType = typeOf(op.out());
  rt::AttentionShape shape{
      op.batch(),       op.heads(), op.head_dim(), op.query_length(), op.key_length(),
      op.mask_length(), 0,          op.scale()};
  Case *made = start(backward ? "attention backward" : "attention forward",
                     fmt::format("batch {} heads {} of {}, {} queries, {} keys, dropout {:g}{}",
                                 shape.batch, shape.heads, shape.headDim, shape.queries, shape.keys,
                                 op.dropout(), typesText(type, outType)));
  if (!made)
    return;
  size_t queries = size_t(shape.batch * shape.queries * shape.heads * shape.headDim);
  size_t keyElements = size_t(shape.batch * shape.keys * shape.heads * shape.headDim);
  size_t q = queries * bytesOf(type), k = keyElements * bytesOf(type);
  size_t s = size_t(shape.batch * shape.heads * shape.queries) * 4;
  constexpr DataType f32 = DataType::F32, i32 = DataType::I32;
  for (auto [name, bytes] : {std::pair("q", q), {"k", k}, {"v", k}})
    add(*made, name, bytes, type);
  size_t mask = add(*made, "mask", size_t(shape.batch * shape.maskLength) * 4, i32);
  auto *keys = reinterpret_cast<int32_t *>(made->arrays[mask].bytes.data());
  for (int64_t i = 0; i < shape.batch * shape.maskLength; ++i)
    keys[i] = i % 7 != 3 || i % shape.maskLength == 0; // a query without keys has an infinite lse
  add(*made, "samples", size_t(shape.batch) * 4, i32);
  add(*made, "out", queries * bytesOf(outType), outType, !backward);
  add(*made, "lse", s, f32, !backward);
  add(*made, "sum", s);
  add(*made, "dout", q, type);
  add(*made, "delta", s);
  for (auto [name, bytes] :
       {std::pair("dq", queries * 4), {"dk", keyElements * 4}, {"dv", keyElements * 4}})
    add(*made, name, bytes, f32, backward);
  for (Array &array : made->arrays)
    array.rounded = bytesOf(type) == 2 && array.name != "lse";
  made->operations = (backward ? 10.0 : 4.0) * double(shape.batch * shape.heads) *
                     double(shape.queries) * double(shape.keys) * double(shape.headDim);
  made->run = [=, rate = op.dropout(), site = uint32_t(op.site())](rt::Device &device,
                                                                   const std::vector<void *> &at) {
    auto f = [&](size_t i) { return static_cast<float *>(at[i]); };
    rt::FloatType operands = floatType(type), result = floatType(outType);
    auto *m = static_cast<int32_t *>(at[3]);
    rt::AttentionDropout dropout{rate, 7, 1, site, static_cast<int32_t *>(at[4])};
    device.attentionForward(
        {shape, at[0], at[1], at[2], m, at[5], f(6), f(7), true, true, dropout, operands, result});
    if (backward)
      device.attentionBackward({shape, at[0], at[1], at[2], m, at[5], f(6), at[8], f(9), f(10),
                                f(11), f(12), true, false, dropout, operands});
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
      numbers[i] = double(rt::fromBf16(read(uint16_t())));
      break;
    case DataType::F16:
      numbers[i] = double(rt::fromF16(read(uint16_t())));
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
  bool narrow = expected.rounded || bytesOf(expected.type) == 2;
  return most / largest / (narrow ? kRoundingOf16Bits : 1);
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
