"""Who is let in: certificates that must be refused, identities that the policy does not name."""

import shutil
import signal
import subprocess

import grpc
import pytest
import stubs
from builders import submission
from harness import ROOT, await_true, refused, request_id

STATUS = stubs.operations.GetStatusRequest()
HEALTH = stubs.health.HealthCheckRequest()


def not_connected(client):
    """The handshake fails: no call of any kind is answered, Health included."""
    with pytest.raises(grpc.RpcError) as failure:
        client.health.Check(HEALTH, timeout=20)
    assert failure.value.code() is grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize("name", [
    "expired", "not-yet-valid", "wrong-ca", "no-san", "authority", "no-signature", "two-uris",
    "revoked"])
def test_a_bad_certificate_ends_at_the_handshake(client, name):
    not_connected(client(f"negative/{name}"))


def test_no_certificate_ends_at_the_handshake(client):
    not_connected(client(None))


def test_a_server_of_another_authority_is_not_trusted(client, certs):
    not_connected(client("ana", authority=certs / "negative" / "other-ca.crt"))


def test_a_stranger_may_only_ask_for_health(client):
    stranger = client("negative/stranger")
    assert stranger.health.Check(HEALTH).status == stubs.health.HealthCheckResponse.SERVING
    for call, message in [
            (stranger.operations.GetStatus, STATUS),
            (stranger.triage.SubmitReport, submission()),
            (stranger.triage.GetCase, stubs.triage.GetCaseRequest(name="cases/1"))]:
        assert refused(call, message).code is grpc.StatusCode.PERMISSION_DENIED


@pytest.mark.parametrize("identity, service, method, message", [
    ("classifier", "assignments", "ClaimNext",
     stubs.assignment.ClaimNextRequest(request_id=request_id())),
    ("classifier", "operations", "CreateSnapshot",
     stubs.operations.CreateSnapshotRequest(request_id=request_id())),
    ("ana", "operations", "CreateSnapshot",
     stubs.operations.CreateSnapshotRequest(request_id=request_id())),
    ("sre", "triage", "SubmitReport", submission()),
    ("sre", "disclosures", "ListDisclosureRequests",
     stubs.disclosures.ListDisclosureRequestsRequest()),
    ("hotline", "triage", "ListCases", stubs.triage.ListCasesRequest()),
    ("gil", "triage", "SubmitReport", submission()),
    ("police", "triage", "SubmitReport", submission()),
    ("police", "triage", "ListCases", stubs.triage.ListCasesRequest()),
    ("police", "operations", "GetStatus", STATUS),
    ("erin", "assignments", "ClaimNext",
     stubs.assignment.ClaimNextRequest(request_id=request_id())),
])
def test_a_role_does_not_do_what_it_may_not(client, identity, service, method, message):
    call = getattr(getattr(client(identity), service), method)
    assert refused(call, message).code is grpc.StatusCode.PERMISSION_DENIED


def test_permission_is_judged_before_existence(client):
    """Whoever may not read cases learns nothing from asking for one."""
    known = client("classifier").triage.SubmitReport(submission()).case
    answers = {refused(client("police").triage.GetCase,
                       stubs.triage.GetCaseRequest(name=name)).text
               for name in (known, known[:-1] + ("0" if known[-1] != "0" else "1"))}
    assert len(answers) == 1


def test_an_optional_listener_answers_health_alone_without_a_certificate(fresh):
    server = fresh(extra=["--client-certificates", "optional"]).start()
    with server.client(None) as probe:
        assert probe.health.Check(HEALTH).status == stubs.health.HealthCheckResponse.SERVING
        assert refused(probe.operations.GetStatus, STATUS).code is grpc.StatusCode.UNAUTHENTICATED
    with server.client("sre") as sre:
        sre.operations.GetStatus(STATUS)
    with server.client("negative/wrong-ca") as wrong:
        not_connected(wrong)


def test_a_certificate_revoked_while_running_is_out_after_a_reload(fresh, certs, tmp_path):
    mine = tmp_path / "certs"
    shutil.copytree(certs, mine)
    server = fresh(certs=mine).start()
    with server.client("ana") as ana:
        ana.health.Check(HEALTH)
    subprocess.run([ROOT / "Certs" / "mint", mine, "--revoke", "ana"], check=True,
                   stdout=subprocess.DEVNULL)
    server.signal(signal.SIGHUP)

    def is_out():
        with server.client("ana") as ana:
            try:
                ana.health.Check(HEALTH, timeout=20)
            except grpc.RpcError as error:
                assert error.code() is grpc.StatusCode.UNAVAILABLE
                return True
            return False

    await_true(is_out, 10, "ana being refused")
    with server.client("ben") as ben:
        ben.health.Check(HEALTH)


@pytest.mark.parametrize("crl", ["missing.pem", "negative/stale-crl.pem"])
def test_a_revocation_list_that_cannot_be_used_lets_nobody_in(fresh, certs, crl):
    """Fail closed: refuse to start, or refuse every client."""
    server = fresh()
    server.crl = certs / crl
    try:
        server.start()
    except AssertionError as failure:
        said = str(failure).lower()
        assert crl in said or "revocation list" in said
        return
    with server.client("ana") as ana:
        not_connected(ana)


def test_tls_is_1_3_and_h2_only(server, certs):
    host = ["openssl", "s_client", "-connect", server.address, "-CAfile", certs / "ca.crt",
            "-cert", certs / "ana.crt", "-key", certs / "ana.key"]

    def shake(*options):
        return subprocess.run([*host, *options], input="", capture_output=True, text=True,
                              timeout=10)

    good = shake("-alpn", "h2", "-tls1_3")
    assert "ALPN protocol: h2" in good.stdout and "TLSv1.3" in good.stdout
    assert "alert" in shake("-alpn", "h2", "-tls1_2").stderr
    assert "alert" in shake("-alpn", "http/1.1", "-tls1_3").stderr
    assert "Max Early Data: 0" in good.stdout or "Early data was not sent" in good.stdout
