"""RFC 9113 and RFC 7541, rule by rule, in raw frames; sections are those of RFC 7540, as in h2spec.

Every case runs against our server, and against nghttpd where that is on PATH: what nghttpd does
shows that the cases are right. It is known to fail one.
"""

import shutil
import socket
import subprocess
import time

import pytest
from wire import (
    ACK, CANCEL, COMPRESSION_ERROR, CONTINUATION, DATA, END_HEADERS, END_STREAM,
    FLOW_CONTROL_ERROR, FRAME_SIZE_ERROR, GOAWAY, HAS_PRIORITY, HEADERS, NO_ERROR, PADDED, PING,
    PRIORITY, PROTOCOL_ERROR, PUSH_PROMISE, REFUSED_STREAM, RST_STREAM, SETTINGS, STREAM_CLOSED,
    WINDOW_UPDATE, Conversation, block, data, frame, headers, literal, request, settings, word)

POST = request("POST")
PARTS = [block(POST)[:10], block(POST)[10:]]
# RFC 7541, C.4.1 and C.4.3: www.example.com, custom-key and custom-value in Huffman code.
HOST = bytes.fromhex("f1e3c2e5f23a6ba0ab90f4ff")
KEY, VALUE = bytes.fromhex("25a849e95ba97d7f"), bytes.fromhex("25a849e95bb8e8b4bf")
BASE = bytes([0x82, 0x87, 0x84])  # GET, https, /: indexed
HOSTED = BASE + literal(":authority", "localhost")
CASES = {}


def case(name, **options):
    def keep(body):
        CASES[name] = (body, options)
        return body
    return keep


def answered(name, *frames):
    @case(name)
    def _(talk):
        talk.send(*frames)
        talk.answers()


def alive(name, *frames):
    @case(name)
    def _(talk):
        talk.send(*frames)
        talk.lives()


def connection(name, *frames, codes=(PROTOCOL_ERROR,)):
    @case(name)
    def _(talk):
        talk.send(*frames)
        talk.connection_error(*codes)


def stream(name, *frames, codes=(PROTOCOL_ERROR,)):
    @case(name)
    def _(talk):
        talk.send(*frames)
        talk.stream_error(*codes)


def priority(id=1, depends=0, weight=15, exclusive=False):
    return frame(PRIORITY, stream=id, payload=word(depends | exclusive << 31) + bytes([weight]))


def padded(content, count):
    return bytes([count]) + content + bytes(count)


def settled(name, *frames, codes):
    """Frames for a stream whose answer has come to its end."""
    @case(name)
    def _(talk):
        talk.send(headers())
        talk.answers()
        talk.send(*frames)
        talk.stream_error(*codes)


# Generic: what a server must take.
answered("generic.2.1", priority(1, weight=255), headers())
answered("generic.2.2", headers(), frame(WINDOW_UPDATE, stream=1, payload=word(1)))
answered("generic.2.3", headers(), priority(1, weight=255))
alive("generic.2.4", headers(), frame(RST_STREAM, stream=1, payload=word(CANCEL)))
answered("generic.3.1.1", headers(1, POST, end=False), data(end=True))
answered("generic.3.1.2", headers(1, POST, end=False), data(), data(end=True))
answered("generic.3.1.3", headers(1, POST, end=False),
         data(1, padded(b"x", 5), end=True, flags=PADDED))
answered("generic.3.2.1", headers())
answered("generic.3.2.2", headers(raw=padded(block(request()), 5), flags=PADDED))
answered("generic.3.2.3",
         headers(raw=word(0) + bytes([255]) + block(request()), flags=HAS_PRIORITY))
answered("generic.3.3.1", priority(1, weight=0), headers())
answered("generic.3.3.2", priority(1, weight=255), headers())
answered("generic.3.3.3", priority(1, 3), headers())
answered("generic.3.3.4", priority(1, 3, exclusive=True), headers())
answered("generic.3.3.5", priority(5), headers(1))
alive("generic.3.4.1", headers(1, POST, end=False),
      frame(RST_STREAM, stream=1, payload=word(CANCEL)))
alive("generic.3.5.1", settings((3, 100)))
alive("generic.3.7.1")
answered("generic.3.9.1", frame(WINDOW_UPDATE, payload=word(1)), headers())
answered("generic.3.9.2", headers(1, POST, end=False),
         frame(WINDOW_UPDATE, stream=1, payload=word(1)), data(end=True))
answered("generic.3.10.1", headers(raw=PARTS[0], complete=False),
         frame(CONTINUATION, END_HEADERS, 1, PARTS[1]))
