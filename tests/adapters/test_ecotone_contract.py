"""Ecotone's databases keep the contract of an event source."""

from __future__ import annotations

from tests.contract.event_source import EventSourceContract


class TestEcotone(EventSourceContract):
    """With the shop that the real Ecotone wrote, on PostgreSQL, MySQL and MariaDB; `source` is in conftest."""
