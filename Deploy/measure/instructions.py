"""Instructions a call under callgrind: the same whatever else the machine does, and so the figure
for a gate. Counts a server's own instructions, not the kernel's for it."""

import json
import pathlib
import platform
import re
import shutil
import subprocess

from . import servers
from .load import LOAD
from .machine import BIN, CLIENT_CPU, ROOT, pinned, run, say

ACCEPTED = ROOT / "Deploy" / "measure" / "instructions.json"
# The difference of two runs: the start and the handshake cancel out.
FEW, MANY = 500, 3500
TOLERANCE = 1.03
PACKAGES = ("libnghttp2-14", "libssl3", "libprotobuf-c1", "libc6", "valgrind")


def under_callgrind(server, work):
    """Makes a server run under callgrind. Of a Swift program a copy without debug information,
    because Debian's valgrind cannot read the compiler's."""
    program = pathlib.Path(server.words[0])
    copy = pathlib.Path(work) / program.name
    if not copy.exists():
        shutil.copy(program, copy)
        run(["strip", "-g", copy])
    counts = pathlib.Path(work) / f"{server.name}.callgrind"
    server.words = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={counts}", copy,
                    *server.words[1:]]
    return counts


def total(make, work, calls):
    """Instructions of a server's whole life, in which it answers so many calls."""
    server = make()
    counts = under_callgrind(server, work)
    with server:
        run([LOAD, "calls", f"port={server.port}", f"certs={servers.CERTS}", "connections=1",
             "streams=32", f"calls={calls}", *server.request.words(work)], cpu=CLIENT_CPU)
    return int(re.search(r"^(?:summary|totals): (\d+)", counts.read_text(), re.M)[1])


def per_call(make, work):
    """Instructions a call."""
    return (total(make, work, MANY) - total(make, work, FEW)) / (MANY - FEW)


def count(report, work):
    """The figures; returns instructions a call by server."""
    makers = {"floor": lambda: servers.floor(work), "echo": lambda: servers.echo_server(work),
              "submit_unjournaled": lambda: servers.volatile(work)}
    counts = {name: per_call(make, work) for name, make in makers.items()}
    for name, value in counts.items():
        report.add(f"{name}_instructions", value, "instructions")
    report.add("echo_instructions_per_floor", counts["echo"] / counts["floor"], "ratio",
               at_most=1.3)
    report.add("submit_unjournaled_instructions_per_floor",
               counts["submit_unjournaled"] / counts["floor"], "ratio")
    return counts


def versions():
    """What the counts depend on besides our own code."""
    # The C library picks its copying by the processor.
    model = re.search(r"model name\s*: (.+)", pathlib.Path("/proc/cpuinfo").read_text())
    found = {"processor": model[1] if model else platform.machine(),
             "swift": re.search(r"Swift version (\S+)",
                                run(["swift", "--version"], stderr=subprocess.DEVNULL))[1]}
    for package in PACKAGES:
        found[package] = run(["dpkg-query", "-W", "-f", "${Version}", package])
    return found


def gate(report, work, accept):
    """Counts, and compares with what was accepted: always as multiples of the C floor, so that
    another library changes both; and as they are where toolchain and libraries are the same."""
    report.begin("instructions")
    counts = count(report, work)
    found = versions()
    if accept:
        text = json.dumps({"versions": found, "counts": {name: round(value) for name, value
                                                         in counts.items()}}, indent=2)
        ACCEPTED.write_text(text + "\n")
        say(f"written: {ACCEPTED.relative_to(ROOT)}")
        return True
    accepted = json.loads(ACCEPTED.read_text())
    same = accepted["versions"] == found
    if not same:
        say("other versions than the accepted counts': only the multiples of the floor are judged")
    passed = True
    for name in counts.keys() - {"floor"}:
        was, floor_was = accepted["counts"][name], accepted["counts"]["floor"]
        grown = [counts[name] / counts["floor"] / (was / floor_was)]
        if same:
            grown.append(counts[name] / was)
        if max(grown) > TOLERANCE:
            passed = False
            say(f"{name}: a call takes {counts[name]:.0f} instructions, {max(grown):.3f} x what"
                f" was accepted ({was}); find out why, or accept it:"
                " Deploy/bench instructions --accept")
        elif max(grown) < 2 - TOLERANCE:
            say(f"{name}: {counts[name]:.0f} instructions, {was} were accepted: keep the gain with"
                " Deploy/bench instructions --accept")
    return passed
