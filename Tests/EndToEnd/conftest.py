import os
import pathlib
import re
import shutil
import subprocess
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

import harness  # noqa: E402

# What builders.py has people write, and whom about: the log of no test may have any of it.
WORDS_OF_REPORTS = ("Synthetic", "post:", "user:1", "https://example.org/")


@pytest.fixture(scope="session")
def certs(tmp_path_factory):
    """A CA and identities of this run, with the ones that must be refused."""
    directory = tmp_path_factory.mktemp("certs")
    subprocess.run([harness.ROOT / "Certs" / "mint", directory, "--negative"], check=True,
                   stdout=subprocess.DEVNULL)
    return directory


@pytest.fixture(scope="module")
def server(request, tmp_path_factory, certs):
    """One server for a module whose tests do not disturb each other, with its SERVER_WORDS."""
    directory = tmp_path_factory.mktemp("server")
    words = getattr(request.module, "SERVER_WORDS", ())
    server = harness.Server(directory, certs, extra=words).start()
    yield server
    unknown = re.findall(
        r'^grpc_server_handled_total\{(?!.*"unknown").*grpc_code="Unknown"\} ([1-9]\d*)',
        server.admin_get("/metrics")[1], re.M) if server.process else []
    assert not unknown, "UNKNOWN is a bug: no error is without a code of its own"
    code = server.stop()
    assert code in (0, None), f"triaged ended with {code}: {server.said()[-2000:]}"
    told = [words for words in WORDS_OF_REPORTS if words in server.said()]
    assert not told, f"the log has words of reports: {told}"
    shutil.rmtree(directory)


@pytest.fixture
def fresh(tmp_path, certs):
    """Makes servers that a test may stop, kill and break; ends them all."""
    made = []

    def make(name="server", **options):
        made.append(harness.Server(tmp_path / name, options.pop("certs", certs), **options))
        return made[-1]

    yield make
    for server in made:
        if server.process is not None:
            server.kill()


@pytest.fixture
def client(server):
    """Makes clients of the module's server; closes them all."""
    made = []

    def make(identity, **options):
        made.append(server.client(identity, **options))
        return made[-1]

    yield make
    for each in made:
        each.raw.close()


@pytest.fixture(scope="session")
def rounds():
    """How often tests that draw lots draw them: three in CI, many with Deploy/test --long.

    TRIAGED_ROUNDS says it outright, for long runs that are to be had in pieces.
    """
    return int(os.environ.get("TRIAGED_ROUNDS", 200 if os.environ.get("TRIAGED_LONG") else 3))
