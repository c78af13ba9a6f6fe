"""Every method of the API, called by a stock client, in the order in which people would."""

import hashlib
import uuid

import grpc
import pytest
import stubs
from builders import (C, D, L, R, answers, decision, filing, scope, submission, verification)
from google.protobuf import duration_pb2
from harness import Client, Refusal, key_file, refused, request_id

T, A, S, O = stubs.triage, stubs.assignment, stubs.disclosures, stubs.operations
E, V, U = stubs.evidences, stubs.evidence, stubs.audits
ANA, BEN = "spiffe://triaged.example/specialist/ana", "spiffe://triaged.example/specialist/ben"
CHLOE = "spiffe://triaged.example/specialist/chloe"
DANA = "spiffe://triaged.example/lead/dana"
ERIN = "spiffe://triaged.example/legal/erin"
FARID = "spiffe://triaged.example/legal/farid"

pytestmark = pytest.mark.covers_api


@pytest.fixture
def own(fresh):
    """A server with an empty queue, so that the next case is the test's own."""
    yield from clients_of(fresh().start())


@pytest.fixture
def locked(fresh, tmp_path):
    """The same, with encryption."""
    yield from clients_of(fresh(extra=["--key-file", key_file(tmp_path / "kek")]).start())


def clients_of(server):
    clients = {}

    def client(identity):
        return clients.setdefault(identity, server.client(identity))

    yield client
    for each in clients.values():
        each.raw.close()
    assert server.stop() == 0


def claim(client, wait_seconds=0):
    return client.assignments.ClaimNext(A.ClaimNextRequest(
        request_id=request_id(), wait_duration=duration_pb2.Duration(seconds=wait_seconds)))


def accept(client, offer):
    return client.assignments.AcceptCase(A.AcceptCaseRequest(
        request_id=request_id(), name=offer.name, fencing_token=offer.fencing_token))


def get(client, name, full=False):
    return client.triage.GetCase(T.GetCaseRequest(
        name=name, view=C.CASE_VIEW_FULL if full else C.CASE_VIEW_BASIC,
        purpose="end-to-end test" if full else ""))


def test_a_case_from_report_to_reopening(own):
    intake, chloe, dana = own("classifier"), own("chloe"), own("dana")
    sent = submission(
        imminence=R.IMMINENCE_NOW, modifiers=[R.RISK_MODIFIER_LOCATION_KNOWN],
        signals=[R.MachineSignal(
            source="selfharm-text", version="3", label="plan", confidence=0.9)])
    receipt = intake.triage.SubmitReport(sent)
    assert receipt.opened and receipt.report.startswith(receipt.case + "/reports/")
    assert receipt.revision > 0 and receipt.HasField("create_time")

    seen = get(chloe, receipt.case)
    assert seen.state == C.CASE_STATE_QUEUED and seen.report_count == 1
    assert seen.harm_family == R.HARM_FAMILY_SUICIDE_SELF_HARM
    assert (seen.language_code, seen.region_code) == ("en", "US")
    assert not seen.HasField("subject") and not seen.reports, "BASIC holds nothing sensitive"

    offered = claim(chloe)
    assert offered.case.name == receipt.case
    assert offered.assignment.state == L.ASSIGNMENT_STATE_OFFERED
    assert offered.assignment.specialist == CHLOE and offered.assignment.fencing_token > 0
    assert offered.explanation.level_code and offered.explanation.governed_by
    held = accept(chloe, offered.assignment)
    assert held.state == L.ASSIGNMENT_STATE_ACTIVE and held.HasField("accept_time")
    token = held.fencing_token

    renewed = chloe.assignments.RenewLease(A.RenewLeaseRequest(
        request_id=request_id(), name=held.name, fencing_token=token,
        lease_duration=duration_pb2.Duration(seconds=1800)))
    assert renewed.expire_time.ToNanoseconds() > held.create_time.ToNanoseconds()

    answered = chloe.triage.AnswerProtocol(T.AnswerProtocolRequest(
        request_id=request_id(), name=receipt.case, answers=answers(now=C.ANSWER_YES),
        fencing_token=token))
    assert answered.level == C.LEVEL_P0 and answered.order.band == 0
    assert answered.state == C.CASE_STATE_IN_TRIAGE and answered.assignee == CHLOE

    decided = chloe.triage.DecideCase(T.DecideCaseRequest(
        request_id=request_id(), name=receipt.case, decision=decision(), fencing_token=token,
        etag=answered.etag))
    assert decided.state == C.CASE_STATE_DECIDED
    completed = chloe.assignments.CompleteCase(A.CompleteCaseRequest(
        request_id=request_id(), name=held.name, fencing_token=token))
    assert completed.state == L.ASSIGNMENT_STATE_COMPLETED and completed.HasField("end_time")
    closed = chloe.triage.CloseCase(T.CloseCaseRequest(
        request_id=request_id(), name=receipt.case, live_risk_ended=True))
    assert closed.state == C.CASE_STATE_CLOSED

    full = get(dana, receipt.case, full=True)
    assert full.subject.id == sent.report.subject.id
    assert full.reports[0].description == sent.report.description
    assert full.reports[0].submitter == "spiffe://triaged.example/intake/classifier"
    assert full.reports[0].signals[0].confidence == 0.9
    assert full.protocol_records[0].principal == CHLOE
    assert full.protocol_records[0].answers.happening_now == C.ANSWER_YES
    assert full.decisions[0].outcome == C.DECISION_OUTCOME_HARM_REFERRED
    assert full.decisions[0].principal == CHLOE

    reopened = dana.triage.ReopenCase(T.ReopenCaseRequest(
        request_id=request_id(), name=receipt.case, reason="New information."))
    assert reopened.state == C.CASE_STATE_QUEUED and reopened.level == C.LEVEL_P0
    assert reopened.waits_for == C.CASE_WAIT_SPECIALIST
    assert [each.reason for each in get(dana, receipt.case, full=True).reopenings] == [
        "New information."]


