"""The tools that partners and operators use, against the shipped server as README and runbook say.

grpcurl is in test_health_and_reflection.py; grpcio is everywhere else here.
"""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

import pytest
import stubs
from builders import submission

BUF = pathlib.Path(sys.executable).parent / "buf"
CPP = stubs.ROOT / ".build" / "interop"


def buf_curl(server, method, *words, identity="sre"):
    certs = server.certs
    port = server.address.rsplit(":", 1)[1]
    return subprocess.run(
        [BUF, "curl", "--protocol", "grpc", "--cacert", certs / "ca.crt",
         "--cert", certs / f"{identity}.crt", "--key", certs / f"{identity}.key", *words,
         f"https://localhost:{port}/{method}"],
        capture_output=True, text=True, timeout=60,
        env=dict(os.environ, BUF_CACHE_DIR=str(server.directory / "buf")))


def test_buf_curl_calls_by_reflection(server):
    done = buf_curl(server, "triaged.v1.OperationsService/GetStatus")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["state"] == "SERVING_STATE_SERVING"


def test_buf_curl_calls_by_schema(server):
    request = {"request_id": "11111111-2222-4333-8444-000000000001", "report": {
        "subject": {"kind": "SUBJECT_KIND_POST", "id": "post:bufcurl"},
        "harm_family": "HARM_FAMILY_DISASTER", "reporter": {"kind": "REPORTER_KIND_STAFF"}}}
    done = buf_curl(
        server, "triaged.v1.TriageService/SubmitReport", "--schema", stubs.PROTOS,
        "--data", json.dumps(request), identity="classifier")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["case"].startswith("cases/")


def test_buf_curl_shows_a_refusal(server):
    done = buf_curl(server, "triaged.v1.OperationsService/GetStatus", identity="ana")
    assert done.returncode != 0
    assert json.loads(done.stderr)["code"] == "permission_denied"


def test_h2load_loads_the_health_check(fresh):
    """h2load has no client certificate, so it can only ask for health."""
    if shutil.which("h2load") is None:
        pytest.skip("no h2load on PATH; Deploy/test installs it")
    server = fresh(extra=["--client-certificates", "optional"]).start()
    body = server.directory / "body"
    body.write_bytes(b"\0\0\0\0\0")
    done = subprocess.run(
        ["h2load", "-n", "2000", "-c", "4", "-m", "16", "-d", body, "-H",
         "content-type: application/grpc", "-H", "te: trailers",
         f"https://{server.address}/grpc.health.v1.Health/Check"],
        capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert re.search(r"2000 succeeded, 0 failed, 0 errored, 0 timeout", done.stdout), done.stdout
    assert "2000 2xx, 0 3xx, 0 4xx, 0 5xx" in done.stdout
    page = server.admin_get("/metrics")[1]
    handled = re.search(
        r'grpc_server_handled_total\{[^}]*"grpc.health.v1.Health"[^}]*"Check"[^}]*"OK"\} (\d+)',
        page)
    assert handled and int(handled[1]) == 2000
    assert server.stop() == 0


def grpc_cpp(server, method, request, identity):
    certs = server.certs
    return subprocess.run(
        [CPP / "call", "--port", server.address.rsplit(":", 1)[1], "--ca", certs / "ca.crt",
         "--cert", certs / f"{identity}.crt", "--key", certs / f"{identity}.key",
         "--method", method],
        input=request.SerializeToString(), capture_output=True, timeout=60)


@pytest.mark.skipif(not (CPP / "call").exists(),
                    reason="the C++ peers are not compiled: Deploy/test --only interop")
def test_grpc_cpp_calls(server):
    done = grpc_cpp(server, "/triaged.v1.TriageService/SubmitReport", submission(), "classifier")
    assert done.returncode == 0, done.stderr
    reply = stubs.triage.SubmitReportResponse.FromString(done.stdout)
    assert reply.case.startswith("cases/")
    done = grpc_cpp(server, "/triaged.v1.OperationsService/GetStatus",
                    stubs.operations.GetStatusRequest(), "ana")
    assert done.returncode == 1 and done.stderr.startswith(b"7 "), done.stderr
