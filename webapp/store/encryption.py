"""Encryption of single values: AES-256-GCM under a subject's key, bound to the place where the value belongs.

Nonces are derived from key, place and value (as SIV modes do), so that an event that is appended again is the same
text again, and two different texts never share one. AES-GCM-SIV itself isn't in every OpenSSL that is in use, and what
one machine writes another must read.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import secrets
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

key_bytes, nonce_bytes = 32, 12
marker = '"encrypted":{"v":1,'
"""What stands in every text that holds a value of ours; a text without it needn't be looked through."""

_parts = frozenset({"v", "subject", "nonce", "data"})


class Altered(Exception):
    """The ciphertext was changed, or moved from where it belongs."""


class Cipher:
    """What one subject's values are encrypted and decrypted with. Thread-safe."""

    __slots__ = ("_aead", "_nonce_key", "reference")

    def __init__(self, reference: str, key: bytes) -> None:
        self.reference = reference
        self._aead = AESGCM(derive(key, "encryption"))
        self._nonce_key = derive(key, "nonce")

    def encrypt(self, text: str, place: str, search_hash: str | None = None) -> str:
        """JSON text of the object that stands for a JSON text at a place."""
        plain = text.encode()
        bound = self._bound(place, search_hash)
        nonce = hmac.digest(self._nonce_key, len(bound).to_bytes(8, "big") + bound + plain, "sha256")[:nonce_bytes]
        tail = "" if search_hash is None else f',"hash":"{search_hash}"'
        # These texts are base64, so nothing needs escaping.
        return (
            f'{{{marker}"subject":"{self.reference}","nonce":"{to_base64(nonce)}",'
            f'"data":"{to_base64(self._aead.encrypt(nonce, plain, bound))}"{tail}}}}}'
        )

    def decrypt(self, encrypted: dict[str, Any], place: str) -> str:
        """The JSON text that was encrypted at this place; raises Altered."""
        try:
            search_hash = encrypted.get("hash")
            if search_hash is not None and "\0" in search_hash:
                raise Altered  # or what is bound could be cut into other parts
            nonce, data = from_base64(encrypted["nonce"]), from_base64(encrypted["data"])
            return self._aead.decrypt(nonce, data, self._bound(place, search_hash)).decode()
        except (InvalidTag, ValueError, TypeError) as error:
            raise Altered from error

    def _bound(self, place: str, search_hash: str | None) -> bytes:
        searchable = "" if search_hash is None else f"hash {search_hash}"
        return f"1\0{self.reference}\0{searchable}\0{place}".encode("utf-8", "surrogatepass")


def encrypted_parts(value: Any) -> dict[str, Any] | None:
    """The parts of an encrypted value as it stands in decoded JSON; None for anything else."""
    if not isinstance(value, dict) or len(value) != 1:
        return None
    parts = value.get("encrypted")
    if not isinstance(parts, dict) or parts.keys() - {"hash"} != _parts or parts["v"] != 1:
        return None
    return parts if isinstance(parts["subject"], str) else None


def derive(key: bytes, purpose: str) -> bytes:
    """A key of its own for each purpose, from which the first can't be told."""
    return hmac.digest(key, f"projectionist:{purpose}".encode(), "sha256")


def keyed_hash(key: bytes, *parts: str) -> str:
    """192 bits that nobody without the key can link to the parts, as 32 letters; only the last part may hold a NUL."""
    message = "\0".join(parts).encode("utf-8", "surrogatepass")
    return base64.urlsafe_b64encode(hmac.digest(key, message, "sha256")[:24]).decode()


def wrap_key(master: bytes, key: bytes, context: bytes) -> bytes:
    """A key locked with another one, for this context alone; different each time."""
    nonce = secrets.token_bytes(nonce_bytes)
    return nonce + AESGCM(master).encrypt(nonce, key, context)


def unwrap_key(master: bytes, wrapped: bytes, context: bytes) -> bytes:
    """What wrap_key locked; raises Altered for another master key, another context or other bytes."""
    try:
        return AESGCM(master).decrypt(wrapped[:nonce_bytes], wrapped[nonce_bytes:], context)
    except (InvalidTag, ValueError) as error:
        raise Altered from error


def to_base64(raw: bytes) -> str:
    """Bytes as text without line breaks."""
    return binascii.b2a_base64(raw, newline=False).decode()


def from_base64(text: str) -> bytes:
    """The bytes of such a text, which must be written exactly so; raises ValueError."""
    return binascii.a2b_base64(text, strict_mode=True)
