"""Runs the test suites of a finished build and prints one total.

Suites: layering, unit (GoogleTest programs in build/test/unit), lit, sanitizer. The last line is
"N passed, N failed[, N skipped]"; the exit status is 0 only when nothing failed and something passed.
"""
import json
import os
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
LIT = "/usr/lib/llvm-22/bin/lit"


class Total:
    def __init__(self):
        self.passed = self.failed = self.skipped = 0
        self.names = []

    def add(self, passed, skipped=0):
        self.passed += passed
        self.skipped += skipped

    def fail(self, name):
        """Told again at the end, where the reader of a long log looks."""
        self.failed += 1
        self.names.append(name)


def run_unit(total, build="build", only=None, environment=None):
    """Every GoogleTest program of a build, or those named."""
    directory = os.path.join(ROOT, build, "test", "unit")
    programs = sorted(os.listdir(directory)) if os.path.isdir(directory) else []
    programs = [program for program in programs if not program.endswith(".so")]
    for program in programs:
        path = os.path.join(directory, program)
        if not os.access(path, os.X_OK) or os.path.isdir(path) or (only and program not in only):
            continue
        with tempfile.TemporaryDirectory() as scratch:
            report = os.path.join(scratch, "report.json")
            result = subprocess.run([path, f"--gtest_output=json:{report}", "--gtest_brief=1"],
                                    cwd=scratch, env=dict(os.environ, **(environment or {})))
            if not os.path.exists(report):
                total.fail(f"{build}/{program}: no report, exit status {result.returncode}")
                continue
            with open(report) as f:
                data = json.load(f)
        cases = [case for suite in data["testsuites"] for case in suite["testsuite"]]
        skipped = sum(case["result"] == "SKIPPED" for case in cases)
        failed = [f"{case['classname']}.{case['name']}" for case in cases if case.get("failures")]
        if result.returncode != 0 and not failed:
            failed = [f"exit status {result.returncode}"]
        for name in failed:
            total.fail(f"{build}/{program}: {name}")
        total.add(max(0, len(cases) - skipped - len(failed)), skipped)
        print(f"{build}/{program}: {len(cases)} tests, {len(failed)} failed")


def run_lit(total):
    with tempfile.TemporaryDirectory() as scratch:
        report = os.path.join(scratch, "report.json")
        subprocess.run([sys.executable, LIT, "-sv", "-o", report, os.path.join(ROOT, "build", "test")])
        if not os.path.exists(report):
            total.fail("lit: no report")
            return
        with open(report) as f:
            tests = json.load(f)["tests"]
    good = sum(test["code"] in ("PASS", "FLAKYPASS") for test in tests)
    skipped = sum(test["code"] in ("UNSUPPORTED", "SKIPPED") for test in tests)
    for test in tests:
        if test["code"] not in ("PASS", "FLAKYPASS", "UNSUPPORTED", "SKIPPED"):
            total.fail(f"lit: {test['code']}: {test['name']}")
    total.add(good, skipped)
    print(f"lit: {len(tests)} tests, {len(tests) - good - skipped} failed")


def run_layering(total):
    script = os.path.join(ROOT, "tools", "dev", "check_layering.py")
    if subprocess.run([sys.executable, script]).returncode != 0:
        total.fail("layering")
    else:
        total.add(1)


def run_sanitizer(total):
    """A short run of the runtime's tests under ASan+UBSan and TSan."""
    for preset in ("asan-runtime", "tsan"):
        built = subprocess.run([os.path.join(ROOT, "tools", "dev", "build"), preset])
        if built.returncode != 0:
            total.fail(f"{preset}: does not build")
            continue
        run_unit(total, f"build-{preset}")


SUITES = {"layering": run_layering, "unit": run_unit, "lit": run_lit, "sanitizer": run_sanitizer}


def main():
    wanted = sys.argv[1:] or list(SUITES)
    unknown = [name for name in wanted if name not in SUITES]
    if unknown:
        print(f"check: error: unknown suite '{unknown[0]}'; known: {', '.join(SUITES)}", file=sys.stderr)
        return 2
    total = Total()
    for name in wanted:
        print(f"== {name}", flush=True)
        start = time.monotonic()
        SUITES[name](total)
        print(f"== {name}: {time.monotonic() - start:.0f} s", flush=True)
    for name in total.names:
        print(f"failed: {name}")
    tail = f", {total.skipped} skipped" if total.skipped else ""
    print(f"{total.passed} passed, {total.failed} failed{tail}")
    return 0 if total.failed == 0 and total.passed > 0 else 1


sys.exit(main())
