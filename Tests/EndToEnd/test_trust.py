"""Certificates, revocation and doors while the server runs; restarts that refuse nobody."""

import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import threading
import time

import grpc
import harness
import pytest
import raw
import stubs
from builders import submission
from harness import ROOT, Failed, await_true

STATUS = stubs.operations.GetStatusRequest()


def mint(directory, *words):
    subprocess.run([ROOT / "Certs" / "mint", directory, *words], check=True,
                   stdout=subprocess.DEVNULL)


def metric(server, name):
    page = server.admin_get("/metrics")[1]
    return int(re.search(rf"^{re.escape(name)} (\d+)", page, re.M)[1])


@pytest.fixture
def mine(tmp_path, certs):
    """Certificates that a test may change."""
    shutil.copytree(certs, tmp_path / "mine")
    return tmp_path / "mine"


def test_a_revocation_ends_open_connections_and_sessions_within_10_s(fresh, mine):
    server = fresh(certs=mine).start()
    context = raw.tls_context(mine, "ana")
    connection = raw.Connection(server.address, mine, "ana", context=context)
    session = connection.tls.session
    again = raw.Connection(server.address, mine, "ana", context=context, session=session)
    assert again.tls.session_reused
    other = raw.Connection(server.address, mine, "ben")
    mint(mine, "--revoke", "ana")
    began = time.monotonic()
    for each in (connection, again):
        goaway = each.await_frame(raw.GOAWAY)[3]
        assert goaway[8:] == b"certificate_refused"
        assert each.next_frame() is None
    assert time.monotonic() - began < 10
    assert metric(server, "triaged_peers_refused_total") == 2
    with pytest.raises((ssl.SSLError, ConnectionError, AssertionError)):
        raw.Connection(server.address, mine, "ana", context=context, session=session)
    other.send(raw.frame(raw.PING, 0, 0, b"12345678"))
    assert other.await_frame(raw.PING, raw.ACK)[3] == b"12345678", "others go on"


def served_certificate(server, certs):
    connection = raw.Connection(server.address, certs, "ana")
    try:
        return connection.tls.getpeercert(binary_form=True)
    finally:
        connection.close()


def test_new_certificates_are_used_as_soon_as_they_are_there(fresh, mine, tmp_path):
    server = fresh(certs=mine).start()
    held = raw.Connection(server.address, mine, "ana")
    before = served_certificate(server, mine)
    # The authority signs another one for the server.
    os.rename(mine / "server.crt", tmp_path / "old.crt")
    os.rename(mine / "server.key", tmp_path / "old.key")
    mint(mine)
    await_true(lambda: served_certificate(server, mine) != before, 10, "the new certificate")
    assert metric(server, 'triaged_tls_reloads_total{outcome="used"}') >= 1
    held.send(raw.frame(raw.PING, 0, 0, b"12345678"))
    held.await_frame(raw.PING, raw.ACK)


@pytest.mark.parametrize("what", ["foreign key", "expired", "open to all", "no certificate"])
def test_bad_certificates_leave_the_old_ones_in_force(fresh, mine, what):
    server = fresh(certs=mine).start()
    before = served_certificate(server, mine)
    if what == "foreign key":
        shutil.copy(mine / "ana.key", mine / "server.key")
    elif what == "expired":
        shutil.copy(mine / "negative" / "expired-server.key", mine / "server.key")
        shutil.copy(mine / "negative" / "expired-server.crt", mine / "server.crt")
    elif what == "open to all":
        (mine / "server.key").chmod(0o644)
    else:
        (mine / "server.crt").write_text("-----BEGIN CERTIFICATE-----\nAAAA\n")
    await_true(lambda: metric(server, 'triaged_tls_reloads_total{outcome="refused"}') >= 1, 10,
               "the refusal")
    assert "certificates not reloaded; the old ones stay" in server.said()
    assert served_certificate(server, mine) == before


def test_a_stale_list_leaves_the_old_one_in_force(fresh, mine):
    server = fresh(certs=mine).start()
    assert metric(server, 'triaged_tls_alarm{what="crl"}') == 0
    assert metric(server, 'triaged_tls_alarm{what="certificate"}') == 0
    shutil.copy(mine / "negative" / "stale-crl.pem", mine / "crl.pem")
    await_true(lambda: metric(server, 'triaged_tls_reloads_total{outcome="refused"}') >= 1, 10,
               "the refusal")
    served_certificate(server, mine)


def test_a_list_in_its_last_third_is_an_alarm(fresh, mine):
    def stamp(seconds):
        return time.strftime("%Y%m%d%H%M%SZ", time.gmtime(time.time() + seconds))

    (mine / "list.cnf").write_text(
        "[ca]\ndefault_ca = d\n[d]\ndatabase = index.txt\ncrlnumber = crlnumber\n"
        "default_md = sha256\n")
    subprocess.run(["openssl", "ca", "-config", "list.cnf", "-cert", "ca.crt", "-keyfile", "ca.key",
                    "-gencrl", "-crl_lastupdate", stamp(-90_000), "-crl_nextupdate", stamp(10_000),
                    "-out", "crl.pem"], cwd=mine, check=True, stderr=subprocess.DEVNULL)
    server = fresh(certs=mine).start()
    assert metric(server, 'triaged_tls_alarm{what="crl"}') == 1
    assert "runs out soon" in server.said()
    served_certificate(server, mine)


