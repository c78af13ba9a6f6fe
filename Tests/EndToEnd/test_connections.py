"""What a connection costs, how long it lives, and how it ends."""

import pathlib
import re
import threading
import time

import grpc
import raw
import stubs
from builders import submission


def resident_kib(server):
    status = pathlib.Path(f"/proc/{server.process.pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", status)[1])


def test_an_idle_connection_costs_at_most_50_kib(fresh, certs):
    """Shared design, issue 3: an idle mutual TLS connection is at most 50 KiB resident."""
    server = fresh().start()
    open_connections = [raw.Connection(server.address, certs, "ana") for _ in range(8)]
    before = resident_kib(server)
    identities = ("ana", "ben", "chloe")
    for identity in identities:
        open_connections += [raw.Connection(server.address, certs, identity) for _ in range(50)]
    each = (resident_kib(server) - before) / (50 * len(identities))
    assert each <= 50, f"{each:.1f} KiB"
    for connection in open_connections:
        connection.close()


def limit(server, name):
    page = server.admin_get("/metrics")[1]
    return int(re.search(rf'triaged_limit_hits_total\{{limit="{name}"\}} (\d+)', page)[1])


def test_an_old_connection_is_told_twice_and_finishes_its_call(fresh, certs):
    server = fresh(extra=["--connection-age-seconds", "1"]).start()
    connection = raw.Connection(server.address, certs, "ana")
    first = connection.await_frame(raw.GOAWAY)[3]
    assert int.from_bytes(first[:4], "big") == 2**31 - 1, "the notice closes nothing yet"
    ping = connection.await_frame(raw.PING, 0)[3]
    connection.send(raw.frame(raw.PING, raw.ACK, 0, ping))
    last = connection.await_frame(raw.GOAWAY)[3]
    assert int.from_bytes(last[:4], "big") == 0 and int.from_bytes(last[4:8], "big") == 0
    assert last[8:] == b"max_age"
    assert connection.next_frame() is None, "no stream was open: closed"
    assert limit(server, "connection_age") == 1


def test_no_call_fails_while_connections_age_out_under_load(fresh):
    """A stock client with its stock settings goes over to new connections."""
    server = fresh(extra=["--connection-age-seconds", "1"]).start()
    failures, done, until = [], [0] * 6, time.monotonic() + 6

    def load(index):
        with server.client("classifier", options=[("grpc.enable_retries", 1)]) as intake:
            while time.monotonic() < until:
                try:
                    intake.triage.SubmitReport(submission())
                    done[index] += 1
                except grpc.RpcError as error:
                    failures.append(error)

    workers = [threading.Thread(target=load, args=(index,)) for index in range(len(done))]
    for each in workers:
        each.start()
    for each in workers:
        each.join()
    assert not failures, failures[0]
    assert min(done) > 0
    assert limit(server, "connection_age") > len(done), "connections were replaced"
    assert limit(server, "age_grace") == 0


def test_pings_without_need_end_the_connection(server, certs):
    connection = raw.Connection(server.address, certs, "ana")
    for _ in range(12):
        connection.send(raw.frame(raw.PING, 0, 0, b"12345678"))
    goaway = connection.await_frame(raw.GOAWAY)[3]
    assert int.from_bytes(goaway[4:8], "big") == 11, "ENHANCE_YOUR_CALM"
    assert goaway[8:] == b"too_many_pings"


def test_an_identity_has_its_share_of_calls_and_reports_are_not_counted(fresh):
    server = fresh(extra=["--identity-calls-per-second", "1000"]).start()
    with server.client("sre") as sre, server.client("classifier") as intake:
        status = stubs.operations.GetStatusRequest()
        refused, until = None, time.monotonic() + 20
        while refused is None and time.monotonic() < until:
            calls = [sre.operations.GetStatus.future(status) for _ in range(1000)]
            refused = next((error for call in calls if (error := call.exception())), None)
        assert refused is not None and refused.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        assert limit(server, "call_rate") >= 1
        for _ in range(20):
            intake.triage.SubmitReport(submission())
