# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""Checks of what is in the columns of the selected tables, and in the sequences that fill them."""

from __future__ import annotations

from ..catalog import Column, Sequence
from ..driver import Row, sql
from .check import Check, Outcome, check, failed, name, passed, statement, statements, unknown
from .context import Context

CHECKS: list[Check] = []

# Values that mean an object, a transaction or a place of this very server.
LOCAL_TYPES = frozenset(
    f"pg_catalog.{item}"
    for item in (
        *("oid", "xid", "xid8", "cid", "tid", "pg_lsn", "pg_snapshot", "txid_snapshot"),
        *("regclass", "regcollation", "regconfig", "regdictionary", "regnamespace", "regoper", "regoperator"),
        *("regproc", "regprocedure", "regrole", "regtype", "regdatabase"),
    )
)
# Rows of this size on average: among them may be one that a message of 1 GB cannot hold.
WIDE_ROW_BYTES = 8 * 1024 * 1024
TEXT_TYPES = frozenset(f"pg_catalog.{item}" for item in ("bytea", "text", "varchar", "bpchar"))

# How much of a sequence's range may be used up: to be told, and to be warned.
USED_UP, NEARLY_USED_UP = 0.75, 0.9
_MAXIMA = {"smallint": 2**15 - 1, "integer": 2**31 - 1, "bigint": 2**63 - 1}
_ENDLESS = 2**53
# Each sequence that is looked at stays locked until the query ends, and the server's lock table is not large.
AT_ONCE = 500

# What is stored out of line, for each row that there is, or at least one on each page.
_WIDE_ROWS = """
SELECT c.oid::bigint AS table,
       (pg_catalog.pg_relation_size(c.reltoastrelid)
         / greatest(c.reltuples, pg_catalog.pg_relation_size(c.oid) / pg_catalog.current_setting('block_size')::bigint, 1)
       )::bigint AS row_bytes
  FROM pg_catalog.pg_class AS c
 WHERE c.oid = ANY (%(oids)s::oid[]) AND c.reltoastrelid <> 0
"""

# NULL where we may not look, and where nothing was drawn yet.
_LAST_VALUES = """
SELECT c.oid::bigint AS sequence, p.is_readable,
       CASE WHEN p.is_readable THEN pg_catalog.pg_sequence_last_value(c.oid) END AS last_value
  FROM pg_catalog.pg_class AS c
 CROSS JOIN LATERAL (
   SELECT CASE WHEN c.relkind = 'S' THEN pg_catalog.has_sequence_privilege(c.oid, 'USAGE, SELECT') END) AS p(is_readable)
 WHERE c.oid = ANY (%(oids)s::oid[])
"""


_GENERATED_BELOW = """
SELECT n.nspname AS schema, c.relname AS relation, a.attname AS column,
       o.nspname AS parent_schema, r.relname AS parent, c.relispartition AS is_partition
  FROM pg_catalog.pg_attribute AS a
  JOIN pg_catalog.pg_class AS c ON c.oid = a.attrelid
  JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
  JOIN pg_catalog.pg_inherits AS i ON i.inhrelid = c.oid
  JOIN pg_catalog.pg_class AS r ON r.oid = i.inhparent
  JOIN pg_catalog.pg_namespace AS o ON o.oid = r.relnamespace
  JOIN pg_catalog.pg_attribute AS p ON p.attrelid = i.inhparent AND p.attname = a.attname
 WHERE c.oid = ANY (%(oids)s::oid[]) AND a.attgenerated <> '' AND p.attgenerated = '' AND NOT p.attisdropped
 ORDER BY 1, 2, 3, 4, 5
"""


