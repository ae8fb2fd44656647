// RUN: seqpar-opt %s --insert-optimizer | FileCheck %s
// RUN: seqpar-opt %s --insert-optimizer="beta1=0.5 beta2=0.75 eps=0.25" | FileCheck %s --check-prefix=OPTIONS

// Each parameter is once in the norm and updated once; decay is the parameter's.
// CHECK-LABEL: nn.step @two
// OPTIONS-LABEL: nn.step @two
nn.step @two {
  %w = nn.parameter "w" normal(0.02) decay : tensor<8x4xf32>
  %b = nn.parameter "b" zeros : tensor<8xf32>
  nn.accumulate "w", %w : tensor<8x4xf32>
  nn.accumulate "b", %b, %b : tensor<8xf32>, tensor<8xf32>
} update {
  // CHECK: } update {
  // CHECK-NEXT: %[[W:.*]] = nn.gradient "w" : tensor<8x4xf32>
  // CHECK-NEXT: %[[B:.*]] = nn.gradient "b" : tensor<8xf32>
  // CHECK-NEXT: %[[NORM:.*]] = nn.global_norm %[[W]], %[[B]] : (tensor<8x4xf32>, tensor<8xf32>) -> tensor<f32>
  // CHECK-NEXT: nn.adamw "w", %[[W]], %[[NORM]] decay beta1(0.9) beta2(0.999) eps(1.0e-08) : tensor<8x4xf32>, tensor<f32>
  // CHECK-NEXT: nn.adamw "b", %[[B]], %[[NORM]] beta1(0.9) beta2(0.999) eps(1.0e-08) : tensor<8xf32>, tensor<f32>
  // CHECK-NEXT: }
  // OPTIONS: nn.adamw "b", {{.*}} beta1(0.5) beta2(0.75) eps(0.25)
}

// No parameter, no update.
// CHECK-LABEL: nn.step @none
nn.step @none {
} update {
  // CHECK: } update {
  // CHECK-NEXT: }
}