def test_a_closed_case_leaves_the_board(own):
    intake, chloe = own("classifier"), own("chloe")
    first = intake.triage.SubmitReport(submission()).case
    second = intake.triage.SubmitReport(submission()).case
    held = accept(chloe, claim(chloe).assignment)
    token = held.fencing_token
    chloe.triage.DecideCase(T.DecideCaseRequest(
        request_id=request_id(), name=held.case, decision=decision(), fencing_token=token))
    chloe.triage.CloseCase(T.CloseCaseRequest(
        request_id=request_id(), name=held.case, fencing_token=token))
    board = own("dana").triage.ListCases(T.ListCasesRequest())
    assert [each.name for each in board.cases] == [second if held.case == first else first]
    assert board.open_count == 1 and not board.next_page_token


def test_a_second_report_about_a_subject_joins_the_open_case(own):
    intake = own("classifier")
    first = intake.triage.SubmitReport(submission("post:same"))
    second = intake.triage.SubmitReport(submission("post:same"))
    assert first.opened and not second.opened
    assert second.case == first.case and second.report != first.report
    assert get(own("dana"), first.case).report_count == 2


def test_a_stream_of_reports_has_one_result_each(own):
    good, bad = submission(), submission()
    bad.report.subject.id = ""
    stream = [T.SubmitReportsRequest(request_id=each.request_id, report=each.report)
              for each in (good, bad, submission())]
    reply = own("classifier").triage.SubmitReports(iter(stream))
    assert (reply.accepted_count, reply.refused_count) == (2, 1)
    assert [each.code for each in reply.results] == [
        0, grpc.StatusCode.INVALID_ARGUMENT.value[0], 0]
    assert [each.request_id for each in reply.results] == [each.request_id for each in stream]
    assert reply.results[0].response.opened
    assert "subject" in reply.results[1].field and reply.results[1].reason
    assert own("dana").triage.ListCases(T.ListCasesRequest()).open_count == 2


def test_the_board_is_in_order_and_in_pages(own):
    intake, dana = own("classifier"), own("dana")
    for index in range(25):
        intake.triage.SubmitReport(submission(
            imminence=R.IMMINENCE_NOW if index % 5 == 0 else R.IMMINENCE_NOT_IMMINENT,
            harm_family=R.HARM_FAMILY_VIOLENT_THREAT))
    seen, token, pages = [], "", 0
    while True:
        page = dana.triage.ListCases(T.ListCasesRequest(page_size=10, page_token=token))
        seen += page.cases
        pages += 1
        token = page.next_page_token
        if not token:
            break
    assert pages == 3 and len({each.name for each in seen}) == 25
    keys = [(each.order.band, each.order.effective_deadline_time.ToNanoseconds(),
             -each.order.modifier_count, each.create_time.ToNanoseconds()) for each in seen]
    assert keys == sorted(keys), "most urgent first"
    some = dana.triage.ListCases(T.ListCasesRequest(
        filter=T.CaseFilter(levels=[seen[0].level]), page_size=1000))
    assert {each.level for each in some.cases} == {seen[0].level}
    assert len(some.cases) == sum(each.level == seen[0].level for each in seen)
    assert some.open_count == 25


