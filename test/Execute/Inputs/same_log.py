"""Compares the numbers of the steps that two logs have in common, evaluations included.

    same_log.py LOG LOG
"""
import json
import sys

TOLERANCE = 2e-5


def load(path):
    with open(path) as f:
        return {line["step"]: line for line in map(json.loads, f)}


def main():
    first, second = load(sys.argv[1]), load(sys.argv[2])
    steps = sorted(first.keys() & second.keys())
    worst, compared = (0.0, "nothing"), 0
    for step in steps:
        names = {name for name in first[step] if "loss" in name or name == "grad_norm"}
        if names != {name for name in second[step] if "loss" in name or name == "grad_norm"}:
            print(f"step {step} has other numbers: {first[step]} and {second[step]}")
            return 1
        for name in names:
            a, b = first[step][name], second[step][name]
            worst = max(worst, (abs(a - b) / max(abs(a), 1e-3), f"{name} of step {step}"))
            compared += 1
    print(f"{compared} numbers, worst {worst[1]}: {worst[0]:.2e}")
    return 0 if compared > 0 and worst[0] <= TOLERANCE else 1


sys.exit(main())
