#!/usr/bin/env python3
"""Pipelines by counting, from compiled plans; nothing is trained.

    bench/pipeline.py [--model=bert-base] [--seq=128]

Prints JSON lines.
  bubble      idle share of all stages in a step of m micro-batches on p stages, when the turns of the plan's order are run
              as soon as what they need is there; a forward part takes a third of the stage's cost, a backward part the
              rest. `equal`: with stages of equal cost, against (p - 1) / (m + p - 1). `ratio` is that formula's over what
              was counted with the costs of the real stages, `balance` the mean cost of a stage over the largest.
  live        micro-batches between forward and backward on each stage, against min(m, p - s) for 1f1b and m for gpipe;
              arena of the first stage over its lower bound
  bytes       what a rank sends in a micro-batch around the ring and to other stages, against the formulas: per layer
              forward 2, backward 4 units of (S - 1) B L/S H elements; one unit of B L/S H over each cut and back
"""
import argparse
import json
import os
import re
import subprocess

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
RUN = os.path.join(ROOT, "build", "bin", "seqpar-run")
STAGE = re.compile(r"plan\.stage (\d+)(?: slots (\d+))?(?: order \[([^\]]*)\])?(?: attributes \{([^}]*)\})? \{")
MEMORY = re.compile(r"memref<((?:\d+x)*)(f32|i32|f64)>")


def compile_plan(options, p, m, sp=1, schedule="1f1b", micro_batch=1):
    command = [RUN, os.path.join(ROOT, "models", options.model + ".mlir"), f"--pp={p}", f"--sp={sp}", f"--schedule={schedule}",
               f"--micro-batch={micro_batch}", f"--global-batch={micro_batch * m}", f"--seq-length={options.seq}",
               "--compile-to=plan"]
    text = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    heads = list(STAGE.finditer(text))
    stages = []
    for head, end in zip(heads, [h.start() for h in heads[1:]] + [len(text)]):
        numbers = {k: int(v) for k, v in re.findall(r"(\w+) = (\d+) : i64", head[4] or "")}
        order = [(turn[0] == "B", int(turn[1:])) for turn in (head[3] or "").split(", ") if turn]
        stages.append({"order": order, "slots": int(head[2] or 1), "text": text[head.end():end], **numbers})
    return stages


def make_span(orders, costs):
    """When the last turn ends, with every turn as early as its order and its neighbours allow."""
    p, done, clock, next_turn = len(orders), {}, [0.0] * len(orders), [0] * len(orders)
    moved = True
    while moved:
        moved = False
        for s in range(p):
            while next_turn[s] < len(orders[s]):
                backward, i = orders[s][next_turn[s]]
                needs = (s + 1, True, i) if backward else (s - 1, False, i)
                if 0 <= needs[0] < p and needs not in done:
                    break
                begin = max(clock[s], done.get(needs, 0.0))
                clock[s] = done[(s, backward, i)] = begin + costs[s] * (2 / 3 if backward else 1 / 3)
                next_turn[s] += 1
                moved = True
    assert all(n == len(order) for n, order in zip(next_turn, orders)), "the order comes to a stop"
    return max(clock)


def bubble(orders, costs, m):
    span = make_span(orders, costs)
    return 1 - m * sum(costs) / (len(costs) * span)


def report_bubble(options):
    for schedule in ("1f1b", "gpipe"):
        for p in (2, 4, 8):
            for m in (4, 8, 16, 32):
                stages = compile_plan(options, p, m, schedule=schedule)
                orders, costs = [s["order"] for s in stages], [s["cost"] for s in stages]
                formula = (p - 1) / (m + p - 1)
                counted = bubble(orders, costs, m)
                live = [s["slots"] for s in stages]
                print(json.dumps({"bench": "bubble", "schedule": schedule, "p": p, "m": m, "formula": round(formula, 4),
                                  "equal": round(bubble(orders, [1.0] * p, m), 4), "counted": round(counted, 4),
                                  "ratio": round(formula / counted, 3),
                                  "balance": round(sum(costs) / p / max(costs), 3)}))
                theory = [min(m, p - s) if schedule == "1f1b" else m for s in range(p)]
                print(json.dumps({"bench": "live", "schedule": schedule, "p": p, "m": m, "live": live, "theory": theory,
                                  "arena_ratio": round(stages[0]["arena_bytes"] / stages[0]["arena_lower_bound"], 4)}),
                      flush=True)


def bytes_of(types):
    total = 0
    for extents, element in MEMORY.findall(types):
        size = 8 if element == "f64" else 4
        for extent in extents.split("x")[:-1]:
            size *= int(extent)
        total += size
    return total


def count_bytes(text, sp):
    """Bytes that a rank sends in one micro-batch: around the ring, and to other stages."""
    ring = other = depth = 0
    for line in text[:text.index("plan.update")].splitlines():
        if "sp.ring_loop" in line:
            depth = len(line) - len(line.lstrip())
        elif depth and line == " " * depth + "}":
            depth = 0
        times = 1
        if "sp.ring_shift_start" in line:
            if depth:
                times = sp - 2 if "skip_last" in line else sp - 1
            ring += times * bytes_of(line.split(" : ")[-1])
        elif "sp.send" in line:
            other += bytes_of(line)
    return ring, other


def report_bytes(options):
    for p, sp in ((1, 2), (1, 4), (1, 8), (2, 1), (2, 4), (4, 2)):
        stages = compile_plan(options, p, 4, sp=sp)
        text = "".join(s["text"] for s in stages)
        layers = len(re.findall(r"sp\.attention_block own", text))
        hidden = bytes_of(re.search(r"attention\.dq\"\} : (memref<[^>]*>)", text)[1])
        ring = other = 0
        for s in stages:
            a, b = count_bytes(s["text"], sp)
            ring, other = ring + a, other + b
        for name, found, formula in (("ring", ring, layers * 6 * (sp - 1) * hidden), ("stages", other, 2 * (p - 1) * hidden)):
            if formula or found:
                print(json.dumps({"bench": "bytes", "what": name, "p": p, "sp": sp, "bytes": found, "formula": formula,
                                  "ratio": round(formula / found, 4) if found else None}), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="bert-base")
    parser.add_argument("--seq", type=int, default=128)
    options = parser.parse_args()
    report_bubble(options)
    report_bytes(options)


if __name__ == "__main__":
    main()
