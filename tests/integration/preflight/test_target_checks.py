# SPDX-License-Identifier: GPL-3.0-or-later
"""Pre-flight checks of what the target lacks or holds, on real servers: where they fire, and that their remedies cure."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.cluster import Cluster
from tests.support.fixtures import Database
from tests.support.preflight import HOSTILE, Case, H, Report, case_id, fires_and_is_cured, run_validate
from tests.support.template import server_user

CASES = (
    Case(
        "target_empty",
        f"CREATE TABLE {H} (id int PRIMARY KEY)",
        f"CREATE TABLE {H} (id int); CREATE VIEW other AS SELECT 1",
        objects=(f"public.{HOSTILE}", "public.other"),
    ),
    Case(
        "target_event_triggers",
        "",
        "CREATE FUNCTION et() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';"
        f"CREATE EVENT TRIGGER {H} ON ddl_command_end EXECUTE FUNCTION et()",
        objects=(HOSTILE,),
        severity="warning",
        cure="target",
    ),
)


@pytest.mark.parametrize("case", CASES, ids=case_id)
def test_the_check_fires_and_its_remedy_cures_it(
    case: Case, examine: Callable[[Case], Report], source_db: Database, target_db: Database
) -> None:
    fires_and_is_cured(case, examine, source_db, target_db)


@pytest.mark.fires("encoding", "locale")
def test_encodings_and_locales_are_compared(
    source_db: Database, target_db: Database, target_cluster: Cluster, make_cluster: Callable[..., Cluster]
) -> None:
    source_db.execute("CREATE TABLE p (id int PRIMARY KEY)")
    client = {"client_bin_dir": str(target_cluster.client_dir)}
    options = "ENCODING {} LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0"
    for encoding in ("LATIN1", "SQL_ASCII"):
        target_cluster.execute(f"CREATE DATABASE {encoding.lower()} {options.format(repr(encoding))}")
    report = run_validate(source_db.params, target_cluster.params("latin1"), **client)
    assert (report["encoding"]["status"], report["encoding"]["severity"]) == ("fail", "blocker")
    assert (report["locale"]["status"], report["locale"]["severity"]) == ("fail", "warning")
    assert report["target_empty"]["status"] == "pass"
    ascii_cluster = make_cluster(15)
    ascii_cluster.execute(f"CREATE DATABASE ascii {options.format(repr('SQL_ASCII'))}")
    ascii_cluster.execute("CREATE TABLE p (id int PRIMARY KEY)", "ascii")
    report = run_validate(ascii_cluster.params("ascii"), target_cluster.params("sql_ascii"), **client)
    assert (report["encoding"]["status"], report["encoding"]["severity"]) == ("fail", "blocker")
    ascii_cluster.execute(f"CREATE DATABASE latin {options.format(repr('LATIN1'))}")
    ascii_cluster.execute("CREATE TABLE p (id int PRIMARY KEY)", "latin")
    report = run_validate(ascii_cluster.params("latin"), target_cluster.params("postgres"), **client)
    assert (report["encoding"]["status"], report["encoding"]["severity"]) == ("fail", "warning")


@pytest.mark.fires("collations")
def test_collations_that_the_target_lacks_are_found(
    source_db: Database, target_db: Database, target_cluster: Cluster
) -> None:
    client = {"client_bin_dir": str(target_cluster.client_dir)}
    source_db.execute('CREATE TABLE p (id int PRIMARY KEY, t text COLLATE "C")')
    assert run_validate(source_db.params, target_db.params, **client)["collations"]["status"] == "pass"
    lacking = "de_DE.no-such-codeset"
    source_db.execute(
        f"CREATE COLLATION {H} (provider = libc, locale = 'C');"
        # What the operating system of the source has and that of the target has not.
        f"UPDATE pg_catalog.pg_collation SET collcollate = '{lacking}' WHERE collname = '{HOSTILE}'"
    )
    found = run_validate(source_db.params, target_db.params, **client)["collations"]
    assert (found["status"], found["severity"]) == ("fail", "warning")
    assert found["objects"] == [f"public.{HOSTILE} ({lacking})"]
    source_db.execute(
        f"UPDATE pg_catalog.pg_collation SET collnamespace = 'pg_catalog'::regnamespace WHERE collname = '{HOSTILE}';"
        f"ALTER TABLE p ADD u text COLLATE pg_catalog.{H}"
    )
    found = run_validate(source_db.params, target_db.params, **client)["collations"]
    assert (found["status"], found["severity"]) == ("fail", "blocker")
    assert found["objects"] == [HOSTILE]


def test_extensions_that_the_target_does_not_offer_are_found(
    source_cluster: Cluster, source_db: Database, target_db: Database, target_cluster: Cluster
) -> None:
    folder = _extension_folder(source_cluster)
    names = ("seren_only_here", "seren_both")
    source_db.execute("CREATE TABLE p (id int PRIMARY KEY)")
    with contextlib.ExitStack() as stack:
        for item in names:
            stack.enter_context(_extension(folder, item, "1.0", server_user().give))
        stack.enter_context(_extension(_extension_folder(target_cluster), "seren_both", "1.1", server_user().give))
        source_db.execute("CREATE EXTENSION seren_only_here; CREATE EXTENSION seren_both")
        client = {"client_bin_dir": str(target_cluster.client_dir)}
        report = run_validate(source_db.params, target_db.params, **client)
        assert report["target_extensions"]["objects"] == ["seren_only_here 1.0"]
        assert report["target_extensions"]["severity"] == "blocker"
        assert report["target_extension_versions"]["objects"] == ["seren_both 1.0 -> 1.1"]
        assert report["extension_tables"]["objects"] == [
            "public.seren_both_t (seren_both)",
            "public.seren_only_here_t (seren_only_here)",
        ]
        assert report["target_extension_rights"]["status"] == "pass"
        source_db.execute("CREATE SCHEMA s")
        partial = run_validate(source_db.params, target_db.params, {"schemas": ["public"]}, **client)
        assert partial["target_extensions"]["severity"] == "warning"
        target_cluster.execute("CREATE ROLE plain LOGIN PASSWORD 'plain'")
        plain = {**target_db.params, "user": "plain", "password": "plain"}
        report = run_validate(source_db.params, plain, **client)
        assert report["target_extension_rights"]["objects"] == ["seren_both"]
        target_db.execute(report["target_extension_rights"]["remedy"])
        report = run_validate(source_db.params, plain, **client)
        assert report["target_extension_rights"]["status"] == "pass"
        source_db.execute("DROP EXTENSION seren_only_here; DROP EXTENSION seren_both")


def _extension_folder(cluster: Cluster) -> Path:
    rows = cluster.execute("SELECT setting FROM pg_catalog.pg_config() WHERE name = 'SHAREDIR'")
    return Path(rows[0][0]) / "extension"


@contextlib.contextmanager
def _extension(folder: Path, name: str, version: str, give: Callable[[Path], None]) -> Iterator[None]:
    control, script = folder / f"{name}.control", folder / f"{name}--{version}.sql"
    try:
        control.write_text(f"default_version = '{version}'\nrelocatable = true\n", encoding="ascii")
        script.write_text(f"CREATE TABLE {name}_t (id int);\n", encoding="ascii")
        yield
    finally:
        control.unlink(missing_ok=True)
        script.unlink(missing_ok=True)
