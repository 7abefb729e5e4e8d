"""Master keys: the few named keys that lock the keys of all subjects; given by the operator, never stored by us."""

from __future__ import annotations

import base64
import os
import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from webapp.errors import WrongKey
from webapp.store.encryption import Altered, from_base64, key_bytes, to_base64, unwrap_key, wrap_key

_how_to_make_one = 'Make one: python -c "import secrets; print(secrets.token_hex(32))"'
_name_limit = 64


class MasterKey(Protocol):
    """What locks keys: our own AES-256-GCM under 32 bytes, or a key service."""

    def wrap(self, key: bytes, context: bytes) -> bytes:
        """The key locked, for this context alone."""
        ...

    def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        """The key again; raises anything for another context or other bytes."""
        ...


@dataclass(frozen=True, slots=True)
class KeyService:
    """A master key that stays elsewhere (a KMS, an HSM): two calls that lock and unlock 32 bytes with a context."""

    wrap: Callable[[bytes, bytes], bytes]
    unwrap: Callable[[bytes, bytes], bytes]


class _LocalKey:
    __slots__ = ("_key",)

    def __init__(self, key: bytes) -> None:
        self._key = key

    def wrap(self, key: bytes, context: bytes) -> bytes:
        return wrap_key(self._key, key, context)

    def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        return unwrap_key(self._key, wrapped, context)


class MasterKeys:
    """The current master key, which locks new keys, and older ones that can still unlock. Immutable.

    A key is 32 bytes, or text that writes them in hex or base64, or a KeyService. Raises WrongKey for anything else.
    """

    def __init__(
        self,
        current: tuple[str, bytes | str | MasterKey],
        older: Mapping[str, bytes | str | MasterKey] | None = None,
    ) -> None:
        self.current = _checked_name(current[0])
        self._keys = {_checked_name(name): _master_key(name, key) for name, key in (older or {}).items()}
        self._keys[self.current] = _master_key(*current)

    @classmethod
    def from_environment(cls, variable: str = "PROJECTIONIST_MASTER_KEYS") -> MasterKeys:
        """The keys that an environment variable lists as `2027=…,2026=…`, the current one first."""
        pairs = [entry.strip().partition("=") for entry in os.environ.get(variable, "").split(",") if entry.strip()]
        if not pairs or not all(name and key for name, _, key in pairs):
            raise WrongKey(
                f"{variable} must list the master keys as NAME=KEY,OLDER=KEY, the current one first, each of 32 bytes "
                f"in hex or base64. {_how_to_make_one}"
            )
        return cls((pairs[0][0], pairs[0][2]), {name: key for name, _, key in pairs[1:]})

    def renewed(self, name: str, key: bytes | str | MasterKey) -> MasterKeys:
        """These keys with a new current one; all that were known can still unlock."""
        return MasterKeys((name, key), self._keys)

    def wrap(self, reference: str, key: bytes) -> str:
        """A subject's key locked with the current master key."""
        return to_base64(self._keys[self.current].wrap(key, _context(reference, self.current)))

    def unwrap(self, reference: str, name: str, wrapped: str) -> bytes:
        """A subject's key; raises WrongKey where the master key of that name isn't here, or isn't the one."""
        master = self._keys.get(name)
        if master is None:
            raise WrongKey(
                f"Personal data is locked with the master key “{name}”, which wasn't given "
                f"(given: {', '.join(sorted(self._keys))}). Give it too, as an older one.",
                name,
            )
        try:
            key = master.unwrap(from_base64(wrapped), _context(reference, name))
        except (Altered, ValueError) as error:
            raise self._not_the_one(name) from error
        except Exception as error:
            raise WrongKey(
                f"The key service of the master key “{name}” didn't unlock a key: {type(error).__name__}: {error}. "
                "Mend it and try again; nothing was changed.",
                name,
            ) from error
        if len(key) != key_bytes:
            raise self._not_the_one(name)
        return key

    def _not_the_one(self, name: str) -> WrongKey:
        return WrongKey(
            f"What was given as the master key “{name}” is not the key that locked the personal data of this store. "
            f"Give the 32 bytes that “{name}” stood for when it was written, or the store's own subject keys.",
            name,
        )


def new_master_key() -> str:
    """32 new random bytes in hex, to be kept where secrets are kept: without them all personal data is lost."""
    return secrets.token_hex(key_bytes)


def _context(reference: str, name: str) -> bytes:
    return f"projectionist subject key\0{name}\0{reference}".encode()


def _checked_name(name: str) -> str:
    if not isinstance(name, str) or not re.fullmatch(rf"[A-Za-z0-9._:/-]{{1,{_name_limit}}}", name):
        raise WrongKey(
            f"{name!r} can't name a master key. Use 1 to {_name_limit} letters, digits and . _ : / -, such as 2026."
        )
    return name


def _master_key(name: str, key: bytes | str | MasterKey) -> MasterKey:
    if isinstance(key, str):
        key = _decoded(key.strip())
    if isinstance(key, bytes | bytearray):
        if len(key) != key_bytes:
            raise WrongKey(
                f"The master key “{name}” isn't {key_bytes} bytes, nor are they written in hex or base64. {_how_to_make_one}",
                name,
            )
        return _LocalKey(bytes(key))
    if callable(getattr(key, "wrap", None)) and callable(getattr(key, "unwrap", None)):
        return key
    raise WrongKey(f"The master key “{name}” must be 32 bytes, their text, or a KeyService(wrap, unwrap).", name)


def _decoded(text: str) -> bytes:
    """The bytes that a text writes in hex or base64 of either alphabet; none where it writes neither."""
    if re.fullmatch("[0-9a-fA-F]{64}", text):
        return bytes.fromhex(text)
    try:
        standard = text.rstrip("=").replace("-", "+").replace("_", "/")
        return base64.b64decode(standard + "=" * (-len(standard) % 4), validate=True)
    except ValueError:
        return b""
