"""Start, drain, reload, and refusing to start."""

import os
import pathlib
import re
import resource
import shutil
import signal
import subprocess
import threading
import time

import grpc
import pytest
import stubs
from builders import submission
from google.protobuf import duration_pb2
from harness import BIN, Failed, await_true, request_id, submit_all

T, A, O = stubs.triage, stubs.assignment, stubs.operations
STATUS = O.GetStatusRequest()


def one_line(failure):
    """Refusing to start is one clear line and a non-zero exit, never a crash."""
    assert failure.value.code > 0, f"a signal or success: {failure.value.code}"
    lines = failure.value.text.strip().splitlines()
    assert len(lines) == 1 and len(lines[0]) < 500, failure.value.text
    return lines[0]


def arrived(client):
    """What was sent before on this client's one connection has been read when this is answered."""
    client.health.Check(stubs.health.HealthCheckRequest())


def test_a_drain_fails_no_call(fresh):
    server = fresh().start()
    stop, done, failures = threading.Event(), [], []

    def load():
        with server.client("classifier") as intake:
            while not stop.is_set():
                try:
                    done.append(intake.triage.SubmitReport(submission()))
                except grpc.RpcError as error:
                    # Told before anything was done, as the count below shows, it may go elsewhere.
                    if error.code() is not grpc.StatusCode.UNAVAILABLE:
                        failures.append(error)
                    return

    workers = [threading.Thread(target=load, daemon=True) for _ in range(6)]
    for each in workers:
        each.start()
    await_true(lambda: len(done) > 50, 20, "load")
    assert server.stop(20) == 0
    stop.set()
    for each in workers:
        each.join(20)
    assert not failures
    server.start()
    with server.client("dana") as dana:
        count = dana.triage.ListCases(T.ListCasesRequest()).open_count
        assert count == len(done), "what was begun was answered"


def test_a_call_in_flight_is_finished_by_a_drain(fresh):
    """A claim that waits ends with an answer, not with a broken connection."""
    server = fresh().start()
    with server.client("chloe") as chloe:
        waiting = chloe.assignments.ClaimNext.future(A.ClaimNextRequest(
            request_id=request_id(), wait_duration=duration_pb2.Duration(seconds=3)))
        arrived(chloe)
        began = time.monotonic()
        assert server.stop(20) == 0
        assert not waiting.result(timeout=5).HasField("assignment")
        assert time.monotonic() - began < 15, "bounded"


def test_watches_end_with_unavailable_on_a_drain(fresh):
    server = fresh().start()
    with server.client("dana") as dana:
        watch = dana.triage.WatchBoard(T.WatchBoardRequest(), timeout=60)
        assert next(watch).WhichOneof("change") == "bookmark"
        server.signal(signal.SIGTERM)
        with pytest.raises(grpc.RpcError) as failure:
            next(watch)
        assert failure.value.code() is grpc.StatusCode.UNAVAILABLE
        assert server.process.wait(20) == 0
        server.process = None


def test_readiness_goes_before_the_server_does(fresh):
    server = fresh().start()
    assert server.admin_get("/readyz")[0] == 200
    with server.client("chloe") as chloe:
        waiting = chloe.assignments.ClaimNext.future(A.ClaimNextRequest(
            request_id=request_id(), wait_duration=duration_pb2.Duration(seconds=4)))
        arrived(chloe)
        server.signal(signal.SIGTERM)

        def not_ready():
            try:
                return server.admin_get("/readyz")[0] == 503
            except OSError:
                return True

        await_true(not_ready, 5, "/readyz saying no")
        assert server.process.wait(20) == 0
        waiting.cancel()
        server.process = None


def test_a_drain_goes_on_accepting_until_balancers_have_heard_of_it(fresh):
    server = fresh(extra=["--drain-wait-seconds", "60"]).start()
    with server.client("chloe") as chloe:
        watching = chloe.health.Watch(stubs.health.HealthCheckRequest(), timeout=60)
        assert next(watching).status == 1
        server.signal(signal.SIGTERM)
        assert next(watching).status == 2, "who watches is told at once"
        assert server.admin_get("/readyz")[0] == 503
        with server.client("classifier") as late:
            assert late.triage.SubmitReport(submission()).opened
        # Those who wait for nobody say it again.
        server.signal(signal.SIGTERM)
        with pytest.raises(grpc.RpcError) as failure:
            next(watching)
        assert failure.value.code() is grpc.StatusCode.UNAVAILABLE
    assert server.process.wait(20) == 0
    server.process = None


@pytest.mark.parametrize("seconds", ["-1", "61", "soon"])
def test_a_wait_that_cannot_be_meant(fresh, seconds):
    server = fresh(extra=[f"--drain-wait-seconds={seconds}"])
    with pytest.raises(Failed) as failure:
        server.start()
    assert "drain-wait-seconds" in one_line(failure)


