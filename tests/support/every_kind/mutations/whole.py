# SPDX-License-Identifier: GPL-3.0-or-later
"""The database, schemas and extensions."""

from __future__ import annotations

from tests.support.every_kind.mutations.mutation import (
    DATABASE,
    WEIRD_ROLE,
    catalog,
    changed,
    extra,
    missing,
    renamed,
)

MUTATIONS = (
    # The database.
    changed(
        catalog("pg_database", "encoding = 8", DATABASE),
        "database",
        "the database",
        "encoding",
        also=(("collation", "o.plain", "changed", frozenset({"encoding"})),),
    ),
    changed(catalog("pg_database", "datcollate = 'POSIX'", DATABASE), "database", "the database", "collation"),
    changed(catalog("pg_database", "datctype = 'POSIX'", DATABASE), "database", "the database", "ctype"),
    changed(catalog("pg_database", "datlocprovider = 'i'", DATABASE), "database", "the database", "locale provider"),
    changed(catalog("pg_database", "datlocale = 'de'", DATABASE), "database", "the database", "locale"),
    changed(catalog("pg_database", "daticurules = '&a<b'", DATABASE), "database", "the database", "locale rules"),
    changed("ALTER DATABASE ek_database CONNECTION LIMIT 7", "database", "the database", "connection limit"),
    changed("ALTER DATABASE ek_database IS_TEMPLATE true", "database", "the database", "template"),
    changed("ALTER DATABASE ek_database SET work_mem = '7MB'", "database", "the database", "setting work_mem"),
    changed("ALTER DATABASE ek_database SET app.key = 'secret'", "database", "the database", "setting app.key"),
    # Schemas and extensions.
    changed(f"GRANT CREATE ON SCHEMA public TO {WEIRD_ROLE}", "schema", "public", "granted"),
    changed("GRANT CREATE ON SCHEMA public TO PUBLIC", "schema", "public", "granted"),
    changed("REVOKE USAGE ON SCHEMA public FROM PUBLIC", "schema", "public", "revoked"),
    changed("ALTER SCHEMA public OWNER TO ek_owner", "schema", "public", "owner"),
    renamed("ALTER SCHEMA moved RENAME TO moved_on", "schema", "moved", "moved_on"),
    missing("DROP SCHEMA moved", "schema", "moved"),
    extra("CREATE SCHEMA more", "schema", "more"),
    missing("DROP EXTENSION citext", "extension", "citext"),
    extra("CREATE EXTENSION btree_gist SCHEMA moved", "extension", "btree_gist"),
    changed("ALTER EXTENSION citext SET SCHEMA moved", "extension", "citext", "schema"),
    changed(catalog("pg_extension", "extversion = '0.9'", "extname = 'citext'"), "extension", "citext", "version"),
)
