"""What a connection costs, how long it lives, and how it ends."""

import os
import pathlib
import re
import socket
import threading
import time

import grpc
import harness
import pytest
import raw
import stubs
from builders import submission
from google.protobuf import duration_pb2
from harness import await_true, request_id


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
        page = stubs.triage.ListCasesRequest(page_size=1)
        refused, until = None, time.monotonic() + 20
        while refused is None and time.monotonic() < until:
            # Each costs as much as a second gives.
            calls = [sre.triage.ListCases.future(page) for _ in range(50)]
            refused = next((error for call in calls if (error := call.exception())), None)
        assert refused is not None and refused.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        assert limit(server, "call_rate") >= 1
        for _ in range(20):
            intake.triage.SubmitReport(submission())


def expect_hit(server, name):
    """`LimitTableTests` looks for calls of it."""
    assert limit(server, name) >= 1


def limited(path, soft, hard):
    """The server under limits of descriptors, as a program."""
    path.write_text(f"#!/bin/sh\nulimit -Sn {soft}\nulimit -Hn {hard}\n"
                    f'exec "{harness.BIN}/triaged" "$@"\n')
    path.chmod(0o755)
    return path


def test_as_many_connections_as_there_are_descriptors_for(fresh, certs, tmp_path):
    server = fresh(program=limited(tmp_path / "triaged", 100, 580)).start()
    limits = pathlib.Path(f"/proc/{server.process.pid}/limits").read_text()
    assert re.search(r"Max open files +580 +580", limits), "the soft limit is raised"
    assert "too few descriptors" in server.said()
    kept = [raw.Connection(server.address, certs, identity)
            for identity in ("ana", "ben") for _ in range(34)]
    with pytest.raises(OSError):
        raw.Connection(server.address, certs, "chloe")
    expect_hit(server, "connections")
    kept.pop().close()

    def is_let_in():
        try:
            kept.append(raw.Connection(server.address, certs, "chloe"))
            return True
        except OSError:
            return False
    await_true(is_let_in)
    for connection in kept:
        connection.close()


def cpu_seconds(server):
    fields = pathlib.Path(f"/proc/{server.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_without_descriptors_who_connects_waits_and_nothing_spins(fresh, tmp_path):
    plain = fresh("plain").start()
    used = len(os.listdir(f"/proc/{plain.process.pid}/fd"))
    plain.stop()
    server = fresh("short", program=limited(tmp_path / "triaged", used + 6, used + 6)).start()
    with server.client("chloe") as chloe:
        claim = stubs.assignment.ClaimNextRequest(
            request_id=request_id(), wait_duration=duration_pb2.Duration(seconds=3))
        grpc.channel_ready_future(chloe.raw).result(10)
        addresses = [address.rsplit(":", 1) for address in (server.address, server.admin)]
        waiting = [socket.create_connection((host, int(port)))
                   for _ in range(20) for host, port in addresses]
        began = cpu_seconds(server)
        assert not chloe.assignments.ClaimNext(claim).HasField("assignment")
        spent = cpu_seconds(server) - began
        assert spent < 0.5, f"{spent} s of CPU while nobody could be accepted"
        for each in waiting:
            each.close()
        with server.client("sre") as sre:
            sre.operations.GetStatus(stubs.operations.GetStatusRequest())
        expect_hit(server, "descriptors")
        await_true(lambda: "no descriptor or memory" in server.said(), what="the log")


def test_who_shows_no_certificate_keeps_nobody_out(fresh, certs):
    """More than there may be handshakes, kept open, where a probe needs no certificate."""
    server = fresh(extra=["--client-certificates", "optional"]).start()
    strangers = [raw.Connection(server.address, certs, None) for _ in range(120)]
    with server.client("sre") as sre, server.client(None) as probe:
        sre.operations.GetStatus(stubs.operations.GetStatusRequest())
        probe.health.Check(stubs.health.HealthCheckRequest())
    assert strangers[0].await_frame(raw.GOAWAY)[3][8:] == b"room_for_others"
    expect_hit(server, "strangers")
    for connection in strangers:
        connection.close()
