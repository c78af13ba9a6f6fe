"""gzip between stock grpcio and the shipped server, both ways, and what it counts."""

import grpc
import stubs
from builders import submission
from harness import Refusal

import pytest

PAGE = 200


def _counter(server, name):
    return sum(int(line.split()[1]) for line in server.admin_get("/metrics")[1].splitlines()
               if line.startswith(name + " "))


def test_a_page_is_compressed_for_whom_accepts_it(server, client):
    intake = client("classifier")
    for _ in range(PAGE):
        intake.triage.SubmitReport(submission())
    request = stubs.triage.ListCasesRequest(page_size=PAGE)
    before = _counter(server, "triaged_messages_deflated_total")
    page = client("ana").triage.ListCases(request)
    assert page.ByteSize() >= 16 << 10, "the test needs a page above the threshold"
    assert _counter(server, "triaged_messages_deflated_total") == before + 1
    # Bit 0 of the set is identity: this client does not name gzip.
    plain = client("ana", options=[("grpc.compression_enabled_algorithms_bitset", 1)])
    assert [each.name for each in plain.triage.ListCases(request).cases] == [
        each.name for each in page.cases]
    assert _counter(server, "triaged_messages_deflated_total") == before + 1


def test_a_request_may_be_compressed(server, client):
    before = _counter(server, "triaged_messages_inflated_total")
    raw = client("classifier").raw.unary_unary("/triaged.v1.TriageService/SubmitReport")
    sent = submission(description="the same words again. " * 100).SerializeToString()
    reply = raw(sent, timeout=15, compression=grpc.Compression.Gzip)
    assert stubs.triage.SubmitReportResponse.FromString(reply).case.startswith("cases/")
    assert _counter(server, "triaged_messages_inflated_total") == before + 1


def test_a_bomb_is_refused(client):
    raw = client("classifier").raw.unary_unary("/triaged.v1.TriageService/SubmitReport")
    with pytest.raises(grpc.RpcError) as failure:
        raw(bytes(900_000), timeout=15, compression=grpc.Compression.Gzip)
    refusal = Refusal(failure.value)
    assert refusal.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert refusal.reason == "MESSAGE_COMPRESSION_RATIO"


def test_another_encoding_is_unimplemented(client):
    raw = client("classifier").raw.unary_unary("/triaged.v1.TriageService/SubmitReport")
    with pytest.raises(grpc.RpcError) as failure:
        raw(bytes(900), timeout=15, compression=grpc.Compression.Deflate)
    assert Refusal(failure.value).code is grpc.StatusCode.UNIMPLEMENTED
