#!/usr/bin/env python3
"""Reads a triaged data directory by FORMAT.md (version 2) or FORMAT-1.md (version 1) of
Sources/TriageJournal alone, and checks all of it: `read_data_directory.py DIRECTORY [KEK-FILE]`.

Prints `r SEQUENCE MILLISECONDS HEX...` for each record (the body, then its sealed fields), `s FILE
SECTION HEX` for each record of each snapshot, and `head SEQUENCE ROOT` (version 1: CHAIN). Ends
with 1 and `FILE at byte OFFSET: WHAT` at the first thing that does not verify; a torn tail is left
out and named as `torn FILE OFFSET`. Encrypted directories need the package `cryptography`.
"""
import base64
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


class Header:
    """FORMAT.md 3, and FORMAT-1.md 3."""

    def __init__(self, file, block, magic, offset=0):
        need(len(block) == 4096 and block[:8] == magic, file, offset, "no header")
        found = struct.unpack_from("<I", block, 12)[0]
        need(found == crc(block[16:], crc(block[:12])), file, offset, "header checksum")
        self.block, self.cluster, self.root = block, block[16:32], block[64:96]
        self.version, = struct.unpack_from("<I", block, 8)
        self.sequence, self.time, self.size = struct.unpack_from("<QqQ", block, 32)
        self.cipher, zero, self.key = struct.unpack_from("<HHI", block, 56)
        if self.version == 1:
            need(not any(block[56:64]) and not any(block[96:]), file, offset, "reserved bytes")
            return
        need(self.version == 2, file, offset, f"version {self.version}")
        count, = struct.unpack_from("<Q", block, 128)
        need(zero == 0 and count <= 64 and not any(block[136 + 32 * count:]), file, offset, "zeros")
        need(self.cipher == 1 or not (self.cipher or self.key or any(block[96:128])),
             file, offset + 56, "cipher")
        self.frontier = [block[136 + 32 * i:168 + 32 * i] for i in range(count)]
        if magic in (b"TRIAGEJL", b"TRIAGELV", b"TRIAGESN", b"TRIAGEMK"):
            before = 1 if magic in (b"TRIAGEJL", b"TRIAGELV") else 0
            need(bin(self.sequence - before).count("1") == count, file, offset + 128, "frontier")
            need(root(self.frontier) == self.root, file, offset + 64, "root")
        else:
            need(count == 0 and not any(self.root), file, offset + 64, "such a file has no tree")


# ---- Tree (FORMAT.md 7) ----

def root(frontier):
    if not frontier:
        return sha()
    digest = frontier[-1]
    for left in reversed(frontier[:-1]):
        digest = sha(b"\1", left, digest)
    return digest


def append(frontier, size, leaf):
    """Adds a leaf to a tree of `size` leaves."""
    while size & 1:
        leaf, size = sha(b"\1", frontier.pop(), leaf), size >> 1
    frontier.append(leaf)


# ---- Keys and encryption (FORMAT.md 4, 5) ----

class Keys:
    def __init__(self, directory, cluster, kek):
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM
        kek = kek if len(kek) == 32 else kek.removesuffix(b"\n")
        if len(kek) == 64:
            kek = bytes.fromhex(kek.decode())
        elif len(kek) != 32:
            kek = base64.b64decode(kek + b"=" * (-len(kek) % 4))
        data = open(os.path.join(directory, "keys"), "rb").read()
        self.data = {}
        half = len(data) // 2
        need(data[:half] == data[half:], "keys", half, "the copies differ")
        header = Header("keys", data[:4096], b"TRIAGEKY")
        need(header.cluster == cluster, "keys", 16, "cluster")
        for at in range(4096, half, 128):
            entry = data[at:at + 128]
            number, kind = struct.unpack_from("<IH", entry, 4)
            if number == 0:
                break
            found, = struct.unpack_from("<I", entry)
            need(found == crc(entry[4:], crc(cluster)), "keys", at, "CRC")
            name = sha(b"triaged key-encryption key", kek)[:8]
            need(entry[24:32] == name, "keys", at + 24, "KEK")
            bound = cluster + entry[4:32] + entry[92:124]
            key = AESGCM(kek).decrypt(entry[32:44], entry[44:92], bound)
            if kind == 1:
                self.data[number] = key


