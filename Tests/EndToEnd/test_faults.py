"""The disk fails while the real server works: calls of the C library that a shim lets fail, a file
system that is full, one whose power is cut. What was acknowledged is there; no more is claimed.
"""

import concurrent.futures
import contextlib
import errno
import fcntl
import mmap
import os
import pathlib
import random
import re
import struct
import subprocess
import threading

import grpc
import pytest
import stubs
from builders import large_submission, submission
from harness import BIN, Failed, await_true, refused, request_id, submit_all

T, A, O, H = stubs.triage, stubs.assignment, stubs.operations, stubs.health
HERE = pathlib.Path(__file__).parent
# Who was killed before the data folder's own name was durable does not know it at the next start.
PARENT = "the folder that the data folder is in"
PWRITE, FDATASYNC, PREAD, FALLOCATE, RENAME, OPEN, FSYNC, UNLINK = (1 << n for n in range(8))


class Faults:
    """The page that the shim reads (faults.c)."""

    FORMAT = struct.Struct("<IiiiIi104s")

    def __init__(self, library, directory):
        directory.mkdir(parents=True, exist_ok=True)
        path = directory / "faults"
        path.write_bytes(bytes(mmap.PAGESIZE))
        self.environment = {"LD_PRELOAD": str(library), "TRIAGED_FAULTS": str(path)}
        with open(path, "r+b") as file:
            self.page = mmap.mmap(file.fileno(), mmap.PAGESIZE)

    def set(self, calls, suffix="", error=errno.EIO, skip=0, count=1, early=0):
        """Lets `count` of these calls on paths that end in `suffix` fail, after `skip` others; the
        first `early` of them do a part of what they were to do instead."""
        self.page[:4] = bytes(4)
        plan = self.FORMAT.pack(calls, skip, count, error, 0, early, suffix.encode())
        self.page[4:len(plan)] = plan[4:]
        self.page[:4] = plan[:4]

    def clear(self):
        self.page[:4] = bytes(4)

    def set_clock(self, hours):
        """Sets the server's time of day, and only that."""
        self.page[self.FORMAT.size:self.FORMAT.size + 8] = struct.pack("<q", hours * 3600)

    @property
    def hits(self):
        return self.FORMAT.unpack_from(self.page)[4]


@pytest.fixture(scope="session")
def shim(tmp_path_factory):
    library = tmp_path_factory.mktemp("shim") / "faults.so"
    subprocess.run(["gcc", "-shared", "-fPIC", "-O2", "-Wall", "-Wextra", "-Werror", "-o", library,
                    HERE / "faults.c", "-ldl"], check=True)
    return library


@pytest.fixture
def faulty(fresh, shim, tmp_path):
    """Makes a server and the faults that it can be given."""
    def make(**options):
        faults = Faults(shim, tmp_path / "shim")
        return fresh(environment=faults.environment, **options), faults
    return make


def figure(server, name):
    return int(re.search(rf"^{name} (\d+)", server.admin_get("/metrics")[1], re.M)[1])


def cases(client):
    """Names of the open cases, and how many are withheld, on all pages."""
    names, withheld, token = set(), 0, ""
    while True:
        page = client.triage.ListCases(T.ListCasesRequest(page_size=1000, page_token=token))
        names.update(each.name for each in page.cases)
        withheld += page.withheld_count
        token = page.next_page_token
        if not token:
            return names, withheld


def fill(intake, acknowledged, limit=2000):
    """Submits large reports until one is refused; returns the refusal."""
    for _ in range(limit):
        message = large_submission()
        try:
            acknowledged.append((message, intake.triage.SubmitReport(message)))
        except grpc.RpcError:
            return refused(intake.triage.SubmitReport, large_submission())
    raise AssertionError("the disk was never full")


