"""What each role covers, in each place it can be held."""

from __future__ import annotations

import pytest

from webapp.accounts.roles import Grant, checked_role, covers, roles
from webapp.errors import InvalidRequest

allowed = {
    "viewer": {"viewer"},
    "auditor": {"viewer", "auditor"},
    "operator": {"viewer", "operator"},
    "admin": {"viewer", "auditor", "operator", "admin"},
}


@pytest.mark.parametrize("held", roles)
@pytest.mark.parametrize("asked", roles)
def test_a_role_held_for_all_stores_covers_every_store(held: str, asked: str) -> None:
    expected = asked in allowed[held]
    assert covers([Grant(held)], asked, "shop") is expected
    assert covers([Grant(held)], asked, None) is expected


@pytest.mark.parametrize("held", roles)
@pytest.mark.parametrize("asked", roles)
def test_a_role_held_for_a_store_covers_that_one_alone(held: str, asked: str) -> None:
    assert covers([Grant(held, "shop")], asked, "shop") is (asked in allowed[held])
    assert not covers([Grant(held, "shop")], asked, "crm")
    assert not covers([Grant(held, "shop")], asked, None)


def test_the_home_store_is_for_auditors_and_admins() -> None:
    assert not covers([Grant("viewer")], "viewer", "home")
    assert not covers([Grant("operator")], "viewer", "home")
    assert not covers([Grant("viewer", "home")], "viewer", "home")
    assert not covers([Grant("admin", "shop")], "viewer", "home")
    assert covers([Grant("auditor")], "viewer", "home")
    assert covers([Grant("auditor", "home")], "auditor", "home")
    assert covers([Grant("admin")], "viewer", "home")


def test_roles_add_up() -> None:
    held = [Grant("auditor"), Grant("operator", "shop")]
    assert covers(held, "auditor", "shop")
    assert covers(held, "operator", "shop")
    assert not covers(held, "operator", "crm")
    assert not covers(held, "admin", "shop")


def test_nobody_without_a_role_sees_anything() -> None:
    assert not any(covers([], role, "shop") for role in roles)


def test_an_unknown_role_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="Roles are viewer, auditor, operator, admin"):
        checked_role("root")
