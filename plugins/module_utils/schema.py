# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""The schema of the source, as one pg_dump archive taken in a stream's snapshot, and its restore in two sections.

Which entries of the archive are restored is decided by the source's OIDs, which the archive's list carries, so that
no name has to be parsed. Here belongs DDL; rows belong to ``copying.py``.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from . import clients, post_data
from .catalog import OWN_SCHEMA, Catalog, ForeignKey
from .clients import Client
from .driver import conninfo, pq, sql
from .errors import MigrationError
from .left_behind import LeftObject
from .migration import Migration
from .post_data import Script
from .selection import Selected
from .session import Session

LOCK_WAIT = "30s"
# Longest list of tables to leave out that fits an argument list everywhere.
_MAX_ARGUMENT_BYTES = 1_000_000


def quoted_pattern(schema: str, name: str | None = None) -> str:
    """Return a pg_dump pattern that matches exactly this schema or relation (double quotes make it literal)."""
    parts = [schema] if name is None else [schema, name]
    return ".".join('"' + part.replace('"', '""') + '"' for part in parts)


def exclusions(whole: Catalog, selected: Selected, left: Sequence[LeftObject]) -> list[str]:
    """Return pg_dump's arguments that keep what stays behind out of the archive. Pure."""
    chosen = {schema.name for schema in selected.catalog.schemas}
    schemas = [quoted_pattern(schema.name) for schema in whole.schemas if schema.name not in chosen]
    tables = [
        quoted_pattern(item.schema, item.name)
        for item in left
        if item.schema in chosen and item.name is not None and item.relkind in tuple("rpvmSf")
    ]
    return [
        f"--exclude-schema={OWN_SCHEMA}",
        *(f"--exclude-schema={pattern}" for pattern in schemas),
        *(f"--exclude-table={pattern}" for pattern in tables),
    ]


def dump(
    migration: Migration, client: Client, snapshot: str, whole: Catalog, selected: Selected, left: Sequence[LeftObject]
) -> bytes:
    """Dump the schema inside ``snapshot`` and return the archive (custom format), free of user mappings' secrets."""
    text, environment = migration.source.client_environment()
    if not whole.database.has_standard_strings:
        # The script runs as one query, whose strings are all read as the session reads them when it begins.
        options = f"{migration.source.params.get('options') or ''} -c standard_conforming_strings=on".strip()
        text += " " + conninfo.make_conninfo(options=options)
    arguments = [
        client.pg_dump,
        f"--dbname={text}",
        "--format=custom",
        "--schema-only",
        "--no-password",
        "--no-blobs",
        "--no-publications",
        "--no-subscriptions",
        "--no-security-labels",
        "--no-tablespaces",
        *([] if whole.database.encoding == "SQL_ASCII" else ["--encoding=UTF8"]),
        f"--lock-wait-timeout={LOCK_WAIT}",
        f"--snapshot={snapshot}",
        *exclusions(whole, selected, left),
    ]
    if sum(len(argument.encode()) + 1 for argument in arguments) > _MAX_ARGUMENT_BYTES:
        raise MigrationError(
            "bad_option",
            "The selection leaves out more tables than pg_dump can be told about.",
            "Select by schema, or move the tables that shall stay behind into a schema of their own.",
        )
    archive = clients.run(arguments, environment, migration.redactor)
    migration.log.add("source", "pg_dump --schema-only --snapshot")
    return without_mapping_secrets(archive)


# Names and strings are stepped over as wholes: a password may look like the statement's end, a name may hold a quote.
_NAME = rb'"(?:[^"]|"")*"'
_STRING = rb"'(?:[^']|'')*'(?!')"
_USER_MAPPING = re.compile(
    rb"CREATE USER MAPPING FOR (?:%(name)s|[^\s\";]+) SERVER (?:%(name)s|[^\s\";]+) OPTIONS "
    rb"\((?:%(name)s|%(string)s|[^'\";])*\);\n" % {b"name": _NAME, b"string": _STRING}
)
_NAME_OR_STRING = re.compile(_NAME + b"|" + _STRING)


def without_mapping_secrets(archive: bytes) -> bytes:
    """Blank the option values of user mappings in an archive; lengths stay, so that the archive stays readable.

    The entries themselves are never restored. The archive is kept in the ledger, where no secret may be.
    """

    def blank(found: re.Match[bytes]) -> bytes:
        text = found.group()
        return text if text.startswith(b'"') else b"'" + b"x" * (len(text) - 2) + b"'"

    return _USER_MAPPING.sub(lambda mapping: _NAME_OR_STRING.sub(blank, mapping.group()), archive)


