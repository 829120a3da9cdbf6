# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""The one exception of the engine, its stable codes, and the redaction of secrets.

Nothing that a server or a client program said leaves the engine before it went through :class:`Redactor`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, quote_plus

MASK = "********"

# Stable codes: automation may branch on them. docs/errors.md explains each one.
CODES: dict[str, str] = {
    "bad_option": "an option has a value that cannot be used",
    "cannot_connect": "a server cannot be reached, or refuses the login",
    "client_missing": "pg_dump or pg_restore of a usable major is not installed",
    "client_failed": "pg_dump or pg_restore ended with an error",
    "constraint_violated": "rows do not satisfy a foreign key",
    "copy_failed": "a table could not be copied",
    "copy_stalled": "the servers' own copy does not get on",
    "database_error": "a statement of ours was refused by a server",
    "index_failed": "an index or a constraint could not be built",
    "job_timeout": "the time that the option job_timeout gives was over",
    "ledger_mismatch": "the ledger on the target belongs to another pair of databases or another selection",
    "ledger_refused": "the ledger on the target belongs to another role, and ours may not use it",
    "lag_timeout": "the target did not catch up in time",
    "migration_busy": "another runner works on this migration",
    "migration_cleaned": "the migration was cleaned up and cannot be continued",
    "name_taken": "an object with the name we need exists and is not ours",
    "not_initialised": "there is no finished copy to work on",
    "nothing_selected": "the selection, or one of its patterns, matches nothing",
    "not_ready": "the pre-flight found blockers",
    "replication_broken": "replication stands still and will not go on by itself",
    "rewritten_too_often": "a table was rewritten on the source each time it was copied",
    "runner_lost": "the process that did the work is gone and has left no answer",
    "runner_replaced": "another runner has taken this migration over",
    "schema_changed": "the schema of the source changed in a way that the copy cannot follow",
    "slot_lost": "the replication slot is gone or invalidated; the copy must start again",
    "slot_not_copied": "the source refused to copy a replication slot for a further stream",
    "slot_timeout": "the replication slot could not be created in time",
    "status_unreadable": "the status could not be read several times in a row",
    "target_not_empty": "the target already holds relations in the selected schemas",
    "unsupported_version": "a server's version is outside of what can be migrated",
    "wal_limit_exceeded": "the source had to keep more WAL for the copy than max_retained_wal allows",
    "cannot_start_over": "what init has made on the target cannot be taken back",
    "cannot_clean": "objects of the migration could not be removed",
    "not_verified": "source and target differ, or their equality could not be proven",
    "verify_failed": "the comparison could not be carried out",
}


@dataclass
class MigrationError(Exception):
    """What the engine raises: a code, what happened to which object, and what to do about it.

    ``code`` is a key of :data:`CODES`; ``message`` names the object and the cause; ``remedy`` is something an operator
    can do or paste; ``details`` is plain data (SQLSTATE, objects, last observation).
    """

    code: str
    message: str
    remedy: str = ""
    details: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.code not in CODES:
            raise ValueError(f"unknown error code {self.code!r}")
        super().__init__(self.message)

    def __str__(self) -> str:
        return f"{self.message} Remedy: {self.remedy}" if self.remedy else self.message


# password=..., password='...' in a keyword string, also doubled inside an SQL literal, where backslashes may be doubled
# too; the user part of a URI.
_KEYWORD = re.compile(
    r"((?:ssl)?password\s*=\s*)(''(?:\\{1,2}''|\\.|[^'\\])*''|'(?:\\.|[^'\\])*'|(?:\\.|[^\s'\\])+)",
    re.IGNORECASE | re.DOTALL,
)
_URI = re.compile(r"(postgres(?:ql)?://[^:/?#\s@]*:)([^\s]*)(@)", re.IGNORECASE)


_QUOTES = "'\"\\"


def _has_words(secret: str) -> bool:
    """True when enough of a secret is left without what quoting may change."""
    return len([character for character in secret if character not in _QUOTES]) > 3


def _nested(secret: str) -> re.Pattern[str]:
    """Return what a secret looks like after any number of quotings, one inside the other."""
    quotes = "(?:[" + re.escape(_QUOTES) + "]|" + "|".join(quote(character) for character in _QUOTES) + ")+"
    parts: list[str] = []
    for character in secret:
        if character not in _QUOTES:
            forms = {character, quote(character, safe=""), repr(character)[1:-1], ascii(character)[1:-1]}
            parts.append("(?:" + "|".join(re.escape(form) for form in sorted(forms, key=len, reverse=True)) + ")")
        elif not parts or parts[-1] != quotes:
            parts.append(quotes)
    return re.compile("".join(parts), re.IGNORECASE)


class Redactor:
    """Replaces known secrets, and whatever looks like one, in text and in nested plain data."""

    def __init__(self, secrets: list[str]) -> None:
        forms: set[str] = set()
        for secret in secrets:
            if not secret:
                continue
            in_keywords = secret.replace("\\", "\\\\").replace("'", "\\'")
            forms |= {quote(secret, safe=""), quote_plus(secret), quote(secret), repr(secret)[1:-1]}
            for form in (secret, in_keywords):
                in_literal = form.replace("'", "''")
                forms |= {form, in_literal, in_literal.replace("\\", "\\\\")}
        # Longest first: an escaped form contains the plain one. Very short ones would mask ordinary words.
        self._forms = sorted((form for form in forms if len(form) > 3), key=len, reverse=True)
        self._nested = [_nested(secret) for secret in sorted(secrets, key=len, reverse=True) if _has_words(secret)]

    def text(self, value: str) -> str:
        """Return ``value`` without secrets."""
        for form in self._forms:
            value = value.replace(form, MASK)
        for pattern in self._nested:
            value = pattern.sub(MASK, value)
        value = _KEYWORD.sub(lambda match: match.group(1) + MASK, value)
        return _URI.sub(lambda match: match.group(1) + MASK + match.group(3), value)

    def data(self, value: Any) -> Any:
        """Return a copy of plain data (dict, list, tuple, str, ...) without secrets."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {self.data(key): self.data(item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.data(item) for item in value]
        return value
