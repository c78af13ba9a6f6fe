"""A server under churn: its memory, descriptors and calls must be flat at the end.

python soak.py SECONDS; Deploy/soak wire calls it. Nothing that it does makes the state grow:
reports carry request ids that were answered before.
"""

import contextlib
import pathlib
import random
import re
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time

import grpc
import stubs
from attacks import DATA, END_STREAM, LIST, PAGE, WINDOW, Peer, Target, frame
from builders import submission
from google.protobuf import duration_pb2
from harness import ROOT, Server, await_true, request_id

T, A, H = stubs.triage, stubs.assignment, stubs.health
# What a run may add beyond its first quarter: allocators keep what a burst needed.
GROWTH_BYTES_MAX = 24 << 20
# What the server keeps for resumption, Limits.swift: 128 sessions for each of the three who call,
# full after so many handshakes, then flat.
SESSIONS_KEPT, SESSION_BYTES = 3 * 128, 10 << 10
# What is zero with nobody connected.
HELD = ("triaged_calls", "triaged_held_bytes")


class Soak:
    def __init__(self, server, seconds):
        self.server, self.end = server, time.monotonic() + seconds
        self.counts, self.failures = {}, []
        self.reports = [submission(f"post:{number}") for number in range(200)]
        self.seed = random.SystemRandom().randrange(1 << 32)

    def count(self, what):
        self.counts[what] = self.counts.get(what, 0) + 1

    def loop(self, work):
        """Repeats `work(random)` until the end; what it does not expect is a failure."""
        lots = random.Random(f"{self.seed} {work.__name__}")
        while time.monotonic() < self.end and not self.failures:
            try:
                work(lots)
                self.count(work.__name__)
            except grpc.RpcError as error:
                self.failures.append(f"{work.__name__}: {error.code()} {error.details()}")
            except Exception as error:  # a thread must not end in silence
                self.failures.append(f"{work.__name__}: {error!r}")

    def churn(self, lots):
        """A connection for a few calls."""
        with self.server.client("classifier") as intake:
            for report in lots.sample(self.reports, 5):
                intake.triage.SubmitReport(report, timeout=20)
            intake.health.Check(H.HealthCheckRequest())

    def cancels(self, lots):
        """Calls that wait, watch or stream, and are given up."""
        # Ben may take none of the cases that there are: his claims wait.
        with self.server.client("ben") as ben:
            claims = [ben.assignments.ClaimNext.future(A.ClaimNextRequest(
                request_id=request_id(),
                wait_duration=duration_pb2.Duration(seconds=30)), timeout=40) for _ in range(20)]
            watches = [ben.triage.WatchBoard(T.WatchBoardRequest(), timeout=40)
                       for _ in range(5)]
            for watch in watches:
                next(watch)
            for call in [*claims, *watches]:
                call.cancel()

    def slow_readers(self, lots):
        """Pages that are asked for, and hardly read."""
        target = Target(self.server.address, self.server.certs, "ana", 0)
        peer = Peer(target, struct.pack(">HI", 4, 0x7FFF_FFFF))
        peer.send(frame(WINDOW, 0, 0, b"\x7f\xff\0\0"))
        for _ in range(lots.randrange(1, 60)):
            peer.send(peer.open(LIST) + frame(DATA, END_STREAM, peer.stream, PAGE))
        for _ in range(lots.randrange(1, 20)):
            time.sleep(0.02)
            peer.send(b"")
            peer.read()
        peer.close()

    def reloads(self, lots):
        self.server.signal(signal.SIGHUP)
        time.sleep(0.5)

    def attacks(self, lots):
        name = lots.choice(["rapid_reset", "made_you_reset", "header_bomb",
                            "unread_pages", "unfinished_bodies", "settings_flood"])
        subprocess.run([
            sys.executable, pathlib.Path(__file__).parent / "attacks.py", name,
            self.server.address, self.server.certs, "chloe", "1"], check=True, timeout=60)
        time.sleep(1)

    def run(self):
        works = [self.churn, self.cancels, self.slow_readers, self.reloads, self.attacks]
        threads = [threading.Thread(target=self.loop, args=(work,)) for work in works]
        for thread in threads:
            thread.start()
        began, resident, shown = time.monotonic(), [], 0
        while any(thread.is_alive() for thread in threads):
            resident.append((time.monotonic() - began, resident_bytes(self.server)))
            if time.monotonic() - shown > 60:
                shown = time.monotonic()
                print(f"{resident[-1][0]:6.0f} s  {resident[-1][1] / 2**20:6.1f} MiB  "
                      f"{descriptors(self.server)} descriptors  {self.counts}", flush=True)
            time.sleep(0.25)
        return resident


def resident_bytes(server):
    text = pathlib.Path(f"/proc/{server.process.pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+) kB", text)[1]) << 10


def descriptors(server):
    return len(list(pathlib.Path(f"/proc/{server.process.pid}/fd").iterdir()))


def gauge(server, name):
    return int(re.search(rf"^{name} (\d+)", server.admin_get("/metrics")[1], re.M)[1])


def main(seconds):
    with tempfile.TemporaryDirectory() as directory:
        directory = pathlib.Path(directory)
        certs = directory / "certs"
        subprocess.run([ROOT / "Certs" / "mint", certs], check=True, stdout=subprocess.DEVNULL)
        # As fast as the machine can: the share of an identity has its own test.
        server = Server(directory / "server", certs,
                        extra=["--identity-calls-per-second", "100000000"]).start()
        try:
            return soak(server, seconds)
        finally:
            if server.process is not None:
                server.kill()


def soak(server, seconds):
    run = Soak(server, seconds)
    print(f"seed {run.seed}")
    with server.client("classifier") as intake:
        for report in run.reports:
            intake.triage.SubmitReport(report)
    await_true(lambda: gauge(server, "triaged_connections") == 0, 10, "a quiet server")
    open_before = descriptors(server)
    resident = run.run()
    if run.failures:
        print("FAILED: " + "\n".join(run.failures), file=sys.stderr)
        return 1
    problems = []
    await_true(lambda: gauge(server, "triaged_connections") == 0, 20, "the end of all connections")
    # What is given back a moment after the last connection.
    with contextlib.suppress(AssertionError):
        await_true(lambda: all(gauge(server, name) == 0 for name in HELD)
                   and descriptors(server) <= open_before, 20)
    open_after = descriptors(server)
    early = max(size for at, size in resident if at <= max(seconds / 4, resident[0][0]))
    late = max(size for at, size in resident if at >= seconds * 3 / 4)
    print(f"{run.counts}\nresident: at most {early / 2**20:.1f} MiB in the first quarter, "
          f"{late / 2**20:.1f} MiB in the last; descriptors {open_before} before, {open_after} "
          "after")
    done = sum(int(count) for count in re.findall(
        r"^triaged_handshakes_total\{.*\} (\d+)", server.admin_get("/metrics")[1], re.M))
    sessions = min(SESSIONS_KEPT, done) - min(SESSIONS_KEPT, done // 4)
    if late > early + GROWTH_BYTES_MAX + sessions * SESSION_BYTES:
        problems.append("memory grows")
    if open_after > open_before:
        problems.append("descriptors are lost")
    for name in HELD:
        if gauge(server, name) != 0:
            problems.append(f"{name} is {gauge(server, name)} with nobody connected")
    code = server.stop()
    if code != 0:
        problems.append(f"the server ended with {code}")
    for problem in problems:
        print(f"FAILED: {problem}", file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
