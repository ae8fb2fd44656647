"""Dropout of a whole model at one grid: `dropout.py SP`.

With all draws fixed the loss is a smooth function of the parameters, so its slope along the gradient must be the
gradient's square: a backward that drops other elements than its forward, or scales them otherwise, is off by far more
than the tolerance. The seed and the step choose what is dropped. An evaluation drops nothing.
"""
import json
import os
import subprocess
import sys
import tempfile

import numpy as np

from tensors import load, save, without_prefix

VOCABULARY, LENGTH, RATE = 64, 13, 0.3


def make_batch():
    rng = np.random.default_rng(3)
    shape = (4, LENGTH)
    mask = (rng.random(shape) < 0.4).astype(np.int32)
    return {"tokens": rng.integers(5, VOCABULARY, shape).astype(np.int32), "types": np.zeros(shape, np.int32),
            "labels": np.where(mask == 1, rng.integers(5, VOCABULARY, shape), -1).astype(np.int32), "loss_mask": mask,
            "padding_mask": np.ones(shape, np.int32), "is_random": rng.integers(0, 2, 4).astype(np.int32)}


class Runs:
    def __init__(self, folder, sp):
        self.folder, self.sp = folder, sp
        self.model = os.path.join(folder, "model.mlir")
        subprocess.run(["seqpar-model", "--layers=2", "--hidden=32", "--heads=2", "--ffn=48", f"--vocab={VOCABULARY}",
                        f"--max-seq-length={LENGTH}", "--norm=pre", "--gelu=tanh", "-o", self.model], check=True)
        # The same batch in each step: what differs is what is dropped.
        self.batches = os.path.join(folder, "batches.safetensors")
        save(self.batches, {f"batch.{step}.{name}": value for step in range(2) for name, value in make_batch().items()})

    def initialise(self, path):
        subprocess.run(["seqpar-run", self.model, f"--batch-from={self.batches}", "--steps=0", "--seed=1",
                        f"--save-parameters={path}"], check=True, stdout=subprocess.DEVNULL, timeout=300)

    def run(self, *options):
        log = os.path.join(self.folder, "log.jsonl")
        subprocess.run(["seqpar-run", self.model, f"--sp={self.sp}", f"--log={log}",
                        *(options if any(o.startswith("--lr=") for o in options) else ("--lr=0", *options))], check=True,
                       stdout=subprocess.DEVNULL, timeout=300)
        with open(log) as f:
            return [json.loads(line) for line in f]

    def losses(self, parameters=None, rate=RATE, seed=1, *options):
        if parameters is not None:
            path = os.path.join(self.folder, "parameters.safetensors")
            save(path, parameters)
            options = (*options, f"--init-from={path}")
        log = self.run(f"--batch-from={self.batches}", "--steps=2", f"--dropout={rate}", f"--seed={seed}", *options)
        return [step["loss"] for step in log]


def check_slope(runs):
    first = os.path.join(runs.folder, "first.safetensors")
    gradients = os.path.join(runs.folder, "gradients.safetensors")
    runs.initialise(first)
    start = {name: value.astype(np.float32) for name, value in load(first).items()}
    # Larger weights than those of an untrained model, so that every part matters.
    start = {name: value * 4 if value.ndim == 2 else value for name, value in start.items()}
    losses = runs.losses(start, RATE, 1, f"--save-gradients={gradients}")
    gradient = without_prefix(load(gradients), "grad.")
    square = sum(float((value.astype(np.float64) ** 2).sum()) for value in gradient.values())
    epsilon = 0.005 / square ** 0.5
    moved = [runs.losses({name: (value + sign * epsilon * gradient[name]).astype(np.float32)
                          for name, value in start.items()})[0] for sign in (1, -1)]
    slope = (moved[0] - moved[1]) / (2 * epsilon)
    print(f"slope {slope:.6f}, gradient squared {square:.6f}")
    assert abs(slope / square - 1) < 1e-3
    other = runs.losses(start, RATE, 2)
    plain = runs.losses(start, 0)
    print(f"losses {losses}, of another seed {other}, without dropout {plain}")
    assert plain[0] == plain[1]
    assert len({round(loss, 4) for loss in losses + other + plain[:1]}) == 5
    assert runs.losses(start) == losses


def check_evaluation(runs):
    def valid(rate, seed):
        init = os.path.join(runs.folder, "first.safetensors")
        log = runs.run("--data=synthetic", "--steps=2", f"--seed={seed}", f"--dropout={rate}", "--eval-interval=1",
                       "--eval-iters=2", f"--seq-length={LENGTH}", f"--init-from={init}")
        return [step["valid_loss"] for step in log], [step["loss"] for step in log]
    (with_dropout, trained), (without, trained_without) = valid(RATE, 1), valid(0, 1)
    print(f"valid losses {with_dropout} with dropout, {without} without")
    assert with_dropout == without and trained != trained_without


def check_resumption(runs):
    """A run that goes on after step 2 drops what an uninterrupted one drops in steps 3 and 4."""
    checkpoint = os.path.join(runs.folder, "checkpoint")

    def losses(*options):
        return [step["loss"] for step in runs.run("--data=synthetic", "--lr=0.01", "--decay-style=constant", "--warmup=0",
                                                  f"--dropout={RATE}", f"--seq-length={LENGTH}", *options)]
    whole = losses("--steps=4")
    first = losses("--steps=2", f"--save={checkpoint}")
    rest = losses("--steps=4", f"--load={checkpoint}")[-2:]
    print(f"losses {whole}, in two runs {first + rest}")
    assert whole == first + rest


def main():
    with tempfile.TemporaryDirectory() as folder:
        runs = Runs(folder, sys.argv[1])
        check_slope(runs)
        check_evaluation(runs)
        check_resumption(runs)


main()
