"""An older state of a server's directory in a new one: a server starts on it and is there; what is
damaged is named, a full disk says what to do; where two directories part is found by sequence."""

import os
import pty
import subprocess
import time

import grpc
import pytest
import stubs
from builders import submission
from harness import BIN, key_file, request_id
from test_faults import mounted
from test_keys import attach, case_of, content, read

T, O = stubs.triage, stubs.operations


def triaged(*words, code=0):
    done = subprocess.run([BIN / "triaged", *map(str, words)], capture_output=True, text=True,
                          timeout=120, stdin=subprocess.DEVNULL)
    assert done.returncode == code, (words, done.returncode, done.stdout, done.stderr)
    return done.stdout + done.stderr


@pytest.fixture
def kek(tmp_path):
    return key_file(tmp_path / "kek")


def sequence_of(server):
    with server.client("sre") as sre:
        return sre.operations.GetStatus(O.GetStatusRequest()).durable_sequence


def snapshot(server):
    with server.client("sre") as sre:
        sre.operations.CreateSnapshot(O.CreateSnapshotRequest(request_id=request_id()))


def board(server):
    with server.client("dana") as dana:
        return dana.triage.ListCases(T.ListCasesRequest(page_size=1000)).SerializeToString(
            deterministic=True)


def restore(server, target, *words, code=0):
    key = server.extra[:2]
    return triaged("restore", "--from", server.data, "--to", target, *key, *words, code=code)


def on(fresh, server, data, name="restored"):
    """A server on a restored directory."""
    return fresh(name, data=data, extra=server.extra).start()


@pytest.fixture(params=["encrypted", "plain"])
def aged(fresh, request):
    """A stopped server, and what its board showed at some of its records."""
    extra = ["--key-file", request.getfixturevalue("kek")] if request.param == "encrypted" else []
    server = fresh(extra=extra).start()
    server.seen = {}
    for round in range(3):
        with server.client("classifier") as intake:
            for _ in range(5):
                intake.triage.SubmitReport(submission())
        server.seen[sequence_of(server)] = board(server)
        if round < 2:
            snapshot(server)
    assert server.stop() == 0
    return server


def test_a_server_starts_on_what_was_there_at_a_record(aged, fresh, tmp_path):
    before = content(aged.data)
    for last, board_then in aged.seen.items():
        target = tmp_path / f"at-{last}"
        said = restore(aged, target, "--sequence", last)
        assert f"records 1 to {last}," in said and f"start the server with --data {target}" in said
        triaged("inspect", "verify", "--data", target, *aged.extra)
        server = on(fresh, aged, target, f"server-{last}")
        assert sequence_of(server) == last and board(server) == board_then
        # It goes on, and the two part behind the point.
        with server.client("classifier") as intake:
            intake.triage.SubmitReport(submission())
        assert server.stop() == 0
        triaged("inspect", "verify", "--data", target, *aged.extra)
        end = max(aged.seen)
        said = triaged("inspect", "diff", aged.data, target, *aged.extra, code=1)
        assert f"records 1 to {last} are the same in both" in said
        assert (f"record {last + 1} differs" in said) == (last < end)
        assert f"only in B: records {last + 1} to " in said
        assert "post:" not in said and "Synthetic" not in said
    assert content(aged.data) == before, "the source is as it was"
    assert "nothing differs" in triaged("inspect", "diff", aged.data, aged.data, *aged.extra)


def test_a_restored_directory_signs_with_a_key_of_its_own(fresh, kek, tmp_path):
    server = fresh(extra=["--key-file", kek]).start()
    for _ in range(4):
        case_of(server)
    with server.client("gil") as auditor:
        audits = stubs.audits
        fourth = auditor.audit.SignHead(audits.SignHeadRequest())
        case_of(server)
        fifth = auditor.audit.SignHead(audits.SignHeadRequest())
    assert server.stop() == 0
    target = tmp_path / "new"
    said = restore(server, target, "--sequence", 4)
    assert "left out 1 signed heads" in said
    other = on(fresh, server, target)
    for _ in range(2):
        case_of(other)
    with other.client("gil") as auditor:
        newest = auditor.audit.SignHead(audits.SignHeadRequest())
        assert newest.verifier_key != fourth.verifier_key and newest.verifier_key in said
        assert auditor.audit.ProveHistory(audits.ProveHistoryRequest(from_record_count=4)).proof
        # The head of five records that somebody keeps leads nowhere.
        with pytest.raises(grpc.RpcError) as failure:
            auditor.audit.ProveHistory(audits.ProveHistoryRequest(from_record_count=5))
        assert failure.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert fifth.checkpoint.encode() not in (target / "heads").read_bytes()
    assert other.stop() == 0


