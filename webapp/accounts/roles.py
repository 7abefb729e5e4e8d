"""The four roles, and what each of them covers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from webapp.errors import InvalidRequest

roles: dict[str, str] = {
    "viewer": "browses events, aggregates and projections",
    "auditor": "a viewer who also takes audit trails and sees what people did",
    "operator": "a viewer who also runs, pauses, skips and rebuilds projections",
    "admin": "does all of it and, when held for all stores, looks after people",
}
"""Every role with what it may do, in a few words."""

all_stores = "*"
"""Stands where a store's name stands, for a role held for all stores; no store can be named so."""

home_store = "home"
"""The name under which our own store is browsed; by auditors and admins only."""

_held_by = {
    "viewer": frozenset(roles),
    "auditor": frozenset({"auditor", "admin"}),
    "operator": frozenset({"operator", "admin"}),
    "admin": frozenset({"admin"}),
}


@dataclass(frozen=True, slots=True, order=True)
class Grant:
    """A role held for one store, or for all of them (`store` is then `all_stores`)."""

    role: str
    store: str = all_stores

    @property
    def is_everywhere(self) -> bool:
        """Whether it is held for all stores."""
        return self.store == all_stores

    def __str__(self) -> str:
        return self.role if self.is_everywhere else f"{self.role} of {self.store}"


def covers(grants: Iterable[Grant], role: str, store: str | None) -> bool:
    """Whether these grants allow what `role` stands for, in a store; `store` None asks for all stores.

    The home store tells what people did, so a viewer's or operator's role for all stores doesn't reach it.
    """
    if store == home_store and role == "viewer":
        role = "auditor"
    enough = _held_by[role]
    return any(grant.role in enough and (grant.is_everywhere or grant.store == store) for grant in grants)


def checked_role(role: str) -> str:
    """The role itself, if it is one; raises InvalidRequest with the list of roles."""
    if role not in roles:
        raise InvalidRequest(f"There is no role “{role}”. Roles are {', '.join(roles)}.", field="role")
    return role
