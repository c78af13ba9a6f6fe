"""The servers that are measured: ours, the C floor, nghttpd and the peers, each on its CPU, each
for as long as a `with` block."""

import json
import os
import pathlib
import shlex
import signal
import socket
import subprocess
import sys
import time

from .machine import BIN, CERTS, CLIENT_CPU, ROOT, SERVER_CPU, pinned, run
from .messages import Get, echo, report
from .programs import FLOOR, PEERS_OUT


def wait_for_port(port, process, seconds=30):
    """True when something listens there; false when the process ended before."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return True
        if process.poll() is not None:
            return False
        time.sleep(0.02)
    return False


def free_port():
    """A port that nobody listens on, below those that clients get."""
    for port in range(21_000, 22_000):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue
    sys.exit("bench: no port between 21000 and 22000 is free")


class Server:
    """A process that serves on `port`; its first line says `listening HOST:PORT`."""

    request = echo()

    def __init__(self, name, words, work, cpu=SERVER_CPU):
        self.name, self.words, self.cpu = name, words, cpu
        self.log = pathlib.Path(work) / f"{name}.log"
        self.process, self.port, self.start_seconds = None, None, None

    @property
    def pid(self):
        return self.process.pid

    def launch(self, words, **options):
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(pinned(words, self.cpu), stderr=log, **options)

    def start(self):
        began = time.monotonic()
        self.launch(self.words, stdout=subprocess.PIPE)
        line = self.process.stdout.readline().decode()
        if not line.startswith("listening "):
            sys.exit(f"bench: {self.name} did not start: {line}{self.log.read_text()}")
        self.start_seconds = time.monotonic() - began
        self.port = int(line.split()[1].rsplit(":", 1)[1])
        return self

    def pin(self, cpu):
        """Moves what runs to one CPU, if there are several."""
        if os.cpu_count() > 1:
            for task in pathlib.Path(f"/proc/{self.pid}/task").iterdir():
                os.sched_setaffinity(int(task.name), {cpu})

    def stop(self, number=signal.SIGTERM):
        if self.process:
            self.process.send_signal(number)
            self.process.wait(60)
            if self.process.stdout:
                self.process.stdout.close()
            self.process = None

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()


class Silent(Server):
    """A server that takes its port as an argument and says nothing."""

    def start(self):
        self.port = free_port()
        fill = {"port": self.port, "certs": CERTS, "out": PEERS_OUT}
        words = [str(word).format(**fill) for word in self.words]
        self.launch(words, stdout=subprocess.DEVNULL)
        if not wait_for_port(self.port, self.process):
            self.stop(signal.SIGKILL)
            sys.exit(f"bench: {self.name} does not listen: {self.log.read_text()}")
        return self

    def stop(self, number=signal.SIGKILL):
        super().stop(number)


def floor(work, **options):
    """The same libraries in C, and nothing else."""
    return Server("floor", [FLOOR / "floor-server", 0, CERTS], work, **options)


def echo_server(work, *options, **others):
    """Our transport with the peers' method."""
    return Server("echo", [BIN / "triage-echo", 0, CERTS, *options], work, **others)


def nghttpd(work):
    """libnghttp2's own server with a file as long as the peers' reply: 69 bytes. Asks for the
    client's certificate, but does not verify its chain."""
    root = pathlib.Path(work) / "www"
    root.mkdir(exist_ok=True)
    (root / "file").write_bytes(b"x" * 69)
    server = Silent("nghttpd", ["nghttpd", "-V", "-n", 1, "-d", root, "{port}",
                                "{certs}/server.key", "{certs}/server.crt"], work)
    server.request = Get("/file")
    return server


def peer_server(peer, work):
    """A server of bench-peers."""
    return Silent(peer.name, shlex.split(peer.command), work)


def volatile(work, *options, **others):
    """Our services and engine over a journal that keeps nothing."""
    server = Server("volatile", [BIN / "triage-volatile", 0, CERTS, *options], work, **others)
    server.request = report()
    return server


def triaged(data, *options, **others):
    """The daemon, with its state in a directory of its own."""
    words = [BIN / "triaged", "serve", "--data", data, "--listen", "127.0.0.1:0", "--admin",
             "127.0.0.1:0", "--cert", CERTS / "server.crt", "--key", CERTS / "server.key",
             "--client-ca", CERTS / "ca.crt", "--crl", CERTS / "crl.pem", "--policy",
             ROOT / "Deploy" / "policy" / "policy.yaml",
             # One identity makes all calls here: what is measured is not its share.
             "--identity-calls-per-second", "100000000", *options]
    server = Server("triaged", words, pathlib.Path(data).parent, **others)
    server.request = report()
    return server


def triagectl(server, command, *words):
    """What a command of `triagectl` says of a server."""
    text = run([BIN / "triagectl", command, *words, "--json", "--server",
                f"127.0.0.1:{server.port}"], cpu=CLIENT_CPU,
               env=dict(os.environ, TRIAGED_CERTS=str(CERTS)))
    return json.loads(text)
