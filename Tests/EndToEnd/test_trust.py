"""Certificates and revocation lists while the server runs."""

import os
import re
import shutil
import signal
import ssl
import subprocess
import time

import pytest
import raw
from harness import Failed, ROOT, await_true, key_file


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


def test_a_revocation_does_not_wait_for_a_hand_over(fresh, mine, tmp_path):
    """Whoever is asked for the key when a successor is tried may take its time."""
    slow, kek = tmp_path / "slow", key_file(tmp_path / "kek")
    command = tmp_path / "key"
    command.write_text(f"#!/bin/sh\nwhile [ -e {slow} ]; do sleep 0.1; done\nexec cat {kek}\n")
    command.chmod(0o700)
    server = fresh(certs=mine, extra=["--key-command", str(command)]).start()
    connection = raw.Connection(server.address, mine, "ana")
    slow.touch()
    server.signal(signal.SIGUSR2)
    mint(mine, "--revoke", "ana")
    began = time.monotonic()
    assert connection.await_frame(raw.GOAWAY)[3][8:] == b"certificate_refused"
    assert time.monotonic() - began < 10
    assert "handing over" not in server.said(), "its successor is being tried"
    slow.unlink()
    assert server.process.stdout.readline().decode().startswith("listening ")
    assert server.said().count("handing over") == 1
    assert server.stop() == 0


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


def test_what_cannot_be_used_yet_is_tried_again(fresh, mine):
    server = fresh(certs=mine).start()
    before = served_certificate(server, mine)
    sign(mine, "server", stamp(8)[0], stamp(900_000)[0], "DNS:localhost,IP:127.0.0.1", "serverAuth")
    await_true(lambda: metric(server, 'triaged_tls_reloads_total{outcome="refused"}') >= 1, 10,
               "the refusal")
    # The file stays as it is.
    await_true(lambda: served_certificate(server, mine) != before, 30, "the new certificate")


def test_a_stale_list_leaves_the_old_one_in_force(fresh, mine):
    server = fresh(certs=mine).start()
    assert metric(server, 'triaged_tls_alarm{what="crl"}') == 0
    assert metric(server, 'triaged_tls_alarm{what="certificate"}') == 0
    shutil.copy(mine / "negative" / "stale-crl.pem", mine / "crl.pem")
    await_true(lambda: metric(server, 'triaged_tls_reloads_total{outcome="refused"}') >= 1, 10,
               "the refusal")
    served_certificate(server, mine)


def test_a_list_of_the_future_leaves_the_old_one_in_force_until_its_time(fresh, mine):
    """The authority's clock is ahead of the server's."""
    server = fresh(certs=mine).start()
    held = raw.Connection(server.address, mine, "ana", seconds=90)
    # So far ahead that the server has surely looked by then.
    authority(mine, "-gencrl", "-crl_lastupdate", stamp(15)[0], "-crl_nextupdate",
              stamp(90_000)[0], "-out", "crl.pem")
    await_true(lambda: metric(server, 'triaged_tls_reloads_total{outcome="refused"}') >= 1, 10,
               "the refusal")
    assert "check the clock" in server.said()
    served_certificate(server, mine)
    await_true(lambda: metric(server, 'triaged_tls_reloads_total{outcome="used"}') >= 1, 60,
               "its time")
    served_certificate(server, mine)
    held.send(raw.frame(raw.PING, 0, 0, b"12345678"))
    assert held.await_frame(raw.PING, raw.ACK)[3] == b"12345678", "nobody was ended"
    assert metric(server, "triaged_peers_refused_total") == 0


def test_a_first_start_with_a_list_of_the_future_is_tried_again(fresh, mine):
    authority(mine, "-gencrl", "-crl_lastupdate", stamp(3_600)[0], "-crl_nextupdate",
              stamp(90_000)[0], "-out", "crl.pem")
    with pytest.raises(Failed) as failure:
        fresh(certs=mine).start()
    assert failure.value.code == 74, "78 would be final"


def test_a_list_of_another_authority_leaves_the_old_one_in_force(fresh, mine, tmp_path):
    server = fresh(certs=mine).start()
    held = raw.Connection(server.address, mine, "ana")
    (tmp_path / "theirs").mkdir()
    mint(tmp_path / "theirs")
    shutil.copy(tmp_path / "theirs" / "crl.pem", mine / "crl.pem")
    await_true(lambda: metric(server, 'triaged_tls_reloads_total{outcome="refused"}') >= 1, 10,
               "the refusal")
    served_certificate(server, mine)
    held.send(raw.frame(raw.PING, 0, 0, b"12345678"))
    held.await_frame(raw.PING, raw.ACK)


# Times that come while a test waits for them: late enough for a start on a busy machine.
SOON = 20


def stamp(seconds):
    """A time as OpenSSL takes it, and as a Unix time."""
    at = int(time.time() + seconds)
    return time.strftime("%Y%m%d%H%M%SZ", time.gmtime(at)), at


