"""The table "Measure" of the durable state, for a plain and an encrypted directory: commits beside
the bare disk, then a server with a million cases: what they weigh in memory and on disk, how fast
they are there again, and what a snapshot of them costs those who report meanwhile."""

import json
import os
import pathlib
import re
import shutil
import signal
import sys
import time

from . import servers
from .load import Load
from .machine import BIN, CLIENT_CPU, SERVER_CPU, resident_bytes, run, say
from .report import ratios
from .servers import triagectl

KINDS = ("plain", "encrypted")
MIB = 1 << 20
# Calls a second while a snapshot is written: a sixth of what the server's one processor can do.
INTAKE_RATE = 8_000
# What the leaves beside the journal take a record (FORMAT.md, 8).
LEAF_BYTES = 32


def bench(server, *words):
    """`triagectl bench` beside the server; a measurement with errors is none."""
    figures = triagectl(server, "bench", *words)
    if figures.get("errors"):
        sys.exit(f"bench: {words[0]}: {figures['errors']} calls failed")
    return figures


def operator(server, command):
    return triagectl(server, command, "--identity", "sre")


def seconds(duration):
    """A protobuf duration in JSON."""
    return float(duration.removesuffix("s"))


def forget(folder):
    """Takes a folder's files out of the page cache, as after a start of the machine."""
    for path in pathlib.Path(folder).rglob("*"):
        if path.is_file():
            with open(path, "rb") as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


class Directory:
    """A server's data directory, and what it takes to open it."""

    def __init__(self, work, name, kind):
        self.path = work / name
        self.key = []
        if kind == "encrypted":
            file = work / f"{name}.key"
            file.touch(0o600)
            file.write_text(os.urandom(32).hex())
            self.key = ["--key-file", file]

    def server(self):
        """A server that takes snapshots only when it is asked, and keeps one."""
        return servers.triaged(self.path, "--snapshots-kept", "1", "--snapshot-records",
                               "1000000000", "--snapshot-minutes", "10080", *self.key)

    def inspect(self, command):
        return run([BIN / "triaged", "inspect", command, "--data", self.path, *self.key])

    def sizes(self):
        """Bytes of batches, and what they hold: records, their own bytes, the sealed ones."""
        text = self.inspect("stat")
        used = sum(int(n) for n in re.findall(r"^segment .* (\d+) of \d+ bytes$", text, re.M))
        found = re.search(r"^records (\d+)  (\d+) bytes of bodies  (\d+) bytes in \d+ sealed",
                          text, re.M)
        records, body, sealed = map(int, found.groups())
        return used, records, body + sealed, sealed

    def checked_bytes(self):
        """What `inspect verify` reads of it."""
        used = self.sizes()[0]
        return used + sum(path.stat().st_size for path in self.path.rglob("*")
                          if path.suffix in (".leaves", ".snapshot"))


