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
