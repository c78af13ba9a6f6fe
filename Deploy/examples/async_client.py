"""A client that outlives the server's restarts: grpc.aio, retries, a report stream, a board watch.

    async_client.py [--server HOST:PORT] submit [--count N]
    async_client.py [--server HOST:PORT] stream [--count N]
    async_client.py [--server HOST:PORT] watch

Needs grpcio and grpcio-tools (`Deploy/.venv` has them) and the certificates of Certs/dev. The stubs
are made from Protos/ when this program starts; a service of your own would generate them once
(Protos/README.md). `Triage` below is what to copy:

- every write carries a request_id and is sent again, unchanged, until it is answered: the server
  answers a repeat with what it answered first, also after a restart;
- short failures are retried by the library, by Protos/service_config.json; longer ones here, within
  the caller's own time;
- a watch goes on at the last revision, and if the server has restarted it takes the whole board
  again and passes on only what is news: nothing is lost, and nothing is told twice;
- certificate files that have been replaced are taken for the next attempt: a workload's certificate
  lives an hour, the server ends a connection with it, and a channel cannot be given another.
"""

import argparse
import asyncio
import logging
import os
import pathlib
import random
import sys
import time
import uuid

import grpc

ROOT = pathlib.Path(__file__).resolve().parents[2]
CERTS = pathlib.Path(os.environ.get("TRIAGED_CERTS", ROOT / "Certs" / "dev"))

sys.path.insert(0, str(ROOT / "Protos"))
report_pb2 = grpc.protos("triaged/v1/report.proto")
case_pb2 = grpc.protos("triaged/v1/case.proto")
triage_pb2, triage_pb2_grpc = grpc.protos_and_services("triaged/v1/triage_service.proto")

LOG = logging.getLogger("triaged")
# How long what runs on a connection may still run when there is a newer one: as good as for ever,
# the server ends it when the old certificate has expired.
LAST_CALLS_SECONDS = 365 * 86_400
# A lost connection, a server that restarts, a limit that a moment's patience lifts.
TEMPORARY = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED}


def helps_to_wait(error):
    """Whether a call that failed so may succeed later, sent again as it was."""
    trailers = dict(error.trailing_metadata() or ())
    if trailers.get("grpc-retry-pushback-ms") == "-1":
        return False
    # What grpc.aio itself makes of a write to a stream that has just broken.
    broken_write = (error.code() is grpc.StatusCode.INTERNAL
                    and error.details() == "Internal error from Core")
    return (broken_write or error.code() in TEMPORARY
            or error.code() is grpc.StatusCode.DEADLINE_EXCEEDED)


class Pauses:
    """0.1 s, then twice as long each time up to 5 s, a fifth more or less."""

    def __init__(self):
        self.next = 0.1

    async def pause(self):
        await asyncio.sleep(self.next * random.uniform(0.8, 1.2))
        self.next = min(self.next * 2, 5)


