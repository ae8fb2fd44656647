#include "ToyModel.h"

#include <algorithm>
#include <cmath>

namespace seqpar::rt::test {

using namespace program;

namespace {

constexpr int64_t kWidth = kToyWidth;

class ToyWriter {
public:
  ToyWriter(const ProgramShape &shape, int64_t rowChunk, bool sharded, const CudaWriter *cuda)
      : p(shape), s(p.shape), chunk(rowChunk), rows(s.microBatch * s.chunk), sharded(sharded) {
    p.cudaWriter = cuda;
    // A shard is a whole number of cache lines of two rows.
    int64_t members = s.dp * s.sp;
    shardRows = (s.vocabulary + 2 * members - 1) / (2 * members) * 2;
    if (sharded)
      p.shardedParameter("table", {s.vocabulary, kWidth}, shardRows, Initializer::Normal, 0.5f);
    else
      p.parameter("table", {s.vocabulary, kWidth}, Initializer::Normal, 0.5f);
    table = p.parameters[0];
    for (int *buffer : {&x, &out, &dout, &dq, &dk, &dv, &keysA, &keysB, &dkA, &dkB, &dvA, &dvB})
      *buffer = p.buffer(Segment::Arena, {rows, kWidth});
    for (int *buffer : {&lse, &sum, &delta})
      *buffer = p.buffer(Segment::Arena, {s.microBatch, kToyHeads, s.chunk});
    loss = p.metric(MetricKind::MlmLoss);
    norm = p.metric(MetricKind::GradientNorm);
    mask = p.input(InputKind::PaddingMask);
  }

  std::vector<uint8_t> write() {
    std::vector<ProgramBuilder::Op> step;
    embed(step);
    forwardAttention(step);
    head(step);
    backwardAttention(step);
    embedBackward(step);
    if (sharded)
      step.push_back(scatterGradient());
    std::vector<ProgramBuilder::Op> last;
    update(last);
    return p.finish(step, last);
  }

private:
  using Ops = std::vector<ProgramBuilder::Op>;
  static Operand use(int buffer, int alternate = -1) {
    return ProgramBuilder::use(buffer, alternate);
  }
  uint64_t bytes() const { return static_cast<uint64_t>(rows * kWidth) * 4; }
  bool ring() const { return s.sp > 1; }

  void embed(Ops &ops) {
    int kernel = p.kernel("embed", {{Access::Gather, kWidth, DataType::F32, 1},
                                    {Access::RowScalar, 1, DataType::I32},
                                    {Access::Row, kWidth, DataType::F32, -1, true}});
    ops.push_back(p.launch(kernel, {use(table.value), use(p.input(InputKind::Tokens)), use(x)},
                           rows, Combine::Overwrite, false, "toy.embed"));
  }

  ProgramBuilder::Op forward(Operand keys, KeyBlock block, bool initialize, bool finish) {
    Operand q = use(x), m = use(mask), o = use(out), l = use(lse), t = use(sum);
    return p.op(CreateAttentionForward(p.bytes, &q, &keys, &keys, &m, &o, &l, &t, s.microBatch,
                                       kToyHeads, kWidth / kToyHeads, s.chunk, s.chunk,
                                       s.chunk * s.sp, 0.5f, block, initialize, finish),
                "toy.attention");
  }
  ProgramBuilder::Op backward(Operand keys, Operand toK, Operand toV, KeyBlock block,
                              bool initialize) {
    Operand q = use(x), m = use(mask), o = use(out), l = use(lse), g = use(dout), e = use(delta),
            toQ = use(dq);
    return p.op(CreateAttentionBackward(p.bytes, &q, &keys, &keys, &m, &o, &l, &g, &e, &toQ, &toK,
                                        &toV, s.microBatch, kToyHeads, kWidth / kToyHeads, s.chunk,
                                        s.chunk, s.chunk * s.sp, 0.5f, block, initialize),
                "toy.attention_grad");
  }

