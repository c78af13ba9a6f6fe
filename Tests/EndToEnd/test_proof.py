"""Signed heads and proofs of the real server: on demand, by time, across kill -9 and a new signing
key; checked by our command line, and by a verifier that knows FORMAT.md alone."""

import subprocess
import sys

import pytest
import stubs
from builders import submission
from harness import BIN, ROOT, await_true, refused, request_id, triagectl

U, O = stubs.audits, stubs.operations
CHECKER = ROOT / "Tests" / "Interop" / "check_proof.py"


def triaged(*words, code=0):
    done = subprocess.run([BIN / "triaged", *map(str, words)], capture_output=True, text=True)
    assert done.returncode == code, (words, done.returncode, done.stderr)
    return done.stdout if code == 0 else done.stderr


@pytest.fixture
def own(fresh, tmp_path):
    """An encrypted server; signs by itself within an hour only."""
    key = tmp_path / "kek"
    triaged("keys", "generate", key)
    server = fresh(extra=["--key-file", str(key), "--head-seconds", "3600"])
    server.kek = key
    return server.start()


def inspect(server, command, *words, code=0):
    place = ["--data", server.data, "--key-file", server.kek]
    return triaged("inspect", command, *place, *words, code=code)


def check(path, key, *words, code=0):
    """Our verdict, and a stranger's, which must be alike."""
    said = triaged("inspect", "check", path, "--signer", key, *words, code=code)
    stranger = subprocess.run([sys.executable, CHECKER, path, key], capture_output=True, text=True)
    assert (stranger.returncode == 0) == (code == 0), stranger.stderr
    return said


def reason(call, request):
    return refused(call, request).info.reason


def submit(server, count=1):
    with server.client("classifier") as client:
        for _ in range(count):
            client.triage.SubmitReport(submission())


def test_an_auditor_proves_what_was_acknowledged(own, tmp_path):
    submit(own, 3)
    with own.client("gil") as auditor:
        first = auditor.audit.SignHead(U.SignHeadRequest())
        assert first.record_count == 3 and len(first.root) == 64
        assert auditor.audit.SignHead(U.SignHeadRequest()) == first, "nothing new, nothing signed"
        submit(own, 2)
        # The fifth record is under no head yet.
        assert reason(auditor.audit.ProveRecord, U.ProveRecordRequest(sequence=5)) == "NOT_PROVABLE"
        second = auditor.audit.SignHead(U.SignHeadRequest())
        assert second.record_count == 5 and second.verifier_key == first.verifier_key
        key, path = second.verifier_key, tmp_path / "proof"
        for sequence in range(1, 6):
            reply = auditor.audit.ProveRecord(U.ProveRecordRequest(sequence=sequence))
            path.write_text(reply.proof)
            assert f"record {sequence} " in check(path, key)
        reply = auditor.audit.ProveHistory(U.ProveHistoryRequest(from_record_count=3))
        path.write_text(reply.proof)
        assert "is the beginning of" in check(path, key)
        # The head that was kept is the one that the proof is about.
        assert first.checkpoint in reply.proof
        path.write_text(reply.proof.replace("\n5\n", "\n4\n"))
        check(path, key, code=65)
        for wrong in (U.ProveRecordRequest(), U.ProveRecordRequest(sequence=-1),
                      U.ProveRecordRequest(sequence=1, record_count=-4)):
            assert reason(auditor.audit.ProveRecord, wrong) == "INVALID_FIELD"
        assert reason(auditor.audit.ProveHistory, U.ProveHistoryRequest()) == "INVALID_FIELD"


