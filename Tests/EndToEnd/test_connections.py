"""What a connection costs, how long it lives, and how it ends."""

import pathlib
import re

import pytest
import raw


def resident_kib(server):
    status = pathlib.Path(f"/proc/{server.process.pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", status)[1])


@pytest.fixture
def connect(server, certs):
    made = []

    def make(identity, **options):
        made.append(raw.Connection(server.address, certs, identity, **options))
        return made[-1]

    yield make
    for each in made:
        each.close()


def test_an_idle_connection_costs_at_most_50_kib(fresh, certs):
    """Shared design, issue 3: an idle mutual TLS connection is at most 50 KiB resident."""
    server = fresh().start()
    open_connections = [raw.Connection(server.address, certs, "ana") for _ in range(8)]
    before = resident_kib(server)
    identities = ("ana", "ben", "chloe")
    for identity in identities:
        open_connections += [raw.Connection(server.address, certs, identity) for _ in range(50)]
    each = (resident_kib(server) - before) / (50 * len(identities))
    assert each <= 50, f"{each:.1f} KiB"
    for connection in open_connections:
        connection.close()