def assert_failed_for_good(server, acknowledged):
    """Writes are refused, reads go on, and health, metrics, readiness and log say why."""
    with server.client("classifier") as intake, server.client("dana") as dana, \
            server.client("chloe") as chloe:
        for _ in range(3):
            refusal = refused(intake.triage.SubmitReport, submission())
            assert refusal.code is grpc.StatusCode.UNAVAILABLE
            assert refusal.reason == "JOURNAL_FAILED"
        refusal = refused(
            chloe.assignments.ClaimNext, A.ClaimNextRequest(request_id=request_id()))
        assert refusal.reason == "JOURNAL_FAILED"
        await_true(lambda: cases(dana)[1] == 0, 20, "the state that is read back")
        shown, _ = cases(dana)
        assert {receipt.case for _, receipt in acknowledged} <= shown, "reads go on"
        status = dana.health.Check(H.HealthCheckRequest()).status
        assert status == H.HealthCheckResponse.NOT_SERVING
    assert server.admin_get("/readyz")[0] == 503
    assert server.admin_get("/livez")[0] == 200
    await_true(lambda: figure(server, "triaged_journal_failed") == 1, what="the metrics")
    assert "journal failed; writes are refused" in server.said()


def assert_all_there(server, acknowledged, in_doubt=()):
    """After a start: everything acknowledged is there, and repeats are answered alike."""
    with server.client("classifier") as intake, server.client("dana") as dana:
        shown, withheld = cases(dana)
        assert withheld == 0
        missing = [receipt.case for _, receipt in acknowledged if receipt.case not in shown]
        assert not missing, f"{len(missing)} of {len(acknowledged)} are gone"
        for message, first in acknowledged[-20:]:
            assert intake.triage.SubmitReport(message) == first
        for message in in_doubt:
            intake.triage.SubmitReport(message)


@pytest.mark.parametrize("call, error", [
    (FDATASYNC, errno.EIO), (PWRITE, errno.EIO), (PWRITE, errno.ENOSPC), (FDATASYNC, errno.EDQUOT),
], ids=["sync", "write", "write-full", "sync-quota"])
def test_a_journal_that_fails_is_final_and_visible(faulty, call, error):
    server, faults = faulty()
    server.start()
    acknowledged = []
    skip = random.randrange(8)
    print("skip", skip)
    with server.client("classifier") as intake:
        for _ in range(10):
            message = submission()
            acknowledged.append((message, intake.triage.SubmitReport(message)))
        faults.set(call, ".journal", error, skip=skip)
        for _ in range(20):
            message = submission()
            try:
                acknowledged.append((message, intake.triage.SubmitReport(message)))
            except grpc.RpcError as refusal:
                assert refusal.code() is grpc.StatusCode.UNAVAILABLE
                break
        else:
            raise AssertionError("every write was acknowledged")
    assert faults.hits == 1
    assert_failed_for_good(server, acknowledged)
    line = next(each for each in server.said().splitlines() if "journal failed;" in each)
    assert ".journal" in line and "restart" in line, "names the file, and what to do"
    assert server.stop() == 70
    assert "see the runbook" in server.said()
    server.start()
    assert_all_there(server, acknowledged, [message])


def test_a_sync_that_fails_under_load_acknowledges_nothing_after_it(faulty):
    """Many calls wait for the sync that fails: none of them is told that it was kept."""
    server, faults = faulty()
    server.start()
    acknowledged, in_doubt, lock = [], [], threading.Lock()

    def load(_):
        with server.client("classifier") as intake:
            for _ in range(200):
                message = submission()
                try:
                    receipt = intake.triage.SubmitReport(message)
                except grpc.RpcError as error:
                    assert error.code() is grpc.StatusCode.UNAVAILABLE, error
                    with lock:
                        in_doubt.append(message)
                    return
                with lock:
                    acknowledged.append((message, receipt))

    faults.set(FDATASYNC, ".journal", skip=30)
    with concurrent.futures.ThreadPoolExecutor(8) as workers:
        list(workers.map(load, range(8)))
    assert faults.hits == 1 and len(in_doubt) == 8
    assert_failed_for_good(server, acknowledged)
    server.kill()
    server.start()
    assert_all_there(server, acknowledged, in_doubt)


@pytest.mark.parametrize("call, suffix, skip", [
    (RENAME, ".journal", 1), (FSYNC, "data", None), (PWRITE, "spare.tmp", 256),
    (FDATASYNC, "spare.tmp", 1),
], ids=["rename", "directory", "header", "header-sync"])
def test_a_segment_that_cannot_be_begun(faulty, call, suffix, skip):
    """The change from one segment to the next fails at each of its steps.

    Skipped are the first segment's name, and what makes the spare: 256 writes and a sync.
    """
    server, faults = faulty()
    if skip is not None:
        faults.set(call, suffix, skip=skip)
    server.start()
    if skip is None:
        faults.set(call, suffix)
    with server.client("classifier") as intake:
        acknowledged = submit_all(intake, [large_submission() for _ in range(350)])
        assert faults.hits == 0
        fill(intake, acknowledged)
    assert faults.hits == 1
    assert_failed_for_good(server, acknowledged)
    assert server.stop() == 70
    server.start()
    assert_all_there(server, acknowledged)
    inspect(server)


