"""The state: filling it, claiming from it, starting again with it; and the index alone."""

import signal
import sys

from . import servers
from .machine import BIN, CLIENT_CPU, resident_bytes, run, say
from .servers import triagectl

GIB = 1 << 30


def bench(server, *words):
    """`triagectl bench` beside the server; a measurement with errors is none."""
    figures = triagectl(server, "bench", *words)
    if figures.get("errors"):
        sys.exit(f"bench: {words[0]}: {figures['errors']} calls failed")
    return figures


def storage(report, work, short):
    cases = 10_000 if short else 1_000_000
    say(f"storage: {cases} open cases")
    report.begin("storage")
    (work / "journal").mkdir()
    report.pass_on(run([BIN / "triage-storage-bench", work / "journal"]))
    server = servers.triaged(work / "storage").start()
    try:
        fill = bench(server, "fill", "--cases", str(cases), "--ineligible-percent", "99")
        report.add("fill_cases_per_second", fill["calls_per_second"], "1/s")
        report.add("resident_bytes", resident_bytes(server.pid), "bytes", at_most=1.5 * GIB)
        claim = bench(server, "claim", "--identity", "ana", "--calls", "100" if short else "2000")
        report.add("claim_p50_us", claim["p50_us"], "us")
        report.add("claim_p99_us", claim["p99_us"], "us", at_most=1000)
        server.stop(signal.SIGKILL)
        server.start()
        report.add("restart_after_kill_seconds", server.start_seconds, "s", at_most=10)
        report.add("resident_after_restart_bytes", resident_bytes(server.pid), "bytes",
                   at_most=1.5 * GIB)
        server.stop()
        server.start()
        report.add("restart_after_drain_seconds", server.start_seconds, "s", at_most=10)
    finally:
        server.stop()


def index(report, short):
    say("index: the operations alone")
    report.begin("index")
    report.pass_on(run([BIN / "triage-index-bench", 20_000 if short else 1_000_000],
                       cpu=CLIENT_CPU))
