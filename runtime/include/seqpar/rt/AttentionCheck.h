//===- AttentionCheck.h - what every device asks of an attention block ----===//
#pragma once

#include "seqpar/rt/Device.h"
#include "seqpar/rt/Error.h"

namespace seqpar::rt {

/// Throws Error naming the extent that is out of bounds.
inline void checkAttention(const AttentionShape &s, const AttentionDropout &d) {
  if (s.batch < 1 || s.heads < 1 || s.queries < 1 || s.keys < 1)
    fail("attention: expected batch, heads, queries and keys of at least 1, found {}, {}, {}, {}",
         s.batch, s.heads, s.queries, s.keys);
  if (s.headDim < 1 || s.headDim > 256)
    fail("attention: expected a head dimension from 1 to 256, found {}", s.headDim);
  if (s.maskOffset < 0 || s.maskOffset + s.keys > s.maskLength)
    fail("attention: keys {} to {} lie outside the mask of length {}", s.maskOffset,
         s.maskOffset + s.keys, s.maskLength);
  if (d.rate == 0)
    return;
  if (!(d.rate > 0 && d.rate < 1))
    fail("attention: expected a dropout rate in [0, 1), found {}", d.rate);
  if (!d.samples || d.site > 0xffff || s.heads > 0x10000)
    fail("attention: dropout needs sample numbers, a site below 65536 (found {}) and at most 65536 "
         "heads (found {})",
         d.site, s.heads);
}

/// The same for the type of a forward pass's result.
inline void checkOutType(const AttentionForwardArgs &args) {
  if (args.outType == FloatType::F32)
    return;
  if (args.outType != args.type)
    fail("attention: expected a result of the operands' type or fp32");
  if (!args.initialize || !args.finish)
    fail("attention: the result of several blocks needs an accumulator of fp32, found 16 bits");
}

} // namespace seqpar::rt
