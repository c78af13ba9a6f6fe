"""Every interoperability case: our server with stock clients, our client with stock servers.

Source: grpc/grpc doc/interop-test-descriptions.md.
"""

import subprocess

import pytest
import python_client
from conftest import BIN

CASES = list(python_client.CASES)
# grpcio tells a handler nothing of compression, so its server cannot answer the probe of these.
NEEDS_FLAGS = {"client_compressed_unary", "client_compressed_streaming"}


@pytest.fixture(scope="module")
def stub(triage_server, certs):
    stub = python_client.connect(triage_server.port, certs)
    yield stub
    stub.channel.close()


def run(command, port, client_identity, case):
    command = command if isinstance(command, list) else [command]
    done = subprocess.run(
        [str(word) for word in (*command, "--port", port, *client_identity, "--case", case)],
        capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{case}: passed" in done.stdout.splitlines()


@pytest.mark.parametrize("case", CASES)
def test_python_client_triage_server(stub, case):
    python_client.CASES[case](stub)


@pytest.mark.parametrize("case", CASES)
def test_cpp_client_triage_server(cpp, triage_server, client_identity, case):
    run(cpp / "client", triage_server.port, client_identity, case)


@pytest.mark.parametrize("case", [each for each in CASES if each not in NEEDS_FLAGS])
def test_triage_client_python_server(python_server, client_identity, case):
    run(BIN / "triage-interop-client", python_server.port, client_identity, case)


@pytest.mark.parametrize("case", CASES)
def test_triage_client_cpp_server(cpp_server, client_identity, case):
    run(BIN / "triage-interop-client", cpp_server.port, client_identity, case)


@pytest.mark.parametrize("case", CASES)
def test_triage_client_triage_server(triage_server, client_identity, case):
    run(BIN / "triage-interop-client", triage_server.port, client_identity, case)


# grpc-swift-2 tells neither side whether a message came compressed.
PLAIN_CASES = [each for each in CASES if "compressed" not in each]


@pytest.mark.parametrize("case", PLAIN_CASES)
def test_swift_client_triage_server(swift_peer, triage_server, client_identity, case):
    run([swift_peer, "client"], triage_server.port, client_identity, case)


@pytest.mark.parametrize("case", PLAIN_CASES)
def test_triage_client_swift_server(swift_server, client_identity, case):
    run(BIN / "triage-interop-client", swift_server.port, client_identity, case)
