"""The command line as people and scripts use it."""

import json
import re
import subprocess
import sys

import pytest
from builders import filing
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


def test_a_file_with_a_refused_report_ends_so_also_as_json(own, tmp_path):
    good = {"subject": {"kind": "SUBJECT_KIND_POST", "id": "post:1"},
            "harmFamily": "HARM_FAMILY_SUICIDE_SELF_HARM", "imminence": "IMMINENCE_NOW",
            "reporter": {"kind": "REPORTER_KIND_CLASSIFIER"}, "languageCode": "en",
            "regionCode": "US"}
    file = tmp_path / "reports.json"
    file.write_text(json.dumps([good, {**good, "languageCode": "no such"}]))
    for more in ([], ["--json"]):
        done = triagectl(own, "submit", "--file", str(file), *more, identity="classifier",
                         check=False)
        assert done.returncode == 6 and "efused" in done.stdout, done


def test_output_that_cannot_be_written_is_no_success(own):
    for words in (["status"], ["board", "--json"]):
        with open("/dev/full", "w") as full:
            done = subprocess.run(
                [BIN / "triagectl", *words, "--server", own.address, "--identity", "dana",
                 "--certs", own.certs], stdout=full, stderr=subprocess.PIPE, text=True, timeout=60)
        assert done.returncode == 1 and "standard output" in done.stderr, done
    own.kill()
    with open("/dev/full", "w") as full:
        done = subprocess.run([BIN / "triaged", "inspect", "stat", "--data", own.data],
                              stdout=full, stderr=subprocess.PIPE, text=True, timeout=60)
    assert done.returncode == 74 and "standard output" in done.stderr, done


def test_what_a_reporter_wrote_is_shown_as_text(own):
    case = lines(triagectl(own, *REPORT[:-1], "x\nlevel: LEVEL_P4\x1b[8m", "--json",
                           identity="classifier"))[0]["case"]
    shown = triagectl(own, "case", "show", case, "--purpose", "to look", identity="dana").stdout
    assert "\x1b" not in shown and "| level: LEVEL_P4\\u{1b}[8m" in shown, shown


def test_more_than_is_shown_is_said_to_be(own):
    for _ in range(3):
        triagectl(own, *REPORT[:4], f"post:{_}", *REPORT[5:], identity="classifier")
    assert "there are more" in triagectl(own, "board", "--limit", "2", identity="dana").stdout
    assert "there are more" not in triagectl(own, "board", identity="dana").stdout
    with own.client("police") as police:
        for _ in range(3):
            police.disclosures.SubmitDisclosureRequest(filing())
    shown = triagectl(own, "disclosure", "list", "--limit", "2", identity="dana").stdout
    assert "there are more" in shown and shown.count("disclosureRequests/") == 2


@pytest.mark.parametrize("words", [
    ["status", "--timeout", "inf"], ["status", "--timeout", "1e11"], ["claim", "--wait", "nan"],
    ["replay", "--hours", "inf"], ["bench", "status", "--seconds", "inf"],
])
def test_a_number_out_of_range_is_a_wrong_command_line(words):
    done = subprocess.run([BIN / "triagectl", *words], capture_output=True, text=True, timeout=60)
    assert done.returncode == 64, done


def test_help_names_every_command():
    text = subprocess.run([BIN / "triagectl", "--help"], capture_output=True, text=True).stdout
    for command in ("submit", "board", "case", "claim", "answer", "decide", "close", "disclosure",
                    "replay", "bench", "status"):
        assert re.search(rf"^\s+{command}\b", text, re.M), command


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
