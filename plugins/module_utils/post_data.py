# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""The last section of the schema's archive, cut into its entries: what a single table waits for, and the rest.

pg_restore writes the section as one script. Indexes and constraints of tables with rows are taken out of it and built
as soon as the rows are there (``indexes.py``); what remains is restored at the end, in its order, in one transaction.
Pure: text in, text out.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import cached_property

# How pg_restore --verbose heads an entry, in every major from 14 to 18.
_HEADER = re.compile(rb"^--\n-- TOC entry (\d+) \(class (\d+) OID (\d+)\)\n", re.MULTILINE)
_ENTRY_LINE = re.compile(r"^(\d+); (\d+) (\d+) ", re.MULTILINE)
_COMMENT_LINES = re.compile(rb"\A(?:--[^\n]*\n|\n)*")
# One statement: names and strings are stepped over as wholes, because they may hold a semicolon.
_STATEMENT = re.compile(rb"""(?:"(?:[^"]|"")*"|'(?:[^']|'')*'|[^"';])*;\n""")
PG_CLASS, PG_CONSTRAINT = 1259, 2606


@dataclass(frozen=True)
class Entry:
    """One entry of the archive: the catalog and OID of the object on the source (0 without one), and its statements."""

    classid: int
    objid: int
    text: bytes

    @property
    def statements(self) -> bytes:
        """The statements without pg_restore's comments before them."""
        return _COMMENT_LINES.sub(b"", self.text)


@dataclass(frozen=True)
class Script:
    """A restore script: what precedes the entries (settings of the session), and the entries in order."""

    prologue: bytes
    entries: tuple[Entry, ...]

    @cached_property
    def by_object(self) -> dict[tuple[int, int], Entry]:
        """The entries of objects of the source, by (classid, objid)."""
        return {(entry.classid, entry.objid): entry for entry in self.entries if entry.classid}

    def without(self, objects: Collection[tuple[int, int]], not_valid: Collection[int]) -> bytes:
        """Return the script without the entries of ``objects``; foreign keys ``not_valid`` (OIDs) are not checked."""
        kept = [entry for entry in self.entries if not entry.classid or (entry.classid, entry.objid) not in objects]
        texts = [
            unchecked(entry.text) if entry.classid == PG_CONSTRAINT and entry.objid in not_valid else entry.text
            for entry in kept
        ]
        return self.prologue + b"".join(texts)


def split(script: bytes, listing: str) -> Script:
    """Cut a verbose restore script into its entries; ``listing`` is the archive's list, in the order of the restore.

    A text of the database could imitate the head of an entry. Heads must therefore name entries of the list, each once
    and in the list's order; otherwise nothing is cut, and all of it is the prologue.
    """
    places = {int(number): position for position, (number, _class, _oid) in enumerate(_ENTRY_LINE.findall(listing))}
    heads = list(_HEADER.finditer(script))
    order = [places.get(int(head[1]), -1) for head in heads]
    if not heads or -1 in order or order != sorted(set(order)):
        return Script(script, ())
    starts = [head.start() for head in heads]
    ends = [*starts[1:], len(script)]
    entries = tuple(
        Entry(int(head[2]), int(head[3]), script[start:end])
        for head, start, end in zip(heads, starts, ends, strict=True)
    )
    return Script(script[: starts[0]], entries)


def unchecked(foreign_key: bytes) -> bytes:
    """Return the entry of a foreign key so that existing rows are not checked when it is added."""
    head, end, rest = foreign_key.rpartition(b";\n")
    return head + b" NOT VALID" + end + rest


def after_first_statement(statements: bytes) -> bytes:
    """Return what follows an entry's first statement (CLUSTER ON, SET STATISTICS, REPLICA IDENTITY)."""
    first = _STATEMENT.match(statements)
    return statements[first.end() :].strip() if first else b""


def sequence_of(statements: Iterable[bytes]) -> bytes:
    """Join statements to one simple-query string."""
    return b"\n".join(statement.strip() for statement in statements if statement.strip())