  // The exchange of the next block runs during the attention of the present one.
  void forwardAttention(Ops &ops) {
    if (ring())
      ops.push_back(p.shift({use(x)}, {use(keysA)}, bytes(), 1));
    ops.push_back(forward(use(x), KeyBlock::Own, true, !ring()));
    if (ring())
      ops.push_back(
          p.ring({p.wait(1), p.shift({use(keysA, keysB)}, {use(keysB, keysA)}, bytes(), 1, true),
                  forward(use(keysA, keysB), KeyBlock::RingIteration, false, true)}));
  }

  // Gradients of a block travel with it; the last shift brings them home.
  void backwardAttention(Ops &ops) {
    if (ring())
      ops.push_back(p.shift({use(x)}, {use(keysA)}, bytes(), 1));
    ops.push_back(backward(use(x), use(dk), use(dv), KeyBlock::Own, true));
    if (!ring())
      return;
    ops.push_back(p.ring(
        {p.wait(1), p.shift({use(keysA, keysB)}, {use(keysB, keysA)}, bytes(), 1, true),
         backward(use(keysA, keysB), use(dkA, dkB), use(dvA, dvB), KeyBlock::RingIteration, false),
         p.shift({use(dkA, dkB), use(dvA, dvB)}, {use(dkB, dkA), use(dvB, dvA)}, bytes(), 2),
         p.wait(2)}));
    bool odd = (s.sp - 1) % 2 == 1;
    int add = p.kernel("add", {{Access::Row, kWidth, DataType::F32, -1, true},
                               {Access::Row, kWidth, DataType::F32}});
    ops.push_back(p.launch(add, {use(dk), use(odd ? dkB : dkA)}, rows));
    ops.push_back(p.launch(add, {use(dv), use(odd ? dvB : dvA)}, rows));
  }

  ProgramBuilder::Op gemm(int a, int b, int c, int64_t m, int64_t n, int64_t k, bool transposeA,
                          bool transposeB, Combine combine, ActiveRows active) {
    Operand oa = use(a), ob = use(b), oc = use(c);
    return p.op(CreateGemm(p.bytes, &oa, &ob, &oc, m, n, k, transposeA, transposeB,
                           transposeA ? m : k, transposeB ? k : n, n, 1.0f, combine, active),
                "toy.head");
  }

  void head(Ops &ops) {
    int64_t v = s.vocabulary;
    int y = p.buffer(Segment::Arena, {chunk, kWidth}),
        dy = p.buffer(Segment::Arena, {chunk, kWidth});
    int logits = p.buffer(Segment::Arena, {chunk, v});
    int rowList = p.input(InputKind::MaskedRows), labels = p.input(InputKind::MaskedLabels);
    int gather = p.kernel("gather", {{Access::Gather, kWidth, DataType::F32, 1},
                                     {Access::RowScalar, 1, DataType::I32},
                                     {Access::Row, kWidth, DataType::F32, -1, true}});
    int scatter = p.kernel("scatter", {{Access::Scatter, kWidth, DataType::F32, 1, true},
                                       {Access::RowScalar, 1, DataType::I32},
                                       {Access::Row, kWidth, DataType::F32}});
    int entropy = p.kernel("cross_entropy", {{Access::Row, v, DataType::F32, -1, true},
                                             {Access::RowScalar, 1, DataType::I32},
                                             {Access::Scalar, 1, DataType::F32},
                                             {Access::SumRows, 1, DataType::F32, -1, true}});
    ops.push_back(p.fill(loss, 4, true));
    ops.push_back(p.fill(table.gradient, static_cast<uint64_t>(v * kWidth) * 4, true));
    ops.push_back(p.fill(dout, bytes(), false));
    ops.push_back(p.rows(
        chunk,
        {p.launch(gather, {use(out), use(rowList), use(y)}, chunk, Combine::Overwrite, true),
         gemm(y, table.value, logits, chunk, v, kWidth, false, true, Combine::Overwrite,
              ActiveRows::M),
         p.launch(entropy,
                  {use(logits), use(labels), use(p.input(InputKind::InverseLossTokens)), use(loss)},
                  chunk, Combine::Add, true),
         gemm(logits, table.value, dy, chunk, kWidth, v, false, false, Combine::Overwrite,
              ActiveRows::M),
         gemm(logits, y, table.gradient, v, kWidth, chunk, true, false, Combine::Add,
              ActiveRows::K),
         p.launch(scatter, {use(dout), use(rowList), use(dy)}, chunk, Combine::Overwrite, true)},
        rowList, labels));
  }