class Cipher:
    """What decrypts the messages of one file."""

    def __init__(self, file, header, keys):
        self.file, self.cluster, self.aead = file, header.cluster, None
        need((header.cipher == 1) == (keys is not None), file, 56, "encryption")
        if keys is not None:
            from cryptography.hazmat.primitives.ciphers.aead import AESGCM
            from cryptography.hazmat.primitives.hashes import SHA256
            from cryptography.hazmat.primitives.kdf.hkdf import HKDF
            need(header.key in keys.data, file, 60, f"no data key {header.key}")
            info = b"triaged file" + header.block[:12] + header.block[16:40]
            hkdf = HKDF(algorithm=SHA256(), length=32, salt=header.block[96:128], info=info)
            self.aead = AESGCM(hkdf.derive(keys.data[header.key]))

    def open(self, offset, message, nonce, tag, bound):
        if self.aead is None:
            need(not any(nonce) and not any(tag), self.file, offset, "nonce or tag without cipher")
            return message
        try:
            return self.aead.decrypt(nonce, message + tag, self.cluster + bound)
        except Exception:
            raise Bad(f"{self.file} at byte {offset}: tag") from None


# ---- Segments (FORMAT.md 6) ----

def batch_end(data, at, key):
    """Offset behind the batch whose header stands at `at`, or None."""
    if not is_header(data, at, key, 32):
        return None
    body = struct.unpack_from("<I", data, at + 4)[0]
    return at + 88 + body if 16 <= body <= len(data) - at - 88 and body % 8 == 0 else None


def is_header(data, at, key, count):
    return (at + count <= len(data)
            and struct.unpack_from("<I", data, at)[0] == crc(data[at + 4:at + count], key))


def batch(file, data, at, end, key, cipher, tree):
    """Lists (sequence, time, parts) of a batch, and adds its leaves to tree = [size, frontier].

    An error behind the checksums is none of a torn write: it is a Wrong."""
    check, = struct.unpack_from("<I", data, end - 8)
    need(check == crc(data[at + 32:end - 8], key) and data[end - 4:end] == b"DONE",
         file, at, "batch checksum")
    try:
        _, _, first, count = struct.unpack_from("<IIQI", data, at)
        need(first == tree[0] + 1 and count > 0, file, at + 8, "sequence")
        plain = cipher.open(at, data[at + 32:end - 56], data[at + 20:at + 32],
                            data[end - 56:end - 40], data[at + 4:at + 20])
        records, position = [], 0
        for sequence in range(first, first + count):
            need(position + 16 <= len(plain), file, at + 32 + position, "record header")
            body, sealed, time = struct.unpack_from("<IIq", plain, position)
            start, stop = position + 16, position + 16 + body + sealed
            need(body + sealed <= 2 << 20 and stop <= len(plain), file, at + 32 + position,
                 "lengths")
            position = (stop + 7) // 8 * 8
            need(not any(plain[stop:position]), file, at + 32 + stop, "padding")
            fields, commitments = sealed_fields(file, at, plain[start + body:stop])
            content = plain[start:start + body]
            entry = b"".join(
                [struct.pack("<QqQ", sequence, time, len(fields)), *commitments, content])
            append(tree[1], tree[0], sha(b"\0", entry))
            tree[0] += 1
            tree[2].append(sha(b"\0", entry))
            records.append((sequence, time, [content.hex()] + fields))
        need(position == len(plain), file, at + 16, "count")
        need(root(tree[1]) == data[end - 40:end - 8], file, end - 40, "root")
        return records
    except Bad as bad:
        raise Wrong(str(bad)) from None


class Wrong(Exception):
    """Everything was written, and it is not right: never torn."""


