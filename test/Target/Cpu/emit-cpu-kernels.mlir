// RUN: seqpar-opt %s --emit-cpu-kernels --cse | FileCheck %s

// Two phases: the sum over 100 columns, then what depends on it. 96 columns are vectors of 16, the
// rest is a shorter one; four accumulators take turns, the last two vectors come after the loop.
%x = plan.buffer {value = "x"} : memref<8x100xf32>
%y = plan.buffer {value = "y"} : memref<8x100xf32>
%s = plan.buffer {value = "s"} : memref<8xf32>
%i = plan.buffer {value = "i"} : memref<8xi32>
%table = plan.buffer {value = "table"} : memref<50x100xf32>
%sums = plan.buffer {value = "sums"} : memref<100xf32>

// CHECK-LABEL: func.func @rows_center_0(
// CHECK-SAME:    %[[OPERANDS:.*]]: !llvm.ptr, %[[BEGIN:.*]]: i64, %[[END:.*]]: i64)
// CHECK:         scf.for %[[ROW:.*]] = %[[BEGIN]] to %[[END]]
// CHECK:           %[[PARTS:.*]]:4 = scf.for
// CHECK-COUNT-4:     llvm.load {{.*}} -> vector<16xf32>
// CHECK:             scf.yield
// CHECK-COUNT-2:   llvm.load {{.*}} -> vector<16xf32>
// CHECK:           llvm.load {{.*}} -> vector<4xf32>
// CHECK:           vector.reduction <add>, %{{.*}} fastmath<reassoc> : vector<16xf32> into f32
// CHECK:           vector.reduction <add>, %{{.*}} fastmath<reassoc> : vector<4xf32> into f32
// CHECK:           %[[SUM:.*]] = arith.addf
// CHECK:           %[[MEAN:.*]] = arith.mulf %[[SUM]]
// CHECK:           scf.for
// CHECK:             arith.subf %{{.*}}, %{{.*}} : vector<16xf32>
// CHECK:             llvm.store %{{.*}} : vector<16xf32>
// CHECK:           llvm.store %{{.*}} : vector<4xf32>
// CHECK:           llvm.store %[[MEAN]], %{{.*}} : f32
plan.rows "center" rows(8) ins(%x : memref<8x100xf32>) outs(%y, %s : memref<8x100xf32>, memref<8xf32>)
    access [#plan.access<row>] results [#plan.access<row>, #plan.access<row_scalar>] {
^bb0(%a: tensor<100xf32>):
  %inverse = arith.constant 0.01 : f32
  %0 = plan.row_reduce add %a : tensor<100xf32> -> f32
  %1 = arith.mulf %0, %inverse : f32
  %2 = tensor.splat %1 : tensor<100xf32>
  %3 = arith.subf %a, %2 : tensor<100xf32>
  plan.row_yield %3, %1 : tensor<100xf32>, f32
}

// The exponential is computed once: it waits in the output's row for the second phase.
// CHECK-LABEL: func.func @rows_softmax_1(
// CHECK-NOT:     llvm.alloca
// CHECK:         math.exp %{{.*}} : vector<16xf32>
// CHECK:         llvm.store
// CHECK:         math.exp %{{.*}} : vector<4xf32>
// CHECK:         vector.reduction
// CHECK-NOT:     math.exp
// CHECK:         arith.divf
// CHECK:         return
plan.rows "softmax" rows(8) ins(%x : memref<8x100xf32>) outs(%y : memref<8x100xf32>)
    access [#plan.access<row>] results [#plan.access<row>] {
^bb0(%a: tensor<100xf32>):
  %0 = math.exp %a : tensor<100xf32>
  %1 = plan.row_reduce add %0 : tensor<100xf32> -> f32
  %2 = tensor.splat %1 : tensor<100xf32>
  %3 = arith.divf %0, %2 : tensor<100xf32>
  plan.row_yield %3 : tensor<100xf32>
}

// The output may be the input's buffer: the negated row is written in the last phase, which reads
// the input again, not in the first, which could.
// CHECK-LABEL: func.func @rows_late_2(
// CHECK-NOT:     llvm.store
// CHECK:         vector.reduction
// CHECK:         scf.for
// CHECK:           arith.mulf
// CHECK:           arith.negf
// CHECK:           llvm.store
// CHECK:           llvm.store
// CHECK:         return
plan.rows "late" rows(8) ins(%x : memref<8x100xf32>) outs(%y, %x : memref<8x100xf32>, memref<8x100xf32>)
    access [#plan.access<row>] results [#plan.access<row>, #plan.access<row>] {
^bb0(%a: tensor<100xf32>):
  %0 = plan.row_reduce add %a : tensor<100xf32> -> f32
  %1 = tensor.splat %0 : tensor<100xf32>
  %2 = arith.mulf %a, %1 : tensor<100xf32>
  %3 = arith.negf %a : tensor<100xf32>
  plan.row_yield %3, %2 : tensor<100xf32>, tensor<100xf32>
}

