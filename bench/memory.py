#!/usr/bin/env python3
"""Memory of a rank of bert-base as ranks are added, from the compiler's plan; nothing is run.

    bench/memory.py [--budget=16] [--batch=64] [--seq=512] [--ranks=1,2,4,8,16,32,64]

For each number of ranks, prints JSON lines: the bytes of a rank at a fixed batch and sequence, and the longest sequence
that fits into --budget GiB a rank. `tensor_parallel` is the formula of Li et al. 2023 (tables 1 and 2) for tensor
parallelism on as many ranks, fp32, without its L x L term, which no system with online softmax has; `ratio` compares
with it. Tensor parallelism splits heads, so it has no figure beyond their number.
"""
import argparse
import json
import os
import subprocess
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
TOOLS = os.path.join(ROOT, "build", "bin")
LAYERS, HIDDEN, HEADS, VOCABULARY = 12, 768, 12, 30592
GRANULE = 64  # positions of a rank, in the search for the longest sequence


def model(folder, length):
    """A file of bert-base with enough positions."""
    path = os.path.join(folder, f"model-{length}.mlir")
    subprocess.run([os.path.join(TOOLS, "seqpar-model"), f"--layers={LAYERS}", f"--hidden={HIDDEN}", f"--heads={HEADS}",
                    f"--ffn={4 * HIDDEN}", f"--vocab={VOCABULARY}", f"--max-seq-length={max(length, 512)}",
                    "--norm=pre", "--gelu=tanh", "-o", path], check=True)
    return path


def rank_bytes(folder, ranks, batch, length):
    """The largest of the ranks' totals."""
    report = os.path.join(folder, "memory.json")
    subprocess.run([os.path.join(TOOLS, "seqpar-run"), model(folder, length), f"--sp={ranks}", f"--seq-length={length}",
                    f"--global-batch={batch}", "--steps=0", f"--memory-report={report}"], check=True)
    with open(report) as file:
        return max(rank["total_bytes"] for rank in json.load(file)["ranks"])


def tensor_parallel_bytes(ranks, batch, length):
    """MLP 32 H^2/N + 4 BLH/N + BLH and attention 16 H^2/N + 4 BLH/N + BLH elements a layer; embedding as 4 V H/N."""
    tokens = batch * length
    layer = 48 * HIDDEN**2 / ranks + 8 * tokens * HIDDEN / ranks + 2 * tokens * HIDDEN
    return 4 * (LAYERS * layer + 4 * VOCABULARY * HIDDEN / ranks)


def longest(fits, step):
    """Largest multiple of step that fits, 0 if not even the first does."""
    low, high = 0, 1
    while fits(high * step):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle * step) else (low, middle)
    return low * step


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--budget", type=float, default=16, help="GiB of a rank")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--seq", type=int, default=512)
    parser.add_argument("--ranks", default="1,2,4,8,16,32,64")
    options = parser.parse_args()
    budget = options.budget * 2**30
    with tempfile.TemporaryDirectory() as folder:
        for ranks in map(int, options.ranks.split(",")):
            ours = rank_bytes(folder, ranks, options.batch, options.seq)
            length = longest(lambda at: rank_bytes(folder, ranks, options.batch, at) <= budget, GRANULE * ranks)
            record = {"bench": "memory", "model": "bert-base", "ranks": ranks, "batch": options.batch,
                      "seq": options.seq, "rank_bytes": ours, "budget_gib": options.budget, "longest_seq": length}
            if ranks <= HEADS:
                peer = tensor_parallel_bytes(ranks, options.batch, options.seq)
                peer_length = longest(lambda at: tensor_parallel_bytes(ranks, options.batch, at) <= budget, GRANULE)
                record.update(tensor_parallel_bytes=round(peer), ratio=round(ours / peer, 3),
                              tensor_parallel_longest_seq=peer_length)
            print(json.dumps(record), flush=True)


if __name__ == "__main__":
    main()
