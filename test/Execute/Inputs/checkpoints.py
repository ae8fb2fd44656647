"""Trains 4 steps at once, and 2 steps on one grid then 2 on another, with and without a shared update. Everything that the
last checkpoints hold (parameters and both moments) must agree; its bytes in the memory report must be those of the shares.
"""
import json
import os
import subprocess
import sys
import tempfile

from tensors import load, magnitude, worst_error

# Of a tensor's scale. AdamW makes much of rounding where a gradient is small; a lost or swapped moment is off by a factor.
TOLERANCE = 1e-3


def train(model, folder, steps, grid, load_from=None):
    command = ["seqpar-run", model, "--global-batch=8", "--data=synthetic", f"--steps={steps}", "--lr=1e-3", "--warmup=0",
               "--decay=10", "--seed=3", f"--save={folder}", f"--memory-report={folder}.json"] + grid
    if load_from:
        command.append(f"--load={load_from}")
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=300)
    with open(f"{folder}.json") as f:
        return json.load(f)["ranks"][0]


def tensors(folder, steps):
    values = load(f"{folder}/step-{steps:09}.safetensors")
    # The gradient of the key bias is rounding: Adam makes anything of it.
    return {name: value for name, value in values.items() if not name.endswith("key.bias")}


def scale(name, value):
    """Its largest magnitude. A parameter moves by about the learning rate, whatever its size (a layer norm's scale is 1)."""
    return min(magnitude(value), 0.1) if name.startswith("param.") else magnitude(value)


def main():
    whole = ["--sp=1"]
    grids = [["--sp=3", "--dp=2"], ["--sp=2", "--zero=0"], ["--dp=4", "--micro-batch=1", "--bucket-bytes=5000"]]
    failed = False
    with tempfile.TemporaryDirectory() as folder:
        model = os.path.join(folder, "model.mlir")
        subprocess.run(["seqpar-model", "--layers=2", "--hidden=64", "--heads=2", "--ffn=128", "--vocab=512",
                        "--max-seq-length=32", "--norm=pre", "--gelu=tanh", "-o", model], check=True)
        report = train(model, f"{folder}/whole", 4, whole + ["--seq-length=32"])
        wanted = tensors(f"{folder}/whole", 4)
        if not all(magnitude(value) > 0 for name, value in wanted.items() if name.startswith("moment")):
            print("a moment is zero")
            return 1
        for i, grid in enumerate(grids):
            after = grids[(i + 1) % len(grids)]
            half, rest = f"{folder}/half{i}", f"{folder}/rest{i}"
            shared = train(model, half, 2, grid + ["--seq-length=32"])
            train(model, rest, 4, after + ["--seq-length=32"], half)
            error, name = worst_error(tensors(rest, 4), wanted, scale)
            ranks = 1 if "--zero=0" in grid else 6 if "--sp=3" in grid else 4
            share = shared["optimizer_state_bytes"] / report["optimizer_state_bytes"] * ranks
            good = error <= TOLERANCE and 1 <= share < 1.5 and shared["parameters_shared"] == (ranks > 1)
            failed |= not good
            print(f"{grid} then {after}: {'ok' if good else 'wrong'}, worst {name} {error:.2e}, share {share:.2f}")
    return 1 if failed else 0


sys.exit(main())
