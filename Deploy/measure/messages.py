"""The requests that the load generator sends, as bytes: protobuf by hand, because what measures
must not need what is measured."""

import pathlib

SUBJECT_KIND_POST, REPORTER_KIND_CLASSIFIER, HARM_FAMILY_SUICIDE_SELF_HARM = 2, 1, 1


def varint(value):
    parts = []
    while value >= 128:
        parts.append(value & 127 | 128)
        value >>= 7
    return bytes([*parts, value])


def text(field, value):
    data = value if isinstance(value, bytes) else value.encode()
    return varint(field << 3 | 2) + varint(len(data)) + data


def integer(field, value):
    return varint(field << 3) + varint(value)


class Request:
    """A method, a message with places for the call's number, and where the reply repeats it."""

    def __init__(self, name, path, message, numbers=(), echo=None):
        self.name, self.path, self.message, self.echo = name, path, message, echo
        # Each number is a run of zeros that occurs once, with what stands before it.
        self.patches = []
        for before, width in numbers:
            place = message.index(before.encode() + b"0" * width) + len(before)
            self.patches.append((place, width))

    def file(self, folder):
        """A file of the folder with the message."""
        path = pathlib.Path(folder) / f"{self.name}.bin"
        path.write_bytes(self.message)
        return path

    def words(self, folder):
        """The load generator's arguments."""
        words = [f"path={self.path}", f"message={self.file(folder)}"]
        if self.patches:
            words.append("patch=" + ",".join(f"{at}+{width}" for at, width in self.patches))
        if self.echo is not None:
            words.append(f"echo={self.echo}")
        return words


class Get(Request):
    """A file, for servers that do not speak gRPC."""

    def __init__(self, path):
        super().__init__("get", path, b"")

    def words(self, folder):
        return [f"path={self.path}", "get=1"]


def echo():
    """bench.Triage/Submit, 198 bytes with gRPC's prefix: the method of ../shared/bench-peers."""
    labels = ("lang:en", "surface:dm", "model:v12", "region:eu")
    message = (text(1, "case-0000000000000000000") + text(2, "report-intake-eu-1")
               + text(3, "account:8842190455123")
               + text(4, "synthetic content of a load test, no person, no event; enGB")
               + integer(5, 3) + integer(6, 1764000000123456) + integer(7, 1764003600123456)
               + b"".join(text(8, label) for label in labels))
    return Request("echo", "/bench.Triage/Submit", message, [("case-", 19)], echo=7)


def report():
    """triaged.v1.TriageService/SubmitReport, about 200 bytes: every call opens a case."""
    subject = integer(1, SUBJECT_KIND_POST) + text(2, "bench-0000000000000000")
    reporter = integer(1, REPORTER_KIND_CLASSIFIER)
    signal = text(1, "bench-model") + text(3, "synthetic")
    value = (text(4, subject) + integer(6, HARM_FAMILY_SUICIDE_SELF_HARM) + text(9, reporter)
             + text(10, signal) + text(11, "en") + text(12, "US")
             + text(13, "Synthetic report of a load test: it is about no person, nor about an "
                        "event of any kind."))
    message = text(1, "b0000000-0000-4000-8000-000000000000") + text(2, value)
    return Request("report", "/triaged.v1.TriageService/SubmitReport", message,
                   [("-8000-", 12), ("bench-", 16)])


def watch():
    """What the C floor tells of every call."""
    return Request("watch", "/bench.Triage/Watch", b"")


def board(revision):
    """WatchBoard: what changes on the board after a revision."""
    return Request("board", "/triaged.v1.TriageService/WatchBoard", integer(1, revision))
