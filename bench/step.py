#!/usr/bin/env python3
"""Whole steps of bert-base, fp32: time and peak memory, CPU time of eight ranks against one, compile time.

    bench/step.py [--seq=128] [--batch=8] [--steps=5] [--peer='COMMAND']

COMMAND is run between two runs of seqpar-run; its last line must be a JSON object with `step_s_median`. Prints JSON lines;
`ratio` is the peer's time over ours, or the CPU time of a step on eight ranks over that on one. Compare ratios only:
absolute times are the machine's.
"""
import argparse
import json
import os
import shlex
import statistics
import subprocess
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
RUN = os.path.join(ROOT, "build", "bin", "seqpar-run")


def run(model, options, sp):
    """Median milliseconds and CPU seconds of the steps after the second, peak MiB, CPU seconds until the first has ended."""
    with tempfile.TemporaryDirectory() as folder:
        log = os.path.join(folder, "log.jsonl")
        open(log, "w").close()
        command = [RUN, os.path.join(ROOT, "models", model), f"--sp={sp}", f"--seq-length={options.seq}",
                   f"--global-batch={options.batch}", "--data=synthetic", f"--steps={options.steps + 2}", f"--log={log}"]
        marks, usage = watch(command, log)
        with open(log) as f:
            times = [json.loads(line)["step_ms"] for line in f][2:]
    steps = [after - before for before, after in zip(marks[1:], marks[2:options.steps + 1])]
    return statistics.median(times), statistics.median(steps), usage.ru_maxrss / 1024, marks[0]


def watch(command, log):
    """Runs the command. CPU seconds of its process when each step had ended, and what it used in all."""
    marks = []
    # wait4 tells the peak of this process alone; getrusage knows that of all children together only.
    pid = os.posix_spawn(command[0], command, os.environ,
                         file_actions=[(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)])
    ended = 0
    while not ended:
        with open(log) as f:
            lines = f.read().count("\n")
        if lines > len(marks):
            marks += [cpu_seconds(pid)] * (lines - len(marks))
        time.sleep(0.005)
        ended, status, usage = os.wait4(pid, os.WNOHANG)
    if status:
        raise subprocess.CalledProcessError(os.waitstatus_to_exitcode(status), command)
    return marks, usage


def cpu_seconds(process):
    with open(f"/proc/{process}/stat") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


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
    if options.steps < 2:
        parser.error(f"--steps: expected at least 2, whose CPU time is measured between their ends, found {options.steps}")
    what = {"model": "bert-base", "dtype": "fp32", "seq": options.seq, "batch": options.batch}
    record = {"bench": "step", **what}
    ours, cpu, memory, start = run("bert-base.mlir", options, 1)
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
    eight, cpu8, memory8, start8 = run("bert-base.mlir", options, 8)
    print(json.dumps({"bench": "cpu-time-of-eight-ranks", **what, "sp": 8, "step_ms": round(eight, 1),
                      "peak_mib": round(memory8), "cpu_s": round(cpu8, 3), "ratio": round(cpu8 / cpu, 3),
                      "start_ratio": round(start8 / start, 3)}), flush=True)
    print(json.dumps({"bench": "compile", "model": "bert-large", "sp": 8, "seq": 512,
                      "seconds": round(compile_seconds("bert-large.mlir", 8, 512), 3)}), flush=True)


main()
