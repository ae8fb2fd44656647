"""Trains a case of test/golden/model and compares with the vectors of the PyTorch program that made it.

    oracle.py CASE SP[,DP[,MICRO_BATCH[,PP]]]... [-- OPTION...]

Losses, gradient norms and learning rates of every step and the first gradients within 2e-5, final parameters within
1e-4 of a tensor's largest magnitude; the key bias, whose gradient is rounding, within the sum of the learning rates.
With `-- --dtype=bf16` within 1.5 times what the PyTorch program itself is off when it computes in bf16 with fp32 parameters
(test/golden/bf16.json, the worst of all cases and steps). With `-- --device=cuda` the program is one for CUDA, whose
products have epilogues, and runs on the CPU.
"""
import json
import os
import subprocess
import sys
import tempfile

import numpy as np

from tensors import gradient_scale, load, magnitude, save, with_prefix, without_prefix, worst_error

GOLDEN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "golden", "model")
TOLERANCE = 2e-5
KEYS = ("loss", "mlm_loss", "sop_loss", "grad_norm", "lr")


def make_model(config, path):
    names = {"layers": "layers", "hidden": "hidden", "heads": "heads", "ffn": "ffn", "vocab": "vocab",
             "max-seq-length": "seq", "norm": "norm", "gelu": "gelu", "eps": "eps"}
    command = ["seqpar-model"] + [f"--{option}={config[key]}" for option, key in names.items()]
    if not config["binary_head"]:
        command.append("--no-binary-head")
    subprocess.run(command + ["-o", path], check=True)


def train(config, model, inputs, grid, folder, extra):
    numbers = grid.split(",")
    sp, dp, micro_batch, pp = numbers + ["1", "", "1"][len(numbers) - 1:]
    batches = f"--batch-from={inputs}"
    compile_options = [f"--sp={sp}", f"--dp={dp}", f"--pp={pp}"] + extra
    if micro_batch:
        compile_options.append(f"--micro-batch={micro_batch}")
    if "--device=cuda" in extra:
        program = f"{folder}/cuda.program"
        run_tool([model, batches, "--steps=0", f"--emit-program={program}"] + compile_options)
        model, compile_options = program, ["--device=cpu"]
    run_tool([model, batches, f"--init-from={inputs}", f"--steps={config['steps']}", f"--lr={config['lr']}",
              f"--min-lr={config['min_lr']}", f"--warmup={config['warmup']}", f"--decay={config['decay']}",
              f"--clip={config['clip']}", f"--weight-decay={config['wd']}",
              f"--save-gradients={folder}/gradients.safetensors", f"--save-parameters={folder}/parameters.safetensors",
              f"--log={folder}/log.jsonl"] + compile_options)


def run_tool(arguments):
    subprocess.run(["seqpar-run"] + arguments, check=True, stdout=subprocess.DEVNULL, timeout=300)


def bounds_of(options):
    """The tolerance for each kind of number. In bf16 single final parameters may be anywhere that Adam can move them to,
    since it makes whole steps of rounding; their root mean square over a tensor may not."""
    if "--dtype=bf16" not in options:
        return {**dict.fromkeys(KEYS, TOLERANCE), "gradient": TOLERANCE, "final": 1e-4}
    with open(os.path.join(GOLDEN, "..", "bf16.json")) as f:
        off = json.load(f)
    return {**{key: 1.5 * value for key, value in off.items()}, "lr": TOLERANCE, "final": None, "rms": 0.05}


def compare(reference, vectors, folder, bounds):
    """The worst errors over their tolerances, as (ratio, what)."""
    errors = []
    with open(f"{folder}/log.jsonl") as f:
        log = [json.loads(line) for line in f]
    for key in KEYS:
        if len(log) != len(reference[key]):
            return [(float("inf"), f"{len(log)} steps in the log")]
        error = max(abs(step[key] - want) / max(abs(want), 1e-3) for step, want in zip(log, reference[key]))
        errors.append((error / bounds[key], key))
    gradients = with_prefix(vectors, "grad.")
    found = without_prefix(load(f"{folder}/gradients.safetensors"), "grad.")
    error, name = worst_error(found, gradients, gradient_scale(gradients))
    errors.append((error / bounds["gradient"], f"gradient of {name}"))
    moved = sum(reference["lr"])
    found, finals = without_prefix(load(f"{folder}/parameters.safetensors"), "param."), with_prefix(vectors, "final.")
    error, name = worst_error(found, finals,
                              lambda name, value: moved if name.endswith("key.bias") or not bounds["final"]
                              else bounds["final"] * magnitude(value))
    errors.append((error, f"final {name}"))
    if "rms" in bounds:
        errors += [(float(np.sqrt(np.mean((found[name] - value) ** 2))) / (bounds["rms"] * moved), f"all of final {name}")
                   for name, value in finals.items() if not name.endswith("key.bias")]
    return errors


def main():
    case, rest = sys.argv[1], sys.argv[2:]
    split = rest.index("--") if "--" in rest else len(rest)
    grids, extra = rest[:split], rest[split + 1:]
    with open(os.path.join(GOLDEN, case + ".json")) as f:
        reference = json.load(f)
    vectors = load(os.path.join(GOLDEN, case + ".safetensors"))
    failed = False
    for grid in grids:
        with tempfile.TemporaryDirectory() as folder:
            model, inputs = os.path.join(folder, "model.mlir"), os.path.join(folder, "inputs.safetensors")
            make_model(reference["config"], model)
            # The program sees no answers.
            save(inputs, {name: value for name, value in vectors.items() if name.startswith(("param.", "batch."))})
            train(reference["config"], model, inputs, grid, folder, extra)
            ratio, what = max(compare(reference, vectors, folder, bounds_of(extra)))
        verdict = "ok" if ratio <= 1 else "wrong"
        failed |= ratio > 1
        print(f"{case} grid {grid}: {verdict}, worst {what} at {ratio:.2f} of its tolerance")
    return 1 if failed or not grids else 0


sys.exit(main())
