"""Figures: a value with its spread, what is asked for, and whether it was reached."""

import json
import operator
import statistics


def median(values):
    return statistics.median(values)


def ratios(ours, theirs):
    """Pairs of the same repeat, divided: what moves the machine moves both."""
    return [a / b for a, b in zip(ours, theirs, strict=True)]


class Report:
    """Collects figures, prints each at once, and judges it."""

    def __init__(self, file, short):
        self.file, self.short, self.values = file, short, {}
        self.sections, self.section = {}, ""

    def begin(self, section):
        """What follows belongs together."""
        self.section = section

    def add(self, name, values, unit, at_least=None, at_most=None):
        """A figure; of repeats the median, with the least and the largest of them."""
        values = values if isinstance(values, list) else [values]
        value = median(values)
        self.values[name] = value
        reach, judge = None, None
        if at_least is not None:
            reach, judge = f">= {at_least:g}", operator.ge(value, at_least)
        elif at_most is not None:
            reach, judge = f"<= {at_most:g}", operator.le(value, at_most)
        self.write({"name": name, "value": round(value, 3), "unit": unit,
                    "min": round(min(values), 3), "max": round(max(values), 3),
                    "repeats": len(values), "reach": reach, "holds": judge})

    def pass_on(self, text):
        """Figures of a measuring command, one JSON object a line."""
        for line in text.splitlines():
            figure = json.loads(line)
            reach = {name: figure[name] for name in ("at_least", "at_most") if name in figure}
            self.add(figure["name"], figure["values"], figure["unit"], **reach)

    def write(self, figure):
        if self.short:
            figure["holds"] = None
        self.sections.setdefault(self.section, []).append(figure)
        line = json.dumps(figure)
        print(line, flush=True)
        if self.file:
            print(line, file=self.file, flush=True)
