# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""The check of row predicates: can the source publish them as filters, and the target copy by them."""

from __future__ import annotations

import re
import secrets

from ..catalog import Table
from ..driver import psycopg, sql
from ..session import Session
from .check import Check, Outcome, check, failed, passed
from .context import Context
from .trial import said_by

CHECKS: list[Check] = []

FIRST_USER_OID = 16384
TRIAL_TIMEOUT = "5s"

_LIMITS = """
SELECT pg_catalog.set_config('statement_timeout', %(timeout)s, true) AS statement,
       pg_catalog.set_config('lock_timeout', %(timeout)s, true) AS lock
"""

_MUTABLE = """
SELECT p.proname AS name
  FROM pg_catalog.pg_proc AS p
 WHERE p.pronamespace = 'pg_catalog'::pg_catalog.regnamespace AND p.proname = ANY (%(names)s::name[])
 GROUP BY p.proname
HAVING pg_catalog.bool_and(p.provolatile <> 'i')
 ORDER BY p.proname
"""

_TOKEN = re.compile(
    r"""
    (?P<skip> --[^\n]* | /\*.*?\*/ | (?:[eEbBxXnN]|[uU]&)?'(?:[^'\\]|''|\\.)*' | \$(?P<tag>\w*)\$.*?\$(?P=tag)\$ )
  | (?P<name> "(?:[^"]|"")*" | [^\W\d][\w$]* )
  | (?P<other> \s+ | . )
    """,
    re.VERBOSE | re.DOTALL,
)
_CHANGING_WORDS = frozenset(
    "current_date current_time current_timestamp localtime localtimestamp current_user current_role session_user "
    "current_catalog current_schema user".split()
)


def predicate_names(predicate: str) -> set[str]:
    """Return every name and key word of an SQL predicate, folded as PostgreSQL folds them. Pure."""
    found = (match.group() for match in _TOKEN.finditer(predicate) if match.group("name"))
    return {text[1:-1].replace('""', '"') if text.startswith('"') else text.lower() for text in found}


def predicate_words(predicate: str) -> tuple[set[str], set[str], bool]:
    """Return (functions called, words that change with time or session, has a subquery) of an SQL predicate.

    Names are folded as PostgreSQL folds them; a schema-qualified function keeps its schema. Text in literals,
    comments and quotes does not count. Pure; a first sieve, PostgreSQL itself has the last word.
    """
    words: list[str] = []
    for match in _TOKEN.finditer(predicate):
        text = match.group()
        if match.group("name"):
            words.append(text[1:-1].replace('""', '"') if text.startswith('"') else text.lower())
            if text.startswith('"'):
                words[-1] = "\0" + words[-1]  # quoted: an identifier, never a key word
        elif match.group("skip"):
            words.append("''")
        elif not text.isspace():
            words.append("\1" + text)
    functions = set()
    for position, word in enumerate(words[:-1]):
        if words[position + 1] != "\1(" or word.startswith("\1") or word == "''":
            continue
        qualified = position >= 2 and words[position - 1] == "\1."
        schema = words[position - 2].lstrip("\0") + "." if qualified else ""
        functions.add(schema + word.lstrip("\0"))
    return functions, set(words) & _CHANGING_WORDS, "select" in words


@check(CHECKS, "row_predicates", "Row predicates can be used as publication filters", side="source")
def row_predicates(context: Context) -> Outcome:
    """R4: source 15+, immutable functions and types of PostgreSQL only, and only columns of the replica identity.

    A target before 15 would copy all rows by itself.
    """
    predicates = context.row_predicates
    if not predicates:
        return passed()
    if context.source.major < 15:
        return failed(
            f"Row predicates need a source of major 15 or newer; this one is {context.source.major}.",
            "Remove rows, or exclude the tables, or upgrade the source first.",
            objects=[context.catalog.by_oid[oid].qualified for oid in sorted(predicates)],
        )
    if context.options.copy_method == "subscription" and context.target.major < 15:
        return failed(
            f"A target of major {context.target.major} does not look at row predicates when it copies by itself; from "
            "15 on it does.",
            "Use copy_method: runner.",
        )
    found: list[str] = []
    faults: dict[object, str] = {}
    for table in context.selected.data_tables:
        if table.oid in predicates:
            # Partitions of one table are all alike, as a rule: one of them is asked about.
            columns = tuple((column.name, column.type_oid) for column in table.columns)
            kind = (context.catalog.root_of(table).oid, predicates[table.oid], columns, table.identity_columns)
            if kind not in faults:
                faults[kind] = _predicate_fault(context, table, predicates[table.oid])
            if faults[kind]:
                found.append(f"{table.qualified}: {faults[kind]}")
    if not found:
        return passed()
    return failed(
        "A published row predicate may use only columns of the replica identity, built-in types, and built-in "
        "functions whose result never changes. UPDATE and DELETE of the table would fail on the source otherwise.",
        "Change the predicate, or give the table a replica identity that covers its columns (FULL covers all).",
        objects=found,
    )