def inspect(server, *words, code=0):
    done = subprocess.run([BIN / "triaged", "inspect", "verify", "--data", server.data, *words],
                          capture_output=True, text=True, timeout=100)
    assert done.returncode == code, done.stderr
    return done


def test_short_reads_and_writes_are_carried_on(faulty):
    server, faults = faulty()
    faults.set(PWRITE | PREAD, error=0, count=-1)
    server.start()
    acknowledged = []
    with server.client("classifier") as intake, server.client("sre") as sre:
        for number in range(30):
            message = submission(description="y" * 270 * number)
            acknowledged.append((message, intake.triage.SubmitReport(message)))
        sre.operations.CreateSnapshot(O.CreateSnapshotRequest(request_id=request_id()))
        message = submission()
        acknowledged.append((message, intake.triage.SubmitReport(message)))
    assert faults.hits > 40
    server.kill()
    inspect(server)
    server.start()
    assert_all_there(server, acknowledged)


@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC], ids=["error", "full"])
@pytest.mark.parametrize("end", ["stop", "kill"])
def test_a_short_write_and_then_an_error_is_cut_and_reported(faulty, error, end):
    """A part of a batch is in the segment, and the rest fails: final, as any failed write; the next
    start finds a torn batch, which nobody was told of, and cuts it."""
    server, faults = faulty()
    server.start()
    acknowledged = []
    with server.client("classifier") as intake:
        for _ in range(10):
            message = submission()
            acknowledged.append((message, intake.triage.SubmitReport(message)))
        skip = random.randrange(4)
        print("skip", skip)
        faults.set(PWRITE, ".journal", error, skip=skip, count=2, early=1)
        for number in range(skip + 2):
            message = large_submission()
            try:
                acknowledged.append((message, intake.triage.SubmitReport(message)))
            except grpc.RpcError as refusal:
                assert refusal.code() is grpc.StatusCode.UNAVAILABLE
                break
        else:
            raise AssertionError("every write was acknowledged")
    assert faults.hits == 2 and number == skip
    assert_failed_for_good(server, acknowledged)
    if end == "kill":
        server.kill()
    else:
        assert server.stop() == 70
    segment, = server.data.glob("*.journal")
    before = segment.read_bytes()
    assert "unfinished write" in inspect(server).stdout and segment.read_bytes() == before
    server.start()
    said = re.search(rf"cut an unfinished write of (\d+) bytes off {segment.name} at byte (\d+)",
                     server.said())
    assert said, server.said()
    count, offset = map(int, said.groups())
    assert 4096 <= count < 200_000 and not any(before[offset + count:])
    torn, = server.data.glob("*.torn")
    assert torn.read_bytes() == before[offset:offset + count]
    assert_all_there(server, acknowledged, [message])
    assert server.stop() == 0
    inspect(server)


@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC], ids=["error", "full"])
def test_a_short_write_and_then_an_error_spoils_no_snapshot(faulty, error):
    server, faults = faulty()
    server.start()
    with server.client("classifier") as intake, server.client("sre") as sre:
        message = large_submission()
        receipt = intake.triage.SubmitReport(message)
        faults.set(PWRITE, ".snapshot.tmp", error, count=2, early=1)
        ask = O.CreateSnapshotRequest(request_id=request_id())
        assert refused(sre.operations.CreateSnapshot, ask).reason == "SNAPSHOT_FAILED"
        assert faults.hits == 2 and not list(server.data.glob("*.snapshot*"))
        assert sre.operations.CreateSnapshot(ask).sequence == 1
    server.kill()
    inspect(server)
    server.start()
    assert_all_there(server, [(message, receipt)])


@pytest.mark.parametrize("call", [PWRITE, FDATASYNC, RENAME, OPEN],
                         ids=["write", "sync", "rename", "open"])
