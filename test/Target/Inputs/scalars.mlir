// Scalars only: the clipping factor of the update; the norm is also written.
%squares = plan.buffer {value = "squares"} : memref<f64>
%limit = plan.buffer {value = "limit"} : memref<f32>
%norm = plan.buffer {value = "norm"} : memref<1xf32>
%factor = plan.buffer {value = "factor"} : memref<1xf32>
plan.rows "clip_factor" rows(1) ins(%squares, %limit : memref<f64>, memref<f32>)
    outs(%norm, %factor : memref<1xf32>, memref<1xf32>)
    access [#plan.access<scalar>, #plan.access<scalar>]
    results [#plan.access<row_scalar>, #plan.access<row_scalar>] {
^bb0(%s: f64, %l: f32):
  %one = arith.constant 1.0 : f32
  %zero = arith.constant 0.0 : f32
  %0 = math.sqrt %s : f64
  %n = arith.truncf %0 : f64 to f32
  %1 = arith.divf %l, %n : f32
  %2 = arith.minimumf %1, %one : f32
  %clips = arith.cmpf ogt, %l, %zero : f32
  %3 = arith.select %clips, %2, %one : f32
  plan.row_yield %n, %3 : f32, f32
}