def test_a_time_keeps_what_was_before_it(fresh, tmp_path):
    server = fresh().start()
    case_of(server)
    time.sleep(1.1)  # The command line takes seconds: the next record is of another one.
    moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    time.sleep(1.1)
    case_of(server)
    assert server.stop() == 0
    assert "records 1 to 1," in restore(server, tmp_path / "new", "--time", moment)
    said = restore(server, tmp_path / "other", "--time", "2020-01-01T00:00:00Z", code=64)
    assert "before the first record" in said
    assert "record 7 is not in the journal" in restore(
        server, tmp_path / "third", "--sequence", 7, code=64)


def test_evidence_is_as_it_was_or_said_to_be_gone(fresh, kek, tmp_path):
    server = fresh(extra=["--key-file", kek]).start()
    case = case_of(server)
    first = attach(server, case, b"first" * 1000)
    last = sequence_of(server)
    attach(server, case, b"second" * 1000)
    assert server.stop() == 0
    target = tmp_path / "new"
    restore(server, target, "--sequence", last)
    assert "only in" not in triaged("inspect", "diff", target, target, *server.extra)
    other = on(fresh, server, target)
    assert read(other, first.name) == b"first" * 1000
    assert len(list((target / "vault").glob("*.object"))) == 1, "the later object is set aside"
    assert len(list((target / "vault").glob("*.aside"))) == 1
    assert other.stop() == 0
    said = triaged("inspect", "diff", server.data, target, *server.extra, code=1)
    assert "only in A: 1 objects of evidence" in said


def test_a_flipped_byte_is_named_and_nothing_starts(aged, fresh, tmp_path):
    segment = sorted(aged.data.glob("*.journal"))[0]
    data = bytearray(segment.read_bytes())
    data[4096 + 60] ^= 1
    segment.write_bytes(data)
    target = tmp_path / "new"
    said = restore(aged, target, code=65)
    assert segment.name in said and "data loss" in said
    assert not (target / "identity").exists()


def test_a_target_that_holds_something_is_refused(aged, tmp_path):
    target = tmp_path / "new"
    target.mkdir()
    (target / "notes").write_text("mine")
    assert "is not empty" in restore(aged, target, code=74)
    assert (target / "notes").read_text() == "mine"


@pytest.mark.parametrize("written", ["data/new", "other/../data/new", "link/new"])
def test_a_target_inside_the_source_is_refused(aged, tmp_path, written):
    """It would be a foreign folder there, and its server would not start any more."""
    (tmp_path / "other").mkdir()
    (tmp_path / "link").symlink_to(aged.data)
    target = written.replace("data", aged.data.name)
    base = tmp_path if "link" in written else aged.data.parent
    before = sorted(aged.data.rglob("*"))
    assert "outside of it" in restore(aged, base / target, code=64)
    assert sorted(aged.data.rglob("*")) == before


def test_a_refused_point_leaves_the_target_usable(aged, tmp_path):
    target = tmp_path / "new"
    assert "is not in the journal" in restore(aged, target, "--sequence", 99_999, code=64)
    assert "records 1 to 2," in restore(aged, target, "--sequence", 2)


def test_a_full_disk_says_what_to_do(aged, tmp_path):
    with mounted(tmp_path / "small", "-t", "tmpfs", "-o", "size=30m", "none") as where:
        said = restore(aged, where / "new", code=74)
        assert "make room" in said and not (where / "new" / "identity").exists()


def test_progress_is_for_people_only(aged, tmp_path):
    assert "[" not in restore(aged, tmp_path / "piped")
    for words in (["restore", "--from", aged.data, "--to", tmp_path / "new"],
                  ["inspect", "verify", "--data", aged.data]):
        said = watched([BIN / "triaged", *map(str, words), *aged.extra])
        assert "100 %" in said and "verifying [####" in said and "B/s" in said


def watched(command):
    """What a command shows on a terminal."""
    here, there = pty.openpty()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=there,
                               stdin=subprocess.DEVNULL)
    os.close(there)
    said = b""
    try:
        while piece := os.read(here, 65_536):
            said += piece
    except OSError:
        pass  # The terminal is gone with the last one who had it.
    os.close(here)
    assert process.wait() == 0, said
    return said.decode()
