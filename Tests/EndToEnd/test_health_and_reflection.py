"""What stock tools find out by themselves: health, reflection, and the admin port's pages."""

import json
import re
import subprocess
import sys

import grpc
import pathlib
import pytest
import stubs
from builders import submission
from harness import Refusal, refused

H = stubs.health
GRPCURL = pathlib.Path(sys.executable).parent / "grpcurl"


def grpcurl(server, *words, identity="sre", before=()):
    certs = server.certs
    return subprocess.run(
        [GRPCURL, "-cacert", certs / "ca.crt", "-cert", certs / f"{identity}.crt",
         "-key", certs / f"{identity}.key", *before, server.address, *words],
        capture_output=True, text=True, timeout=30)


def test_grpcurl_lists_every_service(server):
    listed = grpcurl(server, "list").stdout.split()
    for service in [each.full_name for each in stubs.SERVICES] + ["grpc.health.v1.Health"]:
        assert service in listed
    methods = grpcurl(server, "list", "triaged.v1.TriageService").stdout.split()
    assert "triaged.v1.TriageService.SubmitReport" in methods and len(methods) == 9


def test_grpcurl_describes_a_message(server):
    text = grpcurl(server, "describe", "triaged.v1.SubmitReportRequest").stdout
    assert "string request_id = 1" in text and ".triaged.v1.Report report = 2" in text


def test_grpcurl_calls_by_reflection(server):
    done = grpcurl(server, "triaged.v1.OperationsService/GetStatus")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["state"] == "SERVING_STATE_SERVING"


def test_grpcurl_submits_by_reflection(server):
    sent = {"request_id": "11111111-2222-4333-8444-555555555555", "report": {
        "subject": {"kind": "SUBJECT_KIND_POST", "id": "post:grpcurl"},
        "harm_family": "HARM_FAMILY_DISASTER", "reporter": {"kind": "REPORTER_KIND_STAFF"}}}
    done = grpcurl(server, "triaged.v1.TriageService/SubmitReport", identity="classifier",
                   before=["-d", json.dumps(sent)])
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["case"].startswith("cases/")


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
def test_reflection_serves_both_versions(server, client, version):
    """The stream is written by hand: list_services (field 7) with an empty host."""
    call = client("ana").raw.stream_stream(
        f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo")
    reply = next(call(iter([b"\x3a\x01*"]), timeout=10))
    assert b"triaged.v1.DisclosureService" in reply


def test_reflection_says_what_it_does_not_know(server):
    assert "not found" in grpcurl(server, "describe", "triaged.v1.Nothing").stderr.lower()


def test_health_check(client):
    health = client("ana").health
    serving = H.HealthCheckResponse.SERVING
    assert health.Check(H.HealthCheckRequest()).status == serving
    for service in stubs.SERVICES:
        assert health.Check(H.HealthCheckRequest(service=service.full_name)).status == serving
    with pytest.raises(grpc.RpcError) as failure:
        health.Check(H.HealthCheckRequest(service="no.such.Service"))
    assert Refusal(failure.value).code is grpc.StatusCode.NOT_FOUND


def test_health_watch_of_an_unknown_service_waits(client):
    watch = client("ana").health.Watch(H.HealthCheckRequest(service="no.such"), timeout=10)
    assert next(watch).status == H.HealthCheckResponse.SERVICE_UNKNOWN
    watch.cancel()


def test_health_watch_says_when_the_server_drains(fresh):
    server = fresh().start()
    with server.client("ana") as ana:
        watch = ana.health.Watch(H.HealthCheckRequest(), timeout=30)
        assert next(watch).status == H.HealthCheckResponse.SERVING
        server.signal(15)
        assert next(watch).status == H.HealthCheckResponse.NOT_SERVING
    assert server.stop() == 0


def test_an_unknown_method_is_unimplemented(client):
    ana = client("ana")
    for path in ("/triaged.v1.TriageService/NoSuch", "/no.such.Service/Method"):
        assert refused(ana.call_bytes, path, b"").code is grpc.StatusCode.UNIMPLEMENTED


def test_admin_pages(server, client):
    client("classifier").triage.SubmitReport(submission())
    assert server.admin_get("/livez")[0] == 200
    assert server.admin_get("/readyz")[0] == 200
    assert server.admin_get("/nothing")[0] == 404
    code, text = server.admin_get("/metrics")
    assert code == 200
    samples = [line for line in text.splitlines() if line and not line.startswith("#")]
    assert samples
    shape = re.compile(r'^[a-zA-Z_:][\w:]*(\{(\w+="[^"]*",?)*\})? -?[\d.eE+naifNI-]+$')
    assert [line for line in samples if not shape.match(line)] == []
    typed = {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")}
    names = {re.split(r"[{ ]", line)[0] for line in samples}
    bare = {re.sub(r"_(bucket|sum|count)$", "", name) for name in names}
    assert bare | names >= typed and all(
        name in typed or re.sub(r"_(bucket|sum|count)$", "", name) in typed for name in names)