answered("generic.3.10.2", headers(raw=PARTS[0], complete=False),
         frame(CONTINUATION, 0, 1, PARTS[1][:8]),
         frame(CONTINUATION, END_HEADERS, 1, PARTS[1][8:]))
answered("generic.4.1", headers(1, request("GET")))
answered("generic.4.2", headers(1, request("HEAD")))
answered("generic.4.3", headers(1, POST, end=False), data(1, b"test", end=True))
answered("generic.4.4", headers(1, [*POST, ("trailer", "x-test")], end=False), data(1, b"test"),
         headers(1, [("x-test", "ok")]))


@case("generic.2.5")
def priority_on_a_closed_stream(talk):
    talk.send(headers())
    talk.answers()
    talk.send(priority(1))
    talk.lives()


@case("generic.3.8.1")
def goaway_from_the_client(talk):
    talk.send(frame(GOAWAY, payload=word(0) + word(NO_ERROR)))
    talk.send(frame(PING, payload=b"are-you?"))
    # The server may answer or leave; it must not fall over a notice.
    talk.until(lambda kind, flags, *_: kind == PING and flags & ACK)
    assert all(int.from_bytes(body[4:8], "big") == NO_ERROR
               for kind, _, _, body in talk.frames if kind == GOAWAY), talk.story()


# HPACK: every representation.
for number, raw in enumerate([
        # The last is accept-encoding, all of it indexed.
        HOSTED + bytes([0x90]),
        BASE + bytes([0x41, 9]) + b"localhost", BASE + bytes([0x41, 0x8C]) + HOST,
        HOSTED + literal("custom-key", "custom-value", 0x40),
        HOSTED + bytes([0x40, 0x88]) + KEY + bytes([0x89]) + VALUE,
        BASE + bytes([0x01, 9]) + b"localhost", BASE + bytes([0x01, 0x8C]) + HOST,
        HOSTED + literal("custom-key", "custom-value", 0x00),
        HOSTED + bytes([0x00, 0x88]) + KEY + bytes([0x89]) + VALUE,
        BASE + bytes([0x11, 9]) + b"localhost", BASE + bytes([0x11, 0x8C]) + HOST,
        HOSTED + literal("custom-key", "custom-value", 0x10),
        HOSTED + bytes([0x10, 0x88]) + KEY + bytes([0x89]) + VALUE], start=1):
    answered(f"generic.5.{number}", headers(raw=raw))
answered("generic.5.14", headers(raw=b"\x20" + block(request())))
answered("generic.5.15", headers(raw=b"\x20\x3f\xe1\x1f" + block(request())))

# 3.5 to 4.3: preface and frames.
alive("3.5.1")


@case("3.5.2", greet=False)
def invalid_preface(talk):
    talk.send(b"INVALID CONNECTION PREFACE\r\n\r\n")
    talk.connection_error(PROTOCOL_ERROR)
    assert talk.until(lambda *_: False) is None and talk.closed, talk.story()


alive("4.1.1", frame(0xFF, 0, 0, b"12345678"))
alive("4.1.2", frame(PING, 0x16, 0, b"12345678"))
alive("4.1.3", frame(PING, 0, 0x8000_0000, b"12345678"))
answered("4.2.1", headers(1, POST, end=False), data(1, bytes(16_384), end=True))
stream("4.2.2", headers(1, POST, end=False), data(1, bytes(16_385), end=True),
       codes=(FRAME_SIZE_ERROR,))
connection("4.2.3", headers(raw=block(request()) + bytes(16_400)), codes=(FRAME_SIZE_ERROR,))
connection("4.3.1", headers(raw=b"\x44\x03"), codes=(COMPRESSION_ERROR,))
connection("4.3.2", headers(raw=PARTS[0], complete=False), priority(1),
           frame(CONTINUATION, END_HEADERS, 1, PARTS[1]))
connection("4.3.3", headers(raw=PARTS[0], complete=False), headers(3))

# 5.1: states of streams.
connection("5.1.1", data())
connection("5.1.2", frame(RST_STREAM, stream=1, payload=word(CANCEL)))
connection("5.1.3", frame(WINDOW_UPDATE, stream=1, payload=word(100)))
connection("5.1.4", frame(CONTINUATION, END_HEADERS, 1, block(POST)))
stream("5.1.5", headers(), data(end=True), codes=(STREAM_CLOSED,))
stream("5.1.6", headers(), headers(), codes=(STREAM_CLOSED,))
connection("5.1.7", headers(), frame(CONTINUATION, END_HEADERS, 1, block(POST)),
           codes=(STREAM_CLOSED, PROTOCOL_ERROR))
