"""The runtime and the program's schema must not include a header of MLIR, LLVM or the compiler, and no file of the
compiler library may include a runtime header. Prints each violation; exit status 1 if there is one."""
import os
import re
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
COMPILER = re.compile(r'#\s*include\s*[<"](mlir|mlir-c|llvm|llvm-c|clang|lld)/|'
                      r'#\s*include\s*[<"]seqpar/(Dialect|Interfaces|Transforms|Pipelines|Target)/')
RUNTIME = re.compile(r'#\s*include\s*[<"]seqpar/rt/')
RULES = [("runtime", COMPILER), ("program", COMPILER), ("tools/seqpar-exec", COMPILER),
         ("tools/seqpar-data", COMPILER), ("lib", RUNTIME), ("include", RUNTIME)]
ENDINGS = (".h", ".cpp", ".cu", ".cuh", ".fbs", ".td")


def main():
    checked, bad = 0, 0
    for folder, forbidden in RULES:
        for path, _, names in os.walk(os.path.join(ROOT, folder)):
            for name in sorted(names):
                if not name.endswith(ENDINGS):
                    continue
                checked += 1
                with open(os.path.join(path, name), encoding="utf-8") as f:
                    for number, line in enumerate(f, 1):
                        if forbidden.search(line):
                            bad += 1
                            where = os.path.relpath(os.path.join(path, name), ROOT)
                            print(f"{where}:{number}: {line.strip()} crosses the layering")
    print(f"layering: {checked} files, {bad} violations")
    return 1 if bad or not checked else 0


sys.exit(main())
