"""Check an exported ledger, offline, with nothing but Python.

    python verify.py LEDGER.jsonl [--key HEX] [--head SEQ:HASH]

The file has a line an entry: its number, its text and a hash of both and of all before. What was
changed, deleted, inserted or moved breaks the chain. Anchors are entries with an earlier head of
the chain that the coordinator countersigned (Ed25519, RFC 8032; ``--key`` is its public key): a
chain that was made anew does not lead to them. What was cut off is missed by ``--head``, the head
that the coordinator has on record.

A release that names its run leaves after the coordinator has countersigned it. One that no anchor
covers though its run went on, or though the masks of its sum came off, left without that.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Iterable
from typing import Any

BEGIN = "motet ledger 1\n"
ANCHOR = "anchor"
P = 2**255 - 19
Q = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P


def first(site: str) -> str:
    """What the chain of a site begins with."""
    return hashlib.sha256(f"{BEGIN}{site}".encode()).hexdigest()


def following(before: str, number: int, text: str) -> str:
    """The hash of an entry: of the one before it, its number and its text."""
    return hashlib.sha256(f"{before}\n{number}\n{text}".encode()).hexdigest()


def signed(site: str, number: int, head: str) -> bytes:
    """What a countersignature is of."""
    return f"{BEGIN}{site}\n{number}\n{head}".encode()


def is_signed(key: str, site: str, number: int, head: str, signature: str) -> bool:
    """Whether a head was countersigned; key and signature are hexadecimal."""
    try:
        public, given = bytes.fromhex(key), bytes.fromhex(signature)
    except ValueError:
        return False
    return ed25519(public, signed(site, number, head), given)


def problems(
    lines: Iterable[str], *, key: str = "", head: tuple[int, str] | None = None
) -> list[str]:
    """What is wrong with an exported ledger; empty where nothing is.

    Parameters
    ----------
    lines : iterable of str
    key : str
        The coordinator's public key, hexadecimal; empty: signatures are not checked.
    head : (int, str), optional
        Number and hash of an entry that the coordinator has on record.
    """
    try:
        return _problems([json.loads(line) for line in lines if line.strip()], key, head)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        return [f"the file cannot be read as a ledger: {type(error).__name__}"]


def _problems(rows: list[Any], key: str, head: tuple[int, str] | None) -> list[str]:
    if not rows or rows[0]["ledger"] != BEGIN.strip():
        return ["the file does not begin as a ledger does"]
    site, found = str(rows[0]["site"]), list[str]()
    hashes, anchors, bodies = {0: first(site)}, [], []
    for number, row in enumerate(rows[1:], 1):
        if type(row["number"]) is not int or row["number"] != number:
            found.append(f"entry {number} is missing, or stands elsewhere")
            break
        hashes[number] = following(hashes[number - 1], number, row["text"])
        if row["hash"] != hashes[number]:
            found.append(f"entry {number}, or one before it, was changed")
            break
        bodies.append(json.loads(row["text"]))
        if (body := bodies[-1])["kind"] == ANCHOR:
            anchors.append((int(body["number"]), str(body["head"]), str(body["signature"])))
    for number, value, _ in anchors:
        if hashes.get(number) != value:
            found.append(f"the chain does not lead to the anchor at entry {number}")
            break
    if head is not None and hashes.get(head[0]) != head[1]:
        found.append(f"the chain does not lead to the head on record at entry {head[0]}")
    if anchors and not found:
        number, value, signature = max(anchors)  # covers all before it
        if key and not is_signed(key, site, number, value, signature):
            found.append(f"the anchor at entry {number} has no valid signature")
    return found or _uncovered(bodies)


def _uncovered(bodies: list[Any]) -> list[str]:
    """Releases that left though no anchor is of them or of what came after them.

    The last of a run may have been stopped before it left: nothing came after it. What is part of
    a masked sum is read when masks come off.
    """
    waiting = _waiting(bodies)
    last = {_run(body): number for number, body in waiting}
    read = {str(body["circle"]) for body in bodies if body["kind"] == "reveal"}

    def left(number: int, body: Any) -> bool:
        circle = body.get("circle")
        return circle in read if isinstance(circle, str) else last[_run(body)] != number

    return [
        f"entry {number}, '{body.get('phase')}', was never countersigned, and its study went on"
        for number, body in waiting
        if left(number, body)
    ]


def _waiting(bodies: list[Any]) -> list[tuple[int, Any]]:
    """Number and body of the releases for whose countersignature there was nothing yet.

    Entries that do not name their run are of sites and versions that waited for none.
    """
    covered = max((int(body["number"]) for body in bodies if body["kind"] == ANCHOR), default=0)
    return [
        (number, body)
        for number, body in enumerate(bodies, 1)
        if number > covered and body["kind"] == "release" and "run" in body
    ]


def _run(body: Any) -> tuple[str, str]:
    return str(body["run"]), str(body.get("plan"))


def beyond(lines: Iterable[str]) -> str:
    """What no anchor covers, in words; empty where the last entry is the last anchor."""
    bodies = [json.loads(json.loads(line)["text"]) for line in lines if '"text"' in line]
    anchored = max((int(body["number"]) for body in bodies if body["kind"] == ANCHOR), default=0)
    stopped = "".join(
        f"; entry {number}, '{body.get('phase')}', was not countersigned and did not leave"
        for number, body in _waiting(bodies)
    )
    if not anchored:
        words = "no entry is anchored: whether the chain was made anew shows by --head alone"
        return words + stopped
    after = len(bodies) - anchored - 1
    return f"{after} entries are younger than the last anchor{stopped}" if after > 0 else ""


def ed25519(key: bytes, message: bytes, signature: bytes) -> bool:
    """Verify a signature: RFC 8032, section 5.1.7."""
    if len(key) != 32 or len(signature) != 64:
        return False
    A, R = _point(key), _point(signature[:32])
    s = int.from_bytes(signature[32:], "little")
    if A is None or R is None or s >= Q:
        return False
    digest = hashlib.sha512(signature[:32] + key + message).digest()
    h = int.from_bytes(digest, "little") % Q
    y = 4 * pow(5, -1, P) % P
    base = _with_x(y, 0)
    assert base is not None
    left, right = _times(s, base), _plus(R, _times(h, A))
    # Projective: equal where the quotients are.
    return (left[0] * right[2] - right[0] * left[2]) % P == 0 and (
        left[1] * right[2] - right[1] * left[2]
    ) % P == 0


Point = tuple[int, int, int, int]


def _point(data: bytes) -> Point | None:
    y = int.from_bytes(data, "little")
    return _with_x(y & ((1 << 255) - 1), y >> 255)


def _with_x(y: int, sign: int) -> Point | None:
    if y >= P:
        return None
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * pow(2, (P - 1) // 4, P) % P
    if (x * x - square) % P or (x == 0 and sign):
        return None
    if x & 1 != sign:
        x = P - x
    return x, y, 1, x * y % P


def _plus(a: Point, b: Point) -> Point:
    A, B = (a[1] - a[0]) * (b[1] - b[0]) % P, (a[1] + a[0]) * (b[1] + b[0]) % P
    C, Z = 2 * a[3] * b[3] * D % P, 2 * a[2] * b[2] % P
    E, F, G, H = B - A, Z - C, Z + C, B + A
    return E * F % P, G * H % P, F * G % P, E * H % P


def _times(k: int, point: Point) -> Point:
    found: Point = (0, 1, 1, 0)
    while k:
        if k & 1:
            found = _plus(found, point)
        point, k = _plus(point, point), k >> 1
    return found


def main() -> int:
    """Say whether a ledger is whole; 0 if it is."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("ledger")
    parser.add_argument("--key", default="", help="the coordinator's public key, hexadecimal")
    parser.add_argument("--head", default="", help="SEQ:HASH that the coordinator has on record")
    asked = parser.parse_args()
    head = None
    if asked.head:
        number, _, value = asked.head.partition(":")
        head = (int(number), value)
    with open(asked.ledger, encoding="utf-8") as stream:
        lines = stream.readlines()
    found = problems(lines, key=asked.key, head=head)
    for problem in found:
        sys.stdout.write(f"NOT WHOLE: {problem}\n")
    if not found:
        unchecked = "" if asked.key else " (signatures were not checked: no --key)"
        sys.stdout.write(f"The ledger is whole{unchecked}.\n")
        if head is None and (words := beyond(lines)):
            sys.stdout.write(f"Note: {words}.\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
