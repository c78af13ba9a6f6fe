"""Every malformed thing gets a clear typed error, and loses nothing."""

import socket
import ssl
import struct

import grpc
import pytest
import stubs
from builders import (C, D, L, R, answers, data_request, decision, emergency_request, filing, scope,
                      stamp, submission, verification)
from harness import refused, request_id

T, A, S = stubs.triage, stubs.assignment, stubs.disclosures
SUBMIT = "/triaged.v1.TriageService/SubmitReport"
BAD = grpc.StatusCode.INVALID_ARGUMENT


@pytest.fixture(autouse=True)
def still_serves(client):
    """After each bad thing the server answers a good one."""
    yield
    client("classifier").triage.SubmitReport(submission())


def change(path, value):
    """A submission with one field changed; a path such as `report.subject.id`."""
    message = submission()
    *parents, last = path.split(".")
    target = message
    for name in parents:
        target = getattr(target, name)
    field = target.DESCRIPTOR.fields_by_name[last]
    if value is None:
        target.ClearField(last)
    elif isinstance(value, list):
        target.ClearField(last)
        getattr(target, last).extend(value)
    elif field.message_type:
        getattr(target, last).CopyFrom(value)
    else:
        setattr(target, last, value)
    return message


LONG = "x" * 9000
SIGNAL = dict(source="s", label="l", confidence=0.5)


@pytest.mark.parametrize("path, value", [
    ("request_id", ""),
    ("request_id", "not-a-uuid"),
    ("request_id", "00000000-0000-0000-0000-000000000000"),
    ("report", None),
    ("report.subject", None),
    ("report.subject.kind", R.SUBJECT_KIND_UNSPECIFIED),
    ("report.subject.kind", 77),
    ("report.subject.id", ""),
    ("report.subject.id", "x" * 257),
    ("report.subject.uri", "x" * 2049),
    ("report.subject.live_stream", R.LiveStream(live=True)),
    ("report.related_subjects",
     [R.Subject(kind=R.SUBJECT_KIND_POST, id=str(i)) for i in range(33)]),
    ("report.reporter", None),
    ("report.reporter.kind", R.REPORTER_KIND_UNSPECIFIED),
    ("report.imminence", 99),
    ("report.modifiers", [R.RISK_MODIFIER_UNSPECIFIED]),
    ("report.modifiers", [99]),
    ("report.signals", [R.MachineSignal(**{**SIGNAL, "confidence": 1.5})]),
    ("report.signals", [R.MachineSignal(**{**SIGNAL, "confidence": -0.1})]),
    ("report.signals", [R.MachineSignal(**{**SIGNAL, "confidence": float("nan")})]),
    ("report.signals", [R.MachineSignal(**{**SIGNAL, "source": ""})]),
    ("report.signals", [R.MachineSignal(**SIGNAL) for _ in range(33)]),
    ("report.language_code", "not a language"),
    ("report.region_code", "USA"),
    ("report.description", LONG),
    ("report.evidence_uris", ["u"] * 33),
    ("report.external_id", "x" * 129),
], ids=lambda value: value[:40] if isinstance(value, str) else None)
def test_a_wrong_field_is_named(client, path, value):
    refusal = refused(client("classifier").triage.SubmitReport, change(path, value))
    assert refusal.code is BAD
    wrong = path.split(".")[-1]
    assert any(wrong in field for field in refusal.fields), refusal
    assert all(refusal.fields.values()), "each violation says what is wrong"
    if isinstance(value, str) and len(value) > 3:
        assert value not in refusal.text, "no content of the request in error text"


@pytest.mark.parametrize("body, why", [
    (b"\x0a\xff", "a length beyond the end"),
    (b"\x0a", "cut off"),
    (b"\x00\x00", "field number 0"),
    (b"\x0f\x00", "wire type 7"),
    (b"\xff" * 11, "a varint that does not end"),
    (b"\x0b" * 200, "groups, deep"),
    (b"\x78\x01" * 20_000, "more unknown fields than a message may have"),
])
def test_bytes_that_are_no_message(client, body, why):
    assert refused(client("classifier").call_bytes, SUBMIT, body).code is BAD, why


@pytest.mark.parametrize("text", [b"\xff\xfe", b"ab\x00cd", b"\xed\xa0\x80", b"\xc0\x80"],
                         ids=["not UTF-8", "NUL", "surrogate", "overlong"])
