# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""Hash expressions: one 64-bit value per column, per row and per key, computed by the servers themselves.

Each column is hashed by its type with a seed of its own, NULL has a value of its own per column, the columns are
combined with XOR and finalised, so that neither equal values in two columns nor values swapped between two rows
cancel. The known-answer test decides per type whether a server's typed hash functions may be used.

The server's hash functions for 64-bit integers and timestamps fold their argument to 32 bits first, whatever the seed:
1 and 4294967296 have one hash. So an integer goes in as the seed, which is mixed in whole, of a constant of its column;
a timestamp goes in by its wire form.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ..driver import psycopg, sql
from ..session import Session
from .known_answers import QUESTIONS

# Base types (format_type without modifiers, domains resolved) with a lossless typed hash. hashboolextended exists on
# 18 only, and the text form of "char" differs between 14 and 15: both go through integer. All integers are hashed alike,
# so that a column may be wider on one side.
INTEGERS = frozenset({"smallint", "integer", "bigint", "oid"})
THROUGH_INTEGER = frozenset({"boolean", '"char"'})
TEXTS = frozenset({"text", "character varying", "name"})
BLANK_PADDED = frozenset({"character", "bpchar"})  # ::text strips the padding, concat() keeps it
TIMESTAMP = "timestamp without time zone"
TIMESTAMP_TZ = "timestamp with time zone"
_WIRE_FORMS = {TIMESTAMP: "timestamp_send", TIMESTAMP_TZ: "timestamptz_send"}

# Which question guards the typed hash of a type.
_TYPED_GUARDS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("smallint", "integer", "bigint", "oid"), ("whole",)),
    **dict.fromkeys(("boolean", '"char"'), ("whole", "charint")),
    "uuid": ("uuid",),
    TIMESTAMP: ("tswire", "text_ascii"),
    TIMESTAMP_TZ: ("tswire", "text_ascii"),
}
# Which question guards the text form of a type. A type that is not listed is guarded by all of them.
_FORM_GUARDS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("smallint", "integer", "bigint", "oid", "boolean", "uuid", "xml", *TEXTS), ()),
    **dict.fromkeys(("real", "double precision"), ("float",)),
    **dict.fromkeys(("date",), ("date",)),
    **dict.fromkeys((TIMESTAMP, TIMESTAMP_TZ, "time without time zone", "time with time zone"), ("tt",)),
    **dict.fromkeys(("inet", "cidr", "macaddr", "macaddr8"), ("net",)),
    **dict.fromkeys(("point", "box", "circle", "polygon", "line", "path", "lseg"), ("geo", "float")),
    **dict.fromkeys(("tsvector", "tsquery"), ("ts_text",)),
    **dict.fromkeys(("int4range", "int8range", "int4multirange", "int8multirange"), ("range",)),
    **dict.fromkeys(("bit", "bit varying"), ("bits",)),
    **dict.fromkeys(("xid", "xid8", "tid", "cid", "txid_snapshot", "pg_snapshot"), ("xid",)),
    **dict.fromkeys(BLANK_PADDED, ("bpchar",)),
    "numeric": ("numtxt",),
    "interval": ("int",),
    "bytea": ("bytea",),
    "money": ("money",),
    "json": ("json",),
    "jsonpath": ("jsonpath",),
    "pg_lsn": ("lsn",),
    '"char"': ("charlo",),
    "aclitem": ("acl",),
}
# What prints these types, called by name: users may make a cast of their own from a type to text, which loses what it
# likes, and the cast of xml shows a declaration that no copy carries. Of the others those casts are the server's own.
_OUTPUTS: dict[str, str] = {
    "smallint": "int2out",
    "integer": "int4out",
    "bigint": "int8out",
    "oid": "oidout",
    "uuid": "uuid_out",
    "numeric": "numeric_out",
    "real": "float4out",
    "double precision": "float8out",
    "money": "cash_out",
    "date": "date_out",
    "time without time zone": "time_out",
    "time with time zone": "timetz_out",
    TIMESTAMP: "timestamp_out",
    TIMESTAMP_TZ: "timestamptz_out",
    "interval": "interval_out",
    "bytea": "byteaout",
    "json": "json_out",
    "jsonb": "jsonb_out",
    "xml": "xml_out",
}
_OWN_CASTS = frozenset({"boolean", "inet", "cidr", *TEXTS})
_FORMS = tuple(
    dict.fromkeys(["jsonbtxt", "arr", "rec", "regs", *(form for forms in _FORM_GUARDS.values() for form in forms)])
)
_LARGE_BYTEA = 8 * 1024 * 1024  # above, the hexadecimal text form would double a large value: hash its digest
_COLUMNS_PER_GROUP = 200  # keeps the parse tree of 1,600 columns flat


