"""Metadata at and beyond its limits, as a stock client meets them: the failure can be read."""

import grpc
import pytest
import stubs
from harness import refused

STATUS = stubs.operations.GetStatusRequest()


def test_metadata_within_the_limit_is_taken(client):
    metadata = [(f"x-note-{index}", "n" * 1_000) for index in range(12)]
    assert client("sre").operations.GetStatus(STATUS, metadata=metadata).version


@pytest.mark.parametrize("metadata", [
    [(f"x-note-{index}", "n" * 1_000) for index in range(20)],
    [(f"x-{index}", "n") for index in range(120)],
], ids=["bytes", "fields"])
def test_metadata_beyond_it_says_so(client, metadata):
    sre = client("sre")
    refusal = refused(sre.operations.GetStatus, STATUS, metadata=metadata)
    assert refusal.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert refusal.reason == "METADATA_TOO_LARGE"
    assert "16384 bytes" in refusal.text and "100 fields" in refusal.text
    # The connection is none the worse.
    assert sre.operations.GetStatus(STATUS).version


def test_our_errors_fit_the_smallest_client(client):
    """gRPC's soft limit for what a server may send is 8 KiB; some clients are built with it."""
    small = client("ana", options=[("grpc.max_metadata_size", 8 << 10)])
    bad = stubs.triage.ListCasesRequest(page_token="x" * 500, page_size=-1)
    refusal = refused(small.triage.ListCases, bad)
    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT and refusal.fields