def test_a_string_that_is_no_text(client, text):
    good = submission(description="")
    inner = good.report.SerializeToString() + b"\x6a" + bytes([len(text)]) + text
    body = b"\x0a\x24" + good.request_id.encode() + b"\x12" + varint(len(inner)) + inner
    refusal = refused(client("classifier").call_bytes, SUBMIT, body)
    assert refusal.code is BAD and any("description" in field for field in refusal.fields)


def varint(value):
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes(out) + bytes([value])


def test_a_harm_family_unknown_here_is_kept_and_weighs_more(client):
    known = client("classifier").triage.SubmitReport(
        submission(harm_family=R.HARM_FAMILY_OTHER_IMMINENT_HARM))
    message = submission()
    message.report.harm_family = 77
    receipt = client("classifier").triage.SubmitReport(message)
    assert receipt.opened and C.LEVEL_P0 <= receipt.level <= known.level
    seen = client("dana").triage.GetCase(T.GetCaseRequest(name=receipt.case))
    assert seen.harm_family == R.HARM_FAMILY_UNSPECIFIED


def test_a_message_over_the_limit(client):
    message = submission()
    message.report.description = "x" * (5 << 20)
    refusal = refused(client("classifier").triage.SubmitReport, message)
    assert refusal.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert refusal.info.metadata, "the limit is also there for programs"


def test_metadata_over_the_limit(client):
    refusal = refused(
        client("sre").operations.GetStatus, stubs.operations.GetStatusRequest(),
        metadata=[("x-large", "y" * 20_000)])
    assert refusal.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "16384" in refusal.text.replace(",", "")


def test_a_request_id_used_for_something_else(client):
    intake = client("classifier")
    first = submission()
    intake.triage.SubmitReport(first)
    other = submission()
    other.request_id = first.request_id
    assert refused(intake.triage.SubmitReport, other).code is BAD


@pytest.mark.parametrize("name", [
    "", "cases", "cases/", "case/1", "cases/no-such", "cases/../1", "cases/" + "9" * 40,
    "assignments/1"])
def test_a_name_that_names_nothing(client, name):
    refusal = refused(client("dana").triage.GetCase, T.GetCaseRequest(name=name))
    assert refusal.code in (BAD, grpc.StatusCode.NOT_FOUND)


@pytest.mark.parametrize("size, token", [(-1, ""), (10, "garbage"), (10, "AAAA" * 20)])
def test_a_page_that_cannot_be(client, size, token):
    for call in (lambda: refused(client("dana").triage.ListCases, T.ListCasesRequest(
                    page_size=size, page_token=token)),
                 lambda: refused(client("erin").disclosures.ListDisclosureRequests,
                                 S.ListDisclosureRequestsRequest(
                                     page_size=size, page_token=token))):
        assert call().code is BAD


def test_a_page_token_of_another_filter(client):
    intake, dana = client("classifier"), client("dana")
    for _ in range(3):
        intake.triage.SubmitReport(submission())
    token = dana.triage.ListCases(T.ListCasesRequest(page_size=1)).next_page_token
    refusal = refused(dana.triage.ListCases, T.ListCasesRequest(
        page_size=1, page_token=token, filter=T.CaseFilter(levels=[C.LEVEL_P0])))
    assert refusal.code is BAD


def test_the_full_view_needs_a_purpose(client):
    name = client("classifier").triage.SubmitReport(submission()).case
    refusal = refused(client("dana").triage.GetCase,
                      T.GetCaseRequest(name=name, view=C.CASE_VIEW_FULL))
    assert refusal.code is BAD and "purpose" in refusal.fields


@pytest.fixture
def held(fresh):
    """A case that Chloe holds, on a server of its own: (client of, assignment)."""
    server = fresh().start()
    clients = {}

    def of(identity):
        return clients.setdefault(identity, server.client(identity))

    of("classifier").triage.SubmitReport(submission(
        harm_family=R.HARM_FAMILY_VIOLENT_THREAT, imminence=R.IMMINENCE_NOW))
    def claim(identity):
        return of(identity).assignments.ClaimNext(
            A.ClaimNextRequest(request_id=request_id())).assignment

    # Ana declines it first, so that there is a token before Chloe's.
    declined = claim("ana")
    of("ana").assignments.ReleaseLease(A.ReleaseLeaseRequest(
        request_id=request_id(), name=declined.name, fencing_token=declined.fencing_token,
        reason=L.RELEASE_REASON_CONFLICT))
    offer = claim("chloe")
    assert offer.case == declined.case
    yield of, of("chloe").assignments.AcceptCase(A.AcceptCaseRequest(
        request_id=request_id(), name=offer.name, fencing_token=offer.fencing_token))
    for each in clients.values():
        each.raw.close()
    assert server.stop() == 0


