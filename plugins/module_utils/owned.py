# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""Everything of a database that has an owner or privileges, read from the catalogs of one side.

Objects of PostgreSQL, of extensions and our own are not here, nor event triggers, which ``event_triggers.py`` makes; how a
privilege is written belongs to ``acl.py``. The two sides are matched by kind and name, never by OID.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .acl import Usual, parse
from .driver import Row, sql
from .session import Session

# Kinds in the words of ALTER ... OWNER TO. Sequences of columns follow their table; indexes, row types and arrays are
# not there at all, because they follow, too. What is an internal part (constructors of a range) belongs to its whole.
_OBJECTS = """
WITH place AS (
  SELECT n.oid, n.nspname
    FROM pg_catalog.pg_namespace AS n
   WHERE n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'seren_migrator')),
object(classid, oid, kind, schema, name, arguments, spelled, owner, acl, usual) AS (
  SELECT 'pg_catalog.pg_namespace'::pg_catalog.regclass, n.oid, 'SCHEMA', NULL::name, n.nspname, NULL::text, NULL::text,
         n.nspowner, n.nspacl, 'n'
    FROM pg_catalog.pg_namespace AS n
    JOIN place AS p ON p.oid = n.oid
   UNION ALL
  SELECT 'pg_catalog.pg_class'::pg_catalog.regclass, c.oid,
         CASE c.relkind WHEN 'S' THEN 'SEQUENCE' WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW'
                        WHEN 'f' THEN 'FOREIGN TABLE' ELSE 'TABLE' END,
         p.nspname, c.relname, NULL, NULL, c.relowner, c.relacl, CASE c.relkind WHEN 'S' THEN 's' ELSE 'r' END
    FROM pg_catalog.pg_class AS c
    JOIN place AS p ON p.oid = c.relnamespace
   WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
   UNION ALL
  SELECT 'pg_catalog.pg_type'::pg_catalog.regclass, t.oid, 'TYPE', p.nspname, t.typname, NULL, NULL,
         t.typowner, t.typacl, 'T'
    FROM pg_catalog.pg_type AS t
    JOIN place AS p ON p.oid = t.typnamespace
    LEFT JOIN pg_catalog.pg_class AS c ON c.oid = t.typrelid
   WHERE t.typtype IN ('d', 'e', 'r') OR c.relkind = 'c'
      OR (t.typtype = 'b' AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_type AS e WHERE e.typarray = t.oid))
   UNION ALL
  SELECT 'pg_catalog.pg_proc'::pg_catalog.regclass, f.oid, 'ROUTINE', p.nspname, f.proname,
         pg_catalog.oidvectortypes(f.proargtypes),
         CASE f.prokind WHEN 'a' THEN pg_catalog.oidvectortypes(f.proargtypes)
                        ELSE pg_catalog.pg_get_function_identity_arguments(f.oid) END,
         f.proowner, f.proacl, 'f'
    FROM pg_catalog.pg_proc AS f
    JOIN place AS p ON p.oid = f.pronamespace
   UNION ALL
  SELECT 'pg_catalog.pg_operator'::pg_catalog.regclass, o.oid, 'OPERATOR', p.nspname, o.oprname, a.types, a.types,
         o.oprowner, NULL, NULL
    FROM pg_catalog.pg_operator AS o
    JOIN place AS p ON p.oid = o.oprnamespace
   CROSS JOIN LATERAL (
     SELECT CASE o.oprleft WHEN 0 THEN 'NONE' ELSE pg_catalog.format_type(o.oprleft, NULL) END || ', '
            || CASE o.oprright WHEN 0 THEN 'NONE' ELSE pg_catalog.format_type(o.oprright, NULL) END) AS a(types)
   WHERE o.oprcode <> 0
   UNION ALL
  SELECT 'pg_catalog.pg_opclass'::pg_catalog.regclass, o.oid, 'OPERATOR CLASS', p.nspname, o.opcname, m.amname, m.amname,
         o.opcowner, NULL, NULL
    FROM pg_catalog.pg_opclass AS o
    JOIN place AS p ON p.oid = o.opcnamespace
    JOIN pg_catalog.pg_am AS m ON m.oid = o.opcmethod
   UNION ALL
  SELECT 'pg_catalog.pg_opfamily'::pg_catalog.regclass, o.oid, 'OPERATOR FAMILY', p.nspname, o.opfname, m.amname, m.amname,
         o.opfowner, NULL, NULL
    FROM pg_catalog.pg_opfamily AS o
    JOIN place AS p ON p.oid = o.opfnamespace
    JOIN pg_catalog.pg_am AS m ON m.oid = o.opfmethod
   UNION ALL
  SELECT 'pg_catalog.pg_collation'::pg_catalog.regclass, o.oid, 'COLLATION', p.nspname, o.collname, NULL, NULL,
         o.collowner, NULL, NULL
    FROM pg_catalog.pg_collation AS o
    JOIN place AS p ON p.oid = o.collnamespace
   UNION ALL
  SELECT 'pg_catalog.pg_conversion'::pg_catalog.regclass, o.oid, 'CONVERSION', p.nspname, o.conname, NULL, NULL,
         o.conowner, NULL, NULL
    FROM pg_catalog.pg_conversion AS o
    JOIN place AS p ON p.oid = o.connamespace
   UNION ALL
  SELECT 'pg_catalog.pg_statistic_ext'::pg_catalog.regclass, o.oid, 'STATISTICS', p.nspname, o.stxname, NULL, NULL,
         o.stxowner, NULL, NULL
    FROM pg_catalog.pg_statistic_ext AS o
    JOIN place AS p ON p.oid = o.stxnamespace
   UNION ALL
  SELECT 'pg_catalog.pg_ts_config'::pg_catalog.regclass, o.oid, 'TEXT SEARCH CONFIGURATION', p.nspname, o.cfgname, NULL,
         NULL, o.cfgowner, NULL, NULL
    FROM pg_catalog.pg_ts_config AS o
    JOIN place AS p ON p.oid = o.cfgnamespace
   UNION ALL
  SELECT 'pg_catalog.pg_ts_dict'::pg_catalog.regclass, o.oid, 'TEXT SEARCH DICTIONARY', p.nspname, o.dictname, NULL, NULL,
         o.dictowner, NULL, NULL
    FROM pg_catalog.pg_ts_dict AS o
    JOIN place AS p ON p.oid = o.dictnamespace
   UNION ALL
  SELECT 'pg_catalog.pg_language'::pg_catalog.regclass, o.oid, 'LANGUAGE', NULL, o.lanname, NULL, NULL,
         o.lanowner, o.lanacl, 'l'
    FROM pg_catalog.pg_language AS o
   WHERE o.oid >= 16384
   UNION ALL
  SELECT 'pg_catalog.pg_foreign_data_wrapper'::pg_catalog.regclass, o.oid, 'FOREIGN DATA WRAPPER', NULL, o.fdwname, NULL,
         NULL, o.fdwowner, o.fdwacl, 'F'
    FROM pg_catalog.pg_foreign_data_wrapper AS o
   UNION ALL
  SELECT 'pg_catalog.pg_foreign_server'::pg_catalog.regclass, o.oid, 'SERVER', NULL, o.srvname, NULL, NULL,
         o.srvowner, o.srvacl, 'S'
    FROM pg_catalog.pg_foreign_server AS o)
SELECT o.classid::oid::bigint AS classid, o.oid::bigint AS oid, o.kind, o.schema, o.name, o.arguments, o.spelled,
       r.rolname AS owner, o.acl::text[] AS acl, o.usual,
       o.kind = 'SEQUENCE' AND EXISTS (
         SELECT 1 FROM pg_catalog.pg_depend AS d
          WHERE d.classid = o.classid AND d.objid = o.oid AND d.deptype IN ('a', 'i') AND d.refobjsubid > 0
            AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass) AS follows
  FROM object AS o
  JOIN pg_catalog.pg_roles AS r ON r.oid = o.owner
 WHERE NOT EXISTS (SELECT 1 FROM pg_catalog.pg_depend AS d
                    WHERE d.classid = o.classid AND d.objid = o.oid
                      AND (d.deptype = 'e' OR (d.deptype = 'i' AND o.kind IN ('ROUTINE', 'TYPE'))))
"""

