# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""What a migration has left out on purpose, or could not carry and has told: differences that are expected. Pure.

The ledger says it: its steps, its options, and what it lists as left behind, in words. Nothing else is forgiven.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ...ledger import Record
from .comparing import Difference, Expected
from .described import OF_TARGET

UNTIL_CUTOVER = "disabled on the target until the cutover"
_ACCESS = frozenset({"owner", "privileges", "grantors"})
_ENABLED = frozenset({"enabled"})
# What results call a kind, where that is not the comparison's word.
_WORDS = {
    "function": "routine",
    "procedure": "routine",
    "aggregate": "routine",
    "foreign-data wrapper": "foreign data wrapper",
}
# How pg_describe_object calls what results call otherwise.
_DESCRIBED = {
    "foreign-data wrapper": "foreign data wrapper",
    "function": "routine",
    "view": "table",
    "materialized view": "table",
    "foreign table": "table",
}
# What results call an attribute of the database, where that is not the comparison's word.
_OF_DATABASE = {
    "locale": frozenset({"locale", "locale provider", "collation", "ctype", "locale rules"}),
    "owner": _ACCESS,
    "privileges": _ACCESS,
    "template mark": frozenset({"template"}),
    "connection limit": frozenset({"connection limit"}),
    "unlimited connections": frozenset({"connection limit"}),
}

_OF_TARGET = Expected(
    "the target's own affair: a role that the source does not have, or one of the provider's, may do this there with what "
    "PostgreSQL, an extension or the provider has made",
    kind=OF_TARGET,
    what=frozenset({"extra"}),
)


def expected(record: Record | None) -> list[Expected]:
    """Return what is expected to differ in a migration that the ledger knows."""
    found = [*_extensions(), _OF_TARGET]
    if record is None:
        return found
    found += _policies(record.options)
    found += _resting(record)
    for entry in record.left:
        found += _left(entry["object"], entry["reason"])
    return found


def _extensions() -> Iterator[Expected]:
    for attribute in ("version", "comment"):
        reason = f"an extension has the {attribute} that its server offers"
        yield Expected(reason, kind="extension", attributes=frozenset({attribute}), what=frozenset())


def _policies(options: Mapping[str, Any]) -> Iterator[Expected]:
    if options.get("user_mappings", "skip") != "create":
        yield Expected("user mappings are left behind: they hold secrets", kind="user mapping")
    everything = frozenset({"missing", "extra", "changed"})
    if options.get("large_objects") == "skip":
        yield Expected("large_objects: skip", kind="large objects", what=everything)
    elif options.get("large_objects") == "fail":  # the source had none; what it has got since is missing
        reason = "they do not belong to the migration: the source has none"
        yield Expected(reason, kind="large objects", what=frozenset({"extra"}))
    if options.get("event_triggers") in ("skip", "fail"):
        yield Expected(f"event_triggers: {options['event_triggers']}", kind="event trigger")


def _resting(record: Record) -> Iterator[Expected]:
    """Yield the triggers and rules that rest, and the foreign keys that wait."""
    for item in record.resting:
        name = f"{item['name']} on {item['schema']}.{item['relation']}"
        yield Expected(UNTIL_CUTOVER, str(item["kind"]).lower(), _called(name), _ENABLED, frozenset())
    for name in record.postponed_foreign_keys:
        yield Expected("its tables are carried by different streams", "constraint", _called(name))
    for key in (key for keys in record.keys_to_validate.values() for key in keys):
        name = f"{key['name']} on {key['schema']}.{key['table']}"
        reason = "added, but its rows are not validated yet"
        yield Expected(reason, "constraint", _called(name), frozenset({"validated"}), frozenset())


