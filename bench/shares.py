#!/usr/bin/env python3
"""Where each step's time goes.

    bench/shares.py [--model=bert-base] [--sp=1,2,4,8] [--seq=128] [--batch=8] [--steps=5] [--dropout=0]

One JSON line for each number of ranks: the shares of the ranks' time in GEMMs, attention, row kernels, exchange (copying
and adding), waiting for other ranks and the feed, and in `other` (what lies between: the interpreter, batches, records).
They sum to 1. Ranks that share cores count the time in which another has the core.
"""
import argparse
import json
import os
import statistics
import subprocess
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
CATEGORIES = ("gemm", "attention", "row_kernel", "exchange", "waiting", "feed")


def measure(options, sp):
    with tempfile.TemporaryDirectory() as folder:
        log, profile = os.path.join(folder, "log.jsonl"), os.path.join(folder, "profile.json")
        subprocess.run([options.run, os.path.join(ROOT, "models", options.model + ".mlir"),
                        f"--sp={sp}", f"--seq-length={options.seq}", f"--global-batch={options.batch}",
                        f"--dropout={options.dropout}", "--data=synthetic", f"--steps={options.steps}", f"--log={log}",
                        f"--profile={profile}"], check=True, stdout=subprocess.DEVNULL)
        with open(log) as f:
            steps = [json.loads(line)["step_ms"] for line in f]
        with open(profile) as f:
            ranks = json.load(f)["ranks"]
    total = sum(steps) * len(ranks)
    shares = {name: sum(rank[name + "_ms"] for rank in ranks) / total for name in CATEGORIES}
    shares["other"] = 1 - sum(shares.values())
    return {"bench": "shares", "model": options.model, "sp": sp, "seq": options.seq, "batch": options.batch,
            "dropout": options.dropout, "step_ms": round(statistics.median(steps), 1),
            **{name: round(share, 4) for name, share in shares.items()}}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", default=os.path.join(ROOT, "build", "bin", "seqpar-run"))
    parser.add_argument("--model", default="bert-base")
    parser.add_argument("--sp", default="1,2,4,8")
    parser.add_argument("--seq", type=int, default=128)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--dropout", type=float, default=0)
    options = parser.parse_args()
    for sp in options.sp.split(","):
        print(json.dumps(measure(options, int(sp))), flush=True)


main()