_COLUMNS = """
SELECT a.attrelid::bigint AS oid, a.attname AS name, a.attacl::text[] AS acl
  FROM pg_catalog.pg_attribute AS a
  JOIN pg_catalog.pg_class AS c ON c.oid = a.attrelid
  JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
 WHERE a.attacl IS NOT NULL AND NOT a.attisdropped
   AND n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'seren_migrator')
"""

# What each kind of object has to give, and gives to PUBLIC by itself; 10 is the bootstrap superuser, who is always there.
_USUAL = """
SELECT k.kind, pg_catalog.acldefault(k.kind::"char", 10)::text[] AS acl
  FROM unnest(ARRAY['r', 's', 'f', 'T', 'n', 'l', 'F', 'S', 'd', 'L']) AS k(kind)
"""
COLUMN = Usual(frozenset("arwx"), frozenset())


@dataclass(frozen=True)
class Owned:
    """An object; ``arguments`` tells it from others of its name, ``spelled`` is how a statement on its side says that.

    ``acl`` is an aclitem[] as text, None for the default. ``usual`` is acldefault's word for its kind, None for what has
    no privileges. ``follows`` is true for what belongs to the owner of its table. ``columns`` have ACLs of their own.
    """

    classid: int
    oid: int
    kind: str
    schema: str | None
    name: str
    arguments: str | None
    spelled: str | None
    owner: str
    acl: tuple[str, ...] | None
    usual: str | None
    follows: bool
    columns: Mapping[str, tuple[str, ...]]

    @property
    def key(self) -> tuple[str, str | None, str, str | None]:
        """What names the same object on the other side."""
        return self.kind, self.schema, self.name, self.arguments

    @property
    def is_public(self) -> bool:
        """True for schema public, which every database has from the beginning."""
        return self.kind == "SCHEMA" and self.name == "public"

    @property
    def shown(self) -> str:
        """The object for people."""
        qualified = self.name if self.schema is None else f"{self.schema}.{self.name}"
        if self.kind in ("ROUTINE", "OPERATOR"):
            qualified += f"({self.arguments})"
        return f"{self.kind.lower()} {qualified}"

    @property
    def reference(self) -> sql.Composable:
        """The object in an ALTER or GRANT statement of its own side, without its kind."""
        if self.kind == "OPERATOR":
            # Made of special characters only; the types come from format_type, quoted.
            return sql.SQL("{}.{} ({})").format(
                sql.Identifier(self.schema or ""), sql.SQL(self.name), sql.SQL(self.spelled or "")
            )
        reference = sql.Identifier(*(part for part in (self.schema, self.name) if part is not None))
        if self.kind == "ROUTINE":
            return sql.SQL("{}({})").format(reference, sql.SQL(self.spelled or ""))
        if self.kind in ("OPERATOR CLASS", "OPERATOR FAMILY"):
            return sql.SQL("{} USING {}").format(reference, sql.Identifier(self.spelled or ""))
        return reference


