"""Bytes that the ranks of a small model send, against the formulas: bytes.py LENGTH SP...

Units are elements of one chunk of keys: B * C * A, with B samples, C = ceil(L / P) positions and A features.

  ring shifts     forward K and V, backward K, V, dK and dV, each P - 1 times: 6 (P - 1) units a layer (Li et al. 2023:
                  8 at most)
  all-gather of keys and values instead of a ring: forward K and V, backward K and V, then dK and dV are summed to whom
                  they belong: 4 units sent for gathering, 2 P for summing
  first token     B * A elements a micro-batch, summed over the ranks
  gradients       every element once a step, and padding
"""
import json
import os
import subprocess
import sys
import tempfile

import numpy as np

from tensors import load

LAYERS, HIDDEN, BATCH = 3, 32, 2


class Runs:
    def __init__(self, folder, length):
        self.folder, self.length = folder, length
        self.model = os.path.join(folder, "model.mlir")
        subprocess.run(["seqpar-model", f"--layers={LAYERS}", f"--hidden={HIDDEN}", "--heads=2", "--ffn=48", "--vocab=64",
                        f"--max-seq-length={length}", "--norm=pre", "--gelu=tanh", "-o", self.model], check=True)

    def sent(self, sp, micro_batches, steps, *options):
        """Of each kind, what every rank has sent, which must be the same for all."""
        profile = os.path.join(self.folder, "profile.json")
        subprocess.run(["seqpar-run", self.model, f"--sp={sp}", f"--micro-batch={BATCH}",
                        f"--global-batch={BATCH * micro_batches}", f"--seq-length={self.length}", "--data=synthetic",
                        f"--steps={steps}", f"--profile={profile}", *options], check=True, stdout=subprocess.DEVNULL,
                       timeout=300)
        with open(profile) as f:
            ranks = json.load(f)["ranks"]
        kinds = [{name: rank[name] for name in rank if name.endswith("_bytes")} for rank in ranks]
        assert len(kinds) == sp and all(kind == kinds[0] for kind in kinds), kinds
        return kinds[0]

    def gradient_bytes(self):
        path = os.path.join(self.folder, "parameters.safetensors")
        subprocess.run(["seqpar-run", self.model, f"--seq-length={self.length}", "--steps=0",
                        f"--save-parameters={path}"], check=True, stdout=subprocess.DEVNULL)
        return 4 * sum(int(np.prod(value.shape)) for value in load(path).values())


def difference(more, less):
    return {kind: more[kind] - less[kind] for kind in more}


def check(runs, sp):
    one, two, both = runs.sent(sp, 1, 1), runs.sent(sp, 2, 1), runs.sent(sp, 1, 2)
    unit = 4 * BATCH * -(-runs.length // sp) * HIDDEN
    ring = LAYERS * 6 * (sp - 1) * unit
    first_token = 4 * BATCH * HIDDEN if sp > 1 else 0
    micro_batch, step = difference(two, one), difference(both, one)
    print(f"sp {sp}: ring shifts {one['ring_shift_bytes']}, formula {ring}; a micro-batch more {micro_batch}, a step {step}")
    assert one["ring_shift_bytes"] == micro_batch["ring_shift_bytes"] == step["ring_shift_bytes"] == ring
    assert micro_batch["all_reduce_bytes"] == first_token
    assert micro_batch["all_gather_bytes"] == micro_batch["reduce_scatter_bytes"] == 0
    reduced = step["all_reduce_bytes"] + step["reduce_scatter_bytes"] - first_token
    gradients = runs.gradient_bytes() if sp > 1 else 0
    assert gradients <= reduced <= 1.75 * gradients, (reduced, gradients)
    assert step["all_gather_bytes"] <= 1.75 * gradients / sp
    if sp == 1:
        assert not any(step.values())
        return
    gathered = difference(runs.sent(sp, 2, 1, "--attention=all-gather"), runs.sent(sp, 1, 1, "--attention=all-gather"))
    print(f"sp {sp}: with gathered keys, a micro-batch more {gathered}")
    assert gathered["ring_shift_bytes"] == 0
    assert gathered["all_gather_bytes"] == LAYERS * 4 * unit
    assert gathered["reduce_scatter_bytes"] == LAYERS * 2 * sp * unit


def main():
    with tempfile.TemporaryDirectory() as folder:
        runs = Runs(folder, int(sys.argv[1]))
        for sp in sys.argv[2:]:
            check(runs, int(sp))


main()