def test_no_early_data_is_announced_or_read(fresh, mine, tmp_path):
    """0-RTT data can be replayed: a session says that none is taken, and none is."""
    server = fresh(certs=mine).start()
    words = ["openssl", "s_client", "-connect", server.address, "-alpn", "h2", "-CAfile",
             mine / "ca.crt", "-cert", mine / "ana.crt", "-key", mine / "ana.key"]
    kept = tmp_path / "session.pem"

    def shake(*more, until):
        with open(tmp_path / "said", "wb") as said:
            client = subprocess.Popen([*words, *more], stdin=subprocess.PIPE, stdout=said,
                                      stderr=subprocess.STDOUT)
        try:
            await_true(until, 10, "the handshake")
        finally:
            client.kill()
            client.wait()
            client.stdin.close()
        return (tmp_path / "said").read_text(errors="replace")

    shake("-sess_out", kept, until=lambda: kept.exists() and kept.stat().st_size > 0)
    text = subprocess.run(["openssl", "sess_id", "-in", kept, "-noout", "-text"], check=True,
                          capture_output=True, text=True).stdout
    assert "Max Early Data: 0" in text or "Max Early Data" not in text, text
    (tmp_path / "early").write_bytes(raw.PREFACE)

    def is_over():
        return "Early data was" in (tmp_path / "said").read_text(errors="replace")

    said = shake("-sess_in", kept, "-early_data", tmp_path / "early", until=is_over)
    assert "Reused, TLSv1.3" in said and "Early data was accepted" not in said


# --- doors


@pytest.fixture(scope="module")
def agency_certs(tmp_path_factory):
    """Another authority; it dares to name people of ours too."""
    directory = tmp_path_factory.mktemp("agency")
    mint(directory)
    return directory


def test_each_door_has_its_own_trust_and_its_own_roles(fresh, certs, agency_certs):
    server = fresh(extra=["--external-listen", "127.0.0.1:0", "--external-client-ca",
                          agency_certs / "ca.crt", "--external-crl",
                          agency_certs / "crl.pem"]).start()
    external = re.fullmatch(r"listening external (\S+)\n",
                            server.process.stdout.readline().decode())[1]
    with server.client("sre") as sre:
        sre.operations.GetStatus(STATUS)
    # Ours is nobody there, and theirs is nobody here.
    for address, own, authority in ((external, certs, certs),
                                    (server.address, agency_certs, certs)):
        context = raw.tls_context(own, "sre")
        context.load_verify_locations(authority / "ca.crt")
        with pytest.raises((ssl.SSLError, ConnectionError, AssertionError)):
            raw.Connection(address, own, "sre", context=context)
    listing = stubs.disclosures.ListDisclosureRequestsRequest()
    with harness.Client(external, agency_certs, "police", authority=certs / "ca.crt") as police:
        police.disclosures.ListDisclosureRequests(listing)
    # An agency's authority may write our operator's name; it gets no operator's rights.
    with harness.Client(external, agency_certs, "sre", authority=certs / "ca.crt") as fraud:
        with pytest.raises(grpc.RpcError) as failure:
            fraud.operations.GetStatus(STATUS)
        assert failure.value.code() is grpc.StatusCode.PERMISSION_DENIED


@pytest.mark.parametrize("extra", [
    ["--partner-listen", "127.0.0.1:0"], ["--external-client-ca", "x.pem"],
    ["--partner-crl", "x.pem"]])
def test_half_a_door_is_a_wrong_configuration(fresh, extra):
    with pytest.raises(Failed) as failure:
        fresh(extra=extra).start()
    assert failure.value.code == 78


# --- the service manager


def activated(server, listener, **environment):
    """Starts a server as systemd does: the listening socket is descriptor 3."""
    words = server.arguments()
    server.data.mkdir(parents=True, exist_ok=True)
    # LISTEN_PID must be the server's: the shell has it, and becomes the server.
    script = f'exec 3<&{listener.fileno()}; LISTEN_PID=$$ LISTEN_FDS=1 exec "$@"'
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
        stop, refused, connects, calls, failures = threading.Event(), [], [], [], []

        def knock():
            while not stop.is_set():
                try:
                    socket.create_connection(listener.getsockname(), timeout=20).close()
                    connects.append(1)
                except OSError as error:
                    refused.append(error)
                time.sleep(0.002)

        def load():
            # As documented for intake: wait for the server, and repeat with the same request id.
            with server.client("classifier", options=[("grpc.enable_retries", 1)]) as intake:
                while not stop.is_set():
                    message = submission()
                    while True:
                        try:
                            intake.triage.SubmitReport(message, wait_for_ready=True, timeout=20)
                            calls.append(1)
                            break
                        except grpc.RpcError as error:
                            failures.append(error)
                            if error.code() is not grpc.StatusCode.UNAVAILABLE:
                                return

        workers = [threading.Thread(target=knock)]
        workers += [threading.Thread(target=load) for _ in range(4)]
        for each in workers:
            each.start()
        for _ in range(2):
            before = len(calls)
            await_true(lambda: len(calls) > before + 50, 20, "load")
            assert server.stop() == 0
            activated(server, listener)
        before = len(calls)
        await_true(lambda: len(calls) > before + 50, 20, "load")
        stop.set()
        for each in workers:
            each.join()
    assert not refused and connects
    assert not failures, failures[0]


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
