#ifndef SEQPAR_INTERFACES_LAYOUTOPINTERFACE_TD
#define SEQPAR_INTERFACES_LAYOUTOPINTERFACE_TD

include "mlir/IR/OpBase.td"

def LayoutOpInterface : OpInterface<"LayoutOpInterface"> {
  let cppNamespace = "::seqpar";
  let description = [{
    An op whose tensors can be split over ranks. Its layout rule names the factors its dimensions run over, as einsum
    does: one list per operand, then one per result, for instance `[b,s,k],[n,k],[n]->[b,s,n]`.

    Factor `b` (samples) is split over the dp axis; `s` (query or row positions) and `t` (key positions) over the sp
    axis; no other factor is ever split. A factor `b`, `s` or `t` that is in an operand but not in a result makes that
    result a partial sum over its axis.

    The verifier checks with the rule that ranks fit and that each factor has one extent; it never looks at the
    encoding of a tensor type.
  }];
  let methods = [
    InterfaceMethod<"The rule for the op's present operands and results.", "std::string", "getLayoutRule">
  ];
  let verify = [{ return ::seqpar::verifyLayoutRule($_op); }];
}

#endif
