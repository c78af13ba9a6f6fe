"""Backups of a running server by the real triagectl: whole while load runs, gone on with after
kill -9, brought up to date, refused to whom they are not due; what is damaged is named."""

import concurrent.futures
import os
import re
import shutil
import signal
import subprocess
import threading

import grpc
import pytest
import stubs
from builders import large_submission, submission
from harness import BIN, Failed, await_true, refused, submit_all, triagectl
from test_faults import RENAME, Faults, mounted, shim  # noqa: F401
from test_keys import attach, case_of, content, erase, read
from test_restore import kek, on, sequence_of, snapshot, triaged, watched  # noqa: F401

O = stubs.operations


def backup(server, target, *words, identity="sre", check=True):
    return triagectl(server, "backup", "--to", str(target), *words, identity=identity, check=check)


@pytest.fixture(params=["encrypted", "plain"])
def running(fresh, request):
    extra = ["--key-file", request.getfixturevalue("kek")] if request.param == "encrypted" else []
    return fresh(extra=extra).start()


class Load:
    """Reports, large ones too, until it is left."""

    def __init__(self, server):
        self.server, self.over, self.count = server, threading.Event(), 0

    def __enter__(self):
        def submit():
            with self.server.client("classifier") as intake:
                while not self.over.is_set():
                    large = [large_submission() for _ in range(9)]
                    self.count += len(submit_all(intake, [submission(), *large]))
        self.loading = concurrent.futures.ThreadPoolExecutor(1).submit(submit)
        await_true(lambda: self.count > 10, what="load")
        return self

    def __exit__(self, *_):
        self.over.set()
        self.loading.result()


def test_a_backup_under_load_is_whole_and_a_server_goes_on_from_it(running, fresh, tmp_path):
    target = tmp_path / "backup"
    with Load(running) as load:
        before = sequence_of(running)
        said = backup(running, target).stdout
        last = int(said.split()[3].rstrip(","))
        assert before <= last <= sequence_of(running) and "there already" in said
        triaged("inspect", "verify", "--data", target, *running.extra)
        # Another one into the same folder, with what came meanwhile.
        count = load.count
        await_true(lambda: load.count > count + 600, 300, "more than a segment")
        snapshot(running)
        said = backup(running, target, "--check").stdout
        newest = int(said.split()[3].rstrip(","))
        assert newest > last + 500 and not said.rstrip().endswith(" 0 there already")
    triaged("inspect", "verify", "--data", target, *running.extra)
    assert running.stop() == 0
    assert f"records 1 to {newest} are the same" in triaged(
        "inspect", "diff", running.data, target, *running.extra, code=1)
    # No server writes into it; restored, one does, and an earlier record can be the last one too.
    with pytest.raises(Failed) as failure:
        on(fresh, running, target, "on-backup")
    assert "is a backup" in failure.value.text
    for last in (newest, before):
        new = tmp_path / f"new-{last}"
        triaged("restore", "--from", target, "--to", new, "--sequence", last, *running.extra)
        server = on(fresh, running, new, f"restored-{last}")
        assert sequence_of(server) == last
        assert server.stop() == 0


def test_a_backup_that_was_killed_goes_on(running, tmp_path):
    with running.client("classifier") as intake:
        submit_all(intake, [large_submission() for _ in range(450)])
    target = tmp_path / "backup"
    begin_and_kill(running, target, "*.leaves.whole.tmp")
    assert not (target / "identity").exists()
    said = triaged("inspect", "verify", "--data", target, *running.extra, code=65)
    assert "identity" in said
    said = backup(running, target, "--check").stdout
    assert int(said.split("copied, ")[1].split()[0]) >= 1, said
    triaged("inspect", "verify", "--data", target, *running.extra)


