//===- PtxWarpgroup.cuh - products of four warps, for sm_90a --------------===//
//
// wgmma (PTX ISA, "asynchronous warpgroup level matrix instructions"): a warpgroup multiplies 64
// rows that are in its registers, laid out in each warp's 16 rows as for mma, with a tile in shared
// memory that a descriptor names. Tiles are panels of 64 columns: rows of 128 bytes, in groups of
// eight that begin at multiples of 1024 bytes, swizzled as Tiles.cuh does for D = 64, which is what
// the instruction calls 128-byte swizzling.
//
//===----------------------------------------------------------------------===//

namespace seqpar::cuda {

/// Makes what this thread has copied to shared memory visible to the products of all.
__device__ inline void fenceCopies() {
  asm volatile("fence.proxy.async.shared::cta;\n" ::: "memory");
}

/// Products take operands and results as they are at `begin`; results may be used after `end`.
__device__ inline void beginProducts() { asm volatile("wgmma.fence.sync.aligned;\n" ::: "memory"); }
__device__ inline void endProducts() {
  asm volatile("wgmma.commit_group.sync.aligned;\n"
               "wgmma.wait_group.sync.aligned 0;\n" ::
                   : "memory");
}

/// c (64 x 64) = a (64 x 16) * b, or added to c. b is 64 rows of 16 elements each, to be
/// transposed, or, when `byRows`, 16 rows of 64.
template <bool byRows, bool add>
__device__ inline void multiplyPanel(float (&c)[8][4], const Word (&a)[4], unsigned long long b,
                                     BFloat16) {
  asm volatile(
      "{ .reg .pred add; setp.ne.b32 add, %38, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 {"
      "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, "
      "%18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31}, "
      "{%32, %33, %34, %35}, %36, add, 1, 1, %37; }\n"
      : "+f"(c[0][0]), "+f"(c[0][1]), "+f"(c[0][2]), "+f"(c[0][3]), "+f"(c[1][0]), "+f"(c[1][1]),
        "+f"(c[1][2]), "+f"(c[1][3]), "+f"(c[2][0]), "+f"(c[2][1]), "+f"(c[2][2]), "+f"(c[2][3]),
        "+f"(c[3][0]), "+f"(c[3][1]), "+f"(c[3][2]), "+f"(c[3][3]), "+f"(c[4][0]), "+f"(c[4][1]),
        "+f"(c[4][2]), "+f"(c[4][3]), "+f"(c[5][0]), "+f"(c[5][1]), "+f"(c[5][2]), "+f"(c[5][3]),
        "+f"(c[6][0]), "+f"(c[6][1]), "+f"(c[6][2]), "+f"(c[6][3]), "+f"(c[7][0]), "+f"(c[7][1]),
        "+f"(c[7][2]), "+f"(c[7][3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "n"(byRows ? 1 : 0), "n"(add ? 1 : 0)
      : "memory");
}
template <bool byRows, bool add>
__device__ inline void multiplyPanel(float (&c)[8][4], const Word (&a)[4], unsigned long long b,
                                     Float16) {
  asm volatile(
      "{ .reg .pred add; setp.ne.b32 add, %38, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n64k16.f32.f16.f16 {"
      "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, "
      "%18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31}, "
      "{%32, %33, %34, %35}, %36, add, 1, 1, %37; }\n"
      : "+f"(c[0][0]), "+f"(c[0][1]), "+f"(c[0][2]), "+f"(c[0][3]), "+f"(c[1][0]), "+f"(c[1][1]),
        "+f"(c[1][2]), "+f"(c[1][3]), "+f"(c[2][0]), "+f"(c[2][1]), "+f"(c[2][2]), "+f"(c[2][3]),
        "+f"(c[3][0]), "+f"(c[3][1]), "+f"(c[3][2]), "+f"(c[3][3]), "+f"(c[4][0]), "+f"(c[4][1]),
        "+f"(c[4][2]), "+f"(c[4][3]), "+f"(c[5][0]), "+f"(c[5][1]), "+f"(c[5][2]), "+f"(c[5][3]),
        "+f"(c[6][0]), "+f"(c[6][1]), "+f"(c[6][2]), "+f"(c[6][3]), "+f"(c[7][0]), "+f"(c[7][1]),
        "+f"(c[7][2]), "+f"(c[7][3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "n"(byRows ? 1 : 0), "n"(add ? 1 : 0)
      : "memory");
}

} // namespace seqpar::cuda
