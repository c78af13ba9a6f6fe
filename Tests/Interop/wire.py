"""A client that writes HTTP/2 frame by frame over TLS: conversations that no library would hold.

Knows as much of HPACK as it needs to send literals, and leaves header blocks that come unread.
"""

import socket
import ssl
import struct
import time

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, \
    CONTINUATION = range(10)
END_STREAM, ACK, END_HEADERS, PADDED, HAS_PRIORITY = 1, 1, 4, 8, 32
NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, FLOW_CONTROL_ERROR, SETTINGS_TIMEOUT, STREAM_CLOSED, \
    FRAME_SIZE_ERROR, REFUSED_STREAM, CANCEL, COMPRESSION_ERROR = range(10)
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SECONDS = 5


def frame(kind, flags=0, stream=0, payload=b"", length=None):
    count = len(payload) if length is None else length
    return struct.pack(">I", count)[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def literal(name, value, kind=0):
    """A literal field with a new name; both shorter than 127 bytes."""
    name, value = (each if isinstance(each, bytes) else each.encode() for each in (name, value))
    assert len(name) < 127 and len(value) < 127
    return bytes([kind, len(name)]) + name + bytes([len(value)]) + value


def block(fields):
    return b"".join(literal(name, value) for name, value in fields)


def request(method="GET", *more, drop=(), path="/"):
    fields = [(":method", method), (":scheme", "https"), (":path", path),
              (":authority", "localhost")]
    return [each for each in fields if each[0] not in drop] + list(more)


def headers(stream=1, fields=None, end=True, complete=True, raw=None, flags=0):
    payload = raw if raw is not None else block(request() if fields is None else fields)
    flags |= (END_STREAM if end else 0) | (END_HEADERS if complete else 0)
    return frame(HEADERS, flags, stream, payload)


def data(stream=1, body=b"x", end=False, flags=0):
    return frame(DATA, flags | (END_STREAM if end else 0), stream, body)


def settings(*entries):
    return frame(SETTINGS, payload=b"".join(struct.pack(">HI", *each) for each in entries))


def word(value):
    return struct.pack(">I", value)


class Conversation:
    """One connection; `greet` exchanges prefaces and SETTINGS first."""

    def __init__(self, port, greet=True, entries=()):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.set_alpn_protocols(["h2"])
        self.socket = context.wrap_socket(
            socket.create_connection(("127.0.0.1", port), timeout=SECONDS),
            server_hostname="localhost")
        self.buffer, self.frames, self.closed, self.read = b"", [], False, 0
        if greet:
            self.send(PREFACE + settings(*entries))
            self.until(lambda kind, flags, *_: kind == SETTINGS and not flags & ACK)
            self.send(frame(SETTINGS, ACK))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, *frames):
        try:
            self.socket.sendall(b"".join(frames))
        except OSError:
            self.closed = True

    def next(self, deadline):
        """The next frame: kind, flags, stream, payload; None when there is none any more."""
        while True:
            if len(self.buffer) >= 9:
                count = int.from_bytes(self.buffer[:3], "big")
                if len(self.buffer) >= 9 + count:
                    head, payload = self.buffer[:9], self.buffer[9:9 + count]
                    self.buffer = self.buffer[9 + count:]
                    found = (head[3], head[4], int.from_bytes(head[5:9], "big") & 0x7FFF_FFFF,
                             payload)
                    self.frames.append(found)
                    return found
            if self.closed:
                return None
            self.socket.settimeout(max(0.01, deadline - time.monotonic()))
            try:
                piece = self.socket.recv(65_536)
            except socket.timeout:
                return None
            except OSError:
                piece = b""
            self.closed = self.closed or not piece
            self.buffer += piece

    def until(self, wanted):
        """Reads until a frame is wanted; None when it did not come."""
        deadline = time.monotonic() + SECONDS
        while (found := self.next(deadline)) is not None:
            if wanted(*found):
                return found
        return None

    # What a server may do. Each reads until it is decided.

    def answers(self, stream=1):
        """A response to its end."""
        assert self.until(lambda kind, flags, id, _: id == stream and kind in (HEADERS, DATA)
                          and flags & END_STREAM), self.story()

    def lives(self):
        """The connection goes on: a PING is answered, and no GOAWAY came."""
        self.send(frame(PING, payload=b"are-you?"))
        assert self.until(lambda kind, flags, id, body: kind == PING and flags & ACK
                          and body == b"are-you?"), self.story()
        assert not any(kind == GOAWAY for kind, *_ in self.frames), self.story()

    def connection_error(self, *codes):
        found = self.until(lambda kind, *_: kind == GOAWAY)
        assert found or self.closed, self.story()
        if found:
            assert int.from_bytes(found[3][4:8], "big") in codes, self.story()

    def stream_error(self, *codes, stream=1):
        found = self.until(lambda kind, _, id, body: kind == GOAWAY
                           or kind == RST_STREAM and id == stream)
        assert found or self.closed, self.story()
        if found:
            code = found[3][4:8] if found[0] == GOAWAY else found[3]
            assert int.from_bytes(code, "big") in codes, self.story()

    def story(self):
        return [(kind, flags, stream, payload[:16].hex())
                for kind, flags, stream, payload in self.frames] + [("closed", self.closed)]
