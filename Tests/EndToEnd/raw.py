"""HTTP/2 over mutual TLS by hand: for what a gRPC library hides or forgives."""

import socket
import ssl
import struct

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SETTINGS, PING, GOAWAY = 4, 6, 7
ACK = 1


def frame(kind, flags=0, stream=0, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes((kind, flags)) + struct.pack(
        ">I", stream) + payload


def tls_context(certs, identity, session_tickets=True):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(certs / "ca.crt")
    if identity:
        context.load_cert_chain(certs / f"{identity}.crt", certs / f"{identity}.key")
    context.set_alpn_protocols(["h2"])
    return context


class Connection:
    """One connection that has exchanged SETTINGS with the server."""

    def __init__(self, address, certs, identity, context=None, session=None, seconds=10):
        host, port = address.rsplit(":", 1)
        plain = socket.create_connection((host, int(port)), timeout=seconds)
        context = context or tls_context(certs, identity)
        try:
            self.tls = context.wrap_socket(plain, server_hostname="localhost", session=session)
        except BaseException:
            plain.close()
            raise
        self.buffer = b""
        self.send(PREFACE + frame(SETTINGS))
        self.settings = self.await_frame(SETTINGS)
        self.send(frame(SETTINGS, ACK))

    def send(self, data):
        self.tls.sendall(data)

    def next_frame(self):
        """(kind, flags, stream, payload), or None when the server has closed."""
        while True:
            if len(self.buffer) >= 9:
                size = int.from_bytes(self.buffer[:3], "big")
                if len(self.buffer) >= 9 + size:
                    head, payload = self.buffer[:9], self.buffer[9:9 + size]
                    self.buffer = self.buffer[9 + size:]
                    return head[3], head[4], int.from_bytes(head[5:9], "big"), payload
            try:
                data = self.tls.recv(65536)
            except ConnectionError:
                return None
            if not data:
                return None
            self.buffer += data

    def await_frame(self, kind, flags=None):
        while True:
            got = self.next_frame()
            assert got is not None, f"closed before a frame of type {kind}"
            if got[0] == kind and (flags is None or got[1] == flags):
                return got

    def close(self):
        self.tls.close()
