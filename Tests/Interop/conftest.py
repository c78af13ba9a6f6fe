"""Builds and starts the peers of the interoperability cases."""

import os
import pathlib
import subprocess
import sys
import threading

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
HERE = ROOT / "Tests" / "Interop"
BIN = pathlib.Path(os.environ.get("TRIAGE_INTEROP_BIN", ROOT / ".build" / "debug"))
sys.path.insert(0, str(HERE))


class Peer:
    """A server of the cases: a process that prints its port."""

    def __init__(self, command):
        self.process = subprocess.Popen(
            [str(word) for word in command], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL,
            text=True)
        alarm = threading.Timer(30, self.process.kill)
        alarm.start()
        line = self.process.stdout.readline()
        alarm.cancel()
        assert line.startswith("listening "), f"{command[0]} said {line!r}"
        self.port = int(line.rsplit(":", 1)[1])

    def stop(self):
        self.process.terminate()
        try:
            code = self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = self.process.wait()
        self.process.stdout.close()
        return code


@pytest.fixture(scope="session")
def certs(tmp_path_factory):
    """A CA and identities of this run."""
    directory = tmp_path_factory.mktemp("certs")
    subprocess.run([ROOT / "Certs" / "mint", directory], check=True, stdout=subprocess.DEVNULL)
    return directory


@pytest.fixture(scope="session")
def cpp():
    """The C++ peers, compiled; they are kept between runs."""
    directory = ROOT / ".build" / "interop"
    done = subprocess.run([HERE / "cpp" / "build", directory], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return directory


def _options(certs, name):
    return ["--ca", certs / "ca.crt", "--cert", certs / f"{name}.crt", "--key",
            certs / f"{name}.key"]


@pytest.fixture(scope="session")
def server_identity(certs):
    """The options that every server takes."""
    return _options(certs, "server")


@pytest.fixture(scope="session")
def client_identity(certs):
    """The options that every client takes."""
    return _options(certs, "ana")


@pytest.fixture(scope="session")
def triage_server(server_identity):
    """Our server."""
    peer = Peer([BIN / "triage-interop-server", "--port", "0", *server_identity])
    yield peer
    assert peer.stop() == 0, "triage-interop-server did not end well"


@pytest.fixture(scope="session")
def python_server(server_identity):
    """python grpcio's server."""
    peer = Peer([sys.executable, HERE / "python_server.py", "--port", "0", *server_identity])
    yield peer
    peer.stop()


@pytest.fixture(scope="session")
def cpp_server(cpp, server_identity):
    """grpc++'s server."""
    peer = Peer([cpp / "server", "--port", "0", *server_identity])
    yield peer
    peer.stop()


@pytest.fixture(scope="session")
def swift_peer():
    """grpc-swift-2's peer, client and server in one program; Deploy/test --swift-peer builds it."""
    path = os.environ.get("TRIAGE_SWIFT_PEER")
    if path is None:
        pytest.skip("grpc-swift-2 takes minutes to build: Deploy/test --swift-peer")
    return path


@pytest.fixture(scope="session")
def swift_server(swift_peer, server_identity):
    """grpc-swift-2's server."""
    peer = Peer([swift_peer, "server", "--port", "0", *server_identity])
    yield peer
    peer.stop()
