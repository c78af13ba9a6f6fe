"""Bytes that are not what was written, files that are not ours, directories that cannot be used:
each is refused with the file's name and what to do, or repaired and reported; nothing is changed.
"""

import hashlib
import os
import random
import re
import shutil
import struct
import subprocess

import pytest
import stubs
from builders import large_submission, submission
from harness import BIN, Failed, request_id, submit_all

T, O = stubs.triage, stubs.operations
BLOCK = 4096


def content(folder):
    """Name to digest of everything but the lock."""
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).digest()
            for path in folder.rglob("*") if path.is_file() and path.name != "lock"}


@pytest.fixture
def small(fresh):
    """A stopped server with a journal of a few records, a snapshot, and some more records."""
    server = fresh().start()
    with server.client("classifier") as intake, server.client("sre") as sre:
        for _ in range(6):
            intake.triage.SubmitReport(submission("post:one"))
        sre.operations.CreateSnapshot(O.CreateSnapshotRequest(request_id=request_id()))
        for _ in range(3):
            intake.triage.SubmitReport(submission("post:two"))
    server.kill()
    server.expected = board(server.start())
    server.kill()
    return server


def board(server):
    with server.client("dana") as dana:
        return dana.triage.ListCases(T.ListCasesRequest(page_size=1000)).SerializeToString(
            deterministic=True)


def used(path):
    """Bytes up to the last one that is not zero."""
    return len(path.read_bytes().rstrip(b"\0"))


class Changed:
    """A file with some bytes replaced, or cut, for a while."""

    def __init__(self, path, offset, new=None):
        self.path, self.offset, self.new = path, offset, new

    def __enter__(self):
        with open(self.path, "r+b") as file:
            file.seek(self.offset)
            if self.new is None:
                self.old = file.read()
                file.truncate(self.offset)
            else:
                self.old = file.read(len(self.new))
                file.seek(self.offset)
                file.write(self.new)

    def __exit__(self, *_):
        with open(self.path, "r+b") as file:
            file.seek(self.offset)
            file.write(self.old)


def flipped(path, offset, bit):
    with open(path, "rb") as file:
        file.seek(offset)
        return bytes([file.read(1)[0] ^ 1 << bit])


def verify(server, *words):
    return subprocess.run([BIN / "triaged", "inspect", "verify", "--data", server.data, *words],
                          capture_output=True, text=True, timeout=100)


def refused_start(server, code, *texts):
    """Starts in vain; the directory is as before."""
    before = content(server.data)
    with pytest.raises(Failed) as failure:
        server.start()
    assert failure.value.code == code, failure.value.text
    line, = failure.value.text.strip().splitlines()
    for text in texts:
        assert text in line, line
    assert content(server.data) == before, "a refused directory was changed"
    return line


def places(limit, rounds, extra=()):
    """Which offsets to try: all of them in the long form, some otherwise."""
    if rounds > 3:
        return list(range(limit))
    seed = random.randrange(1 << 32)
    print("seed", seed)
    return sorted({*random.Random(seed).sample(range(limit), min(limit, 12)), *extra})


@pytest.mark.timeout(14_400)
def test_every_flipped_byte_of_the_journal_is_found(small, rounds):
    journal, = small.data.glob("*.journal")
    lots = random.Random(1)
    for offset in places(used(journal), rounds, (0, 8, 12, BLOCK, BLOCK + 4)):
        with Changed(journal, offset, flipped(journal, offset, lots.randrange(8))):
            done = verify(small)
            assert done.returncode == 65, f"byte {offset}: {done.stdout}{done.stderr}"
            assert re.search(rf"{journal.name}.*\bbyte \d+", done.stderr), done.stderr
            if offset % 16 == 0:
                refused_start(small, 65, journal.name)
    assert board(small.start()) == small.expected


