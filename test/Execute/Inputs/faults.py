"""A run of several processes ends soon, with one message, when one of them fails.

faults.py PROGRAM: PROGRAM is trainer-processes, whose ranks fail on demand. Ranks of real runs are killed and stopped.
SEQPAR_MPIRUN in its environment is another launcher than mpirun.
Every case checks that all processes have ended in time, that the exit status is not 0, and that the message is one.
"""
import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import time

import numpy

from tensors import save

MPIRUN = os.environ.get("SEQPAR_MPIRUN", "mpirun --oversubscribe").split()
MODEL = ["seqpar-model", "--layers=1", "--hidden=32", "--heads=4", "--ffn=64", "--vocab=96", "--max-seq-length=64",
         "--norm=pre", "--gelu=tanh"]


def processes_of(parent):
    """The processes that the launcher has started, by their number."""
    found = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/stat") as f:
                if int(f.read().rsplit(")", 1)[1].split()[1]) != parent:
                    continue
            with open(f"/proc/{pid}/environ") as f:
                rank = re.search(r"(?:^|\0)(?:OMPI_COMM_WORLD_)?RANK=(\d+)", f.read())
        except (OSError, ValueError):
            continue
        if rank:
            found[int(rank.group(1))] = int(pid)
    return found


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as f:
            return f.read().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


def check(name, command, expected, most, fault=None, ready=None):
    """Runs the command, calls fault(processes) when the file `ready` has lines, and checks the end."""
    with tempfile.TemporaryFile("w+") as errors, subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=errors) as running:
        started = set()  # every process of the run: once mpirun has ended, its children cannot be found
        try:
            begin = time.monotonic()
            if fault:
                while not os.path.exists(ready) or os.path.getsize(ready) < 300:
                    time.sleep(0.05)
                    if running.poll() is not None or time.monotonic() > begin + 60:
                        errors.seek(0)
                        sys.exit(f"{name}: it has not come to train: {errors.read()}")
                time.sleep(1.2)  # two heartbeats
                pids = processes_of(running.pid)
                started.update(pids.values())
                begin = time.monotonic()
                fault(pids)
            end = time.monotonic() + 60
            while running.poll() is None and time.monotonic() < end:
                started.update(processes_of(running.pid).values())
                time.sleep(0.05)
            status = running.wait(timeout=0)
            seconds = time.monotonic() - begin
            left = sorted(filter(alive, started))
        finally:
            if running.poll() is None:
                running.kill()
            for pid in filter(alive, started):
                os.kill(pid, signal.SIGKILL)
        errors.seek(0)
        text = errors.read()
    messages = [line for line in text.splitlines() if re.match(r"[a-z-]+: error: ", line)]
    problem = None
    if status == 0:
        problem = "exit status 0"
    elif seconds > most:
        problem = f"it took {seconds:.1f} s, expected at most {most}"
    elif left:
        problem = f"processes {left} are left"
    elif len(messages) != 1 or not re.search(expected, messages[0]):
        problem = f"expected one message /{expected}/"
    if problem:
        sys.exit(f"{name}: {problem}\n{shlex.join(command)}\n{text}")
    print(f"{name}: {seconds:.1f} s, exit status {status}, {messages[0]}")


def write_batch(path, token):
    """One batch of two samples of 24 positions, all the same token."""
    values = {"tokens": token, "types": 0, "labels": token, "loss_mask": 1, "padding_mask": 1, "is_random": 0}
    save(path, {f"batch.0.{name}": numpy.full([2] if name == "is_random" else [2, 24], value, numpy.int32)
                for name, value in values.items()})


def write_parameters(path, value):
    """The toy model's one parameter, all the same value."""
    save(path, {"table": numpy.full([16, 8], value, numpy.float32)})


def write_checkpoint(path, value):
    save(path, {f"{prefix}.table": numpy.full([16, 8], value, numpy.float32) for prefix in ("param", "moment1", "moment2")},
         {"seqpar_checkpoint": "1", "step": "1", "samples": "2", "seed": "1234"})


def killing(rank, number):
    return lambda pids: os.kill(pids[rank], number)