def sealed_fields(file, at, data):
    fields, commitments, position = [], [], 0
    while position < len(data):
        need(position + 20 <= len(data) and len(fields) < 16, file, at, "sealed field")
        length, = struct.unpack_from("<I", data, position)
        if length >> 31:
            need(length == 1 << 31 and position + 36 <= len(data), file, at, "erased field")
            commitments.append(data[position + 4:position + 36])
            fields.append("erased")
            position += 36
        else:
            stop = position + 20 + length
            need(stop <= len(data), file, at, "sealed field")
            commitments.append(sha(b"\2", data[position + 4:stop]))
            fields.append(data[position + 20:stop].hex())
            position = stop
    return fields, commitments


def torn(data, at, end, key, header_bytes):
    """FORMAT.md 12, rules 3 to 6."""
    def zero_sector(stop):
        cuts = [at] + list(range((at // 512 + 1) * 512, stop, 512)) + [stop]
        return any(not any(data[a:b]) for a, b in zip(cuts, cuts[1:]))
    if end is not None:
        return not any(data[end:]) and (data[end - 1] == 0 or zero_sector(end))
    candidates = (x for x in range(at + 8, len(data), 8) if any(data[x:x + 8]))
    if any(is_header(data, x, key, header_bytes) for x in candidates):
        return False
    stop = min(at + header_bytes, len(data))
    return not any(data[stop:]) or zero_sector(stop)


def segment(directory, file, last, cluster, key, keys, tree):
    """Goes through a segment that goes on from tree = [size, frontier, leaves]."""
    data = open(os.path.join(directory, file), "rb").read()
    header = Header(file, data[:4096], b"TRIAGEJL")
    need(header.cluster == cluster, file, 16, "cluster")
    need(len(data) == header.size, file, min(len(data), header.size), "length")
    need(header.sequence == int(file[:20]), file, 32, "name")
    if tree is not None:
        need(header.sequence == tree[0] + 1, file, 32, f"record {tree[0] + 1} is missing")
        need(header.frontier == tree[1], file, 64, "tree")
    cipher = Cipher(file, header, keys)
    tree, at = [header.sequence - 1, list(header.frontier), []], 4096
    while any(data[at:]):
        end = batch_end(data, at, key)
        try:
            need(end is not None, file, at, "batch header")
            records = batch(file, data, at, end, key, cipher, tree)
        except Bad:
            if not last or not torn(data, at, end, key, 32):
                raise
            print("torn", file, at)
            break
        for sequence, time, parts in records:
            print("r", sequence, time, " ".join(parts))
        at = end
    leaves = os.path.join(directory, file[:20] + ".leaves")
    if os.path.exists(leaves):
        check_leaves(leaves, header, key, tree[2])
    return tree


def check_leaves(path, segment_header, key, leaves):
    """FORMAT.md 8."""
    data, file = open(path, "rb").read(), os.path.basename(path)
    header = Header(file, data[:4096], b"TRIAGELV")
    need(header.block[16:40] == segment_header.block[16:40], file, 16, "cluster or sequence")
    need(header.frontier == segment_header.frontier, file, 64, "tree")
    need(header.size == len(data) == 4096 * (1 + -(-len(leaves) // 127)), file, len(data), "length")
    for index in range(0, len(leaves), 127):
        at, part = 4096 * (1 + index // 127), leaves[index:index + 127]
        body = struct.pack("<IQ16x", len(part), header.sequence + index) + b"".join(part)
        body += bytes(4092 - len(body))
        need(data[at:at + 4096] == struct.pack("<I", crc(body, key)) + body, file, at, "leaves")


# ---- Snapshots (FORMAT.md 9) ----

def snapshot(directory, file, cluster, key, keys):
    data = open(os.path.join(directory, file), "rb").read()
    header = Header(file, data[:4096], b"TRIAGESN")
    need(header.cluster == cluster and header.sequence == int(file[:20]), file, 16,
         "cluster or name")
    front = 32 if header.version == 1 else 64
    cipher = None if header.version == 1 else Cipher(file, header, keys)
    digests, at, index, records, sections = [sha(data[:4096])], 4096, 0, 0, {}
    while True:
        need(at + 4096 <= len(data), file, at, "no trailer")
        check, stored, length, count, section, encoding, kind, number = struct.unpack_from(
            "<IIIIHBBI", data, at)
        need(4096 <= stored <= len(data) - at and stored % 4096 == 0, file, at, "block length")
        block = data[at:at + stored]
        need(check == crc(block[4:], key), file, at, "block checksum")
        need(length <= stored - front and number == index and encoding == 0
             and not any(block[24 if front == 32 else 52:front])
             and not any(block[front + length:]), file, at, "block header")
        body = block[front:front + length]
        if cipher is not None:
            body = cipher.open(at, body, block[24:36], block[36:52], block[4:24])
        if kind == 2:
            break
        need(kind == 1 and (stored <= header.size or count == 1), file, at, "block kind")
        digests.append(sha(block))
        position = 0
        for _ in range(count):
            size, = struct.unpack_from("<I", body, position)
            need(position + 4 + size <= length, file, at + position, "record length")
            print("s", file, section, body[position + 4:position + 4 + size].hex())
            position += 4 + size
        need(position == length, file, at, "record count")
        blocks = sections.setdefault(section, [0, 0])
        blocks[0] += 1
        blocks[1] += count
        records, index, at = records + count, index + 1, at + stored
    expected = struct.pack("<QQQQ", index, records, len(data), len(sections)) + sha(*digests)
    for section, counts in sorted(sections.items()):
        expected += struct.pack("<QQQ", section, *counts)
    need(body == expected and at + stored == len(data), file, at, "trailer")
    return header.sequence


# ---- Version 1 (FORMAT-1.md 4, 5) ----

def old_batch_end(data, at, key):
    if not is_header(data, at, key, 16):
        return None
    body = struct.unpack_from("<I", data, at + 4)[0]
    return at + 56 + body if 24 <= body <= len(data) - at - 56 and body % 8 == 0 else None


def old_batch(file, data, at, end, key, sequence, chain):
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


def old_segment(directory, file, last, cluster, key, head):
    data = open(os.path.join(directory, file), "rb").read()
    header = Header(file, data[:4096], b"TRIAGEJL")
    need(header.version == 1 and header.cluster == cluster, file, 8, "version or cluster")
    need(len(data) == header.size, file, min(len(data), header.size), "length")
    need(header.sequence == int(file[:20]), file, 32, "name")
    if head is not None:
        need(header.sequence == head[0] + 1, file, 32, f"record {head[0] + 1} is missing")
        need(header.root == head[1], file, 64, "chain")
    sequence, chain, at = header.sequence - 1, header.root, 4096
    while any(data[at:]):
        end = old_batch_end(data, at, key)
        try:
            need(end is not None, file, at, "batch header")
            records = list(old_batch(file, data, at, end, key, sequence, chain))
        except Bad:
            if not last or not torn(data, at, end, key, 16):
                raise
            print("torn", file, at)
            break
        for sequence, time, payload, chain in records:
            print("r", sequence, time, payload.hex())
        at = end
    return sequence, chain


def main(directory, kek_file=None):
    names = sorted(os.listdir(directory))
    with open(os.path.join(directory, "identity"), "rb") as file:
        identity = Header("identity", file.read(), b"TRIAGEID")
    cluster, key = identity.cluster, crc(identity.cluster)
    keys = Keys(directory, cluster, open(kek_file, "rb").read()) if kek_file else None
    need(("keys" in names) == (keys is not None), "keys", 0, "encrypted, or not")
    segments = [name for name in names if name.endswith(".journal")]
    if identity.version == 1:
        head = (0, sha(b"\2", cluster)) if segments[0].startswith("0" * 19 + "1.") else None
        for name in segments:
            head = old_segment(directory, name, name == segments[-1], cluster, key, head)
    else:
        tree = None
        for name in segments:
            tree = segment(directory, name, name == segments[-1], cluster, key, keys, tree)
        head = tree[0], root(tree[1])
    for name in names:
        if name.endswith(".snapshot"):
            sequence = snapshot(directory, name, cluster, key, keys)
            need(sequence <= head[0], name, 32, "ahead of the journal")
    print("head", head[0], head[1].hex())


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except (Bad, Wrong) as bad:
        sys.exit(str(bad))
