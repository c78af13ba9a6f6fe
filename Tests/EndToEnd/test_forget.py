"""Words that were erased, of reports and of evidence, leave the journal, the snapshots and the
backups of the real server: they are in no byte of a plain directory, and in no record that is read
with the key."""

import shutil

import pytest
import stubs
from builders import request_id, submission
from harness import await_true, triagectl
from test_keys import attach, erase
from test_lifecycle import figure
from test_restore import kek, on, sequence_of, snapshot, triaged  # noqa: F401

C, E, T, V = stubs.case, stubs.evidences, stubs.triage, stubs.evidence
WORDS = "the words of somebody who asked to be forgotten"
OTHERS = "the words of somebody who did not"


@pytest.fixture(params=["encrypted", "plain"])
def running(fresh, request):
    extra = ["--key-file", request.getfixturevalue("kek")] if request.param == "encrypted" else []
    return fresh(extra=extra).start()


def report(server, words):
    with server.client("classifier") as intake:
        return intake.triage.SubmitReport(submission(description=words)).case


def erase_texts(server, case):
    with server.client("erin") as erin:
        done = erin.evidence.EraseReportTexts(E.EraseReportTextsRequest(
            request_id=request_id(), case=case, erasure=V.Erasure(
                ground=V.ERASURE_GROUND_DATA_SUBJECT_REQUEST, legal_basis="GDPR 17",
                reason="Asked for.")))
        assert done.report_count == 1


def said(server, folder):
    """Everything that can be read in a directory: its bytes, and its records with the key."""
    found = b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())
    return found + triaged(
        "inspect", "dump", "--data", folder, "--content", *server.extra).encode()


def texts(server, case):
    with server.client("ana") as ana:
        return str(ana.triage.GetCase(T.GetCaseRequest(
            name=case, view=C.CASE_VIEW_FULL, purpose="end-to-end test")))


def forget(server):
    """Records and snapshots until the journal has no erased words. Their segment ends when the
    next one is prepared, which takes as long as the disk does."""
    def are_gone():
        report(server, OTHERS)
        snapshot(server)
        return figure(server, "triaged_journal_records_forgotten_total") > 0
    await_true(are_gone, 60, "the words leave the journal")
    assert figure(server, "triaged_journal_records_forgotten_total") == 1
    assert figure(server, "triaged_journal_words_to_forget") == 0
    assert figure(server, "triaged_journal_segments_rewritten_total") == 1
    assert figure(server, "triaged_journal_forget_failures_total") == 0


def test_erased_words_are_nowhere(running, fresh, tmp_path):
    case, other = report(running, WORDS), report(running, OTHERS)
    before = sequence_of(running)
    folder = tmp_path / "backup"
    triagectl(running, "backup", "--to", str(folder), identity="sre")
    assert WORDS.encode() in said(running, folder)
    assert WORDS.encode() in said(running, running.data) and WORDS in texts(running, case)

    erase_texts(running, case)
    forget(running)
    # Of the snapshots that are kept none is older than the erasure.
    report(running, OTHERS)
    snapshot(running)
    await_true(lambda: len(list(running.data.glob("*.snapshot"))) == 2, 20, "two snapshots")
    here = said(running, running.data)
    assert WORDS.encode() not in here and OTHERS.encode() in here
    triaged("inspect", "verify", "--data", running.data, *running.extra)

    # A backup that is brought up to date, and one that is new.
    for target in (folder, tmp_path / "new-backup"):
        triagectl(running, "backup", "--to", str(target), "--check", identity="sre")
        triaged("inspect", "verify", "--data", target, *running.extra)
        assert WORDS.encode() not in said(running, target)

    last, shown = sequence_of(running), texts(running, other)
    assert running.stop() == 0
    assert WORDS.encode() not in said(running, running.data)
    # A state of before the erasure has the record, without its words.
    earlier = tmp_path / "earlier"
    triaged("restore", "--from", running.data, "--to", earlier, "--sequence", before,
            *running.extra)
    assert WORDS.encode() not in said(running, earlier)
    # From the journal alone.
    alone = tmp_path / "journal-alone"
    shutil.copytree(running.data, alone, ignore=shutil.ignore_patterns("*.snapshot", "lock"))
    server = on(fresh, running, alone, "alone")
    assert sequence_of(server) >= last and texts(server, other) == shown
    assert WORDS not in texts(server, case) and "report_count: 1" in texts(server, case)
    assert server.stop() == 0


def test_what_was_said_of_erased_evidence_is_nowhere(fresh, kek):  # noqa: F811
    server = fresh(extra=["--key-file", kek]).start()
    case = report(server, OTHERS)
    made = attach(server, case, b"evidence")
    caption = made.caption.encode()
    assert caption in said(server, server.data)
    assert erase(server, made.name).caption == "[erased]"
    forget(server)
    report(server, OTHERS)
    snapshot(server)
    await_true(lambda: len(list(server.data.glob("*.snapshot"))) == 2, 20, "two snapshots")
    assert caption not in said(server, server.data)
    triaged("inspect", "verify", "--data", server.data, *server.extra)
    assert server.stop() == 0
    server.start()
    with server.client("dana") as dana:
        listed = dana.evidence.ListEvidence(E.ListEvidenceRequest(case=case)).evidence
    assert [each.state for each in listed] == [V.EVIDENCE_STATE_ERASED]
    assert caption not in said(server, server.data)
