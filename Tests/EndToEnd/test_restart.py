"""Restarts that refuse nobody: with a service manager that holds the socket, and without one."""

import os
import re
import shutil
import signal
import socket
import subprocess
import threading
import time

import grpc
import pytest
import stubs
from builders import submission
from harness import BIN, await_true

T = stubs.triage


class Crowd:
    """Connects to an address and calls its server, without pause, until the end."""

    def __init__(self, server, address, callers=4):
        self.server, self.address, self.callers = server, address, callers
        self.stop, self.refused, self.failures = threading.Event(), [], []
        self.connects, self.calls = [], []

    def __enter__(self):
        self.workers = [threading.Thread(target=self.knock)]
        self.workers += [threading.Thread(target=self.call) for _ in range(self.callers)]
        for each in self.workers:
            each.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        for each in self.workers:
            each.join()

    def knock(self):
        while not self.stop.is_set():
            try:
                socket.create_connection(self.address, timeout=20).close()
                self.connects.append(1)
            except OSError as error:
                self.refused.append(error)
            time.sleep(0.002)

    def call(self):
        # As documented for intake: wait for the server, and repeat with the same request id.
        with self.server.client("classifier", options=[("grpc.enable_retries", 1)]) as intake:
            while not self.stop.is_set():
                message = submission()
                while True:
                    try:
                        intake.triage.SubmitReport(message, wait_for_ready=True, timeout=20)
                        self.calls.append(1)
                        break
                    except grpc.RpcError as error:
                        self.failures.append(error)
                        if error.code() is not grpc.StatusCode.UNAVAILABLE:
                            return

    def await_calls(self):
        before = len(self.calls)
        await_true(lambda: len(self.calls) > before + 50, 20, "load")

    def check(self):
        assert not self.refused and self.connects
        assert not self.failures, self.failures[0]


def crc32c(data):
    crc = 0xFFFF_FFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F6_3B78 if crc & 1 else 0)
    return crc ^ 0xFFFF_FFFF


# --- without a service manager


def hand_over(server, doors=1):
    """SIGUSR2, and what the successor says once it serves: its addresses, in order."""
    process = server.process.pid
    server.signal(signal.SIGUSR2)
    lines = [server.process.stdout.readline().decode() for _ in range(doors)]
    assert all(line.startswith("listening ") for line in lines), server.said()
    assert server.process.pid == process and server.process.poll() is None
    return [line.split()[-1] for line in lines]


def address(text):
    host, port = text.rsplit(":", 1)
    return host, int(port)


def test_a_hand_over_refuses_no_connection_and_fails_no_call(fresh):
    server = fresh(extra=["--reactors", "2"]).start()
    with Crowd(server, address(server.address)) as crowd:
        for _ in range(3):
            crowd.await_calls()
            assert hand_over(server) == [server.address]
        crowd.await_calls()
    crowd.check()
    assert server.said().count("handing over") == 3
    assert server.stop() == 0


def test_a_watch_does_not_hold_a_hand_over_up_and_resumes_behind_it(fresh):
    server = fresh().start()
    began = time.monotonic()
    hand_over(server)
    without = time.monotonic() - began
    with server.client("dana") as dana, server.client("classifier") as intake:
        intake.triage.SubmitReport(submission())
        watch = dana.triage.WatchBoard(T.WatchBoardRequest(), timeout=60)
        while (part := next(watch)).WhichOneof("change") != "bookmark":
            pass
        began = time.monotonic()
        hand_over(server)
        # Far below the 10 s that a drain may take for a call that is still open.
        assert time.monotonic() - began < without + 5
        with pytest.raises(grpc.RpcError) as failure:
            next(watch)
        assert failure.value.code() is grpc.StatusCode.UNAVAILABLE
        case = intake.triage.SubmitReport(submission(), wait_for_ready=True).case
        again = dana.triage.WatchBoard(
            T.WatchBoardRequest(resume_revision=part.revision), timeout=60)
        assert next(again).case.name == case


def test_the_number_of_reactors_and_doors_may_change(fresh, tmp_path, certs):
    config = tmp_path / "triaged.yaml"

    def configure(reactors, external):
        config.write_text(f"reactors: {reactors}\n" + (
            f"external-listen: 127.0.0.1:0\nexternal-client-ca: {certs / 'ca.crt'}\n"
            f"external-crl: {certs / 'crl.pem'}\n" if external else ""))

    configure(2, True)
    server = fresh(config=config).start()
    door = server.process.stdout.readline().decode().split()[-1]
    with Crowd(server, address(server.address)) as crowd:
        for reactors in (1, 3, 2):
            crowd.await_calls()
            configure(reactors, True)
            assert hand_over(server, 2) == [server.address, door]
        crowd.await_calls()
        configure(2, False)
        assert hand_over(server) == [server.address]
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(address(door))
        crowd.await_calls()
    crowd.check()