class Storage:
    """One run: what is measured with, and how often."""

    def __init__(self, report, work, short, cases):
        self.report, self.work, self.short, self.cases = report, work, short, cases
        self.load = Load(work, report)
        self.repeats = 1 if short or cases > 1_000_000 else 3

    def run(self, kinds):
        for kind in kinds or KINDS:
            count = "" if self.cases in (10_000, 1_000_000) else f", {self.cases:,} cases"
            self.report.begin(f"storage: {kind}{count}")
            say(f"storage: {kind}, the files alone")
            self.files(kind)
            self.journal_bytes(kind)
            say(f"storage: {kind}, {self.cases:,} open cases")
            directory = Directory(self.work, f"state-{kind}", kind)
            try:
                self.state(directory)
            finally:
                shutil.rmtree(directory.path, ignore_errors=True)
            for share in ("stolen", "disturbed"):
                self.report.add(f"intake_{share}_percent", self.load.taken(share), "%")

    def files(self, kind):
        options = (["encrypted"] if kind == "encrypted" else []) + (["short"] if self.short else [])
        self.report.pass_on(run([BIN / "triage-storage-bench", self.work / f"files-{kind}",
                                 *options, "commits", "snapshot"]))

    def journal_bytes(self, kind):
        """What a report takes in the journal when each commit holds one, and when it holds many."""
        for name, shape in (("1", {"connections": 1, "streams": 1}),
                            ("64", {"connections": 2, "streams": 32})):
            directory = Directory(self.work, f"bytes-{kind}-{name}", kind)
            with directory.server() as server:
                self.load.measure("calls", server, calls=1_000 if self.short else 4_000, **shape)
            used, records, own, _ = directory.sizes()
            self.report.add(f"journal_bytes_{name}_waiting", used / records, "bytes a report")
            self.report.add(f"journal_bytes_{name}_waiting_per_own", used / own, "ratio",
                            at_most=1.3)
            shutil.rmtree(directory.path)

    def state(self, directory):
        server = directory.server()
        try:
            server.start()
            self.fill(server, directory)
            self.replayed(server, directory)
            self.intake(server, directory)
            self.stopped_and_loaded(server, directory)
        finally:
            server.stop(signal.SIGKILL)
        self.verified(directory)

    def fill(self, server, directory):
        self.empty_bytes = resident_bytes(server.pid)
        fill = bench(server, "fill", "--cases", str(self.cases), "--ineligible-percent", "99")
        self.report.add("fill_cases_per_second", fill["calls_per_second"], "1/s")
        resident = resident_bytes(server.pid)
        claim = bench(server, "claim", "--identity", "ana", "--calls",
                      "100" if self.short else "2000")
        self.report.add("claim_p50_us", claim["p50_us"], "us")
        self.report.add("claim_p99_us", claim["p99_us"], "us", at_most=1000)
        server.stop(signal.SIGKILL)
        used, self.records, own, self.text = directory.sizes()
        used += LEAF_BYTES * self.records
        self.report.add("journal_and_leaves_bytes_per_own", used / own, "ratio", at_most=1.3)
        self.beyond_text("resident_bytes_per_case_beyond_text", resident)

    def beyond_text(self, name, resident):
        """Memory a case, less its own text: what is sealed in the journal is that."""
        self.report.add(name, (resident - self.empty_bytes - self.text) / self.cases, "bytes",
                        at_most=1000)

    def restart(self, server, directory):
        """Starts a server of which nothing is cached, on every processor, as nobody calls yet;
        seconds of recovery, as it says itself."""
        forget(directory.path)
        server.cpu = None
        server.start()
        return seconds(operator(server, "status")["recoveryDuration"])

    def replayed(self, server, directory):
        """From the journal alone."""
        rates, starts = [], []
        for repeat in range(self.repeats):
            if repeat > 0:
                server.stop(signal.SIGKILL)
            recovery = self.restart(server, directory)
            rates.append(self.records / max(recovery, 0.001))
            starts.append(server.start_seconds)
        self.report.add("replay_events_per_second", rates, "1/s", at_least=500_000)
        self.report.add("restart_replayed_seconds", starts, "s", at_most=10)
        self.beyond_text("resident_bytes_per_case_replayed", resident_bytes(server.pid))

    # A snapshot beside the intake

    def intake(self, server, directory):
        """Reports at a fixed rate, alone and while a snapshot is written: until the one before it
        is removed. The time alone is as long, with a call of `triagectl` as well."""
        alone, beside, spans = [], [], []

        def snapshot():
            began = time.monotonic()
            operator(server, "snapshot")
            while len(list(directory.path.glob("*.snapshot"))) > 1:
                time.sleep(0.05)
            spans.append(time.monotonic() - began)

        def nothing():
            began = time.monotonic()
            operator(server, "status")
            time.sleep(max(0, spans[-1] - time.monotonic() + began))

        server.pin(SERVER_CPU)
        snapshot()
        for _ in range(self.repeats):
            alone.append(self.load.during(nothing, server, rate=INTAKE_RATE))
            beside.append(self.load.during(snapshot, server, rate=INTAKE_RATE))
        self.report.add("snapshot_paced_seconds", spans[1:], "s")
        for point in ("p50_us", "p99_us", "p999_us", "max_us"):
            values = [[figures[point] for figures in both] for both in (alone, beside)]
            self.report.add(f"intake_{point}_alone", values[0], "us")
            self.report.add(f"intake_{point}_beside_snapshot", values[1], "us")
            if point == "p99_us":
                self.report.add("intake_p99_beside_snapshot_per_alone", ratios(*values[::-1]),
                                "ratio", at_most=2)

    # Stopping and starting with a snapshot

    def stopped_and_loaded(self, server, directory):
        """A drain writes a snapshot that nobody reports beside; the start after it loads that."""
        writes, loads, starts = [], [], []
        for repeat in range(self.repeats):
            self.load.measure("calls", server, calls=200, connections=1, streams=1)
            server.stop()
            taken = [json.loads(line) for line in server.log.read_text().splitlines()
                     if '"snapshot taken"' in line][-1]
            size = int(taken["bytes"]) / MIB
            writes.append(size / (int(taken["milliseconds"]) / 1000))
            recovery = self.restart(server, directory)
            loads.append(size / max(recovery, 0.001))
            starts.append(server.start_seconds)
        disk = self.report.values
        self.report.add("snapshot_mib", size, "MiB")
        self.report.add("snapshot_write", writes, "MiB/s",
                        at_least=min(300, disk["disk_sequential_write"] / 2))
        self.report.add("snapshot_load_and_index", loads, "MiB/s",
                        at_least=min(300, disk["disk_sequential_read"] / 2))
        self.report.add("restart_loaded_seconds", starts, "s", at_most=5)
        self.beyond_text("resident_bytes_per_case_loaded", resident_bytes(server.pid))

    def verified(self, directory):
        size = directory.checked_bytes() / MIB
        rates = []
        for _ in range(self.repeats):
            forget(directory.path)
            began = time.monotonic()
            directory.inspect("verify")
            rates.append(size / (time.monotonic() - began))
        self.report.add("inspect_verify", rates, "MiB/s", at_least=500)


def index(report, short):
    say("index: the operations alone")
    report.begin("index")
    report.pass_on(run([BIN / "triage-index-bench", 20_000 if short else 1_000_000],
                       cpu=CLIENT_CPU))
