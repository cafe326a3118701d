"""Rows, read and written by statements that are made once.

The ORM makes its SQL anew each time it is asked. That is half a millisecond to a whole one of the processor, several
times what the statement costs itself, and a command needs seven of them. So what every command needs is said by hand,
with the names and the conversions that the models' fields have.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from functools import cache
from typing import Any, Generic, TypeVar

from django.db import connection, models

M = TypeVar("M", bound=models.Model)

PARAMETERS = 30_000  # in one statement: SQLite takes 32,766


def quote(name: str) -> str:
    return connection.ops.quote_name(name)


def table(model: type[models.Model]) -> str:
    return quote(model._meta.db_table)


def marks(values: Collection[Any]) -> str:
    """A place for each of them: ``%s, %s``."""
    return ", ".join(["%s"] * len(values))


class Columns(Generic[M]):
    """Columns of a model, under the name that its table has in a statement; ``str()`` lists them for a SELECT.

    Get one from :func:`columns`. What makes a value of what the driver gives depends on the kind of database alone.
    """

    def __init__(self, model: type[M], alias: str, names: Sequence[str]) -> None:
        every = {field.name: field for field in model._meta.concrete_fields}
        fields = [every[name] for name in names or every]
        self._model = model
        self._names = [str(field.attname) for field in fields]
        self._sql = ", ".join(f"{quote(alias)}.{quote(str(field.column))}" for field in fields)
        self._conversions: list[tuple[int, Callable[[Any], Any]]] = []
        for place, field in enumerate(fields):
            column = field.get_col(alias)
            for convert in [*connection.ops.get_db_converters(column), *column.get_db_converters(connection)]:
                self._conversions.append((place, _bound(convert, column)))

    def __str__(self) -> str:
        return self._sql

    def __len__(self) -> int:
        return len(self._names)

    def values(self, values: Sequence[Any]) -> list[Any]:
        """What the driver gave, as the model's fields have it."""
        found = list(values)
        for place, convert in self._conversions:
            found[place] = convert(found[place])
        return found

    def row(self, values: Sequence[Any]) -> M:
        """The model's row that these columns are."""
        return self._model.from_db(connection.alias, self._names, self.values(values))


def columns(model: type[M], alias: str, *names: str) -> Columns[M]:
    """The columns of these fields, or all."""
    found: Columns[M] = _columns(model, alias, names, connection.vendor)
    return found


def by_key(model: type[M], keys: Collection[Any]) -> dict[Any, M]:
    """The rows with these primary keys that the model's default manager gives."""
    if not keys:
        return {}
    if model._meta.parents or not _gives_all(model._default_manager):  # a row of several tables; a host's own idea
        return model._default_manager.in_bulk(keys)
    key, wanted = model._meta.pk, columns(model, "found")
    sql = f"SELECT {wanted} FROM {table(model)} found WHERE found.{quote(str(key.column))} IN ({marks(keys)})"  # noqa: S608
    with connection.cursor() as cursor:
        cursor.execute(sql, [key.get_db_prep_value(each, connection) for each in keys])
        rows = [wanted.row(values) for values in cursor.fetchall()]
    return {row.pk: row for row in rows}


def insert(rows: Sequence[M]) -> None:
    """Insert these, all of one model. A key that the database gives is not told to them."""
    for model, some in _portions(rows):
        with connection.cursor() as cursor:
            cursor.execute(*_inserting(model, some))
    for row in rows:
        row._state.adding, row._state.db = False, connection.alias


def insert_new(rows: Sequence[M]) -> set[Any]:
    """Insert those that no constraint of uniqueness forbids; gives their keys.

    It waits for other transactions that insert the same, in the order of the rows.
    """
    inserted: set[Any] = set()
    for model, some in _portions(rows):
        key = model._meta.pk
        sql, parameters = _inserting(model, some)
        with connection.cursor() as cursor:
            cursor.execute(f"{sql} ON CONFLICT DO NOTHING RETURNING {quote(str(key.column))}", parameters)
            inserted.update(key.to_python(found) for (found,) in cursor.fetchall())
    return inserted


def _gives_all(manager: Any) -> bool:
    return type(manager).get_queryset is models.Manager.get_queryset and manager._queryset_class is models.QuerySet


def _portions(rows: Sequence[M]) -> Iterator[tuple[type[M], Sequence[M]]]:
    if rows:
        model = type(rows[0])
        most = PARAMETERS // len(model._meta.concrete_fields)
        for start in range(0, len(rows), most):
            yield model, rows[start : start + most]


def _inserting(model: type[M], rows: Sequence[M]) -> tuple[str, list[Any]]:
    sql, fields = _insert(model, connection.vendor)
    place = f"({marks(fields)})"
    values = [field.get_db_prep_save(field.pre_save(row, True), connection) for row in rows for field in fields]
    return sql + ", ".join([place] * len(rows)), values


@cache
def _insert(model: type[M], vendor: str) -> tuple[str, list[models.Field[Any, Any]]]:
    fields = [field for field in model._meta.concrete_fields if not isinstance(field, models.AutoField)]
    names = ", ".join(quote(str(field.column)) for field in fields)
    return f"INSERT INTO {table(model)} ({names}) VALUES ", fields  # noqa: S608


@cache
def _columns(model: type[M], alias: str, names: tuple[str, ...], vendor: str) -> Columns[M]:
    return Columns(model, alias, names)


def _bound(convert: Callable[..., Any], column: Any) -> Callable[[Any], Any]:
    return lambda value: convert(value, column, connection)