def test_whoever_could_not_serve_does_not_take_over(fresh):
    server = fresh().start()
    with server.client("sre") as sre:
        sre.operations.GetStatus(stubs.operations.GetStatusRequest())
        good = server.policy.read_text()
        server.policy.write_text(good + "  - id: [\n")
        server.signal(signal.SIGUSR2)
        await_true(lambda: "not handed over" in server.said(), what="the refusal in the log")
        assert "policy.yaml" in server.said()
        sre.operations.GetStatus(stubs.operations.GetStatusRequest())
        server.policy.write_text(good)
        hand_over(server)
        sre.operations.GetStatus(stubs.operations.GetStatusRequest(), wait_for_ready=True)


def test_a_directory_of_another_version_is_not_handed_over_to(fresh):
    server = fresh().start()
    identity = server.data / "identity"
    good = identity.read_bytes()
    version = int.from_bytes(good[8:12], "little")
    # A program of another version would find this one; checked as Journal/FORMAT.md says.
    other = good[:8] + (version + 1).to_bytes(4, "little") + good[12:]
    identity.write_bytes(other[:12] + crc32c(other[:12] + other[16:]).to_bytes(4, "little")
                         + other[16:])
    server.signal(signal.SIGUSR2)
    await_true(lambda: "not handed over" in server.said(), what="the refusal in the log")
    assert "handing over" not in server.said()
    identity.write_bytes(good)
    hand_over(server)
    assert server.stop() == 0


def test_an_address_that_is_taken_is_not_handed_over_to(fresh, tmp_path, certs):
    config = tmp_path / "triaged.yaml"
    config.write_text("reactors: 1\n")
    server = fresh(config=config).start()
    with socket.create_server(("127.0.0.1", 0)) as other:
        config.write_text(f"external-listen: 127.0.0.1:{other.getsockname()[1]}\n"
                          f"external-client-ca: {certs / 'ca.crt'}\n"
                          f"external-crl: {certs / 'crl.pem'}\n")
        server.signal(signal.SIGUSR2)
        await_true(lambda: "not handed over" in server.said(), what="the refusal in the log")
    assert "in use" in server.said()
    with server.client("sre") as sre:
        sre.operations.GetStatus(stubs.operations.GetStatusRequest())
    assert "handing over" not in server.said()
    hand_over(server, 2)
    assert server.stop() == 0


def test_the_program_on_disk_is_what_takes_over(fresh, tmp_path):
    program = tmp_path / "bin" / "triaged"
    program.parent.mkdir()
    shutil.copy(BIN / "triaged", program)
    server = fresh(program=program).start()
    before = os.stat(f"/proc/{server.process.pid}/exe").st_ino
    shutil.copy(BIN / "triaged", tmp_path / "newer")
    os.rename(tmp_path / "newer", program)
    hand_over(server)
    after = os.stat(f"/proc/{server.process.pid}/exe").st_ino
    assert after != before and after == program.stat().st_ino


def test_a_stop_while_handing_over_is_not_lost(fresh):
    server = fresh().start()
    server.signal(signal.SIGUSR2)
    await_true(lambda: "handing over" in server.said(), what="the hand-over")
    assert server.stop() == 0


# --- the service manager

def activated(server, listener, **environment):
    """Starts a server as systemd does: the listening socket is descriptor 3."""
    words = server.arguments()
    server.data.mkdir(parents=True, exist_ok=True)
    # LISTEN_PID must be the server's: the shell has it, and becomes the server.
    number = listener.fileno()
    close = f"exec {number}<&-; " if number != 3 else ""
    script = f'exec 3<&{number}; {close}LISTEN_PID=$$ LISTEN_FDS=1 exec "$@"'
    with open(server.log, "ab") as log:
        server.process = subprocess.Popen(
            ["bash", "-c", script, "bash", *words], stdout=subprocess.PIPE, stderr=log,
            stdin=subprocess.DEVNULL, pass_fds=[listener.fileno()],
            env={**os.environ, **environment}, start_new_session=True)
    line = server.process.stdout.readline().decode()
    assert line.startswith("listening "), server.said()
    server.address = f"127.0.0.1:{listener.getsockname()[1]}"
    assert line.strip().endswith(str(listener.getsockname()[1]))


def test_a_restart_with_socket_activation_refuses_no_connection(fresh):
    server = fresh()
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listener:
        activated(server, listener)
        with Crowd(server, listener.getsockname()) as crowd:
            for _ in range(2):
                crowd.await_calls()
                assert server.stop() == 0
                activated(server, listener)
            crowd.await_calls()
            # The manager's socket is no hindrance.
            hand_over(server)
            crowd.await_calls()
    crowd.check()


