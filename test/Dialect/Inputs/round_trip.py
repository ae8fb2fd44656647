"""Each file named, read back from the custom and the generic assembly and from bytecode, must print as it is."""
import subprocess
import sys


def print_again(text, *options):
    return subprocess.run(["seqpar-opt", *options], input=text, stdout=subprocess.PIPE, check=True).stdout


def main():
    bad = []
    for path in sys.argv[1:]:
        with open(path, "rb") as f:
            text = f.read().rstrip()
        for way in ([], ["--mlir-print-op-generic"], ["--emit-bytecode"]):
            between = print_again(text, *way) if way else text
            if print_again(between).rstrip() != text:
                bad.append(f"{path} by {way or 'its own assembly'} reads back differently")
    print("\n".join(bad) if bad else f"{len(sys.argv) - 1} files")
    return 1 if bad or len(sys.argv) < 2 else 0


sys.exit(main())
