// RUN: seqpar-opt %s --emit-cuda-kernels -o /dev/null | FileCheck %s --strict-whitespace
// The same text each time.
// RUN: seqpar-opt %s --emit-cuda-kernels -o /dev/null > %t.1
// RUN: seqpar-opt %s --emit-cuda-kernels -o /dev/null | diff %t.1 -

%x = plan.buffer {value = "x"} : memref<64x1024xf32>
%bias = plan.buffer {value = "bias"} : memref<1024xf32>
%y = plan.buffer {value = "y"} : memref<64x1024xf32>
%sums = plan.buffer {value = "sums"} : memref<1024xf32>
%index = plan.buffer {value = "index"} : memref<64xi32>
%table = plan.buffer {value = "table"} : memref<7x1024xf32>
%logits = plan.buffer {value = "logits"} : memref<64x20000xf32>

// Four columns of a thread are read as 16 bytes; a bias stays in registers for all rows.
// CHECK: // bias
// CHECK-NEXT: {{^}}//   {{.*}}emit-cuda-kernels.mlir:[[@LINE+6]]:1
// CHECK-NEXT: {{^}}// Each row of 1024 columns belongs to a block of 256 threads.
// CHECK-NEXT: {{^}}extern "C" __global__ void __launch_bounds__(256, 3)
// CHECK-NEXT: {{^}}rows_bias_0(const float *in0, const float *in1, float *out0, long long rows) {
// CHECK-NEXT: {{^}}  const int thread = threadIdx.x;
// CHECK-NEXT: {{^}}  const long long part = blockIdx.x;
plan.rows "bias" rows(64) ins(%x, %bias : memref<64x1024xf32>, memref<1024xf32>) outs(%y : memref<64x1024xf32>)
    access [#plan.access<row>, #plan.access<broadcast>] results [#plan.access<row>] {
// CHECK-NEXT: {{^}}  const int column = thread * 4;
// CHECK-NEXT: {{^}}  float x1[4];
// CHECK-NEXT: {{^}}  {
// CHECK-NEXT: {{^}}    load(x1, in1 + column);
// CHECK-NEXT: {{^}}  }
// CHECK-NEXT: {{^}}  for (long long row = part; row < rows; row += gridDim.x) {
// CHECK-NEXT: {{^}}    float x0[4];
// CHECK-NEXT: {{^}}    {
// CHECK-NEXT: {{^}}      load(x0, in0 + row * 1024 + column);
// CHECK-NEXT: {{^}}      float y0[4];
// CHECK-NEXT: {{^}}      #pragma unroll
// CHECK-NEXT: {{^}}      for (int i = 0; i < 4; ++i) {
// CHECK-NEXT: {{^}}        const float v0 = x0[i] + x1[i];
// CHECK-NEXT: {{^}}        y0[i] = v0;
// CHECK-NEXT: {{^}}      }
// CHECK-NEXT: {{^}}      store(out0 + row * 1024 + column, y0);
// CHECK-NEXT: {{^}}    }
// CHECK-NEXT: {{^}}  }
// CHECK-NEXT: {{^}}}
^bb0(%a: tensor<1024xf32>, %b: tensor<1024xf32>):
  %0 = arith.addf %a, %b : tensor<1024xf32>
  plan.row_yield %0 : tensor<1024xf32>
}

// A reduction of a row, a barrier, and a sum over rows in two launches.
// CHECK-LABEL: {{^}}rows_centre_1(
// CHECK: unsigned char *workspace) {
// CHECK: {{^}}  float sum1[4] = {};
// CHECK: {{^}}  __shared__ float parts_v0[8];
// CHECK: {{^}}        part_v0 += x0[i];
// CHECK: {{^}}    leavePart<Add>(parts_v0, part_v0);
// CHECK-NEXT: {{^}}    __syncthreads();
// CHECK-NEXT: {{^}}    const float v0 = reduceParts<Add, 8>(parts_v0, float(0));
// CHECK: {{^}}        sum1[i] += v2;
// CHECK: {{^}}    __syncthreads(); // before the next row's parts replace these
// CHECK: {{^}}    store(reinterpret_cast<float *>(workspace + part * 4096) + column, sum1);
// CHECK-LABEL: {{^}}rows_centre_1_sums(
// CHECK: int accumulate) {
// CHECK: {{^}}  const long long blocks = rows;
// CHECK-NEXT: {{^}}  const long long parts = (blocks < 528 ? blocks : 528) * 1;
// CHECK-NEXT: {{^}}  if (blockIdx.y == 0)
// CHECK-NEXT: {{^}}    sumParts<32, float>(out1, reinterpret_cast<const float *>(workspace), 1024, 1024, parts, accumulate);
plan.rows "centre" rows(64) ins(%x : memref<64x1024xf32>) outs(%y, %sums : memref<64x1024xf32>, memref<1024xf32>)
    access [#plan.access<row>] results [#plan.access<row>, #plan.access<sum_rows>] {
^bb0(%a: tensor<1024xf32>):
  %0 = plan.row_reduce add %a : tensor<1024xf32> -> f32
  %inverse = arith.constant 9.765625e-4 : f32
  %1 = arith.mulf %0, %inverse : f32
  %2 = tensor.splat %1 : tensor<1024xf32>
  %3 = arith.subf %a, %2 : tensor<1024xf32>
  plan.row_yield %3, %3 : tensor<1024xf32>, tensor<1024xf32>
}

// Rows that are added to a table, without atomics.
// CHECK-NOT: {{^}}rows_table_2(
// CHECK-LABEL: {{^}}rows_table_2_scatter_0(
// CHECK: {{^}}  scatterAdd<256, 4, 1024, float>(out0, in0, 1024, in1, rows);
plan.rows "table" rows(64) ins(%x, %index : memref<64x1024xf32>, memref<64xi32>) outs(%table : memref<7x1024xf32>)
    access [#plan.access<row>, #plan.access<row_scalar>] results [#plan.access<scatter_add 1>] {
^bb0(%a: tensor<1024xf32>, %i: i32):
  plan.row_yield %a : tensor<1024xf32>
}

// Too many columns for registers: a loop over them in each phase.
// CHECK-LABEL: {{^}}rows_softmax_3(
// CHECK: {{^}}    float part_v0 = __int_as_float(0xff800000);
// CHECK-NEXT: {{^}}    for (int column = thread * 4; column < 20000; column += 4096) {
// CHECK: {{^}}        part_v0 = Max::combine(part_v0, x0[i]);
// CHECK: {{^}}      store(out0 + row * 20000 + column, {{.*}});
// CHECK: {{^}}    for (int column = thread * 4; column < 20000; column += 4096) {
plan.rows "softmax" rows(64) ins(%logits : memref<64x20000xf32>) outs(%logits : memref<64x20000xf32>)
    access [#plan.access<row>] results [#plan.access<row>] {
^bb0(%a: tensor<20000xf32>):
  %0 = plan.row_reduce max %a : tensor<20000xf32> -> f32
  %1 = tensor.splat %0 : tensor<20000xf32>
  %2 = arith.subf %a, %1 : tensor<20000xf32>
  %3 = math.exp %2 : tensor<20000xf32>
  %4 = plan.row_reduce add %3 : tensor<20000xf32> -> f32
  %5 = tensor.splat %4 : tensor<20000xf32>
  %6 = arith.divf %3, %5 : tensor<20000xf32>
  plan.row_yield %6 : tensor<20000xf32>
}
