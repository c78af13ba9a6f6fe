"""Runs the real triaged in a directory of its own, and calls it as a stock gRPC client."""

import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
import uuid

import grpc
import stubs

ROOT = stubs.ROOT
BIN = pathlib.Path(os.environ.get("TRIAGED_BIN", ROOT / ".build" / "debug"))
START_SECONDS = 60
CALL_SECONDS = 60


def request_id():
    return str(uuid.uuid4())


def free_port(above=0):
    """A loopback port below the ephemeral range, so that no client socket takes it meanwhile.

    `above` keeps it apart from the admin ports, each of which is the first that is free.
    """
    for port in range(20_000 + os.getpid() % 10_000 + above, 32_768):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue
    raise RuntimeError("no free port")


def key_file(path):
    """Makes a key-encryption key; returns its path as a word of a command line."""
    subprocess.run([BIN / "triaged", "keys", "generate", path], check=True, capture_output=True)
    return str(path)


def await_true(condition, seconds=60, what="condition"):
    """Polls something that another process does, which nothing here can wait for otherwise."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError(f"{what} did not come about in {seconds} s")


class Failed(AssertionError):
    """The server did not start; `text` is what it said."""

    def __init__(self, code, text):
        super().__init__(f"triaged ended with {code}: {text}")
        self.code, self.text = code, text


class Server:
    """One triaged and its directory; survives restarts of the process."""

    def __init__(self, directory, certs, policy=None, config=None, extra=(), program=None,
                 data=None, environment=None, user=None):
        self.directory, self.certs = pathlib.Path(directory), pathlib.Path(certs)
        self.directory.mkdir(parents=True, exist_ok=True)
        self.data = pathlib.Path(data) if data else self.directory / "data"
        self.environment, self.user = dict(os.environ, **(environment or {})), user
        self.policy = self.directory / "policy.yaml"
        shutil.copy(policy or ROOT / "Deploy" / "policy" / "policy.yaml", self.policy)
        self.crl = self.certs / "crl.pem"
        self.cert, self.key = self.certs / "server.crt", self.certs / "server.key"
        self.config, self.extra = config, list(extra)
        self.program = program or BIN / "triaged"
        self.process, self.address, self.admin = None, None, None
        self.log = self.directory / "triaged.log"
        self.recovery_seconds = None

    def arguments(self, listen="127.0.0.1:0"):
        self.admin = f"127.0.0.1:{free_port()}"
        values = {
            "--data": self.data, "--listen": listen, "--admin": self.admin, "--cert": self.cert,
            "--key": self.key, "--client-ca": self.certs / "ca.crt", "--crl": self.crl,
            "--policy": self.policy,
        }
        if self.config:
            values["--config"] = self.config
        words = [str(word) for pair in values.items() for word in pair]
        return [str(self.program), "serve", *words, *self.extra]

    def start(self, listen="127.0.0.1:0"):
        began = time.monotonic()
        self.data.mkdir(parents=True, exist_ok=True)
        with open(self.log, "ab") as log:
            log.write(b"---- start\n")
            log.flush()
            self.process = subprocess.Popen(
                self.arguments(listen), stdout=subprocess.PIPE, stderr=log,
                stdin=subprocess.DEVNULL, start_new_session=True, env=self.environment,
                user=self.user)
        alarm = threading.Timer(START_SECONDS, self.process.kill)
        alarm.start()
        line = self.process.stdout.readline().decode()
        alarm.cancel()
        match = re.fullmatch(r"listening (\S+):(\d+)\n", line)
        if not match:
            self.process.kill()
            code = self.process.wait()
            self.process = None
            raise Failed(code, line + self.said().split("---- start\n")[-1])
        self.recovery_seconds = time.monotonic() - began
        self.address = f"127.0.0.1:{match[2]}"
        return self

    def signal(self, number):
        self.process.send_signal(number)

    def kill(self):
        """kill -9."""
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        self.process = None

    def stop(self, seconds=30):
        """SIGTERM, and its exit code."""
        if self.process is None:
            return None
        self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"SIGTERM did not end triaged in {seconds} s") from None
        self.process.stdout.close()
        self.process = None
        return code

    def said(self):
        return self.log.read_text(errors="replace")

    def admin_get(self, path):
        """Status and body of a page of the admin port."""
        host, port = self.admin.split(":")
        for _ in range(30):
            with socket.create_connection((host, int(port)), timeout=10) as connection:
                connection.sendall(
                    f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
                reply = b""
                while piece := connection.recv(65_536):
                    reply += piece
            # A busy machine's page may lack what a reactor has not told in time.
            if path != "/metrics" or b"triaged_connections" in reply:
                break
        head, _, body = reply.partition(b"\r\n\r\n")
        return int(head.split()[1]), body.decode()

    def client(self, identity, **options):
        return Client(self.address, self.certs, identity, **options)


class _Recorder(grpc.UnaryUnaryClientInterceptor, grpc.UnaryStreamClientInterceptor,
                grpc.StreamUnaryClientInterceptor):
    """Notes which methods were called, and gives each call a deadline if it has none."""

    def __init__(self, called):
        self.called = called

    def _call(self, proceed, details, request):
        self.called.add(details.method)
        if details.timeout is None:
            details = details._replace(timeout=CALL_SECONDS)
        return proceed(details, request)

    intercept_unary_unary = intercept_unary_stream = intercept_stream_unary = _call


class Client:
    """Stock stubs over mutual TLS, as one identity of Certs/mint; None presents no certificate."""

    called = set()

    def __init__(self, address, certs, identity, authority=None, options=()):
        certs = pathlib.Path(certs)
        key, chain = None, None
        if identity:
            key = (certs / f"{identity}.key").read_bytes()
            chain = (certs / f"{identity}.crt").read_bytes()
        credentials = grpc.ssl_channel_credentials(
            (authority or certs / "ca.crt").read_bytes(), key, chain)
        # A pool of its own: otherwise channels with the same arguments share one connection.
        self.raw = grpc.secure_channel(address, credentials, options=list({
            "grpc.use_local_subchannel_pool": 1, "grpc.enable_retries": 0,
            "grpc.initial_reconnect_backoff_ms": 50, "grpc.max_reconnect_backoff_ms": 200,
            **dict(options)}.items()))
        channel = grpc.intercept_channel(self.raw, _Recorder(self.called))
        self.triage = stubs.triage_grpc.TriageServiceStub(channel)
        self.assignments = stubs.assignment_grpc.AssignmentServiceStub(channel)
        self.disclosures = stubs.disclosures_grpc.DisclosureServiceStub(channel)
        self.evidence = stubs.evidences_grpc.EvidenceServiceStub(channel)
        self.audit = stubs.audits_grpc.AuditServiceStub(channel)
        self.operations = stubs.operations_grpc.OperationsServiceStub(channel)
        self.health = stubs.health_grpc.HealthStub(channel)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.raw.close()

    def call_bytes(self, method, body, **options):
        """Calls a method with raw bytes; returns raw bytes."""
        options.setdefault("timeout", CALL_SECONDS)
        return self.raw.unary_unary(method)(body, **options)


class Refusal:
    """What a failed call said: code, text, ErrorInfo and field violations."""

    def __init__(self, error):
        self.code, self.text = error.code(), error.details()
        trailers = dict(error.trailing_metadata() or ())
        encoded = trailers.get("grpc-status-details-bin", b"")
        self.status = stubs.status.Status.FromString(encoded)
        self.info, self.fields, self.retry = None, {}, None
        for detail in self.status.details:
            kind = detail.type_url.rsplit(".", 1)[-1]
            if kind == "ErrorInfo":
                self.info = stubs.error_details.ErrorInfo.FromString(detail.value)
            elif kind == "BadRequest":
                bad = stubs.error_details.BadRequest.FromString(detail.value)
                self.fields = {each.field: each.description for each in bad.field_violations}
            elif kind == "RetryInfo":
                self.retry = stubs.error_details.RetryInfo.FromString(detail.value)

    @property
    def reason(self):
        return self.info.reason if self.info else None

    def __repr__(self):
        return f"{self.code} {self.text!r} {self.reason} {self.fields}"


def refused(call, *arguments, **options):
    """Makes a call that must fail; returns its Refusal, after checking what all must have."""
    try:
        result = call(*arguments, **options)
        if hasattr(result, "__iter__") and hasattr(result, "code"):
            for _ in result:
                pass
    except grpc.RpcError as error:
        refusal = Refusal(error)
        assert refusal.code is not grpc.StatusCode.UNKNOWN, refusal
        assert refusal.text, "a refusal says what failed"
        assert refusal.info and re.fullmatch(r"[A-Z][A-Z0-9_]{1,62}", refusal.info.reason), refusal
        assert refusal.status.code == refusal.code.value[0], "details agree with grpc-status"
        return refusal
    raise AssertionError(f"the call was answered: {result}")


def submit_all(intake, messages):
    """Sends submissions as one stream; returns each with its receipt."""
    results = intake.triage.SubmitReports(
        (stubs.triage.SubmitReportsRequest(request_id=each.request_id, report=each.report)
         for each in messages), timeout=300).results
    assert all(each.code == 0 for each in results), results
    return [(each, result.response) for each, result in zip(messages, results, strict=True)]


def triagectl(server, *words, identity=None, check=True, **options):
    """Runs the real triagectl against a server."""
    environment = dict(os.environ, TRIAGED_CERTS=str(server.certs), **options.pop("env", {}))
    command = [str(BIN / "triagectl"), *words, "--server", server.address]
    if identity:
        command += ["--identity", identity]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100,
                          stdin=subprocess.DEVNULL, **options)
    if check:
        assert done.returncode == 0, f"{command} ended with {done.returncode}: {done.stderr}"
    return done
