"""The arena of bert-base against the formula of Li et al. 2023, tables 1 and 2, without their L x L term."""
import json
import os
import subprocess
import sys
import tempfile

LAYERS, HIDDEN, BATCH, LENGTH = 12, 768, 16, 512


def arena(folder, ranks, recompute):
    """Its bytes, and the most that live at any time."""
    report = os.path.join(folder, "memory.json")
    subprocess.run(["seqpar-run", sys.argv[1], f"--sp={ranks}", f"--seq-length={LENGTH}", f"--global-batch={BATCH}",
                    f"--recompute={recompute}", "--steps=0", f"--memory-report={report}"], check=True)
    with open(report) as file:
        reports = json.load(file)["ranks"]
    return tuple(max(rank[name] for rank in reports) for name in ("arena_bytes", "arena_lower_bound_bytes"))


with tempfile.TemporaryDirectory() as folder:
    for ranks in (1, 4, 8):
        formula = 4 * LAYERS * 10 * BATCH * LENGTH * HIDDEN // ranks
        found, lower_bound = arena(folder, ranks, "rows")
        # Less than the formula would mean that something is missing, for the backward reads all of it.
        if not formula <= found <= 1.1 * formula:
            sys.exit(f"sp={ranks}: expected {formula} to {1.1 * formula:.0f} bytes, found {found}")
        if not lower_bound <= found <= 1.05 * lower_bound:
            sys.exit(f"sp={ranks}: expected {lower_bound} bytes and little more, found {found}")
        kept = arena(folder, ranks, "none")[0]
        if kept < 1.5 * found:
            sys.exit(f"sp={ranks}: keeping everything takes {kept} bytes, recomputing {found}")
print("every grid keeps what the formula says")
