"""Deploy/examples/async_client.py, while its server is killed and started again under it."""

import asyncio
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import threading

import grpc
import pytest
import stubs
from builders import report, submission
from harness import ROOT, await_true, free_port, request_id

T, A, C = stubs.triage, stubs.assignment, stubs.case
EXAMPLE = ROOT / "Deploy" / "examples" / "async_client.py"


class Example:
    """One run of the example; its lines as they come."""

    def __init__(self, server, *words):
        self.process = subprocess.Popen(
            [sys.executable, EXAMPLE, "--server", server.address, *words],
            env=dict(os.environ, TRIAGED_CERTS=str(server.certs)), text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL)
        self.lines = []
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        for line in self.process.stdout:
            self.lines.append(line.rstrip())

    def finished(self, seconds):
        """Waits for its end; returns its lines."""
        code = self.process.wait(seconds)
        self.reader.join(10)
        assert code == 0, self.process.stderr.read()
        return self.lines

    def stop(self):
        self.process.kill()
        self.process.wait()


@pytest.fixture
def running():
    made = []

    def make(*arguments):
        made.append(Example(*arguments))
        return made[-1]

    yield make
    for each in made:
        each.stop()


@pytest.fixture
def server(fresh):
    """A server on a port that it keeps over restarts."""
    server = fresh()
    server.listen = f"127.0.0.1:{free_port(above=500)}"
    return server.start(listen=server.listen)


def restart(server):
    server.kill()
    server.start(listen=server.listen)


def close_one(server):
    """Takes a case to its end; returns its name."""
    with server.client("chloe") as chloe:
        claimed = chloe.assignments.ClaimNext(A.ClaimNextRequest(request_id=request_id()))
        held = dict(name=claimed.case.name, fencing_token=claimed.assignment.fencing_token)
        chloe.assignments.AcceptCase(A.AcceptCaseRequest(
            request_id=request_id(), name=claimed.assignment.name,
            fencing_token=claimed.assignment.fencing_token))
        done = C.DUTY_ANSWER_DONE
        chloe.triage.DecideCase(T.DecideCaseRequest(
            request_id=request_id(), **held, decision=C.Decision(
                outcome=C.DECISION_OUTCOME_HARM_ACTIONED, policy_version="test-1",
                duties=C.DutyAnswers(referral=done, statutory_report=done, preservation=done,
                                     welfare_resource=done))))
        chloe.triage.CloseCase(T.CloseCaseRequest(
            request_id=request_id(), **held, live_risk_ended=True))
        return claimed.case.name


def board(server):
    """The open cases and their revisions; up to a thousand."""
    with server.client("dana") as dana:
        return {case.name: case.revision
                for case in dana.triage.ListCases(T.ListCasesRequest(page_size=1000)).cases}


def open_count(server):
    with server.client("dana") as dana:
        return dana.triage.ListCases(T.ListCasesRequest(page_size=1)).open_count


@pytest.mark.timeout(240)
def test_reports_survive_restarts(server, running):
    example = running(server, "submit", "--count", "300")
    for count in (40, 120, 200):
        await_true(lambda: len(example.lines) >= count, 60, f"{count} reports")
        restart(server)
    lines = example.finished(120)
    reports = [line.split()[0] for line in lines]
    assert len(reports) == len(set(reports)) == 300, "each once"
    assert {line.split()[-1] for line in lines} == set(board(server)), "and no other"


@pytest.mark.timeout(240)
def test_a_stream_survives_a_restart(server, running):
    example = running(server, "stream", "--count", "2000")
    await_true(lambda: open_count(server) > 0, 60, "the first reports")
    restart(server)
    lines = example.finished(120)
    assert len(lines) == 2000 and all(line.startswith("cases/") for line in lines)
    assert len({line.split()[0] for line in lines}) == open_count(server) == 2000, "each once"


