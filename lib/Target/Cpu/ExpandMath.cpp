//===- ExpandMath.cpp - exp, log, tanh, erf, bf16 as arithmetic -----------===//
//
// bf16 is the upper half of an f32: widening and rounding are arithmetic on bits, where LLVM would
// call a library on processors without instructions for it. All have those for f16.
//
// Own polynomials, fitted in double precision by iteratively reweighted least squares. Scalars and
// vectors take the same path. Largest relative errors over all f32 (test/Target/Cpu checks them):
// exp 2e-7, log 2e-7, tanh 3e-7, erf 4e-7.
//
//===----------------------------------------------------------------------===//
#include "seqpar/Target/Cpu/EmitCpu.h"

#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "mlir/IR/TypeUtilities.h"

#include <cmath>

using namespace mlir;
using namespace seqpar;

namespace {

class MathBuilder {
public:
  MathBuilder(Operation *op)
      : b(op->getLoc(), op), type(op->getResult(0).getType()), integerType(b.getI32Type()) {
    if (auto vector = dyn_cast<VectorType>(type))
      integerType = vector.clone(b.getI32Type());
  }

  Value exp(Value x);
  Value log(Value x);
  Value tanh(Value x);
  Value erf(Value x);
  Value rsqrt(Value x) { return divide(constant(1), math::SqrtOp::create(b, x)); }

private:
  /// x = n ln 2 + r; q = e^r - 1.
  struct Reduced {
    Value n, q;
  };
  Reduced reduceExponent(Value x);
  Value powerOfTwo(Value n);
  Value polynomial(Value x, ArrayRef<float> coefficients);
  Value clamp(Value x, float low, float high);

  Value make(TypedAttr element, Type as) {
    if (auto vector = dyn_cast<VectorType>(as))
      return arith::ConstantOp::create(b, DenseElementsAttr::get(vector, Attribute(element)));
    return arith::ConstantOp::create(b, element);
  }
  Value constant(float value) { return make(b.getF32FloatAttr(value), type); }
  Value integer(int32_t value) { return make(b.getI32IntegerAttr(value), integerType); }
  Value add(Value x, Value y) { return arith::AddFOp::create(b, x, y); }
  Value subtract(Value x, Value y) { return arith::SubFOp::create(b, x, y); }
  Value multiply(Value x, Value y) { return arith::MulFOp::create(b, x, y); }
  Value divide(Value x, Value y) { return arith::DivFOp::create(b, x, y); }
  Value fma(Value x, Value y, Value z) { return math::FmaOp::create(b, x, y, z); }
  Value toInteger(Value x) { return arith::BitcastOp::create(b, integerType, x); }
  Value toFloat(Value x) { return arith::BitcastOp::create(b, type, x); }
  Value isLess(Value x, Value y) {
    return arith::CmpFOp::create(b, arith::CmpFPredicate::OLT, x, y);
  }
  Value isEqual(Value x, Value y) {
    return arith::CmpFOp::create(b, arith::CmpFPredicate::OEQ, x, y);
  }
  Value select(Value c, Value x, Value y) { return arith::SelectOp::create(b, c, x, y); }

