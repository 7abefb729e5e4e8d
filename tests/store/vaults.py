"""What tests of personal data share."""

from __future__ import annotations

from typing import Any

from webapp.store import EventStore, NewEvent
from webapp.store.master_keys import MasterKeys
from webapp.store.personal import PersonalData
from webapp.store.vault import Vault

master = bytes(range(32))
other_master = bytes(range(1, 33))


def declared() -> PersonalData:
    """A customer's registration: an address of three shapes, a searchable one among them, and the host in the metadata."""
    personal = PersonalData()
    personal.declare(
        "customer.registered",
        subject="/customer_id",
        fields=["/email", "/address/street", "/contacts/*/phone"],
        metadata_fields=["/ip"],
        searchable={"/email": str.casefold},
    )
    return personal


def make_vault(store: EventStore, personal: PersonalData | None = None, **options: Any) -> Vault:
    """A vault under one master key, unless `options` say otherwise."""
    options = {"master_keys": MasterKeys(("2026", master))} | options
    return Vault(store, personal or declared(), **options)


def registered(customer_id: str = "42", email: Any = "ann@x.org", **options: Any) -> NewEvent:
    """A customer's registration with everything personal in it."""
    data = {
        "customer_id": customer_id,
        "email": email,
        "address": {"street": "High Street 1", "city": "Ulm"},
        "contacts": [{"kind": "home", "phone": "+49 1"}, {"kind": "work", "phone": "+49 2"}],
        "newsletter": True,
    }
    return NewEvent("customer.registered", data, {"actor": "shop", "ip": "203.0.113.7"}, **options)
