"""From a directory that a server of format version 1 wrote, through the refusal that names the way,
to a server of this version that shows the same and goes on; and back: the old directory."""

import json
import struct

import pytest
import stubs
from builders import submission
from harness import ROOT, Failed
from test_keys import content
from test_restore import kek, on, sequence_of, triaged  # noqa: F401

T, C, S, O = stubs.triage, stubs.case, stubs.disclosures, stubs.operations
FIXTURE = ROOT / "Tests" / "Fixtures" / "server-v1"
EXPECTED = json.loads((FIXTURE / "expected.json").read_text())


@pytest.fixture
def old(fresh):
    """A server that is about to start on the directory of version 1."""
    server = fresh()
    server.data.mkdir(parents=True)
    for name, size in EXPECTED["sizes"].items():
        (server.data / name).write_bytes((FIXTURE / name).read_bytes().ljust(size, b"\0"))
    return server


def refused_unchanged(server):
    before = content(server.data)
    with pytest.raises(Failed) as failure:
        server.start()
    assert failure.value.code == 74 and content(server.data) == before, "nothing was touched"
    return failure.value.text


@pytest.mark.parametrize("encrypted", [False, True], ids=["plain", "encrypted"])
def test_a_directory_of_version_1_is_upgraded_and_served(old, fresh, tmp_path, request, encrypted):
    said = refused_unchanged(old)
    assert "format version 1" in said and "triaged upgrade --from DIR --data NEW" in said
    before = content(old.data)
    new = tmp_path / "new"
    extra = ["--key-file", request.getfixturevalue("kek")] if encrypted else []
    said = triaged("upgrade", "--from", old.data, "--data", new, *extra)
    assert f"{EXPECTED['records']} records, equal in both" in said
    assert f"start the server with --data {new}" in said
    old.extra = extra
    server = on(fresh, old, new, "upgraded")
    with server.client("dana") as dana:
        shown = dana.triage.ListCases(T.ListCasesRequest(page_size=100)).cases
        assert [
            {"name": case.name, "level": C.Level.Name(case.level),
             "state": C.CaseState.Name(case.state),
             "create_time": case.create_time.ToJsonString(), "report_count": case.report_count}
            for case in shown] == EXPECTED["cases"]
        closed = dana.triage.GetCase(T.GetCaseRequest(name=EXPECTED["closed"]))
        assert closed.state == C.CASE_STATE_CLOSED
    with server.client("erin") as erin:
        filed = erin.disclosures.GetDisclosureRequest(
            S.GetDisclosureRequestRequest(
                name=EXPECTED["disclosure"], purpose="end-to-end test"))
        assert len(filed.verifications) == 1
    with server.client("sre") as sre:
        status = sre.operations.GetStatus(O.GetStatusRequest())
        assert status.report_count == EXPECTED["report_count"]
        assert status.case_count == EXPECTED["case_count"]
    # It goes on, over a restart too.
    with server.client("classifier") as intake:
        receipt = intake.triage.SubmitReport(submission())
    last = sequence_of(server)
    assert last > EXPECTED["records"]
    assert server.stop() == 0
    server.start()
    assert sequence_of(server) >= last
    with server.client("dana") as dana:
        assert dana.triage.GetCase(T.GetCaseRequest(name=receipt.case)).name == receipt.case
    assert server.stop() == 0
    triaged("inspect", "verify", "--data", new, *extra)
    # The way back is the old directory, which is as it was and verifies.
    assert content(old.data) == before
    assert "format version 1" in triaged("inspect", "verify", "--data", old.data)
    assert "current format version already" in triaged(
        "upgrade", "--from", new, "--data", tmp_path / "again", *extra, code=74)


@pytest.mark.parametrize("words, says", [
    (["--data", "NEW", "--key-file", ""], "--key-file is empty"),
    (["--data", "NEW", "--key-command", ""], "--key-command is empty"),
    (["--data", "OLD/new"], "outside of it"),
    (["--data", "NEW/../OLDNAME/new"], "outside of it"),
])
def test_an_upgrade_that_cannot_be_meant(old, tmp_path, words, says):
    before = content(old.data)
    new = old.data.parent / "new"
    words = [word.replace("OLDNAME", old.data.name).replace("OLD", str(old.data))
             .replace("NEW", str(new)) for word in words]
    assert says in triaged("upgrade", "--from", old.data, *words, code=64)
    assert content(old.data) == before and not new.exists()
    assert "not encrypted" in triaged("upgrade", "--from", old.data, "--data", new)


def test_what_needs_the_tree_names_the_upgrade(old, tmp_path):
    before = content(old.data)
    for words in (["restore", "--from", old.data, "--to", tmp_path / "new"],
                  ["inspect", "diff", old.data, old.data]):
        assert "triaged upgrade" in triaged(*words, code=74)
    assert content(old.data) == before


def test_a_version_that_is_newer_than_ours_is_refused_everywhere(fresh, tmp_path):
    """As a server of the next release would leave it behind, whoever opens it."""
    server = fresh().start()
    with server.client("classifier") as intake:
        intake.triage.SubmitReport(submission())
    assert server.stop() == 0
    path = server.data / "identity"
    block = path.read_bytes()
    block = block[:8] + struct.pack("<I", 3) + block[12:]
    path.write_bytes(block[:12] + struct.pack("<I", crc32c(block[:12] + block[16:])) + block[16:])
    said = refused_unchanged(server)
    assert "version 3" in said and "upgrade" in said
    before = content(server.data)
    for words in (["inspect", "verify", "--data", server.data],
                  ["restore", "--from", server.data, "--to", tmp_path / "new"],
                  ["upgrade", "--from", server.data, "--data", tmp_path / "other"]):
        assert "version 3" in triaged(*words, code=74)
    assert content(server.data) == before


def crc32c(data):
    value = 0xFFFFFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
    return value ^ 0xFFFFFFFF