// A negative number reads row 0 and selects zeros; scatters branch.
// CHECK-LABEL: func.func @rows_move_3(
// CHECK:         %[[INDEX:.*]] = arith.extsi %{{.*}} : i32 to i64
// CHECK:         %[[PRESENT:.*]] = arith.cmpi sge, %[[INDEX]], %{{.*}} : i64
// CHECK:         arith.maxsi %[[INDEX]]
// CHECK:         arith.select %[[PRESENT]], %{{.*}}, %{{.*}} : vector<16xf32>
// CHECK:         scf.if %[[PRESENT]] {
// CHECK:           llvm.load
// CHECK:           arith.addf
// CHECK:           llvm.store
// CHECK:         }
// CHECK:         scf.if %[[PRESENT]] {
// CHECK-NEXT:      llvm.store {{.*}}!llvm.ptr{{$}}
// CHECK-NEXT:    }
// CHECK:         arith.addf
// CHECK-NEXT:    llvm.store
plan.rows "move" rows(8) ins(%table, %i : memref<50x100xf32>, memref<8xi32>)
    outs(%table, %x, %sums : memref<50x100xf32>, memref<8x100xf32>, memref<100xf32>)
    access [#plan.access<gather 1>, #plan.access<row_scalar>]
    results [#plan.access<scatter_add 1>, #plan.access<scatter 1>, #plan.access<sum_rows>] {
^bb0(%a: tensor<100xf32>, %n: i32):
  plan.row_yield %a, %a, %a : tensor<100xf32>, tensor<100xf32>, tensor<100xf32>
}

// Another number of rows and other buffers: the same kernel as "center".
// CHECK-NOT: func.func
%x2 = plan.buffer {value = "x"} : memref<3x100xf32>
%y2 = plan.buffer {value = "y"} : memref<3x100xf32>
%s2 = plan.buffer {value = "s"} : memref<3xf32>
plan.rows "center_of_three" rows(3) ins(%x2 : memref<3x100xf32>) outs(%y2, %s2 : memref<3x100xf32>, memref<3xf32>)
    access [#plan.access<row>] results [#plan.access<row>, #plan.access<row_scalar>] {
^bb0(%a: tensor<100xf32>):
  %inverse = arith.constant 0.01 : f32
  %0 = plan.row_reduce add %a : tensor<100xf32> -> f32
  %1 = arith.mulf %0, %inverse : f32
  %2 = tensor.splat %1 : tensor<100xf32>
  %3 = arith.subf %a, %2 : tensor<100xf32>
  plan.row_yield %3, %1 : tensor<100xf32>, f32
}

// Four blocks for 16 columns, two products a round.
%words = plan.buffer {value = "words"} : memref<8x20xi32>
%sample = plan.buffer {value = "sample"} : memref<8xi32>
%seed = plan.buffer {value = "seed"} : memref<i32>
// CHECK-LABEL: func.func @rows_words_
// CHECK:         scf.for
// CHECK-COUNT-20:  arith.muli %{{.*}} : vector<4xi64>
// CHECK-NOT:       arith.muli %{{.*}} : vector
// CHECK:           %[[PAIRS:.*]] = vector.shuffle %{{.*}}, %{{.*}} [0, 4, 1, 5, 2, 6, 3, 7] : vector<4xi64>, vector<4xi64>
// CHECK:           %[[WORDS:.*]] = vector.bitcast %[[PAIRS]] : vector<8xi64> to vector<16xi32>
// CHECK:           llvm.store %[[WORDS]]
// CHECK:           vector.shuffle %{{.*}}, %{{.*}} [0, 1, 2, 3] : vector<16xi32>, vector<16xi32>
plan.rows "words" rows(8) ins(%sample, %seed : memref<8xi32>, memref<i32>) outs(%words : memref<8x20xi32>)
    access [#plan.access<row_scalar>, #plan.access<scalar>] results [#plan.access<row>] {
^bb0(%a: i32, %b: i32):
  %w = plan.row_random seed(%b) step(%b) site(%b) sample(%a) position(%a) : tensor<20xi32>
  plan.row_yield %w : tensor<20xi32>
}
