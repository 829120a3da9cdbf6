# SPDX-License-Identifier: GPL-3.0-or-later
"""Settings of roles arrive as they were; what the target's migrating role may not do is named, not lost in silence."""

from __future__ import annotations

from tests.support.fixtures import Database
from tests.support.migrations import Case

SETTINGS = """
SELECT r.rolname, s.setdatabase <> 0 AS in_database, s.setconfig
  FROM pg_db_role_setting AS s JOIN pg_roles AS r ON r.oid = s.setrole
 ORDER BY 1, 2
"""


def test_settings_of_a_role_arrive_with_their_lists_intact(source_db: Database, target_db: Database) -> None:
    role = '"Owner, \'of\' ""it"""'
    source_db.execute(f"CREATE ROLE {role} LOGIN")
    source_db.execute(f"ALTER ROLE {role} SET search_path TO 'a', 'we, ird \"x\"', '$user', ''")
    source_db.execute(f"ALTER ROLE {role} IN DATABASE {source_db.name} SET work_mem TO '7MB'")
    source_db.execute(f"ALTER ROLE {role} SET my.own TO 'a, b'")
    source_db.execute("CREATE TABLE t (id int PRIMARY KEY)")
    source_db.execute(f"ALTER TABLE t OWNER TO {role}")
    result = Case(source_db, target_db).init()
    assert result.data["left"] == []
    assert target_db.execute(SETTINGS) == source_db.execute(SETTINGS)


def test_a_providers_own_roles_arrive_empty_and_nobody_joins_those_of_the_target(
    source_db: Database, target_db: Database
) -> None:
    own, there, app = "cloudsqlsuperuser", "neon_superuser", "app_of_provider"
    for database in (source_db, target_db):
        database.execute(f"CREATE ROLE {there} NOLOGIN CREATEDB")
    source_db.execute(
        f"CREATE ROLE {own} LOGIN CREATEDB CREATEROLE REPLICATION BYPASSRLS PASSWORD 'x' IN ROLE pg_monitor;"
        f"ALTER ROLE {own} SET work_mem = '8MB'; CREATE ROLE {app} IN ROLE {own}, {there};"
        f"CREATE TABLE p (id int PRIMARY KEY); ALTER TABLE p OWNER TO {app}; GRANT SELECT ON p TO {own}"
    )
    try:
        result = Case(source_db, target_db).init()
        row = target_db.execute(
            f"SELECT rolcanlogin OR rolcreatedb OR rolcreaterole OR rolreplication OR rolbypassrls, rolconfig,"
            f" pg_has_role('{own}', 'pg_monitor', 'MEMBER'), has_table_privilege('{own}', 'p', 'SELECT'),"
            f" pg_has_role('{app}', '{own}', 'MEMBER'), pg_has_role('{app}', '{there}', 'MEMBER')"
            f" FROM pg_roles WHERE rolname = '{own}'"
        )
        assert row == [(False, None, False, True, True, False)]
        left = {item["object"] for item in result.data["left"]}
        assert left == {f"role {own}", f"membership of {app} in {there}"}
    finally:
        for database in (source_db, target_db):
            database.execute("DROP TABLE IF EXISTS p")
            for role in (app, own, there):
                database.execute(f"DROP ROLE IF EXISTS {role}")
