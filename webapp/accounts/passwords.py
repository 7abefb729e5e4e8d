"""Passwords: what is asked of them, and their hashes."""

from __future__ import annotations

import functools
import secrets

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from webapp.errors import InvalidRequest

minimum_length, maximum_length = 10, 1000
_hasher = PasswordHasher(time_cost=3, memory_cost=32 * 1024, parallelism=1)
_alphabet = "abcdefghijkmnpqrstuvwxyz23456789"  # nothing that looks like something else


def checked_password(password: str, username: str = "") -> str:
    """The password itself, if it may be used; raises InvalidRequest with a sentence."""
    if len(password) < minimum_length:
        raise InvalidRequest(
            f"The password has {len(password)} characters; at least {minimum_length} are needed. A few words do well.",
            "password",
        )
    if len(password) > maximum_length:
        raise InvalidRequest(f"The password has over {maximum_length} characters. Choose a shorter one.", "password")
    if any("\ud800" <= character <= "\udfff" for character in password):
        raise InvalidRequest("The password holds characters that aren't text. Choose another one.", field="password")
    if username and password.lower() == username.lower():
        raise InvalidRequest("The password is the username. Choose another one.", field="password")
    return password


def random_password() -> str:
    """A password of 80 random bits in groups that can be read aloud."""
    return "-".join("".join(secrets.choice(_alphabet) for _ in range(4)) for _ in range(4))


def hash_password(password: str) -> str:
    """The Argon2id hash to keep."""
    return _hasher.hash(password)


def verify_password(password_hash: str | None, password: str) -> bool:
    """Whether the password is the right one; without a hash it takes as long and says no, so timing tells nothing."""
    if len(password) > maximum_length:
        return False
    try:
        is_right = _hasher.verify(password_hash or _hash_of_nobody(), password)
    except (VerificationError, InvalidHashError, UnicodeEncodeError):
        return False
    return is_right and password_hash is not None


def needs_rehash(password_hash: str) -> bool:
    """Whether the hash was made with other parameters than today's."""
    return _hasher.check_needs_rehash(password_hash)


@functools.cache
def _hash_of_nobody() -> str:
    return _hasher.hash(secrets.token_urlsafe())
