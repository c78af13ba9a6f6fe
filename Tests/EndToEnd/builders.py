"""Messages that the server accepts; tests change the one thing that they are about."""

import datetime
import uuid

import stubs
from google.protobuf import timestamp_pb2
from harness import request_id

R, C, D, L = stubs.report, stubs.case, stubs.disclosure, stubs.lease


def stamp(days=0):
    """A time so many days from now."""
    at = timestamp_pb2.Timestamp()
    at.FromDatetime(datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=days))
    return at


def report(subject=None, **fields):
    """A report about a subject of its own unless one is named: it opens a case."""
    values = dict(
        subject=R.Subject(kind=R.SUBJECT_KIND_POST, id=subject or f"post:{uuid.uuid4()}"),
        harm_family=R.HARM_FAMILY_SUICIDE_SELF_HARM,
        reporter=R.Reporter(kind=R.REPORTER_KIND_USER, id="user:1"),
        language_code="en", region_code="US", description="Synthetic text of a test.")
    values.update(fields)
    return R.Report(**values)


def submission(subject=None, **fields):
    return stubs.triage.SubmitReportRequest(
        request_id=request_id(), report=report(subject, **fields))


def large_submission():
    """A report as long as one may be, 150 KB: it fills a segment fast."""
    related = [R.Subject(kind=R.SUBJECT_KIND_POST, id=f"{n:0256}", account_id="a" * 256,
                         uri="https://example.org/" + "u" * 2028) for n in range(32)]
    return submission(description="x" * 8192, related_subjects=related,
                      evidence_uris=["https://example.org/" + "e" * 2028] * 32)


def answers(now=C.ANSWER_NO, threat=C.ANSWER_YES, **fields):
    values = dict(protocol_version="2026-11", happening_now=now, credible_threat=threat,
                  suicide_rung=C.SUICIDE_RUNG_PLAN, action_count=C.ACTION_COUNT_TWO_OR_MORE)
    values.update(fields)
    return C.ProtocolAnswers(**values)


def decision(**fields):
    done = C.DUTY_ANSWER_DONE
    values = dict(
        outcome=C.DECISION_OUTCOME_HARM_REFERRED, policy_version="2026-11",
        policy_keys=["suicide.plan"], rationale="Synthetic rationale.",
        duties=C.DutyAnswers(referral=done, statutory_report=C.DUTY_ANSWER_NOT_APPLICABLE,
                             preservation=done, welfare_resource=done))
    values.update(fields)
    return C.Decision(**values)


def emergency_request(**fields):
    values = dict(
        kind=D.DISCLOSURE_KIND_EMERGENCY,
        agency=D.Agency(name="Example City Police", region_code="US", address="1 Main St, Example"),
        officer=D.Officer(name="Officer Example", badge_id="4711", email="o@police.agency.example",
                          phone="+1 555 0100 ext 1", sworn=True,
                          supervisor_contact="desk +1 555 0101"),
        emergency=D.Emergency(
            nature=D.EMERGENCY_NATURE_SUICIDE_SELF_HARM, summary="Announced on a stream.",
            person_in_danger="The account's holder", necessity="To find the person.",
            danger_to_life_declared=True, on_letterhead=True),
        subject_identifiers=[D.SubjectIdentifier(kind=D.IDENTIFIER_KIND_USERNAME, value="someone")],
        data_requests=[data_request()],
        addressee=D.ADDRESSEE_UNITED_STATES, user_notice=D.USER_NOTICE_WOULD_ENDANGER,
        documents=[D.DocumentReference(sha256="ab" * 32, title="Letterhead")])
    values.update(fields)
    return D.DisclosureRequest(**values)


PERIOD = dict(start_time=stamp(-7), end_time=stamp(-1))


def data_request(category=D.DATA_CATEGORY_LOGIN):
    return D.DataRequest(category=category, justification="Shows where the person is.", **PERIOD)


def filing(**fields):
    return stubs.disclosures.SubmitDisclosureRequestRequest(
        request_id=request_id(), disclosure_request=emergency_request(**fields))


def verification(method, outcome=D.VERIFICATION_OUTCOME_PASSED):
    return D.Verification(method=method, outcome=outcome, note="Synthetic note.")


def scope(category=D.DATA_CATEGORY_LOGIN, **fields):
    values = dict(
        items=[D.ScopeItem(subject_index=0, category=category, **PERIOD)],
        legal_basis=D.LEGAL_BASIS_US_2702_EMERGENCY,
        good_faith_finding="Danger of death is believed in good faith.")
    values.update(fields)
    return D.Scope(**values)