RESET = frame(RST_STREAM, stream=1, payload=word(CANCEL))
stream("5.1.8", headers(1, POST, end=False), RESET, data(end=True), codes=(STREAM_CLOSED,))
stream("5.1.9", headers(1, POST, end=False), RESET, headers(), codes=(STREAM_CLOSED,))
connection("5.1.10", headers(1, POST, end=False), RESET,
           frame(CONTINUATION, END_HEADERS, 1, block(POST)), codes=(STREAM_CLOSED, PROTOCOL_ERROR))
settled("5.1.11", data(end=True), codes=(STREAM_CLOSED,))
settled("5.1.12", headers(), codes=(STREAM_CLOSED,))
settled("5.1.13", frame(CONTINUATION, END_HEADERS, 1, block(POST)),
        codes=(STREAM_CLOSED, PROTOCOL_ERROR))
connection("5.1.1.1", headers(2))
connection("5.1.1.2", headers(5), headers(3))
connection("5.3.1.1", headers(raw=word(1) + bytes([255]) + block(request()), flags=HAS_PRIORITY))
connection("5.3.1.2", priority(2, 2))


@case("5.1.2.1")
def too_many_streams(talk):
    announced = [body for kind, flags, _, body in talk.frames if kind == SETTINGS and not flags]
    limit = next(int.from_bytes(body[at + 2:at + 6], "big") for body in announced
                 for at in range(0, len(body), 6) if body[at:at + 2] == b"\0\3")
    # Not before the server knows that we know its limit.
    talk.lives()
    for index in range(limit + 1):
        talk.send(headers(1 + index * 2, POST, end=False))
    talk.stream_error(PROTOCOL_ERROR, REFUSED_STREAM, stream=1 + limit * 2)


@case("5.4.1.1")
def a_connection_error_closes(talk):
    talk.send(frame(PING, payload=b"123456"))
    talk.connection_error(FRAME_SIZE_ERROR)
    assert talk.until(lambda *_: False) is None and talk.closed, talk.story()


connection("5.4.1.2", frame(PING, payload=b"123456"), codes=(FRAME_SIZE_ERROR,))
alive("5.5.1", frame(0xFF, 0x0F, 0, b"12345678"))
connection("5.5.2", headers(raw=PARTS[0], complete=False), frame(0xFF, 0, 1, b"12345678"),
           frame(CONTINUATION, END_HEADERS, 1, PARTS[1]))

# 6: frames.
connection("6.1.1", frame(DATA, END_STREAM, 0, b"test"))
stream("6.1.2", headers(), data(end=True), codes=(STREAM_CLOSED,))
connection("6.1.3", headers(1, POST, end=False),
           data(1, b"\xffTest", end=True, flags=PADDED))
connection("6.2.1", headers(raw=PARTS[0], complete=False), priority(1))
connection("6.2.2", headers(raw=PARTS[0], complete=False), headers(3))
connection("6.2.3", headers(0))
connection("6.2.4", headers(raw=bytes([200]) + block(request()), flags=PADDED))
connection("6.3.1", priority(0))
stream("6.3.2", headers(1, POST, end=False),
       frame(PRIORITY, stream=1, payload=b"\x80\0\0\1"), codes=(FRAME_SIZE_ERROR,))
connection("6.4.1", frame(RST_STREAM, payload=word(CANCEL)))
connection("6.4.2", frame(RST_STREAM, stream=1, payload=word(CANCEL)))
connection("6.4.3", headers(1, POST, end=False), frame(RST_STREAM, stream=1, payload=b"\0\0\0"),
           codes=(FRAME_SIZE_ERROR,))
connection("6.5.1", frame(SETTINGS, ACK, 0, b"\0"), codes=(FRAME_SIZE_ERROR,))
connection("6.5.2", frame(SETTINGS, 0, 1, b"\0\3\0\0\0\x64"))
connection("6.5.3", frame(SETTINGS, 0, 0, b"\0\3\0"), codes=(FRAME_SIZE_ERROR,))
connection("6.5.2.1", settings((2, 2)))
connection("6.5.2.2", settings((4, 0x8000_0000)), codes=(FLOW_CONTROL_ERROR,))
connection("6.5.2.3", settings((5, 16_383)))
connection("6.5.2.4", settings((5, 16_777_216)))
alive("6.5.2.5", settings((0xFF, 1)))
alive("6.7.1")
connection("6.7.3", frame(PING, 0, 1, b"12345678"))
connection("6.7.4", frame(PING, 0, 0, b"12345"), codes=(FRAME_SIZE_ERROR,))
connection("6.8.1", frame(GOAWAY, 0, 1, word(0) + word(NO_ERROR)))
connection("6.9.1", frame(WINDOW_UPDATE, payload=word(0)))
stream("6.9.2", headers(1, POST, end=False), frame(WINDOW_UPDATE, stream=1, payload=word(0)))
connection("6.9.3", frame(WINDOW_UPDATE, payload=b"\0\0\1"), codes=(FRAME_SIZE_ERROR,))
connection("6.9.1.2", frame(WINDOW_UPDATE, payload=word(0x7FFF_FFFF)) * 2,
           codes=(FLOW_CONTROL_ERROR,))
