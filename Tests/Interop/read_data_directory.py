#!/usr/bin/env python3
"""Reads a plain data directory by FORMAT.md of Sources/TriageJournal alone, and checks its journal
and snapshots: `read_data_directory.py DIRECTORY`. Numbers in the code are FORMAT.md's chapters.
Encrypted and torn files, version 1 and what lies beside the journal: read_every_directory.py.

Prints `r SEQUENCE MILLISECONDS HEX...` for each record (body, sealed fields), `s FILE SECTION HEX`
for each record of a snapshot, and `head SEQUENCE ROOT`; ends with 1, naming file and offset, at the
first thing that does not verify.
"""
import hashlib
import os
import struct
import sys
from struct import pack, unpack_from

TABLE = list(range(256))
for _ in range(8):
    TABLE = [value >> 1 ^ (0x82F63B78 if value & 1 else 0) for value in TABLE]


def crc(data, before=0):  # 1
    state = before ^ 0xFFFFFFFF
    for byte in data:
        state = state >> 8 ^ TABLE[(state ^ byte) & 255]
    return state ^ 0xFFFFFFFF


def sha(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


class Bad(Exception):
    pass


def need(condition, file, offset):
    if not condition:
        raise Bad(f"{file} at byte {offset} does not verify")


class Tree(list):  # 7, as its frontier
    def __init__(self, size, roots):
        super().__init__(roots)
        self.size = size

    def add(self, digest):
        place, self.size = self.size, self.size + 1
        while place & 1:
            digest, place = sha(b"\1", self.pop(), digest), place >> 1
        self.append(digest)

    def root(self):
        digest = self[-1] if self else sha()
        for left in self[-2::-1]:
            digest = sha(b"\1", left, digest)
        return digest


class Header:  # 3
    def __init__(self, file, block, magic, cluster=None, at=0):
        need(len(block) == 4096 and block[:8] == magic, file, at)
        version, check = unpack_from("<II", block, 8)
        need(check == crc(block[16:], crc(block[:12])) and version == 2, file, at + 8)
        self.block, self.cluster, count = block, block[16:32], unpack_from("<Q", block, 128)[0]
        self.sequence, self.time, self.size, self.cipher, zero, self.key = unpack_from(
            "<QqQHHI", block, 32)
        has_tree = magic in (b"TRIAGEJL", b"TRIAGELV", b"TRIAGESN", b"TRIAGEMK")
        size = self.sequence - (magic in (b"TRIAGEJL", b"TRIAGELV")) if has_tree else 0
        self.tree = Tree(size, (block[136 + 32 * i:168 + 32 * i] for i in range(count)))
        need(cluster in (None, self.cluster) and zero == 0, file, at + 16)
        need(count == bin(size).count("1") and not any(block[136 + 32 * count:]), file, at + 128)
        need(block[64:96] == (self.tree.root() if has_tree else bytes(32)), file, at + 64)


class Reader:
    def __init__(self, directory):
        self.directory, self.names = directory, sorted(os.listdir(directory))
        self.cluster = Header("identity", self.read("identity"), b"TRIAGEID").cluster
        self.crc_key = crc(self.cluster)

    def read(self, file):
        with open(os.path.join(self.directory, file), "rb") as opened:
            return opened.read()

    def has_crc(self, data, at, end):
        return unpack_from("<I", data, at)[0] == crc(data[at + 4:end], self.crc_key)

    def opener(self, file, header):  # 5: opens the messages of a file, here with cipher 0
        need(not any(header.block[56:64] + header.block[96:128]), file, 56)
        return lambda message, nonce, tag, bound: None if any(nonce + tag) else message

    def segment(self, file, tree, is_last):  # 6
        data = self.read(file)
        header = Header(file, data[:4096], b"TRIAGEJL", self.cluster)
        need(header.sequence == int(file[:20]) and header.size == len(data), file, 32)
        need(tree is None or (tree.size, tree) == (header.tree.size, header.tree), file, 64)
        tree, leaves, at = Tree(header.tree.size, header.tree), [], 4096
        open_message = self.opener(file, header)
        while at < len(data.rstrip(b"\0")):
            size = unpack_from("<I", data, at + 4)[0] if self.has_crc(data, at, at + 32) else 0
            end = at + 88 + size if 16 <= size <= len(data) - at - 88 and size % 8 == 0 else None
            seal = pack("<I4s", crc(data[at + 32:end - 8], self.crc_key), b"DONE") if end else b""
            if end is None or data[end - 8:end] != seal:
                need(is_last and self.is_torn(data, at, end), file, at)
                print("torn", file, at)
                break
            first, count = unpack_from("<QI", data, at + 8)
            batch = open_message(data[at + 32:end - 56], data[at + 20:at + 32],
                                 data[end - 56:end - 40], data[at + 4:at + 20])
            need(first == tree.size + 1 and count > 0 and batch is not None, file, at)
            for sequence, time, leaf, parts in self.records(file, at, batch, first, count):
                tree.add(leaf)
                leaves.append(leaf)
                print("r", sequence, time, " ".join(parts))
            need(tree.root() == data[end - 40:end - 8], file, end - 40)
            at = end
        return header, leaves, tree

    def is_torn(self, data, at, end):
        return False

    def records(self, file, at, data, first, count):  # 6, 7
        position = 0
        for sequence in range(first, first + count):
            body, sealed, time = unpack_from("<IIq", data, position)
            content, start = data[position + 16:position + 16 + body], position + 16 + body
            stop, position = start + sealed, (start + sealed + 7) // 8 * 8
            need(body + sealed <= 2 << 20 and stop <= len(data), file, at)
            need(not any(data[stop:position]), file, at)
            parts, commitments = [content.hex()], []
            while start < stop:
                length, = unpack_from("<I", data, start)
                is_erased = length == 1 << 31
                end = start + (36 if is_erased else 20 + length)
                need(end <= stop and len(parts) <= 16, file, at)
                field, start = data[start + 4:end], end
                commitments.append(field if is_erased else sha(b"\2", field))
                parts.append("erased" if is_erased else field[16:].hex())
            entry = pack("<QqQ", sequence, time, len(commitments)) + b"".join(commitments) + content
            yield sequence, time, sha(b"\0", entry), parts
        need(position == len(data), file, at)

    def snapshot(self, file):  # 9
        data, at, kind, sections = self.read(file), 4096, 1, {}
        header = Header(file, data[:4096], b"TRIAGESN", self.cluster)
        need(header.sequence == int(file[:20]), file, 32)
        open_message, digests = self.opener(file, header), [sha(data[:4096])]
        while kind == 1:
            stored, size, count, section, encoding, kind, index = unpack_from(
                "<IIIHBBI", data, at + 4)
            need(size + 64 <= stored <= len(data) - at and stored % 4096 == 0, file, at)
            block, at = data[at:at + stored], at + stored
            body = open_message(block[64:64 + size], block[24:36], block[36:52], block[4:24])
            need(self.has_crc(block, 0, stored) and body is not None, file, at)
            need((index, encoding) == (len(digests) - 1, 0), file, at)
            need(not any(block[52:64] + block[64 + size:]), file, at)
            if kind == 1:
                need(stored <= header.size or count == 1, file, at)
                digests.append(sha(block))
                blocks, records = sections.get(section, (0, 0))
                sections[section] = blocks + 1, records + count
                for _ in range(count):
                    end = 4 + unpack_from("<I", body)[0]
                    need(end <= len(body), file, at)
                    print("s", file, section, body[4:end].hex())
                    body = body[end:]
                need(not body, file, at)
        total = sum(records for _, records in sections.values())
        expected = pack("<QQQQ", index, total, len(data), len(sections)) + sha(*digests)
        for section, counts in sorted(sections.items()):
            expected += pack("<QQQ", section, *counts)
        need(kind == 2 and body == expected and at == len(data), file, at)
        return header

    def run(self):
        tree, segments = None, [name for name in self.names if name.endswith(".journal")]
        for name in segments:
            tree = self.segment(name, tree, name == segments[-1])[2]
        for name in self.names:
            if name.endswith(".snapshot"):
                need(self.snapshot(name).sequence <= tree.size, name, 32)
        print("head", tree.size, tree.root().hex())
        return tree


if __name__ == "__main__":
    try:
        Reader(sys.argv[1]).run()
    except (Bad, struct.error) as bad:
        sys.exit(str(bad))
