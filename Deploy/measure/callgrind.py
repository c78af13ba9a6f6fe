"""What callgrind wrote of a program's run: its instructions, and how often it allocated.

An allocation is a call of the C library's allocator from anywhere but the C libraries that we build
on, which have their own ways, and the C library itself. The Swift runtime's count as ours: it makes
them for us."""

import collections
import pathlib
import re

ALLOCATORS = {"malloc", "calloc", "realloc", "reallocarray", "aligned_alloc", "memalign",
              "posix_memalign"}
C_LIBRARIES = re.compile(r"(libnghttp2|libssl|libcrypto|libprotobuf-c|libz|libc|ld-linux-[\w-]+)"
                         r"\.so")
NAMING = re.compile(r"(c?)(ob|fn)=\((\d+)\)(?: (.*))?")
Run = collections.namedtuple("Run", "instructions allocations")


def read(path):
    """The whole run that a file tells of."""
    names, here, called = {}, {}, {}
    instructions = allocations = 0
    for line in pathlib.Path(path).open():
        if naming := NAMING.match(line):
            is_called, kind, number, name = naming.groups()
            if name is not None:
                names[kind, number] = name
            (called if is_called else here)[kind] = names[kind, number]
        elif line.startswith("calls="):
            # A call within one object does not name that again.
            function = called["fn"].partition("'")[0]
            if function in ALLOCATORS and not C_LIBRARIES.match(pathlib.Path(here["ob"]).name):
                allocations += int(line[len("calls="):].split()[0])
            called = {}
        elif total := re.match(r"(?:summary|totals): (\d+)", line):
            instructions = int(total[1])
    return Run(instructions, allocations)
