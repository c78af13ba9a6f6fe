"""Deadlines and cancellation, judged by the server itself."""

import time

import grpc
import pytest
import raw
import stubs
from attacks import DATA, EMPTY, END_HEADERS, END_STREAM, HEADERS, frame, request
from builders import submission
from google.protobuf import duration_pb2
from harness import await_true, request_id

T, A, O = stubs.triage, stubs.assignment, stubs.operations


def waiting_claim(client, seconds, **options):
    return client.assignments.ClaimNext.future(A.ClaimNextRequest(
        request_id=request_id(), wait_duration=duration_pb2.Duration(seconds=seconds)), **options)


@pytest.fixture
def empty(fresh):
    """A server with nothing to claim."""
    return fresh().start()


def test_a_wait_ends_before_its_call_does(empty):
    with empty.client("chloe") as chloe:
        for _ in range(3):
            try:
                reply = waiting_claim(chloe, 30, timeout=2).result()
                assert not reply.HasField("assignment")
                return
            except grpc.RpcError as error:
                # A busy machine is late by itself; what repeats is ours.
                assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    raise AssertionError("no wait ended before its call")


def test_a_wait_over_the_cap_is_refused(empty):
    with empty.client("chloe") as chloe:
        for seconds in (56, -1):
            with pytest.raises(grpc.RpcError) as failure:
                waiting_claim(chloe, seconds).result()
            assert failure.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_the_server_itself_ends_a_call_at_its_deadline(empty, certs):
    """A watch with a deadline in metadata only: the client would wait for ever."""
    connection = raw.Connection(empty.address, certs, "dana", seconds=60)
    watch = request("/triaged.v1.TriageService/WatchBoard", ("grpc-timeout", "1S"))
    connection.send(frame(HEADERS, END_HEADERS, 1, watch) + frame(DATA, END_STREAM, 1, EMPTY))
    began = time.monotonic()
    connection.await_frame(HEADERS, END_HEADERS | END_STREAM)
    assert time.monotonic() - began > 0.5
    handled = ('grpc_server_handled_total{grpc_type="server_stream",'
               'grpc_service="triaged.v1.TriageService",grpc_method="WatchBoard",'
               'grpc_code="DeadlineExceeded"} 1')
    assert handled in empty.admin_get("/metrics")[1]
    with empty.client("sre") as sre:
        await_true(lambda: sre.operations.GetStatus(O.GetStatusRequest()).watch_count == 0,
                   what="the watch being gone")
    connection.close()


def test_a_cancelled_watch_is_gone(empty):
    with empty.client("dana") as dana, empty.client("sre") as sre:
        watches = [dana.triage.WatchBoard(T.WatchBoardRequest(), timeout=30) for _ in range(5)]
        for each in watches:
            next(each)
        assert sre.operations.GetStatus(O.GetStatusRequest()).watch_count == 5
        for each in watches:
            each.cancel()
        await_true(lambda: sre.operations.GetStatus(O.GetStatusRequest()).watch_count == 0,
                   what="the watches being gone")


def test_a_cancelled_claim_takes_nothing(empty):
    with empty.client("chloe") as chloe, empty.client("ana") as ana, \
            empty.client("classifier") as intake:
        waiting = waiting_claim(chloe, 20)
        chloe.health.Check(stubs.health.HealthCheckRequest())
        waiting.cancel()
        chloe.health.Check(stubs.health.HealthCheckRequest())
        receipt = intake.triage.SubmitReport(submission())
        offer = ana.assignments.ClaimNext(A.ClaimNextRequest(request_id=request_id()))
        assert offer.case.name == receipt.case, "the case went to somebody who is there"


def test_a_claim_of_a_lost_connection_takes_nothing(empty):
    with empty.client("ana") as ana, empty.client("classifier") as intake:
        chloe = empty.client("chloe")
        waiting_claim(chloe, 20)
        chloe.health.Check(stubs.health.HealthCheckRequest())
        chloe.raw.close()
        # Nobody else has connected yet.
        await_true(lambda: "\ntriaged_connections 0\n" in empty.admin_get("/metrics")[1],
                   what="the connection being gone")
        receipt = intake.triage.SubmitReport(submission())
        await_true(lambda: ana.assignments.ClaimNext(A.ClaimNextRequest(
            request_id=request_id())).case.name == receipt.case, what="the case being offered")


def test_many_cancellations_do_not_hurt_the_connection(empty):
    """A normal client that cancels 300 calls is no attacker."""
    with empty.client("chloe") as chloe:
        for _ in range(6):
            calls = [waiting_claim(chloe, 20) for _ in range(50)]
            chloe.health.Check(stubs.health.HealthCheckRequest())
            for each in calls:
                each.cancel()
        assert chloe.health.Check(stubs.health.HealthCheckRequest()).status == 1