stream("6.9.1.3", headers(1, POST, end=False),
       frame(WINDOW_UPDATE, stream=1, payload=word(0x7FFF_FFFF)) * 2, codes=(FLOW_CONTROL_ERROR,))
connection("6.9.2.3", settings((4, 0x8000_0000)), codes=(FLOW_CONTROL_ERROR,))


@case("6.5.3.1", entries=[(4, 100)])
def the_last_window_counts(talk):
    talk.send(settings((4, 2), (4, 1)), headers())
    found = talk.until(lambda kind, _, id, body: kind == DATA and id == 1)
    assert found and len(found[3]) == 1, talk.story()


@case("6.5.3.2")
def settings_are_acknowledged(talk):
    talk.until(lambda kind, flags, *_: kind == SETTINGS and flags & ACK)
    talk.send(settings((3, 100)))
    assert talk.until(lambda kind, flags, *_: kind == SETTINGS and flags & ACK), talk.story()


@case("6.7.2")
def a_ping_answer_is_not_answered(talk):
    talk.send(frame(PING, ACK, 0, b"invalid!"))
    talk.lives()
    assert not any(kind == PING and body == b"invalid!" for kind, _, _, body in talk.frames)


@case("6.9.1.1", entries=[(4, 1)])
def a_window_of_one(talk):
    talk.send(headers())
    found = talk.until(lambda kind, _, id, body: kind == DATA and id == 1)
    assert found and len(found[3]) == 1, talk.story()


@case("6.9.2.1", entries=[(4, 0)])
def a_window_that_opens_later(talk):
    talk.send(headers())
    assert talk.until(lambda kind, _, id, body: kind == HEADERS and id == 1), talk.story()
    talk.lives()
    assert not any(kind == DATA for kind, *_ in talk.frames), talk.story()
    talk.send(settings((4, 1)))
    found = talk.until(lambda kind, _, id, body: kind == DATA and id == 1)
    assert found and len(found[3]) == 1, talk.story()


@case("6.9.2.2", entries=[(4, 3)])
def a_window_below_zero(talk):
    talk.send(headers())
    found = talk.until(lambda kind, _, id, body: kind == DATA and id == 1)
    assert found and len(found[3]) == 3, talk.story()
    talk.send(settings((4, 2)), frame(WINDOW_UPDATE, stream=1, payload=word(2)))
    found = talk.until(lambda kind, _, id, body: kind == DATA and id == 1)
    assert found and len(found[3]) == 1, talk.story()


answered("6.10.1", headers(raw=PARTS[0], complete=False), frame(CONTINUATION, 0, 1, b""),
         frame(CONTINUATION, END_HEADERS, 1, PARTS[1]))
connection("6.10.2", headers(raw=PARTS[0], complete=False),
           frame(CONTINUATION, 0, 1, PARTS[1]), data(end=True))
connection("6.10.3", headers(raw=PARTS[0], complete=False),
           frame(CONTINUATION, END_HEADERS, 0, PARTS[1]))
connection("6.10.4", headers(1, POST, end=False), frame(CONTINUATION, END_HEADERS, 1, b""))
connection("6.10.5", headers(raw=PARTS[0], complete=False, end=False),
           frame(CONTINUATION, END_HEADERS, 1, PARTS[1]), frame(CONTINUATION, END_HEADERS, 1, b""))
connection("6.10.6", headers(1, POST, end=False), data(),
           frame(CONTINUATION, END_HEADERS, 1, block([("x-a", "1")])))

# 7 and 8: codes and messages.
alive("7.2", headers(1, POST, end=False), frame(RST_STREAM, stream=1, payload=word(0xFF)))