  void embedBackward(Ops &ops) {
    int kernel = p.kernel("embed_grad", {{Access::ScatterAdd, kWidth, DataType::F32, 1, true},
                                         {Access::RowScalar, 1, DataType::I32},
                                         {Access::Row, kWidth, DataType::F32},
                                         {Access::Row, kWidth, DataType::F32},
                                         {Access::Row, kWidth, DataType::F32}});
    ops.push_back(p.launch(
        kernel, {use(table.gradient), use(p.input(InputKind::Tokens)), use(dq), use(dk), use(dv)},
        rows));
  }

  uint64_t shardElements() const { return static_cast<uint64_t>(shardRows * kWidth); }
  ProgramBuilder::Op scatterGradient() {
    Operand from = use(table.gradient), to = use(table.gradientShard);
    return p.op(CreateReduceScatter(p.bytes, &from, &to, 1, shardElements(), DataType::F32, 5, 7));
  }
  ProgramBuilder::Op gatherParameters() {
    Operand from = use(table.valueShard), to = use(table.value);
    return p.op(CreateAllGather(p.bytes, &from, &to, 1, shardElements(), DataType::F32, 5));
  }

  void update(Ops &ops) {
    int64_t v = sharded ? shardRows : s.vocabulary;
    int value = sharded ? table.valueShard : table.value;
    int gradient = sharded ? table.gradientShard : table.gradient;
    ops.push_back(sharded ? p.wait(7)
                          : p.allReduce(gradient, static_cast<uint64_t>(v * kWidth), 5));
    ops.push_back(p.allReduce(loss, 1, 5));
    int squares = p.kernel("squares", {{Access::Row, kWidth, DataType::F32},
                                       {Access::SumRows, 1, DataType::F32, -1, true}});
    int root = p.kernel("root", {{Access::Scalar, 1, DataType::F32, -1, true}});
    int adam = p.kernel("adamw", {{Access::Row, kWidth, DataType::F32, -1, true},
                                  {Access::Row, kWidth, DataType::F32},
                                  {Access::Row, kWidth, DataType::F32, -1, true},
                                  {Access::Row, kWidth, DataType::F32, -1, true},
                                  {Access::Scalar},
                                  {Access::Scalar},
                                  {Access::Scalar},
                                  {Access::Scalar},
                                  {Access::Scalar},
                                  {Access::Scalar}});
    ops.push_back(p.launch(squares, {use(gradient), use(norm)}, v));
    if (sharded)
      ops.push_back(p.allReduce(norm, 1, 5));
    ops.push_back(p.launch(root, {use(norm)}, 1));
    ops.push_back(
        p.launch(adam,
                 {use(value), use(gradient), use(table.first), use(table.second),
                  use(p.input(InputKind::LearningRate)), use(p.input(InputKind::BiasCorrection1)),
                  use(p.input(InputKind::BiasCorrection2)), use(p.input(InputKind::ClipNorm)),
                  use(p.input(InputKind::WeightDecay)), use(norm)},
                 v));
    if (sharded)
      ops.push_back(gatherParameters());
  }

