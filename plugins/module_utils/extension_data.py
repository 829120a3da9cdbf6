# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""Rows that users keep in tables of extensions (pg_extension_config_dump): copied once, inside the snapshot.

CREATE EXTENSION makes these tables, with rows of its own, on the target. Ours are added to them through a temporary table;
what is there already is neither doubled nor changed. Extensions that run something, or spread rows, are left alone.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from .driver import psycopg, sql
from .extensions import CRON, SPREADING
from .provider import Provider
from .session import Session

# Only tables and sequences can be marked. The condition is SQL of the extension's, WHERE included; pg_dump uses it as it is.
QUERY = """
SELECT 'pg_catalog.pg_extension'::pg_catalog.regclass::bigint AS classid, e.oid::bigint AS extension_oid,
       e.extname AS extension, c.oid::bigint AS oid, n.nspname AS schema, c.relname AS name, c.relkind AS kind,
       coalesce(e.extcondition[k.number], '') AS condition,
       pg_catalog.has_schema_privilege(n.oid, 'USAGE')
         AND CASE c.relkind WHEN 'S' THEN pg_catalog.has_sequence_privilege(c.oid, 'SELECT')
                            ELSE pg_catalog.has_table_privilege(c.oid, 'SELECT') END AS is_readable,
       ARRAY(SELECT a.attname::text
               FROM pg_catalog.pg_attribute AS a
              WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
              ORDER BY a.attnum) AS columns,
       ARRAY(SELECT f.confrelid::bigint
               FROM pg_catalog.pg_constraint AS f
              WHERE f.conrelid = c.oid AND f.contype = 'f' AND f.confrelid <> c.oid) AS needs
  FROM pg_catalog.pg_extension AS e
 CROSS JOIN LATERAL pg_catalog.unnest(e.extconfig) WITH ORDINALITY AS k(oid, number)
  JOIN pg_catalog.pg_class AS c ON c.oid = k.oid
  JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'S')
 ORDER BY e.extname, k.number
"""

_THERE = """
SELECT c.oid::bigint AS oid, ARRAY(SELECT a.attname::text FROM pg_catalog.pg_attribute AS a
                                    WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
                                      AND a.attgenerated = '') AS columns,
       EXISTS (SELECT 1 FROM pg_catalog.pg_index AS i
                WHERE i.indrelid = c.oid AND i.indisunique AND i.indisvalid AND i.indimmediate) AS is_unique
  FROM pg_catalog.pg_class AS c
  JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
 WHERE n.nspname = %(schema)s AND c.relname = %(name)s AND c.relkind = %(kind)s
"""

_TEMPORARY = "seren_migrator_rows"


@dataclass(frozen=True)
class ConfigTable:
    """A table, or sequence (kind S), of an extension in which users keep rows; ``condition`` tells theirs from its own."""

    classid: int
    extension_oid: int
    extension: str
    oid: int
    schema: str
    name: str
    kind: str
    condition: str
    is_readable: bool
    columns: tuple[str, ...]
    needs: tuple[int, ...]

    @property
    def what(self) -> str:
        """What results call it."""
        kind = "state of sequence" if self.kind == "S" else "rows of"
        return f"{kind} {self.schema}.{self.name} (extension {self.extension})"

    @property
    def rows(self) -> sql.Composed:
        """The query that reads the users' rows."""
        columns = sql.SQL(", ").join(map(sql.Identifier, self.columns))
        # With as little of our own as possible: the condition may name the table, or speak of its columns alone.
        return sql.SQL("SELECT {} FROM ONLY {} {}").format(
            columns, sql.Identifier(self.schema, self.name), sql.SQL(self.condition)
        )


@dataclass(frozen=True)
class DataPlan:
    """The tables whose rows are copied, and what stays behind with its reason."""

    copy: tuple[ConfigTable, ...]
    left: tuple[dict[str, str], ...]


