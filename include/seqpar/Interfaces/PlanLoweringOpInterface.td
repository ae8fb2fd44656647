#ifndef SEQPAR_INTERFACES_PLANLOWERINGOPINTERFACE_TD
#define SEQPAR_INTERFACES_PLANLOWERINGOPINTERFACE_TD

include "mlir/IR/OpBase.td"

def PlanLoweringOpInterface : OpInterface<"PlanLoweringOpInterface"> {
  let cppNamespace = "::seqpar";
  let description = [{
    An op that knows what one rank does for it. Pass `localize` calls it for each op of a step in order; the op looks
    its operands up in the `PlanLowering`, builds ops of dialect `plan` on the rank's chunks, and maps its results.
  }];
  let methods = [
    InterfaceMethod<"Builds this rank's part. On failure it has reported an error.",
      "::llvm::LogicalResult", "lowerToPlan", (ins "::seqpar::PlanLowering &":$lowering)>
  ];
}

#endif
