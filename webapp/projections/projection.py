"""What a projection is: where its events come from, what each of them does, and the tables they fill."""

from __future__ import annotations

import hashlib
import inspect
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from webapp.errors import InvalidDefinition
from webapp.store.columns import Name, table_arguments
from webapp.store.events import RecordedEvent
from webapp.store.serialization import Serializer

if TYPE_CHECKING:
    from webapp.projections.batch import Context

Handler = Callable[[Any, "Context"], None]
_name = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,49}")
_table_name = re.compile(r"[a-z][a-z0-9_]{0,44}")


class Table:
    """A table that a projection fills: a name and SQLAlchemy columns, at least one of them a primary key.

    Columns of a new row start as NULL or their `default`, which is a value; an increment takes NULL for 0. Keys of text
    compare byte by byte on every database.
    """

    def __init__(self, name: str, *columns: sa.Column[Any]) -> None:
        if not _table_name.fullmatch(name) or name.startswith("projectionist_"):
            raise InvalidDefinition(
                f"“{name}” can't name a read model's table: use at most 45 of a–z, 0–9 and _, beginning with a letter, "
                "and not with projectionist_."
            )
        self.name = name
        self.columns = columns
        self.key = tuple(column.name for column in columns if column.primary_key)
        if not self.key:
            raise InvalidDefinition(f"The table {name} has no key. Give one or more columns primary_key=True.")
        for column in columns:
            is_value = column.default is None or column.default.is_scalar
            if column.server_default is not None or column.onupdate is not None or not is_value:
                raise InvalidDefinition(
                    f"The column {name}.{column.name} is filled by a function or by the database. Give it a value as "
                    "default=…, so that a rebuild comes to the same."
                )

    def physical(self, name: str) -> sa.Table:
        """A SQLAlchemy table with these columns under another name, for one generation."""
        return sa.Table(name, sa.MetaData(), *(_physical(column) for column in self.columns), **table_arguments)

    def shadow_name(self, generation: int) -> str:
        """The name of a generation's table while it doesn't serve."""
        return shadow_name(self.name, generation)

    def describe(self) -> str:
        """Name and columns as text, for the fingerprint."""
        return f"{self.name}({', '.join(f'{c.name} {c.type!r} {c.primary_key} {c.default}' for c in self.columns)})"


def shadow_name(table: str, generation: int) -> str:
    """The name of a generation's table while it doesn't serve."""
    return f"{table}__g{generation}"


def _physical(column: sa.Column[Any]) -> sa.Column[Any]:
    copied = column._copy()
    copied.autoincrement = False  # a counting key would turn 0 into the next number on MySQL
    if column.primary_key and type(column.type) is sa.String and column.type.length and not column.type.collation:
        copied.type = Name(column.type.length)  # or 'Ab' and 'aB' would be one row on MySQL and MariaDB
    return copied


class Projection:
    """A read model kept up to date from events.

    `logs` are read in order of position each, several of them merged by time of recording. `tables` live in the
    store's own database, so that a batch's rows and its checkpoint commit together: each event counts exactly once.
    `emits` is True for a projection that records derived events into a log of its own. With a `serializer` events come
    in today's form, upcast, and handlers may be registered for its classes.
    """

    def __init__(
        self,
        name: str,
        *,
        logs: Sequence[str] = ("main",),
        tables: Sequence[Table] = (),
        emits: bool = False,
        batch_size: int = 2000,
        description: str = "",
        serializer: Serializer | None = None,
    ) -> None:
        if not _name.fullmatch(name):
            raise InvalidDefinition(
                f"“{name}” can't name a projection: use at most 50 letters, digits, _ and -, beginning with a letter."
            )
        if not logs:
            raise InvalidDefinition(f"The projection {name} reads no log. Name at least one.")
        self.name = name
        self.logs = tuple(logs)
        self.tables = tuple(tables)
        self.emits = emits
        self.batch_size = batch_size
        self.description = description
        self.serializer = serializer
        self.handlers: dict[str, Handler] = {}
        self.catch_all: Handler | None = None
        self._takes_objects: set[str] = set()
        names = [table.name for table in self.tables]
        if len(set(names)) < len(names):
            raise InvalidDefinition(f"The projection {name} names a table twice: {', '.join(sorted(names))}.")

    def on(self, *types: str | type) -> Callable[[Handler], Handler]:
        """Marks a function (event, context) as the handler of these types; "*" is for all that have no handler.

        For a type given as a class of the serializer, the event is an object of that class, and `context.event` is the
        recorded one. Raises InvalidDefinition for a second handler and a class that has no name.
        """

        def register(handler: Handler) -> Handler:
            for given in types:
                type_ = given if isinstance(given, str) else self._name_of(given)
                if type_ in self.handlers or (type_ == "*" and self.catch_all):
                    raise InvalidDefinition(f"The projection {self.name} has two handlers for {type_}. Keep one.")
                if type_ == "*":
                    self.catch_all = handler
                else:
                    self.handlers[type_] = handler
                if not isinstance(given, str):
                    self._takes_objects.add(type_)
            return handler

        return register

    def _name_of(self, cls: type) -> str:
        if self.serializer is None:
            raise InvalidDefinition(
                f"The projection {self.name} has no serializer, so it can't know what {cls.__qualname__} is called. "
                "Give it one: Projection(…, serializer=…)."
            )
        return self.serializer.name_of(cls)

    def handler(self, type_: str) -> Handler | None:
        """The handler for events of a type, None if the projection leaves them alone."""
        return self.handlers.get(type_, self.catch_all)

    def handle(self, event: RecordedEvent, context: Context) -> None:
        """Tells the handlers of an event, if any: of each form that it takes today, where upcasters split it."""
        serializer = self.serializer
        for form in (event,) if serializer is None else serializer.upcast(event):
            handler = self.handler(form.type)
            if handler is None:
                continue
            context.event = form
            if serializer is not None and form.type in self._takes_objects:
                handler(serializer.load(form), context)
            else:
                handler(form, context)

    @property
    def derived_log(self) -> str:
        """The log that this projection's events go to the first time; a later one of the name gets a number."""
        return f"derived-{self.name}"

    def fingerprint(self) -> str:
        """A hash of the definition and the handlers' source: another one means "built by older code, rebuild?"."""
        parts = [self.name, *self.logs, *(table.describe() for table in self.tables), str(self.emits)]
        for type_, handler in sorted([*self.handlers.items(), *([("*", self.catch_all)] if self.catch_all else [])]):
            parts += [type_, _source(handler)]
        return hashlib.sha256("\x00".join(parts).encode()).hexdigest()


def _source(handler: Handler) -> str:
    try:
        return inspect.getsource(handler)
    except (OSError, TypeError):  # typed at a prompt, or a callable object
        code = getattr(handler, "__code__", None)
        return repr((code.co_code, code.co_consts)) if code else repr(type(handler))
