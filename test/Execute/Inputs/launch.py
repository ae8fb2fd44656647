"""Starts processes on this machine as torchrun does: by their environment, and when one fails it ends the others.

launch.py -np N [--address=ADDRESS] [--port=PORT] [--set=RANK:NAME=VALUE]... [--delay=RANK:SECONDS] [--netns=NAME]...
COMMAND...: its exit status is that of the first process that fails, or 0. The processes are in these network namespaces in
turn.
"""
import argparse
import ctypes
import os
import signal
import socket
import subprocess
import sys
import time

SECONDS_TO_END = 15
LIBC = ctypes.CDLL(None)


def is_stopped(process):
    with open(f"/proc/{process.pid}/stat") as f:
        return f.read().rsplit(")", 1)[1].split()[0] == "T"


def hold_port():
    """A port that nobody else is given. The first process may listen there, since neither listens before."""
    held = socket.socket()
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    held.bind(("127.0.0.1", 0))
    return held


def start(arguments, rank, port):
    environment = dict(os.environ, RANK=str(rank), WORLD_SIZE=str(arguments.np), LOCAL_RANK=str(rank),
                       LOCAL_WORLD_SIZE=str(arguments.np), MASTER_ADDR=arguments.address, MASTER_PORT=str(port))
    for setting in arguments.set:
        of, _, assignment = setting.partition(":")
        name, _, value = assignment.partition("=")
        if int(of) == rank:
            environment[name] = value
    for delay in arguments.delay:
        of, _, seconds = delay.partition(":")
        if int(of) == rank:
            time.sleep(float(seconds))
    prefix = ["ip", "netns", "exec", arguments.netns[rank % len(arguments.netns)]] if arguments.netns else []
    return subprocess.Popen(prefix + arguments.command, env=environment, preexec_fn=end_with_parent)


def end_with_parent():
    """No process outlives the launcher, even if that is killed."""
    PR_SET_PDEATHSIG = 1
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("-np", type=int, required=True)
    parser.add_argument("--address", default="localhost")
    parser.add_argument("--port", type=int)
    parser.add_argument("--netns", action="append", default=[])
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument("--delay", action="append", default=[])
    parser.add_argument("command", nargs=argparse.REMAINDER)
    arguments = parser.parse_args()
    held = hold_port()
    processes = []
    status, deadline = 0, None
    try:
        for rank in range(arguments.np):
            processes.append(start(arguments, rank, arguments.port or held.getsockname()[1]))
        while None in [process.poll() for process in processes]:
            failed = [process.returncode for process in processes if process.returncode]
            if failed and not deadline:
                status, deadline = failed[0], time.monotonic() + SECONDS_TO_END
                for process in processes:
                    if process.poll() is None:
                        process.kill() if is_stopped(process) else process.terminate()
            if deadline and time.monotonic() > deadline:
                sys.exit("launch.py: processes have not ended after SIGTERM")
            time.sleep(0.02)
    finally:
        for process in processes:
            if process.poll() is None:
                process.kill()
    status = status or next((process.returncode for process in processes if process.returncode), 0)
    sys.exit(128 - status if status < 0 else status)


main()