def read(rows: Iterable[Mapping[str, object]]) -> list[ConfigTable]:
    """Return the tables that :data:`QUERY` found."""
    return [
        ConfigTable(**{**row, "columns": tuple(row["columns"]), "needs": tuple(row["needs"])})  # type: ignore[arg-type]
        for row in rows
    ]


def holding(tables: Sequence[ConfigTable]) -> sql.Composed:
    """Return the query for the ``oid`` of each table that holds rows of users, and of each sequence that was used.

    For tables that can be read, and not for none.
    """
    parts = []
    for item in tables:
        found = sql.SQL("SELECT 1 FROM ONLY {} {}").format(
            sql.Identifier(item.schema, item.name), sql.SQL(item.condition)
        )
        if item.kind == "S":
            found = sql.SQL("SELECT 1 FROM {} AS s WHERE s.is_called").format(sql.Identifier(item.schema, item.name))
        parts.append(sql.SQL("SELECT {}::bigint AS oid WHERE EXISTS ({})").format(sql.Literal(item.oid), found))
    return sql.SQL("\nUNION ALL\n").join(parts)


def eligible(
    tables: Iterable[ConfigTable], provider: Provider, left_behind: Collection[tuple[int, int]]
) -> tuple[list[ConfigTable], list[tuple[ConfigTable, str]]]:
    """Return the tables of users' data that could be copied, and those that never are, each with the reason. Pure."""
    chosen: list[ConfigTable] = []
    never: list[tuple[ConfigTable, str]] = []
    for item in tables:
        if (item.classid, item.extension_oid) in left_behind:
            continue
        if item.extension == CRON:
            never.append((item, "its jobs would run on the target before the cutover"))
        elif item.extension in SPREADING:
            never.append((item, "the extension keeps its own state there"))
        elif provider.owns_extension(item.extension):
            never.append((item, "the extension belongs to the source's provider"))
        else:
            chosen.append(item)
    return chosen, never


def plan(policy: str, source: Session, provider: Provider, left_behind: Collection[tuple[int, int]]) -> DataPlan:
    """Decide which rows of extensions' tables are copied; ``policy`` is the option (copy, skip or fail)."""
    tables = read(source.rows(QUERY))
    chosen, never = eligible(tables, provider, left_behind)
    readable = [item for item in tables if item.is_readable]
    used = {row["oid"] for row in source.rows(holding(readable))} if readable else set()
    left = [{"object": item.what, "reason": reason} for item, reason in never if item.oid in used]
    if policy == "skip":
        left += [{"object": item.what, "reason": "extension_data: skip"} for item in chosen if item.oid in used]
        return DataPlan((), tuple(left))
    left += [
        {"object": item.what, "reason": "the role may not read it on the source"}
        for item in chosen
        if not item.is_readable
    ]
    return DataPlan(tuple(ordered([item for item in chosen if item.oid in used])), tuple(left))


def ordered(tables: Sequence[ConfigTable]) -> list[ConfigTable]:
    """Return tables so that each comes after those that its foreign keys refer to. Pure."""
    waiting, result = list(tables), []
    while waiting:
        open_oids = {item.oid for item in waiting}
        ready = [item for item in waiting if not open_oids & set(item.needs)] or waiting
        result += ready
        waiting = [item for item in waiting if item not in ready]
    return result


def copy_all(source: Session, target: Session, planned: DataPlan) -> list[dict[str, str]]:
    """Copy the rows, each table in a transaction of its own; return what there is to say about each.

    ``source`` is inside the snapshot's transaction. Done again it adds nothing.
    """
    said = list(planned.left)
    for item in planned.copy:
        try:
            with source.transaction(), target.transaction():
                reason = _copy_state(source, target, item) if item.kind == "S" else _copy_rows(source, target, item)
        except (
            psycopg.ProgrammingError,
            psycopg.DataError,
            psycopg.IntegrityError,
            psycopg.NotSupportedError,
            psycopg.errors.RaiseException,
        ) as error:
            reason = f"not copied: {error.diag.message_primary}"
        said.append({"object": item.what, "reason": reason})
    return said


