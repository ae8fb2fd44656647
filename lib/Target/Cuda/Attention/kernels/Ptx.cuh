//===- Ptx.cuh - instructions that C++ has no words for -------------------===//
//
// The only inline assembly of the attention kernels (PTX ISA, sections on cp.async, ldmatrix and
// mma). Fragments of a 16x8x16 product, with g = lane / 4 and t = lane % 4:
//
//   a (16 x 16)  a[0]: row g, columns 2t, 2t + 1        a[1]: row g + 8
//                a[2]: row g, columns 2t + 8, 2t + 9    a[3]: row g + 8
//   b (16 x 8)   b0: column g, rows 2t, 2t + 1          b1: rows 2t + 8, 2t + 9
//   c (16 x 8)   c[0], c[1]: row g, columns 2t, 2t + 1  c[2], c[3]: row g + 8
//
//===----------------------------------------------------------------------===//

namespace seqpar::cuda {

/// Dynamic shared memory of the block.
__device__ inline char *sharedMemory() {
  extern __shared__ __align__(1024) unsigned char dynamicShared[];
  return reinterpret_cast<char *>(dynamicShared);
}

__device__ inline Word sharedAddress(const void *shared) {
  return static_cast<Word>(__cvta_generic_to_shared(shared));
}

/// Starts copying 16 bytes from global to shared memory; zeros when `inside` is false.
__device__ inline void copyAsync16(void *to, const void *from, bool inside) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;\n" ::"r"(sharedAddress(to)),
               "l"(from), "r"(inside ? 16 : 0)
               : "memory");
}
__device__ inline void copyAsync4(void *to, const void *from, bool inside) {
  asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;\n" ::"r"(sharedAddress(to)), "l"(from),
               "r"(inside ? 4 : 0)
               : "memory");
}
/// Ends a group of copies; waiting leaves the last `pending` groups running.
__device__ inline void copyAsyncCommit() { asm volatile("cp.async.commit_group;\n" ::: "memory"); }
template <int pending> __device__ inline void copyAsyncWait() {
  asm volatile("cp.async.wait_group %0;\n" ::"n"(pending) : "memory");
}

/// Four 8x8 matrices of 16-bit elements; lane i gives the address of row i % 8 of matrix i / 8.
/// Register m of lane i gets elements 2t, 2t + 1 of row g of matrix m, or of its transpose.
__device__ inline void loadMatrices(Word (&r)[4], const void *row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];\n"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(sharedAddress(row))
               : "memory");
}
__device__ inline void loadTransposedMatrices(Word (&r)[4], const void *row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];\n"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(sharedAddress(row))
               : "memory");
}

/// c += a * b
__device__ inline void multiplyAdd(float (&c)[4], const Word (&a)[4], Word b0, Word b1, BFloat16) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
      "{%8, %9}, {%0, %1, %2, %3};\n"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
__device__ inline void multiplyAdd(float (&c)[4], const Word (&a)[4], Word b0, Word b1, Float16) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
      "{%8, %9}, {%0, %1, %2, %3};\n"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

/// Two floats rounded to nearest, the first in the low half.
__device__ inline Word pack(float low, float high, BFloat16) {
  Word word;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;\n" : "=r"(word) : "f"(high), "f"(low));
  return word;
}
__device__ inline Word pack(float low, float high, Float16) {
  Word word;
  asm("cvt.rn.f16x2.f32 %0, %1, %2;\n" : "=r"(word) : "f"(high), "f"(low));
  return word;
}
__device__ inline float toFloat(BFloat16 value) { return __uint_as_float(Word(value.bits) << 16); }
__device__ inline float toFloat(Float16 value) {
  float result;
  asm("cvt.f32.f16 %0, %1;\n" : "=f"(result) : "h"(value.bits));
  return result;
}

/// 2^x with a relative error of 2^-22; exactly 0 for -infinity.
__device__ inline float exp2Fast(float x) {
  float result;
  asm("ex2.approx.ftz.f32 %0, %1;\n" : "=f"(result) : "f"(x));
  return result;
}

} // namespace seqpar::cuda