def test_a_snapshot_that_fails_does_no_harm(faulty, call):
    server, faults = faulty()
    server.start()
    # The name that a rename is told is the final one.
    suffix = ".snapshot" if call == RENAME else ".snapshot.tmp"
    with server.client("classifier") as intake, server.client("sre") as sre:
        message = submission()
        receipt = intake.triage.SubmitReport(message)
        # All of them: a file that cannot be opened past the page cache is opened with it.
        faults.set(call, suffix, errno.ENOSPC, count=-1)
        ask = O.CreateSnapshotRequest(request_id=request_id())
        refusal = refused(sre.operations.CreateSnapshot, ask)
        assert refusal.reason == "SNAPSHOT_FAILED"
        await_true(lambda: figure(server, "triaged_snapshot_failures_total") == 1,
                   what="the metrics")
        assert faults.hits > 0 and not list(server.data.glob("*.snapshot*"))
        faults.clear()
        intake.triage.SubmitReport(submission())
        assert sre.operations.CreateSnapshot(ask).sequence == 2
    server.kill()
    server.start()
    assert_all_there(server, [(message, receipt)])


@pytest.mark.parametrize("call, suffix", [
    (PREAD, ".journal"), (PREAD, "identity"), (PWRITE, ".journal"), (FDATASYNC, ".journal"),
    (OPEN, ".journal"), (OPEN, "lock"), (OPEN, "mark"), (FSYNC, "data"), (FSYNC, PARENT),
], ids=lambda value: str(value))
def test_a_start_on_a_failing_disk_is_refused_and_changes_nothing(faulty, call, suffix):
    server, faults = faulty()
    server.start()
    acknowledged = []
    with server.client("classifier") as intake:
        for _ in range(5):
            message = submission()
            acknowledged.append((message, intake.triage.SubmitReport(message)))
    server.kill()
    if suffix == PARENT:
        suffix = server.data.parent.name
    faults.set(call, suffix)
    with pytest.raises(Failed) as failure:
        server.start()
    assert faults.hits == 1
    assert failure.value.code == 74
    assert suffix in failure.value.text and "input/output error" in failure.value.text
    faults.clear()
    inspect(server)
    server.start()
    assert_all_there(server, acknowledged)


def test_a_full_disk_refuses_and_goes_on_when_there_is_room(faulty):
    """No room for the next segment: refused before anything is lost, and no restart is needed."""
    server, faults = faulty()
    faults.set(FALLOCATE, "spare.tmp", errno.ENOSPC, count=-1)
    server.start()
    acknowledged = []
    with server.client("classifier") as intake, server.client("dana") as dana:
        refusal = fill(intake, acknowledged)
        assert refusal.code is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert refusal.reason == "STORAGE_FULL" and refusal.retry, refusal
        shown, withheld = cases(dana)
        assert len(shown) == len(acknowledged) and withheld == 0
        assert figure(server, "triaged_journal_failed") == 0
        await_true(lambda: figure(server, "triaged_storage_full_total") > 0, what="the metrics")
        said = "no room for the next journal segment: writes are refused"
        await_true(lambda: said in server.said(), 20, "the log")
        faults.clear()

        def goes_on():
            try:
                message = large_submission()
                acknowledged.append((message, intake.triage.SubmitReport(message)))
                return True
            except grpc.RpcError as error:
                assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
                return False
        await_true(goes_on, 30, "room")
        await_true(lambda: "no write is refused for want of room" in server.said(), 60, "the log")
    assert server.stop() == 0
    inspect(server)
    server.start()
    assert_all_there(server, acknowledged)


def test_a_clock_that_is_set_reorders_and_loses_nothing(faulty):
    """Two hours back, twenty forward, thirty behind that, and a restart there."""
    server, faults = faulty()
    server.start()
    acknowledged = []

    def submit(intake):
        for _ in range(5):
            message = submission()
            acknowledged.append((message, intake.triage.SubmitReport(message)))

    with server.client("classifier") as intake, server.client("chloe") as chloe:
        submit(intake)
        offer = chloe.assignments.ClaimNext(A.ClaimNextRequest(request_id=request_id())).assignment
        accept = A.AcceptCaseRequest(request_id=request_id(), name=offer.name,
                                     fencing_token=offer.fencing_token)
        for hours in (-2, 18, -12):
            faults.set_clock(hours)
            submit(intake)
        refusal = refused(chloe.assignments.AcceptCase, accept)
        assert refusal.code is grpc.StatusCode.FAILED_PRECONDITION, "it has ended meanwhile"
        # Scraped a moment later than the last submission, and rounded.
        ahead = figure(server, "triaged_clock_ahead_milliseconds")
        assert abs(ahead - 30 * 3_600_000) < 60_000
    server.kill()
    server.start()
    with server.client("classifier") as intake:
        submit(intake)
    shown = [(receipt.revision, receipt.create_time.ToNanoseconds()) for _, receipt in acknowledged]
    assert len(shown) == 25 and shown == sorted(shown), "later is later, in number and in time"
    assert_all_there(server, acknowledged)
    assert server.stop() == 0
    inspect(server)


