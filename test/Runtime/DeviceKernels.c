//===- DeviceKernels.c - row kernels for the device tests -----------------===//
//
// Written by hand in the form the compiler emits; built for each CPU target.
//
//===----------------------------------------------------------------------===//
#include <stdint.h>

enum { COLUMNS = 40, ROWS_OF_TABLE = 9 };

// y[row, :] = x[row, :] * s[row] + bias[:] * factor
void scale_and_bias(void *const *operands, int64_t begin, int64_t end) {
  const float *x = operands[0], *s = operands[1], *bias = operands[2], *factor = operands[3];
  float *y = operands[4];
  for (int64_t i = begin; i < end; ++i)
    for (int64_t j = 0; j < COLUMNS; ++j)
      y[i * COLUMNS + j] = x[i * COLUMNS + j] * s[i] + bias[j] * *factor;
}

// y = x; sums[:] += x[row, :]; squares += x[row, :]^2; count += 1
void sum_rows(void *const *operands, int64_t begin, int64_t end) {
  const float *x = operands[0];
  float *sums = operands[1], *y = operands[4];
  double *squares = operands[2];
  int32_t *count = operands[3];
  for (int64_t i = begin; i < end; ++i) {
    for (int64_t j = 0; j < COLUMNS; ++j) {
      float value = x[i * COLUMNS + j];
      y[i * COLUMNS + j] = value;
      sums[j] += value;
      *squares += (double)value * value;
    }
    ++*count;
  }
}

// y[row, :] = table[index[row], :], zeros when the index is negative
void gather(void *const *operands, int64_t begin, int64_t end) {
  const float *table = operands[0];
  const int32_t *index = operands[1];
  float *y = operands[2];
  for (int64_t i = begin; i < end; ++i)
    for (int64_t j = 0; j < COLUMNS; ++j)
      y[i * COLUMNS + j] = index[i] < 0 ? 0 : table[index[i] * COLUMNS + j];
}

// table[index[row], :] += x[row, :], nothing when the index is negative
void scatter_add(void *const *operands, int64_t begin, int64_t end) {
  const float *x = operands[0];
  const int32_t *index = operands[1];
  float *table = operands[2];
  for (int64_t i = begin; i < end; ++i)
    for (int64_t j = 0; index[i] >= 0 && j < COLUMNS; ++j)
      table[index[i] * COLUMNS + j] += x[i * COLUMNS + j];
}
