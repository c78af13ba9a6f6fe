#!/usr/bin/env python3
"""Reads any data directory by FORMAT.md, VAULT.md and FORMAT-1.md of Sources/TriageJournal alone:
`read_every_directory.py DIRECTORY [KEK-FILE]`. To what read_data_directory.py does it adds
encryption, torn tails, leaves, signed heads, the mark and the vault, and version 1 of the format.

Prints `torn FILE OFFSET` for a last batch that was not finished; the rest as read_data_directory.py
does, for version 1 with the chain in place of the root. Encrypted directories need the package
`cryptography`.
"""
import base64
import os
import struct
import sys
from struct import pack, unpack_from

from read_data_directory import Bad, Header, Reader, crc, need, sha


def aes(key):
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    return AESGCM(key)


def decrypt(cipher, message, nonce, bound):
    """The plaintext; None if it was not encrypted so."""
    from cryptography.exceptions import InvalidTag
    try:
        return cipher.decrypt(nonce, message, bound)
    except InvalidTag:
        return None


class Keys:  # 4
    def __init__(self, reader, kek):
        kek = kek if len(kek) == 32 else kek.removesuffix(b"\n")
        if len(kek) == 64:
            kek = bytes.fromhex(kek.decode())
        elif len(kek) != 32:
            kek = base64.b64decode(kek + b"=" * (-len(kek) % 4))
        file = reader.read("keys")
        half = len(file) // 2
        need(file[:half] == file[half:], "keys", half)
        Header("keys", file[:4096], b"TRIAGEKY", reader.cluster)
        self.data, self.public = {}, {}
        for at in range(4096, half, 128):
            entry = file[at:at + 128]
            number, kind = unpack_from("<IH", entry, 4)
            if number == 0:
                break
            need(reader.has_crc(entry, 0, 128), "keys", at)
            need(entry[24:32] == sha(b"triaged key-encryption key", kek)[:8], "keys", at + 24)
            bound = reader.cluster + entry[4:32] + entry[92:124]
            key = decrypt(aes(kek), entry[44:92], entry[32:44], bound)
            need(key is not None, "keys", at + 44)
            if kind == 1:
                self.data[number] = key
            else:
                self.public[number] = entry[92:124]


