# SPDX-License-Identifier: GPL-3.0-or-later
"""Two schemas compared without the product: the normalised text of one pg_dump, and lists of catalog objects."""

from __future__ import annotations

import difflib
import os
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

OBJECTS = """
    WITH ignored AS (
        SELECT oid
        FROM pg_catalog.pg_namespace
        WHERE nspname ~ '^pg_' OR nspname = 'information_schema' OR nspname = ANY (%s)
    ),
    mine AS (
        SELECT oid FROM pg_catalog.pg_class WHERE relnamespace NOT IN (SELECT oid FROM ignored)
    ),
    listed (class_id, object_id) AS (
        SELECT 'pg_catalog.pg_namespace'::regclass, oid
        FROM pg_catalog.pg_namespace
        WHERE oid NOT IN (SELECT oid FROM ignored)
        UNION ALL
        SELECT 'pg_catalog.pg_class'::regclass, oid FROM mine
        UNION ALL
        SELECT 'pg_catalog.pg_attrdef'::regclass, oid
        FROM pg_catalog.pg_attrdef
        WHERE adrelid IN (SELECT oid FROM mine)
        UNION ALL
        SELECT 'pg_catalog.pg_constraint'::regclass, oid
        FROM pg_catalog.pg_constraint
        WHERE connamespace NOT IN (SELECT oid FROM ignored) AND contype <> 'n' -- of not null: 18 and newer only
        UNION ALL
        SELECT 'pg_catalog.pg_trigger'::regclass, oid
        FROM pg_catalog.pg_trigger
        WHERE tgrelid IN (SELECT oid FROM mine) AND NOT tgisinternal
        UNION ALL
        SELECT 'pg_catalog.pg_rewrite'::regclass, oid
        FROM pg_catalog.pg_rewrite
        WHERE ev_class IN (SELECT oid FROM mine)
        UNION ALL
        SELECT 'pg_catalog.pg_policy'::regclass, oid
        FROM pg_catalog.pg_policy
        WHERE polrelid IN (SELECT oid FROM mine)
        UNION ALL
        SELECT 'pg_catalog.pg_statistic_ext'::regclass, oid
        FROM pg_catalog.pg_statistic_ext
        WHERE stxnamespace NOT IN (SELECT oid FROM ignored)
        UNION ALL
        SELECT 'pg_catalog.pg_type'::regclass, oid
        FROM pg_catalog.pg_type
        WHERE typnamespace NOT IN (SELECT oid FROM ignored)
          AND typtype IN ('b', 'd', 'e', 'r') AND typelem = 0 -- no row types, arrays, multiranges: they follow
        UNION ALL
        SELECT 'pg_catalog.pg_proc'::regclass, p.oid
        FROM pg_catalog.pg_proc AS p
        JOIN pg_catalog.pg_language AS l ON l.oid = p.prolang
        WHERE p.pronamespace NOT IN (SELECT oid FROM ignored)
          AND (l.lanname <> 'internal' OR p.prokind = 'a') -- no constructors of ranges: they follow
        UNION ALL
        SELECT 'pg_catalog.pg_collation'::regclass, oid
        FROM pg_catalog.pg_collation
        WHERE collnamespace NOT IN (SELECT oid FROM ignored)
        UNION ALL
        SELECT 'pg_catalog.pg_ts_config'::regclass, oid
        FROM pg_catalog.pg_ts_config
        WHERE cfgnamespace NOT IN (SELECT oid FROM ignored)
        UNION ALL
        SELECT 'pg_catalog.pg_extension'::regclass, oid
        FROM pg_catalog.pg_extension
        UNION ALL
        SELECT 'pg_catalog.pg_publication'::regclass, oid
        FROM pg_catalog.pg_publication
        UNION ALL
        SELECT 'pg_catalog.pg_event_trigger'::regclass, oid
        FROM pg_catalog.pg_event_trigger
    )
    SELECT identified.type || ' ' || identified.identity
    FROM listed
    CROSS JOIN LATERAL pg_catalog.pg_identify_object(class_id, object_id, 0) AS identified
    WHERE NOT EXISTS (
        SELECT
        FROM pg_catalog.pg_depend
        WHERE classid = class_id AND objid = object_id AND deptype = 'e' -- members of extensions follow them
    )
    ORDER BY 1
"""