def test_a_claim_takes_only_what_the_caller_may_take(own):
    intake, ana = own("classifier"), own("ana")
    # More urgent, and not for Ana: a skill that she does not have, then a language.
    intake.triage.SubmitReport(submission(
        harm_family=R.HARM_FAMILY_TERRORISM, imminence=R.IMMINENCE_NOW))
    intake.triage.SubmitReport(submission(language_code="ja", imminence=R.IMMINENCE_NOW))
    mine = intake.triage.SubmitReport(submission(imminence=R.IMMINENCE_NOT_IMMINENT))
    offered = claim(ana)
    assert offered.case.name == mine.case
    assert offered.explanation.skipped_count == 2
    assert offered.explanation.first_skip_reason in (
        L.SKIP_REASON_SKILL, L.SKIP_REASON_LANGUAGE)
    assert not claim(ana).HasField("assignment"), "nothing else is for Ana"


def test_a_claim_waits_for_a_case(own):
    chloe = own("chloe")
    waiting = chloe.assignments.ClaimNext.future(A.ClaimNextRequest(
        request_id=request_id(), wait_duration=duration_pb2.Duration(seconds=10)))
    receipt = own("classifier").triage.SubmitReport(submission())
    offered = waiting.result(timeout=10)
    assert offered.case.name == receipt.case
    assert not claim(chloe, wait_seconds=1).HasField("assignment")


def test_a_declined_case_goes_to_somebody_else(own):
    intake, ana, chloe = own("classifier"), own("ana"), own("chloe")
    receipt = intake.triage.SubmitReport(submission())
    offer = claim(ana).assignment
    declined = ana.assignments.ReleaseLease(A.ReleaseLeaseRequest(
        request_id=request_id(), name=offer.name, fencing_token=offer.fencing_token,
        reason=L.RELEASE_REASON_WELLNESS))
    assert declined.state == L.ASSIGNMENT_STATE_DECLINED
    assert declined.release_reason == L.RELEASE_REASON_WELLNESS
    assert not claim(ana).HasField("assignment"), "a declined case does not come back"
    again = claim(chloe)
    assert again.case.name == receipt.case
    assert again.assignment.fencing_token > offer.fencing_token


def test_a_hand_off_moves_the_case_and_the_token(own):
    intake, ana, chloe = own("classifier"), own("ana"), own("chloe")
    receipt = intake.triage.SubmitReport(submission())
    held = accept(ana, claim(ana).assignment)
    passed = ana.assignments.HandOffCase(A.HandOffCaseRequest(
        request_id=request_id(), name=held.name, fencing_token=held.fencing_token,
        specialist=CHLOE, note="Knows the family."))
    assert passed.specialist == CHLOE and passed.handed_off_from == held.name
    assert passed.fencing_token > held.fencing_token and passed.case == receipt.case
    stale = refused(ana.triage.DecideCase, T.DecideCaseRequest(
        request_id=request_id(), name=receipt.case, decision=decision(),
        fencing_token=held.fencing_token))
    assert stale.code is grpc.StatusCode.FAILED_PRECONDITION and stale.reason == "LEASE_NOT_HELD"
    assert accept(chloe, passed).state == L.ASSIGNMENT_STATE_ACTIVE
    to_ben = refused(chloe.assignments.HandOffCase, A.HandOffCaseRequest(
        request_id=request_id(), name=passed.name, fencing_token=passed.fencing_token,
        specialist=BEN, note="Not his skill."))
    assert to_ben.code in (grpc.StatusCode.FAILED_PRECONDITION, grpc.StatusCode.INVALID_ARGUMENT)


def test_watches_show_the_state_then_each_change(own):
    intake, chloe, dana = own("classifier"), own("chloe"), own("dana")
    first = intake.triage.SubmitReport(submission()).case
    board = dana.triage.WatchBoard(T.WatchBoardRequest(), timeout=20)
    assert next(board).case.name == first
    mark = next(board)
    assert mark.WhichOneof("change") == "bookmark" and mark.bookmark.open_count == 1
    mine = chloe.assignments.WatchAssignments(A.WatchAssignmentsRequest(), timeout=20)
    assert not next(mine).HasField("assignment"), "no assignment yet: the bookmark comes first"

    offer = claim(chloe).assignment
    change = next(board)
    assert change.case.name == first and change.case.assignee == CHLOE
    assert change.revision > mark.revision
    seen = next(mine)
    assert seen.assignment.name == offer.name
    assert seen.assignment.state == L.ASSIGNMENT_STATE_OFFERED
    accept(chloe, offer)
    assert next(mine).assignment.state == L.ASSIGNMENT_STATE_ACTIVE
    board.cancel()
    mine.cancel()


