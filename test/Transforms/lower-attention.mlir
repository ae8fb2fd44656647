// RUN: seqpar-opt %s --pass-pipeline='builtin.module(nn.step(assign-layouts{sp=4},lower-attention))' | FileCheck %s --check-prefix=RING --implicit-check-not=nn.attention
// RUN: seqpar-opt %s --pass-pipeline='builtin.module(nn.step(assign-layouts{sp=4},lower-attention{strategy=all-gather}))' | FileCheck %s --check-prefix=GATHER --implicit-check-not=nn.attention
// RUN: seqpar-opt %s --pass-pipeline='builtin.module(nn.step(assign-layouts,lower-attention))' | FileCheck %s --check-prefix=ONE --implicit-check-not=nn.attention --implicit-check-not=sp.ring --implicit-check-not=sp.all_gather

!x = tensor<2x64x8xf32>
!lse = tensor<2x2x64xf32>
nn.step @step {
  %ids = nn.input tokens : tensor<2x64xi32>
  %mask = nn.input padding_mask : tensor<2x64xi32>
  %table = nn.parameter "table" normal(0.02) decay : tensor<16x8xf32>
  %q = nn.embedding %ids, %table : (tensor<2x64xi32>, tensor<16x8xf32>) -> !x
  %k = nn.tanh %q : !x
  %v = nn.tanh %k : !x

  // Forward: the first shift is posted before the rank's own block, and each later one before the block that does not
  // need it; the last iteration shifts nothing. So P - 1 shifts of two values.
  // RING: %[[K:.*]] = nn.tanh
  // RING: %[[V:.*]] = nn.tanh
  // RING: %[[K1:.*]]:2 = sp.ring_shift %[[K]], %[[V]] :
  // RING: %[[OWN:.*]]:3 = sp.attention_block own initialize heads(2) (%[[Q:.*]], %[[K]], %[[V]], %[[MASK:.*]] :
  // RING: %[[F:.*]]:5 = sp.ring_loop iter(%[[KK:.*]] = %[[K1]]#0, %[[VV:.*]] = %[[K1]]#1, %[[O:.*]] = %[[OWN]]#0, %[[L:.*]] = %[[OWN]]#1, %[[S:.*]] = %[[OWN]]#2)
  // RING-NEXT: %[[NEXT:.*]]:2 = sp.ring_shift %[[KK]], %[[VV]] skip_last
  // RING-NEXT: %[[B:.*]]:3 = sp.attention_block ring finish heads(2) (%[[Q]], %[[KK]], %[[VV]], %[[MASK]] {{.*}} state(%[[O]], %[[L]], %[[S]]
  // RING-NEXT: sp.yield %[[NEXT]]#0, %[[NEXT]]#1, %[[B]]#0, %[[B]]#1, %[[B]]#2
  // GATHER: %[[KALL:.*]] = sp.all_gather %[[K:.*]] dim 1 over [sp]
  // GATHER: %[[VALL:.*]] = sp.all_gather %[[V:.*]] dim 1 over [sp]
  // GATHER: sp.attention_block whole initialize finish heads(2) (%{{.*}}, %[[KALL]], %[[VALL]],
  // ONE: sp.attention_block own initialize finish heads(2)
  %a, %lse = nn.attention %q, %k, %v, %mask heads(2) : (!x, !x, !x, tensor<2x64xi32>) -> (!x, !lse)

  // Backward: K and V travel P - 1 shifts, the sums dK and dV with them; the rank's own share stays at home and is added
  // at the end. dQ never travels.
  // RING: %[[BK1:.*]]:2 = sp.ring_shift %[[K]], %[[V]] :
  // RING: %[[G:.*]]:4 = sp.attention_block_grad own initialize heads(2) (%[[Q]], %[[K]], %[[V]], %[[MASK]], %[[F]]#2, %[[F]]#3,
  // RING: %[[E0:.*]] = plan.empty
  // RING: %[[E1:.*]] = plan.empty
  // RING: %[[R:.*]]:6 = sp.ring_loop iter(%[[KK:.*]] = %[[BK1]]#0, %[[VV:.*]] = %[[BK1]]#1, %[[D:.*]] = %[[G]]#0, %[[DQ:.*]] = %[[G]]#1, %[[DK:.*]] = %[[E0]], %[[DV:.*]] = %[[E1]])
  // RING-NEXT: %[[N:.*]]:2 = sp.ring_shift %[[KK]], %[[VV]] skip_last
  // RING-NEXT: %[[GB:.*]]:4 = sp.attention_block_grad ring heads(2) (%[[Q]], %[[KK]], %[[VV]], {{.*}} state(%[[D]], %[[DQ]] {{.*}} accumulators(%[[DK]], %[[DV]]
  // RING-NEXT: %[[T:.*]]:2 = sp.ring_shift %[[GB]]#2, %[[GB]]#3 :
  // RING-NEXT: sp.yield %[[N]]#0, %[[N]]#1, %[[GB]]#0, %[[GB]]#1, %[[T]]#0, %[[T]]#1
  // RING: nn.add %[[G]]#2, %[[R]]#4
  // RING: nn.add %[[G]]#3, %[[R]]#5
  // GATHER: %[[GG:.*]]:4 = sp.attention_block_grad whole initialize heads(2)
  // GATHER-DAG: sp.reduce_scatter %[[GG]]#2 dim 1 over [sp] : tensor<2x64x8xf32, #sp.layout<[-, -, -], partial [sp]>> -> tensor<2x64x8xf32, #sp.layout<[-, sp, -]>>
  // GATHER-DAG: sp.reduce_scatter %[[GG]]#3 dim 1 over [sp]
  // ONE: sp.attention_block_grad own initialize heads(2)
  %dq, %dk, %dv = nn.attention_grad %a, %q, %k, %v, %mask, %a, %lse heads(2) : (!x, !x, !x, !x, tensor<2x64xi32>, !x, !lse) -> (!x, !x, !x)
  %d0 = nn.add %dq, %dk : !x
  %d = nn.add %d0, %dv : !x
  %dt = nn.embedding_grad %d, %ids : (!x, tensor<2x64xi32>) -> tensor<16x8xf32>
  nn.accumulate "table", %dt : tensor<16x8xf32>
} update {
}
