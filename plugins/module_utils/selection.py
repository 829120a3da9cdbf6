# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""Which part of a database takes part in a migration: patterns, and applying them to a catalog.

A pattern is ``schema.table`` or ``table`` (any schema); ``*`` and ``?`` are wildcards, everything else stands for
itself and case counts. A part in double quotes is taken literally, so ``"a.b"."c*"`` is one table. A pattern that
matches nothing is an error, because a typing mistake must not leave data behind.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .catalog import Catalog, Schema, Table
from .errors import MigrationError
from .migration import Selection


@dataclass(frozen=True)
class Pattern:
    """One parsed pattern; ``schema`` is None when the pattern names no schema."""

    text: str
    schema: re.Pattern[str] | None
    name: re.Pattern[str]

    def matches(self, schema: str, name: str) -> bool:
        """True when the pattern covers this relation."""
        return (self.schema is None or self.schema.fullmatch(schema) is not None) and (
            self.name.fullmatch(name) is not None
        )


def parse(text: str, *, max_parts: int = 2) -> Pattern:
    """Parse one pattern. Raises ``bad_option`` for an unbalanced quote or too many parts."""
    parts: list[str] = [""]
    position = 0
    while position < len(text):
        character = text[position]
        if character == '"':
            quoted = re.compile(r'"((?:[^"]|"")*)"').match(text, position)
            if quoted is None:
                raise MigrationError("bad_option", f"The pattern {text!r} has an unbalanced quote.", "Close the quote.")
            parts[-1] += re.escape(quoted.group(1).replace('""', '"'))
            position = quoted.end()
            continue
        if character == ".":
            parts.append("")
        else:
            parts[-1] += {"*": ".*", "?": "."}.get(character, re.escape(character))
        position += 1
    if len(parts) > max_parts or not all(parts):
        wanted = "schema.table or table" if max_parts == 2 else "schema"
        raise MigrationError(
            "bad_option",
            f"The pattern {text!r} is not of the form {wanted}.",
            'Put a name that holds a dot in double quotes, for instance "my.schema".orders.',
        )
    compiled = [re.compile(part, re.DOTALL) for part in parts]
    return Pattern(text, compiled[0] if len(compiled) == 2 else None, compiled[-1])


@dataclass(frozen=True)
class Selected:
    """A selection applied to a catalog.

    ``catalog`` holds only what takes part; ``without_data`` are OIDs of tables whose rows stay behind; ``predicates``
    maps OIDs to row predicates; ``left_out`` are the OIDs of user tables that do not take part.
    """

    catalog: Catalog
    without_data: frozenset[int]
    predicates: Mapping[int, str]
    left_out: frozenset[int]

    @property
    def data_tables(self) -> tuple[Table, ...]:
        """Tables and leaf partitions whose rows are replicated: permanent ones that store rows."""
        return tuple(
            table
            for table in self.catalog.tables
            if table.stores_rows and table.persistence == "p" and table.oid not in self.without_data
        )

    @property
    def unlogged_tables(self) -> tuple[Table, ...]:
        """Unlogged tables whose rows may be copied once, but are never replicated."""
        return tuple(
            table
            for table in self.catalog.tables
            if table.stores_rows and table.persistence == "u" and table.oid not in self.without_data
        )


def select(catalog: Catalog, selection: Selection, foreign_tables: str = "create") -> Selected:
    """Apply ``selection`` to ``catalog``; with ``foreign_tables`` "skip" no foreign table takes part.

    Raises ``nothing_selected`` when a pattern, or the whole selection, matches nothing, and ``bad_option`` when a
    choice cuts through a partitioned table or separates an inheritance child from its parent.
    """
    schemas = _chosen(catalog.schemas, selection.schemas, selection.exclude_schemas)
    names = {schema.name for schema in schemas}
    candidates = tuple(table for table in catalog.tables if table.schema in names)
    matched = _with_partitions(catalog, candidates, selection)
    tables = tuple(table for table in matched if table.kind != "f" or foreign_tables != "skip")
    if not tables:
        raise MigrationError(
            "nothing_selected",
            f"No table of database {catalog.database.name!r} is selected.",
            "Check schemas, tables and their exclude_ options against the source; \\dt *.* in psql lists its tables.",
        )
    _check_parents(catalog, tables)
    kept = catalog.keeping(tables, schemas)
    chosen = {table.oid for table in tables}
    return Selected(
        catalog=kept,
        without_data=frozenset(_covered(catalog, matched, selection.exclude_data, "exclude_data")),
        predicates=_predicates(catalog, matched, selection.rows),
        left_out=frozenset(table.oid for table in catalog.tables if table.oid not in chosen),
    )


