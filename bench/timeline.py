#!/usr/bin/env python3
"""Draws a part of a trace (seqpar-run --trace=FILE) as text.

    bench/timeline.py FILE [--begin=MS] [--end=MS] [--width=100]

Two rows for each rank: what its thread does (G products, A attention, r row kernels, f feed, x exchange, . waiting), and
what is on its way meanwhile (= exchanges that are started and waited for, - collectives). Of what falls into one column
the longest is shown. Times count from the first event.
"""
import argparse
import json

LETTERS = {"gemm": "G", "attention": "A", "row kernel": "r", "feed": "f", "exchange": "x", "waiting": ".",
           "collective": "-"}


def draw(events, begin, column, width):
    shares = [{} for _ in range(width)]
    for event in events:
        letter = "=" if event["tid"] > 0 and event["cat"] == "exchange" else LETTERS[event["cat"]]
        first, last = (event["ts"] - begin) / column, (event["ts"] + event["dur"] - begin) / column
        for i in range(max(0, int(first)), min(width, int(last) + 1)):
            part = min(last, i + 1) - max(first, i)
            if part > 0:
                shares[i][letter] = shares[i].get(letter, 0) + part
    return "".join(max(share, key=share.get) if share else " " for share in shares)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file")
    parser.add_argument("--begin", type=float, default=0)
    parser.add_argument("--end", type=float)
    parser.add_argument("--width", type=int, default=100)
    options = parser.parse_args()
    with open(options.file) as f:
        events = [event for event in json.load(f)["traceEvents"] if event["ph"] == "X"]
    origin = min(event["ts"] for event in events)
    whole = (max(event["ts"] + event["dur"] for event in events) - origin) / 1e3
    end = options.end if options.end is not None else whole
    column = (end - options.begin) * 1e3 / options.width
    print(f"{options.begin:g} to {end:.4g} ms, {column / 1e3:.3g} ms a column")
    for rank in sorted({event["pid"] for event in events}):
        for name, exchanges in ((f"rank {rank}", False), ("", True)):
            rows = [event for event in events if event["pid"] == rank and (event["tid"] > 0) == exchanges]
            print(f"{name:<8}|{draw(rows, origin + options.begin * 1e3, column, options.width)}|")


main()