@check(CHECKS, "generated_columns", "The target can compute each generated column", side="both")
def generated_columns(context: Context) -> Outcome:
    """R5. They are neither copied nor sent. Virtual ones exist from 18 on.

    From 16 on a child's column may be generated only where its parent's is, too.
    """
    generated = [(t, column) for t in context.selected.catalog.tables for column in t.columns if column.generated]
    virtual = [(table, column) for table, column in generated if column.generated == "v"]
    if generated and context.source.major < 16 <= context.target.major:
        rows = context.source.rows(_GENERATED_BELOW, {"oids": sorted({table.oid for table, _column in generated})})
        if rows:
            return failed(
                f"PostgreSQL {context.target.major} refuses generated columns in children of tables whose column is not "
                "generated.",
                _plain_columns(rows, context.source.major),
                objects=list(dict.fromkeys(f"{row['schema']}.{row['relation']}.{row['column']}" for row in rows)),
            )
    if not virtual or context.target.major >= 18:
        return passed(f"{len(generated)} generated columns are computed by the target." if generated else "")
    return failed(
        f"PostgreSQL {context.target.major} has no virtual generated columns, so these tables cannot be restored.",
        "Choose a target of major 18 or newer, or make these columns STORED (drop them and add them again).",
        objects=[f"{table.qualified}.{column.name}" for table, column in virtual],
    )


def _plain_columns(rows: list[Row], source_major: int) -> str:
    """Return what makes generated columns plain ones; PostgreSQL refuses that while they are inherited."""
    note = "-- their values stay; the application, or a trigger, has to fill them from then on"
    if source_major < 13 or any(row["is_partition"] for row in rows):
        return f"{note}\n-- take the tables from their parents, make these columns plain ones, and give the tables back"
    children = [
        ((row["schema"], row["relation"]), row["column"], (row["parent_schema"], row["parent"])) for row in rows
    ]
    pairs = dict.fromkeys((child, parent) for child, _column, parent in children)
    found = dict.fromkeys((child, column) for child, column, _parent in children)
    return (
        statements(
            statement("BEGIN"),
            *(statement("ALTER TABLE {} NO INHERIT {}", name(*child), name(*parent)) for child, parent in pairs),
            *(
                statement("ALTER TABLE {} ALTER COLUMN {} DROP EXPRESSION", name(*child), name(column))
                for child, column in found
            ),
            *(statement("ALTER TABLE {} INHERIT {}", name(*child), name(*parent)) for child, parent in pairs),
            statement("COMMIT"),
        )
        + f"\n{note}"
    )


@check(CHECKS, "local_values", "No column refers to objects by their OID or place", side="source", severity="warning")
def local_values(context: Context) -> Outcome:
    """R12. Large objects keep their OIDs; nothing else does. Names (regclass, ...) have to be there when rows arrive."""
    tables = context.selected.data_tables
    found = [(table, c) for table in tables for c in table.copied_columns if LOCAL_TYPES & set(c.leaf_types)]
    if not found:
        return passed()
    names = [f"{table.qualified}.{column.name} ({column.type})" for table, column in found]
    may_be_large_objects = all(column.leaf_types == ("pg_catalog.oid",) for _table, column in found)
    if may_be_large_objects and context.options.large_objects == "copy" and context.catalog.database.large_objects:
        return passed(f"These may name large objects, which keep their OIDs: {', '.join(names)}.")
    return failed(
        "Their values travel as they are. An oid, xid or pg_lsn of the source means nothing on the target (only large "
        "objects keep their OIDs, with large_objects: copy). A regclass and its like travel as names, which the target "
        "must know when the rows arrive: names of tables and functions, not of indexes.",
        "Find out what these columns are for. Where an application looks things up by them, keep names in a text column, "
        "or set the values again after the cut-over.",
        objects=names,
    )


@check(CHECKS, "wide_rows", "Rows are far from the limit of a message", side="source", severity="warning")
def wide_rows(context: Context) -> Outcome:
    """R13. By averages: the greatest value of a column can only be found by reading them all."""
    tables = {table.oid: table for table in context.selected.data_tables if table.bytes >= WIDE_ROW_BYTES}
    rows = context.source.rows(_WIDE_ROWS, {"oids": list(tables)}) if tables else []
    wide = {tables[row["table"]]: row["row_bytes"] for row in rows if row["row_bytes"] >= WIDE_ROW_BYTES}
    if not wide:
        return passed()
    looks = []
    for table in wide:
        columns = [column.name for column in table.copied_columns if TEXT_TYPES & set(column.leaf_types)]
        for column in columns:
            text = "SELECT pg_catalog.max(pg_catalog.octet_length({})) FROM ONLY {}"
            looks.append(statements(statement(text, name(column), name(table.schema, table.name))))
    return failed(
        "A row whose values as text (bytea: two characters a byte) are longer than 1 GB can be neither copied nor "
        "replicated. The rows of these tables are large on average.",
        "\n".join(
            ["-- what is the longest value? above 500 MB of bytea, or 1 GB of text, move the row by hand", *looks]
        ),
        objects=[f"{table.qualified} ({size // 1024**2} MB a row)" for table, size in wide.items()],
    )