_ENTRY = re.compile(r"^(?P<id>\d+); (?P<classid>\d+) (?P<objid>\d+) (?P<text>.*)$")
_DEPENDS_ON = ";\tdepends on:"
# An extension brings its own comment, and only its owner may set another: that is tried at the very end, from the
# catalogs, when event triggers are made, too.
_NEVER_RESTORED = ("USER MAPPING ", "SUBSCRIPTION ", "PUBLICATION ", "COMMENT - EXTENSION ", "EVENT TRIGGER ")
_PG_EXTENSION = 3079


def skips(left: Sequence[LeftObject], postponed: Sequence[ForeignKey]) -> frozenset[tuple[int, int]]:
    """Return what of an archive is not restored, as (classid, objid): what is left behind, and foreign keys that wait."""
    pg_constraint = 2606
    return frozenset((item.classid, item.objid) for item in left) | {(pg_constraint, key.oid) for key in postponed}


def filtered_list(listing: str, skipped: frozenset[tuple[int, int]]) -> str:
    """Return pg_restore's list without the skipped entries. Pure; ``listing`` comes from ``--list --verbose``.

    What has no OID of its own (comments, privileges, the attaching of a partition) goes with what it depends on.
    """
    kept: dict[str, str] = {}
    gone: set[str] = set()
    last: re.Match[str] | None = None
    for line in listing.splitlines():
        entry = _ENTRY.match(line)
        if entry is not None:
            last = entry
            identity = (int(entry["classid"]), int(entry["objid"]))
            if identity in skipped or entry["text"].startswith(_NEVER_RESTORED):
                gone.add(entry["id"])
            else:
                kept[entry["id"]] = line
        elif (
            last is not None
            and last["classid"] == "0"
            and line.startswith(_DEPENDS_ON)
            and gone & set(line.removeprefix(_DEPENDS_ON).split())
        ):
            kept.pop(last["id"], None)
    return "\n".join(kept.values()) + "\n"


def chosen_list(listing: str, chosen: frozenset[tuple[int, int]]) -> str:
    """Return pg_restore's list with nothing but what was chosen. Pure; ``listing`` comes from ``--list --verbose``.

    What has no OID of its own comes with what it depends on.
    """
    kept: dict[str, list[str]] = {}
    last: re.Match[str] | None = None
    lines: list[str] = []
    for line in listing.splitlines():
        entry = _ENTRY.match(line)
        if entry is not None:
            last, lines = entry, [line]
            if (int(entry["classid"]), int(entry["objid"])) in chosen:
                kept[entry["id"]] = lines
        elif last is not None and line.startswith(_DEPENDS_ON):
            lines.append(line)
            if last["classid"] == "0" and kept.keys() & set(line.removeprefix(_DEPENDS_ON).split()):
                kept[last["id"]] = lines
    return "\n".join(line for lines in kept.values() for line in lines) + "\n"


@dataclass(frozen=True)
class Archive:
    """An archive, the programs that read it, and what of it is skipped.

    ``skipped`` are objects of the source, as (classid, objid); ``only`` is what alone is restored, None for everything.
    """

    content: bytes
    client: Client
    skipped: frozenset[tuple[int, int]]
    only: frozenset[tuple[int, int]] | None = None


def pre_data_script(migration: Migration, archive: Archive, extensions: Mapping[int, sql.Composed]) -> bytes:
    """Return types, tables, functions and the rest of what rows need, as a script.

    ``extensions`` are statements that make extensions of the source, by their OIDs there, otherwise than pg_dump would.
    """
    script, listing = _script(migration, archive, "pre-data", *(["--verbose"] if extensions else []))
    return _with_extensions(post_data.split(script, listing), extensions) if extensions else script


def restore_pre_data(
    migration: Migration,
    session: Session,
    script: bytes,
    mark: sql.Composed,
    and_then: Callable[[Session, frozenset[str]], None],
) -> None:
    """Restore the first section together with ``mark``, in one transaction of a session of their own.

    ``mark`` is the ledger's note that this is done (it also fails when the claim is lost); so either all of it is there
    and noted, or nothing is, and no object has ever to be dropped to try again. An existing schema is used as it is.
    Everything belongs to the connecting role at first; ``and_then`` is called in the same transaction, with the names of
    the schemas that were there before.
    """
    migration.log.add("target", "pg_restore --section=pre-data")
    before = frozenset(schemas(session))
    for name in before:
        create = b"CREATE SCHEMA " + sql.Identifier(name).as_bytes(session.connection)
        for spelling in (create, b"CREATE SCHEMA " + name.encode()):
            script = script.replace(b"\n" + spelling + b";\n", b"\n", 1)
    with session.transaction():
        run_script(migration, session, script, mark)
        and_then(session, before)