def authority(mine, *words):
    """`openssl ca` with the development authority."""
    (mine / "authority.cnf").write_text(
        "[ca]\ndefault_ca = d\n[d]\ndatabase = index.txt\nserial = serial\ncrlnumber = crlnumber\n"
        "new_certs_dir = .\ndefault_md = sha256\npolicy = any\nunique_subject = no\n"
        "[any]\ncommonName = supplied\n")
    subprocess.run(["openssl", "ca", "-batch", "-config", "authority.cnf", "-cert", "ca.crt",
                    "-keyfile", "ca.key", *words], cwd=mine, check=True,
                   stderr=subprocess.DEVNULL)


def sign(mine, name, since, until, names, usage):
    """Another certificate for a key that is there already, with dates of its own."""
    (mine / "leaf.cnf").write_text(
        f"basicConstraints = critical,CA:FALSE\nkeyUsage = critical,digitalSignature\n"
        f"extendedKeyUsage = {usage}\nsubjectAltName = {names}\n")
    subprocess.run(["openssl", "req", "-new", "-key", f"{name}.key", "-subj", f"/CN={name}",
                    "-out", "leaf.csr"], cwd=mine, check=True)
    authority(mine, "-notext", "-rand_serial", "-in", "leaf.csr", "-out", f"{name}.crt.new",
              "-extfile", "leaf.cnf", "-startdate", since, "-enddate", until)
    os.rename(mine / f"{name}.crt.new", mine / f"{name}.crt")


def is_let_in(server, mine, identity, **options):
    try:
        raw.Connection(server.address, mine, identity, **options).close()
        return True
    except (ssl.SSLError, ConnectionError, AssertionError):
        return False


def test_a_list_that_runs_out_is_an_alarm_before_and_lets_nobody_in_after(fresh, mine):
    due, at = stamp(SOON)
    authority(mine, "-gencrl", "-crl_lastupdate", stamp(-SOON)[0], "-crl_nextupdate", due,
              "-out", "crl.pem")
    server = fresh(certs=mine).start()
    # Half of its life is left, then a third: the alarm comes in between, and before the end.
    assert metric(server, "triaged_crl_next_update_seconds") == at
    await_true(lambda: metric(server, 'triaged_tls_alarm{what="crl"}') == 1, SOON, "the alarm")
    assert time.time() < at, "in time"
    await_true(lambda: "runs out soon" in server.said(), 5, "the warning")
    context = raw.tls_context(mine, "ana")
    held = raw.Connection(server.address, mine, "ana", context=context)
    assert is_let_in(server, mine, "ana", context=context, session=held.tls.session)
    await_true(lambda: metric(server, 'triaged_tls_alarm{what="crl"}') == 2, SOON, "the end")
    assert time.time() >= at, "not too early"
    await_true(lambda: "clients are refused" in server.said(), 5, "the last word")
    assert not is_let_in(server, mine, "ana"), "fails closed"
    assert not is_let_in(server, mine, "ana", context=context, session=held.tls.session)
    held.send(raw.frame(raw.PING, 0, 0, b"12345678"))
    held.await_frame(raw.PING, raw.ACK)
    # A new list, and all is well.
    mint(mine)
    await_true(lambda: is_let_in(server, mine, "ana"), 10, "the new list")
    assert metric(server, 'triaged_tls_alarm{what="crl"}') == 0


def test_a_certificate_in_its_last_third_is_an_alarm(fresh, mine):
    until, at = stamp(10_000)
    sign(mine, "server", stamp(-90_000)[0], until, "DNS:localhost,IP:127.0.0.1", "serverAuth")
    server = fresh(certs=mine).start()
    assert metric(server, "triaged_certificate_expiry_seconds") == at
    assert metric(server, 'triaged_tls_alarm{what="certificate"}') == 1
    assert '"what":"certificate"' in server.said() and "runs out soon" in server.said()
    sign(mine, "server", stamp(-90_000)[0], stamp(900_000)[0], "DNS:localhost,IP:127.0.0.1",
         "serverAuth")
    await_true(lambda: metric(server, 'triaged_tls_alarm{what="certificate"}') == 0, 10, "renewal")
    await_true(lambda: "renewed in time" in server.said(), 5, "the log saying so")


def test_a_connection_does_not_outlive_its_certificate_nor_does_its_session(fresh, mine):
    server = fresh(certs=mine).start()
    until, at = stamp(SOON)
    sign(mine, "ana", stamp(-60)[0], until, "URI:spiffe://triaged.example/specialist/ana",
         "clientAuth")
    context = raw.tls_context(mine, "ana")
    connection = raw.Connection(server.address, mine, "ana", context=context, seconds=3 * SOON)
    connection.await_frame(raw.GOAWAY)
    ping = connection.await_frame(raw.PING, 0)[3]
    connection.send(raw.frame(raw.PING, raw.ACK, 0, ping))
    assert connection.await_frame(raw.GOAWAY)[3][8:] == b"max_age"
    assert at - 1 <= time.time() < at + 30
    await_true(lambda: time.time() > at, 5, "the certificate's end")
    assert not is_let_in(server, mine, "ana", context=context, session=connection.tls.session)
    assert not is_let_in(server, mine, "ana")


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
