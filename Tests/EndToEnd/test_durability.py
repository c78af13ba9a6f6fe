"""What was acknowledged is there after kill -9, and a repeated request gets its first answer."""

import random
import threading
import time

import grpc
import pytest
import stubs
from builders import filing, submission
from harness import Refusal, refused, request_id

T, A, S, O = stubs.triage, stubs.assignment, stubs.disclosures, stubs.operations
WORKERS = 6


class Load(threading.Thread):
    """Submits and claims without pause; keeps what was acknowledged."""

    def __init__(self, server, index):
        super().__init__(daemon=True)
        self.client = server.client("classifier")
        self.specialist = server.client("chloe") if index == 0 else None
        self.receipts, self.offers, self.unknown = [], [], []
        self.unexpected = None

    def claim(self):
        try:
            offer = self.specialist.assignments.ClaimNext(
                A.ClaimNextRequest(request_id=request_id()))
        except grpc.RpcError as error:
            # She holds as many as a person may.
            if error.code() is not grpc.StatusCode.RESOURCE_EXHAUSTED:
                raise
        else:
            if offer.HasField("assignment"):
                self.offers.append(offer.assignment)

    def run(self):
        try:
            while True:
                message = submission()
                self.unknown = [message]
                receipt = self.client.triage.SubmitReport(message)
                self.receipts.append((message, receipt))
                self.unknown = []
                if self.specialist:
                    self.claim()
        except grpc.RpcError as error:
            # The kill; anything else is a finding.
            if error.code() is not grpc.StatusCode.UNAVAILABLE:
                self.unexpected = error
        finally:
            self.client.raw.close()
            if self.specialist:
                self.specialist.raw.close()


def board(client):
    """Every open case: name to case. A page costs as much as many calls: waits when told to."""
    cases, token = {}, ""
    while True:
        try:
            page = client.triage.ListCases(T.ListCasesRequest(page_size=1000, page_token=token))
        except grpc.RpcError as error:
            retry = Refusal(error).retry
            if error.code() is not grpc.StatusCode.RESOURCE_EXHAUSTED or not retry:
                raise
            time.sleep(retry.retry_delay.ToTimedelta().total_seconds())
            continue
        cases.update((each.name, each) for each in page.cases)
        token = page.next_page_token
        if not token:
            return cases, page.open_count


@pytest.mark.timeout(3600)
def test_kill_9_in_the_middle_of_load_loses_nothing_acknowledged(fresh, rounds):
    seed = random.randrange(1 << 32)
    print("seed", seed)
    lots = random.Random(seed)
    server = fresh().start()
    receipts, offers = [], []
    for turn in range(rounds):
        loads = [Load(server, index) for index in range(WORKERS)]
        for each in loads:
            each.start()
        loads[0].join(lots.uniform(0.2, 1.5))
        if turn % 3 == 1:
            with server.client("sre") as sre:
                sre.operations.CreateSnapshot(O.CreateSnapshotRequest(request_id=request_id()))
        server.kill()
        for each in loads:
            each.join(30)
            assert not each.is_alive() and each.unexpected is None, each.unexpected
            receipts += each.receipts
            offers += each.offers
        server.start()
        with server.client("dana") as dana, server.client("classifier") as intake:
            cases, open_count = board(dana)
            missing = [receipt.case for _, receipt in receipts if receipt.case not in cases]
            assert not missing, f"round {turn}: {len(missing)} of {len(receipts)} are gone"
            in_doubt = WORKERS * (turn + 1)
            assert len(receipts) <= open_count <= len(receipts) + in_doubt
            tokens = [each.fencing_token for each in offers]
            assert tokens == sorted(set(tokens)), "tokens rise, also over a crash"
            # A client that got no answer sends the same request again: first answer or new work.
            for each in loads:
                for message in each.unknown:
                    receipts.append((message, intake.triage.SubmitReport(message)))
            for message, first in lots.sample(receipts, min(20, len(receipts))):
                assert intake.triage.SubmitReport(message) == first
    assert len(receipts) > rounds * WORKERS, "the load was a load"


def test_every_kind_of_write_is_there_after_kill_9(fresh):
    server = fresh().start()
    with server.client("classifier") as intake, server.client("chloe") as chloe, \
            server.client("police") as police:
        receipt = intake.triage.SubmitReport(submission())
        offer = chloe.assignments.ClaimNext(A.ClaimNextRequest(request_id=request_id())).assignment
        held = chloe.assignments.AcceptCase(A.AcceptCaseRequest(
            request_id=request_id(), name=offer.name, fencing_token=offer.fencing_token))
        filed = police.disclosures.SubmitDisclosureRequest(filing())
        with server.client("dana") as dana:
            case = dana.triage.GetCase(T.GetCaseRequest(name=receipt.case))
    server.kill()
    server.start()
    with server.client("dana") as dana, server.client("chloe") as chloe, \
            server.client("police") as police:
        assert dana.triage.GetCase(T.GetCaseRequest(name=receipt.case)) == case
        watch = chloe.assignments.WatchAssignments(A.WatchAssignmentsRequest(), timeout=10)
        assert next(watch).assignment == held
        watch.cancel()
        again = police.disclosures.GetDisclosureRequest(
            S.GetDisclosureRequestRequest(name=filed.name))
        assert again == filed


@pytest.mark.parametrize("end", ["kill", "stop"])
@pytest.mark.parametrize("snapshot", [False, True], ids=["journal", "snapshot"])
def test_a_request_id_outlives_a_restart(fresh, end, snapshot):
    server = fresh().start()
    message, paper, ask = submission(), filing(), A.ClaimNextRequest(request_id=request_id())
    with server.client("classifier") as intake, server.client("police") as police, \
            server.client("chloe") as chloe, server.client("sre") as sre:
        first = intake.triage.SubmitReport(message)
        filed = police.disclosures.SubmitDisclosureRequest(paper)
        offer = chloe.assignments.ClaimNext(ask)
        if snapshot:
            sre.operations.CreateSnapshot(O.CreateSnapshotRequest(request_id=request_id()))
    getattr(server, end)()
    server.start()
    with server.client("classifier") as intake, server.client("police") as police, \
            server.client("chloe") as chloe, server.client("dana") as dana:
        assert intake.triage.SubmitReport(message) == first
        assert police.disclosures.SubmitDisclosureRequest(paper).name == filed.name
        again = chloe.assignments.ClaimNext(ask)
        assert again.assignment.name == offer.assignment.name
        assert again.assignment.fencing_token == offer.assignment.fencing_token
        assert dana.triage.ListCases(T.ListCasesRequest()).open_count == 1
        other = submission()
        other.request_id = message.request_id
        assert refused(intake.triage.SubmitReport, other).code is grpc.StatusCode.INVALID_ARGUMENT


def test_ids_of_two_principals_do_not_meet(fresh):
    server = fresh().start()
    with server.client("classifier") as intake, server.client("hotline") as hotline:
        message = submission()
        one = intake.triage.SubmitReport(message)
        try:
            two = hotline.triage.SubmitReport(message)
        except grpc.RpcError as error:
            assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
        else:
            assert two.report != one.report, "somebody else's answer is not shown"