@check(
    CHECKS, "sequences", "Sequences and the columns they fill are far from their end", side="source", severity="warning"
)
def sequences(context: Context) -> Outcome:
    """O2, R14. The column may be narrower than the sequence; one that cycles has no end."""
    chosen = {item.oid: item for item in context.selected.catalog.sequences}
    if not chosen:
        return passed("There are none.")
    hidden: list[Sequence] = []
    used: dict[int, float] = {}
    ends = {oid: _end(context, sequence) for oid, sequence in chosen.items() if not sequence.cycles}
    for row in _last_values(context, [oid for oid, end in ends.items() if abs(end) < _ENDLESS]):
        sequence, end = chosen[row["sequence"]], ends[row["sequence"]]
        if not row["is_readable"]:
            hidden.append(sequence)
        elif row["last_value"] is not None and end != sequence.start:
            used[sequence.oid] = (row["last_value"] - sequence.start) / (end - sequence.start)
    near = sorted((oid for oid in used if used[oid] >= USED_UP), key=lambda oid: (-used[oid], oid))
    if near:
        return failed(
            "These sequences come to the end of their range, or of their column's.",
            "-- a new type rewrites the table under an ACCESS EXCLUSIVE lock: before init, or after the cut-over\n"
            + statements(*(part for oid in near for part in _widening(context, chosen[oid]))),
            objects=[f"{chosen[oid].qualified} ({used[oid]:.0%} used)" for oid in near],
            severity=None if used[near[0]] >= NEARLY_USED_UP else "info",
        )
    if hidden:
        me = name(context.source.role.name)
        return unknown(
            "How much of these sequences is used up cannot be read.",
            statements(
                *(statement("GRANT SELECT ON SEQUENCE {} TO {}", name(item.schema, item.name), me) for item in hidden)
            ),
            objects=[item.qualified for item in hidden],
        )
    return passed(f"{len(chosen)} sequences are set once at init; their later values are not replicated.")


def _last_values(context: Context, oids: list[int]) -> list[Row]:
    found: list[Row] = []
    for first in range(0, len(oids), AT_ONCE):
        found += context.source.rows(_LAST_VALUES, {"oids": oids[first : first + AT_ONCE]})
    return found


def _column_of(context: Context, sequence: Sequence) -> Column | None:
    table = context.catalog.by_oid.get(sequence.owning_table or 0)
    return next((c for c in table.columns if c.name == sequence.owning_column), None) if table else None


def _end(context: Context, sequence: Sequence) -> int:
    """Return the last value that a sequence can give and its column can hold."""
    column = _column_of(context, sequence)
    most = _MAXIMA.get(column.type if column else "bigint", _MAXIMA["bigint"])
    return min(sequence.maximum, most) if sequence.increment > 0 else max(sequence.minimum, -most - 1)


def _widening(context: Context, sequence: Sequence) -> list[sql.Composed]:
    """Return what gives a sequence and its column the range of bigint."""
    parts = []
    column, table = _column_of(context, sequence), context.catalog.by_oid.get(sequence.owning_table or 0)
    if column is not None and table is not None and column.type in ("smallint", "integer"):
        of_column = "ALTER TABLE {} ALTER COLUMN {} TYPE bigint"
        parts.append(statement(of_column, name(table.schema, table.name), name(column.name)))
    if sequence.type != "bigint":
        parts.append(statement("ALTER SEQUENCE {} AS bigint", name(sequence.schema, sequence.name)))
    own = (
        _MAXIMA[sequence.type] > sequence.maximum
        if sequence.increment > 0
        else -_MAXIMA[sequence.type] <= sequence.minimum
    )
    if own:
        limit = "ALTER SEQUENCE {} NO MAXVALUE" if sequence.increment > 0 else "ALTER SEQUENCE {} NO MINVALUE"
        parts.append(statement(limit, name(sequence.schema, sequence.name)))
    return parts