def pausing(log):
    """Stops the whole run for longer than any limit, lets it go on, and ends it by hand."""
    def fault(pids):
        for pid in pids.values():
            os.kill(pid, signal.SIGSTOP)
        time.sleep(8)
        size = os.path.getsize(log)
        for pid in pids.values():
            os.kill(pid, signal.SIGCONT)
        time.sleep(2)
        if os.path.getsize(log) <= size:
            sys.exit("a run that was paused does not go on")
        for pid in pids.values():
            os.kill(pid, signal.SIGTERM)
    return fault


def real_runs(folder, count, ranks_per_process, failing):
    ranks = count * ranks_per_process
    subprocess.run(["seqpar-run", f"{folder}/model.mlir", f"--sp={ranks}", "--global-batch=2", "--seq-length=45",
                    "--steps=0", f"--emit-program={folder}/{ranks}.program"], check=True)
    for rank in failing:
        first, last = rank * ranks_per_process, (rank + 1) * ranks_per_process - 1
        who = f"ranks {first} to {last}" if ranks_per_process > 1 else f"rank {first}"
        who = rf"process {rank} \({who}, pid \d+ on \S+\)"
        seen = rf"last seen: rank {first} in \w+\.mlir:\d+:\d+"
        for number, most, expected in (
                (signal.SIGKILL, 10, rf"error: {who} has died, killed or crashed; {seen}"),
                (signal.SIGSTOP, 12, r"error: rank \d+: \w+ of .+\.mlir:\d+:\d+.*: waited 2 s in vain for rank "
                 rf".*; {who} has been silent")):
            log = f"{folder}/log-{ranks}-{rank}-{number}"
            command = MPIRUN + ["-np", str(count), "seqpar-exec", f"{folder}/{ranks}.program", "--data=synthetic",
                                "--steps=1000000", "--timeout=2", f"--log={log}"]
            check(f"{count} processes, {ranks} ranks, process {rank}, {signal.Signals(number).name}", command,
                  expected, most, killing(rank, number), log)


def main():
    program = sys.argv[1]
    for fault, expected, most in (
            ("throw", r"rank 1: .*toy\.embed.*: broken", 10),
            ("slow", r"rank \d: .*waited 2 s in vain for rank \d", 12),
            ("hang", r"rank \d: .*waited 2 s in vain for rank \d", 12),
            ("program", r"the processes differ in the program: process \d \(pid .*\) has .*seq_length=2[45] .*hash=\w+, "
             r"process \d \(pid .*\) has .*seq_length=2[54] .*hash=\w+$", 10),
            ("options", r"differ in the options: process \d \(.*\) has --lr=[\d.]+, process \d \(.*\) has --lr=[\d.]+$", 10),
            ("late", "error: process 1 has had enough$", 10),
            ("stop", r"process 1 \(rank 1, pid .*\) has been silent for 6 s", 12)):
        check(fault, MPIRUN + ["-np", "3", program, fault], expected, most)
    check("hang of a thread rank", [program, "hang"], r"rank \d: .*waited 2 s in vain for rank \d", 12)
    with tempfile.TemporaryDirectory() as folder:
        for fault, make, what in (("batches", write_batch, "training batch of step 1"),
                                  ("init", write_parameters, "file of --init-from"),
                                  ("load", write_checkpoint, "file of --load")):
            for name, value in (("A", 3), ("B", 4)):
                make(f"{folder}/{name}", value)
            check(fault, MPIRUN + ["-np", "3", program, fault, f"{folder}/A", f"{folder}/B"],
                  rf"differ in the {what}: process \d \(.*\) has hash=\w+, process \d \(.*\) has hash=\w+$", 10)
        subprocess.run(MODEL + ["-o", f"{folder}/model.mlir"], check=True)
        real_runs(folder, 2, 2, [1])
        real_runs(folder, 4, 1, [0, 2])
        log = f"{folder}/log-paused"
        check("paused, resumed, SIGTERM", MPIRUN + ["-np", "2", "seqpar-exec", f"{folder}/4.program", "--data=synthetic",
                                                    "--steps=1000000", "--timeout=2", f"--log={log}"],
              "error: ended by SIGTERM", 20, pausing(log), log)


main()