@pytest.mark.timeout(14_400)
def test_every_flipped_byte_of_a_snapshot_is_found_and_passed_over(small, rounds):
    snapshot, = small.data.glob("*.snapshot")
    lots = random.Random(2)
    for offset in places(snapshot.stat().st_size, rounds, (0, 8, 12, BLOCK)):
        with Changed(snapshot, offset, flipped(snapshot, offset, lots.randrange(8))):
            done = verify(small)
            assert done.returncode == 65, f"byte {offset}: {done.stdout}{done.stderr}"
            assert snapshot.name in done.stderr
            if offset % 16 == 0:
                assert board(small.start()) == small.expected
                assert f"passed over {snapshot.name}" in small.said()
                small.kill()
    assert verify(small).returncode == 0


@pytest.mark.timeout(14_400)
@pytest.mark.parametrize("kind", ["journal", "snapshot"])
def test_every_length_of_a_cut_file_is_found(small, rounds, kind):
    path, = small.data.glob(f"*.{kind}")
    limit = used(path) if kind == "journal" else path.stat().st_size - 1
    for length in places(limit, rounds, (0, 1, BLOCK - 1, BLOCK)):
        with Changed(path, length):
            done = verify(small)
            assert done.returncode == 65, f"{length} bytes: {done.stdout}{done.stderr}"
            assert path.name in done.stderr
            if length % 16 == 0 and kind == "journal":
                refused_start(small, 65, path.name)
    assert board(small.start()) == small.expected


@pytest.mark.parametrize("kind", ["first sector lost", "stopped early"])
def test_an_unfinished_write_is_cut_kept_and_reported(small, kind):
    """Where no batch begins, there are bytes of one (FORMAT.md: Torn or corrupt, 6)."""
    journal, = small.data.glob("*.journal")
    end = used(journal)
    start = end + -end % 8
    lost = bytes(512 - start % 512)
    piece = lost + b"\x18" * 100 if kind == "first sector lost" else b"\x17" * 10
    with open(journal, "r+b") as file:
        file.seek(start)
        file.write(piece)
    done = verify(small)
    assert done.returncode == 0 and "unfinished write" in done.stdout
    assert board(small.start()) == small.expected
    assert "recovery repaired the data" in small.said() and journal.name in small.said()
    small.kill()
    torn, = small.data.glob("*.torn")
    assert torn.read_bytes() == piece and used(journal) == end
    assert verify(small).returncode == 0


def test_a_foreign_file_is_named_and_left(small):
    (small.data / "notes.txt").write_text("mine")
    refused_start(small, 74, "notes.txt", "move it away")
    assert verify(small).returncode == 74
    (small.data / "notes.txt").unlink()
    (small.data / "photos").mkdir()
    refused_start(small, 74, "photos", "move it away")