def test_a_stale_fencing_token(held):
    of, lease = held
    stale = lease.fencing_token - 1
    for call in [
            lambda: refused(of("chloe").triage.DecideCase, T.DecideCaseRequest(
                request_id=request_id(), name=lease.case, decision=decision(),
                fencing_token=stale)),
            lambda: refused(of("chloe").assignments.RenewLease, A.RenewLeaseRequest(
                request_id=request_id(), name=lease.name, fencing_token=stale)),
            lambda: refused(of("chloe").assignments.CompleteCase, A.CompleteCaseRequest(
                request_id=request_id(), name=lease.name, fencing_token=stale))]:
        refusal = call()
        assert refusal.code is grpc.StatusCode.FAILED_PRECONDITION
        assert refusal.reason == "LEASE_NOT_HELD"


def test_the_token_of_somebody_else(held):
    of, lease = held
    refusal = refused(of("ana").triage.DecideCase, T.DecideCaseRequest(
        request_id=request_id(), name=lease.case, decision=decision(),
        fencing_token=lease.fencing_token))
    assert refusal.code is grpc.StatusCode.FAILED_PRECONDITION
    assert refusal.reason == "LEASE_NOT_HELD"


def test_an_illegal_transition_names_from_to_and_what_is_allowed(held):
    of, lease = held
    refusal = refused(of("dana").triage.ReopenCase, T.ReopenCaseRequest(
        request_id=request_id(), name=lease.case, reason="Too early."))
    assert refusal.code is grpc.StatusCode.FAILED_PRECONDITION
    assert {"from", "to", "allowed"} <= set(refusal.info.metadata), refusal.info
    assert all(refusal.info.metadata[key] for key in ("from", "to", "allowed"))
    undecided = refused(of("chloe").triage.CloseCase, T.CloseCaseRequest(
        request_id=request_id(), name=lease.case, fencing_token=lease.fencing_token))
    assert undecided.code is grpc.StatusCode.FAILED_PRECONDITION


def test_a_changed_etag(held):
    of, lease = held
    refusal = refused(of("chloe").triage.DecideCase, T.DecideCaseRequest(
        request_id=request_id(), name=lease.case, decision=decision(),
        fencing_token=lease.fencing_token, etag="no-such-etag"))
    assert refusal.code in (grpc.StatusCode.ABORTED, BAD)


def test_lowering_needs_a_reason_and_a_second_person(held):
    of, lease = held
    ask = T.AnswerProtocolRequest(
        request_id=request_id(), name=lease.case, fencing_token=lease.fencing_token,
        answers=answers(now=C.ANSWER_YES))
    assert of("chloe").triage.AnswerProtocol(ask).level == C.LEVEL_P0
    lower = answers(now=C.ANSWER_NO, threat=C.ANSWER_NO, action_count=C.ACTION_COUNT_NONE,
                    suicide_rung=C.SUICIDE_RUNG_UNSPECIFIED)

    def propose(identity, reason, token=0):
        return of(identity).triage.AnswerProtocol, T.AnswerProtocolRequest(
            request_id=request_id(), name=lease.case, answers=lower, lower_reason=reason,
            fencing_token=token)

    call, message = propose("chloe", "", lease.fencing_token)
    assert refused(call, message).code in (BAD, grpc.StatusCode.FAILED_PRECONDITION)
    call, message = propose("chloe", "A film scene.", lease.fencing_token)
    pending = call(message)
    assert pending.level == C.LEVEL_P0 and pending.HasField("pending_lowering")
    call, message = propose("dana", "Seen by a second person.")
    assert call(message).level > C.LEVEL_P0


