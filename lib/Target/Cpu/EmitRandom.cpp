//===- EmitRandom.cpp - plan.row_random as vector code --------------------===//
//
// Philox4x32-10: the four blocks of 16 columns are computed in the lanes of vectors of i64, whose
// low halves hold the words. So a round's products are one multiplication each of the low halves,
// and what is left in the high halves takes no part in the next.
//
//===----------------------------------------------------------------------===//
#include "EmitRows.h"

#include "mlir/Dialect/Arith/IR/Arith.h"

using namespace mlir;
using namespace seqpar;
using namespace seqpar::cpu;

namespace {

constexpr int64_t kWords = 4; ///< of a block
constexpr int64_t kBlocks = kVectorColumns / kWords;

class PhiloxBuilder {
public:
  explicit PhiloxBuilder(ImplicitLocOpBuilder &b)
      : b(b), lanes(VectorType::get({kBlocks}, b.getI64Type())), lowHalf(constant(0xffffffff)) {}

  Value run(Value column, const RandomCoordinates &at);

private:
  struct Product {
    Value low, high; ///< the words in the low halves
  };

  Value constant(uint64_t value) {
    return arith::ConstantOp::create(b, DenseElementsAttr::get(lanes, APInt(64, value)));
  }
  /// An i32 in the low half of every lane.
  Value broadcast(Value word) {
    return vector::BroadcastOp::create(b, lanes, arith::ExtUIOp::create(b, b.getI64Type(), word));
  }
  Value mask(Value x) { return arith::AndIOp::create(b, x, lowHalf); }
  Product multiply(Value x, uint32_t factor) {
    Value product = arith::MulIOp::create(b, mask(x), constant(factor));
    return {product, arith::ShRUIOp::create(b, product, constant(32))};
  }
  Value add(Value word, uint32_t value) {
    return arith::AddIOp::create(
        b, word, arith::ConstantOp::create(b, b.getI32IntegerAttr(static_cast<int32_t>(value))));
  }
  Value exclusiveOr(Value x, Value y, Value z) {
    return arith::XOrIOp::create(b, arith::XOrIOp::create(b, x, y), z);
  }
  /// Words of the low halves of two vectors, side by side in each lane.
  Value pair(Value first, Value second) {
    return arith::OrIOp::create(b, mask(first), arith::ShLIOp::create(b, second, constant(32)));
  }
  Value firstCounters(Value column);

  ImplicitLocOpBuilder &b;
  VectorType lanes;
  Value lowHalf;
};

Value PhiloxBuilder::firstCounters(Value column) {
  SmallVector<int64_t> numbers = llvm::to_vector(llvm::seq(kBlocks));
  Value steps = arith::ConstantOp::create(b, DenseElementsAttr::get(lanes, ArrayRef(numbers)));
  Value four = arith::ConstantOp::create(b, b.getI64IntegerAttr(kWords));
  Value first = vector::BroadcastOp::create(b, lanes, arith::DivUIOp::create(b, column, four));
  return arith::AddIOp::create(b, first, steps);
}

Value PhiloxBuilder::run(Value column, const RandomCoordinates &at) {
  Value sixteen = arith::ConstantOp::create(b, b.getI32IntegerAttr(16));
  Value x0 = firstCounters(column), x1 = broadcast(at.position), x2 = broadcast(at.sample);
  Value x3 = broadcast(arith::ShLIOp::create(b, at.site, sixteen));
  Value key0 = at.seed, key1 = at.step;
  for (int round = 0; round < 10; ++round) {
    auto [low0, high0] = multiply(x0, 0xD2511F53);
    auto [low1, high1] = multiply(x2, 0xCD9E8D57);
    x0 = exclusiveOr(high1, x1, broadcast(key0));
    x1 = low1;
    x2 = exclusiveOr(high0, x3, broadcast(key1));
    x3 = low0;
    key0 = add(key0, 0x9E3779B9);
    key1 = add(key1, 0xBB67AE85);
  }
  // Word w of block i belongs to column 4 * i + w.
  SmallVector<int64_t> alternate;
  for (int64_t i = 0; i < kBlocks; ++i)
    alternate.append({i, kBlocks + i});
  Value pairs = vector::ShuffleOp::create(b, pair(x0, x1), pair(x2, x3), alternate);
  return vector::BitCastOp::create(b, VectorType::get({kVectorColumns}, b.getI32Type()), pairs);
}

} // namespace

Value cpu::emitRandom(ImplicitLocOpBuilder &b, Value column, int64_t width,
                      const RandomCoordinates &coordinates) {
  Value words = PhiloxBuilder(b).run(column, coordinates);
  if (width == kVectorColumns)
    return words;
  SmallVector<int64_t> first = llvm::to_vector(llvm::seq(width));
  return vector::ShuffleOp::create(b, words, words, first);
}
