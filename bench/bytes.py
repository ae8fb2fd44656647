#!/usr/bin/env python3
"""Bytes that the ranks of bert-tiny send in a step, by kind, against the formulas.

    bench/bytes.py [--seq=128] [--batch=8] [--micro-batches=2]

Runs one step and two steps on several grids D x P x S and prints, for each kind of exchange, what the ranks together
send in the second, the formula's figure and their ratio. In bytes, for m micro-batches of B samples on each replica:

  ring_shift      forward K and V, backward K, V, dK, dV, S - 1 times each: 6 (S - 1) B C H a layer, C = ceil(L / S)
  point_to_point  over each cut an activation and a gradient of B C H; the tied embedding's shards between its two stages
  reduce_scatter  the gradients of a rank's stage, once a step
  all_gather      a rank's share of its stage's parameters, once a step
  all_reduce      the first token of each sample for the pooler, B H; the gradients behind it over replicas; scalars

Ranges of parameters are padded to whole rows of every rank, so the last three may be a little above the formula.
"""
import argparse
import json
import os
import subprocess
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
RUN = os.path.join(ROOT, "build", "bin", "seqpar-run")
LAYERS, HIDDEN, FFN, VOCABULARY, POSITIONS = 2, 128, 512, 30592, 512
GRIDS = [(1, 1, 1), (1, 1, 2), (1, 1, 8), (2, 1, 1), (2, 1, 2), (1, 2, 1), (1, 2, 2), (2, 2, 2)]  # D, P, S


def parameters():
    """Elements reduced over all ranks of a stage, and those behind the pooler, which are the same for all chunks."""
    layer = 4 * HIDDEN * (HIDDEN + 1) + HIDDEN * FFN + FFN + FFN * HIDDEN + HIDDEN + 4 * HIDDEN
    embeddings = (VOCABULARY + POSITIONS + 2) * HIDDEN
    head = HIDDEN * (HIDDEN + 1) + 2 * HIDDEN + VOCABULARY
    pooler = HIDDEN * (HIDDEN + 1) + 2 * HIDDEN + 2
    return embeddings + LAYERS * layer + head + 2 * HIDDEN, pooler  # and the last layer norm


def formulas(grid, options):
    d, p, s = grid
    m, samples = options.micro_batches, options.batch // d // options.micro_batches
    unit = 4 * samples * -(-options.seq // s) * HIDDEN
    summed, pooler = parameters()
    tied = VOCABULARY * HIDDEN
    held = summed + (tied if p > 1 else 0)
    if s == 1:
        held, pooler = held + pooler, 0
    group = d * s
    return {
        "ring_shift": group * m * LAYERS * 6 * (s - 1) * unit,
        "point_to_point": group * m * (p - 1) * 2 * unit + (2 * 4 * tied if p > 1 else 0),
        "reduce_scatter": group * 4 * held if group > 1 else 0,
        "all_gather": 4 * (held + pooler) if group > 1 else 0,
        "all_reduce": (group * m * 4 * samples * HIDDEN if s > 1 else 0) + (group * 4 * pooler if d > 1 else 0),
    }


def sent(folder, grid, options, steps):
    d, p, s = grid
    profile = os.path.join(folder, "profile.json")
    subprocess.run([RUN, os.path.join(ROOT, "models", "bert-tiny.mlir"), f"--dp={d}", f"--pp={p}", f"--sp={s}",
                    f"--seq-length={options.seq}", f"--global-batch={options.batch}",
                    f"--micro-batch={options.batch // d // options.micro_batches}", "--data=synthetic",
                    f"--steps={steps}", f"--profile={profile}"], check=True, stdout=subprocess.DEVNULL)
    with open(profile) as file:
        ranks = json.load(file)["ranks"]
    return {kind: sum(rank[f"{kind}_bytes"] for rank in ranks) for kind in formulas(grid, options)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seq", type=int, default=128)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--micro-batches", type=int, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for grid in GRIDS:
            one, two = (sent(folder, grid, options, steps) for steps in (1, 2))
            for kind, formula in formulas(grid, options).items():
                found = two[kind] - one[kind]
                record = {"bench": "bytes", "model": "bert-tiny", "dp": grid[0], "pp": grid[1], "sp": grid[2],
                          "kind": kind, "bytes": found, "formula": formula}
                if formula:
                    record["ratio"] = round(found / formula, 4)
                print(json.dumps(record), flush=True)


if __name__ == "__main__":
    main()