@dataclass(frozen=True)
class HashedColumn:
    """A column to hash: its name and its base type, as ``format_type`` prints it without modifiers."""

    name: str
    base_type: str


@dataclass(frozen=True)
class HashRules:
    """What may be used in this run.

    ``native``: the servers' own 64-bit hash functions agree; otherwise sha256 cut to 64 bits. ``typed``: questions
    whose typed hash agrees. ``unlike``: text forms that differ between the two servers. ``recode``: the databases have
    different encodings, so text is hashed as UTF-8. ``refusal``: why nothing can be compared, '' when something can.
    """

    native: bool = True
    typed: frozenset[str] = frozenset()
    unlike: frozenset[str] = frozenset()
    recode: bool = False
    refusal: str = ""

    def as_data(self) -> dict[str, object]:
        """Return what a report says about the rules."""
        return {
            "hash": "native" if self.native else "sha256",
            "text_instead_of_typed": sorted({g for guards in _TYPED_GUARDS.values() for g in guards} - self.typed),
            "text_forms_that_differ": sorted(self.unlike),
            "encodings_differ": self.recode,
        }


@dataclass(frozen=True)
class Seeds:
    """The seeds of one run, all derived from ``base`` (0 <= base < 2**62), which is random: see :func:`new_seeds`."""

    base: int

    @property
    def row(self) -> int:
        """Seed that finalises a row."""
        return self._derived("row")

    @property
    def key(self) -> int:
        """Seed that finalises a key of several columns."""
        return self._derived("key")

    def column(self, position: int) -> int:
        """Seed of the column at ``position`` (from 0)."""
        return self._derived(f"column {position}")

    def null(self, position: int) -> int:
        """The value that stands for NULL in the column at ``position``."""
        return self._derived(f"null {position}")

    def second(self) -> Seeds:
        """Return other seeds, for a second hash that is independent of the first."""
        return Seeds(self._derived("second") >> 1)

    def _derived(self, what: str) -> int:
        return int.from_bytes(hashlib.sha256(f"{self.base} {what}".encode()).digest()[:8], "big") >> 1


def new_seeds() -> Seeds:
    """Return seeds that no earlier run had, so that two runs do not miss the same difference."""
    return Seeds(secrets.randbelow(1 << 62))


# --- known answers ---------------------------------------------------------------------------------------------

Answers = Mapping[str, "str | None"]


def ask(session: Session) -> dict[str, str | None]:
    """Ask one server every question, inside the caller's transaction; None stands for a refusal.

    All at once first. When a question is refused, each is asked on its own, so that one refusal hides no answer.
    """
    try:
        with session.connection.transaction():
            query = ", ".join(f"({question.query}) AS q{number}" for number, question in enumerate(QUESTIONS))
            row = session.row("SELECT " + query) or {}
            return {question.name: row.get(f"q{number}") for number, question in enumerate(QUESTIONS)}
    except psycopg.OperationalError:
        raise
    except psycopg.Error:
        return {question.name: _ask_one(session, question.query) for question in QUESTIONS}


def _ask_one(session: Session, query: str) -> str | None:
    try:
        with session.connection.transaction():
            value = session.value(query)
            return None if value is None else str(value)
    except psycopg.OperationalError:
        raise
    except psycopg.Error:
        return None