Key = tuple[str, "str | None", str, "str | None"]


@dataclass(frozen=True)
class Holdings:
    """One side: its objects by key, what is usual for their kinds (words of acldefault), who owns schema public at first."""

    objects: Mapping[Key, Owned]
    usual: Mapping[str, Usual]
    owner_of_public: str


def read(session: Session) -> Holdings:
    """Read one side as its transaction sees it, in one round trip."""
    objects, columns, kinds = session.rows_of(_OBJECTS, _COLUMNS, _USUAL)
    of_columns: dict[int, dict[str, tuple[str, ...]]] = {}
    for row in columns:
        of_columns.setdefault(row["oid"], {})[row["name"]] = tuple(row["acl"])
    found = [_owned(row, of_columns.get(row["oid"], {}) if row["usual"] == "r" else {}) for row in objects]
    bootstrap = next(right.grantor for right in parse(kinds[0]["acl"]))
    return Holdings(
        {item.key: item for item in found},
        {row["kind"]: _usual(row["acl"]) for row in kinds},
        "pg_database_owner" if session.major >= 15 else bootstrap,
    )


def usual(session: Session) -> dict[str, Usual]:
    """Read only what is usual for the kinds of objects on one side."""
    return {row["kind"]: _usual(row["acl"]) for row in session.rows(_USUAL)}


def _owned(row: Row, columns: Mapping[str, tuple[str, ...]]) -> Owned:
    values: dict[str, Any] = {**row, "columns": columns}
    values["acl"] = None if row["acl"] is None else tuple(row["acl"])
    return Owned(**values)


def _usual(items: list[str]) -> Usual:
    rights = parse(items)
    return Usual(
        frozenset(right.letter for right in rights if right.grantee),
        frozenset(right.letter for right in rights if not right.grantee),
    )