def _copy_rows(source: Session, target: Session, item: ConfigTable) -> str:
    there = target.row(_THERE, {"schema": item.schema, "name": item.name, "kind": item.kind})
    if there is None:
        return "not copied: the extension does not make this table on the target"
    missing = [column for column in item.columns if column not in there["columns"]]
    if missing:
        return f"not copied: on the target the table lacks the column(s) {', '.join(missing)}"
    table, rows = sql.Identifier(item.schema, item.name), sql.Identifier("pg_temp", _TEMPORARY)
    columns = sql.SQL(", ").join(map(sql.Identifier, item.columns))
    of_table = sql.SQL(", ").join(sql.Identifier("x", column) for column in item.columns)
    of_rows = sql.SQL(", ").join(sql.Identifier("r", column) for column in item.columns)
    target.connection.execute(
        sql.SQL("CREATE TEMPORARY TABLE {} ON COMMIT DROP AS SELECT {} FROM ONLY {} WHERE false").format(
            sql.Identifier(_TEMPORARY), columns, table
        )
    )
    read_rows = sql.SQL("COPY ({}) TO STDOUT").format(item.rows)
    write_rows = sql.SQL("COPY {} ({}) FROM STDIN").format(rows, columns)
    with (
        source.connection.cursor().copy(read_rows) as out,
        target.connection.cursor().copy(write_rows) as into,
    ):
        for block in out:
            into.write(block)
    words = {"table": table, "rows": rows, "columns": columns, "of_table": of_table, "of_rows": of_rows}
    target.execute(sql.SQL(_INSERT_NEW if there["is_unique"] else _INSERT_MISSING).format(**words))
    kept = target.value(sql.SQL(_KEPT).format(**words))
    said = "copied once, never replicated"
    return f"{said}; {kept} row(s) stay as the target has them" if kept else said


# Without a key equal rows are counted, as text: not every type has an equality.
_INSERT_NEW = """
INSERT INTO {table} ({columns}) OVERRIDING SYSTEM VALUE SELECT {of_rows} FROM {rows} AS r ON CONFLICT DO NOTHING
"""
_INSERT_MISSING = """
INSERT INTO {table} ({columns}) OVERRIDING SYSTEM VALUE
SELECT {of_rows}
  FROM (SELECT w.*, pg_catalog.row_number() OVER (PARTITION BY w::text) AS "seren migrator number",
               w::text AS "seren migrator text"
          FROM {rows} AS w) AS r
 WHERE r."seren migrator number" > (SELECT count(*) FROM ONLY {table} AS x
                                     WHERE ROW({of_table})::text = r."seren migrator text")
"""
_KEPT = """
SELECT count(*) AS kept
  FROM {rows} AS r
 WHERE NOT EXISTS (SELECT 1 FROM ONLY {table} AS x WHERE ROW({of_table})::text = ROW({of_rows})::text)
"""


def _copy_state(source: Session, target: Session, item: ConfigTable) -> str:
    """Move a sequence of the target forward, never back: the extension may have used it there already."""
    there = target.row(_THERE, {"schema": item.schema, "name": item.name, "kind": item.kind})
    if there is None:
        return "not copied: the extension does not make this sequence on the target"
    state = sql.SQL("SELECT s.last_value, s.is_called FROM {} AS s").format(sql.Identifier(item.schema, item.name))
    ours, theirs = source.rows(state)[0], target.rows(state)[0]
    is_behind = (theirs["last_value"], theirs["is_called"]) < (ours["last_value"], ours["is_called"])
    if is_behind:
        target.execute(
            sql.SQL("SELECT pg_catalog.setval({}::oid::pg_catalog.regclass, {}, {})").format(
                sql.Literal(there["oid"]), sql.Literal(ours["last_value"]), sql.Literal(ours["is_called"])
            )
        )
    return "set once, never replicated"