def conclude(source: Answers, target: Answers, source_encoding: str, target_encoding: str) -> HashRules:
    """Draw the conclusions: a typed hash needs both servers and the file to agree, a text form both servers.

    Fails closed: an unknown or refused answer never counts as agreement.
    """
    expected = {question.name: question.expected for question in QUESTIONS}
    is_utf8 = source_encoding == target_encoding == "UTF8"

    def agrees(name: str, *, with_file: bool) -> bool:
        answer = source.get(name)
        return answer is not None and answer == target.get(name) and (not with_file or answer == expected[name])

    def form_agrees(name: str) -> bool:
        # Other encodings lack characters of this question; they have one of their own.
        return agrees("jsonb_ascii" if name == "jsonbtxt" and not is_utf8 else name, with_file=False)

    text = "text" if is_utf8 else "text_ascii"
    refusal = "" if agrees("sumtype", with_file=True) else "the servers do not add up 64-bit numbers alike"
    if source_encoding != target_encoding and "SQL_ASCII" in (source_encoding, target_encoding):
        refusal = f"encoding: {source_encoding} on the source, {target_encoding} on the target"
    guards = {guard for guards in _TYPED_GUARDS.values() for guard in guards}
    return HashRules(
        native=all(agrees(name, with_file=True) for name in ("whole", "fin", text)),
        typed=frozenset(name for name in guards if agrees(name, with_file=True)),
        unlike=frozenset(name for name in _FORMS if not form_agrees(name)),
        recode=source_encoding != target_encoding,
        refusal=refusal,
    )


# --- which way a column is hashed ------------------------------------------------------------------------------


def is_typed(base_type: str, rules: HashRules) -> bool:
    """True when the column is hashed by its type, and not by its text form."""
    guards = _TYPED_GUARDS.get(base_type)
    return rules.native and guards is not None and rules.typed.issuperset(guards)


def unlike_forms(base_type: str, rules: HashRules) -> frozenset[str]:
    """Return the questions on which the two servers disagree and on which this column's text form rests."""
    if is_typed(base_type, rules):
        return frozenset()
    return rules.unlike.intersection(_form_guards(base_type))


def _form_guards(base_type: str) -> Sequence[str]:
    if base_type.endswith("[]"):
        return ("arr", *_form_guards(base_type[:-2]))
    if base_type == "jsonb":
        return ("jsonbtxt",)
    if base_type.startswith("reg") and base_type.isalpha():
        return ("regs",)
    return _FORM_GUARDS.get(base_type, _FORMS)


# --- expressions -----------------------------------------------------------------------------------------------


def reference(column: HashedColumn) -> sql.Composable:
    """Return the column of the scanned relation, whose alias is always ``k``."""
    return sql.SQL("k.{}").format(sql.Identifier(column.name))


def text_form(column: HashedColumn) -> sql.Composable:
    """Return the column's lossless text form under the pinned settings; NULL stays NULL."""
    name = reference(column)
    if column.base_type == '"char"[]':
        name = sql.SQL("{}::pg_catalog.int4[]").format(name)
    output = "array_out" if column.base_type.endswith("[]") else _OUTPUTS.get(column.base_type)
    if output is not None:
        return sql.SQL("pg_catalog.textin(pg_catalog.{}({}))").format(sql.Identifier(output), name)
    if column.base_type in _OWN_CASTS:
        return sql.SQL("{}::pg_catalog.text").format(name)
    if column.base_type == '"char"':
        return sql.SQL("{}::pg_catalog.int4::pg_catalog.text").format(name)
    # Not IS NOT NULL, which asks a row for each of its fields.
    return sql.SQL("CASE WHEN {0} IS DISTINCT FROM NULL THEN pg_catalog.concat({0}) END").format(name)


def _hash_text(text: sql.Composable, seed: int, rules: HashRules) -> sql.Composable:
    if not rules.native:
        return sql.SQL(
            "('x' || pg_catalog.encode(pg_catalog.substring(pg_catalog.sha256(pg_catalog.convert_to("
            "{} || {}, 'UTF8')), 1, 8), 'hex'))::pg_catalog.bit(64)::pg_catalog.int8"
        ).format(sql.Literal(f"{seed}:"), text)
    if rules.recode:
        text = sql.SQL("pg_catalog.encode(pg_catalog.convert_to({}, 'UTF8'), 'hex')").format(text)
    return _hash_ascii(sql.SQL("({})").format(text), seed)


