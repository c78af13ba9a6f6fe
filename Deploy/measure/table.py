"""The figures as a page that people read: Deploy/bench.md. A section is replaced when its part is
measured again; the others stay as they are, each with its own date."""

import datetime
import os
import pathlib
import platform
import re
import subprocess

from .machine import ROOT

HEAD = """# Measured figures

What `Deploy/bench` measured last, written by its `--table`. Figures move between machines, and on a
shared one between hours: read the ratios, which are of the same run, and the spread. A row without
"reach" is there to be compared with. Stolen is the share of a processor that the host took away,
disturbed that and what other processes used, each as the median and the worst of all measurements.
"""


def machine():
    """The processor, the kernel and the commit."""
    model = re.search(r"model name\s*: (.+)", pathlib.Path("/proc/cpuinfo").read_text())
    commit = subprocess.run(["git", "-C", ROOT, "describe", "--always", "--dirty"],
                            stdout=subprocess.PIPE, text=True).stdout.strip()
    return (f"{os.cpu_count()} x {model[1] if model else platform.machine()},"
            f" Linux {platform.release()}, commit {commit}")


def number(value):
    if value is None:
        return ""
    if isinstance(value, float) and abs(value) < 100:
        return f"{value:,.2f}"
    return f"{value:,.0f}"


def row(figure):
    holds = {True: "yes", False: "**no**", None: ""}[figure["holds"]]
    spread = (f"{number(figure['min'])} to {number(figure['max'])}"
              if figure.get("repeats", 1) > 1 else "")
    reach = (figure["reach"] or "").replace(">=", "at least").replace("<=", "at most")
    return (f"| {figure['name']} | {number(figure['value'])} | {spread} | {figure['unit']} |"
            f" {reach} | {holds} |")


def section(name, command, figures):
    now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
    lines = [f"## {name}", "", f"{now}, `{command}`, {machine()}.", "",
             "| figure | median | least to largest | unit | reach | holds |",
             "| --- | ---: | --- | --- | --- | --- |", *(row(figure) for figure in figures)]
    return "\n".join(lines) + "\n"


def write(path, command, sections):
    """Puts sections, figures by name, into the page."""
    path = pathlib.Path(path)
    old = {}
    if path.exists():
        for part in re.split(r"^(?=## )", path.read_text(), flags=re.M)[1:]:
            old[part.split("\n", 1)[0].removeprefix("## ")] = part.rstrip("\n") + "\n"
    for name, figures in sections.items():
        if figures:
            old[name] = section(name, command, figures)
    path.write_text(HEAD + "".join("\n" + old[name] for name in sorted(old)))
