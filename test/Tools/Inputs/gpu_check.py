"""What gpu-check makes of wrong numbers and of programs that fail, without a GPU: gpu_check.py PACK."""
import array
import contextlib
import importlib.machinery
import importlib.util
import io
import json
import math
import os
import subprocess
import sys
import tempfile
import types

PACK = os.path.abspath(sys.argv[1])
sys.dont_write_bytecode = True
loader = importlib.machinery.SourceFileLoader("gpu_check", f"{PACK}/gpu-check")
gpu_check = importlib.util.module_from_spec(importlib.util.spec_from_loader("gpu_check", loader))
loader.exec_module(gpu_check)

NAME = "pre_erf_mlm"
with open(f"{PACK}/golden/{NAME}.json") as f:
    REFERENCE = json.load(f)
VECTORS = gpu_check.load(f"{PACK}/golden/{NAME}.safetensors")


def compare(change):
    """The error of a run that gave the reference's own numbers but for a change."""
    keys = ("loss", "mlm_loss", "sop_loss", "grad_norm", "lr")
    log = [{key: REFERENCE[key][i] for key in keys} for i in range(len(REFERENCE["loss"]))]
    gradients = {name: array.array("f", values) for name, values in VECTORS.items() if name.startswith("grad.")}
    parameters = {name: array.array("f", values) for name, values in gpu_check.with_prefix(VECTORS, "final.").items()}
    change(log, gradients, parameters)
    return gpu_check.Check.compare(REFERENCE, VECTORS, log, gradients, parameters, gpu_check.BOUNDS)[0]


def put(values, at, value=math.nan):
    values[at] = value


def check_numbers():
    error = compare(lambda log, gradients, parameters: None)
    assert error <= 1, error
    for name, change in {
            "loss": lambda log, gradients, parameters: put(log[-1], "loss"),
            "first gradient": lambda log, gradients, parameters: put(next(iter(gradients.values())), 0),
            "last gradient": lambda log, gradients, parameters: put(list(gradients.values())[-1], -1),
            "first parameter": lambda log, gradients, parameters: put(next(iter(parameters.values())), 0),
            "last parameter": lambda log, gradients, parameters: put(list(parameters.values())[-1], -1),
            "infinite": lambda log, gradients, parameters: put(next(iter(gradients.values())), 1, math.inf),
            "off": lambda log, gradients, parameters: put(next(iter(parameters.values())), 1, 7.0)}.items():
        error = compare(change)
        assert not error <= 1, (name, error)


def lines_of(tool):
    """What all parts report when the programs of the pack do what `tool` does."""
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()) as output:
        report = gpu_check.Report(f"{folder}/lines")
        manifest = gpu_check.read_manifest(PACK)
        check = gpu_check.Check(types.SimpleNamespace(pack=PACK), manifest, report)
        check.tool = tool
        for part in ("golden", "kernels"):
            check.attempt(part, getattr(check, part))
    return [json.loads(line) for line in output.getvalue().splitlines()], manifest


def check_failures():
    def late(name, arguments, **options):
        raise subprocess.TimeoutExpired(name, 570)

    def absent(name, arguments, **options):
        raise FileNotFoundError(name)

    def talk(name, arguments, **options):
        return types.SimpleNamespace(returncode=0, stdout="no JSON\n", stderr="")

    for tool in (late, absent, talk):
        lines, manifest = lines_of(tool)
        assert len(lines) >= 2 * len(manifest["golden"]) and all(line["ok"] is False for line in lines), lines


check_numbers()
check_failures()
