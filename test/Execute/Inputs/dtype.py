"""Trains a small model with activations of 16 bits on several grids, and compares with one rank and with fp32.

    dtype.py DTYPE GRID... [-- OPTION...]        a grid is SP[,DP[,MICRO_BATCH[,PP]]]

A number is rounded to within UNIT of itself. Gradients of a whole model pass through some tens of roundings, of which most
cancel: their error is a few units of a tensor's largest magnitude. What is wrong by a scale or a missing term is off by
far more than the bounds.
"""
import json
import os
import subprocess
import sys
import tempfile

from tensors import gradient_scale, load, without_prefix, worst_error

UNIT = {"bf16": 2.0 ** -8, "fp16": 2.0 ** -11}
# In units: losses and the norm, which average; gradients, element by element.
LOSS, GRADIENT = 1, 8
STEPS = 3


def train(folder, model, dtype, grid, extra):
    numbers = grid.split(",")
    sp, dp, micro_batch, pp = numbers + ["1", "", "1"][len(numbers) - 1:]
    micro_batch = micro_batch or str(8 // int(dp))
    log = f"{folder}/log.jsonl"
    command = ["seqpar-run", model, f"--dtype={dtype}", f"--sp={sp}", f"--dp={dp}", f"--pp={pp}", "--data=synthetic",
               "--seq-length=61", f"--micro-batch={micro_batch}", "--global-batch=8", f"--steps={STEPS}", "--lr=1e-3",
               "--warmup=0", "--decay=10", "--seed=5", f"--save-gradients={folder}/gradients", f"--log={log}"] + extra
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=300)
    with open(log) as f:
        lines = [json.loads(line) for line in f]
    return lines, without_prefix(load(f"{folder}/gradients"), "grad.")


def compare(found, wanted, unit):
    """The largest error as a share of what is allowed, and of what."""
    errors = [(max(abs(a[key] - b[key]) / abs(b[key]) for a, b in zip(found[0], wanted[0])) / (LOSS * unit), key)
              for key in ("loss", "mlm_loss", "sop_loss", "grad_norm")]
    error, name = worst_error(found[1], wanted[1], gradient_scale(wanted[1]))
    return max(errors + [(error / (GRADIENT * unit), f"gradient of {name}")])


def main():
    dtype, rest = sys.argv[1], sys.argv[2:]
    split = rest.index("--") if "--" in rest else len(rest)
    grids, extra = rest[:split], rest[split + 1:]
    failed, one = False, None
    with tempfile.TemporaryDirectory() as folder:
        model = os.path.join(folder, "model.mlir")
        subprocess.run(["seqpar-model", "--layers=2", "--hidden=32", "--heads=2", "--ffn=48", "--vocab=64",
                        "--max-seq-length=61", "--norm=pre", "--gelu=tanh", "-o", model], check=True)
        fp32 = train(folder, model, "fp32", grids[0], extra)
        for grid in grids:
            found = train(folder, model, dtype, grid, extra)
            for name, wanted in (("fp32", fp32), (f"grid {grids[0]}", one)):
                if not wanted:
                    continue
                error, what = compare(found, wanted, UNIT[dtype])
                failed |= not error <= 1
                print(f"{dtype} grid {grid} and {name}: {'ok' if error <= 1 else 'wrong'}, worst {what} at {error:.2f} "
                      "of the bound")
            if one is None:
                one = found
                if compare(found, fp32, UNIT[dtype])[0] < 1e-3:
                    print(f"{dtype} computes what fp32 does")
                    return 1
    return 1 if failed or len(grids) < 2 else 0


sys.exit(main())
