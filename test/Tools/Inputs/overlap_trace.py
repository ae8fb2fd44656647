"""Prints a trace for bench-overlap.test."""
import json

EVENTS = [("compute", 0, "gemm", 50, 60), ("compute", 0, "waiting", 110, 20), ("compute", 0, "attention", 240, 40),
          ("exchange", 1, "exchange", 0, 100), ("exchange", 2, "exchange", 60, 20), ("exchange", 1, "exchange", 200, 50),
          ("exchange", 1, "collective", 300, 30)]
print(json.dumps({"traceEvents": [{"ph": "M", "name": "process_name", "pid": 0, "tid": 0, "args": {"name": "rank 0"}}] + [
    {"ph": "X", "name": name, "cat": category, "pid": 0, "tid": row, "ts": begin, "dur": length}
    for name, row, category, begin, length in EVENTS]}))
