"""ECDSA signatures on the curve P-256, to sign the certificates of a simulator on loopback.

Rules of this file:
- it signs what nobody has a reason to forge and keeps no secret for long: it takes no care of
  timing, and must not be used for anything else;
- numbers are plain integers; a signature is its two numbers.

Source: SEC 2, section 2.4.2 (secp256r1); FIPS 186-5, section 6.4.
"""

from hashlib import sha256
from secrets import randbelow

FIELD = 2**256 - 2**224 + 2**192 + 2**96 - 1
ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
GENERATOR = (
    0x6B17D1F2E12C4247F8BCE6E563A440F277037D812DEB33A0F4A13945D898C296,
    0x4FE342E2FE1A7F9B8EE7EB4A7C0F9E162BCE33576B315ECECBB6406837BF51F5,
)

Point = tuple[int, int]


def new_key() -> int:
    """Return a private key."""
    return 1 + randbelow(ORDER - 1)


def public_point(key: int) -> Point:
    """Return the public key of a private key."""
    point = _times(key, GENERATOR)
    assert point is not None, "the key is a multiple of the order"
    return point


def sign(key: int, message: bytes) -> tuple[int, int]:
    """Return the signature of a message under SHA-256.

    Holds: `verifies` accepts it for the key's public point, and for no other message.
    """
    digest = int.from_bytes(sha256(message).digest())
    while True:
        nonce = new_key()
        r = public_point(nonce)[0] % ORDER
        s = pow(nonce, -1, ORDER) * (digest + r * key) % ORDER
        if r and s:
            return r, s


def verifies(point: Point, message: bytes, signature: tuple[int, int]) -> bool:
    """Say whether a signature is the point's."""
    r, s = signature
    digest = int.from_bytes(sha256(message).digest())
    inverse = pow(s, -1, ORDER)
    found = _plus(_times(digest * inverse % ORDER, GENERATOR), _times(r * inverse % ORDER, point))
    return found is not None and found[0] % ORDER == r


def _plus(one: Point | None, other: Point | None) -> Point | None:
    """Add two points; None is the point at infinity."""
    if one is None or other is None:
        return one or other
    (x1, y1), (x2, y2) = one, other
    if x1 == x2 and (y1 + y2) % FIELD == 0:
        return None
    if one == other:
        slope = (3 * x1 * x1 - 3) * pow(2 * y1, -1, FIELD) % FIELD
    else:
        slope = (y2 - y1) * pow(x2 - x1, -1, FIELD) % FIELD
    x3 = (slope * slope - x1 - x2) % FIELD
    return x3, (slope * (x1 - x3) - y1) % FIELD


def _times(factor: int, point: Point) -> Point | None:
    result: Point | None = None
    addend: Point | None = point
    while factor:
        if factor & 1:
            result = _plus(result, addend)
        addend = _plus(addend, addend)
        factor >>= 1
    return result
