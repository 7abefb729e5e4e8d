"""Where the keys of subjects are kept: a table of ours, or whatever store of keys is given."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import sqlalchemy as sa

from webapp.store.database import Database
from webapp.store.tables import subject_keys


@dataclass(frozen=True, slots=True)
class SubjectKey:
    """A subject's key, locked with the master key of that name; nothing of it is left once forgotten.

    `reference` is a keyed hash of the subject's id: who reads the table alone can't tell who it is.
    """

    reference: str
    wrapped_key: str | None
    master_key: str | None
    forgotten_at: dt.datetime | None = None


class KeyStore(Protocol):
    """What a vault needs of the place where keys are kept.

    `connection` is the caller's own transaction on the vault's database, if there is one; a store of keys elsewhere
    leaves it alone.
    """

    def find(self, references: Collection[str], connection: sa.Connection | None = None) -> dict[str, SubjectKey]:
        """The keys of these references that are there, forgotten ones too."""
        ...

    def add(self, keys: Sequence[SubjectKey], connection: sa.Connection | None = None) -> None:
        """Adds each key, unless its reference has one or was forgotten; of two who add at once, one wins."""
        ...

    def page(self, after: str, limit: int, other_than: str) -> Sequence[SubjectKey]:
        """Keys with reference > after, in order of it, that are locked with another master key than this one."""
        ...

    def replace(self, pairs: Sequence[tuple[SubjectKey, SubjectKey]]) -> int:
        """Puts the second of each pair in the place of the first, unless that was changed meanwhile; says how many."""
        ...

    def destroy(self, reference: str, record: Callable[[sa.Connection | None], object]) -> SubjectKey | None:
        """Destroys the key for good and calls `record`, in one transaction where there are such (else after it).

        Returns what is left of the key, None where there was none; one that is forgotten stays so, unrecorded.
        """
        ...


class KeyTable:
    """The keys in projectionist_subject_keys, beside the events or in a database of their own. Thread-safe."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def find(self, references: Collection[str], connection: sa.Connection | None = None) -> dict[str, SubjectKey]:
        """The keys of these references that are there, forgotten ones too."""
        found: dict[str, SubjectKey] = {}
        with self._reading(connection) as reading:
            for chunk in _chunks(sorted(references)):
                rows = reading.execute(_select.where(subject_keys.c.subject.in_(chunk)))
                found |= {row.subject: _key(row) for row in rows}
        return found

    def add(self, keys: Sequence[SubjectKey], connection: sa.Connection | None = None) -> None:
        """Adds each key, unless its reference has one or was forgotten; of two who add at once, one wins."""
        dialect = self.database.dialect
        sql = (
            f"{dialect.insert_or_ignore} projectionist_subject_keys (subject, wrapped_key, master_key, created_at) "
            f"VALUES ({{p}}, {{p}}, {{p}}, {dialect.now()}) {dialect.ignore_conflict}"
        ).replace("{p}", dialect.parameter)

        def work(connection: sa.Connection) -> None:
            # In one order, so that two who add the same keys can't wait for each other.
            for key in sorted(keys, key=lambda key: key.reference):
                connection.exec_driver_sql(sql, (key.reference, key.wrapped_key, key.master_key))

        if connection is None:
            self.database.retrying(work)
        else:
            work(connection)

    def page(self, after: str, limit: int, other_than: str) -> Sequence[SubjectKey]:
        """Keys with reference > after, in order of it, that are locked with another master key than this one."""
        query = (
            _select.where(subject_keys.c.subject > after, subject_keys.c.wrapped_key.is_not(None))
            .where(subject_keys.c.master_key != other_than).order_by(subject_keys.c.subject).limit(limit)
        )  # fmt: skip
        with self.database.reading() as connection:
            return [_key(row) for row in connection.execute(query)]

    def replace(self, pairs: Sequence[tuple[SubjectKey, SubjectKey]]) -> int:
        """Puts the second of each pair in the place of the first, unless that was changed meanwhile; says how many."""

        def work(connection: sa.Connection) -> int:
            replaced = 0
            for old, new in pairs:
                is_unchanged = sa.and_(
                    subject_keys.c.subject == old.reference, subject_keys.c.wrapped_key == old.wrapped_key
                )
                values = {"wrapped_key": new.wrapped_key, "master_key": new.master_key}
                replaced += connection.execute(sa.update(subject_keys).where(is_unchanged).values(values)).rowcount
            return replaced

        return self.database.retrying(work)

    def destroy(self, reference: str, record: Callable[[sa.Connection | None], object]) -> SubjectKey | None:
        """Destroys the key and calls `record` in the same transaction; see KeyStore."""
        is_it = subject_keys.c.subject == reference

        def work(connection: sa.Connection) -> SubjectKey | None:
            forgotten_at = self.database.dialect.clock(connection)
            values = {"wrapped_key": None, "master_key": None, "forgotten_at": forgotten_at}
            is_known = sa.and_(is_it, subject_keys.c.forgotten_at.is_(None))
            # Whoever changes the row first holds it, so of two who forget at once only one records it.
            if connection.execute(sa.update(subject_keys).where(is_known).values(values)).rowcount:
                record(connection)
            row = connection.execute(_select.where(is_it)).one_or_none()
            return None if row is None else _key(row)

        return self.database.retrying(work)

    @contextmanager
    def _reading(self, connection: sa.Connection | None) -> Iterator[sa.Connection]:
        if connection is not None:
            yield connection
        else:
            with self.database.reading() as own:
                yield own


_select = sa.select(
    subject_keys.c.subject, subject_keys.c.wrapped_key, subject_keys.c.master_key, subject_keys.c.forgotten_at
)
_lookup_chunk = 500


def _key(row: Any) -> SubjectKey:
    return SubjectKey(row.subject, row.wrapped_key, row.master_key, row.forgotten_at)


def _chunks(values: Sequence[str]) -> Iterator[Sequence[str]]:
    return (values[at : at + _lookup_chunk] for at in range(0, len(values), _lookup_chunk))
