"""Instructions and allocations of a call, and instructions of a handshake, under callgrind: the
same whatever else the machine does, and so the figures for a gate. Counts a server's own
instructions and its libraries', not the kernel's for it."""

import collections
import json
import pathlib
import platform
import re
import shutil
import subprocess
import sys

from . import callgrind, servers
from .load import LOAD
from .machine import BIN, CLIENT_CPU, ROOT, pinned, run, say

ACCEPTED = ROOT / "Deploy" / "measure" / "instructions.json"
# What the load generator does, and how often: the difference of two runs, so that all that happens
# once cancels out.
Load = collections.namedtuple("Load", "words few many")
CALLS = Load(["calls", "connections=1", "streams=32"], 500, 3500)
HANDSHAKES = {"full": Load(["connects", "connections=1"], 10, 60),
              "resumed": Load(["connects", "connections=1", "resume=1"], 10, 60)}
TOLERANCE = 1.03
# On our side of the C libraries.
ALLOCATIONS_MAX = 4
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


def total(make, work, load, count):
    """What a server's whole life takes, in which it does so often what is asked of it."""
    server = make()
    counts = under_callgrind(server, work)
    with server:
        run([LOAD, *load.words, f"port={server.port}", f"certs={servers.CERTS}", f"calls={count}",
             *server.request.words(work)], cpu=CLIENT_CPU)
    run_of_it = callgrind.read(counts)
    if run_of_it.allocations == 0:
        sys.exit(f"bench: {server.name} never allocated: callgrind names the allocator otherwise")
    return run_of_it


def each(make, work, load):
    """What one of them takes."""
    many, few = (total(make, work, load, count) for count in (load.many, load.few))
    return callgrind.Run(*((more - less) / (load.many - load.few)
                           for more, less in zip(many, few)))


def floor_of(name):
    """The count that a name's is a multiple of."""
    return "floor" + name[name.index("_handshake"):] if "_handshake" in name else "floor"


def count(report, work):
    """The figures; returns what each thing takes by name."""
    makers = {"floor": lambda: servers.floor(work), "echo": lambda: servers.echo_server(work),
              "submit_unjournaled": lambda: servers.volatile(work)}
    runs = {name: each(make, work, CALLS) for name, make in makers.items()}
    for kind, load in HANDSHAKES.items():
        runs.update({f"{name}_handshake_{kind}": each(makers[name], work, load)
                     for name in ("floor", "echo")})
    for name, run_of_it in runs.items():
        report.add(f"{name}_instructions", run_of_it.instructions, "instructions")
    for name, most in (("echo", 1.3), ("submit_unjournaled", None),
                       ("echo_handshake_full", 1.05), ("echo_handshake_resumed", 1.05)):
        report.add(f"{name}_instructions_per_floor",
                   runs[name].instructions / runs[floor_of(name)].instructions, "ratio",
                   at_most=most)
    for name in ("echo", "submit_unjournaled"):
        report.add(f"{name}_allocations", runs[name].allocations, "allocations",
                   at_most=ALLOCATIONS_MAX)
    return runs


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
    another library changes both; and as they are where toolchain and libraries are the same. What a
    call allocates has a limit of its own."""
    report.begin("instructions")
    runs = count(report, work)
    counts = {name: run.instructions for name, run in runs.items()}
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
    for name in counts:
        floor = floor_of(name)
        if name == floor:
            continue
        if floor == "floor" and runs[name].allocations > ALLOCATIONS_MAX:
            passed = False
            say(f"{name}: a call allocates {runs[name].allocations:.1f} times,"
                f" {ALLOCATIONS_MAX} at most: callgrind_annotate --tree=caller says where")
        was, floor_was = accepted["counts"][name], accepted["counts"][floor]
        grown = [counts[name] / counts[floor] / (was / floor_was)]
        if same:
            grown.append(counts[name] / was)
        if max(grown) > TOLERANCE:
            passed = False
            say(f"{name}: {counts[name]:.0f} instructions, {max(grown):.3f} x what"
                f" was accepted ({was}); find out why, or accept it:"
                " Deploy/bench instructions --accept")
        elif max(grown) < 2 - TOLERANCE:
            say(f"{name}: {counts[name]:.0f} instructions, {was} were accepted: keep the gain with"
                " Deploy/bench instructions --accept")
    return passed