def begin(server, target, environment=None):
    """A backup that a test may end."""
    return subprocess.Popen(
        [BIN / "triagectl", "backup", "--to", target, "--server", server.address,
         "--identity", "sre"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        env=dict(os.environ, TRIAGED_CERTS=str(server.certs), **environment or {}))


def begin_and_kill(server, target, pattern, before=None):
    """Kills a backup once it has made such a file; one that was faster begins again."""
    for _ in range(5):
        process = begin(server, target)
        await_true(lambda: list(target.glob(pattern)) or process.poll() is not None, what="a file")
        process.send_signal(signal.SIGKILL)
        _, said = process.communicate()
        if process.returncode == -signal.SIGKILL:
            return
        assert process.returncode == 0, said
        shutil.rmtree(target)
        if before:
            shutil.copytree(before, target)
    raise AssertionError("it was not killed before its end")


def aged_backup(server, target):
    """A backup, and after it a second segment, evidence and a snapshot; returns its last record."""
    case = case_of(server)
    if server.extra:
        attach(server, case, b"first" * 20_000)
    said = backup(server, target).stdout
    last = int(said.split()[3].rstrip(","))
    with server.client("classifier") as intake:
        submit_all(intake, [large_submission() for _ in range(450)])
    if server.extra:
        attach(server, case, b"second" * 20_000)
    snapshot(server)
    return last


def assert_ends_with(server, target, last, new):
    """The backup verifies, and a restored server ends where it is said to."""
    triaged("inspect", "verify", "--data", target, *server.extra)
    triaged("restore", "--from", target, "--to", new, *server.extra)
    triaged("inspect", "verify", "--data", new, *server.extra)
    said = triaged("inspect", "stat", "--data", new, *server.extra)
    assert re.search(rf"\b{last}\b", said), said
    shutil.rmtree(new)


def test_a_refresh_that_is_killed_leaves_the_backup_of_before(running, tmp_path):
    target = tmp_path / "backup"
    last = aged_backup(running, target)
    before = content(target)
    shutil.copytree(target, tmp_path / "before")
    begin_and_kill(running, target, "*.whole.tmp", tmp_path / "before")
    after = content(target)
    new = {name for name in after if name not in before}
    assert new and all(name.endswith(".tmp") for name in new)
    assert all(after[name] == data for name, data in before.items()), "nothing else has changed"
    assert_ends_with(running, target, last, tmp_path / "new")
    said = backup(running, target, "--check").stdout
    assert not list(target.rglob("*.tmp")), "it goes on where it ended"
    assert_ends_with(running, target, int(said.split()[3].rstrip(",")), tmp_path / "new")


def test_a_refresh_that_ends_at_any_name_leaves_what_verifies(running, shim, tmp_path):
    """Each change of a name fails, one after the other: what is there is whole, of before or of
    after, and the next run completes it."""
    aged_backup(running, tmp_path / "before")
    faults = Faults(shim, tmp_path / "shim")
    target = tmp_path / "backup"
    for skip in range(100):
        shutil.copytree(tmp_path / "before", target)
        faults.set(RENAME, "", skip=skip, count=-1)
        process = begin(running, target, faults.environment)
        _, said = process.communicate(timeout=60)
        hits = faults.hits
        faults.clear()
        if process.returncode == 0:
            assert hits == 0
            break
        assert hits == 1 and process.returncode == 1 and "input/output error" in said, said
        triaged("inspect", "verify", "--data", target, *running.extra)
        triaged("restore", "--from", target, "--to", tmp_path / "new", *running.extra)
        backup(running, target, "--check")
        triaged("inspect", "verify", "--data", target, *running.extra)
        assert not list(target.rglob("*.tmp"))
        shutil.rmtree(tmp_path / "new")
        shutil.rmtree(target)
    assert skip >= 8, "a name for each file of the backup"


def test_evidence_comes_along_and_what_is_erased_goes(fresh, kek, tmp_path):
    server = fresh(extra=["--key-file", kek]).start()
    case = case_of(server)
    kept, erased = attach(server, case, b"kept" * 9000), attach(server, case, b"erased" * 9000)
    target = tmp_path / "backup"
    backup(server, target)
    assert len(list((target / "vault").glob("*.object"))) == 2
    erase(server, erased.name)
    await_true(lambda: len(list((server.data / "vault").glob("*.object"))) == 1, what="erasure")
    backup(server, target)
    assert len(list((target / "vault").glob("*.object"))) == 1
    triaged("inspect", "verify", "--data", target, *server.extra)
    triaged("restore", "--from", target, "--to", tmp_path / "new", *server.extra)
    other = on(fresh, server, tmp_path / "new")
    assert read(other, kept.name) == b"kept" * 9000
    assert other.stop() == 0
    # The restored directory is another line of history: not into the same folder.
    other.start()
    done = backup(other, target, check=False)
    assert done.returncode == 1 and "before it was restored" in done.stderr


def test_a_flipped_byte_is_named(running, tmp_path):
    case_of(running)
    snapshot(running)
    target = tmp_path / "backup"
    backup(running, target)
    copy = next(target.glob("*.snapshot"))
    data = bytearray(copy.read_bytes())
    data[5000] ^= 1
    copy.write_bytes(data)
    assert copy.name in triaged("inspect", "verify", "--data", target, *running.extra, code=65)
    done = backup(running, target, "--check", check=False)
    assert done.returncode == 1 and copy.name in done.stderr and "run this again" in done.stderr
    copy.unlink()
    backup(running, target, "--check")
    # And one on the server's disk, when it is read.
    case_of(running)
    snapshot(running)
    newest = sorted(running.data.glob("*.snapshot"))[-1]
    data = bytearray(newest.read_bytes())
    data[5000] ^= 1
    newest.write_bytes(data)
    done = backup(running, target, check=False)
    assert done.returncode == 1 and newest.name in done.stderr and "STORAGE_DAMAGED" in done.stderr
    triaged("inspect", "verify", "--data", target, *running.extra)


def test_only_operators_and_only_files_of_a_backup(running):
    case_of(running)
    for identity in ("dana", "gil", "classifier"):
        with running.client(identity) as other:
            for call, request in [
                    (other.operations.ListBackup, O.ListBackupRequest()),
                    (other.operations.ReadBackup,
                     O.ReadBackupRequest(name="identity", read_bytes=4096))]:
                assert refused(call, request).reason in ("ROLE_REQUIRED", "PRINCIPAL_UNKNOWN")
    with running.client("sre") as sre:
        for name in ("lock", "mark", "../policy.yaml", "/etc/passwd", "vault/../keys", "backup",
                     "spare.tmp", "00000000000000000099.journal"):
            gone = refused(sre.operations.ReadBackup,
                           O.ReadBackupRequest(name=name, read_bytes=1))
            assert gone.code is grpc.StatusCode.NOT_FOUND and gone.reason == "BACKUP_FILE_GONE"


def test_a_folder_with_something_else_is_refused(running, tmp_path):
    case_of(running)
    target = tmp_path / "backup"
    target.mkdir()
    (target / "notes").write_text("mine")
    done = backup(running, target, check=False)
    assert done.returncode == 1 and "notes" in done.stderr
    done = backup(running, running.data, check=False)
    assert done.returncode == 1
    # Such as where retention moves segments: a backup would remove what it does not know.
    archive = tmp_path / "archive"
    archive.mkdir()
    segment, = running.data.glob("*.journal")
    shutil.copy(segment, archive)
    done = backup(running, archive, check=False)
    assert done.returncode == 1 and segment.name in done.stderr
    assert (archive / segment.name).stat().st_size == segment.stat().st_size
    assert running.stop() == 0
    running.start()


def test_a_full_disk_says_what_to_do_and_it_goes_on(running, tmp_path):
    case_of(running)
    with mounted(tmp_path / "small", "-t", "tmpfs", "-o", "size=30m", "none") as where:
        done = backup(running, where / "backup", check=False)
        assert done.returncode == 1 and "make room and run it again" in done.stderr
        subprocess.run(["mount", "-o", "remount,size=200m", where], check=True)
        backup(running, where / "backup", "--check")


def test_progress_is_for_people_only(running, tmp_path):
    case_of(running)
    words = ["--server", running.address, "--identity", "sre", "--certs", str(running.certs)]
    said = watched([BIN / "triagectl", "backup", "--to", str(tmp_path / "backup"), *words])
    assert "copying [####" in said and "100 %" in said
    assert not backup(running, tmp_path / "other").stderr
