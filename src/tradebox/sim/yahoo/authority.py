"""A certificate authority for one simulator: its root, and one certificate for Yahoo's hosts.

Rules of this file:
- made once per home, in a folder of mode 0700, its files of mode 0600;
- the root's private key is thrown away after its one signature: nobody can sign with it again;
- a client must be told to trust the root; nothing on the machine does by itself.

Source: RFC 5280 (certificates), RFC 5480 and 5915 (keys on a curve).
"""

import ssl
from base64 import encodebytes
from hashlib import sha1
from pathlib import Path
from secrets import randbits

from tradebox.errors import HomeUnusable
from tradebox.sim.market.clock import write_atomically
from tradebox.sim.yahoo import curve

HOSTS = ("yahoo.com", "*.yahoo.com", "*.finance.yahoo.com", "localhost")

_COMMON_NAME = "2.5.4.3"
_ORGANISATION = "2.5.4.10"
_ECDSA_SHA256 = "1.2.840.10045.4.3.2"
_EC_PUBLIC_KEY = "1.2.840.10045.2.1"
_P256 = "1.2.840.10045.3.1.7"
_SERVER_AUTH = "1.3.6.1.5.5.7.3.1"
_SUBJECT_KEY, _KEY_USAGE, _ALTERNATIVE_NAMES = "2.5.29.14", "2.5.29.15", "2.5.29.17"
_CONSTRAINTS, _AUTHORITY_KEY, _EXTENDED_USAGE = "2.5.29.19", "2.5.29.35", "2.5.29.37"
_NOT_BEFORE, _NOT_AFTER = b"200101000000Z", b"491231235959Z"
_SEQUENCE, _SET = 0x30, 0x31


def authority_file(folder: Path) -> Path:
    """Return the root certificate that a client must trust."""
    return folder / "ca.crt"


def server_context(folder: Path) -> ssl.SSLContext:
    """Return the TLS context of the server; makes the certificates at the first call.

    Raises: HomeUnusable if they cannot be written or read.
    """
    chain = folder / "server.pem"
    try:
        if not chain.exists() or not authority_file(folder).exists():
            folder.mkdir(mode=0o700, exist_ok=True)
            root, server = make_certificates()
            write_atomically(authority_file(folder), root)
            write_atomically(chain, server)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(chain)
    except (OSError, ssl.SSLError) as error:
        raise HomeUnusable(
            f"the certificates in {folder} cannot be used ({error}): remove that folder",
            path=str(folder),
        ) from error
    return context


def make_certificates() -> tuple[str, str]:
    """Return the root certificate, and the server's key with its certificate, as PEM."""
    root_key, server_key = curve.new_key(), curve.new_key()
    root_name, server_name = _name("tradebox simulator CA"), _name("simulated yahoo.com")
    root_point, server_point = _public(root_key), _public(server_key)
    root = _certificate(
        root_key,
        root_name,
        root_name,
        root_point,
        [
            _extension(_CONSTRAINTS, _sequence(b"\x01\x01\xff"), is_critical=True),
            _extension(_KEY_USAGE, b"\x03\x02\x01\x06", is_critical=True),
            _extension(_SUBJECT_KEY, _tlv(0x04, _identifier(root_point))),
        ],
    )
    names = b"".join(_tlv(0x82, host.encode()) for host in HOSTS) + _tlv(0x87, b"\x7f\0\0\1")
    server = _certificate(
        root_key,
        root_name,
        server_name,
        server_point,
        [
            _extension(_CONSTRAINTS, _sequence(), is_critical=True),
            _extension(_KEY_USAGE, b"\x03\x02\x07\x80", is_critical=True),
            _extension(_EXTENDED_USAGE, _sequence(_object_id(_SERVER_AUTH))),
            _extension(_ALTERNATIVE_NAMES, _tlv(_SEQUENCE, names)),
            _extension(_SUBJECT_KEY, _tlv(0x04, _identifier(server_point))),
            _extension(_AUTHORITY_KEY, _sequence(_tlv(0x80, _identifier(root_point)))),
        ],
    )
    private = _sequence(
        _integer(1),
        _tlv(0x04, server_key.to_bytes(32)),
        _tlv(0xA0, _object_id(_P256)),
        _tlv(0xA1, _bits(server_point)),
    )
    root_pem = _pem("CERTIFICATE", root)
    return root_pem, _pem("EC PRIVATE KEY", private) + _pem("CERTIFICATE", server)


def _certificate(
    signer: int, issuer: bytes, subject: bytes, point: bytes, extensions: list[bytes]
) -> bytes:
    algorithm = _sequence(_object_id(_ECDSA_SHA256))
    body = _sequence(
        _tlv(0xA0, _integer(2)),
        _integer(randbits(127) | 1 << 126),
        algorithm,
        issuer,
        _sequence(_tlv(0x17, _NOT_BEFORE), _tlv(0x17, _NOT_AFTER)),
        subject,
        _sequence(_sequence(_object_id(_EC_PUBLIC_KEY), _object_id(_P256)), _bits(point)),
        _tlv(0xA3, _sequence(*extensions)),
    )
    r, s = curve.sign(signer, body)
    return _sequence(body, algorithm, _bits(_sequence(_integer(r), _integer(s))))


def _name(common: str) -> bytes:
    parts = ((_ORGANISATION, "tradebox SIMULATED"), (_COMMON_NAME, common))
    return _sequence(
        *(
            _tlv(_SET, _sequence(_object_id(identifier), _tlv(0x0C, text.encode())))
            for identifier, text in parts
        )
    )


def _extension(identifier: str, value: bytes, *, is_critical: bool = False) -> bytes:
    critical = b"\x01\x01\xff" if is_critical else b""
    return _sequence(_object_id(identifier), critical, _tlv(0x04, value))


def _public(key: int) -> bytes:
    x, y = curve.public_point(key)
    return b"\x04" + x.to_bytes(32) + y.to_bytes(32)


def _identifier(point: bytes) -> bytes:
    return sha1(point, usedforsecurity=False).digest()


def _sequence(*parts: bytes) -> bytes:
    return _tlv(_SEQUENCE, b"".join(parts))


def _bits(content: bytes) -> bytes:
    return _tlv(0x03, b"\0" + content)


def _integer(value: int) -> bytes:
    return _tlv(0x02, value.to_bytes(value.bit_length() // 8 + 1))


def _object_id(text: str) -> bytes:
    first, second, *others = map(int, text.split("."))
    content = bytearray([40 * first + second])
    for number in others:
        digits = [number & 0x7F]
        while number := number >> 7:
            digits.append(number & 0x7F | 0x80)
        content += bytes(reversed(digits))
    return _tlv(0x06, bytes(content))


def _tlv(tag: int, content: bytes) -> bytes:
    size = len(content)
    if size < 0x80:
        return bytes([tag, size]) + content
    length = size.to_bytes((size.bit_length() + 7) // 8)
    return bytes([tag, 0x80 | len(length)]) + length + content


def _pem(label: str, content: bytes) -> str:
    text = encodebytes(content).decode().replace("\n", "")
    lines = "\n".join(text[start : start + 64] for start in range(0, len(text), 64))
    return f"-----BEGIN {label}-----\n{lines}\n-----END {label}-----\n"