def _predicate_fault(context: Context, table: Table, predicate: str) -> str:
    functions, changing, has_subquery = predicate_words(predicate)
    if has_subquery:
        return "it holds a subquery"
    if changing:
        return f"{', '.join(sorted(changing))} changes with time or session"
    own = sorted(item for item in functions if "." in item and not item.startswith("pg_catalog."))
    if own:
        return f"{', '.join(own)} is not a built-in function"
    plain = [item.removeprefix("pg_catalog.") for item in functions]
    mutable = [row["name"] for row in context.source.rows(_MUTABLE, {"names": plain})]
    if mutable:
        return f"{', '.join(mutable)}() is not immutable"
    used = predicate_names(predicate)
    strange = [f"{c.name} ({c.type})" for c in table.columns if c.name in used and c.type_oid >= FIRST_USER_OID]
    if strange:
        return f"{', '.join(strange)}: a type of users may not be used"
    everything = [column.name for column in table.columns]
    fault = _does_not_parse(context, table, everything, predicate)
    if fault:
        return fault
    if table.identity_columns and table.identity_verdict != "full":
        fault = _does_not_parse(context, table, list(table.identity_columns), predicate)
        if fault:
            return f"it uses more than the replica identity ({', '.join(table.identity_columns)}): {fault}"
    return _cannot_be_published(context, table, predicate)


def _cannot_be_published(context: Context, table: Table, predicate: str) -> str:
    """Let the source publish the table by its predicate and roll that back: the last word on casts, operators, types.

    PostgreSQL allows that in no read-only transaction. Its lock stops no reader and no writer.
    """
    query = sql.SQL("CREATE PUBLICATION {} FOR TABLE ONLY {} WHERE ({}\n)").format(
        sql.Identifier("seren_migrator_probe_" + secrets.token_hex(6)),
        sql.Identifier(table.schema, table.name),
        sql.SQL(predicate),  # the user's own; what could end the statement was refused before
    )
    with Session.open(context.source.session.endpoint, context.migration.log, purpose="probe") as session:
        try:
            with session.connection.transaction(force_rollback=True):
                session.row(_LIMITS, {"timeout": TRIAL_TIMEOUT})
                session.connection.execute(query, prepare=True)
        except (psycopg.errors.InsufficientPrivilege, psycopg.errors.LockNotAvailable):
            return ""  # source_create_privilege and source_table_owner speak of the one, the other is no fault of it
        except psycopg.Error as error:
            return said_by(error, context.migration.redactor)
    return ""


def _does_not_parse(context: Context, table: Table, columns: list[str], predicate: str) -> str:
    """Ask PostgreSQL to plan a query in which only ``columns`` of the table can be seen; '' when it can."""
    query = sql.SQL("EXPLAIN (COSTS OFF) SELECT 1 FROM (SELECT {} FROM ONLY {}) AS {} WHERE ({}\n)").format(
        sql.SQL(", ").join(map(sql.Identifier, columns)),
        sql.Identifier(table.schema, table.name),
        sql.Identifier(table.name),
        sql.SQL(predicate),  # the user's own expression, in a read-only session
    )
    try:
        # Prepared, so that a second statement behind a semicolon is refused.
        context.source.session.connection.execute(query, prepare=True)
    except psycopg.errors.InsufficientPrivilege:
        raise
    except psycopg.Error as error:
        return context.migration.redactor.text(error.diag.message_primary or str(error)).strip()
    return ""