@pytest.mark.timeout(240)
def test_a_watch_loses_and_repeats_nothing(server, running):
    watch = running(server, "watch")
    names = set()
    for burst in range(4):
        submitted = running(server, "submit", "--count", "25").finished(60)
        names |= {line.split()[-1] for line in submitted}
        gone = close_one(server)
        if burst % 2:
            await_true(lambda: any(f" {gone} left" in line for line in watch.lines), 30, gone)
        restart(server)
        closed_unseen = close_one(server)
    await_true(lambda: any(f" {closed_unseen} left" in line for line in watch.lines), 30, "the end")
    known, told = {}, set()
    for line in list(watch.lines):
        match = re.fullmatch(r"\d+ (\S+) (?:left|LEVEL_\S+ CASE_STATE_\S+ at (\d+))", line)
        assert match, line
        name, revision = match[1], match[2] and int(match[2])
        if revision is None:
            assert known.pop(name, None), f"{name} left, and was not there"
        else:
            assert (name, revision) not in told, f"told twice: {line}"
            assert revision > known.get(name, 0), f"back in time: {line}"
            told.add((name, revision))
            known[name] = revision
    assert known == board(server)
    assert {name for name, _ in told} == names, "every case was seen"


# ---- The part to copy, in this process ----

@pytest.fixture(scope="module")
def example():
    spec = importlib.util.spec_from_file_location("async_client", EXAMPLE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Interrupted:
    """A stub whose watch tells a change and a bookmark, and breaks, as often as it is opened."""

    def __init__(self):
        self.revision = 0

    async def WatchBoard(self, request, **_):
        assert request.resume_revision == self.revision
        self.revision += 1
        yield T.WatchBoardResponse(
            revision=self.revision, case=C.Case(name="cases/1", revision=self.revision))
        yield T.WatchBoardResponse(revision=self.revision, bookmark=T.BoardBookmark())
        raise grpc.aio.AioRpcError(
            grpc.StatusCode.UNAVAILABLE, grpc.aio.Metadata(), grpc.aio.Metadata())


def test_a_watch_that_was_served_is_opened_again_soon(example, certs, monkeypatch):
    pauses = []

    async def pause(seconds):
        pauses.append(seconds)

    async def watch():
        async with example.Triage("localhost:1", "dana", certs) as triage:
            triage.stub = Interrupted()
            async for revision, _ in triage.watch_board():
                if revision == 12:
                    return

    monkeypatch.setattr(example.asyncio, "sleep", pause)
    asyncio.run(watch())
    assert len(pauses) == 11 and max(pauses) <= 0.12, pauses


def take(files, identity, certificate):
    """Puts a certificate and its key where a client has its own; both or none are seen."""
    for end in ("key", "crt"):
        shutil.copy(f"{certificate}.{end}", files / f"{identity}.new")
        os.replace(files / f"{identity}.new", files / f"{identity}.{end}")


@pytest.mark.timeout(240)
def test_renewed_certificates_are_taken(example, server, certs, tmp_path):
    shutil.copy(certs / "ca.crt", tmp_path)
    with server.client("classifier") as intake:
        case = intake.triage.SubmitReport(submission()).case

    async def run():
        for identity in ("dana", "classifier"):
            take(tmp_path, identity, certs / "negative" / "expired")
        async with (example.Triage(server.address, "dana", tmp_path) as lead,
                    example.Triage(server.address, "classifier", tmp_path) as intake):
            board = lead.watch_board()
            watching = asyncio.create_task(anext(board))
            with pytest.raises(grpc.aio.AioRpcError):
                await intake.submit(report(), patience=2)
            assert not watching.done()
            sending = asyncio.create_task(intake.submit(report(), patience=60))
            for identity in ("dana", "classifier"):
                take(tmp_path, identity, certs / identity)
            _, seen = await asyncio.wait_for(watching, 60)
            assert seen.name == case
            assert (await sending).opened
            await board.aclose()

    asyncio.run(run())