def test_a_crash_would_leave_no_core_file(fresh):
    _, most = before = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (most, most))
    try:
        server = fresh().start()
    finally:
        resource.setrlimit(resource.RLIMIT_CORE, before)
    limits = pathlib.Path(f"/proc/{server.process.pid}/limits").read_text()
    assert re.search(r"^Max core file size +0 +0 ", limits, re.M), limits


def test_no_other_process_of_the_user_reads_the_servers_memory(fresh, certs, tmp_path):
    """What is not dumpable belongs to root in /proc, whoever runs it."""
    if os.geteuid() != 0:
        assert os.stat(f"/proc/{fresh().start().process.pid}/mem").st_uid == 0
        return
    nobody = 65534
    mine = shutil.copytree(certs, tmp_path / "certs")
    server = fresh(certs=mine, user=nobody)
    server.data.mkdir(parents=True)
    for path in [tmp_path, *tmp_path.parents]:
        os.chmod(path, os.stat(path).st_mode | 0o711)
    for path in (server.directory, server.data, server.policy, mine, *mine.rglob("*")):
        os.chown(path, nobody, nobody)
    server.start()
    assert os.stat(f"/proc/{server.process.pid}/mem").st_uid == 0
    assert f"Uid:\t{nobody}\t" in pathlib.Path(f"/proc/{server.process.pid}/status").read_text()


def test_a_second_server_on_the_same_data_is_refused(fresh, certs):
    first = fresh().start()
    second = fresh("second")
    second.data = first.data
    with pytest.raises(Failed) as failure:
        second.start()
    assert str(first.data) in one_line(failure)
    with first.client("sre") as sre:
        sre.operations.GetStatus(STATUS)
    assert first.stop() == 0
    second.start()


@pytest.mark.parametrize("attribute, name, word", [
    ("cert", "negative/expired-server.crt", "expired"),
    ("cert", "no-such.crt", "no-such.crt"),
    ("key", "ana.key", "key"),
    ("cert", "ana.key", "ana.key"),
])
def test_a_certificate_that_cannot_serve(fresh, certs, attribute, name, word):
    server = fresh()
    setattr(server, attribute, certs / name)
    if "expired" in name:
        server.key = certs / name.replace(".crt", ".key")
    with pytest.raises(Failed) as failure:
        server.start()
    assert word in one_line(failure)


def test_a_port_in_use(fresh):
    first = fresh().start()
    second = fresh("second")
    with pytest.raises(Failed) as failure:
        second.start(listen=first.address)
    assert first.address.split(":")[1] in one_line(failure)


POLICY = """version: 1
principals:
  - id: spiffe://triaged.example/operator/sre
    roles: [operator]
"""


@pytest.mark.parametrize("text, line, why", [
    (POLICY + "  - id: [\n", 6, "broken YAML"),
    (POLICY + "  - id: spiffe://triaged.example/x\n    roles: [emperor]\n", 6, "unknown role"),
    (POLICY + "  - id: dns:x.example\n    roles: [external_partner, legal]\n", 5, "an agency"),
    (POLICY + "  - id: spiffe://triaged.example/x\n", 5, "no roles"),
    (POLICY + "  - id: spiffe://triaged.example/operator/sre\n    roles: [lead]\n", 5, "twice"),
    (POLICY + "  - id: spiffe://triaged.example/x\n    roles: [specialist]\n"
     "    skills: [juggling]\n", 7, "unknown skill"),
    (POLICY.replace("version: 1", "version: 9"), 1, "unknown version"),
    (POLICY + "colour: red\n", 5, "unknown key"),
], ids=lambda value: value if isinstance(value, str) and "\n" not in value else "")
def test_a_policy_with_an_error_names_line_and_column(fresh, text, line, why):
    server = fresh()
    server.policy.write_text(text)
    with pytest.raises(Failed) as failure:
        server.start()
    said = one_line(failure)
    assert "policy.yaml" in said
    assert f":{line}:" in said or f"line {line}" in said, f"{why}: {said}"


def test_a_reload_takes_a_good_policy_and_keeps_the_old_one_over_a_bad_one(fresh):
    server = fresh().start()
    with server.client("sre") as sre, server.client("gil") as gil:
        sre.operations.GetStatus(STATUS)
        server.policy.write_text(POLICY + "  - id: [\n")
        server.signal(signal.SIGHUP)
        await_true(lambda: "policy.yaml" in server.said(), what="the error in the log")
        assert "line 6" in server.said() or ":6:" in server.said()
        gil.triage.ListCases(T.ListCasesRequest())
        server.policy.write_text(POLICY)
        server.signal(signal.SIGHUP)

        def is_out():
            try:
                gil.triage.ListCases(T.ListCasesRequest())
                return False
            except grpc.RpcError as error:
                return error.code() is grpc.StatusCode.PERMISSION_DENIED

        await_true(is_out, 10, "the new policy being in force on an open connection")
        sre.operations.GetStatus(STATUS)


