"""Numbers do not depend on how ranks are divided into processes.

processes.py GRID COUNTS [-- OPTION...] [-- COMPILE_OPTION...]: trains the same small model on GRID (SP,DP,MICRO_BATCH[,PP]) as one process with
thread ranks and under mpirun, or the launcher SEQPAR_MPIRUN, with each of COUNTS processes. Every number of the log, the gradients, the parameters and
the checkpoints must be the same bits.
"""
import json
import os
import shlex
import subprocess
import sys
import tempfile

MODEL = ["seqpar-model", "--layers=2", "--hidden=32", "--heads=4", "--ffn=64", "--vocab=96", "--max-seq-length=64",
         "--norm=pre", "--gelu=tanh"]
MIDDLE, LAST = "checkpoints/step-000000002.safetensors", "checkpoints/step-000000004.safetensors"
FILES = ("parameters", LAST, "gradients", MIDDLE)


def run(folder, launcher, program, options):
    os.makedirs(folder)
    command = launcher + ["seqpar-exec", program, "--data=synthetic", "--steps=4", "--decay=4",
                          f"--log={folder}/log", f"--save-gradients={folder}/gradients",
                          f"--save-parameters={folder}/parameters", f"--save={folder}/checkpoints",
                          "--save-interval=2", f"--profile={folder}/profile", f"--trace={folder}/trace"] + options
    result = subprocess.run(command, capture_output=True, text=True, timeout=120)
    if result.returncode or result.stderr:
        sys.exit(f"{shlex.join(command)}: exit status {result.returncode}\n{result.stdout}{result.stderr}")
    with open(f"{folder}/log") as f:
        lines = [json.loads(line) for line in f]
    for line in lines:
        del line["step_ms"]
    files = []
    for name in (FILES[:2] if any(option.startswith("--load") for option in options) else FILES):
        with open(f"{folder}/{name}", "rb") as f:
            files.append(f.read())
    with open(f"{folder}/trace") as f:
        rows = {event["pid"] for event in json.load(f)["traceEvents"]}
    with open(f"{folder}/profile") as f:
        ranks = [entry["rank"] for entry in json.load(f)["ranks"]]
    return lines, files, len(rows), ranks, result.stdout


def main():
    groups = [[]]
    for argument in sys.argv[1:]:
        if argument == "--":
            groups.append([])
        else:
            groups[-1].append(argument)
    arguments, options, compile_options = (groups + [[], []])[:3]
    sp, dp, micro_batch, pp = [int(x) for x in (arguments[0] + ",1").split(",")[:4]]
    launcher = ["mpirun", "--oversubscribe"]
    if os.environ.get("SEQPAR_MPIRUN"):
        launcher = os.environ["SEQPAR_MPIRUN"].split()
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(MODEL + ["-o", f"{folder}/model.mlir"], check=True)
        program = f"{folder}/model.program"
        subprocess.run(["seqpar-run", f"{folder}/model.mlir", f"--sp={sp}", f"--dp={dp}", f"--pp={pp}",
                        f"--micro-batch={micro_batch}", "--global-batch=8", "--seq-length=45", "--steps=0",
                        f"--emit-program={program}"] + compile_options, check=True)
        expected = run(f"{folder}/1", [], program, options)
        assert len(expected[0]) == 4 and expected[0][3]["loss"] > 1, expected[0]
        assert expected[3] == list(range(sp * pp * dp)), expected[3]
        for count in arguments[1].split(","):
            found = run(f"{folder}/{count}", launcher + ["-np", count], program, options)
            for what, ours, theirs in zip(("log", "files", "ranks of the trace", "ranks of the profile"), expected,
                                          found):
                if ours != theirs:
                    sys.exit(f"{count} processes: another {what}: {theirs if what != 'files' else ''}, expected {ours}")
            if found[4].count("step 4/4") != 1:
                sys.exit(f"{count} processes: expected one line of the last step, found {found[4]}")
            print(f"sp={sp} dp={dp} pp={pp} micro-batch {micro_batch}: {count} processes: the same bits", flush=True)
            if count != arguments[1].split(",")[-1]:
                continue
            # From a checkpoint that one process has made, the rest of the run is the same.
            rest = run(f"{folder}/{count}-rest", launcher + ["-np", count], program,
                       options + [f"--load={folder}/1/{MIDDLE}"])
            if rest[0] != expected[0][2:] or rest[1] != expected[1][:2]:
                sys.exit(f"{count} processes: from a checkpoint: {rest[0]}, expected {expected[0][2:]}")
            # Of given parameters the first step's gradients are the same.
            given = [options + [f"--init-from={folder}/1/parameters"]]
            first = run(f"{folder}/{count}-one", [], program, *given)
            if first[:2] != run(f"{folder}/{count}-given", launcher + ["-np", count], program, *given)[:2]:
                sys.exit(f"{count} processes: from given parameters: other numbers")


main()
