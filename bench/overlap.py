#!/usr/bin/env python3
"""How much of the exchange between ranks is hidden behind compute, from a trace.

    bench/overlap.py [--model=bert-tiny] [--sp=2,4] [--processes=1,2] [--seq=512] [--batch=8] [--steps=3]
    bench/overlap.py --trace=FILE

One JSON line for each number of ranks and processes (mpirun starts them when there are several; a number that does not
divide the ranks is left out): the time in which something was under way, from its start until its data were there, and
the part of it in which the rank's own thread computed (GEMM, attention, row kernels), summed over the ranks. `overlap` is
their ratio for what is started and waited for (ring shifts, stage exchanges, reductions begun in the backward);
`collective_ms` is the time of the collectives that ranks take part in from begin to end, which hide nothing. Ranks that
share cores compute slowly while others have the core, so the ratio is of wall time as each rank sees it.
"""
import argparse
import json
import os
import subprocess
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
COMPUTE = ("gemm", "attention", "row kernel")


def union(intervals):
    merged = []
    for begin, end in sorted(intervals):
        if merged and begin <= merged[-1][1]:
            merged[-1][1] = max(merged[-1][1], end)
        else:
            merged.append([begin, end])
    return merged


def length(intervals):
    return sum(end - begin for begin, end in intervals)


def intersection(a, b):
    result, i, j = [], 0, 0
    while i < len(a) and j < len(b):
        begin, end = max(a[i][0], b[j][0]), min(a[i][1], b[j][1])
        if begin < end:
            result.append([begin, end])
        if a[i][1] < b[j][1]:
            i += 1
        else:
            j += 1
    return result


def overlap(path):
    with open(path) as f:
        events = [event for event in json.load(f)["traceEvents"] if event["ph"] == "X"]
    ranks = sorted({event["pid"] for event in events})
    exchange_us = hidden_us = collective_us = 0.0
    for rank in ranks:
        def rows(categories, exchanges):
            return union((event["ts"], event["ts"] + event["dur"]) for event in events
                         if event["pid"] == rank and event["cat"] in categories and (event["tid"] > 0) == exchanges)
        exchange = rows(("exchange",), True)
        exchange_us += length(exchange)
        hidden_us += length(intersection(exchange, rows(COMPUTE, False)))
        collective_us += length(rows(("collective",), True))
    return {"ranks": len(ranks), "exchange_ms": round(exchange_us / 1e3, 3), "hidden_ms": round(hidden_us / 1e3, 3),
            "overlap": round(hidden_us / exchange_us, 4) if exchange_us else None,
            "collective_ms": round(collective_us / 1e3, 3)}


def measure(options, sp, processes):
    with tempfile.TemporaryDirectory() as folder:
        trace = os.path.join(folder, "trace.json")
        launcher = ["mpirun", "--oversubscribe", "-np", str(processes)] if processes > 1 else []
        subprocess.run(launcher + [options.run, os.path.join(ROOT, "models", options.model + ".mlir"), f"--sp={sp}",
                                   f"--seq-length={options.seq}", f"--global-batch={options.batch}",
                                   "--data=synthetic", f"--steps={options.steps}", f"--trace={trace}"],
                       check=True, stdout=subprocess.DEVNULL)
        return {"bench": "overlap", "model": options.model, "sp": sp, "processes": processes, "seq": options.seq,
                "batch": options.batch, "steps": options.steps, **overlap(trace)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", default=os.path.join(ROOT, "build", "bin", "seqpar-run"))
    parser.add_argument("--model", default="bert-tiny")
    parser.add_argument("--sp", default="2,4")
    parser.add_argument("--processes", default="1,2")
    parser.add_argument("--seq", type=int, default=512)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--trace", help="only look at this trace")
    options = parser.parse_args()
    if options.trace:
        print(json.dumps({"bench": "overlap", **overlap(options.trace)}))
        return
    for sp in map(int, options.sp.split(",")):
        for processes in map(int, options.processes.split(",")):
            if sp % processes == 0:
                print(json.dumps(measure(options, sp, processes)), flush=True)


main()
