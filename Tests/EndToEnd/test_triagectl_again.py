"""The command line when answers are lost, servers fail or lie, and commands are given again."""

import contextlib
import hashlib
import json
import subprocess
import types
import uuid
from concurrent import futures

import grpc
import pytest
import stubs
from builders import submission
from harness import BIN, ROOT, triagectl

A, C, L, O, T = stubs.assignment, stubs.case, stubs.lease, stubs.operations, stubs.triage
REPORT = {"subject": {"kind": "SUBJECT_KIND_POST", "id": "post:1"},
          "harmFamily": "HARM_FAMILY_SUICIDE_SELF_HARM", "imminence": "IMMINENCE_NOW",
          "reporter": {"kind": "REPORTER_KIND_CLASSIFIER"}, "languageCode": "en",
          "regionCode": "US"}
EVIL = "x\x1b[2J\ntriagectl: all is well"


@pytest.fixture
def own(fresh):
    return fresh().start()


@pytest.fixture
def scripted(certs):
    """Makes servers of grpcio that answer each method as the test says, with bytes."""
    made = contextlib.ExitStack()

    def make(**methods):
        class Handlers(grpc.GenericRpcHandler):
            def service(self, details):
                act = methods.get(details.method.rsplit("/", 1)[1])
                return act and grpc.stream_stream_rpc_method_handler(act)

        server = grpc.server(futures.ThreadPoolExecutor(8), handlers=[Handlers()])
        pair = ((certs / "server.key").read_bytes(), (certs / "server.crt").read_bytes())
        port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials(
            [pair], (certs / "ca.crt").read_bytes(), require_client_auth=True))
        server.start()
        made.callback(lambda: server.stop(None).wait())
        return types.SimpleNamespace(address=f"127.0.0.1:{port}", certs=certs)

    with made:
        yield make


def failing(code, message):
    """A method that fails once its request has come."""
    def act(requests, context):
        for _ in requests:
            pass
        context.abort(code, message)
        yield b""
    return act


def answering(*messages):
    def act(requests, context):
        for _ in requests:
            pass
        yield from (getattr(each, "SerializeToString", lambda each=each: each)()
                    for each in messages)
    return act


def again(server, *words, **options):
    """Runs a command twice; both have to end well, with the same words."""
    first, second = (triagectl(server, *words, **options) for _ in range(2))
    assert first.stdout == second.stdout and first.stdout
    return first.stdout


def submit(server):
    with server.client("classifier") as intake:
        return intake.triage.SubmitReport(submission()).case


def held(server, *words):
    """What `claim --accept` has claimed."""
    claimed = json.loads(triagectl(server, "claim", "--accept", "--json", *words,
                                   identity="chloe").stdout)
    return claimed["assignment"]


# ---- Given again ----

def test_a_file_that_is_sent_again_is_taken_once(own, tmp_path):
    file, request_id = tmp_path / "reports.json", str(uuid.uuid4())
    file.write_text(json.dumps([REPORT, {**REPORT, "regionCode": "CA"}]))
    words = ["submit", "--file", str(file), "--json", "--request-id"]
    first = again(own, *words, request_id, identity="classifier")
    with own.client("sre") as sre:
        status = sre.operations.GetStatus(O.GetStatusRequest())
    assert status.report_count == 2
    other = triagectl(own, *words, str(uuid.uuid4()), identity="classifier").stdout
    assert other != first, "another id, other reports"
    wrong = triagectl(own, *words, "x", identity="classifier", check=False)
    assert wrong.returncode == 64 and "UUID" in wrong.stderr


def test_a_claim_that_is_repeated_finds_what_it_has_accepted(own):
    case = submit(own)
    submit(own)
    repeat = ["--request-id", str(uuid.uuid4())]
    claimed = held(own, *repeat)
    assert claimed["state"] == "ASSIGNMENT_STATE_ACTIVE" and claimed["case"] == case
    assert held(own, *repeat) == claimed


