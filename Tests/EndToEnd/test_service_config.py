"""Protos/service_config.json: what it promises of the API, and that stock grpcio retries by it."""

import concurrent.futures
import json
import re

import grpc
import pytest
import stubs
from builders import submission

CONFIG = json.loads((stubs.PROTOS / "service_config.json").read_text())
NAMED = {f"/{name['service']}/{name['method']}": method
         for method in CONFIG["methodConfig"] for name in method["name"]}


def methods():
    for service in stubs.SERVICES:
        for method in service.methods:
            yield f"/{service.full_name}/{method.name}", method


def test_every_idempotent_method_has_a_policy():
    """Reads, heads (a second says what the first did), and writes with a request_id; a stream of
    reports is its caller's to resume."""
    for path, method in methods():
        is_read = re.match(r"Get|List|Read|Watch|Prove|SignHead", method.name)
        is_keyed = "request_id" in method.input_type.fields_by_name
        assert is_read or is_keyed or method.client_streaming, path
        assert (path in NAMED) == (not method.client_streaming), path
    assert set(NAMED) <= stubs.METHODS


def test_deadlines_leave_out_watches():
    for path, method in methods():
        if path in NAMED:
            assert ("timeout" in NAMED[path]) != method.server_streaming, path


class Refusing(grpc.GenericRpcHandler):
    """A stock server that refuses a call's first attempts, and notes when each came."""

    def __init__(self, code, count, pushback=None):
        self.code, self.count, self.pushback, self.attempts = code, count, pushback, []

    def service(self, details):
        self.attempts.append(dict(details.invocation_metadata).get("grpc-previous-rpc-attempts"))

        def answer(_, context):
            if len(self.attempts) <= self.count:
                if self.pushback:
                    context.set_trailing_metadata((("grpc-retry-pushback-ms", self.pushback),))
                context.abort(self.code, "not now")
            return b""

        return grpc.unary_unary_rpc_method_handler(answer)


@pytest.fixture
def refusing():
    """Starts such servers; makes a channel with the published configuration for each."""
    made = []

    def make(*arguments):
        handler = Refusing(*arguments)
        server = grpc.server(concurrent.futures.ThreadPoolExecutor(max_workers=2))
        server.add_generic_rpc_handlers((handler,))
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        channel = grpc.insecure_channel(f"127.0.0.1:{port}", options=[
            ("grpc.service_config", json.dumps({**CONFIG, "healthCheckConfig": None})),
            ("grpc.use_local_subchannel_pool", 1)])
        made.append((server, channel))
        return handler, channel.unary_unary("/triaged.v1.TriageService/SubmitReport")

    yield make
    for server, channel in made:
        channel.close()
        server.stop(0)


def test_unavailable_is_tried_again_up_to_four_times(refusing):
    handler, call = refusing(grpc.StatusCode.UNAVAILABLE, 3)
    assert call(b"") == b""
    assert handler.attempts == [None, "1", "2", "3"]
    handler, call = refusing(grpc.StatusCode.UNAVAILABLE, 9)
    with pytest.raises(grpc.RpcError):
        call(b"")
    assert len(handler.attempts) == 4


def test_a_failed_precondition_is_not(refusing):
    handler, call = refusing(grpc.StatusCode.FAILED_PRECONDITION, 1)
    with pytest.raises(grpc.RpcError):
        call(b"")
    assert handler.attempts == [None]


def test_pushback_is_obeyed(refusing):
    handler, call = refusing(grpc.StatusCode.RESOURCE_EXHAUSTED, 1, "50")
    assert call(b"") == b"" and len(handler.attempts) == 2
    handler, call = refusing(grpc.StatusCode.RESOURCE_EXHAUSTED, 1, "-1")
    with pytest.raises(grpc.RpcError):
        call(b"")
    assert handler.attempts == [None]


def _counter(server, name):
    return sum(int(line.split()[1]) for line in server.admin_get("/metrics")[1].splitlines()
               if line.startswith(name + " "))


def test_our_server_with_the_configuration(fresh):
    """Five bulk reads are an identity's burst here; retries after our pushback get more."""
    server = fresh(extra=["--identity-calls-per-second", "5000"]).start()
    options = [("grpc.service_config", json.dumps(CONFIG)), ("grpc.enable_retries", 1)]
    with server.client("classifier") as intake, server.client("sre", options=options) as auditor:
        intake.triage.SubmitReport(submission())
        for _ in range(30):
            auditor.triage.ListCases(stubs.triage.ListCasesRequest(page_size=1))
            if _counter(server, "triaged_calls_retried_total") > 0:
                return
    raise AssertionError("no call was refused and tried again")


def test_a_message_that_is_too_large_is_not_tried_again(server, client):
    options = [("grpc.service_config", json.dumps({"methodConfig": [
        {"name": [{}], "retryPolicy": CONFIG["methodConfig"][0]["retryPolicy"]}]})),
        ("grpc.enable_retries", 1)]
    before = _counter(server, "triaged_calls_retried_total")
    with pytest.raises(grpc.RpcError) as failure:
        client("classifier", options=options).call_bytes(
            "/triaged.v1.TriageService/SubmitReport", bytes(1 << 20 | 1))
    assert failure.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert dict(failure.value.trailing_metadata())["grpc-retry-pushback-ms"] == "-1"
    assert _counter(server, "triaged_calls_retried_total") == before
