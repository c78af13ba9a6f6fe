"""A watch that is resumed at a revision misses nothing and repeats nothing."""

import grpc
import stubs
from builders import R, submission
from harness import refused, request_id

T, A = stubs.triage, stubs.assignment


def watch(client, revision=0, **filters):
    return client.triage.WatchBoard(T.WatchBoardRequest(
        resume_revision=revision,
        filter=T.CaseFilter(**filters) if filters else None), timeout=300)


def until_bookmark(stream):
    """Messages up to the next bookmark, and its revision."""
    seen = []
    for message in stream:
        if message.WhichOneof("change") == "bookmark":
            return seen, message
        seen.append(message)
    raise AssertionError("the watch ended")


def test_a_resumed_watch_sends_exactly_what_was_missed(fresh):
    server = fresh().start()
    with server.client("classifier") as intake, server.client("dana") as dana:
        before = [intake.triage.SubmitReport(submission()) for _ in range(20)]
        stream = watch(dana)
        seen, mark = until_bookmark(stream)
        stream.cancel()
        assert {each.case.name for each in seen} == {each.case for each in before}
        assert mark.bookmark.open_count == 20 and mark.revision >= before[-1].revision
        missed = [intake.triage.SubmitReport(submission()) for _ in range(10)]
        again = watch(dana, mark.revision)
        changes = [next(again) for _ in range(10)]
        assert [each.case.name for each in changes] == [each.case for each in missed]
        # A message's revision is what the caller knows for certain; it may lag behind the message.
        revisions = [each.revision for each in changes]
        assert revisions == sorted(revisions) and revisions[0] >= mark.revision
        again.cancel()
        half = watch(dana, changes[4].revision)
        names = []
        while missed[-1].case not in names:
            names.append(next(half).case.name)
        assert names[-5:] == [each.case for each in missed[5:]], "nothing is left out"
        half.cancel()


def test_a_resumed_watch_goes_on_where_it_was(fresh):
    """One change at a time, resumed after each: each is sent once."""
    server = fresh().start()
    with server.client("classifier") as intake, server.client("dana") as dana:
        intake.triage.SubmitReport(submission())
        stream = watch(dana)
        revision = until_bookmark(stream)[1].revision
        for _ in range(5):
            stream.cancel()
            sent = intake.triage.SubmitReport(submission())
            stream = watch(dana, revision)
            changes, mark = until_bookmark(stream)
            assert [each.case.name for each in changes] == [sent.case]
            assert mark.revision >= sent.revision
            revision = mark.revision
        stream.cancel()


def test_revisions_go_on_after_a_restart(fresh):
    server = fresh().start()
    with server.client("classifier") as intake, server.client("dana") as dana:
        first = intake.triage.SubmitReport(submission())
        stream = watch(dana)
        _, mark = until_bookmark(stream)
        stream.cancel()
    server.kill()
    server.start()
    with server.client("classifier") as intake, server.client("dana") as dana:
        second = intake.triage.SubmitReport(submission())
        assert second.revision > mark.revision >= first.revision
        stream = watch(dana, mark.revision)
        try:
            names = set()
            for message in stream:
                if message.WhichOneof("change") == "case":
                    names.add(message.case.name)
                if second.case in names:
                    break
            stream.cancel()
        except grpc.RpcError as error:
            # The ring of changes need not outlive the process; then it says so.
            assert error.code() is grpc.StatusCode.OUT_OF_RANGE
            assert until_bookmark(watch(dana))[1].bookmark.open_count == 2


def test_a_revision_of_the_future_is_refused(fresh):
    server = fresh().start()
    with server.client("dana") as dana:
        refusal = refused(watch, dana, 1 << 40)
        assert refusal.code in (grpc.StatusCode.OUT_OF_RANGE, grpc.StatusCode.INVALID_ARGUMENT)
        assert refused(watch, dana, -1).code is grpc.StatusCode.INVALID_ARGUMENT


def test_a_case_that_leaves_the_filter_is_sent_as_removed(fresh):
    server = fresh().start()
    with server.client("classifier") as intake, server.client("dana") as dana, \
            server.client("chloe") as chloe:
        intake.triage.SubmitReport(submission(harm_family=R.HARM_FAMILY_DISASTER))
        mine = intake.triage.SubmitReport(submission())
        stream = watch(dana, states=[stubs.case.CASE_STATE_QUEUED],
                       harm_families=[R.HARM_FAMILY_SUICIDE_SELF_HARM])
        seen, _ = until_bookmark(stream)
        assert [each.case.name for each in seen] == [mine.case]
        taken = set()
        while mine.case not in taken:
            taken.add(chloe.assignments.ClaimNext(
                A.ClaimNextRequest(request_id=request_id())).case.name)
        for message in stream:
            if message.WhichOneof("change") != "bookmark":
                assert message.removed_case == mine.case
                break
        stream.cancel()


def test_a_slow_watcher_does_not_hold_up_the_others(fresh):
    server = fresh().start()
    with server.client("classifier") as intake, server.client("gil") as slow, \
            server.client("dana") as dana:
        lazy = watch(slow)
        quick = watch(dana)
        until_bookmark(quick)
        names = [intake.triage.SubmitReport(submission()).case for _ in range(300)]
        got = []
        while len(got) < len(names):
            message = next(quick)
            if message.WhichOneof("change") == "case":
                got.append(message.case.name)
        assert got == names
        lazy.cancel()


def test_a_connection_holds_a_bounded_number_of_watches(fresh):
    server = fresh().start()
    with server.client("dana") as dana:
        held = [watch(dana) for _ in range(20)]
        for each in held:
            next(each)
        refusal = refused(watch, dana)
        assert refusal.code is grpc.StatusCode.RESOURCE_EXHAUSTED
        for each in held:
            each.cancel()
