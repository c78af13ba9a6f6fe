"""An external partner sees its own requests, and cannot tell a foreign id from a missing one."""

import grpc
import pytest
import stubs
from builders import D, emergency_request, filing
from harness import refused, request_id

S = stubs.disclosures


def ask(client, name):
    return refused(client.disclosures.GetDisclosureRequest,
                   S.GetDisclosureRequestRequest(name=name))


@pytest.fixture
def filed(client):
    return client("police").disclosures.SubmitDisclosureRequest(filing())


def altered(name):
    """A well-formed name that nothing has."""
    last = "0" if name[-1] != "0" else "1"
    return name[:-1] + last


def test_a_foreign_request_looks_like_a_missing_one(client, filed):
    other = client("other-agency")
    foreign, missing = ask(other, filed.name), ask(other, altered(filed.name))
    assert foreign.code is missing.code is grpc.StatusCode.NOT_FOUND
    assert foreign.text.replace(filed.name, "") == missing.text.replace(altered(filed.name), "")
    assert foreign.reason == missing.reason
    assert set(foreign.info.metadata) == set(missing.info.metadata)


def test_a_watch_of_a_foreign_request_is_refused_alike(client, filed):
    other = client("other-agency")
    answers = [refused(other.disclosures.WatchDisclosureRequest,
                       S.WatchDisclosureRequestRequest(name=name), timeout=5)
               for name in (filed.name, altered(filed.name))]
    assert {each.code for each in answers} == {grpc.StatusCode.NOT_FOUND}
    assert len({each.reason for each in answers}) == 1


def test_a_list_holds_only_ones_own(client, filed):
    mine = client("other-agency").disclosures.SubmitDisclosureRequest(filing())
    names, token = set(), ""
    while True:
        page = client("other-agency").disclosures.ListDisclosureRequests(
            S.ListDisclosureRequestsRequest(page_size=1, page_token=token))
        names |= {each.name for each in page.disclosure_requests}
        token = page.next_page_token
        if not token:
            break
    assert mine.name in names and filed.name not in names


def test_a_page_token_is_bound_to_whom_it_was_given(client):
    police = client("police")
    for _ in range(2):
        police.disclosures.SubmitDisclosureRequest(filing())
    token = police.disclosures.ListDisclosureRequests(
        S.ListDisclosureRequestsRequest(page_size=1)).next_page_token
    assert token
    other = client("other-agency")
    try:
        page = other.disclosures.ListDisclosureRequests(
            S.ListDisclosureRequestsRequest(page_size=1, page_token=token))
    except grpc.RpcError as error:
        assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    else:
        assert all(each.requester.endswith("other.agency.example")
                   for each in page.disclosure_requests)


@pytest.mark.parametrize("method", [
    "AddVerification", "SetScope", "ApproveDisclosure", "RejectDisclosure"])
def test_an_agency_does_not_judge_its_own_request(client, filed, method):
    message = getattr(S, f"{method}Request")(request_id=request_id(), name=filed.name)
    call = getattr(client("police").disclosures, method)
    assert refused(call, message).code is grpc.StatusCode.PERMISSION_DENIED


def test_an_agency_cannot_tie_its_request_to_a_case(client):
    refusal = refused(
        client("police").disclosures.SubmitDisclosureRequest, S.SubmitDisclosureRequestRequest(
            request_id=request_id(), disclosure_request=emergency_request(case="cases/1")))
    assert refusal.code in (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.PERMISSION_DENIED)


def test_what_the_server_writes_is_not_taken_from_the_requester(client):
    paper = emergency_request(requester="spiffe://triaged.example/lead/dana", name="x",
                              state=D.DISCLOSURE_STATE_APPROVED)
    paper.approval.principal = "me"
    filed = client("police").disclosures.SubmitDisclosureRequest(S.SubmitDisclosureRequestRequest(
        request_id=request_id(), disclosure_request=paper))
    assert filed.requester.endswith("police.agency.example")
    assert filed.state < D.DISCLOSURE_STATE_VERIFIED and not filed.HasField("approval")
