# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""What of the source never travels whatever the options say, listed: publications, subscriptions, tablespaces."""

from __future__ import annotations

from .catalog import Catalog
from .driver import psycopg
from .session import Session

# Those of migrations carry a comment of ours, and go with them.
PUBLICATIONS = """
SELECT p.pubname AS name
  FROM pg_catalog.pg_publication AS p
 WHERE coalesce(pg_catalog.obj_description(p.oid, 'pg_publication'), '') !~ '^seren[.]migrator '
   AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_depend AS d
                    WHERE d.classid = 'pg_catalog.pg_publication'::pg_catalog.regclass
                      AND d.objid = p.oid AND d.deptype = 'e')
 ORDER BY p.pubname
"""

_SUBSCRIPTIONS = """
SELECT s.subname AS name
  FROM pg_catalog.pg_subscription AS s
 WHERE s.subdbid = (SELECT d.oid FROM pg_catalog.pg_database AS d WHERE d.datname = pg_catalog.current_database())
 ORDER BY s.subname
"""

TABLESPACES = """
SELECT n.nspname AS schema, c.relname AS name, t.spcname AS tablespace,
       CASE WHEN c.relkind IN ('i', 'I') THEN 'index' WHEN c.relkind = 'm' THEN 'materialized view' ELSE 'table' END AS kind
  FROM pg_catalog.pg_class AS c
  JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
  JOIN pg_catalog.pg_tablespace AS t ON t.oid = c.reltablespace
  LEFT JOIN pg_catalog.pg_index AS i ON i.indexrelid = c.oid
 WHERE c.oid = ANY (%(oids)s::oid[]) OR i.indrelid = ANY (%(oids)s::oid[])
 ORDER BY n.nspname, c.relname
"""


def left(source: Session, chosen: Catalog) -> list[dict[str, str]]:
    """Return what stays behind; ``chosen`` is the selected part of the source."""
    oids = {"oids": [item.oid for item in chosen.tables] + [item.oid for item in chosen.materialized_views]}
    try:
        publications, tablespaces, subscriptions = source.rows_of(
            PUBLICATIONS, TABLESPACES, _SUBSCRIPTIONS, params=oids
        )  # fmt: skip
    except psycopg.errors.InsufficientPrivilege:  # some providers hide subscriptions
        publications, tablespaces = source.rows_of(PUBLICATIONS, TABLESPACES, params=oids)
        subscriptions = []
    found = [
        {"object": f"publication {row['name']}", "reason": "publications are never migrated"} for row in publications
    ]
    # A subscription that was restored would steal the slot of the one it came from.
    found += [
        {"object": f"subscription {row['name']}", "reason": "subscriptions are never migrated"} for row in subscriptions
    ]
    found += [
        {
            "object": f"tablespace of {row['kind']} {row['schema']}.{row['name']}",
            "reason": f"in tablespace {row['tablespace']} on the source, in the database's default one on the target",
        }
        for row in tablespaces
    ]
    return found