def test_the_command_line_and_the_files_tell_the_same(own, tmp_path):
    submit(own, 4)
    note = triagectl(own, "audit", "head", identity="gil").stdout
    assert note.splitlines()[1] == "4"
    record = tmp_path / "record"
    record.write_text(triagectl(own, "audit", "record", "2", identity="gil").stdout)
    assert own.stop() == 0
    heads = inspect(own, "heads")
    assert "records 4 " in heads
    key = heads.splitlines()[-1].split()[-1]
    assert inspect(own, "heads", "--note", "--records", 4) == note
    check(record, key)
    assert inspect(own, "prove", "--record", 2, "--head", 4) == record.read_text()
    # Whoever keeps a leaf is told whether it is this record's.
    other = triaged("inspect", "check", record, "--signer", key, "--leaf", "0" * 64, code=65)
    assert "another record" in other
    # A pipe is read once, and so proves nothing: said as what it is.
    done = subprocess.run([BIN / "triaged", "inspect", "check", "/dev/stdin", "--signer", key],
                          input=record.read_text(), capture_output=True, text=True, timeout=60)
    assert done.returncode == 74 and "write it to one first" in done.stderr, done
    history = tmp_path / "history"
    history.write_text(inspect(own, "prove", "--from", 4))
    check(history, key)
    assert "signed heads with it" in inspect(own, "verify")
    assert "no head of 99 records" in inspect(own, "heads", "--note", "--records", 99, code=64)


def test_an_export_verifies_redacted_and_in_the_open(own, tmp_path):
    submit(own, 4)
    assert own.stop() == 0
    key = inspect(own, "heads").splitlines()[-1].split()[-1]
    path, word = tmp_path / "records", "synthetic"
    range_ = ["--first", 2, "--last", 4]
    path.write_text(inspect(own, "export", *range_))
    assert "3 redacted" in check(path, key)
    assert word not in triaged("inspect", "check", path, "--signer", key, "--records")
    redacted = path.read_text()
    path.write_text(inspect(own, "export", *range_, "--reveal", "3/1"))
    assert "1 sealed fields shown and 2 redacted" in check(path, key)
    path.write_text(inspect(own, "export", *range_, "--content"))
    assert "3 sealed fields shown and 0 redacted" in check(path, key)
    # Whoever has the open one redacts it without us: both lead to the same head.
    assert path.read_text().count("\nfield ") == redacted.count("\nredacted ") == 3
    path.write_text(redacted.replace("\nrecord 3 ", "\nrecord 4 "))
    assert "record 3" in check(path, key, code=65)


def test_heads_come_by_time_and_a_kill_loses_none(fresh, tmp_path):
    key = tmp_path / "kek"
    triaged("keys", "generate", key)
    server = fresh(extra=["--key-file", str(key), "--head-seconds", "1"])
    server.kek = key
    server.start()
    submit(server, 2)

    def signed():
        page = server.admin_get("/metrics")[1]
        name = "triaged_signed_head_sequence "
        return int(next(line for line in page.splitlines() if line.startswith(name)).split()[1])
    await_true(lambda: signed() == 2, what="a signed head over both records")
    # Acknowledged, and perhaps under no head: nothing is lost, and the next start goes on.
    submit(server, 3)
    server.kill()
    assert "records 2 " in inspect(server, "heads")
    assert "verified" in inspect(server, "verify")
    server.start()
    await_true(lambda: signed() == 5, what="a head over what the killed process left")
    assert server.stop() == 0
    assert "verified" in inspect(server, "verify")


def test_a_new_signing_key_goes_on_where_the_old_one_ended(own, tmp_path):
    submit(own, 2)
    with own.client("gil") as auditor, own.client("sre") as operator:
        old = auditor.audit.SignHead(U.SignHeadRequest())
        operator.operations.RotateKeys(O.RotateKeysRequest(
            request_id=request_id(), kind=O.KEY_KIND_SIGNING))
        new = auditor.audit.SignHead(U.SignHeadRequest())
        assert new.verifier_key != old.verifier_key and new.record_count > old.record_count
        path = tmp_path / "history"
        path.write_text(auditor.audit.ProveHistory(
            U.ProveHistoryRequest(from_record_count=old.record_count)).proof)
        triaged("inspect", "check", path, "--signer", old.verifier_key,
                "--signer", new.verifier_key)
        check(path, new.verifier_key, code=65)


def test_without_encryption_there_is_nothing_to_sign_with(server):
    with server.client("gil") as auditor:
        assert reason(auditor.audit.SignHead, U.SignHeadRequest()) == "ENCRYPTION_REQUIRED"