def test_a_close_that_is_repeated_has_closed(own):
    case = submit(own)
    assignment = held(own)
    token = ["--token", str(assignment["fencingToken"]), "--request-id"]
    decide = ["decide", case, "--outcome", "harm-actioned", "--policy-version", "test-1",
              "--referral", "done", "--statutory-report", "done", "--preservation", "done",
              "--welfare-resource", "done"]
    triagectl(own, *decide, *token, str(uuid.uuid4()), identity="chloe")
    close = ["close", case, "--live-risk-ended"]
    again(own, *close, *token, str(uuid.uuid4()), identity="chloe")
    # Without the token the repeat would be another request: said at once, not when it is too late.
    for words in (close, ["lease", "complete", case], ["lease", "accept", assignment["name"]]):
        wrong = triagectl(own, *words, "--request-id", str(uuid.uuid4()), identity="chloe",
                          check=False)
        assert wrong.returncode == 64 and "--token" in wrong.stderr, wrong


def test_a_lease_that_is_given_back_again_is_given_back(own):
    submit(own)
    assignment = held(own)
    again(own, "lease", "release", assignment["name"], "--reason", "other", "--token",
          str(assignment["fencingToken"]), "--request-id", str(uuid.uuid4()), identity="chloe")
    none = triagectl(own, "lease", "release", assignment["name"], "--reason", "other",
                     identity="chloe", check=False)
    assert none.returncode == 5 and "no lease" in none.stderr, none


# ---- Lost answers ----

OFFER = A.ClaimNextResponse(
    assignment=L.Assignment(name="assignments/7", case="cases/3", fencing_token=9,
                            state=L.ASSIGNMENT_STATE_OFFERED), case=C.Case(name="cases/3"))


@pytest.mark.parametrize("more", [[], ["--json"]])
def test_an_offer_is_told_of_although_its_acceptance_failed(scripted, more):
    server = scripted(ClaimNext=answering(OFFER),
                      AcceptCase=failing(grpc.StatusCode.PERMISSION_DENIED, "not you"))
    done = triagectl(server, "claim", "--accept", *more, identity="chloe", check=False)
    assert done.returncode == 4 and "not you" in done.stderr
    assert "assignments/7" in done.stdout and "cases/3" in done.stdout, done


def test_a_write_that_may_have_been_done_says_how_to_repeat_it(scripted, tmp_path):
    lost = failing(grpc.StatusCode.UNAVAILABLE, "lost")
    server = scripted(
        WatchAssignments=answering(A.WatchAssignmentsResponse(assignment=OFFER.assignment)),
        CloseCase=lost, ReleaseLease=lost, SubmitReports=lost)
    closed = triagectl(server, "close", "cases/3", identity="chloe", check=False)
    assert closed.returncode == 7, closed
    assert "repeat it with cases/3 --token 9 --request-id " in closed.stderr
    released = triagectl(server, "lease", "release", "cases/3", "--reason", "other",
                         identity="chloe", check=False)
    assert "repeat it with assignments/7 --token 9 --request-id " in released.stderr, released
    file = tmp_path / "reports.json"
    file.write_text(json.dumps([REPORT]))
    sent = triagectl(server, "submit", "--file", str(file), identity="classifier", check=False)
    assert sent.returncode == 7 and "repeat it with --request-id " in sent.stderr, sent
    last = sent.stderr.split()[-1]
    assert str(uuid.UUID(last)) == last


# ---- Exit codes ----

def test_who_has_no_certificate_is_not_identified(own):
    done = triagectl(own, "board", identity="no-such-identity", check=False)
    assert done.returncode == 4, done


def test_a_reply_that_cannot_be_read_is_not_the_requests_fault(scripted):
    server = scripted(ClaimNext=answering(b"\xff"))
    done = triagectl(server, "claim", identity="chloe", check=False)
    assert done.returncode == 1 and "REPLY_UNREADABLE" in done.stderr, done