@case("7.1")
def goaway_with_an_unknown_code(talk):
    talk.send(frame(GOAWAY, payload=word(0) + word(0xFF)))
    talk.send(frame(PING, payload=b"are-you?"))
    talk.until(lambda kind, flags, *_: kind == PING and flags & ACK)
    assert all(int.from_bytes(body[4:8], "big") == NO_ERROR
               for kind, _, _, body in talk.frames if kind == GOAWAY), talk.story()


stream("8.1.1", headers(1, POST, end=False), headers(1, [("x-test", "ok")], end=False))
for name, fields in {
        "8.1.2.1": request("GET", ("X-TEST", "ok")),
        "8.1.2.1.1": request("GET", (":test", "ok")),
        "8.1.2.1.2": request("GET", (":status", "200")),
        "8.1.2.1.4": [("x-test", "ok"), *request()],
        "8.1.2.2.1": request("GET", ("connection", "keep-alive")),
        "8.1.2.2.2": request("GET", ("te", "trailers, deflate")),
        "8.1.2.3.1": request(path=""),
        "8.1.2.3.2": request(drop=[":method"]),
        "8.1.2.3.3": request(drop=[":scheme"]),
        "8.1.2.3.4": request(drop=[":path"]),
        "8.1.2.3.5": [(":method", "GET"), *request()],
        "8.1.2.3.6": [(":scheme", "https"), *request()],
        "8.1.2.3.7": [(":path", "/"), *request()]}.items():
    stream(name, headers(1, fields))
stream("8.1.2.1.3", headers(1, POST, end=False), data(), headers(1, [(":method", "POST")]))
stream("8.1.2.6.1", headers(1, request("POST", ("content-length", "1")), end=False),
       data(1, b"test", end=True))
stream("8.1.2.6.2", headers(1, request("POST", ("content-length", "1")), end=False),
       data(1, b"test"), data(1, b"test", end=True))
connection("8.2.1", frame(PUSH_PROMISE, END_HEADERS, 1, word(3) + block(request())))

# RFC 7541.
connection("hpack.2.3.3.1", headers(raw=block(request()) + b"\xc6"), codes=(COMPRESSION_ERROR,))
connection("hpack.2.3.3.2", headers(raw=block(request()) + b"\x7f\x05\x01x"),
           codes=(COMPRESSION_ERROR,))
connection("hpack.4.2.1", headers(raw=block(request()) + b"\x20"), codes=(COMPRESSION_ERROR,))
connection("hpack.5.2.1", headers(raw=block(request()) + b"\x00\x85\xf2\xb2\x4a\x84\xff\x84"
                                  b"\x49\x50\x9f\xff"), codes=(COMPRESSION_ERROR,))
connection("hpack.5.2.2", headers(raw=block(request()) + b"\x00\x85\xf2\xb2\x4a\x87\xff\x83"
                                  b"\x49\x50\x90"), codes=(COMPRESSION_ERROR,))
connection("hpack.5.2.3", headers(raw=block(request()) + b"\x00\x87\xf2\xb2\x4b\xff\xff\xff\xff"
                                  b"\x83\x49\x50\x9f"), codes=(COMPRESSION_ERROR,))
connection("hpack.6.1.1", headers(raw=block(request()) + b"\x80"), codes=(COMPRESSION_ERROR,))
connection("hpack.6.3.1", headers(raw=b"\x3f\xe1\xff\x03" + block(request())),
           codes=(COMPRESSION_ERROR,))


def run(name, port):
    body, options = CASES[name]
    with Conversation(port, **options) as talk:
        body(talk)


@pytest.mark.parametrize("name", CASES)
def test_triage_server(triage_server, name):
    run(name, triage_server.port)


NGHTTPD = shutil.which("nghttpd")
# It takes a stream identifier below one that it has seen. Ours does not.
NGHTTPD_FAILS = {"5.1.1.2"}


@pytest.fixture(scope="module")
def nghttpd(certs, tmp_path_factory):
    if NGHTTPD is None:
        pytest.skip("no nghttpd on PATH")
    pages = tmp_path_factory.mktemp("pages")
    (pages / "index.html").write_text("a page of some length, for windows to matter\n")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [NGHTTPD, "-a", "127.0.0.1", "-d", pages, str(port), certs / "server.key",
         certs / "server.crt"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    for _ in range(500):
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            break
        except OSError:
            assert process.poll() is None, "nghttpd ended"
            time.sleep(0.02)
    yield port
    process.terminate()
    process.wait(10)


@pytest.mark.parametrize("name", CASES)
def test_nghttpd(nghttpd, name):
    if name in NGHTTPD_FAILS:
        with pytest.raises(AssertionError):
            run(name, nghttpd)
    else:
        run(name, nghttpd)