  ImplicitLocOpBuilder b;
  Type type, integerType;
};

/// Horner's scheme; coefficients from the lowest power.
Value MathBuilder::polynomial(Value x, ArrayRef<float> coefficients) {
  Value sum = constant(coefficients.back());
  for (float coefficient : llvm::reverse(coefficients.drop_back()))
    sum = fma(sum, x, constant(coefficient));
  return sum;
}

/// NaN passes through.
Value MathBuilder::clamp(Value x, float low, float high) {
  Value lower = constant(low), upper = constant(high);
  x = select(isLess(x, lower), lower, x);
  return select(isLess(upper, x), upper, x);
}

/// |x| must be below 2^21. Adding 1.5 * 2^23 rounds to the nearest integer, which the low bits of
/// the sum then hold; unlike a conversion this is defined for NaN.
MathBuilder::Reduced MathBuilder::reduceExponent(Value x) {
  Value magic = constant(12582912.0f);
  Value shifted = fma(x, constant(1.44269504f), magic);
  Value rounded = subtract(shifted, magic);
  Value n = arith::SubIOp::create(b, toInteger(shifted), integer(0x4b400000));
  Value r =
      fma(rounded, constant(-0.693145752f), x); // ln 2 in two parts, the first exact in n * it
  r = fma(rounded, constant(-1.42860677e-6f), r);
  Value p = polynomial(r, {0.5f, 0.16666541993618011f, 0.041666280478239060f,
                           0.0083666443824768066f, 0.0013946550898253918f});
  Value q = fma(multiply(r, r), p, r);
  return {n, q};
}

/// -126 <= n <= 127
Value MathBuilder::powerOfTwo(Value n) {
  Value biased = arith::AddIOp::create(b, n, integer(127));
  return toFloat(arith::ShLIOp::create(b, biased, integer(23)));
}

/// 2^n in two factors, so that results below the smallest normal number and above the largest
/// number come out right.
Value MathBuilder::exp(Value x) {
  auto [n, q] = reduceExponent(clamp(x, -150, 130));
  Value half = arith::ShRSIOp::create(b, n, integer(1));
  Value rest = arith::SubIOp::create(b, n, half);
  Value scaled = multiply(add(q, constant(1)), powerOfTwo(half));
  return multiply(scaled, powerOfTwo(rest));
}

/// tanh(x) = m / (m + 2), m = e^(2x) - 1 = 2^n q + (2^n - 1): no cancellation near 0.
Value MathBuilder::tanh(Value x) {
  auto [n, q] = reduceExponent(clamp(add(x, x), -20, 20));
  Value scale = powerOfTwo(n);
  Value m = fma(scale, q, subtract(scale, constant(1)));
  return divide(m, add(m, constant(2)));
}

/// x P(x^2) / Q(x^2) up to where the result rounds to 1.
Value MathBuilder::erf(Value x) {
  Value y = clamp(x, -3.9192059f, 3.9192059f);
  Value t = multiply(y, y);
  Value p = polynomial(t, {1.12837911f, 0.190557256f, 0.0527651273f, 0.00377116306f,
                           0.000284843292f, 2.04671551e-06f});
  Value q = polynomial(
      t, {1.0f, 0.502209723f, 0.114168227f, 0.0149803972f, 0.00116357906f, 3.80548881e-05f});
  return clamp(divide(multiply(y, p), q), -1, 1);
}

/// x = 2^e (1 + f), sqrt(1/2) <= 1 + f < sqrt(2); with s = f / (2 + f):
/// log(1 + f) = 2 s + 2/3 s^3 + 2/5 s^5 + ... = f - (f^2/2 - s (f^2/2 + R(s^2))).
Value MathBuilder::log(Value x) {
  Value isTiny = isLess(x, constant(1.17549435e-38f));
  Value normal = select(isTiny, multiply(x, constant(8388608.0f)), x);
  Value bits = toInteger(normal);
  Value rootOfHalf = integer(0x3f3504f3);
  Value offset = arith::SubIOp::create(b, bits, rootOfHalf);
  Value e = arith::ShRSIOp::create(b, offset, integer(23));
  Value mantissa = arith::AndIOp::create(b, offset, integer(0x007fffff));
  Value f = subtract(toFloat(arith::AddIOp::create(b, mantissa, rootOfHalf)), constant(1));
  Value exponent = arith::SIToFPOp::create(b, type, e);
  exponent = select(isTiny, subtract(exponent, constant(23)), exponent);

  Value s = divide(f, add(f, constant(2)));
  Value z = multiply(s, s);
  Value r = multiply(z, polynomial(z, {2.0f / 3, 2.0f / 5, 2.0f / 7, 2.0f / 9}));
  Value half = multiply(multiply(f, f), constant(0.5f));
  Value low = fma(s, add(half, r), multiply(exponent, constant(1.42860677e-6f)));
  Value sum = add(subtract(low, half), f);
  sum = fma(exponent, constant(0.693145752f), sum);

  float infinity = std::numeric_limits<float>::infinity();
  sum = select(isLess(x, constant(infinity)), sum, x); // infinity and NaN
  sum = select(isEqual(x, constant(0)), constant(-infinity), sum);
  return select(isLess(x, constant(0)), constant(std::nanf("")), sum);
}

/// Of a type's shape, which may be a vector's.
Type withElement(Type type, Type element) {
  auto vector = dyn_cast<VectorType>(type);
  return vector ? Type(vector.clone(element)) : element;
}

class Bf16Builder {
public:
  Bf16Builder(Operation *op)
      : b(op->getLoc(), op), value(op->getOperand(0)), result(op->getResult(0).getType()),
        i16(withElement(result, b.getI16Type())), i32(withElement(result, b.getI32Type())),
        f32(withElement(result, b.getF32Type())) {}

