//===- HostCudaTypes.h - CUDA's types and functions on the host -*- C++ -*-===//
#pragma once

#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

struct uint3 {
  unsigned x = 0, y = 0, z = 0;
};
struct dim3 {
  unsigned x = 1, y = 1, z = 1;
};

#define HOSTCUDA_VECTORS(name, T, alignment2, alignment4)                                          \
  struct alignas(alignment2) name##2 { T x, y; };                                                  \
  struct alignas(alignment4) name##4 { T x, y, z, w; };                                            \
  inline name##2 make_##name##2(T x, T y) { return {x, y}; }                                       \
  inline name##4 make_##name##4(T x, T y, T z, T w) { return {x, y, z, w}; }

HOSTCUDA_VECTORS(float, float, 8, 16)
HOSTCUDA_VECTORS(double, double, 16, 16)
HOSTCUDA_VECTORS(int, int, 8, 16)
HOSTCUDA_VECTORS(uint, unsigned, 8, 16)
HOSTCUDA_VECTORS(short, short, 4, 8)
HOSTCUDA_VECTORS(ushort, unsigned short, 4, 8)
HOSTCUDA_VECTORS(char, signed char, 2, 4)
HOSTCUDA_VECTORS(uchar, unsigned char, 2, 4)
HOSTCUDA_VECTORS(longlong, long long, 16, 16)
HOSTCUDA_VECTORS(ulonglong, unsigned long long, 16, 16)

//===----------------------------------------------------------------------===//
// Half-width floats: fp32 arithmetic, rounded to nearest even when stored.
//===----------------------------------------------------------------------===//

namespace hostcuda {

inline uint16_t toBfloatBits(float value) {
  uint32_t bits = std::bit_cast<uint32_t>(value);
  if (value != value)
    return 0x7fff;
  return uint16_t((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}
inline float fromBfloatBits(uint16_t bits) { return std::bit_cast<float>(uint32_t(bits) << 16); }

inline uint16_t toHalfBits(float value) {
  uint32_t sign = std::bit_cast<uint32_t>(value) >> 16 & 0x8000;
  float magnitude = std::fabs(value);
  if (magnitude != magnitude)
    return 0x7fff;
  if (magnitude >= 65520.0f)
    return uint16_t(sign | 0x7c00);
  if (magnitude < 0x1p-14f) // a multiple of 2^-24; nearbyint rounds to even
    return uint16_t(sign | uint32_t(std::nearbyint(magnitude * 0x1p24f)));
  uint32_t bits = std::bit_cast<uint32_t>(magnitude);
  bits += 0xfff + (bits >> 13 & 1);
  return uint16_t(sign | ((bits - (112u << 23)) >> 13));
}
inline float fromHalfBits(uint16_t bits) {
  uint32_t exponent = bits >> 10 & 31, fraction = bits & 0x3ff;
  float magnitude =
      exponent == 0
          ? float(fraction) * 0x1p-24f
          : std::bit_cast<float>((exponent == 31 ? 255u : exponent + 112) << 23 | fraction << 13);
  return bits & 0x8000 ? -magnitude : magnitude;
}

} // namespace hostcuda

#define HOSTCUDA_FLOAT16(name, To, From)                                                           \
  struct name {                                                                                    \
    uint16_t bits;                                                                                 \
    name() = default;                                                                              \
    name(float value) : bits(hostcuda::To(value)) {}                                               \
    operator float() const { return hostcuda::From(bits); }                                        \
  };                                                                                               \
  struct alignas(4) name##2 { name x, y; };

HOSTCUDA_FLOAT16(__nv_bfloat16, toBfloatBits, fromBfloatBits)
HOSTCUDA_FLOAT16(__half, toHalfBits, fromHalfBits)
using nv_bfloat16 = __nv_bfloat16;
using nv_bfloat162 = __nv_bfloat162;
using half = __half;
using half2 = __half2;

inline __nv_bfloat16 __float2bfloat16(float x) { return x; }
inline __nv_bfloat16 __float2bfloat16_rn(float x) { return x; }
inline float __bfloat162float(__nv_bfloat16 x) { return x; }
inline __nv_bfloat162 __floats2bfloat162_rn(float x, float y) { return {x, y}; }
inline __nv_bfloat162 __float22bfloat162_rn(float2 v) { return {v.x, v.y}; }
inline float2 __bfloat1622float2(__nv_bfloat162 v) { return {v.x, v.y}; }
inline __half __float2half(float x) { return x; }
inline __half __float2half_rn(float x) { return x; }
inline float __half2float(__half x) { return x; }
inline __half2 __floats2half2_rn(float x, float y) { return {x, y}; }
inline __half2 __float22half2_rn(float2 v) { return {v.x, v.y}; }
inline float2 __half22float2(__half2 v) { return {v.x, v.y}; }

//===----------------------------------------------------------------------===//
// Functions
//===----------------------------------------------------------------------===//

using std::isinf;
using std::isnan;

inline float __int_as_float(int x) { return std::bit_cast<float>(x); }
inline int __float_as_int(float x) { return std::bit_cast<int>(x); }
inline float __uint_as_float(unsigned x) { return std::bit_cast<float>(x); }
inline unsigned __float_as_uint(float x) { return std::bit_cast<unsigned>(x); }
inline double __longlong_as_double(long long x) { return std::bit_cast<double>(x); }
inline long long __double_as_longlong(double x) { return std::bit_cast<long long>(x); }

inline float rsqrtf(float x) { return 1.0f / std::sqrt(x); }
inline double rsqrt(double x) { return 1.0 / std::sqrt(x); }
inline float __expf(float x) { return std::exp(x); }
inline float __logf(float x) { return std::log(x); }
inline float __exp2f(float x) { return std::exp2(x); }
inline float __log2f(float x) { return std::log2(x); }
inline float __fdividef(float x, float y) { return x / y; }
inline float __frcp_rn(float x) { return 1.0f / x; }
inline float __fsqrt_rn(float x) { return std::sqrt(x); }
inline float __fmaf_rn(float x, float y, float z) { return std::fma(x, y, z); }
inline float __fadd_rn(float x, float y) { return x + y; }
inline float __fsub_rn(float x, float y) { return x - y; }
inline float __fmul_rn(float x, float y) { return x * y; }
inline float __fdiv_rn(float x, float y) { return x / y; }

inline unsigned __umulhi(unsigned x, unsigned y) {
  return unsigned(uint64_t(x) * uint64_t(y) >> 32);
}
inline int __mulhi(int x, int y) { return int(int64_t(x) * int64_t(y) >> 32); }
inline unsigned long long __umul64hi(unsigned long long x, unsigned long long y) {
  return (unsigned long long)((unsigned __int128)(x)*y >> 64);
}
inline int __popc(unsigned x) { return std::popcount(x); }
inline int __clz(int x) { return std::countl_zero(unsigned(x)); }
inline int __ffs(int x) { return x ? std::countr_zero(unsigned(x)) + 1 : 0; }

template <typename T> T min(T x, T y) { return y < x ? y : x; }
template <typename T> T max(T x, T y) { return x < y ? y : x; }
template <typename T> T __ldg(const T *address) { return *address; }