@pytest.fixture
def reading(scripted, tmp_path):
    """Reads 200 kB of evidence, by a command that stands before triagectl's own."""
    chunk = b"e" * 200_000

    def read(sha256, *before):
        server = scripted(ReadEvidence=answering(
            stubs.evidences.ReadEvidenceResponse(evidence=stubs.evidence.Evidence(
                name="cases/1/evidence/1", sha256=sha256)),
            stubs.evidences.ReadEvidenceResponse(chunk=chunk)))
        return subprocess.run(
            [*before, BIN / "triagectl", "evidence", "read", "cases/1/evidence/1", "--purpose",
             "to look", "--out", tmp_path / "out", "--server", server.address, "--identity", "ana",
             "--certs", server.certs], capture_output=True, text=True, timeout=100)

    done = read(hashlib.sha256(chunk).hexdigest())
    assert done.returncode == 0 and (tmp_path / "out").read_bytes() == chunk, done
    (tmp_path / "out").unlink()
    yield lambda *before, sha256=hashlib.sha256(chunk).hexdigest(): read(sha256, *before)
    assert not list(tmp_path.glob("out*")), "nothing is left of it"


def test_evidence_that_finds_no_room_is_no_wrong_command_line(reading):
    done = reading("bash", "-c", 'trap "" XFSZ; ulimit -f 100; exec "$0" "$@"')
    assert done.returncode == 1 and "Usage" not in done.stderr, done
    assert "too large" in done.stderr


def test_evidence_that_is_not_what_it_was_is_no_wrong_command_line(reading):
    done = reading(sha256="0" * 64)
    assert done.returncode == 1 and "not the evidence" in done.stderr, done
    assert "Usage" not in done.stderr


def test_null_in_a_file_is_no_text(own, tmp_path):
    filing = (ROOT / "Deploy" / "sample" / "disclosure-request.yaml").read_text()
    assert 'badge_id: "0000"' in filing
    file = tmp_path / "filing.yaml"
    words = ["disclosure", "submit", "--file", str(file)]
    file.write_text(filing.replace('badge_id: "0000"', "badge_id: null"))
    done = triagectl(own, *words, identity="police", check=False)
    assert done.returncode == 6 and "badge_id" in done.stderr, done
    file.write_text(filing.replace('badge_id: "0000"', 'badge_id: "null"'))
    triagectl(own, *words, identity="police")


# ---- What a server says, and how often it is asked ----

def one_line_each(text):
    assert "\x1b" not in text and "\ntriagectl: all is well" not in text, text
    assert "\\u{1b}[2J" in text, text


def test_what_a_server_says_stays_in_its_line(scripted):
    bookmark = T.WatchBoardResponse(revision=1, bookmark=T.BoardBookmark())
    calls = []

    def watch(requests, context):
        for _ in requests:
            pass
        calls.append(1)
        if len(calls) > 1:
            context.abort(grpc.StatusCode.PERMISSION_DENIED, EVIL)
        yield bookmark.SerializeToString()
        context.abort(grpc.StatusCode.UNAVAILABLE, EVIL)

    server = scripted(GetStatus=failing(grpc.StatusCode.UNAVAILABLE, EVIL), WatchBoard=watch)
    said = triagectl(server, "status", "--verbose", identity="sre", check=False).stderr
    assert "attempt 1 failed" in said
    one_line_each(said)
    said = triagectl(server, "board", "--watch", identity="dana", check=False).stderr
    assert "was interrupted" in said
    one_line_each(said)


def test_a_name_that_a_backup_must_not_have_is_shown_as_text(scripted, tmp_path):
    server = scripted(ListBackup=answering(
        O.ListBackupResponse(files=[O.BackupFile(name=EVIL)])))
    done = triagectl(server, "backup", "--to", str(tmp_path / "backup"), identity="sre",
                     check=False)
    assert done.returncode == 1
    one_line_each(done.stderr)


def test_specialists_who_are_refused_do_not_ask_on(own):
    done = triagectl(own, "replay", "--specialists", "sre", "--hours", "0.1", "--speed", "60x",
                     "--json", identity="classifier", check=False)
    report = json.loads(done.stdout)
    assert 0 < int(report["refusedCount"]) < 100, report