def test_check_config_judges_without_starting(fresh):
    server = fresh()
    words = server.arguments()
    words[1] = "check-config"
    good = subprocess.run(words, capture_output=True, text=True, timeout=30)
    assert good.returncode == 0, good.stderr
    server.policy.write_text(POLICY + "  - id: [\n")
    bad = subprocess.run(words, capture_output=True, text=True, timeout=30)
    assert bad.returncode > 0 and "policy.yaml" in bad.stderr
    assert not list(server.data.glob("*")) if server.data.exists() else True


def test_inspect_reads_without_the_server(fresh):
    server = fresh().start()
    with server.client("classifier") as intake, server.client("sre") as sre:
        for _ in range(3):
            intake.triage.SubmitReport(submission())
        sre.operations.CreateSnapshot(O.CreateSnapshotRequest(request_id=request_id()))
        intake.triage.SubmitReport(submission())
    server.stop()
    before = {path: path.read_bytes() for path in server.data.rglob("*") if path.is_file()}
    done = subprocess.run([BIN / "triaged", "inspect", "--data", server.data],
                          capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
    assert "Synthetic text" not in done.stdout, "no content without being asked for it"
    after = {path: path.read_bytes() for path in server.data.rglob("*") if path.is_file()}
    assert after == before, "reads only"


def figure(server, name):
    _, text = server.admin_get("/metrics")
    return next(float(line.split()[1]) for line in text.splitlines() if line.startswith(name + " "))


def test_superfluous_snapshots_go_and_the_journal_stays_unless_told_otherwise(fresh, tmp_path):
    server = fresh(extra=["--snapshots-kept", "1"]).start()
    with server.client("classifier") as intake, server.client("sre") as sre:
        for count in range(3):
            intake.triage.SubmitReport(submission())
            sre.operations.CreateSnapshot(O.CreateSnapshotRequest(request_id=request_id()))
        await_true(lambda: len(list(server.data.glob("*.snapshot"))) == 1, 10, "one snapshot")
        await_true(lambda: figure(server, "triaged_snapshots") == 1, 10, "the metrics saying so")
        assert figure(server, "triaged_journal_first_sequence") == 1
        assert figure(server, "triaged_journal_segments") == 1
        assert figure(server, "triaged_journal_tidy_failures_total") == 0
    server.stop()
    archive = tmp_path / "archive"
    archive.mkdir()
    words = [BIN / "triaged", "inspect", "verify", "--data", server.data]
    done = subprocess.run([*words, "--journal-archive", archive], capture_output=True, text=True,
                          timeout=30)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].startswith("verified")


@pytest.mark.parametrize("words, word", [
    (["--journal-retention", "forget"], "journal-retention"),
    (["--journal-retention", "archive"], "journal-archive"),
    (["--journal-archive", "/tmp/elsewhere"], "journal-archive"),
    (["--journal-retention", "archive", "--journal-archive", "DATA/old"], "outside"),
    (["--journal-retention", "archive", "--journal-archive", "PARENT//NAME/old"], "outside"),
    (["--snapshots-kept", "0"], "snapshots-kept"),
])
def test_a_retention_that_cannot_be_meant(fresh, words, word):
    server = fresh()
    server.extra = [
        each.replace("DATA", str(server.data)).replace("NAME", server.data.name)
        .replace("PARENT", str(server.data.parent)) for each in words]
    with pytest.raises(Failed) as failure:
        server.start()
    assert word in one_line(failure)


def test_an_address_that_nobody_could_be_told_is_no_failure(fresh):
    server = fresh()
    server.data.mkdir(parents=True)
    with open("/dev/full", "w") as full, open(server.log, "ab") as log:
        process = subprocess.Popen(
            server.arguments(), stdout=full, stderr=log, stdin=subprocess.DEVNULL)

    def is_ready():
        try:
            return server.admin_get("/readyz")[0] == 200
        except OSError:
            return False

    await_true(is_ready, what="the server")
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0


def test_a_second_start_is_quick(fresh):
    server, empty = fresh().start(), fresh("empty").start()
    with server.client("classifier") as intake:
        submit_all(intake, [submission() for _ in range(200)])
    for each in (server, empty):
        assert each.stop() == 0
        each.start()
    assert server.recovery_seconds < empty.recovery_seconds + 2


def test_flags_come_before_environment_before_file(fresh, tmp_path):
    config = tmp_path / "triaged.yaml"
    config.write_text("listen: 127.0.0.1:1\n")
    server = fresh(config=config).start()
    assert not server.address.endswith(":1"), "the flag has the last word"
    assert server.stop() == 0


@pytest.mark.parametrize("words", [[], ["serve"], ["serve", "--no-such"], ["no-such"]])
def test_a_wrong_command_line_says_what_to_do(words):
    done = subprocess.run([BIN / "triaged", *words], capture_output=True, text=True, timeout=30,
                          env={"PATH": "/usr/bin:/bin"})
    text = done.stdout + done.stderr
    assert "usage" in text.lower() or "--" in text
    assert done.returncode > 0 or not words
