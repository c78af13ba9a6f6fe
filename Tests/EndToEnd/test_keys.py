"""Encryption at rest: keys made, rotated and refused; evidence after crashes; old directories."""

import base64
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import threading

import grpc
import pytest
import stubs
from builders import submission
from harness import BIN, ROOT, Failed, await_true, key_file, refused, request_id, triagectl
from test_faults import faulty, mounted, shim  # noqa: F401

T, O = stubs.triage, stubs.operations
E, V = stubs.evidences, stubs.evidence
FIXTURES = ROOT / "Tests" / "TriageJournalTests" / "Fixtures"
STATUS = O.GetStatusRequest()


def triaged(*words, check=True):
    done = subprocess.run([BIN / "triaged", *map(str, words)], capture_output=True, text=True,
                          timeout=120, stdin=subprocess.DEVNULL)
    if check:
        assert done.returncode == 0, f"{words}: {done.returncode} {done.stderr}"
    return done


def content(folder):
    """Every file but the lock, byte for byte."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*")
            if path.is_file() and path.name != "lock"}


def case_of(server):
    with server.client("classifier") as intake:
        return intake.triage.SubmitReport(submission()).case


def attach(server, case, data, key=None):
    start = E.AttachEvidenceStart(
        request_id=key or request_id(), case=case, media_type="application/octet-stream",
        caption="a caption to keep", size_bytes=len(data))
    parts = [E.AttachEvidenceRequest(start=start)] + [
        E.AttachEvidenceRequest(chunk=data[at:at + 65_536])
        for at in range(0, len(data), 65_536)]
    with server.client("ana") as ana:
        return ana.evidence.AttachEvidence(iter(parts))


def read(server, name):
    with server.client("ana") as ana:
        parts = list(ana.evidence.ReadEvidence(
            E.ReadEvidenceRequest(name=name, purpose="end-to-end test")))
    return b"".join(part.chunk for part in parts[1:])


def erase(server, name):
    with server.client("erin") as erin:
        return erin.evidence.EraseEvidence(E.EraseEvidenceRequest(
            request_id=request_id(), name=name, erasure=V.Erasure(
                ground=V.ERASURE_GROUND_ORDER, legal_basis="12 Gs 3/26", reason="Ordered.")))


@pytest.fixture
def kek(tmp_path):
    return key_file(tmp_path / "kek")


def refuses(server, code=78):
    """What it says when it refuses to start, which must change nothing."""
    before = content(server.data)
    with pytest.raises(Failed) as failure:
        server.start()
    assert failure.value.code == code, failure.value
    assert content(server.data) == before, "nothing was touched"
    return failure.value.text


# ---- Encryption ----

def test_nothing_on_disk_is_in_the_clear(fresh, kek):
    server = fresh(extra=["--key-file", kek]).start()
    case = case_of(server)
    words = b"words of a report that nobody may find"
    with server.client("classifier") as intake:
        intake.triage.SubmitReport(submission(description=words.decode()))
    attach(server, case, b"bytes of evidence that nobody may find" * 10)
    with server.client("sre") as sre:
        sre.operations.CreateSnapshot(O.CreateSnapshotRequest(request_id=request_id()))
    assert server.stop() == 0
    secret = base64.b64decode(pathlib.Path(kek).read_text().strip() + "=")
    for name, data in content(server.data).items():
        for text in (words, b"bytes of evidence", b"a caption to keep", b"spiffe://", secret):
            assert text not in data, name


def test_a_wrong_key_is_refused_and_nothing_touched(fresh, kek, tmp_path):
    server = fresh(extra=["--key-file", kek]).start()
    case_of(server)
    assert server.stop() == 0
    other = key_file(tmp_path / "other")
    server.extra = []
    said = refuses(server)
    assert "--key-file" in said and "encrypted" in said
    server.extra = ["--key-file", other]
    said = refuses(server)
    assert "wrapped by key" in said and "--previous-key-file" in said
    done = triaged("inspect", "verify", "--data", server.data, "--key-file", other, check=False)
    assert done.returncode == 78 and "wrapped by key" in done.stderr
    plain = fresh("plain").start()
    case_of(plain)
    assert plain.stop() == 0
    plain.extra = ["--key-file", kek]
    assert "begun without encryption" in refuses(plain)


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o606])
def test_a_key_file_that_others_can_read_is_refused(fresh, kek, mode):
    os.chmod(kek, mode)
    server = fresh(extra=["--key-file", kek])
    server.data.mkdir(parents=True)
    said = refuses(server)
    assert "chmod 0600" in said and f"0{mode:o}" in said
    assert not list(server.data.iterdir())


@pytest.mark.parametrize("text, says", [
    ("", "no key"), ("abc", "no key"), ("0" * 63, "no key"), ("x" * 5000, "larger than")])
def test_a_key_file_without_a_key_is_refused(fresh, tmp_path, text, says):
    path = tmp_path / "kek"
    path.write_text(text)
    path.chmod(0o600)
    server = fresh(extra=["--key-file", str(path)])
    server.data.mkdir(parents=True)
    said = refuses(server)
    assert says in said and (not text or text not in said)


def test_a_key_inside_the_data_folder_is_refused(fresh):
    server = fresh()
    server.data.mkdir(parents=True)
    path = key_file(server.data / "kek")
    for written in (path, f"{server.data.parent}//{server.data.name}/kek"):
        server.extra = ["--key-file", written]
        assert "outside the data folder" in refuses(server)


def test_a_key_comes_from_a_command(fresh, kek, tmp_path):
    server = fresh(extra=["--key-command", f"/bin/cat {kek}"]).start()
    case = case_of(server)
    assert server.stop() == 0
    server.extra = ["--key-file", kek]
    server.start()
    with server.client("dana") as dana:
        assert dana.triage.GetCase(T.GetCaseRequest(name=case)).name == case
    assert server.stop() == 0
    # Whom it asks may answer again later: not the code after which nobody tries again.
    server.extra = ["--key-command", "/bin/false"]
    assert "key-command" in refuses(server, code=74)


def test_a_key_command_under_a_parent_that_ignores_its_children(fresh, kek):
    """Which is inherited, and makes the kernel forget how the command ended."""
    server = fresh(extra=["--key-file", kek]).start()
    assert server.stop() == 0
    done = subprocess.run(
        [BIN / "triaged", "inspect", "verify", "--data", server.data, "--key-command",
         f"/bin/cat {kek}"], capture_output=True, text=True, timeout=120,
        preexec_fn=lambda: signal.signal(signal.SIGCHLD, signal.SIG_IGN))
    assert done.returncode == 0, done


def test_evidence_is_inspected_where_nothing_can_be_written(fresh, kek, tmp_path):
    server = fresh(extra=["--key-file", kek]).start()
    attach(server, case_of(server), b"evidence")
    assert server.stop() == 0
    with mounted(tmp_path / "readonly", "-t", "tmpfs", "none") as where:
        shutil.copytree(server.data, where / "data")
        subprocess.run(["mount", "-o", "remount,ro", where], check=True)
        place = ["--data", where / "data", "--key-file", kek]
        triaged("inspect", "verify", *place)
        assert "key 2" in triaged("keys", "status", *place[:2]).stdout


# ---- Rotation ----

def test_keys_rotate_under_load(fresh, kek, tmp_path):
    """A new KEK by SIGHUP and new data keys by call, while reports come in: none fails."""
    server = fresh(extra=["--key-file", kek]).start()
    name = attach(server, case_of(server), b"evidence" * 50_000).name
    stop, done, failures = threading.Event(), [], []

    def load():
        with server.client("classifier") as intake:
            while not stop.is_set():
                try:
                    done.append(intake.triage.SubmitReport(submission()).case)
                except grpc.RpcError as error:
                    failures.append(error)
                    return

    workers = [threading.Thread(target=load, daemon=True) for _ in range(3)]
    for each in workers:
        each.start()
    old = pathlib.Path(kek).read_bytes()
    with server.client("sre") as sre:
        first = sre.operations.GetStatus(STATUS).encryption
        for turn in range(3):
            before = sre.operations.GetStatus(STATUS).encryption.kek
            made = key_file(tmp_path / f"kek{turn}")
            os.replace(made, kek)
            server.signal(signal.SIGHUP)
            await_true(lambda: sre.operations.GetStatus(STATUS).encryption.kek != before,
                       20, "keys wrapped by the new KEK")
            made = sre.operations.RotateKeys(O.RotateKeysRequest(
                request_id=request_id(), kind=O.KEY_KIND_DATA))
            assert made.object_count == 1
            sre.operations.CreateSnapshot(O.CreateSnapshotRequest(request_id=request_id()))
            assert read(server, name) == b"evidence" * 50_000
    enough = len(done) + 20
    await_true(lambda: len(done) > enough or failures, 30, "load")
    stop.set()
    for each in workers:
        each.join(20)
    assert not failures and first.data_key_number == 1
    server.kill()
    server.start()
    with server.client("dana") as dana:
        for case in done[-5:]:
            assert dana.triage.GetCase(T.GetCaseRequest(name=case)).name == case
    assert read(server, name) == b"evidence" * 50_000
    assert server.stop() == 0
    triaged("inspect", "verify", "--data", server.data, "--key-file", kek)
    stale = tmp_path / "stale"
    stale.write_bytes(old)
    stale.chmod(0o600)
    server.extra = ["--key-file", str(stale)]
    assert "wrapped by key" in refuses(server)


def test_a_bad_key_at_a_reload_leaves_the_old_one(fresh, kek):
    server = fresh(extra=["--key-file", kek]).start()
    old = pathlib.Path(kek).read_text()
    pathlib.Path(kek).write_text("no key")
    server.signal(signal.SIGHUP)
    await_true(lambda: "keys not wrapped anew" in server.said(), 20, "the log's word")
    case = case_of(server)
    assert server.stop() == 0
    pathlib.Path(kek).write_text(old)
    server.start()
    with server.client("dana") as dana:
        assert dana.triage.GetCase(T.GetCaseRequest(name=case)).name == case


def test_keys_are_shown_rotated_and_dropped_offline(fresh, kek, tmp_path):
    server = fresh(extra=["--key-file", kek]).start()
    name = attach(server, case_of(server), b"evidence").name
    assert "in use" in triaged("keys", "status", "--data", server.data).stdout, "beside the server"
    locked = triaged("keys", "rotate", "--data", server.data, "--key-file", kek, "--data-key",
                     check=False)
    assert locked.returncode == 74 and "locked" in locked.stderr
    assert server.stop() == 0
    new = key_file(tmp_path / "new")
    place = ["--data", server.data, "--key-file", new]
    wrong = triaged("keys", "rotate", *place, check=False)
    assert wrong.returncode == 78 and "--previous-key-file" in wrong.stderr
    said = triaged("keys", "rotate", *place, "--previous-key-file", kek, "--data-key",
                   "--signing-key").stdout
    assert "keys wrapped by" in said and "1 objects wrapped anew" in said
    again = triaged("keys", "rotate", *place).stdout
    assert "nothing to do" in again
    for number, says in (("1", "is needed"), ("3", "in use"), ("9", "no key 9")):
        refusal = triaged("keys", "drop", *place, number, check=False)
        assert refusal.returncode == 78 and says in refusal.stderr, refusal
    server.extra = ["--key-file", new]
    server.start()
    assert read(server, name) == b"evidence"
    assert server.stop() == 0
    refusal = triaged("keys", "generate", new, check=False)
    assert refusal.returncode == 78 and "was not touched" in refusal.stderr


def test_a_key_that_archived_segments_may_need_is_not_dropped(fresh, kek, tmp_path):
    """Retention has moved the segment that the first data key opens, and left its leaves: who does
    not name the archive would lose it for good."""
    server = fresh(extra=["--key-file", kek]).start()
    case_of(server)
    assert server.stop() == 0
    place = ["--data", server.data, "--key-file", kek]
    triaged("keys", "rotate", *place, "--data-key")
    archive, other = tmp_path / "archive", tmp_path / "other"
    archive.mkdir()
    other.mkdir()
    segment, = server.data.glob("*.journal")
    segment.rename(archive / segment.name)
    (server.data / segment.with_suffix(".leaves").name).touch()
    for snapshot in server.data.glob("*.snapshot"):
        snapshot.unlink()
    assert "1 segments are not here" in triaged("keys", "status", "--data", server.data).stdout
    keys = (server.data / "keys").read_bytes()
    for words, says in (([], "--journal-archive"),
                        (["--journal-archive", archive], "is needed"),
                        (["--journal-archive", other], "--without-archive")):
        refusal = triaged("keys", "drop", *place, *words, "1", check=False)
        assert refusal.returncode == 78 and says in refusal.stderr, refusal
        assert (server.data / "keys").read_bytes() == keys
    assert "dropped 1" in triaged("keys", "drop", *place, "--without-archive", "1").stdout


# ---- Evidence over crashes and damage ----

def test_erased_evidence_is_gone_and_the_journal_still_verifies(fresh, kek):
    server = fresh(extra=["--key-file", kek]).start()
    case = case_of(server)
    kept, gone = attach(server, case, b"kept" * 1000), attach(server, case, b"gone" * 1000)
    assert {path.stem for path in (server.data / "vault").glob("*.object")} == {
        kept.object, gone.object}
    erase(server, gone.name)
    assert [path.stem for path in (server.data / "vault").glob("*.object")] == [kept.object]
    assert bytes.fromhex(gone.object) not in (server.data / "vault" / "keys").read_bytes()
    server.kill()
    server.start()
    assert read(server, kept.name) == b"kept" * 1000
    with server.client("ana") as ana:
        refusal = refused(ana.evidence.ReadEvidence, E.ReadEvidenceRequest(
            name=gone.name, purpose="end-to-end test"))
    assert refusal.reason == "EVIDENCE_ERASED"
    assert server.stop() == 0
    triaged("inspect", "verify", "--data", server.data, "--key-file", kek)


def replace_journal(server, files):
    """Puts other files in the place of all but the vault."""
    before = {path: path.read_bytes() for path in server.data.glob("*") if path.is_file()}
    for path in before:
        path.unlink()
    for path, data in files.items():
        path.write_bytes(data)
    return before


def test_what_nothing_refers_to_is_set_aside_and_taken_back(faulty, kek):
    """A kill between an object's durability and its event, or an older journal that was restored
    beside a newer vault: the start sets the object aside, and takes it back if the newer journal
    comes back. After 30 days one destroys it."""
    server, faults = faulty(extra=["--key-file", kek])
    server.start()
    kept = attach(server, case_of(server), b"kept")
    vault = server.data / "vault"
    assert server.stop() == 0
    older = {path: path.read_bytes() for path in server.data.glob("*") if path.is_file()}
    server.start()
    later = attach(server, kept.name.rsplit("/evidence", 1)[0], b"later")
    server.kill()
    newer = replace_journal(server, older)
    file = vault / f"{later.object}.object"
    data = file.read_bytes()
    for _ in range(2):
        server.start()
        aside, = vault.glob("*.aside")
        assert aside.name.startswith(later.object) and aside.read_bytes() == data
        assert not file.exists() and read(server, kept.name) == b"kept"
        triaged("inspect", "verify", "--data", server.data, "--key-file", kek)
        assert server.stop() == 0
    assert "set aside 1 objects that nothing refers to, for 30 days" in server.said()
    assert "1 objects are aside since earlier starts" in server.said()
    older = replace_journal(server, newer)
    server.start()
    assert "took back 1 objects that had been set aside" in server.said()
    assert read(server, later.name) == b"later" and read(server, kept.name) == b"kept"
    assert server.stop() == 0
    replace_journal(server, older)
    server.start()
    assert server.stop() == 0
    faults.set_clock(30 * 24 + 1)
    server.start()
    # The clock says so, alone: it may be wrong. This reading is recorded at that time.
    assert list(vault.glob("*.aside")) and read(server, kept.name) == b"kept"
    assert "triaged_vault_aside 1" in server.admin_get("/metrics")[1]
    assert server.stop() == 0
    server.start()
    assert not list(vault.glob("*.aside")) and not file.exists()
    assert bytes.fromhex(later.object) not in (vault / "keys").read_bytes()
    assert read(server, kept.name) == b"kept"
    assert "triaged_vault_aside 0" in server.admin_get("/metrics")[1]


def test_an_upload_that_is_killed_leaves_nothing(fresh, kek):
    server = fresh(extra=["--key-file", kek]).start()
    case, key = case_of(server), request_id()
    start = E.AttachEvidenceStart(
        request_id=key, case=case, media_type="video/mp4", size_bytes=1_000_000)
    taken = threading.Event()

    def parts():
        yield E.AttachEvidenceRequest(start=start)
        yield E.AttachEvidenceRequest(chunk=b"x" * 400_000)
        taken.wait(30)

    with server.client("ana") as ana:
        call = ana.evidence.AttachEvidence.future(parts())
        await_true(lambda: list((server.data / "vault").glob("*.tmp")), 20, "the first bytes")
        server.kill()
        taken.set()
        with pytest.raises(grpc.RpcError):
            call.result(20)
    server.start()
    assert not list((server.data / "vault").glob("*.tmp"))
    with server.client("ana") as ana:
        assert not ana.evidence.ListEvidence(E.ListEvidenceRequest(case=case)).evidence
    made = attach(server, case, b"x" * 1_000_000, key)
    assert read(server, made.name) == b"x" * 1_000_000


def test_damaged_evidence_is_named_and_all_else_goes_on(fresh, kek):
    server = fresh(extra=["--key-file", kek]).start()
    case = case_of(server)
    good, bad = attach(server, case, b"good"), attach(server, case, b"bad!" * 50_000)
    assert server.stop() == 0
    path = server.data / "vault" / f"{bad.object}.object"
    data = bytearray(path.read_bytes())
    data[-20] ^= 1
    path.write_bytes(data)
    done = triaged("inspect", "verify", "--data", server.data, "--key-file", kek, check=False)
    assert done.returncode == 65 and path.name in done.stdout + done.stderr, done
    server.start()
    with server.client("ana") as ana:
        refusal = refused(ana.evidence.ReadEvidence, E.ReadEvidenceRequest(
            name=bad.name, purpose="end-to-end test"))
    assert refusal.code is grpc.StatusCode.DATA_LOSS
    await_true(lambda: "triaged_vault_damaged_total 1" in server.admin_get("/metrics")[1],
               10, "the count")
    # What came of it before that is left nowhere.
    out = server.data.parent / "out"
    done = triagectl(server, "evidence", "read", bad.name, "--purpose", "to look", "--out",
                     str(out), identity="ana", check=False)
    assert done.returncode != 0 and not list(server.data.parent.glob("out*"))
    assert read(server, good.name) == b"good"
    case_of(server)
    # Gone altogether, it is missed too.
    assert "triaged_vault_missing 0" in server.admin_get("/metrics")[1]
    assert server.stop() == 0
    path.unlink()
    done = triaged("inspect", "verify", "--data", server.data, "--key-file", kek, check=False)
    assert done.returncode == 65 and path.name in done.stdout + done.stderr, done
    server.start()
    assert f"object {bad.object} is missing" in server.said()
    assert "triaged_vault_missing 1" in server.admin_get("/metrics")[1]
    assert read(server, good.name) == b"good"


def test_evidence_by_command_line(fresh, kek, tmp_path):
    server = fresh(extra=["--key-file", kek]).start()
    case = case_of(server)
    file, out = tmp_path / "clip.mp4", tmp_path / "out.mp4"
    file.write_bytes(os.urandom(700_000))
    said = triagectl(server, "evidence", "add", case, str(file), "--media-type", "video/mp4",
                     "--caption", "the bridge", identity="ana").stdout
    assert f"{case}/evidence/1" in said
    assert f"{case}/evidence/1" in triagectl(
        server, "evidence", "list", case, identity="dana").stdout
    triagectl(server, "evidence", "read", f"{case}/evidence/1", "--purpose", "to look",
              "--out", str(out), identity="ana")
    assert out.read_bytes() == file.read_bytes() and out.stat().st_mode & 0o777 == 0o600
    again = triagectl(server, "evidence", "read", f"{case}/evidence/1", "--purpose", "to look",
                      "--out", str(out), identity="ana", check=False)
    assert again.returncode != 0
    assert "US_2703F_PRESERVATION" in triagectl(server, "hold", "rules", identity="dana").stdout
    triagectl(server, "hold", "place", case, "--rule", "US_2703F_PRESERVATION", "--authority",
              "FBI", "--reason", "an inquiry", identity="dana")
    words = ["evidence", "erase", f"{case}/evidence/1", "--ground", "order", "--legal-basis",
             "12 Gs 3/26", "--reason", "ordered"]
    held = triagectl(server, *words, identity="erin", check=False)
    assert held.returncode != 0 and f"{case}/holds/1" in held.stderr
    triagectl(server, "hold", "release", f"{case}/holds/1", "--authority", "FBI", "--reason",
              "withdrawn", identity="erin")
    assert "released" in triagectl(server, "hold", "list", case, identity="dana").stdout.lower()
    triagectl(server, *words, identity="erin")
    triagectl(server, "evidence", "erase-texts", case, "--ground", "order", "--legal-basis",
              "12 Gs 3/26", "--reason", "ordered", identity="erin")
    assert "key 3 in use" in triagectl(server, "keys", "rotate", identity="sre").stdout


# ---- Old and foreign directories ----

def test_a_directory_of_version_1_is_refused_and_upgraded(fresh, kek, tmp_path):
    """The golden directory of version 1, through the command that the refusal names."""
    server = fresh(extra=["--key-file", kek])
    shutil.copytree(FIXTURES / "v1", server.data)
    said = refuses(server, code=74)
    assert "format version 1" in said and "triaged upgrade --from DIR --data NEW" in said
    before = content(server.data)
    new = tmp_path / "new"
    done = triaged("upgrade", "--from", server.data, "--data", new, "--key-file", kek, check=False)
    # Its records are the journal's own tests', which no release ever wrote: refused by name.
    assert done.returncode == 65 and ".journal at byte" in done.stderr, done
    assert content(server.data) == before


@pytest.mark.parametrize("name", ["notes.txt", "1.journal", "00000000000000000001.journal.bak",
                                  "vault/notes.txt"])
def test_a_foreign_file_is_named_and_left(fresh, kek, name):
    server = fresh(extra=["--key-file", kek]).start()
    attach(server, case_of(server), b"evidence")
    assert server.stop() == 0
    (server.data / name).write_text("mine")
    assert pathlib.Path(name).name in refuses(server, code=74)
    (server.data / name).unlink()
    server.start()


def test_a_directory_that_cannot_be_written_is_refused(fresh, tmp_path):
    if os.geteuid() == 0 and not shutil.which("setpriv"):
        pytest.skip("root writes everywhere, and there is no setpriv")
    server = fresh().start()
    case_of(server)
    assert server.stop() == 0
    for path in server.data.rglob("*"):
        path.chmod(0o400)
    server.data.chmod(0o500)
    try:
        words = server.arguments()
        if os.geteuid() == 0:
            words = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", *words]
        before = content(server.data)
        done = subprocess.run(words, capture_output=True, text=True, timeout=30)
        assert done.returncode == 74 and "denied" in done.stderr.lower(), done.stderr
        assert content(server.data) == before
    finally:
        server.data.chmod(0o700)
        for path in server.data.rglob("*"):
            path.chmod(0o600)
    server.start()


def test_the_independent_reader_takes_what_the_server_wrote(fresh, kek):
    """FORMAT.md alone is enough to read a server's directory, encrypted or not; a page of Python
    reads a plain one."""
    interop = ROOT / "Tests" / "Interop"
    for extra in ([], ["--key-file", kek]):
        server = fresh(f"server{len(extra)}", extra=extra).start()
        for _ in range(20):
            case = case_of(server)
        if extra:
            attach(server, case, b"evidence" * 20_000)
        with server.client("sre") as sre:
            sre.operations.CreateSnapshot(O.CreateSnapshotRequest(request_id=request_id()))
        assert server.stop() == 0
        done = subprocess.run(
            [sys.executable, interop / "read_every_directory.py", server.data, *extra[1:]],
            capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr + done.stdout[-300:]
        plain = subprocess.run(
            [sys.executable, interop / "read_data_directory.py", server.data],
            capture_output=True, text=True, timeout=120)
        assert plain.stdout == done.stdout if not extra else plain.returncode == 1
        lines = done.stdout.splitlines()
        records = [line for line in lines if line.startswith("r ")]
        assert len(records) >= 20 and lines[-1].startswith("head ")
        verified = triaged("inspect", "verify", "--data", server.data, *extra).stdout
        assert lines[-1].split()[2] in verified
