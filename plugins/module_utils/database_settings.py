# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""The settings of the database itself (ALTER DATABASE ... SET): which travel, which wait, which stay behind. Pure.

Every session starts with them: ours, the subscription's workers, the application's. So what would hinder one of these
before the cutover is not set; the ledger remembers its name, and the results name it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from .attempts import Attempt, Refused
from .driver import sql
from .provider import is_own_setting
from .role_statements import setting_refusal, setting_value, shown_value

# What workers of a subscription obey, though nobody sits before them: they would refuse to write, give up while they wait,
# or take a value for another one.
WAITING = {
    "array_nulls": "the apply would read NULL in arrays as a text",
    "default_transaction_deferrable": "the apply would run its transactions so",
    "default_transaction_isolation": "the apply would run its transactions so",
    "default_transaction_read_only": "the migration itself could not write",
    "lock_timeout": "the apply would give up where it has to wait",
    "role": "every session would become another role",
    "session_authorization": "every session would become another role",
    "temp_file_limit": "large indexes and refreshes may need more",
    "transaction_isolation": "the apply would run its transactions so",
    "transaction_read_only": "the migration itself could not write",
    "transaction_timeout": "the apply would give up in the middle of a large transaction",
    "xmloption": "the apply would refuse fragments of XML",
}
# What names files, libraries and folders of the source's machine: where one is missing, nobody can log in any more.
PLACES = {
    "default_tablespace": "tablespaces are not migrated",
    "temp_tablespaces": "tablespaces are not migrated",
    "dynamic_library_path": "it names folders of the source's machine",
    "extension_control_path": "it names folders of the source's machine",
    "local_preload_libraries": "where a library is missing on the target, nobody could log in",
    "session_preload_libraries": "where a library is missing on the target, nobody could log in",
    "jit_provider": "it names a library of the source's machine",
    "unix_socket_directories": "it names folders of the source's machine",
}


@dataclass(frozen=True)
class Setting:
    """A setting as pg_db_role_setting has it."""

    name: str
    value: str

    @classmethod
    def of(cls, entry: str) -> Setting:
        """Return the setting of one entry, ``name=value``."""
        return cls(*entry.split("=", 1))

    @property
    def what(self) -> str:
        """What results call it; never the value, in which applications keep secrets."""
        return f"setting {self.name} of the database"


@dataclass(frozen=True)
class SettingsPlan:
    """What to set; what is not, with its reason; and the names of what waits for the cutover."""

    give: tuple[Setting, ...]
    left: tuple[dict[str, str], ...]
    waiting: tuple[str, ...]


def plan(wanted: Iterable[Setting], there: Iterable[Setting], access_methods: Collection[str]) -> SettingsPlan:
    """Decide about each setting of the source (``wanted``); ``there`` are those that the target's database has already.

    ``access_methods`` are the names of the target's table access methods.
    """
    present = {item.name.lower(): item.value for item in there}
    give: list[Setting] = []
    left: list[dict[str, str]] = []
    waiting: list[str] = []
    for item in wanted:
        key = item.name.lower()
        if present.get(key) == item.value:
            continue
        if key in present:
            reason = "the target's database has another value, which is not changed"
        elif key in WAITING:
            waiting.append(item.name)
            reason = f"not set before the cutover: {WAITING[key]}. Set it then: ALTER DATABASE ... SET"
        elif key in PLACES:
            reason = f"{PLACES[key]}. Set it by hand where it is right"
        elif is_own_setting(key) or key.startswith("cron."):
            reason = "it belongs to an extension of the source's provider or server"
        elif key == "default_table_access_method" and item.value not in access_methods:
            reason = "the target does not have that access method"
        else:
            give.append(item)
            continue
        left.append({"object": item.what, "reason": reason})
    return SettingsPlan(tuple(give), tuple(left), tuple(waiting))


def parameter(name: str) -> sql.Composed:
    """Return the name of a setting for a statement; a dot separates its parts."""
    return sql.SQL(".").join(sql.Identifier(part) for part in name.split("."))


def attempt(database: str, item: Setting) -> Attempt:
    """Return the statement that gives the database the setting; values of applications' own settings are not shown."""
    change = sql.SQL("ALTER DATABASE {} SET {} TO {}")
    where, which = sql.Identifier(database), parameter(item.name)
    shown = change.format(where, which, shown_value(item.name, item.value))
    return Attempt(item.what, change.format(where, which, setting_value(item.name, item.value)), shown)


def left(refused: Refused) -> dict[str, str]:
    """Return what stays behind of the database's properties; about settings not in the server's words, with values."""
    if not refused.attempt.what.startswith("setting "):
        return refused.as_left
    return {"object": refused.attempt.what, "reason": setting_refusal(refused.sqlstate)}
