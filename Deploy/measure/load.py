"""The load generator: floor-load on its CPU, and what it measured, with what disturbed it."""

import json
import subprocess
import sys
import time

from .machine import CERTS, CLIENT_CPU, ROOT, Watcher, pinned

LOAD = ROOT / ".build" / "floor" / "floor-load"
# A measurement beside which others took more of a processor than this is made again.
DISTURBED_MAX, TRIES = 0.06, 3


class Load:
    """Makes measurements; numbers all calls, so that no request id comes twice."""

    def __init__(self, folder, report):
        self.folder, self.short = folder, report.short
        self.number = 1
        self.shares = {"stolen": [], "disturbed": []}
        self.companions = []

    def words(self, mode, server, request=None, **options):
        words = [LOAD, mode, f"port={server.port}", f"certs={CERTS}", f"pid={server.pid}",
                 f"first={self.number}"]
        self.number += 20_000_000
        request = server.request if request is None else request
        words += request.words(self.folder)
        return words + [f"{name.replace('_', '-')}={value}" for name, value in options.items()]

    def measure(self, mode, server, request=None, cpu=CLIENT_CPU, repeatable=True, **options):
        """One measurement; made again when it was disturbed, if the server is then as it was, and
        then the calmest counts."""
        tries = []
        while True:
            words = pinned(self.words(mode, server, request, **options), cpu)
            tries.append(self.once(words, server))
            calmest = min(tries, key=lambda figures: figures["disturbed"])
            is_last = self.short or not repeatable or len(tries) == TRIES
            if is_last or calmest["disturbed"] < DISTURBED_MAX:
                for name, shares in self.shares.items():
                    shares.append(calmest[name])
                return calmest

    def taken(self, name):
        """Percent of a processor that others took from each measurement since this was asked."""
        shares, self.shares[name] = self.shares[name], []
        return [100 * share for share in shares] or [0.0]

    def once(self, words, server):
        self.companions = [other for other in self.companions if other.poll() is None]
        watcher = Watcher(server.pid, *(other.pid for other in self.companions))
        began = time.monotonic()
        done = subprocess.run(words, stdout=subprocess.PIPE, text=True)
        if done.returncode != 0:
            sys.exit(f"bench: {' '.join(map(str, words))} ended with {done.returncode}")
        figures = json.loads(done.stdout)
        figures["stolen"], others = watcher.shares(time.monotonic() - began)
        figures["disturbed"] = figures["stolen"] + others
        return figures

    def during(self, body, server, **options):
        """A load that goes on for as long as `body` takes, and is measured meanwhile."""
        words = self.words("calls", server, input=1, warmup=0, **options)
        began, watcher = time.monotonic(), Watcher(server.pid)
        load = subprocess.Popen(pinned(words, CLIENT_CPU), stdin=subprocess.PIPE,
                                stdout=subprocess.PIPE, text=True)
        body()
        figures = json.loads(load.communicate(timeout=120)[0] or "null")
        if load.returncode != 0:
            sys.exit(f"bench: {' '.join(map(str, words))} ended with {load.returncode}")
        stolen, others = watcher.shares(time.monotonic() - began)
        self.shares["stolen"].append(stolen)
        self.shares["disturbed"].append(stolen + others)
        return figures

    def together(self, server, cpus, **options):
        """Calls from a client on each of the CPUs at once: calls a second of all of them, and the
        server's CPU in microseconds a call."""
        # All of them before the first runs: each writes the message anew.
        words = [pinned(self.words("calls", server, **options), cpu) for cpu in cpus]
        watcher, began = Watcher(server.pid), time.monotonic()
        clients = [subprocess.Popen(each, stdout=subprocess.PIPE, text=True) for each in words]
        figures = [json.loads(client.communicate(timeout=120)[0]) for client in clients]
        stolen, others = watcher.shares(time.monotonic() - began)
        self.shares["stolen"].append(stolen)
        self.shares["disturbed"].append(stolen + others)
        rate = sum(f["calls"] / f["seconds"] for f in figures)
        used = sum(f["server_cpu_us"] / f["seconds"] for f in figures) / len(figures)
        return rate, used / rate

    def beside(self, mode, server, **options):
        """A load that goes on while something else is measured; ends with its input."""
        words = pinned(["chrt", "-i", "0", *self.words(mode, server, **options)], CLIENT_CPU)
        other = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.companions.append(other)
        return other


def per_call(figures):
    """Server CPU, in microseconds a call."""
    return figures["server_cpu_us"] / figures["calls"]


def per_connect(figures):
    """Server CPU, in microseconds a connection."""
    return figures["server_cpu_us"] / figures["connects"]