  /// To f32 or f64.
  Value widen() {
    Value bits = arith::ExtUIOp::create(b, i32, arith::BitcastOp::create(b, i16, value));
    Value wide = arith::BitcastOp::create(b, f32, arith::ShLIOp::create(b, bits, integer(16)));
    return result == f32 ? wide : arith::ExtFOp::create(b, result, wide);
  }

  /// From f32, to the nearest, ties to even; NaN stays NaN.
  Value round() {
    Value bits = arith::BitcastOp::create(b, i32, value);
    Value upper = arith::ShRUIOp::create(b, bits, integer(16));
    Value odd = arith::AndIOp::create(b, upper, integer(1));
    Value half = arith::AddIOp::create(b, integer(0x7fff), odd);
    Value rounded = arith::ShRUIOp::create(b, arith::AddIOp::create(b, bits, half), integer(16));
    Value isNan = arith::CmpFOp::create(b, arith::CmpFPredicate::UNO, value, value);
    Value quiet = arith::OrIOp::create(b, upper, integer(0x40));
    Value chosen = arith::SelectOp::create(b, isNan, quiet, rounded);
    return arith::BitcastOp::create(b, result, arith::TruncIOp::create(b, i16, chosen));
  }

private:
  Value integer(int32_t number) {
    TypedAttr element = b.getI32IntegerAttr(number);
    if (auto vector = dyn_cast<VectorType>(i32))
      element = DenseElementsAttr::get(vector, Attribute(element));
    return arith::ConstantOp::create(b, element);
  }

  ImplicitLocOpBuilder b;
  Value value;
  Type result, i16, i32, f32;
};

void expandBf16(ModuleOp module) {
  module.walk([](Operation *op) {
    Value expanded;
    if (isa<arith::ExtFOp>(op) && getElementTypeOrSelf(op->getOperand(0).getType()).isBF16())
      expanded = Bf16Builder(op).widen();
    else if (isa<arith::TruncFOp>(op) && getElementTypeOrSelf(op->getResult(0).getType()).isBF16())
      expanded = Bf16Builder(op).round();
    else
      return;
    op->getResult(0).replaceAllUsesWith(expanded);
    op->erase();
  });
}

} // namespace

void cpu::expandMath(ModuleOp module) {
  expandBf16(module);
  module.walk([](Operation *op) {
    if (op->getNumResults() != 1 || !getElementTypeOrSelf(op->getResult(0).getType()).isF32())
      return;
    Value result;
    if (auto exp = dyn_cast<math::ExpOp>(op))
      result = MathBuilder(op).exp(exp.getOperand());
    else if (auto log = dyn_cast<math::LogOp>(op))
      result = MathBuilder(op).log(log.getOperand());
    else if (auto tanh = dyn_cast<math::TanhOp>(op))
      result = MathBuilder(op).tanh(tanh.getOperand());
    else if (auto erf = dyn_cast<math::ErfOp>(op))
      result = MathBuilder(op).erf(erf.getOperand());
    else if (auto rsqrt = dyn_cast<math::RsqrtOp>(op))
      result = MathBuilder(op).rsqrt(rsqrt.getOperand());
    else
      return;
    op->getResult(0).replaceAllUsesWith(result);
    op->erase();
  });
}