def _with_extensions(script: Script, extensions: Mapping[int, sql.Composed]) -> bytes:
    """Return a script in which these extensions are made by the given statements."""
    texts = {
        (_PG_EXTENSION, oid): f"\n{statement.as_string(None)};\n".encode() for oid, statement in extensions.items()
    }
    parts = [texts.get((entry.classid, entry.objid), entry.text) for entry in script.entries]
    return script.prologue + b"".join(parts)


def post_data_script(migration: Migration, archive: Archive) -> Script:
    """Return indexes, constraints, triggers and the rest as a script, cut into its entries."""
    return post_data.split(*_script(migration, archive, "post-data", "--verbose"))


def restore_post_data(
    migration: Migration, session: Session, script: bytes, mark: sql.Composed, and_then: Callable[[Session], None]
) -> None:
    """Restore what is left of the last section, ``mark`` and ``and_then``, in one transaction, like the first section."""
    migration.log.add("target", "pg_restore --section=post-data")
    with session.transaction():
        run_script(migration, session, script, mark)
        and_then(session)


def _script(
    migration: Migration,
    archive: Archive,
    section: str,
    *options: str,
    choose: Callable[[str, frozenset[tuple[int, int]]], str] = filtered_list,
) -> tuple[bytes, str]:
    """Return a section of the archive as a script, without what only psql knows, and the list it was made by.

    Owners and privileges come from the catalogs: there roles may have other names, and nobody has to be superuser.
    """
    program = archive.client.pg_restore
    with tempfile.TemporaryDirectory(prefix="seren_migrator_") as folder:
        path, use_list = Path(folder, "schema.dump"), Path(folder, "entries")
        path.write_bytes(archive.content)
        entries = clients.run([program, "--list", "--verbose", str(path)], {}, migration.redactor).decode()
        if archive.only is not None:
            entries = chosen_list(entries, archive.only)
        listing = choose(entries, archive.skipped)
        use_list.write_text(listing)
        without = ["--no-owner", "--no-privileges", "--no-tablespaces"]
        command = [program, f"--section={section}", f"--use-list={use_list}", *without, *options]
        script = clients.run([*command, "--file=-", str(path)], {}, migration.redactor)
    return _without_psql(script), listing


# Restored where they are missing (pg_namespace, pg_extension, pg_language); what was there before is not ours.
_SHARED_CLASSES = ("2615", "3079", "2612")
_ATTACH = "INDEX ATTACH "


def drops(migration: Migration, archive: Archive) -> tuple[bytes, bytes]:
    """Return the scripts that drop what the archive's sections have made, the last section's first.

    Without CASCADE, in the order in which pg_restore --clean does it. Schemas, extensions and languages are not in it.
    """
    parts = []
    for section in ("post-data", "pre-data"):
        plain, cleaning = (
            _script(migration, archive, section, *options, choose=dropped_list)[0]
            for options in ((), ("--clean", "--if-exists"))
        )
        parts.append(_added(plain, cleaning))
    (prologue, last), (_same, first) = parts
    return prologue + last, first


def _added(plain: bytes, longer: bytes) -> tuple[bytes, bytes]:
    """Return what two scripts begin with, and the lines that ``longer`` has after that and ``plain`` has not."""
    common = 0
    for ours, theirs in zip(plain.splitlines(keepends=True), longer.splitlines(keepends=True), strict=False):
        if ours != theirs:
            break
        common += len(ours)
    rest = plain[common:]
    if not longer.endswith(rest):
        raise MigrationError("client_failed", "pg_restore --clean has answered with a script that nobody expected.")
    return plain[:common], longer[common : len(longer) - len(rest)]


