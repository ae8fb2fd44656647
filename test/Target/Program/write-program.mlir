// RUN: seqpar-opt %s --overlap --bufferize --assign-segments --assign-arena --write-program="output=%t.program micro-batches=3" -o /dev/null
// RUN: mkdir -p %t.json && flatc --json --raw-binary --strict-json -o %t.json %source/program/program.fbs -- %t.program
// RUN: FileCheck %s < %t.json/*.json

// The whole program: grid, sizes, buffers with offsets and names, instructions with source locations, kernels.

// CHECK: "model": "p"
// CHECK: "sp": 4
// CHECK: "micro_batch": 2
// CHECK: "micro_batches": 3
// CHECK: "seq_length": 64
// CHECK: "chunk_length": 16
// CHECK: "vocabulary": 512
// CHECK: "arena_bytes"
// CHECK: "segment": "Parameter"
// CHECK: "name": "w"
// CHECK: "name": "gradient of w"
// CHECK: "segment": "Input"
// CHECK: "communication": true

// CHECK: "name": "w"
// CHECK: "initializer": "Normal"
// CHECK: "decay": true

// CHECK: "operation_type": "Gemm"
// CHECK: "m": 32
// CHECK: "n": 64
// CHECK: "k": 64
// CHECK: "transpose_b": true
// CHECK: "lda": 64
// CHECK: "location": "nn.linear bert.mlir:21:10"

// The two buffers of the ring loop alternate, and what is received goes into the other one.
// CHECK: "operation_type": "RingLoop"
// CHECK: "operation_type": "RingShiftStart"
// CHECK: "send": [
// CHECK: "buffer": [[ODD:[0-9]+]],
// CHECK-NEXT: "alternate": [[EVEN:[0-9]+]]
// CHECK: "receive": [
// CHECK: "buffer": [[EVEN]],
// CHECK-NEXT: "alternate": [[ODD]]
// CHECK: "bytes": 8192
// CHECK: "skip_last": true
// CHECK: "operation_type": "AttentionForward"
// CHECK: "batch": 2
// CHECK: "heads": 4
// CHECK: "head_dim": 16
// CHECK: "query_length": 16
// CHECK: "key_length": 16
// CHECK: "mask_length": 64
// CHECK: "scale": 0.25
// CHECK: "block": "RingIteration"
// CHECK: "finish": true
// CHECK: "operation_type": "Wait"

// CHECK: "operation_type": "RowKernel"
// CHECK: "rows": 32
// CHECK: "combine": "AddAfterFirstMicroBatch"
// CHECK: "operation_type": "AllReduce"
// CHECK: "elements": 4096
// CHECK: "axes": 5

// CHECK: "symbol": "rows_sum_0"
// CHECK: "access": "SumRows"
// CHECK: "columns": 64
// CHECK: "output": true

plan.program @p #sp.grid<dp = 1, pp = 1, sp = 4> micro_batch(2) seq_length(64) chunk_length(16) vocabulary(512) {
  plan.stage 0 {
    %w = plan.parameter "w" normal decay : memref<64x64xf32>
    %b = plan.parameter "b" zeros : memref<64xf32>
    %dw = plan.gradient "w" : memref<64x64xf32>
    %db = plan.gradient "b" : memref<64xf32>
    %mask = plan.input padding_mask : memref<2x64xi32>
    plan.micro_batch {
      %x = plan.zeros : tensor<2x16x64xf32>
      %k = plan.gemm %x, %w transpose_b : tensor<2x16x64xf32>, memref<64x64xf32> -> tensor<2x16x64xf32> loc(fused["nn.linear"("/models/bert.mlir":21:10)])
      %s:3 = sp.attention_block own initialize heads(4) (%k, %k, %k, %mask : tensor<2x16x64xf32>, tensor<2x16x64xf32>, tensor<2x16x64xf32>, memref<2x64xi32>) -> tensor<2x16x64xf32>, tensor<2x4x16xf32>, tensor<2x4x16xf32>
      %k1 = sp.ring_shift %k : tensor<2x16x64xf32> -> tensor<2x16x64xf32>
      %r:4 = sp.ring_loop iter(%kk = %k1, %a0 = %s#0, %b0 = %s#1, %c0 = %s#2) : tensor<2x16x64xf32>, tensor<2x16x64xf32>, tensor<2x4x16xf32>, tensor<2x4x16xf32> {
        %t:3 = sp.attention_block ring finish heads(4) (%k, %kk, %kk, %mask : tensor<2x16x64xf32>, tensor<2x16x64xf32>, tensor<2x16x64xf32>, memref<2x64xi32>) state(%a0, %b0, %c0 : tensor<2x16x64xf32>, tensor<2x4x16xf32>, tensor<2x4x16xf32>) -> tensor<2x16x64xf32>, tensor<2x4x16xf32>, tensor<2x4x16xf32>
        %n = sp.ring_shift %kk skip_last : tensor<2x16x64xf32> -> tensor<2x16x64xf32>
        sp.yield %n, %t#0, %t#1, %t#2 : tensor<2x16x64xf32>, tensor<2x16x64xf32>, tensor<2x4x16xf32>, tensor<2x4x16xf32>
      }
      %sum = plan.rows "sum" rows(32) ins(%r#1 : tensor<2x16x64xf32>) access [#plan.access<row>] results [#plan.access<sum_rows>] -> tensor<64xf32> {
      ^bb0(%e: tensor<64xf32>):
        plan.row_yield %e : tensor<64xf32>
      }
      plan.accumulate %sum into %db : tensor<64xf32>, memref<64xf32>
    }
    plan.update {
      sp.all_reduce %dw over [dp, sp] : memref<64x64xf32>
    }
  }
}