_ENTRY = re.compile(r"^--\n-- (?:Data for )?(Name: .*; Type: .*; Schema: .*; Owner: .*)\n--\n", re.MULTILINE)
_NOISE = re.compile(r"^(?:--.*|\\(?:un)?restrict .*|SET default_table(?:space|_access_method) = .*;|)$")
_SERVER = re.compile(r"^-- Dumped from database version (\d+)", re.MULTILINE)
_POLICY_ROLES = re.compile(r" TO (?P<roles>.+?)(?= USING \(| WITH CHECK \(|;$)")
_NAME = re.compile(r"""[^\s,"]+|"(?:[^"]|"")+\"""")


@dataclass(frozen=True)
class Spelling:
    """What servers from version `since` on spell otherwise than older ones: `pattern` is cut from both dumps.

    `entries` selects dump entries by their header.
    """

    since: int
    entries: re.Pattern[str]
    pattern: re.Pattern[str]


SPELLINGS = (
    Spelling(14, re.compile("Type: (?:PROCEDURE|COMMENT|ACL)"), re.compile(r"(?<=\()IN (?=\w)")),
    Spelling(14, re.compile("Type: TYPE"), re.compile(r',\n    multirange_type_name = (?:"(?:[^"]|"")*"|[^\s,"])+')),
    # An operator of a GiST class belongs to the family rather than to the class.
    Spelling(14, re.compile("Name: box_class; Type: OPERATOR (?:CLASS|FAMILY)"), re.compile(r"(?s).+")),
    # The schema public belongs to pg_database_owner, and not everyone may create in it.
    Spelling(15, re.compile("Name: (?:SCHEMA )?public; Type: (?:SCHEMA|ACL)"), re.compile(r"(?s).+")),
    Spelling(15, re.compile("Type: SEQUENCE"), re.compile(r"\n    (?:UN)?LOGGED$", re.MULTILINE)),
    # `t.a` where newer servers write `a`.
    Spelling(
        16,
        re.compile("Type: (?:MATERIALIZED )?VIEW|Name: .* _RETURN; Type: RULE"),
        re.compile(r"""(?:"(?:[^"]|"")+"|\b\w+)\.(?=[\w"])"""),
    ),
    # What XMLSERIALIZE does by default.
    Spelling(16, re.compile("Type: VIEW"), re.compile(r" NO INDENT(?=\))")),
    Spelling(18, re.compile("Type: TABLE"), re.compile(r"""CONSTRAINT (?:\w+|"(?:[^"]|"")+") (?=NOT NULL)""")),
)


def catalog_objects(conninfo: str, ignore_schemas: Sequence[str] = ()) -> list[str]:
    """Every user object of the database as `type identity`, sorted; what PostgreSQL makes by itself is left out."""
    with psycopg.connect(conninfo) as connection:
        connection.execute("SET search_path = pg_catalog")
        rows: list[tuple[Any, ...]] = connection.execute(OBJECTS, [list(ignore_schemas)]).fetchall()
        return [str(row[0]) for row in rows]


def dump_schema(conninfo: str, client_dir: Path, ignore_schemas: Sequence[str] = ()) -> str:
    """The output of `pg_dump --schema-only` without publications and subscriptions, as pg_dump wrote it."""
    keywords = conninfo_to_dict(conninfo)
    password = keywords.pop("password", None)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    if password is not None:
        environment["PGPASSWORD"] = str(password)  # not in the argument list, which every user can read
    # Whatever the databases are set to, strings and constants shall look alike.
    environment["PGOPTIONS"] = "-c standard_conforming_strings=on -c TimeZone=UTC -c bytea_output=hex"
    command = [os.fspath(client_dir / "pg_dump"), "--schema-only", "--no-publications", "--no-subscriptions"]
    command += [f'--exclude-schema="{schema}"' for schema in ignore_schemas]
    command += ["--dbname", make_conninfo("", **keywords)]
    completed = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if completed.returncode != 0:
        raise RuntimeError(f"pg_dump failed:\n{completed.stderr}")
    return completed.stdout


