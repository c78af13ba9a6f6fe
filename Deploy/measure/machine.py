"""This machine: its processors, what the kernel says of a process, how much others disturbed."""

import os
import pathlib
import re
import resource
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
BIN = ROOT / ".build" / "release"
CERTS = ROOT / "Certs" / "dev"
SERVER_CPU, CLIENT_CPU = 0, 1
TICKS = os.sysconf("SC_CLK_TCK")


def say(text):
    print(f"==> {text}", file=sys.stderr, flush=True)


def pinned(words, cpu):
    """A command on one CPU; `cpu` may be a list such as "0,1"."""
    words = [str(word) for word in words]
    if cpu is None or os.cpu_count() == 1:
        return words
    return ["taskset", "-c", str(cpu), *words]


def run(words, cpu=None, **options):
    """Runs a command to its end, pinned to a CPU; returns what it printed."""
    words = pinned(words, cpu)
    done = subprocess.run(words, stdout=subprocess.PIPE, text=True, **options)
    if done.returncode != 0:
        sys.exit(f"bench: {' '.join(words)} ended with {done.returncode}")
    return done.stdout


def shell(script, **variables):
    """Runs functions of lib.sh; what they say goes to standard error. True when they succeed."""
    environment = dict(os.environ, root=str(ROOT), **variables)
    done = subprocess.run(["sh", "-euc", f'. "$root/Deploy/lib.sh"; {script}'], env=environment,
                          stdout=sys.stderr)
    return done.returncode == 0


def allow_descriptors(count):
    """Lets this process and those that it starts open so many; says what is missing."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < count:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (count, count))
        except (PermissionError, ValueError, OSError):
            sys.exit(f"bench: {count} open files are needed and {hard} allowed: run it with"
                     f" `ulimit -n {count}`, or as root")
    elif soft < count:
        resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))


def cpu_seconds(pid):
    """CPU time of a process so far, all threads, from the scheduler: exact to nanoseconds."""
    total = 0
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        total += int((task / "schedstat").read_text().split()[0])
    return total / 1e9


def resident_bytes(pid):
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"^VmRSS:\s+(\d+) kB", status, re.M)[1]) << 10


def processor_times():
    """Seconds since boot of all processors: busy, and taken by the host (steal)."""
    line = pathlib.Path("/proc/stat").read_text().split("\n", 1)[0]
    user, nice, system, _, _, irq, softirq, steal = map(int, line.split()[1:9])
    return (user + nice + system + irq + softirq) / TICKS, steal / TICKS


def own_seconds():
    """CPU time of this process and of those that it started and that have ended."""
    both = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in both)


class Watcher:
    """How much of the processors others took while processes of ours were measured."""

    def __init__(self, *pids):
        self.pids = pids
        self.busy, self.steal = processor_times()
        self.own = self.used()

    def used(self):
        return own_seconds() + sum(cpu_seconds(pid) for pid in self.pids)

    def shares(self, seconds):
        """Of one processor: stolen by the host, and used by other processes."""
        busy, steal = processor_times()
        own = self.used() - self.own
        return (steal - self.steal) / seconds, max(0, busy - self.busy - own) / seconds