def test_an_emergency_request_from_filing_to_approval(own):
    police, erin, farid = own("police"), own("erin"), own("farid")
    dana = own("dana")
    filed = police.disclosures.SubmitDisclosureRequest(filing())
    assert filed.instrument and filed.requester.endswith("police.agency.example")
    assert filed.preservation.state == D.PRESERVATION_STATE_ACTIVE, "held in the same commit"
    assert filed.preservation.expire_time.ToSeconds() > filed.create_time.ToSeconds()
    assert not filed.verifications and not filed.HasField("scope")
    watch = police.disclosures.WatchDisclosureRequest(
        S.WatchDisclosureRequestRequest(name=filed.name), timeout=30)
    assert next(watch).disclosure_request.name == filed.name

    def verify(client, method):
        return client.disclosures.AddVerification(S.AddVerificationRequest(
            request_id=request_id(), name=filed.name, verification=verification(method)))

    one = verify(erin, D.VERIFICATION_METHOD_AGENCY_CERTIFICATE)
    assert one.state == D.DISCLOSURE_STATE_VERIFYING and len(one.verifications) == 1
    two = verify(erin, D.VERIFICATION_METHOD_CALL_BACK)
    assert two.state >= D.DISCLOSURE_STATE_VERIFIED
    first = dana.disclosures.SetScope(S.SetScopeRequest(
        request_id=request_id(), name=filed.name, scope=scope(), etag=two.etag))
    scoped = erin.disclosures.SetScope(S.SetScopeRequest(
        request_id=request_id(), name=filed.name, scope=scope(), etag=first.etag))
    assert scoped.state == D.DISCLOSURE_STATE_AWAITING_APPROVAL and scoped.scope.principal == ERIN
    assert set(scoped.participants) == {filed.requester, DANA, ERIN}

    for client, why in [(erin, "verified and scoped"), (dana, "set the scope that was replaced")]:
        alone = refused(client.disclosures.ApproveDisclosure, S.ApproveDisclosureRequest(
            request_id=request_id(), name=filed.name, etag=scoped.etag))
        assert alone.reason == "SECOND_PERSON_REQUIRED", why
    approved = farid.disclosures.ApproveDisclosure(S.ApproveDisclosureRequest(
        request_id=request_id(), name=filed.name, etag=scoped.etag))
    assert approved.state == D.DISCLOSURE_STATE_APPROVED
    assert approved.approval.principal == FARID

    states = [each.disclosure_request.state for each in watch]
    assert states[-1] == D.DISCLOSURE_STATE_APPROVED, "the watch ends when the request does"
    theirs = police.disclosures.GetDisclosureRequest(
        S.GetDisclosureRequestRequest(name=filed.name))
    assert theirs.state == D.DISCLOSURE_STATE_APPROVED and len(theirs.scope.items) == 1
    assert not theirs.verifications, "how a requester was verified is not for the requester"
    listed = farid.disclosures.ListDisclosureRequests(S.ListDisclosureRequestsRequest())
    assert [each.name for each in listed.disclosure_requests] == [filed.name]
    assert not listed.disclosure_requests[0].officer.phone, "a list holds nothing sensitive"
    twice = refused(dana.disclosures.ApproveDisclosure, S.ApproveDisclosureRequest(
        request_id=request_id(), name=filed.name, etag=approved.etag))
    assert twice.code is grpc.StatusCode.FAILED_PRECONDITION


def test_a_rejection_has_a_reason_of_the_list(own):
    police, erin = own("police"), own("erin")
    filed = police.disclosures.SubmitDisclosureRequest(filing())
    rejected = erin.disclosures.RejectDisclosure(S.RejectDisclosureRequest(
        request_id=request_id(), name=filed.name,
        rejection=D.Rejection(reason=D.REJECTION_REASON_INFORMAL_CHANNEL,
                              explanation="Use the agency's own domain.")))
    assert rejected.state == D.DISCLOSURE_STATE_REJECTED
    theirs = police.disclosures.GetDisclosureRequest(
        S.GetDisclosureRequestRequest(name=filed.name))
    assert theirs.rejection.reason == D.REJECTION_REASON_INFORMAL_CHANNEL
    assert not theirs.rejection.principal, "who rejected is not for the requester"


