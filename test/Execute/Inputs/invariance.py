"""Trains one small model on batches made for trouble, on several grids, and compares each with the first.

    invariance.py LENGTH GRID GRID... [-- OPTION...]        a grid is SP[,DP[,MICRO_BATCH[,PP]]]

The batch has a sequence without a masked position, one that is all padding, one with a single real token, masked
positions only at the front (so that later ranks have none) and full sequences. A wrong scale, mask or reduction differs
by far more than the tolerance, 2e-5 of a tensor's largest magnitude.
"""
import json
import os
import subprocess
import sys
import tempfile

import numpy as np

from tensors import gradient_scale, load, magnitude, save, without_prefix, worst_error

TOLERANCE = 2e-5
VOCABULARY = 64
STEPS = 2


def make_batch(rng, length):
    batch = 8
    padding = np.ones((batch, length), np.int32)
    if length > 1:
        padding[1] = 0                      # nothing but padding
        padding[2, 1:] = 0                  # one real token
        padding[3, rng.integers(1, length):] = 0
    tokens = rng.integers(5, VOCABULARY, (batch, length)).astype(np.int32) * padding
    types = ((np.arange(length) >= length // 2)[None, :] & (padding == 1)).astype(np.int32)
    mask = np.zeros((batch, length), np.int32)
    mask[:, : max(1, length // 9)] = 1      # the last ranks have none
    mask[5] = 0                             # a sequence without one
    mask[6, :] = rng.random(length) < 0.3
    mask[7, 0] = 1
    mask *= padding
    labels = np.where(mask == 1, rng.integers(5, VOCABULARY, (batch, length)), -1).astype(np.int32)
    return {"tokens": tokens, "types": types, "labels": labels, "loss_mask": mask, "padding_mask": padding,
            "is_random": rng.integers(0, 2, batch).astype(np.int32)}


def train(folder, model, batches, grid, extra):
    numbers = grid.split(",")
    sp, dp, micro_batch, pp = numbers + ["1", "", "1"][len(numbers) - 1:]
    micro_batch = micro_batch or str(8 // int(dp))
    command = ["seqpar-run", model, f"--sp={sp}", f"--dp={dp}", f"--pp={pp}", f"--micro-batch={micro_batch}",
               f"--batch-from={batches}", f"--steps={STEPS}", "--lr=1e-3", "--warmup=0", "--decay=10", "--seed=5",
               f"--save-gradients={folder}/gradients.safetensors",
               f"--save-parameters={folder}/parameters.safetensors", f"--log={folder}/log.jsonl"] + extra
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=300)
    with open(f"{folder}/log.jsonl") as f:
        log = [json.loads(line) for line in f]
    return (log, without_prefix(load(f"{folder}/gradients.safetensors"), "grad."),
            load(f"{folder}/parameters.safetensors"))


def compare(found, wanted):
    errors = []
    for key in ("loss", "mlm_loss", "sop_loss", "grad_norm"):
        errors.append((max(abs(a[key] - b[key]) / max(abs(b[key]), 1e-3) for a, b in zip(found[0], wanted[0])), key))
    error, name = worst_error(found[1], wanted[1], gradient_scale(wanted[1]))
    errors.append((error, f"gradient of {name}"))
    # Adam moves a parameter whose gradient is rounding by up to the learning rate. One that is not updated is off by about
    # the rate, whatever its size (a layer norm's scale is 1): at least 10 times the tolerance.
    bias = {name for name in wanted[2] if name.endswith("key.bias")}
    parameters = [{k: v for k, v in side[2].items() if k not in bias} for side in (found, wanted)]
    error, name = worst_error(*parameters, lambda name, value: 50 * min(max(magnitude(value), 0.02), 0.1))
    errors.append((error, f"parameter {name}"))
    return max(errors)


def main():
    length, rest = int(sys.argv[1]), sys.argv[2:]
    split = rest.index("--") if "--" in rest else len(rest)
    grids, extra = rest[:split], rest[split + 1:]
    rng = np.random.default_rng(length)
    failed, first = False, None
    with tempfile.TemporaryDirectory() as folder:
        model, batches = os.path.join(folder, "model.mlir"), os.path.join(folder, "batches.safetensors")
        subprocess.run(["seqpar-model", "--layers=2", "--hidden=32", "--heads=2", "--ffn=48", f"--vocab={VOCABULARY}",
                        f"--max-seq-length={length}", "--norm=pre", "--gelu=tanh", "-o", model], check=True)
        save(batches, {f"batch.{step}.{name}": value for step in range(STEPS)
                       for name, value in make_batch(rng, length).items()})
        for grid in grids:
            result = train(folder, model, batches, grid, extra)
            if first is None:
                first = result
                if not result[0][0]["grad_norm"] > 0:
                    print("the first grid has no gradient")
                    return 1
                continue
            error, what = compare(result, first)
            failed |= not error <= TOLERANCE
            print(f"length {length} grid {grid}: {'ok' if error <= TOLERANCE else 'wrong'}, worst {what} {error:.2e}")
    return 1 if failed or len(grids) < 2 else 0


sys.exit(main())
