"""Runs a command with two network namespaces as two machines, which reach each other over TCP only.

two_hosts.py COMMAND...: SEQPAR_MPIRUN in its environment is a launcher that puts half of the processes on each machine.
Open MPI's remote shell is the other namespace. SEQPAR_TCPRUN is one without MPI. Needs root.
"""
import os
import stat
import subprocess
import sys
import tempfile


def script(path, text):
    with open(path, "w") as f:
        f.write("#!/bin/sh\n" + text)
    os.chmod(path, os.stat(path).st_mode | stat.S_IXUSR)


def main():
    here, there = f"sqa{os.getpid()}", f"sqb{os.getpid()}"
    subnet = f"10.77.{os.getpid() % 250}"

    def ip(*arguments):
        subprocess.run(["ip", *arguments], check=True)

    with tempfile.TemporaryDirectory() as folder:
        try:
            for name in (here, there):
                ip("netns", "add", name)
            ip("link", "add", "sqv0", "netns", here, "type", "veth", "peer", "name", "sqv1", "netns", there)
            for name, device, address in ((here, "sqv0", 1), (there, "sqv1", 2)):
                ip("-n", name, "addr", "add", f"{subnet}.{address}/24", "dev", device)
                ip("-n", name, "link", "set", device, "up")
                ip("-n", name, "link", "set", "lo", "up")
                os.mkdir(f"{folder}/{name}")
            # A machine has its own name and folder for temporary files.
            script(f"{folder}/there", f"shift\nexec ip netns exec {there} unshare --uts sh -c "
                   f"\"hostname {there}; export TMPDIR={folder}/{there}; $*\"\n")
            script(f"{folder}/here", f"hostname {here}\nexport TMPDIR={folder}/{here}\n"
                   f"exec mpirun -x PATH --oversubscribe --map-by node -H {subnet}.1,{subnet}.2 "
                   f"--mca plm_rsh_agent {folder}/there --mca oob_tcp_if_include {subnet}.0/24 "
                   f"--mca btl tcp,self --mca btl_tcp_if_include {subnet}.0/24 \"$@\"\n")
            launch = os.path.join(os.path.dirname(os.path.abspath(__file__)), "launch.py")
            environment = dict(os.environ, SEQPAR_MPIRUN=f"ip netns exec {here} unshare --uts {folder}/here",
                               SEQPAR_TCPRUN=f"{sys.executable} {launch} --netns={here} --netns={there} "
                               f"--address={subnet}.1 --port=29500")
            status = subprocess.run(sys.argv[1:], env=environment, timeout=200).returncode
        finally:
            for name in (here, there):
                subprocess.run(["ip", "netns", "del", name])
    sys.exit(status)


main()
