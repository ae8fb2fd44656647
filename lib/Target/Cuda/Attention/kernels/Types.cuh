//===- Types.cuh - elements of the attention kernels ----------------------===//

namespace seqpar::cuda {

using Word = unsigned int;

/// Storage only: arithmetic is in fp32.
struct BFloat16 {
  unsigned short bits;
};
struct Float16 {
  unsigned short bits;
};

constexpr Word kAllLanes = 0xffffffffu;

} // namespace seqpar::cuda