def server_major(dump: str) -> int:
    """The major version of the server that a plain dump came from."""
    found = _SERVER.search(dump)
    return int(found.group(1)) if found else 0


def normalised(dump: str, majors: tuple[int, int] | None = None) -> list[str]:
    """The lines of a plain dump, entries sorted by name, without comments, blank lines and what varies by itself.

    `majors` are the servers of the two dumps that will be compared: what those two spell differently is cut.
    """
    return [line for header_lines in entries(dump, majors) for line in header_lines[1]]


def entries(dump: str, majors: tuple[int, int] | None = None) -> list[tuple[str, list[str]]]:
    """The entries of a plain dump, as header and normalised lines, sorted."""
    one, two = majors or (server_major(dump),) * 2
    spellings = [spelling for spelling in SPELLINGS if min(one, two) < spelling.since <= max(one, two)]
    parts = _ENTRY.split(dump)
    found: list[tuple[str, list[str]]] = []
    for head, entry in sorted([("", parts[0]), *zip(parts[1::2], parts[2::2], strict=True)]):
        header, body = head, entry
        for spelling in spellings:
            if spelling.entries.search(header):
                body = spelling.pattern.sub("", body)
                header = spelling.pattern.sub("", header) or header
        if "Type: POLICY;" in header:
            body = _POLICY_ROLES.sub(_sorted_roles, body)
        kept = [line for line in body.splitlines() if not _NOISE.match(line)]
        # The order of grants is the order in which they were made.
        found.append((header, sorted(kept) if "; Type: ACL;" in header or "; Type: DEFAULT ACL;" in header else kept))
    return found


def differing_entries(left: str, right: str, client_dir: Path, ignore_schemas: Sequence[str] = ()) -> list[str]:
    """Like `schema_differences`, but each line names its entry: `TABLE store.parent: - line`."""
    dumps = [dump_schema(side, client_dir, ignore_schemas) for side in (left, right)]
    majors = (server_major(dumps[0]), server_major(dumps[1]))
    sides: list[dict[str, list[str]]] = []
    for dump in dumps:
        sides.append({})
        for header, lines in entries(dump, majors):
            sides[-1].setdefault(_named(header), []).extend(lines)
    found: list[str] = []
    for name in sorted(sides[0].keys() | sides[1].keys()):
        one, two = (side.get(name, []) for side in sides)
        changes = difflib.unified_diff(one, two, n=0, lineterm="")
        found += [f"{name}: {line[0]} {line[1:]}" for line in changes if not line.startswith(("---", "+++", "@@"))]
    return found


def _named(header: str) -> str:
    """A header as kind and name; the owner is in the entry."""
    match = re.fullmatch(r"Name: (.*); Type: (.*?); Schema: (.*); Owner: .*", header)
    return f"{match[2]} {match[3]}.{match[1]}" if match else "settings"


def schema_differences(left: str, right: str, client_dir: Path, ignore_schemas: Sequence[str] = ()) -> list[str]:
    """The lines in which both schemas differ, as `-` (left only) and `+` (right only), dumped by one pg_dump."""
    dumps = [dump_schema(side, client_dir, ignore_schemas) for side in (left, right)]
    majors = (server_major(dumps[0]), server_major(dumps[1]))
    left_lines, right_lines = (normalised(dump, majors) for dump in dumps)
    changes = difflib.unified_diff(left_lines, right_lines, n=0, lineterm="")
    return [f"schema: {line}" for line in changes if not line.startswith(("---", "+++", "@@"))]


def _sorted_roles(match: re.Match[str]) -> str:
    """Roles of a policy come in the order of their OIDs."""
    return " TO " + ", ".join(sorted(_NAME.findall(match.group("roles"))))