def _hash_integer(value: sql.Composable, seed: int, salt: int) -> sql.Composable:
    """Return the hash of a bigint that loses nothing of it; ``salt`` keeps equal values of two columns apart."""
    return sql.SQL("pg_catalog.hashint4extended({}, {} # {})").format(sql.Literal(salt), value, sql.Literal(seed))


def column_hash(column: HashedColumn, seed: int, rules: HashRules, position: int = 0) -> sql.Composable:
    """Return the expression of one column's 64-bit hash, NULL for NULL. ``position`` is the column's among those hashed."""
    name = reference(column)
    if not is_typed(column.base_type, rules):
        if column.base_type == "bytea":
            digest = sql.SQL("pg_catalog.encode(pg_catalog.sha256({}), 'hex')").format(name)
            return sql.SQL("CASE WHEN pg_catalog.octet_length({}) > {} THEN {} ELSE {} END").format(
                name,
                sql.Literal(_LARGE_BYTEA),
                _hash_text(digest, seed, rules),
                _hash_text(text_form(column), seed, rules),
            )
        return _hash_text(text_form(column), seed, rules)
    if column.base_type in INTEGERS:
        return _hash_integer(sql.SQL("{}::pg_catalog.int8").format(name), seed, position + 1)
    if column.base_type in THROUGH_INTEGER:
        return _hash_integer(sql.SQL("{}::pg_catalog.int4::pg_catalog.int8").format(name), seed, position + 1)
    if column.base_type == "uuid":
        return sql.SQL("pg_catalog.uuid_hash_extended({}, {})").format(name, sql.Literal(seed))
    wire = sql.SQL("pg_catalog.encode(pg_catalog.{}({}), 'hex')").format(
        sql.Identifier(_WIRE_FORMS[column.base_type]), name
    )
    return _hash_ascii(wire, seed)


def _hash_ascii(text: sql.Composable, seed: int) -> sql.Composable:
    """Return the hash of a text that is the same in every encoding."""
    return sql.SQL('pg_catalog.hashtextextended({} COLLATE pg_catalog."C", {})').format(text, sql.Literal(seed))


def _combined(hashes: Iterable[sql.Composable]) -> sql.Composable:
    parts = list(hashes)
    if not parts:
        return sql.SQL("0::pg_catalog.int8")
    groups = [
        sql.SQL("({})").format(sql.SQL(" # ").join(parts[start : start + _COLUMNS_PER_GROUP]))
        for start in range(0, len(parts), _COLUMNS_PER_GROUP)
    ]
    return sql.SQL(" # ").join(groups)


def _finalised(combined: sql.Composable, seed: int, rules: HashRules) -> sql.Composable:
    """Return a hash of the combination that is not linear in it, so that what is swapped between rows shows in the sum."""
    if rules.native:
        return _hash_integer(sql.SQL("({})").format(combined), seed, 0)
    return _hash_text(sql.SQL("({})::pg_catalog.text").format(combined), seed, rules)


def row_hash(columns: Sequence[HashedColumn], seeds: Seeds, rules: HashRules) -> sql.Composable:
    """Return the expression of a row's hash over ``columns``; it is never NULL."""
    return _finalised(
        _combined(
            sql.SQL("coalesce({}, {}::pg_catalog.int8)").format(
                column_hash(column, seeds.column(position), rules, position), sql.Literal(seeds.null(position))
            )
            for position, column in enumerate(columns)
        ),
        seeds.row,
        rules,
    )


def key_hash(columns: Sequence[HashedColumn], key: Sequence[int], seeds: Seeds, rules: HashRules) -> sql.Composable:
    """Return the expression of a key's hash; ``key`` are positions of columns that hold no NULL."""
    hashes = [column_hash(columns[position], seeds.column(position), rules, position) for position in key]
    return hashes[0] if len(hashes) == 1 else _finalised(_combined(hashes), seeds.key, rules)
