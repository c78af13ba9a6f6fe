"""h2spec against our server, where it is on PATH; test_rfc9113.py has its rules everywhere."""

import re
import shutil
import subprocess

import pytest

H2SPEC = shutil.which("h2spec")


@pytest.mark.skipif(H2SPEC is None, reason="no h2spec on PATH")
@pytest.mark.parametrize("strict", [False, True], ids=["usual", "strict"])
def test_h2spec(triage_server, strict):
    done = subprocess.run(
        [H2SPEC, "-h", "127.0.0.1", "-p", str(triage_server.port), "-t", "-k", "-o", "5",
         *(["-S"] if strict else [])],
        capture_output=True, text=True, timeout=110, stdin=subprocess.DEVNULL)
    result = re.search(r"(\d+) tests, (\d+) passed, (\d+) skipped, (\d+) failed", done.stdout)
    assert result, done.stdout[-2000:] + done.stderr
    count, passed, skipped, failed = map(int, result.groups())
    report = done.stdout[done.stdout.find("Failures:"):]
    assert count >= 146 and failed == 0 and skipped == 0, report
