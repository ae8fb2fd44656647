#!/usr/bin/env python3
"""Attention of the CPU device against PyTorch's scaled_dot_product_attention, one thread, in turns.

Usage: attention_torch.py BUILD_DIR [TURNS]

Prints a JSON line per shape and direction: milliseconds of both (the best of all turns) and their
ratio, above 1 where seqpar is faster. PyTorch gets contiguous [batch, heads, length, head_dim]
tensors, its best layout.
"""
import json
import os
import subprocess
import sys
import time

os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"
import torch  # noqa: E402
import torch.nn.functional as F  # noqa: E402

torch.set_num_threads(1)


def best_ms(body, seconds=0.3):
    """CPU time of this thread, as in seqpar-bench-kernels."""
    body()
    best, end = float("inf"), time.thread_time() + seconds
    while time.thread_time() < end:
        start = time.thread_time()
        body()
        best = min(best, time.thread_time() - start)
    return best * 1e3


def torch_ms(case):
    shape = (case["batch"], case["heads"], case["length"], case["head_dim"])
    q, k, v = (torch.rand(shape).mul_(2).sub_(1).requires_grad_() for _ in range(3))

    def attention():
        return F.scaled_dot_product_attention(q, k, v, dropout_p=case["dropout"])

    if case["direction"] == "forward":
        with torch.no_grad():
            return best_ms(attention)
    out = attention()
    dout = torch.rand_like(out)
    return best_ms(lambda: torch.autograd.grad(out, (q, k, v), dout, retain_graph=True))


def main():
    build, turns = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 3
    best = {}
    for _ in range(turns):
        text = subprocess.run([f"{build}/bin/seqpar-bench-kernels", "--only=attention"],
                              check=True, capture_output=True, text=True).stdout
        for case in map(json.loads, text.splitlines()):
            key = tuple(case[name] for name in ("direction", "batch", "heads", "head_dim", "length", "dropout"))
            seqpar, theirs = best.get(key, (float("inf"), float("inf")))
            best[key] = min(seqpar, case["ms"]), min(theirs, torch_ms(case))
    for key, (seqpar, theirs) in best.items():
        direction, batch, heads, head_dim, length, dropout = key
        print(json.dumps({"bench": "attention_torch", "direction": direction, "batch": batch,
                          "heads": heads, "head_dim": head_dim, "length": length,
                          "dropout": dropout, "ms": seqpar, "torch_ms": round(theirs, 3),
                          "ratio": round(theirs / seqpar, 3)}))


if __name__ == "__main__":
    main()