  ProgramBuilder p;
  const ProgramShape &s;
  int64_t chunk, rows, shardRows;
  bool sharded;
  ProgramBuilder::ParameterBuffers table;
  int x, out, dout, dq, dk, dv, keysA, keysB, dkA, dkB, dvA, dvB, lse, sum, delta, loss, norm, mask;
};

template <typename T> T *as(void *operand) { return static_cast<T *>(operand); }

// A row without a label, -1, counts for nothing.
void crossEntropy(void *const *o, int64_t rows, int64_t vocabulary) {
  float *logits = as<float>(o[0]), *loss = as<float>(o[3]);
  for (int64_t r = 0; r < rows; ++r, logits += vocabulary) {
    float largest = -INFINITY, sum = 0;
    int32_t label = as<int32_t>(o[1])[r];
    float inverse = label < 0 ? 0.0f : *as<float>(o[2]);
    for (int64_t c = 0; c < vocabulary; ++c)
      largest = std::max(largest, logits[c]);
    for (int64_t c = 0; c < vocabulary; ++c)
      sum += std::exp(logits[c] - largest);
    *loss += inverse * (largest + std::log(sum) - (label < 0 ? 0.0f : logits[label]));
    for (int64_t c = 0; c < vocabulary; ++c)
      logits[c] = inverse * (std::exp(logits[c] - largest) / sum - (c == label ? 1.0f : 0.0f));
  }
}

void adamw(void *const *o, int64_t rows) {
  float rate = *as<float>(o[4]), correction1 = *as<float>(o[5]), correction2 = *as<float>(o[6]);
  float clip = *as<float>(o[7]), decay = *as<float>(o[8]), norm = *as<float>(o[9]);
  float scale = clip > 0 ? std::min(1.0f, clip / (norm + 1e-6f)) : 1.0f;
  for (int64_t i = 0; i < rows * kWidth; ++i) {
    float g = as<float>(o[1])[i] * scale, &m = as<float>(o[2])[i], &v = as<float>(o[3])[i];
    m = 0.9f * m + 0.1f * g;
    v = 0.999f * v + 0.001f * g * g;
    float &value = as<float>(o[0])[i];
    value -= rate * (decay * value + m * correction1 / (std::sqrt(v * correction2) + 1e-8f));
  }
}

} // namespace

ProgramShape toyShape(int sp, int64_t length, int dp, int64_t microBatches, int64_t microBatch) {
  ProgramShape shape;
  shape.dp = dp;
  shape.sp = sp;
  shape.microBatch = microBatch;
  shape.microBatches = microBatches;
  shape.length = length;
  shape.chunk = (length + sp - 1) / sp;
  return shape;
}

std::vector<uint8_t> toyProgram(const ProgramShape &shape, int64_t rowChunk, bool sharded,
                                const CudaWriter *cuda) {
  return ToyWriter(shape, rowChunk, sharded, cuda).write();
}

TestKernels toyKernels() {
  auto copyRow = [](float *to, const float *from) { std::copy_n(from, kWidth, to); };
  // Row -1 is zeros, and is written nowhere.
  auto gather = [=](void *const *o, int64_t rows) {
    const float zeros[kWidth] = {};
    for (int64_t r = 0; r < rows; ++r) {
      int32_t from = as<int32_t>(o[1])[r];
      copyRow(as<float>(o[2]) + r * kWidth, from < 0 ? zeros : as<float>(o[0]) + from * kWidth);
    }
  };
  TestKernels kernels;
  kernels["embed"] = gather;
  kernels["gather"] = gather;
  kernels["scatter"] = [=](void *const *o, int64_t rows) {
    for (int64_t r = 0; r < rows; ++r)
      if (int32_t to = as<int32_t>(o[1])[r]; to >= 0)
        copyRow(as<float>(o[0]) + to * kWidth, as<float>(o[2]) + r * kWidth);
  };
  kernels["add"] = [](void *const *o, int64_t rows) {
    for (int64_t i = 0; i < rows * kWidth; ++i)
      as<float>(o[0])[i] += as<float>(o[1])[i];
  };
  kernels["embed_grad"] = [](void *const *o, int64_t rows) {
    for (int64_t i = 0; i < rows * kWidth; ++i)
      as<float>(o[0])[as<int32_t>(o[1])[i / kWidth] * kWidth + i % kWidth] +=
          as<float>(o[2])[i] + as<float>(o[3])[i] + as<float>(o[4])[i];
  };
  kernels["squares"] = [](void *const *o, int64_t rows) {
    for (int64_t i = 0; i < rows * kWidth; ++i)
      *as<float>(o[1]) += as<float>(o[0])[i] * as<float>(o[0])[i];
  };
  kernels["root"] = [](void *const *o, int64_t) { *as<float>(o[0]) = std::sqrt(*as<float>(o[0])); };
  kernels["cross_entropy"] = [](void *const *o, int64_t rows) {
    crossEntropy(o, rows, ProgramShape().vocabulary);
  };
  kernels["adamw"] = adamw;
  return kernels;
}

} // namespace seqpar::rt::test