def test_status_and_snapshot(own):
    own("classifier").triage.SubmitReport(submission())
    sre = own("sre")
    before = sre.operations.GetStatus(O.GetStatusRequest())
    assert before.state == O.SERVING_STATE_SERVING and before.version
    assert before.open_case_count == 1 and before.report_count == 1
    assert sum(each.queued_count for each in before.levels) == 1
    asked = O.CreateSnapshotRequest(request_id=request_id())
    snapshot = sre.operations.CreateSnapshot(asked)
    assert sre.operations.CreateSnapshot(asked) == snapshot, "a repeat is answered alike"
    assert snapshot.sequence >= before.durable_sequence and snapshot.size_bytes > 0
    after = sre.operations.GetStatus(O.GetStatusRequest())
    assert after.snapshot_sequence == snapshot.sequence and after.HasField("snapshot_time")


def test_live_stream_reports_keep_what_they_said(own):
    live = R.Subject(
        kind=R.SUBJECT_KIND_LIVE_STREAM, id=f"live:{uuid.uuid4()}", account_id="account:1",
        live_stream=R.LiveStream(live=True, viewer_count=1200))
    sent = submission()
    sent.report.subject.CopyFrom(live)
    receipt = own("classifier").triage.SubmitReport(sent)
    full = get(own("dana"), receipt.case, full=True)
    assert full.live and full.reports[0].subject.live_stream.viewer_count == 1200


def uploaded(client, case, content, key=None):
    start = E.AttachEvidenceStart(
        request_id=key or request_id(), case=case, media_type="video/mp4", caption="Seen there.",
        size_bytes=len(content), sha256=hashlib.sha256(content).hexdigest())
    parts = [E.AttachEvidenceRequest(start=start)] + [
        E.AttachEvidenceRequest(chunk=content[at:at + 200_000])
        for at in range(0, len(content), 200_000)]
    return client.evidence.AttachEvidence(iter(parts))


def test_evidence_is_attached_read_held_and_erased(locked):
    intake, ana, dana, erin = (locked(each) for each in ("classifier", "ana", "dana", "erin"))
    case = intake.triage.SubmitReport(submission()).case
    content = bytes(range(256)) * 4_000
    key = request_id()
    made = uploaded(ana, case, content, key)
    assert made.name == f"{case}/evidence/1" and made.state == V.EVIDENCE_STATE_STORED
    assert (made.size_bytes, made.principal) == (len(content), ANA)
    assert made.sha256 == hashlib.sha256(content).hexdigest() != made.object
    assert uploaded(ana, case, content, key) == made, "a repeat gets the first answer"
    listed = dana.evidence.ListEvidence(E.ListEvidenceRequest(case=case)).evidence
    assert [each.name for each in listed] == [made.name] and not listed[0].caption

    parts = list(ana.evidence.ReadEvidence(E.ReadEvidenceRequest(
        name=made.name, purpose="assessing the threat")))
    assert parts[0].evidence.caption == "Seen there."
    assert b"".join(part.chunk for part in parts[1:]) == content

    rules = dana.evidence.ListHoldRules(E.ListHoldRulesRequest())
    assert "US_2703F_PRESERVATION" in [each.key for each in rules.rules] and rules.version
    hold = dana.evidence.PlaceHold(E.PlaceHoldRequest(
        request_id=request_id(), case=case, hold=V.Hold(
            rule="US_2703F_PRESERVATION", authority="FBI", reason="An inquiry.")))
    assert hold.state == V.HOLD_STATE_ACTIVE and hold.principal == DANA

    def erase():
        return E.EraseEvidenceRequest(
            request_id=request_id(), name=made.name, erasure=V.Erasure(
                ground=V.ERASURE_GROUND_ORDER, legal_basis="12 Gs 3/26", reason="Ordered."))
    held = refused(erin.evidence.EraseEvidence, erase())
    assert held.reason == "HELD" and held.info.metadata["holder"] == hold.name
    erin.evidence.ReleaseHold(E.ReleaseHoldRequest(
        request_id=request_id(), name=hold.name,
        release=V.HoldRelease(authority="FBI", reason="Withdrawn.")))
    holds = dana.evidence.ListHolds(E.ListHoldsRequest(case=case)).holds
    assert [each.state for each in holds] == [V.HOLD_STATE_RELEASED]
    erased = erin.evidence.EraseEvidence(erase())
    assert erased.state == V.EVIDENCE_STATE_ERASED and erased.erasure.principal == ERIN
    assert erased.caption == "[erased]"
    gone = refused(ana.evidence.ReadEvidence, E.ReadEvidenceRequest(
        name=made.name, purpose="assessing the threat"))
    assert gone.reason == "EVIDENCE_ERASED"

    done = erin.evidence.EraseReportTexts(E.EraseReportTextsRequest(
        request_id=request_id(), case=case, erasure=V.Erasure(
            ground=V.ERASURE_GROUND_DATA_SUBJECT_REQUEST, legal_basis="GDPR 17",
            reason="Asked for.")))
    assert (done.case, done.report_count) == (case, 1)
    full = get(dana, case, full=True)
    assert "Synthetic" not in str(full) and full.report_count == 1