class Triage:
    """What a service needs of triaged. `async with Triage(address, identity) as triage: ...`"""

    def __init__(self, address, identity, certs=CERTS):
        self.address = address
        self.files = [certs / name for name in ("ca.crt", f"{identity}.key", f"{identity}.crt")]
        self.ending = set()
        self._connect()

    def _stamps(self):
        return [(stat.st_ino, stat.st_mtime_ns, stat.st_size)
                for stat in (file.stat() for file in self.files)]

    def _connect(self):
        stamps = self._stamps()
        trust, key, chain = [file.read_bytes() for file in self.files]
        self.stamps = stamps
        credentials = grpc.ssl_channel_credentials(
            root_certificates=trust, private_key=key, certificate_chain=chain)
        self.channel = grpc.aio.secure_channel(self.address, credentials, options=[
            ("grpc.service_config", (ROOT / "Protos" / "service_config.json").read_text()),
            # The connection is a specialist's life line: a dead one is noticed within a minute.
            ("grpc.keepalive_time_ms", 30_000), ("grpc.keepalive_timeout_ms", 20_000),
            ("grpc.max_reconnect_backoff_ms", 5_000)])
        self.stub = triage_pb2_grpc.TriageServiceStub(self.channel)

    def _renew(self):
        """Connects with the certificate files as they are now, if they have changed.

        Before each attempt; what runs on the old connection goes on there.
        """
        old = self.channel
        try:
            if self._stamps() == self.stamps:
                return
            self._connect()
        except OSError:
            # They are being replaced: the next attempt looks again.
            return
        closing = asyncio.create_task(old.close(grace=LAST_CALLS_SECONDS))
        self.ending.add(closing)
        closing.add_done_callback(self.ending.discard)

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        for closing in self.ending:
            closing.cancel()
        await self.channel.close()

    async def submit(self, report, patience=60):
        """Submits one report; returns the answer. `patience` in seconds, restarts included."""
        request = triage_pb2.SubmitReportRequest(request_id=str(uuid.uuid4()), report=report)

        async def attempt(seconds):
            return await self.stub.SubmitReport(
                request, timeout=min(10, seconds), wait_for_ready=True)

        return await self._insist(attempt, patience)

    async def submit_all(self, reports, patience=120):
        """Submits reports over one stream; returns what became of each, in order.

        When the stream breaks the whole of it is sent again, with the same request ids: what has
        been taken already is answered as it was the first time.
        """
        requests = [triage_pb2.SubmitReportsRequest(request_id=str(uuid.uuid4()), report=report)
                    for report in reports]

        async def attempt(seconds):
            call = self.stub.SubmitReports(timeout=seconds, wait_for_ready=True)
            for request in requests:
                # Waits while the server is slower than we are.
                await call.write(request)
            await call.done_writing()
            return await call

        return (await self._insist(attempt, patience)).results

    async def _insist(self, attempt, patience):
        deadline, pauses = time.monotonic() + patience, Pauses()
        while True:
            self._renew()
            try:
                return await attempt(deadline - time.monotonic())
            except asyncio.InvalidStateError:
                # A write to a stream that has just broken; its end says why.
                failure = None
            except grpc.aio.AioRpcError as error:
                failure = error
                if not helps_to_wait(error):
                    raise
            if time.monotonic() + pauses.next >= deadline:
                raise failure or TimeoutError("the stream broke again and again")
            await pauses.pause()

    async def watch_board(self, **filters):
        """Yields (revision, case) for each case that is new or has changed, and (revision, name)
        for each that has left the board, for ever.

        Changes of one case that fall together are one; each state of a case comes once.
        """
        known, revision, named, pauses = {}, 0, set(), Pauses()
        while True:
            self._renew()
            # A call that waits for a server waits with the certificate that it began with.
            call = self.stub.WatchBoard(triage_pb2.WatchBoardRequest(
                resume_revision=revision, filter=triage_pb2.CaseFilter(**filters)),
                wait_for_ready=False)
            try:
                async for message in call:
                    change = message.WhichOneof("change")
                    if change == "case":
                        if named is not None:
                            named.add(message.case.name)
                        if known.get(message.case.name) != message.case.revision:
                            known[message.case.name] = message.case.revision
                            yield message.revision, message.case
                    elif change == "removed_case":
                        if known.pop(message.removed_case, None) is not None:
                            yield message.revision, message.removed_case
                    else:
                        # A bookmark: everything up to now has come.
                        pauses = Pauses()
                        # The first one ends the whole board: what that did not name has left.
                        left = set() if named is None else known.keys() - named
                        for gone in sorted(left):
                            del known[gone]
                            yield message.revision, gone
                        named = None
                    revision = message.revision
            except grpc.aio.AioRpcError as error:
                if error.code() in (grpc.StatusCode.OUT_OF_RANGE, grpc.StatusCode.ABORTED):
                    # The server has restarted and keeps no change from before, or what we are
                    # shown has changed: all of it again.
                    revision = 0
                # CANCELLED: what the server sent was not taken for half a minute.
                elif error.code() is not grpc.StatusCode.CANCELLED and not helps_to_wait(error):
                    raise
                LOG.warning("the watch is opened again: %s (%s)", error.details(),
                            error.code().name)
            if revision == 0:
                named = set()
            await pauses.pause()


def synthetic_report(number):
    return report_pb2.Report(
        subject=report_pb2.Subject(
            kind=report_pb2.SUBJECT_KIND_POST, id=f"post:{uuid.uuid4()}"),
        harm_family=report_pb2.HARM_FAMILY_SUICIDE_SELF_HARM,
        imminence=report_pb2.IMMINENCE_WITHIN_24_HOURS,
        reporter=report_pb2.Reporter(kind=report_pb2.REPORTER_KIND_CLASSIFIER),
        language_code="en", region_code="US",
        description=f"Synthetic report {number} from Deploy/examples/async_client.py.")


async def submit(triage, count):
    for number in range(count):
        reply = await triage.submit(synthetic_report(number))
        print(f"{reply.report} {'opened' if reply.opened else 'joined'} {reply.case}", flush=True)


async def stream(triage, count):
    results = await triage.submit_all([synthetic_report(number) for number in range(count)])
    for result in results:
        print(f"{result.response.report or result.reason} {result.response.case}", flush=True)


async def watch(triage, _):
    async for revision, change in triage.watch_board():
        if isinstance(change, str):
            print(f"{revision} {change} left", flush=True)
        else:
            print(f"{revision} {change.name} {case_pb2.Level.Name(change.level)} "
                  f"{case_pb2.CaseState.Name(change.state)} at {change.revision}", flush=True)


async def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--server", default="localhost:8443")
    parser.add_argument("--identity", help="classifier, or dana to watch")
    parser.add_argument("action", choices=["submit", "stream", "watch"])
    parser.add_argument("--count", type=int, default=10)
    options = parser.parse_args()
    identity = options.identity or ("dana" if options.action == "watch" else "classifier")
    async with Triage(options.server, identity) as triage:
        await {"submit": submit, "stream": stream, "watch": watch}[options.action](
            triage, options.count)


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except grpc.aio.AioRpcError as error:
        sys.exit(f"{error.code().name}: {error.details()}")
    except KeyboardInterrupt:
        pass