class EveryReader(Reader):
    def __init__(self, directory, kek=None):
        super().__init__(directory)
        need(("keys" in self.names) == (kek is not None), "keys", 0)
        self.keys = kek and Keys(self, kek)
        self.roots = {}

    def opener(self, file, header):  # 5
        if self.keys is None:
            return super().opener(file, header)
        from cryptography.hazmat.primitives.hashes import SHA256
        from cryptography.hazmat.primitives.kdf.hkdf import HKDF
        need(header.cipher == 1 and header.key in self.keys.data, file, 56)
        info = b"triaged file" + header.block[:12] + header.block[16:40]
        hkdf = HKDF(algorithm=SHA256(), length=32, salt=header.block[96:128], info=info)
        cipher = aes(hkdf.derive(self.keys.data[header.key]))
        return lambda message, nonce, tag, bound: decrypt(
            cipher, message + tag, nonce, self.cluster + bound)

    def is_torn(self, data, at, end, header_bytes=32):  # 12, rules 3 to 6
        def has_zero_sector(stop):
            cuts = [at, *range((at // 512 + 1) * 512, stop, 512), stop]
            return any(not any(data[a:b]) for a, b in zip(cuts, cuts[1:]))
        if end is not None:
            return not any(data[end:]) and (data[end - 1] == 0 or has_zero_sector(end))
        stop = min(at + header_bytes, len(data))
        for place in range(at + 8, len(data) - header_bytes + 1, 8):
            if any(data[place:place + 8]) and self.has_crc(data, place, place + header_bytes):
                return False
        return not any(data[stop:]) or has_zero_sector(stop)

    def segment(self, file, tree, is_last):
        header, leaves, tree = super().segment(file, tree, is_last)
        self.roots[header.sequence - 1] = header.block[64:96]
        name = file[:20] + ".leaves"
        if name in self.names:
            self.leaves(name, header, leaves)
        return header, leaves, tree

    def leaves(self, file, segment, leaves):  # 8
        data = self.read(file)
        header = Header(file, data[:4096], b"TRIAGELV", self.cluster)
        need(header.block[32:40] == segment.block[32:40], file, 32)
        need(header.tree == segment.tree, file, 64)
        need(header.size == len(data) == 4096 * (1 + -(-len(leaves) // 127)), file, 48)
        for index in range(0, len(leaves), 127):
            at, part = 4096 * (1 + index // 127), leaves[index:index + 127]
            body = pack("<IQ16x", len(part), header.sequence + index) + b"".join(part)
            body += bytes(4092 - len(body))
            need(data[at:at + 4096] == pack("<I", crc(body, self.crc_key)) + body, file, at)

    def heads(self, size):  # 10
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
        data, last = self.read("heads"), 0
        Header("heads", data[:4096], b"TRIAGEHD", self.cluster)
        for at in range(4096, len(data), 512):
            slot = data[at:at + 512]
            if len(slot) < 512 or not self.has_crc(slot, 0, 512):
                need(not any(data[at + 512:]), "heads", at)
                break
            number, signed, time = unpack_from("<IQq", slot, 4)
            need(last <= signed <= size and number in self.keys.public, "heads", at)
            need(self.roots.get(signed, slot[24:56]) == slot[24:56], "heads", at + 24)
            text = (f"triaged/{self.cluster.hex()}\n{signed}\n"
                    f"{base64.b64encode(slot[24:56]).decode()}\ntime {time}\n")
            key = Ed25519PublicKey.from_public_bytes(self.keys.public[number])
            key.verify(slot[56:120], text.encode())
            last = signed

    def mark(self, size):  # 11
        data, marks = self.read("mark"), []
        for at in (0, 4096):
            try:
                marks.append(Header("mark", data[at:at + 4096], b"TRIAGEMK", self.cluster, at))
            except Bad:
                continue
        need(marks and max(marks, key=lambda mark: mark.size).sequence <= size, "mark", 0)

    def vault(self):  # VAULT.md 2, 3
        folder = os.path.join(self.directory, "vault")
        file = "vault/keys"
        table = self.read(file)
        Header(file, table[:4096], b"TRIAGEVK", self.cluster)
        for at in range(4096, len(table), 512):
            slot = table[at:at + 512]
            if not any(slot):
                continue
            need(self.has_crc(slot, 0, 512), file, at)
            number, name = unpack_from("<I32s", slot, 4)
            need(number in self.keys.data, file, at + 4)
            key = decrypt(aes(self.keys.data[number]), slot[52:100], slot[40:52],
                          self.cluster + slot[4:40])
            need(key is not None, file, at + 52)
            for kept in os.listdir(folder):
                if kept.startswith(name.hex()):
                    self.object("vault/" + kept, name, aes(key))

    def object(self, file, name, cipher):
        data = self.read(file)
        need(sha(data) == name, file, 0)
        header = Header(file, data[:4096], b"TRIAGEOB", self.cluster)
        count = max(1, -(-header.size // 65536))
        need(len(data) == 4096 + header.size + 16 * count, file, 48)
        for index in range(count):
            at = 4096 + index * 65552
            nonce = pack("<QI", index, index == count - 1)
            chunk = decrypt(cipher, data[at:at + 65552], nonce, header.block[:56])
            need(chunk is not None, file, at)

    def run(self):
        tree = super().run()
        if "heads" in self.names:
            self.heads(tree.size)
        if "mark" in self.names:
            self.mark(tree.size)
        if "vault" in self.names:
            self.vault()


class OldHeader:  # FORMAT-1.md 3
    def __init__(self, file, block, magic):
        need(len(block) == 4096 and block[:8] == magic, file, 0)
        check, = unpack_from("<I", block, 12)
        need(check == crc(block[16:], crc(block[:12])), file, 12)
        need(unpack_from("<I", block, 8)[0] == 1, file, 8)
        need(not any(block[56:64]) and not any(block[96:]), file, 56)
        self.block, self.cluster, self.chain = block, block[16:32], block[64:96]
        self.sequence, self.time, self.size = unpack_from("<QqQ", block, 32)


class OldReader(EveryReader):
    """Version 1: FORMAT-1.md."""

    def __init__(self, directory):
        self.directory, self.names = directory, sorted(os.listdir(directory))
        self.cluster = OldHeader("identity", self.read("identity"), b"TRIAGEID").cluster
        self.crc_key = crc(self.cluster)

    def batch_end(self, data, at):
        if at + 16 > len(data) or not self.has_crc(data, at, at + 16):
            return None
        body, = unpack_from("<I", data, at + 4)
        return at + 56 + body if 24 <= body <= len(data) - at - 56 and body % 8 == 0 else None

    def batch(self, file, data, at, end, sequence, chain):  # 4
        need(unpack_from("<Q", data, at + 8)[0] == sequence + 1, file, at)
        position, records = at + 16, []
        while position < end - 40:
            need(position + 24 <= end - 40, file, position)
            _, length, found, time = unpack_from("<IIQq", data, position)
            stop = position + 24 + length
            following = (stop + 7) // 8 * 8
            need(following <= end - 40 and self.has_crc(data, position, stop), file, position)
            need(found == sequence + 1 and not any(data[stop:following]), file, position)
            sequence = found
            chain = sha(b"\1", chain, sha(b"\0", data[position + 8:stop]))
            records.append((sequence, time, data[position + 24:stop]))
            position = following
        need(data[end - 40:end] == chain + pack("<I", len(records)) + b"DONE", file, end - 40)
        return records, sequence, chain

    def segment(self, file, head, is_last):
        data = self.read(file)
        header = OldHeader(file, data[:4096], b"TRIAGEJL")
        need(header.cluster == self.cluster and header.sequence == int(file[:20]), file, 16)
        need(len(data) == header.size, file, min(len(data), header.size))
        need(head is None or head == (header.sequence - 1, header.chain), file, 32)
        sequence, chain, at = header.sequence - 1, header.chain, 4096
        while at < len(data.rstrip(b"\0")):
            end = self.batch_end(data, at)
            try:
                need(end is not None, file, at)
                records, sequence, chain = self.batch(file, data, at, end, sequence, chain)
            except Bad:
                need(is_last and self.is_torn(data, at, end, 16), file, at)
                print("torn", file, at)
                break
            for number, time, payload in records:
                print("r", number, time, payload.hex())
            at = end
        return sequence, chain

    def snapshot(self, file):  # 5
        data = self.read(file)
        header = OldHeader(file, data[:4096], b"TRIAGESN")
        need(header.cluster == self.cluster and header.sequence == int(file[:20]), file, 16)
        digests, at, sections, kind = [sha(data[:4096])], 4096, {}, 1
        while kind == 1:
            stored, size, count, section, encoding, kind, index = unpack_from(
                "<IIIHBBI", data, at + 4)
            need(size + 32 <= stored <= len(data) - at and stored % 4096 == 0, file, at)
            block, at = data[at:at + stored], at + stored
            need(self.has_crc(block, 0, stored) and not any(block[24:32]), file, at)
            need((index, encoding) == (len(digests) - 1, 0), file, at)
            need(not any(block[32 + size:]), file, at)
            body = block[32:32 + size]
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
        return header.sequence

    def run(self):
        segments = [name for name in self.names if name.endswith(".journal")]
        head = (0, sha(b"\2", self.cluster)) if int(segments[0][:20]) == 1 else None
        for name in segments:
            head = self.segment(name, head, name == segments[-1])
        for name in self.names:
            if name.endswith(".snapshot"):
                need(self.snapshot(name) <= head[0], name, 32)
        print("head", head[0], head[1].hex())


def main(directory, kek_file=None):
    with open(os.path.join(directory, "identity"), "rb") as file:
        version, = unpack_from("<I", file.read(12), 8)
    if version == 1:
        return OldReader(directory).run()
    kek = None
    if kek_file:
        with open(kek_file, "rb") as file:
            kek = file.read()
    EveryReader(directory, kek).run()


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except (Bad, struct.error) as bad:
        sys.exit(str(bad))