def dropped_list(listing: str, skipped: frozenset[tuple[int, int]]) -> str:
    """Return pg_restore's list of what a --clean drops. Pure; ``listing`` comes from ``--list --verbose``.

    Not what was skipped, nor what may have been there before, nor an index of a partition that belongs to one of its
    partitioned table: it goes with that one, and cannot be dropped before.
    """
    texts: dict[str, str] = {}
    attached: set[str] = set()
    attaching = ""
    for line in listing.splitlines():
        entry = _ENTRY.match(line)
        if entry is not None:
            texts[entry["id"]] = text = entry["text"]
            attaching = text.removeprefix(_ATTACH) if text.startswith(_ATTACH) else ""
        elif attaching and line.startswith(_DEPENDS_ON):
            needed = line.removeprefix(_DEPENDS_ON).split()
            attached |= _attached({number: texts.get(number, "") for number in needed}, attaching)
    kept = []
    for line in filtered_list(listing, skipped).splitlines():
        entry = _ENTRY.match(line)
        if entry is not None and entry["classid"] not in _SHARED_CLASSES and entry["id"] not in attached:
            kept.append(line)
    return "\n".join(kept) + "\n"


def _attached(needed: Mapping[str, str], called: str) -> set[str]:
    """Return which of the entries that an INDEX ATTACH needs is the attached one, by their numbers: one or none.

    ``called`` is schema, name and owner, of which the last is the one of the partitioned table, and may be another's. Any
    of them may hold spaces, so that the longest beginning counts that one of the entries has in common with it.
    """
    spaces = [position for position, character in enumerate(called) if character == " "]
    for end in (len(called), *spaces[:0:-1]):
        found = [number for number, text in needed.items() if _is_called(text, called[:end], end == len(called))]
        if found:
            return {found[0]}
    return set()


def _is_called(text: str, called: str, is_whole: bool) -> bool:
    """True when the entry ``text`` is an index or constraint of this schema and name, and owner where it is the whole."""
    kind, _space, rest = text.partition(" ")
    if kind == "INDEX":
        return rest == called if is_whole else rest.startswith(f"{called} ")
    # A constraint's entry has its table between schema and name.
    spaces = [position for position, character in enumerate(called) if character == " "]
    return kind == "CONSTRAINT" and any(
        rest.startswith(called[: p + 1]) and (rest.endswith(called[p:]) if is_whole else f"{called[p:]} " in rest[p:])
        for p in spaces
    )


def _without_psql(script: bytes) -> bytes:
    """Drop the lines that pg_restore writes around the statements for psql, or for servers from 17 on.

    These are psql's "restrict" pair, and the first ``SET transaction_timeout``.
    """
    lines = script.split(b"\n")
    token = next((line.split(b" ", 1)[1] for line in lines if line.startswith(b"\\restrict ")), None)
    dropped = {b"SET transaction_timeout = 0;"}
    if token is not None:
        dropped |= {b"\\restrict " + token, b"\\unrestrict " + token}
    kept = []
    for line in lines:
        if line in dropped:
            dropped.discard(line)
            continue
        kept.append(line)
    return b"\n".join(kept)


def schemas(session: Session) -> dict[str, int]:
    """Return the OIDs of all schemas that are not PostgreSQL's own, by their names."""
    rows = session.rows("SELECT n.nspname, n.oid FROM pg_catalog.pg_namespace AS n WHERE n.nspname !~ '^pg_'")
    return {row["nspname"]: row["oid"] for row in rows}


def run_script(migration: Migration, session: Session, script: bytes, mark: sql.Composed) -> None:
    """Run a plain restore script, and ``mark`` after it, as one simple query."""
    # The script may have said in which encoding it is written.
    whole = script + b"\nSET client_encoding = 'UTF8';\n" + mark.as_bytes(session.connection)
    result = session.connection.pgconn.exec_(whole)
    if result.status in (pq.ExecStatus.COMMAND_OK, pq.ExecStatus.TUPLES_OK, pq.ExecStatus.EMPTY_QUERY):
        return
    said = (result.error_field(pq.DiagnosticField.MESSAGE_PRIMARY) or b"").decode(errors="replace")
    sqlstate = (result.error_field(pq.DiagnosticField.SQLSTATE) or b"").decode()
    where = int(result.error_field(pq.DiagnosticField.STATEMENT_POSITION) or 0)
    text = whole.decode(errors="replace")
    line_text = text[: where - 1].rpartition("\n")[2] + text[where - 1 :].partition("\n")[0] if where else ""
    raise MigrationError(
        "client_failed",
        "The target refused a statement of the schema: "
        f"{migration.redactor.text(f'{said} in {line_text.strip()!r}' if line_text else said)} (SQLSTATE {sqlstate})",
        "The message names the object: an object of that name may stand in the way, or the source's schema uses "
        "something that an older target does not know. Nothing of this step was kept.",
        {"sqlstate": sqlstate},
    )