@contextlib.contextmanager
def mounted(where, *words):
    """A file system of the test's own; skips where the machine does not allow one."""
    where.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(["mount", *words, str(where)], capture_output=True, text=True)
    if done.returncode != 0:
        pytest.skip(f"this machine mounts nothing: {done.stderr.strip()}")
    try:
        yield where
    finally:
        subprocess.run(["umount", "-l", where], check=True)


def test_a_full_file_system_refuses_and_goes_on_when_there_is_room(fresh, tmp_path):
    with mounted(tmp_path / "small", "-t", "tmpfs", "-o", "size=160m", "none") as where:
        server = fresh(data=where / "data").start()
        acknowledged = []
        with server.client("classifier") as intake:
            refusal = fill(intake, acknowledged)
            assert refusal.reason == "STORAGE_FULL"
            assert len(acknowledged) > 100, "both segments that there is room for were used"
            subprocess.run(["mount", "-o", "remount,size=300m", where], check=True)

            def goes_on():
                try:
                    message = submission()
                    acknowledged.append((message, intake.triage.SubmitReport(message)))
                    return True
                except grpc.RpcError as error:
                    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
                    return False
            await_true(goes_on, 30, "room")
        server.kill()
        server.start()
        assert_all_there(server, acknowledged)
        assert server.stop() == 0
        inspect(server)


FS_IOC_SHUTDOWN, NO_LOG_FLUSH = 0x8004587D, 2


@pytest.mark.timeout(1800)
def test_a_power_cut_loses_nothing_acknowledged(fresh, tmp_path, rounds):
    """ext4 is shut down in the middle of load, nothing flushed: a power cut but for the disk."""
    image = tmp_path / "image"
    with open(image, "wb") as file:
        file.truncate(1 << 30)
    made = subprocess.run(["mkfs.ext4", "-q", "-F", image], capture_output=True, text=True)
    if made.returncode != 0:
        pytest.skip(f"no ext4 can be made: {made.stderr.strip()}")
    seed = random.randrange(1 << 32)
    print("seed", seed)
    lots = random.Random(seed)
    acknowledged = []
    server = None
    for turn in range(rounds + 1):
        with mounted(tmp_path / "ext4", "-o", "loop", str(image)) as where:
            server = fresh(name=f"server{turn}", data=where / "data").start()
            assert_all_there(server, acknowledged)
            if turn == rounds:
                assert server.stop() == 0
                inspect(server)
                break
            pull_the_plug(server, where, lots, acknowledged)
    assert len(acknowledged) > 20 * rounds, "the load was a load"


def pull_the_plug(server, where, lots, acknowledged):
    """Loads the server, shuts the file system down in the middle, and ends the process."""
    lock, failed = threading.Lock(), threading.Event()

    def load(_):
        with server.client("classifier") as intake:
            while not failed.is_set():
                message = submission(description="z" * 3000)
                try:
                    receipt = intake.triage.SubmitReport(message)
                except grpc.RpcError as error:
                    assert error.code() is grpc.StatusCode.UNAVAILABLE, error
                    return
                with lock:
                    acknowledged.append((message, receipt))

    with concurrent.futures.ThreadPoolExecutor(4) as workers:
        loads = [workers.submit(load, number) for number in range(4)]
        before = len(acknowledged)
        wanted = lots.randrange(40, 400)
        await_true(lambda: len(acknowledged) - before > wanted, 300, "load")
        descriptor = os.open(where, os.O_RDONLY)
        try:
            fcntl.ioctl(descriptor, FS_IOC_SHUTDOWN, struct.pack("I", NO_LOG_FLUSH))
        except OSError as error:
            pytest.skip(f"the file system cannot be shut down: {error}")
        finally:
            os.close(descriptor)
            failed.set()
        for each in loads:
            each.result(60)
    server.kill()
