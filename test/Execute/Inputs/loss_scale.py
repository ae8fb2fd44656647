"""fp16 with a loss scale that is far too large, on several grids: steps are skipped until it fits.

    loss_scale.py GRID...        a grid is SP[,PP]

Skipped steps change no parameter; those after them train; and a run that a checkpoint interrupts among the skipped steps
is the run without an interruption, to the bit.
"""
import json
import os
import subprocess
import sys
import tempfile

import numpy as np

from tensors import load

TOO_LARGE = 2 ** 24
STEPS = 16


def grid_options(grid):
    sp, pp = (grid.split(",") + ["1"])[:2]
    return ["--dtype=fp16", f"--sp={sp}", f"--pp={pp}", "--micro-batch=2", "--global-batch=8", "--seq-length=24",
            "--seed=5"]


def run(folder, model, grid, steps, *extra):
    """The log's lines and what was printed."""
    log = f"{folder}/log.jsonl"
    if os.path.exists(log):
        os.remove(log)
    command = ["seqpar-run", model, *grid_options(grid), "--data=synthetic", f"--steps={steps}",
               f"--loss-scale={TOO_LARGE}", "--lr=1e-2", "--warmup=2", "--decay-style=constant", "--log-interval=1",
               f"--log={log}", *extra]
    text = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, timeout=300).stdout
    with open(log) as f:
        return [json.loads(line) for line in f], text


def initial(folder, model, grid):
    """The parameters before any step."""
    subprocess.run(["seqpar-run", model, *grid_options(grid), "--steps=0", f"--save-parameters={folder}/start"],
                   check=True, stdout=subprocess.DEVNULL, timeout=300)
    return load(f"{folder}/start")


def equal(a, b):
    return set(a) == set(b) and all(np.array_equal(a[name], b[name]) for name in a)


def check(folder, model, grid):
    """What is wrong."""
    wrong = []
    lines, text = run(folder, model, grid, STEPS, f"--save-parameters={folder}/end")
    skipped = lines[-1]["skipped"]
    if not 2 < skipped < STEPS - 4:
        return [f"{skipped} steps were skipped"]
    # The first overflow is forgiven; each of the others halves the scale.
    for i, line in enumerate(lines):
        scale = TOO_LARGE / 2 ** (min(max(i, 1), skipped) - 1) if i < skipped else TOO_LARGE / 2 ** (skipped - 1)
        if line["skipped"] != min(i + 1, skipped) or line["loss_scale"] != scale:
            wrong.append(f"step {i + 1}: scale {line['loss_scale']}, skipped {line['skipped']}")
        if (line["grad_norm"] is None) != (i < skipped):
            wrong.append(f"step {i + 1}: norm {line['grad_norm']}")
    if [line["lr"] for line in lines[skipped:skipped + 3]] != [0, 0.005, 0.01]:
        wrong.append("skipped steps count for the learning rate")
    if f"loss scale {TOO_LARGE >> (skipped - 1)}  skipped {skipped}" not in text:
        wrong.append("the printed lines do not tell")
    if not lines[-1]["loss"] < lines[skipped]["loss"]:
        wrong.append("the steps that were not skipped do not train")

    start = initial(folder, model, grid)
    run(folder, model, grid, skipped, f"--save-parameters={folder}/skipped")
    if not equal(load(f"{folder}/skipped"), start):
        wrong.append("a skipped step changes parameters")
    if equal(load(f"{folder}/end"), start):
        wrong.append("the other steps do not")

    saved = f"{folder}/saved-{grid}"
    run(folder, model, grid, 3, f"--save={saved}")
    rest, _ = run(folder, model, grid, STEPS, f"--load={saved}", f"--save-parameters={folder}/resumed")
    for a, b in zip(rest, lines[3:], strict=True):
        if any(a[key] != b[key] for key in a if key != "step_ms"):
            wrong.append(f"step {b['step']} is another after a checkpoint: {a} {b}")
    if not equal(load(f"{folder}/resumed"), load(f"{folder}/end")):
        wrong.append("parameters differ after a checkpoint")
    return wrong


def main():
    failed = False
    with tempfile.TemporaryDirectory() as folder:
        model = os.path.join(folder, "model.mlir")
        subprocess.run(["seqpar-model", "--layers=2", "--hidden=32", "--heads=2", "--ffn=48", "--vocab=64",
                        "--max-seq-length=24", "--norm=pre", "--gelu=tanh", "-o", model], check=True)
        for grid in sys.argv[1:]:
            wrong = check(folder, model, grid)
            failed |= bool(wrong)
            print(f"grid {grid}: {'; '.join(wrong) or 'ok'}")
    return 1 if failed else 0


sys.exit(main())
