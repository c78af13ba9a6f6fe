#!/usr/bin/env python3
"""Reads a triaged data directory by Sources/TriageJournal/FORMAT.md alone, and checks all of it.

Prints `r SEQUENCE MILLISECONDS HEX` for each record, `s FILE SECTION HEX` for each record of each
snapshot, and `head SEQUENCE CHAIN`. Ends with 1 and `FILE at byte OFFSET: WHAT` at the first thing
that does not verify; a torn tail is left out and named as `torn FILE OFFSET`.
"""
import hashlib
import os
import struct
import sys

TABLE = []
for value in range(256):
    for _ in range(8):
        value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
    TABLE.append(value)


def crc(data, before=0):
    state = before ^ 0xFFFFFFFF
    for byte in data:
        state = state >> 8 ^ TABLE[(state ^ byte) & 255]
    return state ^ 0xFFFFFFFF


def sha(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


class Bad(Exception):
    pass


def need(condition, file, offset, what):
    if not condition:
        raise Bad(f"{file} at byte {offset}: {what}")


def header(file, block, magic, offset=0):
    need(len(block) == 4096 and block[:8] == magic, file, offset, "no header")
    found = struct.unpack_from("<I", block, 12)[0]
    need(found == crc(block[16:], crc(block[:12])), file, offset, "header checksum")
    version, = struct.unpack_from("<I", block, 8)
    need(version == 1, file, offset, f"version {version}")
    need(not any(block[56:64]) and not any(block[96:]), file, offset, "reserved bytes")
    sequence, time, size = struct.unpack_from("<QqQ", block, 32)
    return block[16:32], sequence, time, size, block[64:96]


def batch_end(data, at, key):
    """Offset behind the batch whose header stands at `at`, or None (FORMAT.md 4)."""
    if at + 16 > len(data):
        return None
    if struct.unpack_from("<I", data, at)[0] != crc(data[at + 4:at + 16], key):
        return None
    body = struct.unpack_from("<I", data, at + 4)[0]
    return at + 56 + body if 24 <= body <= len(data) - at - 56 and body % 8 == 0 else None


def batch(file, data, at, end, key, sequence, chain):
    """Yields (sequence, time, payload, chain) of a batch that goes on from `sequence`."""
    need(struct.unpack_from("<Q", data, at + 8)[0] == sequence + 1, file, at, "sequence")
    position, count = at + 16, 0
    while position < end - 40:
        need(position + 24 <= end - 40, file, position, "record header")
        check, length, found, time = struct.unpack_from("<IIQq", data, position)
        stop = position + 24 + length
        following = (stop + 7) // 8 * 8
        need(following <= end - 40, file, position, "record length")
        need(check == crc(data[position + 4:stop], key), file, position, "record checksum")
        need(found == sequence + 1 and not any(data[stop:following]), file, position, "record")
        sequence, count = found, count + 1
        chain = sha(b"\1", chain, sha(b"\0", data[position + 8:stop]))
        yield sequence, time, data[position + 24:stop], chain
        position = following
    tail = data[end - 40:end]
    need(tail == chain + struct.pack("<I", count) + b"DONE", file, end - 40, "batch end")


def torn(data, at, end, key):
    """FORMAT.md 5, rules 3 to 6."""
    def zero_sector(stop):
        cuts = [at] + list(range((at // 512 + 1) * 512, stop, 512)) + [stop]
        return any(not any(data[a:b]) for a, b in zip(cuts, cuts[1:]))
    if end is not None:
        return not any(data[end:]) and (data[end - 1] == 0 or zero_sector(end))
    if any(batch_end(data, x, key) for x in range(at + 8, len(data), 8) if any(data[x:x + 16])):
        return False
    return not any(data[at + 16:]) or zero_sector(at + 16)


def segment(directory, file, last, cluster, key, head):
    data = open(os.path.join(directory, file), "rb").read()
    owner, first, _, size, chain = header(file, data[:4096], b"TRIAGEJL")
    need(owner == cluster, file, 16, "cluster")
    need(len(data) == size, file, min(len(data), size), "length")
    need(first == int(file[:20]), file, 32, "name")
    if head is not None:
        need(first == head[0] + 1, file, 32, f"record {head[0] + 1} is missing")
        need(chain == head[1], file, 64, "chain")
    sequence, at = first - 1, 4096
    while any(data[at:]):
        end = batch_end(data, at, key)
        try:
            need(end is not None, file, at, "batch header")
            records = list(batch(file, data, at, end, key, sequence, chain))
        except Bad:
            if not last or not torn(data, at, end, key):
                raise
            print("torn", file, at)
            break
        for sequence, time, payload, chain in records:
            print("r", sequence, time, payload.hex())
        at = end
    return sequence, chain


def snapshot(directory, file, cluster, key):
    data = open(os.path.join(directory, file), "rb").read()
    owner, sequence, _, largest, chain = header(file, data[:4096], b"TRIAGESN")
    need(owner == cluster and sequence == int(file[:20]), file, 16, "cluster or name")
    digests, at, index, records, sections = [sha(data[:4096])], 4096, 0, 0, {}
    while True:
        need(at + 4096 <= len(data), file, at, "no trailer")
        check, stored, body, count, section, encoding, kind, number, zero = struct.unpack_from(
            "<IIIIHBBIQ", data, at)
        need(4096 <= stored <= len(data) - at and stored % 4096 == 0, file, at, "block length")
        block = data[at:at + stored]
        need(check == crc(block[4:], key), file, at, "block checksum")
        need(body <= stored - 32 and number == index and zero == encoding == 0
             and not any(block[32 + body:]), file, at, "block header")
        if kind == 2:
            break
        need(kind == 1 and (stored <= largest or count == 1), file, at, "block kind")
        digests.append(sha(block))
        position = 32
        for _ in range(count):
            length, = struct.unpack_from("<I", block, position)
            need(position + 4 + length <= 32 + body, file, at + position, "record length")
            print("s", file, section, block[position + 4:position + 4 + length].hex())
            position += 4 + length
        need(position == 32 + body, file, at, "record count")
        blocks = sections.setdefault(section, [0, 0])
        blocks[0] += 1
        blocks[1] += count
        records, index, at = records + count, index + 1, at + stored
    expected = struct.pack("<QQQQ", index, records, len(data), len(sections)) + sha(*digests)
    for section, counts in sorted(sections.items()):
        expected += struct.pack("<QQQ", section, *counts)
    need(block[32:32 + body] == expected and at + stored == len(data), file, at, "trailer")
    return sequence, chain


def main(directory):
    names = sorted(os.listdir(directory))
    identity = open(os.path.join(directory, "identity"), "rb").read()
    cluster = header("identity", identity, b"TRIAGEID")[0]
    key = crc(cluster)
    segments = [name for name in names if name.endswith(".journal")]
    head = (0, sha(b"\2", cluster)) if segments[0].startswith("0" * 19 + "1.") else None
    for name in segments:
        head = segment(directory, name, name == segments[-1], cluster, key, head)
    for name in names:
        if name.endswith(".snapshot"):
            sequence = snapshot(directory, name, cluster, key)[0]
            need(sequence <= head[0], name, 32, "ahead of the journal")
    print("head", head[0], head[1].hex())


if __name__ == "__main__":
    try:
        main(sys.argv[1])
    except Bad as bad:
        sys.exit(str(bad))