def test_keys_are_rotated_while_all_goes_on(locked):
    sre, intake = locked("sre"), locked("classifier")
    before = sre.operations.GetStatus(O.GetStatusRequest()).encryption
    asked = O.RotateKeysRequest(request_id=request_id(), kind=O.KEY_KIND_DATA)
    made = sre.operations.RotateKeys(asked)
    assert sre.operations.RotateKeys(asked) == made, "a repeat makes no second key"
    intake.triage.SubmitReport(submission())
    after = sre.operations.GetStatus(O.GetStatusRequest()).encryption
    assert after.data_key_number == made.key_number > before.data_key_number
    assert after.kek == before.kek and after.signing_key_number == before.signing_key_number
    sre.operations.RotateKeys(O.RotateKeysRequest(
        request_id=request_id(), kind=O.KEY_KIND_SIGNING))
    assert sre.operations.GetStatus(O.GetStatusRequest()).encryption.key_count == 4


def test_an_auditor_has_heads_and_proofs(locked):
    gil, intake = locked("gil"), locked("classifier")
    intake.triage.SubmitReport(submission())
    first = gil.audit.SignHead(U.SignHeadRequest())
    proof = gil.audit.ProveRecord(U.ProveRecordRequest(sequence=first.record_count)).proof
    assert first.checkpoint in proof
    intake.triage.SubmitReport(submission())
    assert gil.audit.SignHead(U.SignHeadRequest()).record_count > first.record_count
    request = U.ProveHistoryRequest(from_record_count=first.record_count)
    assert first.checkpoint in gil.audit.ProveHistory(request).proof


def test_an_operator_reads_what_a_backup_consists_of(locked):
    sre = locked("sre")
    locked("classifier").triage.SubmitReport(submission())
    parts = list(sre.operations.ListBackup(O.ListBackupRequest()))
    files = {file.name: file for part in parts for file in part.files}
    assert parts[0].sequence > 0 and len(parts[0].root) == 64
    assert {"identity", "keys", "00000000000000000001.journal"} <= set(files)
    for name in ("keys", "00000000000000000001.journal"):
        replies = list(sre.operations.ReadBackup(O.ReadBackupRequest(
            name=name, read_bytes=files[name].read_bytes)))
        data = b"".join(reply.chunk for reply in replies)
        assert len(data) == files[name].read_bytes
        assert hashlib.sha256(data).hexdigest() == replies[-1].sha256


def test_without_encryption_there_is_no_evidence(own):
    case = own("classifier").triage.SubmitReport(submission()).case
    assert not own("sre").operations.GetStatus(O.GetStatusRequest()).HasField("encryption")
    with pytest.raises(grpc.RpcError) as failure:
        uploaded(own("ana"), case, b"bytes")
    assert Refusal(failure.value).reason == "ENCRYPTION_REQUIRED"
    refusal = refused(own("sre").operations.RotateKeys, O.RotateKeysRequest(
        request_id=request_id(), kind=O.KEY_KIND_DATA))
    assert refusal.reason == "ENCRYPTION_REQUIRED"


def test_every_method_was_called(request):
    """Runs last in this file; says which method of Protos/ has no test above."""
    ran = {item.name for item in request.session.items if item.fspath == request.node.fspath}
    if len(ran) < 15:
        pytest.skip("only part of this file was selected")
    assert stubs.METHODS - Client.called == set()