def _left(what: str, reason: str) -> Iterator[Expected]:
    """Yield what one entry of ``left`` explains."""
    if found := re.fullmatch(r"event trigger (?P<name>.+)", what):
        if "cutover" in reason:
            yield Expected(reason, "event trigger", _called(found["name"]), _ENABLED, frozenset())
        else:
            yield Expected(reason, "event trigger", _called(found["name"]))
    elif found := re.fullmatch(r"policy (?P<name>.+?) on table (?P<table>.+?)(?: for .+)?", what):
        yield Expected(reason, "policy", _called(f"{found['name']} on {found['table']}"))
    elif found := re.fullmatch(r"role (?P<role>.+) as the one who has granted", what):
        yield Expected(reason, attributes=frozenset({"grantors"}), what=frozenset(), test=_granted_by(found["role"]))
    elif found := re.fullmatch(r"\d+ security label\(s\) of provider (?P<provider>.+)", what):
        provider = found["provider"]
        yield Expected(
            reason,
            attributes=frozenset({"security labels"}),
            what=frozenset(),
            test=_mentions("security labels", provider),
        )
    elif found := re.fullmatch(r"(?P<attribute>version|comment)(?: \S+)? of extension (?P<name>.+)", what):
        yield Expected(
            reason, "extension", _called(found["name"]), attributes=frozenset({found["attribute"]}), what=frozenset()
        )
    elif found := re.fullmatch(r"rows of (?P<object>materialized view .+)", what):
        yield Expected(reason, attributes=frozenset({"populated"}), what=frozenset(), test=_is(found["object"]))
    elif re.fullmatch(r".* of \d+ large object\(s\)", what):
        names = frozenset({"owners and privileges", "comments"})
        yield Expected(reason, "large objects", attributes=names, what=frozenset())
    elif found := re.fullmatch(r"(?P<what>.+) of the database", what):
        yield from _of_database(found["what"], reason)
    elif found := re.fullmatch(r"owner and privileges of (?P<object>language .+)", what):
        # The same functions, perhaps elsewhere.
        attributes = _ACCESS | {"handler", "inline handler", "validator"}
        yield Expected(reason, "language", attributes=attributes, what=frozenset(), test=_is(found["object"]))
    elif found := re.fullmatch(r"(?:owner .+?|comment|[A-Z][A-Z, ]*) (?:of|on) (?P<object>.+?)(?: for .+)?", what):
        attributes = frozenset({"comment"}) if what.startswith("comment") else _ACCESS
        yield Expected(reason, attributes=attributes, what=frozenset(), test=_is(found["object"]))
    elif found := re.fullmatch(r"privileges on (?P<object>.+)", what):
        name = _system_object(found["object"])
        yield Expected(
            reason,
            "changed privileges",
            lambda other: _system_object(other) == name,
            what=frozenset({"missing", "changed"}),
        )
        yield Expected(
            reason,
            OF_TARGET,
            lambda other: _system_object(other.partition(" on ")[2]).startswith(f"{name} for "),
        )
    else:
        yield Expected(reason, test=_is(what))


def _of_database(what: str, reason: str) -> Iterator[Expected]:
    attributes = frozenset({what})
    for start, names in _OF_DATABASE.items():
        if what.startswith(start):
            attributes = names
    yield Expected(reason, "database", attributes=attributes, what=frozenset())


def plain(name: str) -> str:
    """Return a name as results show it, without the quotes that make it unambiguous."""
    return re.sub(r'"((?:[^"]|"")*)"', lambda found: found.group(1).replace('""', '"'), name)


def _called(name: str) -> Callable[[str], bool]:
    return lambda other: name in (other, plain(other))


def _system_object(name: str) -> str:
    """Return the name of an object that PostgreSQL or an extension has made, as neither results nor PostgreSQL spell it.

    Results say ``routine pg_catalog.pg_ls_dir(text, boolean)``, pg_describe_object ``function pg_ls_dir(text,boolean)``.
    """
    text = plain(name).replace(", ", ",")
    for theirs, ours in _DESCRIBED.items():
        if text.startswith(f"{theirs} "):
            text = ours + text[len(theirs) :]
            break
    return text.replace("pg_catalog.", "")


def _is(what: str) -> Callable[[Difference], bool]:
    """Return what tells whether a difference is about an object that results name so."""

    def test(difference: Difference) -> bool:
        name = plain(difference.name)
        kinds = (difference.kind, _WORDS.get(difference.kind, difference.kind))
        if difference.kind == "column":
            relation, _dot, column = name.rpartition(".")
            return re.fullmatch(rf"column {re.escape(column)} of [a-z ]+ {re.escape(relation)}", what) is not None
        return what.replace(", ", ",") in {f"{kind} {name}".replace(", ", ",") for kind in kinds}

    return test


def _granted_by(role: str) -> Callable[[Difference], bool]:
    return _mentions("grantors", f"from {role}")


def _mentions(attribute: str, text: str) -> Callable[[Difference], bool]:
    return lambda difference: text in ((difference.attributes.get(attribute) or (None, None))[0] or "")
