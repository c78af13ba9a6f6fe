"""Checks proofs of `triaged` from FORMAT.md §7, §10 and §15 alone: shares no code with it.

usage: check_proof.py FILE VERIFIER-KEY...

Prints one line saying what is proved and exits with 0; any flaw is an exception. Needs the package
`cryptography`.
"""
import hashlib
import sys
from base64 import b64decode
from struct import pack, unpack_from

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey


def sha(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


def node(left, right):
    return sha(b"\x01", left, right)


def digest(text):
    value = b64decode(text, validate=True)
    assert len(value) == 32, "a digest has 32 bytes"
    return value


def number(text):
    assert text == str(int(text)), "a number is written without sign and zeros in front"
    return int(text)


class Key:
    """A verifier key: NAME+ID+base64(0x01 and the public key)."""

    def __init__(self, text):
        self.name, self.id, encoded = text.split("+", 2)
        self.bytes = b64decode(encoded, validate=True)
        assert self.bytes[0] == 1 and len(self.bytes) == 33, "Ed25519"
        id = sha(self.name.encode(), b"\n", self.bytes)[:4].hex()
        assert id == self.id, "the id is not the key's"

    def signed(self, text, name, blob):
        """Whether the signature line is this key's; raises when it says so and is not."""
        if name != self.name or blob[:4].hex() != self.id:
            return False
        Ed25519PublicKey.from_public_bytes(self.bytes[1:]).verify(blob[4:], text)
        return True


def head(text, signatures, keys):
    """Size, root and time of a signed head."""
    body = ("\n".join(text) + "\n").encode()
    lines = [line.split(" ") for line in signatures]
    assert all(len(words) == 3 and words[0] == "\u2014" for words in lines), "signature lines"
    signers = [key for key in keys for _, name, blob in lines
               if key.signed(body, name, b64decode(blob, validate=True))]
    assert signers and text[0] == signers[0].name, "not signed by a known key"
    assert text[0].startswith("triaged/"), "another kind of log"
    return number(text[1]), digest(text[2]), int(text[3].removeprefix("time "))


def climb(path, place, last, inner, outer):
    """RFC 9162 §2.1.3.2 and §2.1.4.2: calls `inner` for a sibling on the left, else `outer`."""
    for sibling in path:
        assert last > 0, "the path is too long"
        if place & 1 or place == last:
            inner(sibling)
            while not place & 1 and place:
                place, last = place >> 1, last >> 1
        else:
            outer(sibling)
        place, last = place >> 1, last >> 1
    assert last == 0, "the path is too short"


def inclusion(leaf, index, path, size, root):
    assert index < size, "the record is not in the tree"
    now = [leaf]
    climb(path, index, size - 1,
          lambda left: now.append(node(left, now[-1])),
          lambda right: now.append(node(now[-1], right)))
    assert now[-1] == root, "the record does not lead to the root"


def consistency(path, size, root, later_size, later_root):
    assert size <= later_size, "the heads stand in the wrong order"
    if size in (0, later_size):
        assert not path and root == (later_root if size else sha()), "not the same tree"
        return
    place, last = size - 1, later_size - 1
    first = root if size & (size - 1) == 0 else path.pop(0)
    while place & 1:
        place, last = place >> 1, last >> 1
    old, new = [first], [first]

    def both(sibling):
        old.append(node(sibling, old[-1]))
        new.append(node(sibling, new[-1]))
    climb(path, place, last, both, lambda right: new.append(node(new[-1], right)))
    assert old[-1] == root and new[-1] == later_root, "history was changed"


def entry(sequence, time, commitments, body):
    return pack("<QqQ", sequence, time, len(commitments)) + b"".join(commitments) + body


class Tree:
    """A tree as its frontier: (level, root) of perfect subtrees, the largest first."""

    def __init__(self, size, roots):
        levels = [level for level in reversed(range(64)) if size >> level & 1]
        assert len(levels) == len(roots), "as many digests as the number has bits"
        self.size, self.parts = size, list(zip(levels, roots))

    def append(self, root, level=0):
        assert self.size % (1 << level) == 0
        self.size += 1 << level
        while self.parts and self.parts[-1][0] == level:
            root, level = node(self.parts.pop()[1], root), level + 1
        self.parts.append((level, root))

    def root(self):
        roots = [root for _, root in self.parts]
        while len(roots) > 1:
            right = roots.pop()
            roots.append(node(roots.pop(), right))
        return roots[0] if roots else sha()


def check_record(blocks, keys):
    lines, text, signatures = blocks
    size, root, _ = head(text, signatures, keys)
    extra = b64decode(lines[1].removeprefix("extra "), validate=True)
    index = number(lines[2].removeprefix("index "))
    sequence, _, fields = unpack_from("<QqQ", extra)
    assert sequence == index + 1, "the entry is of another record"
    assert len(extra) >= 24 + 32 * fields, "the entry is cut short"
    inclusion(sha(b"\x00", extra), index, [digest(line) for line in lines[3:]], size, root)
    return f"record {sequence} of {size}"


def check_history(blocks, keys):
    lines, text, signatures, later_text, later_signatures = blocks
    size, root, _ = head(text, signatures, keys)
    later_size, later_root, _ = head(later_text, later_signatures, keys)
    assert text[0] == later_text[0], "of two deployments"
    consistency([digest(line) for line in lines[1:]], size, root, later_size, later_root)
    return f"history {size} {later_size}"


def check_records(blocks, keys):
    lines, text, signatures, records = blocks
    size, root, _ = head(text, signatures, keys)
    first = number(lines[1].removeprefix("first "))
    count = number(lines[2].removeprefix("count "))
    left = [digest(line[5:]) for line in lines if line.startswith("left ")]
    right = [digest(line[6:]) for line in lines if line.startswith("right ")]
    assert len(lines) == 3 + len(left) + len(right), "an unknown line"
    tree, current, shown = Tree(first - 1, left), None, 0

    def finish():
        if current:
            tree.append(sha(b"\x00", entry(*current)))
    for line in records:
        words = line.split(" ")
        if words[0] == "record":
            finish()
            assert number(words[1]) == tree.size + 1, f"record {tree.size + 1} is missing"
            current = [number(words[1]), int(words[2]), [], b64decode(words[3], validate=True)]
        elif words[0] == "field":
            salt, field = (b64decode(word, validate=True) for word in words[1:])
            assert len(salt) == 16
            current[2].append(sha(b"\x02", salt, field))
            shown += 1
        else:
            assert words[0] == "redacted"
            current[2].append(digest(words[1]))
    finish()
    assert tree.size == first - 1 + count, "records are missing at the end"
    for part in right:
        # The largest subtree that begins here: of a power of two that divides the place, and within
        # the tree.
        level = (size - tree.size).bit_length() - 1
        if tree.size:
            level = min(level, (tree.size & -tree.size).bit_length() - 1)
        tree.append(part, level)
    assert tree.size == size and tree.root() == root, "the records are not those of the signed tree"
    return f"records {first}-{first + count - 1} of {size}, {shown} fields shown"


CHECKS = {"c2sp.org/tlog-proof@v1": check_record, "triaged/history-proof@v1": check_history,
          "triaged/records@v1": check_records}


def main(path, *keys):
    with open(path, encoding="utf-8", newline="") as file:
        text = file.read()
    assert text.endswith("\n"), "the file ends too early"
    blocks = [block.split("\n") for block in text[:-1].split("\n\n")]
    print(CHECKS[blocks[0][0]](blocks, [Key(key) for key in keys]))


if __name__ == "__main__":
    main(*sys.argv[1:])
