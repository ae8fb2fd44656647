"""Processes that meet without MPI, where the environment is wrong or others connect.

rendezvous.py PROGRAM: PROGRAM is trainer-processes. Whatever is wrong is told once, soon, with an exit status that is not
0; strangers change nothing.
"""
import os
import random
import re
import socket
import subprocess
import sys
import threading
import time

LAUNCH = [sys.executable, os.path.join(os.path.dirname(os.path.abspath(__file__)), "launch.py")]


def run(name, arguments, program, expected, most):
    begin = time.monotonic()
    result = subprocess.run(LAUNCH + arguments + [program], capture_output=True, text=True, timeout=100)
    seconds = time.monotonic() - begin
    messages = [line for line in result.stderr.splitlines() if re.match(r"[a-z-]+: error: ", line)]
    good = seconds < most and (result.returncode == 0) == (not expected)
    if expected:
        good = good and len(messages) == 1 and re.search(expected, messages[0])
    else:
        good = good and not result.stderr and result.stdout.count("step 8/8") == 1
    if not good:
        sys.exit(f"{name}: expected {expected or 'eight steps'} within {most} s; {seconds:.1f} s, exit status "
                 f"{result.returncode}\n{result.stdout}{result.stderr}")
    print(f"{name}: {seconds:.1f} s, exit status {result.returncode}, {messages}", flush=True)


def free_port():
    """One that is free with the next, and none of those that the system deals out."""
    while True:
        port = random.randrange(10000, 30000)
        try:
            with socket.create_server(("", port)), socket.create_server(("", port + 1)):
                return port
        except OSError:
            continue


def with_strangers(program):
    """They say nothing, or the wrong thing, while the first process waits for the second."""
    port = free_port()
    closed = []

    def disturb():
        connections = []
        for greeting in (b"", b"GET / HTTP/1.1\r\nHost: here\r\nAccept: */*\r\n\r\n", os.urandom(100)):
            until = time.monotonic() + 20
            while True:
                try:
                    connections.append(socket.create_connection(("localhost", port), timeout=10))
                    break
                except OSError:
                    if time.monotonic() > until:
                        return
                    time.sleep(0.05)
            connections[-1].sendall(greeting)
        for connection in connections[1:]:
            try:
                closed.append(connection.recv(1) == b"")
            except ConnectionResetError:
                closed.append(True)

    stranger = threading.Thread(target=disturb)
    stranger.start()
    run("strangers", ["-np", "3", f"--port={port}", "--delay=1:3"], program, None, 30)
    stranger.join()
    if closed != [True, True]:
        sys.exit(f"strangers: their connections are not closed: {closed}")


def main():
    program = sys.argv[1]
    run("three processes", ["-np", "3"], program, None, 30)
    run("WORLD_SIZE differs", ["-np", "3", "--set=1:WORLD_SIZE=4"], program,
        r"RANK=1 has WORLD_SIZE=4, RANK=0 has WORLD_SIZE=3: expected the same$", 15)
    run("WORLD_SIZE is no number", ["-np", "3", "--set=1:WORLD_SIZE=two"], program,
        r"WORLD_SIZE=two: expected a whole number from 1 to \d+$", 15)
    run("RANK is too large", ["-np", "3", "--set=1:RANK=3"], program, r"RANK=3: expected a whole number from 0 to 2$", 15)
    run("a rank twice", ["-np", "3", "--set=2:RANK=1"], program, r"two processes have RANK=1$", 15)
    run("no address", ["-np", "3", "--set=1:MASTER_ADDR=no such host"], program,
        r"MASTER_ADDR=no such host: cannot be resolved: ", 15)
    port = free_port()
    with socket.create_server(("localhost", port)):
        run("the port is taken", ["-np", "3", f"--port={port}"], program,
            rf"cannot listen for the other processes at port {port} \(MASTER_PORT\): .*set SEQPAR_PORT", 15)
        another = free_port()
        run("SEQPAR_PORT", ["-np", "3", f"--port={port}"] + [f"--set={rank}:SEQPAR_PORT={another}" for rank in range(3)],
            program, None, 30)
        # As under an agent of torchrun, which listens at MASTER_PORT itself.
        run("the agent's store", ["-np", "3", f"--port={port}"] +
            [f"--set={rank}:TORCHELASTIC_USE_AGENT_STORE=True" for rank in range(3)], program, None, 30)
    with_strangers(program)


main()