def test_the_service_manager_is_told(fresh, tmp_path):
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager, \
            socket.create_server(("127.0.0.1", 0)) as listener:
        manager.bind(str(path))
        manager.settimeout(20)
        server = fresh()
        activated(server, listener, NOTIFY_SOCKET=str(path), WATCHDOG_USEC="400000")
        assert manager.recv(99) == b"READY=1"
        for _ in range(3):
            assert manager.recv(99) == b"WATCHDOG=1"
        server.signal(signal.SIGHUP)
        while (said := manager.recv(99)) == b"WATCHDOG=1":
            pass
        assert re.fullmatch(rb"RELOADING=1\nMONOTONIC_USEC=\d+", said)
        assert manager.recv(99) == b"READY=1"
        assert server.stop() == 0
        while (said := manager.recv(99)) == b"WATCHDOG=1":
            pass
        assert said == b"STOPPING=1"


@pytest.mark.parametrize("manager", [False, True])
def test_programs_that_are_asked_for_keys_get_no_socket(fresh, tmp_path, manager):
    store, seen, kek = tmp_path / "store", tmp_path / "seen", tmp_path / "kek"
    kek.write_text("ab" * 32)
    store.write_text(f"#!/bin/sh\nls -l /proc/$$/fd >>{seen}\nexec cat {kek}\n")
    store.chmod(0o700)
    server = fresh(extra=["--key-command", str(store)])
    with socket.create_server(("127.0.0.1", 0)) as listener:
        if manager:
            activated(server, listener)
        else:
            server.start()
        for _ in range(2):
            hand_over(server)
        assert server.stop() == 0
    said = seen.read_text()
    assert said.count("total") == 5, "two rehearsals and three starts"
    assert "socket:" not in said


def test_the_watchdog_hears_of_a_successor_that_takes_its_time(fresh, tmp_path):
    """It has the manager's socket, and none that was left to it."""
    store, slow, kek = tmp_path / "store", tmp_path / "slow", tmp_path / "kek"
    kek.write_text("ab" * 32)
    # The rehearsal is told something, and a start is not.
    store.write_text(f'#!/bin/sh\nif [ -e {slow} -a -z "$TRIAGED_REHEARSAL" ]\n'
                     f"then sleep 3\nfi\nexec cat {kek}\n")
    store.chmod(0o700)
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager, \
            socket.create_server(("127.0.0.1", 0)) as listener:
        manager.bind(str(path))
        manager.settimeout(30)
        server = fresh(extra=["--key-command", str(store)])
        activated(server, listener, NOTIFY_SOCKET=str(path), WATCHDOG_USEC="1000000")
        assert manager.recv(99) == b"READY=1"
        slow.touch()
        server.signal(signal.SIGUSR2)
        while (said := manager.recv(99)) == b"WATCHDOG=1":
            pass
        assert said.startswith(b"RELOADING=1")
        count = 0
        while (said := manager.recv(99)) == b"WATCHDOG=1":
            count += 1
        assert said == b"READY=1"
        # Of the three seconds; one or two are of the drain, and of the program's start.
        assert count >= 4
        assert server.stop() == 0


def test_a_key_store_that_hangs_holds_nothing_up(fresh, tmp_path):
    key = tmp_path / "kek"
    key.write_text("ab" * 32)
    key.chmod(0o600)
    # It answers once.
    store, nobody = tmp_path / "store", tmp_path / "nobody"
    store.write_text(f"#!/bin/sh\nif mv {key} {key}.told 2>/dev/null\nthen cat {key}.told\n"
                     f"else exec cat {nobody}\nfi\n")
    store.chmod(0o700)
    os.mkfifo(nobody)
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager, \
            socket.create_server(("127.0.0.1", 0)) as listener:
        manager.bind(str(path))
        manager.settimeout(20)
        server = fresh(extra=["--key-command", str(store)])
        activated(server, listener, NOTIFY_SOCKET=str(path), WATCHDOG_USEC="400000")
        assert manager.recv(99) == b"READY=1"
        server.signal(signal.SIGHUP)
        while (said := manager.recv(99)) == b"WATCHDOG=1":
            pass
        assert said.startswith(b"RELOADING=1")
        assert manager.recv(99) == b"READY=1"
        # Nobody answers, and the watchdog hears of us all the same.
        for _ in range(5):
            assert manager.recv(99) == b"WATCHDOG=1"
        assert server.stop() == 0
    # Lets go of whoever waits for an answer still.
    os.close(os.open(nobody, os.O_RDWR))
