"""What README and runbook tell people to type works as printed, against the shipped server."""

import os
import pathlib
import re
import shutil
import subprocess
import sys

import pytest
from harness import BIN, ROOT, Server

TOOLS = {"h2load": "nghttp2-client", "g++": "g++", "grpc_cpp_plugin": "protobuf-compiler-grpc"}


def blocks():
    """Every shell block that calls a server, with the document and the line where it begins."""
    for path in (ROOT / "README.md", ROOT / "Deploy" / "runbook.md"):
        text = path.read_text()
        for match in re.finditer(r"^```sh\n(.*?)^```", text, re.M | re.S):
            line = text[:match.start()].count("\n") + 1
            if re.search(r"8443|triagectl|examples/\S+\.py|^\$g ", match[1], re.M):
                yield pytest.param(path, match[1], id=f"{path.name}:{line}")


@pytest.fixture(scope="module")
def server(tmp_path_factory, certs):
    # As the runbook says where h2load needs it; everything else shows a certificate.
    server = Server(tmp_path_factory.mktemp("documents"), certs,
                    extra=["--client-certificates", "optional"]).start()
    yield server
    assert server.stop() == 0


# The variable that later blocks take from the README.
GRPCURL = re.search(r'^g=".*"$', (ROOT / "README.md").read_text(), re.M)[0]


@pytest.mark.parametrize("path, text", blocks())
def test_what_is_printed_works(server, tmp_path, path, text):
    for tool, package in TOOLS.items():
        if re.search(rf"\b{re.escape(tool)}\b|Interop/cpp" if tool != "h2load" else r"\bh2load\b",
                     text) and shutil.which(tool) is None:
            pytest.skip(f"no {tool}: Deploy/test installs {package}")
    if "triaged serve" in text:
        pytest.skip("starts a server of its own: test_lifecycle.py")
    port = server.address.rsplit(":", 1)[1]
    script = "set -euo pipefail\n" + ("" if GRPCURL in text else GRPCURL + "\n") + text
    for printed, here in [
            ("localhost:8443", f"localhost:{port}"), ("--port 8443", f"--port {port}"),
            ("Certs/dev", str(server.certs)),
            ("Deploy/.venv/bin/", f"{pathlib.Path(sys.executable).parent}/"),
            (".build/release/", f"{BIN}/"), (".build/empty-message", str(tmp_path / "empty")),
            (".build/backup", str(tmp_path / "backup")),
            ("examples/submit.py", f"examples/submit.py localhost:{port}")]:
        script = script.replace(printed, here)
    done = subprocess.run(
        ["bash", "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=600,
        env=dict(os.environ, TRIAGED_SERVER=server.address, TRIAGED_CERTS=str(server.certs),
                 BUF_CACHE_DIR=str(tmp_path / "buf")))
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert done.stdout.strip(), "it shows something"
    if "h2load" in text:
        assert "2000 succeeded, 0 failed, 0 errored, 0 timeout" in done.stdout, done.stdout


def test_every_tool_of_the_promise_is_in_a_document():
    text = "".join(param.values[1] for param in blocks())
    for tool in ("triagectl", "grpcurl", "buf curl", "h2load", "interop/call", "python"):
        assert tool in text, tool
