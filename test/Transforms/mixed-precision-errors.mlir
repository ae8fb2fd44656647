// RUN: seqpar-opt %s --mixed-precision=dtype=fp8 --verify-diagnostics

// expected-error@+1 {{expected dtype 'bf16' or 'fp16', found 'fp8'}}
module {
}