def test_closing_a_grave_case_needs_every_duty(held):
    of, lease = held
    of("chloe").triage.AnswerProtocol(T.AnswerProtocolRequest(
        request_id=request_id(), name=lease.case, fencing_token=lease.fencing_token,
        answers=answers(now=C.ANSWER_YES)))
    some = decision(duties=C.DutyAnswers(referral=C.DUTY_ANSWER_DONE))
    of("chloe").triage.DecideCase(T.DecideCaseRequest(
        request_id=request_id(), name=lease.case, decision=some,
        fencing_token=lease.fencing_token))
    refusal = refused(of("chloe").triage.CloseCase, T.CloseCaseRequest(
        request_id=request_id(), name=lease.case, fencing_token=lease.fencing_token,
        live_risk_ended=True))
    assert refusal.code is grpc.StatusCode.FAILED_PRECONDITION
    assert "preservation" in str(refusal.info.metadata) + refusal.text


@pytest.mark.parametrize("field, value", [
    ("kind", D.DISCLOSURE_KIND_UNSPECIFIED), ("agency", None), ("officer", None),
    ("emergency", None), ("subject_identifiers", []), ("data_requests", []),
    ("addressee", D.ADDRESSEE_UNSPECIFIED), ("user_notice", D.USER_NOTICE_UNSPECIFIED),
    ("documents", [D.DocumentReference(sha256="abc", title="t")]),
    ("officer", D.Officer(name="n", badge_id="1", email="o@x.example", phone="123", sworn=False)),
    ("emergency", D.Emergency(nature=D.EMERGENCY_NATURE_DISASTER, summary="s",
                              person_in_danger="p", necessity="n", on_letterhead=True)),
    ("data_requests", [D.DataRequest(category=D.DATA_CATEGORY_LOGIN, justification="j",
                                     start_time=stamp(-1), end_time=stamp(2))]),
    ("data_requests", [D.DataRequest(category=D.DATA_CATEGORY_LOGIN, justification="j",
                                     start_time=stamp(-1), end_time=stamp(-2))]),
])
def test_an_emergency_request_that_lacks_something(client, field, value):
    message = emergency_request()
    message.ClearField(field)
    if isinstance(value, list):
        getattr(message, field).extend(value)
    elif isinstance(value, int):
        setattr(message, field, value)
    elif value is not None:
        getattr(message, field).CopyFrom(value)
    refusal = refused(client("police").disclosures.SubmitDisclosureRequest,
                      S.SubmitDisclosureRequestRequest(
                          request_id=request_id(), disclosure_request=message))
    assert refusal.code is BAD
    assert any(field in each for each in refusal.fields), refusal


def test_a_scope_wider_than_the_request(client):
    police, erin = client("police"), client("erin")
    filed = police.disclosures.SubmitDisclosureRequest(filing(data_requests=[data_request()]))
    for method in (D.VERIFICATION_METHOD_AGENCY_REGISTRY, D.VERIFICATION_METHOD_CALL_BACK):
        erin.disclosures.AddVerification(S.AddVerificationRequest(
            request_id=request_id(), name=filed.name, verification=verification(method)))
    for wrong in [scope(category=D.DATA_CATEGORY_CONTENT),
                  scope(items=[D.ScopeItem(subject_index=3, category=D.DATA_CATEGORY_LOGIN,
                                           start_time=stamp(-3), end_time=stamp(-2))]),
                  scope(items=[D.ScopeItem(subject_index=0, category=D.DATA_CATEGORY_LOGIN,
                                           start_time=stamp(-30), end_time=stamp(-2))]),
                  scope(items=[]), scope(good_faith_finding="")]:
        assert refused(erin.disclosures.SetScope, S.SetScopeRequest(
            request_id=request_id(), name=filed.name, scope=wrong)).code is BAD


def test_a_disclosure_step_out_of_turn(client):
    filed = client("police").disclosures.SubmitDisclosureRequest(filing())
    early = refused(client("erin").disclosures.SetScope, S.SetScopeRequest(
        request_id=request_id(), name=filed.name, scope=scope()))
    assert early.code is grpc.StatusCode.FAILED_PRECONDITION
    assert {"from", "to", "allowed"} <= set(early.info.metadata)


