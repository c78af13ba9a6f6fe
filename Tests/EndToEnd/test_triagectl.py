"""The command line as people and scripts use it."""

import json
import re
import subprocess
import sys

import pytest
from harness import BIN, ROOT, triagectl

REPORT = ["submit", "--family", "suicide_self_harm", "--subject", "post:7300", "--language", "en",
          "--region", "US", "--imminence", "now", "--description", "synthetic"]


def lines(done):
    return [json.loads(line) for line in done.stdout.splitlines() if line]


@pytest.fixture
def own(fresh):
    return fresh().start()


def test_from_submit_to_close(own):
    case = lines(triagectl(own, *REPORT, "--json", identity="classifier"))[0]["case"]
    board = triagectl(own, "board", identity="dana").stdout
    assert case.split("/")[1] in board and "\033" not in board, "no colours off a terminal"
    assert case in triagectl(own, "board", "--json", identity="dana").stdout
    assert case.split("/")[1] in triagectl(own, "case", "show", case, identity="dana").stdout
    claimed = triagectl(own, "claim", "--json", identity="chloe").stdout
    assert case in claimed
    status = triagectl(own, "status", "--json", identity="sre").stdout
    assert "SERVING" in status


def test_errors_say_what_to_do_and_have_exit_codes(own):
    denied = triagectl(own, "board", identity="police", check=False)
    assert denied.returncode != 0 and denied.stderr.strip() and not denied.stdout
    missing = triagectl(own, "case", "show", "cases/no-such", identity="dana", check=False)
    assert missing.returncode != 0
    nobody = triagectl(own, "board", identity="no-such-identity", check=False)
    assert nobody.returncode != 0 and "no-such-identity" in nobody.stderr
    own.stop()
    gone = triagectl(own, "status", identity="sre", check=False)
    assert gone.returncode != 0
    assert len({denied.returncode, gone.returncode}) == 2, "a script can tell them apart"


def test_help_names_every_command():
    text = subprocess.run([BIN / "triagectl", "--help"], capture_output=True, text=True).stdout
    for command in ("submit", "board", "case", "claim", "answer", "decide", "close", "disclosure",
                    "replay", "bench", "status"):
        assert re.search(rf"^\s+{command}\b", text, re.M), command


@pytest.mark.timeout(120)
def test_a_replay_of_the_bundled_trace(own):
    done = triagectl(own, "replay", "--sample", str(ROOT / "Deploy" / "sample"), "--surge",
                     "west-texas:x1", "--speed", "600x", "--hours", "2", "--surge-at", "20",
                     "--specialists", "ana,ben,chloe", "--seed", "7", "--json",
                     identity="classifier")
    report = done.stdout
    assert "P1" in report and "p99" in report.lower()
    status = triagectl(own, "status", "--json", identity="sre").stdout
    assert re.search(r'"?report_?[cC]ount"?\s*[:=]\s*"?[1-9]', status), status


@pytest.mark.parametrize("script", ["submit.py"])
def test_the_python_examples_work_as_printed(own, script):
    import os
    done = subprocess.run([sys.executable, ROOT / "Deploy" / "examples" / script, own.address],
                          capture_output=True, text=True, timeout=60,
                          env=dict(os.environ, TRIAGED_CERTS=str(own.certs)))
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"cases/\S+/reports/\S+ opened cases/\S+, level LEVEL_P\d\n", done.stdout)
