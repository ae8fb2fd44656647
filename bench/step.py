#!/usr/bin/env python3
"""Whole steps of bert-base, fp32: time and peak memory, CPU time of eight ranks against one, compile time.

    bench/step.py [--seq=128] [--batch=8] [--steps=5] [--peer='COMMAND']

COMMAND is run alternately with seqpar-run; its last line must be a JSON object with `step_s_median`. Prints JSON lines;
`ratio` is the peer's time over ours. Compare ratios only: absolute times are the machine's.
"""
import argparse
import json
import os
import resource
import shlex
import statistics
import subprocess
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
RUN = os.path.join(ROOT, "build", "bin", "seqpar-run")


def run(model, options, sp):
    """Median milliseconds of the steps after the second, CPU seconds and peak MiB of the whole process."""
    with tempfile.TemporaryDirectory() as folder:
        log = os.path.join(folder, "log.jsonl")
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([RUN, os.path.join(ROOT, "models", model), f"--sp={sp}", f"--seq-length={options.seq}",
                        f"--global-batch={options.batch}", "--data=synthetic", f"--steps={options.steps + 2}",
                        f"--log={log}"], check=True, stdout=subprocess.DEVNULL)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        with open(log) as f:
            times = [json.loads(line)["step_ms"] for line in f][2:]
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return statistics.median(times), cpu, after.ru_maxrss / 1024


def compile_seconds(model, sp, seq):
    with tempfile.TemporaryDirectory() as folder:
        begin = time.perf_counter()
        subprocess.run([RUN, os.path.join(ROOT, "models", model), f"--sp={sp}", f"--seq-length={seq}", "--steps=0",
                        f"--emit-program={folder}/program"], check=True)
        return time.perf_counter() - begin


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seq", type=int, default=128)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--peer", default="")
    options = parser.parse_args()
    record = {"bench": "step", "model": "bert-base", "dtype": "fp32", "seq": options.seq, "batch": options.batch}
    ours, cpu, memory = run("bert-base.mlir", options, 1)
    record.update(step_ms=round(ours, 1), peak_mib=round(memory))
    if options.peer:
        output = subprocess.run(shlex.split(options.peer), check=True, capture_output=True, text=True).stdout
        peer = json.loads(output.strip().splitlines()[-1])
        again = run("bert-base.mlir", options, 1)[0]
        ours = (ours + again) / 2
        record.update(step_ms=round(ours, 1), peer=peer.get("peer", "peer"),
                      peer_step_ms=round(1000 * peer["step_s_median"], 1), peer_peak_mib=peer.get("peak_rss_mib"),
                      ratio=round(1000 * peer["step_s_median"] / ours, 3))
    print(json.dumps(record), flush=True)
    eight, cpu8, memory8 = run("bert-base.mlir", options, 8)
    print(json.dumps({**record, "bench": "cpu-time-of-eight-ranks", "sp": 8, "step_ms": round(eight, 1),
                      "peak_mib": round(memory8), "ratio": round(cpu8 / cpu, 3)}), flush=True)
    print(json.dumps({"bench": "compile", "model": "bert-large", "sp": 8, "seq": 512,
                      "seconds": round(compile_seconds("bert-large.mlir", 8, 512), 3)}), flush=True)


main()
