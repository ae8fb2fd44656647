// RUN: seqpar-opt %s --allow-unregistered-dialect | seqpar-opt --allow-unregistered-dialect | FileCheck %s

// What is printed is read back the same.

// CHECK: %[[G:.*]] = "test.value"() : () -> tensor<8x8xf32, #sp.layout<[-, sp], partial [dp]>>
%g = "test.value"() : () -> tensor<8x8xf32, #sp.layout<[-, sp], partial [dp]>>
// CHECK: %[[R:.*]] = sp.all_reduce %[[G]] over [dp] : tensor<8x8xf32, #sp.layout<[-, sp], partial [dp]>> -> tensor<8x8xf32, #sp.layout<[-, sp]>>
%r = sp.all_reduce %g over [dp] : tensor<8x8xf32, #sp.layout<[-, sp], partial [dp]>> -> tensor<8x8xf32, #sp.layout<[-, sp]>>
// CHECK: sp.all_gather %[[R]] dim 1 over [sp] : tensor<8x8xf32, #sp.layout<[-, sp]>> -> tensor<8x8xf32, #sp.layout<[-, -]>>
%a = sp.all_gather %r dim 1 over [sp] : tensor<8x8xf32, #sp.layout<[-, sp]>> -> tensor<8x8xf32, #sp.layout<[-, -]>>
// CHECK: sp.ring_shift %[[R]] : tensor<8x8xf32, #sp.layout<[-, sp]>> -> tensor<8x8xf32, #sp.layout<[-, sp]>>
%s = sp.ring_shift %r : tensor<8x8xf32, #sp.layout<[-, sp]>> -> tensor<8x8xf32, #sp.layout<[-, sp]>>
// CHECK: %[[M:.*]] = "test.value"() : () -> memref<4x8xf32>
%m = "test.value"() : () -> memref<4x8xf32>
%n = "test.value"() : () -> memref<4x8xf32>
// CHECK: sp.ring_loop {
sp.ring_loop {
  // CHECK: %[[A:.*]] = sp.alternate %[[M]], %{{.*}} : memref<4x8xf32>
  %now = sp.alternate %m, %n : memref<4x8xf32>
  %next = sp.alternate %n, %m : memref<4x8xf32>
  // CHECK: sp.ring_shift_start(%[[A]]) into(%{{.*}} : memref<4x8xf32>) tag 3 skip_last : memref<4x8xf32>
  sp.ring_shift_start (%now) into (%next : memref<4x8xf32>) tag 3 skip_last : memref<4x8xf32>
  // CHECK: sp.wait tag 3 skip_last
  sp.wait tag 3 skip_last
  // CHECK: sp.yield
  sp.yield
}
// CHECK: "test.op"() {grid = #sp.grid<dp = 2, pp = 1, sp = 8>}
"test.op"() {grid = #sp.grid<dp = 2, pp = 1, sp = 8>} : () -> ()
// CHECK: sp.send %[[M]] to stage 1 tag 2 : memref<4x8xf32>
sp.send %m to stage 1 tag 2 : memref<4x8xf32>
// CHECK: sp.receive into %[[M]] : memref<4x8xf32> from stage 1 tag 3
sp.receive into %m : memref<4x8xf32> from stage 1 tag 3
// CHECK: sp.receive from stage 1 tag 3 -> tensor<8x8xf32, #sp.layout<[-, sp]>>
%t = sp.receive from stage 1 tag 3 -> tensor<8x8xf32, #sp.layout<[-, sp]>>
// CHECK: sp.sum_stages %{{.*}} over [0, 3] tag 6 : tensor<8x8xf32, #sp.layout<[-, sp]>>
%u = sp.sum_stages %t over [0, 3] tag 6 : tensor<8x8xf32, #sp.layout<[-, sp]>>