# Below the level of gRPC: bytes on a TLS connection of our own.

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def frame(kind, flags=0, stream=0, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(
        ">I", stream) + payload


@pytest.fixture
def tls(server, certs):
    """A raw HTTP/2 connection as Ana."""
    context = ssl.create_default_context(cafile=certs / "ca.crt")
    context.load_cert_chain(certs / "ana.crt", certs / "ana.key")
    context.set_alpn_protocols(["h2"])
    host, port = server.address.split(":")
    with socket.create_connection((host, int(port)), timeout=10) as plain:
        with context.wrap_socket(plain, server_hostname=host) as connection:
            yield connection


def frames(connection):
    """Frames that the peer sends until it closes: (kind, flags, stream, payload)."""
    buffer = b""
    while True:
        while len(buffer) >= 9 and len(buffer) >= 9 + int.from_bytes(buffer[:3], "big"):
            size = int.from_bytes(buffer[:3], "big")
            yield (buffer[3], buffer[4], int.from_bytes(buffer[5:9], "big"), buffer[9:9 + size])
            buffer = buffer[9 + size:]
        try:
            piece = connection.recv(65_536)
        except (ConnectionResetError, ssl.SSLError):
            return
        if not piece:
            return
        buffer += piece


@pytest.mark.parametrize("wrong", [
    frame(0x0, stream=1, payload=b"x"), frame(0x6, payload=b"short"),
    frame(0x4, payload=b"\x00\x05\x00\x00\x00\x01"), frame(0x1, 0x5, 0, b"\x82"),
    frame(0x1, 0x5, 1, b"\xff\xff\xff\xff\xff\xff"), frame(0x9, 0x4, 1, b"x"),
    b"\xff\xff\xff" + frame(0x0, stream=1)[3:], frame(0x8, payload=b"\x00\x00\x00\x00"),
], ids=["DATA on an idle stream", "PING of 5 bytes", "a frame size out of range",
        "HEADERS on stream 0", "HPACK garbage", "CONTINUATION alone", "a frame of 16 MiB",
        "WINDOW_UPDATE of 0"])
def test_a_broken_frame_ends_the_connection_with_goaway(tls, wrong):
    tls.sendall(PREFACE + frame(0x4) + wrong)
    seen = list(frames(tls))
    assert any(kind == 0x7 and payload[4:8] != b"\0\0\0\0" for kind, _, _, payload in seen), seen


def test_a_preface_that_is_none_ends_the_connection(tls):
    tls.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    # SETTINGS, WINDOW_UPDATE and GOAWAY at most: it was already on its way, or says goodbye.
    assert all(kind in (0x4, 0x7, 0x8) for kind, *_ in frames(tls))


def literal(name, value):
    """One header field, literal without indexing, no Huffman code."""
    return b"\x00" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode()


def answer(connection, *extra, content_type="application/grpc"):
    """The header block that answers a request without a body, with these further fields."""
    block = b"".join(literal(name, value) for name, value in [
        (":method", "POST"), (":scheme", "https"), (":path", SUBMIT), (":authority", "localhost"),
        ("content-type", content_type), ("te", "trailers"), *extra])
    connection.sendall(PREFACE + frame(0x4) + frame(0x1, 0x5, 1, block))
    for kind, _, stream, payload in frames(connection):
        if kind == 0x1 and stream == 1:
            return payload
    raise AssertionError("no answer")


@pytest.mark.parametrize("content_type", ["text/html", "application/grpcx"])
def test_a_wrong_content_type_is_415(tls, content_type):
    payload = answer(tls, content_type=content_type)
    # 415 is not in HPACK's static table: it is there as text, plain or in Huffman code.
    assert b"415" in payload or b"\x68\x2d\xff" in payload


@pytest.mark.parametrize("value", ["1", "123456789S", "1x", "-1S", "S", "1 S"])
def test_a_malformed_timeout_is_refused(tls, value):
    payload = answer(tls, ("grpc-timeout", value))
    assert huffman_or_plain("grpc-timeout must be", payload), payload


# RFC 7541, appendix B: what the words looked for consist of.
HUFFMAN = {"g": (0x26, 6), "r": (0x2c, 6), "p": (0x2b, 6), "c": (0x4, 5), "-": (0x16, 6),
           "t": (0x9, 5), "i": (0x6, 5), "m": (0x29, 6), "e": (0x5, 5), "o": (0x7, 5),
           "u": (0x2d, 6), " ": (0x14, 6), "s": (0x8, 5), "b": (0x23, 6), "%": (0x15, 6)}


def huffman_or_plain(text, payload):
    """Whether a text is in a header block at the beginning of a value."""
    bits = "".join(format(code, f"0{size}b") for code, size in (HUFFMAN[each] for each in text))
    whole = bits[:len(bits) // 8 * 8]
    coded = int(whole, 2).to_bytes(len(whole) // 8, "big")
    return text.encode() in payload or coded in payload
