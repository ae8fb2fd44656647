"""Bytes that the ranks of a small model send, against the formulas: bytes.py LENGTH SP...

Units are elements of one chunk of keys: B * C * A, with B samples, C = ceil(L / P) positions and A features.

  ring shifts     forward K and V, backward K, V, dK and dV, each P - 1 times: 6 (P - 1) units a layer (Li et al. 2023:
                  8 at most)
  all-gather of keys and values instead of a ring: forward K and V, backward K and V, then dK and dV are summed to whom
                  they belong: 4 units sent for gathering, 2 P for summing
  first token     B * A elements a micro-batch, summed over the ranks
  gradients       every element of the gradient segment once a step, but for those that are the same on all ranks (of the
                  pooler and what follows it)
  parameters      a rank's share of the segment once a step
"""
import json
import os
import subprocess
import sys
import tempfile

from tensors import load

LAYERS, HIDDEN, BATCH = 3, 32, 2


SHARD_COLUMNS = 512  # of a row of the shared update: SegmentLayout.h
METRICS = 3          # behind the gradients, 64 bytes each


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

    def gradient_bytes(self, sp):
        """Of the gradients that a rank holds, with the padding between them, and of those that are the same on all ranks."""
        report, path = (os.path.join(self.folder, name) for name in ("memory.json", "parameters.safetensors"))
        subprocess.run(["seqpar-run", self.model, f"--sp={sp}", f"--seq-length={self.length}", "--steps=0",
                        f"--memory-report={report}", f"--save-parameters={path}"], check=True, stdout=subprocess.DEVNULL)
        with open(report) as f:
            held = json.load(f)["ranks"][0]["gradient_bytes"] - METRICS * 64
        groups = {True: 0, False: 0}  # elements of weights, which decay, and of the rest
        for name, value in load(path).items():
            if "pooler" in name or "seq_relationship" in name:
                groups[value.ndim > 1] += round_up(value.size, 16)
        return held, 4 * sum(round_up(elements, sp * SHARD_COLUMNS) for elements in groups.values())


def round_up(value, unit):
    return -(-value // unit) * unit


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
    if sp == 1:
        assert not any(step.values())
        return
    held, same = runs.gradient_bytes(sp)
    print(f"sp {sp}: gradients {held}, of which {same} are the same on all ranks")
    assert same > 0
    assert step["reduce_scatter_bytes"] == held - same
    assert step["all_gather_bytes"] * sp == held
    assert 0 < step["all_reduce_bytes"] - first_token <= 16  # both losses and the sum of squares
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
