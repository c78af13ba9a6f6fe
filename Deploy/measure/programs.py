"""Builds what is measured and what measures: the release, the measuring servers, the C floor, and
the peers of ../shared/bench-peers where that folder is."""

import os
import pathlib
import subprocess
import sys

from .machine import CERTS, ROOT, run, say, shell

FLOOR = ROOT / ".build" / "floor"
PEERS_OUT = pathlib.Path(os.environ.get("BENCH_OUT") or ROOT / ".build" / "bench-peers")
SERVERS = ("triage-echo", "triage-volatile")
TOOLS = {"wire": SERVERS, "instructions": SERVERS,
         "storage": ("triage-storage-bench",), "index": ("triage-index-bench",)}
LIBRARIES = ("-lnghttp2", "-lssl", "-lcrypto", "-lprotobuf-c", "-lm")


def build_floor():
    """The C programs of Deploy/floor; the work of bench.Triage/Submit is the one that triage-echo
    does."""
    FLOOR.mkdir(parents=True, exist_ok=True)
    here, echo = ROOT / "Deploy" / "floor", ROOT / "Tests" / "CBenchEcho"
    programs = {
        "floor-disk": [here / "disk.c"],
        "floor-server": [here / "server.c", echo / "submit.c", echo / "triage.pb-c.c"],
        "floor-load": [here / f"{name}.c" for name in ("load", "client", "connects", "fanout")],
    }
    for name, sources in programs.items():
        run(["cc", "-O2", "-march=native", "-Wall", "-Wextra", "-I", here, "-I", echo / "include",
             "-o", FLOOR / name, *sources, here / "common.c", *LIBRARIES])


def build(parts):
    packages = "$build_packages $bench_packages"
    if {"wire", "instructions"} & set(parts):
        packages += " $instructions_packages"
    release = "; build_release" if {"wire", "storage"} & set(parts) else ""
    if not shell(f"need_packages {packages}; need_swift{release}"):
        sys.exit(69)
    for tool in sorted({tool for part in parts for tool in TOOLS[part]}):
        run(["swift", "build", "-c", "release", "--package-path", ROOT, "--product", tool],
            stderr=subprocess.STDOUT)
    run([ROOT / "Certs" / "mint", CERTS])
    build_floor()


class Peer:
    """A server of ../shared/bench-peers: how that folder builds and starts it."""

    def __init__(self, name, step, command):
        self.name, self.step, self.command = name, step, command


PEERS = (
    Peer("c_floor_peer", "c-floor", "{out}/cfloor {port} {certs}"),
    Peer("grpc_cpp_cq", "grpc-cpp", "{out}/triage-grpc-cpp {port} {certs} cq 1"),
    Peer("grpc_cpp_cb", "grpc-cpp", "{out}/triage-grpc-cpp {port} {certs} cb"),
    Peer("grpc_go", "grpc-go", "env GOMAXPROCS=1 {out}/triage-grpc-go {port} {certs}"),
    Peer("grpc_swift", "grpc-swift", "{out}/swift/release/triage-grpc-swift {port} {certs}"),
    Peer("grpc_swift_takeover", "grpc-swift",
         "{out}/swift/release/triage-grpc-swift {port} {certs} takeover"),
)


def peers_folder():
    """Where the peers' sources are: $BENCH_PEERS, or beside this checkout; none elsewhere."""
    named = os.environ.get("BENCH_PEERS")
    folder = pathlib.Path(named) if named else ROOT.parent / "shared" / "bench-peers"
    if (folder / "build").is_file():
        return folder
    if named:
        sys.exit(f"bench: BENCH_PEERS={named} has no program `build`")
    return None


def build_peers(short):
    """Builds the peers, and returns those that there are. With `short` only the one in C, which
    takes a second: what is shown is that they can be measured."""
    folder = peers_folder()
    if folder is None:
        say("no ../shared/bench-peers: measured beside nghttpd and the C floor alone")
        return []
    steps = ["c-floor"] if short else list(dict.fromkeys(peer.step for peer in PEERS))
    if not short and not shell("need_packages $peer_packages"):
        sys.exit(69)
    built = []
    for step in steps:
        say(f"building {step} of bench-peers")
        PEERS_OUT.mkdir(parents=True, exist_ok=True)
        with open(PEERS_OUT / f"build-{step}.log", "wb") as log:
            done = subprocess.run([folder / "build", step], stdout=log, stderr=log,
                                  env=dict(os.environ, BENCH_OUT=str(PEERS_OUT)))
        if done.returncode == 0:
            built.append(step)
        else:
            say(f"{step} could not be built and is not measured: see {log.name}")
    return [peer for peer in PEERS if peer.step in built]