def crc32c(data):
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ table[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


def with_version(block, version):
    """A header block of another version, with its checksum right (FORMAT.md: Header block)."""
    block = block[:8] + struct.pack("<I", version) + block[12:]
    return block[:12] + struct.pack("<I", crc32c(block[:12] + block[16:])) + block[16:]


@pytest.mark.parametrize("pattern", ["*.journal", "*.snapshot", "identity", "mark"])
@pytest.mark.parametrize("version", [0, 1, 99], ids=["none", "older", "newer"])
def test_another_format_version_is_refused(small, pattern, version):
    path, = small.data.glob(pattern)
    old = path.read_bytes()
    block = with_version(old[:BLOCK], version)
    if pattern == "mark" and version < 2:
        # One of its two may be lost; a good one counts.
        block += with_version(old[BLOCK:2 * BLOCK], version)
    with Changed(path, 0, block):
        if pattern == "*.snapshot" and version == 0:
            # As any snapshot that cannot be read.
            assert board(small.start()) == small.expected
            assert f"passed over {path.name}" in small.said()
            small.kill()
        else:
            says = {0: (), 1: ("version 1", "triaged upgrade"), 99: ("version 99", "upgrade")}
            refused_start(small, 74 if version else 65, path.name, *says[version])


@pytest.mark.parametrize("records", [2, 20], ids=["older", "newer"])
def test_a_snapshot_of_another_cluster_is_refused(small, fresh, records):
    other = fresh(name="other").start()
    with other.client("classifier") as intake, other.client("sre") as sre:
        for _ in range(records):
            intake.triage.SubmitReport(submission())
        sre.operations.CreateSnapshot(O.CreateSnapshotRequest(request_id=request_id()))
    other.kill()
    snapshot, = other.data.glob("*.snapshot")
    shutil.copy(snapshot, small.data)
    refused_start(small, 65, snapshot.name, "is of cluster", "move it back")


@pytest.mark.parametrize("name", ["identity", "*.journal"])
def test_a_directory_that_lacks_what_it_must_have(small, name, tmp_path):
    path, = small.data.glob(name)
    shutil.move(path, tmp_path / "aside")
    refused_start(small, 65, path.name if name == "identity" else ".journal")
    assert verify(small).returncode == 65


def test_a_journal_with_a_gap_names_the_record(fresh, tmp_path):
    server = fresh().start()
    with server.client("classifier") as intake:
        while len(list(server.data.glob("*.journal"))) < 3:
            submit_all(intake, [large_submission() for _ in range(100)])
    server.kill()
    first, middle, last = sorted(server.data.glob("*.journal"))
    shutil.move(middle, tmp_path / "aside")
    missing = str(int(middle.stem))
    refused_start(server, 65, f"record {missing} is missing", last.name)
    done = verify(server)
    assert done.returncode == 65 and f"record {missing} is missing" in done.stderr
    shutil.move(tmp_path / "aside", middle)
    shutil.move(first, tmp_path / "aside")
    refused_start(server, 65, "record 1 is missing", middle.name)
    shutil.move(tmp_path / "aside", first)
    server.start()


def test_a_data_directory_that_is_a_file_is_one_clear_line(fresh, tmp_path):
    server = fresh()
    words = server.arguments()
    path = tmp_path / "file"
    path.write_text("not a directory")
    words[words.index("--data") + 1] = str(path)
    done = subprocess.run(words, capture_output=True, text=True, timeout=30)
    assert done.returncode > 0 and done.stdout == ""
    assert str(path) in done.stderr and len(done.stderr.strip().splitlines()) == 1
    assert path.read_text() == "not a directory"


def test_a_directory_that_may_not_be_written_says_so(small, fresh, certs, tmp_path):
    """Without root: the modes of the directory; as root: somebody else runs the server."""
    if os.geteuid() == 0:
        nobody = 65534
        mine = tmp_path / "certs"
        shutil.copytree(certs, mine)
        for path in [tmp_path, *tmp_path.parents]:
            os.chmod(path, os.stat(path).st_mode | 0o711)
        for path in [mine, *mine.rglob("*")]:
            os.chown(path, nobody, nobody)
        server = fresh(name="other", certs=mine, data=small.data, user=nobody)
        os.chmod(server.policy, 0o644)
    else:
        server = small
        os.chmod(small.data, 0o500)
    try:
        refused_start(server, 74, str(small.data), "permission denied", "read and write")
    finally:
        os.chmod(small.data, 0o700)
    assert board(small.start()) == small.expected


def test_a_read_only_file_system_says_so(small, fresh, tmp_path):
    where = tmp_path / "readonly"
    where.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "none", where], capture_output=True, text=True)
    if done.returncode != 0:
        pytest.skip(f"this machine mounts nothing: {done.stderr.strip()}")
    try:
        shutil.copytree(small.data, where / "data")
        subprocess.run(["mount", "-o", "remount,ro", where], check=True)
        server = fresh(name="other", data=where / "data")
        refused_start(server, 74, str(server.data), "read-only file system", "mount it")
        assert verify(server).returncode == 0, "inspect needs no more than to read"
    finally:
        subprocess.run(["umount", "-l", where], check=True)