def covers(selection: Selection, line: Sequence[tuple[str, str]]) -> bool:
    """Say whether a table that came later belongs to ``selection``, as far as names tell. Pure.

    ``line`` holds schema and name of the table, then of what it is a partition of. A pattern that matches nothing is no
    error here.
    """

    def in_schema(texts: Sequence[str]) -> bool:
        return any(parse(text, max_parts=1).name.fullmatch(line[0][0]) for text in texts)

    def named(texts: Sequence[str]) -> bool:
        patterns = [parse(text) for text in texts]
        return any(pattern.matches(*item) for pattern in patterns for item in line)

    if selection.schemas and not in_schema(selection.schemas):
        return False
    if in_schema(selection.exclude_schemas) or named(selection.exclude_tables):
        return False
    return not selection.tables or named(selection.tables)


def _nothing(option: str, text: str) -> MigrationError:
    return MigrationError(
        "nothing_selected",
        f"The pattern {text!r} in {option} matches nothing on the source.",
        "Correct it or remove it; names are case-sensitive, and a dot separates schema and table.",
    )


def _chosen(items: tuple[Schema, ...], include: Sequence[str], exclude: Sequence[str]) -> tuple[Schema, ...]:
    def covered(texts: Sequence[str], option: str) -> set[int]:
        found: set[int] = set()
        for text in texts:
            pattern = parse(text, max_parts=1)
            hits = {item.oid for item in items if pattern.name.fullmatch(item.name)}
            if not hits:
                raise _nothing(option, text)
            found |= hits
        return found

    wanted = covered(include, "schemas") if include else {item.oid for item in items}
    unwanted = covered(exclude, "exclude_schemas")
    return tuple(item for item in items if item.oid in wanted - unwanted)


def _covered(catalog: Catalog, tables: Sequence[Table], texts: Sequence[str], option: str) -> set[int]:
    """OIDs of the tables that any pattern covers; a partitioned table brings all of its partitions."""
    found: set[int] = set()
    for text in texts:
        pattern = parse(text)
        hits = {table.oid for table in tables if pattern.matches(table.schema, table.name)}
        if not hits:
            raise _nothing(option, text)
        found |= hits
    grown = True
    while grown:
        below = {t.oid for t in tables if t.is_partition and set(t.parents) & found}
        grown = bool(below - found)
        found |= below
    return found


def _with_partitions(catalog: Catalog, candidates: tuple[Table, ...], selection: Selection) -> tuple[Table, ...]:
    wanted = (
        _covered(catalog, candidates, selection.tables, "tables")
        if selection.tables
        else {table.oid for table in candidates}
    )
    unwanted = _covered(catalog, candidates, selection.exclude_tables, "exclude_tables")
    chosen = tuple(table for table in candidates if table.oid in wanted - unwanted)
    oids = {table.oid for table in chosen}
    for table in catalog.tables:
        root = catalog.root_of(table)
        if table.is_partition and (table.oid in oids) != (root.oid in oids):
            raise MigrationError(
                "bad_option",
                f"The selection cuts through the partitioned table {root.qualified}: of it and its partition "
                f"{table.qualified} only one is chosen.",
                "Select or exclude the partitioned table itself; its partitions follow, when their schemas are selected.",
            )
    return chosen


def _check_parents(catalog: Catalog, tables: Sequence[Table]) -> None:
    oids = {table.oid for table in tables}
    for table in tables:
        for parent in table.parents:
            if parent not in oids and parent in catalog.by_oid:
                raise MigrationError(
                    "bad_option",
                    f"{table.qualified} is selected but {catalog.by_oid[parent].qualified}, from which it inherits, "
                    "is not.",
                    "Select both, or neither.",
                )


def _predicates(catalog: Catalog, tables: Sequence[Table], rows: Mapping[str, str]) -> dict[int, str]:
    found: dict[int, str] = {}
    for text, predicate in rows.items():
        for oid in _covered(catalog, tables, [text], "rows"):
            found[oid] = predicate
    return found
