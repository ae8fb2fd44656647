//===- DeviceAttention.cpp - attention on a device and in double ----------===//

#include "DeviceAttention.h"

#include "seqpar/rt/Philox.h"

#include <algorithm>
#include <numeric>

namespace seqpar::rt::test {

AttentionProblem::AttentionProblem(int64_t batch, int64_t heads, int64_t headDim, int64_t queries,
                                   int64_t keys)
    : batch(batch), heads(heads), headDim(headDim), queries(queries), keys(keys),
      scale(3.0f / std::sqrt(float(headDim))),
      q(randomFloats(batch * queries * heads * headDim, 1)),
      k(randomFloats(batch * keys * heads * headDim, 2)),
      v(randomFloats(batch * keys * heads * headDim, 3)),
      dout(randomFloats(batch * queries * heads * headDim, 4)), mask(batch * keys, 1) {
  for (int64_t b = 0; b < batch; ++b)
    samples.push_back(int32_t(100 + 7 * b));
}

void AttentionProblem::randomMask(double probability) {
  std::mt19937 generator(5);
  for (int32_t &each : mask)
    each = double(generator()) < probability * 4294967296.0;
}

void AttentionProblem::setType(FloatType operands, FloatType result) {
  type = operands;
  outType = result;
  for (std::vector<float> *values : {&q, &k, &v, &dout})
    for (float &value : *values)
      value = rounded(type, value);
}

namespace {

struct Block {
  int64_t begin, size;
};

/// Keys [begin, begin + size) of each sample of a k-like tensor.
std::vector<float> slice(const AttentionProblem &p, const std::vector<float> &all, Block block) {
  std::vector<float> result;
  int64_t row = p.heads * p.headDim;
  for (int64_t b = 0; b < p.batch; ++b) {
    auto from = all.begin() + (b * p.keys + block.begin) * row;
    result.insert(result.end(), from, from + block.size * row);
  }
  return result;
}

void insert(const AttentionProblem &p, std::vector<float> &all, Block block,
            const std::vector<float> &part) {
  int64_t row = p.heads * p.headDim;
  for (int64_t b = 0; b < p.batch; ++b)
    std::copy_n(part.begin() + b * block.size * row, block.size * row,
                all.begin() + (b * p.keys + block.begin) * row);
}

} // namespace

AttentionGradients runAttention(Device &device, const AttentionProblem &p,
                                const std::vector<int64_t> &sizes, std::vector<int> order) {
  std::vector<Block> blocks;
  for (int64_t begin = 0; int64_t size : sizes) {
    blocks.push_back({begin, size});
    begin += size;
  }
  if (order.empty()) {
    order.resize(blocks.size());
    std::iota(order.begin(), order.end(), 0);
  }
  // What is set and not read starts as NaN.
  std::vector<float> unset(p.q.size(), NAN), unsetStatistic(p.batch * p.heads * p.queries, NAN);
  FloatArray q(device, p.q, p.type), dout(device, p.dout, p.type), out(device, unset, p.outType);
  DeviceArray<float> dq(device, unset), lse(device, unsetStatistic), sum(device, unsetStatistic),
      delta(device, unsetStatistic);
  DeviceArray<int32_t> mask(device, p.mask), samples(device, p.samples);
  AttentionGradients result;
  result.dk.resize(p.k.size());
  result.dv.resize(p.v.size());

  std::unique_ptr<FloatArray> narrowOut; // what the backward pass reads
  for (bool forward : {true, false})
    for (size_t i = 0; i < order.size(); ++i) {
      Block block = blocks[order[i]];
      AttentionShape shape = {p.batch,    p.heads, p.headDim,   p.queries,
                              block.size, p.keys,  block.begin, p.scale};
      AttentionDropout dropout = p.dropout;
      dropout.samples = samples.data();
      dropout.keyOffset += block.begin;
      FloatArray k(device, slice(p, p.k, block), p.type), v(device, slice(p, p.v, block), p.type);
      if (forward) {
        device.attentionForward({shape, q.data(), k.data(), v.data(), mask.data(), out.data(),
                                 lse.data(), sum.data(), i == 0, i + 1 == order.size(), dropout,
                                 p.type, p.outType});
        device.synchronize();
        continue;
      }
      if (!narrowOut && p.type != p.outType)
        narrowOut = std::make_unique<FloatArray>(device, out.values(), p.type);
      std::vector<float> before(p.batch * block.size * p.heads * p.headDim, p.keyGradientsBefore);
      DeviceArray<float> dk(device, before), dv(device, before);
      device.attentionBackward({shape, q.data(), k.data(), v.data(), mask.data(),
                                (narrowOut ? *narrowOut : out).data(), lse.data(), dout.data(),
                                delta.data(), dq.data(), dk.data(), dv.data(), i == 0,
                                !std::isnan(p.keyGradientsBefore), dropout, p.type});
      insert(p, result.dk, block, dk.values());
      insert(p, result.dv, block, dv.values());
    }
  result.out = out.values();
  result.lse = lse.values();
  result.delta = delta.values();
  result.dq = dq.values();
  return result;
}

namespace {

/// One query of one head of one sample.
struct Query {
  int64_t sample, head, position, element, statistic;
};

/// Probabilities of all keys, their dropout factors, and the log-sum-exp.
double probabilities(const AttentionProblem &p, const Query &query,
                     std::vector<double> &probability, std::vector<double> &factor) {
  int64_t row = p.heads * p.headDim;
  double maximum = -INFINITY, sum = 0;
  for (int64_t j = 0; j < p.keys; ++j) {
    const float *k = &p.k[(query.sample * p.keys + j) * row + query.head * p.headDim];
    double score = 0;
    for (int64_t d = 0; d < p.headDim; ++d)
      score += double(p.q[query.element + d]) * double(k[d]);
    probability[j] = p.mask[query.sample * p.keys + j] ? score * double(p.scale) : -INFINITY;
    maximum = std::max(maximum, probability[j]);
  }
  for (double &each : probability) {
    each = maximum == -INFINITY ? 0 : std::exp(each - maximum);
    sum += each;
  }
  const AttentionDropout &d = p.dropout;
  for (int64_t j = 0; j < p.keys; ++j) {
    probability[j] /= sum == 0 ? 1 : sum;
    factor[j] = 1;
    if (d.rate > 0)
      factor[j] = dropoutWord(d.seed, d.step, d.site, uint32_t(p.samples[query.sample]),
                              uint32_t(query.head), uint32_t(d.queryOffset + query.position),
                              uint32_t(d.keyOffset + j)) < dropoutThreshold(d.rate)
                      ? 0
                      : 1 / (1 - double(d.rate));
  }
  return sum == 0 ? INFINITY : maximum + std::log(sum);
}

void addQuery(const AttentionProblem &p, const Query &query, AttentionReference &result) {
  int64_t row = p.heads * p.headDim;
  std::vector<double> probability(p.keys), factor(p.keys), dprobability(p.keys);
  result.lse[query.statistic] = probabilities(p, query, probability, factor);
  auto keyElement = [&](int64_t j) {
    return (query.sample * p.keys + j) * row + query.head * p.headDim;
  };
  double &delta = result.delta[query.statistic];
  for (int64_t j = 0; j < p.keys; ++j)
    for (int64_t d = 0; d < p.headDim; ++d) {
      double value = p.v[keyElement(j) + d], gradient = p.dout[query.element + d];
      result.out[query.element + d] += probability[j] * factor[j] * value;
      result.dv[keyElement(j) + d] += probability[j] * factor[j] * gradient;
      dprobability[j] += factor[j] * value * gradient;
    }
  for (int64_t j = 0; j < p.keys; ++j)
    delta += probability[j] * dprobability[j];
  for (int64_t j = 0; j < p.keys; ++j) {
    double dscore = probability[j] * (dprobability[j] - delta) * double(p.scale);
    for (int64_t d = 0; d < p.headDim; ++d) {
      result.dq[query.element + d] += dscore * double(p.k[keyElement(j) + d]);
      result.dk[keyElement(j) + d] += dscore * double(p.q[query.element + d]);
    }
  }
}

} // namespace

AttentionReference attentionReference(const AttentionProblem &p) {
  size_t statistics = p.batch * p.heads * p.queries;
  AttentionReference result;
  result.out.resize(p.q.size());
  result.dq.resize(p.q.size());
  result.dk.resize(p.k.size());
  result.dv.resize(p.v.size());
  result.lse.resize(statistics);
  result.delta.resize(statistics);
  int64_t row = p.heads * p.headDim;
  for (int64_t b = 0; b < p.batch; ++b)
    for (int64_t h = 0; h < p.heads; ++h)
      for (int64_t i = 0; i < p.queries; ++i)
        addQuery(
            p,
            {b, h, i, (b * p.queries + i) * row + h * p.headDim, (b * p.heads + h) * p.queries + i},
            result);
  return result;
}

} // namespace seqpar::rt::test
