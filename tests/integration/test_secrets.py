# SPDX-License-Identifier: GPL-3.0-or-later
"""Passwords of any characters work, and show up nowhere: not on the screen, in argv, in the ledger or in a file.

Each password carries random words of eight hexadecimal digits. Whatever escapes, quotes or cuts it leaves those as
they are, so one look for them finds every spelling of a leak.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
import pytest
from psycopg import sql

from ansible_collections.seren.migrator.plugins.module_utils.errors import MigrationError
from ansible_collections.seren.migrator.plugins.module_utils.module import migration_from
from ansible_collections.seren.migrator.plugins.module_utils.session import translated
from tests.support.cluster import nasty_password
from tests.support.fixtures import Database
from tests.support.migrations import Case
from tests.support.playbooks import Played, play
from tests.support.unreachable import Altered, altered, refusing

WORD = re.compile("[0-9a-f]{8}")
SAMPLE_S = 0.01
# Each w is a random word.
SHAPES = (
    "w",
    "w@w:w/w?w#w",
    "w%w%20w%41",
    "'w'w''w",
    '"w"w\\"w',
    "w\\w\\\\w\\'w\\",
    " w w ",
    "w password=w user=w",
    "w' password='w",
    "postgresql://w:w@w/w",
    "w{w}w$w`w&w=w+w;w",
    "wäöü表w",
)


def password_of(shape: str) -> str:
    """Replace each single letter w by a random word."""
    return re.sub(r"(?<![a-z])w(?![a-z])", lambda _match: secrets.token_hex(4), shape)


def words(*passwords: str) -> set[str]:
    found = {word for password in passwords for word in WORD.findall(password)}
    assert found
    return found


def leaks(text: str, wanted: set[str]) -> list[str]:
    """The places of `text` that show a word of a password, also where bytes are written in hexadecimal."""
    found = []
    for word in wanted:
        for form in (word, word.encode().hex()):
            found += [text[max(0, at.start() - 150) : at.end() + 20] for at in re.finditer(form, text)]
    return found


def login(database: Database, name: str, password: str) -> Altered:
    """The database through a superuser of its own with this password."""
    database.cluster.execute(
        sql.SQL("CREATE ROLE {} LOGIN SUPERUSER PASSWORD {}").format(sql.Identifier(name), sql.Literal(password))
    )
    return altered(database, user=name, password=password)


def url(database: Altered) -> str:
    params = {key: quote(str(value), safe="") for key, value in database.params.items()}
    return f"postgresql://{params['user']}:{params['password']}@{params['host']}:{params['port']}/{params['dbname']}"


@dataclass
class Watched:
    """A folder of its own for every file of a run, and the arguments of every process below this one."""

    folder: Path
    arguments: set[str]

    def files(self) -> Iterator[Path]:
        return (path for path in self.folder.rglob("*") if path.is_file() and not path.is_symlink())


@pytest.fixture
def watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Watched]:
    for variable in ("TMPDIR", "ANSIBLE_LOCAL_TEMP", "ANSIBLE_REMOTE_TEMP", "ANSIBLE_HOME", "ANSIBLE_ASYNC_DIR"):
        folder = tmp_path / variable.lower()
        folder.mkdir(mode=0o700)
        monkeypatch.setenv(variable, os.fspath(folder))
    monkeypatch.setenv("ANSIBLE_PIPELINING", "false")
    seen = Watched(tmp_path, set())
    ended = threading.Event()

    def sample() -> None:
        while not ended.wait(SAMPLE_S):
            seen.arguments |= descendants_arguments(os.getpid())

    thread = threading.Thread(target=sample)
    thread.start()
    yield seen
    ended.set()
    thread.join()


def descendants_arguments(ancestor: int) -> set[str]:
    parents: dict[int, int] = {}
    arguments: dict[int, str] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                arguments[int(entry.name)] = (entry / "cmdline").read_bytes().decode(errors="replace")
            except (OSError, IndexError):
                continue
    below = {ancestor}
    for process in sorted(parents):
        if parents[process] in below:
            below.add(process)
    return {arguments[process] for process in below - {ancestor} if process in arguments}


def ledger_text(database: Database) -> str:
    """Every row of every table of the ledger."""
    environment = {**os.environ, "PGPASSWORD": database.cluster.password}
    program = os.fspath(database.cluster.client_dir / "pg_dump")
    conninfo = f"host=127.0.0.1 port={database.cluster.port} user=postgres dbname={database.name}"
    command = [program, "--schema=seren_migrator", "--dbname", conninfo]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout


def everything_shown(played: Played) -> str:
    return played.output + "\n".join(json.dumps(line, ensure_ascii=False) for line in played.lines)


def assert_silent(played: Played, watched: Watched, wanted: set[str]) -> None:
    assert leaks(everything_shown(played), wanted) == []
    assert leaks("\n".join(watched.arguments), wanted) == []
    for path in watched.files():
        assert leaks(path.read_bytes().decode(errors="replace"), wanted) == [], path
    assert any("pg_dump" in text or "ansible" in text for text in watched.arguments)


@pytest.fixture
def pair(source_db: Database, target_db: Database) -> Iterator[tuple[Database, Database, str]]:
    """A source that itself holds secrets: the password of a role, and that of a user mapping."""
    mapping = password_of("w w")
    for statement in (
        "CREATE TABLE a (id int PRIMARY KEY, v text)",
        "INSERT INTO a SELECT n, 'row ' || n FROM generate_series(1, 20) AS n",
        sql.SQL("CREATE ROLE owner LOGIN PASSWORD {}").format(sql.Literal(mapping)),
        "ALTER TABLE a OWNER TO owner",
        "CREATE FOREIGN DATA WRAPPER wrapper",
        "CREATE SERVER elsewhere FOREIGN DATA WRAPPER wrapper",
        sql.SQL("CREATE USER MAPPING FOR owner SERVER elsewhere OPTIONS (user 'x', password {})").format(
            sql.Literal(mapping)
        ),
    ):
        source_db.execute(statement)
    yield source_db, target_db, mapping


def inventory(folder: Path, variables: dict[str, Any]) -> str:
    path = folder / "hosts.json"
    path.touch(mode=0o600)
    path.write_text(json.dumps({"all": {"hosts": {"one": variables}}}))
    return os.fspath(path)


@pytest.mark.parametrize("form", ["urls", "keywords"])
def test_a_whole_migration_shows_no_password(
    pair: tuple[Database, Database, str],
    watched: Watched,
    tmp_path_factory: pytest.TempPathFactory,
    form: str,
) -> None:
    source_db, target_db, mapping = pair
    passwords = [nasty_password() for _number in range(3)]
    source = login(source_db, "source login", passwords[0])
    target = login(target_db, "target login", passwords[1])
    login(source_db, "replication login", passwords[2])
    options = {
        "migrate_client_bin_dir": os.fspath(target_db.cluster.client_dir),
        "migrate_wait_sleep": 1,
        "migrate_replication_role": {"user": "replication login", "password": passwords[2]},
    }
    if form == "urls":
        played = play("migrate", {"source_url": url(source), "target_url": url(target), **options}, "-vvv", "--diff")
    else:
        hosts = inventory(
            tmp_path_factory.mktemp("hosts"), {"migrate_source": source.params, "migrate_target": target.params}
        )
        played = play("migrate", options, "-i", hosts, "-vvv", "--diff")
    wanted = words(*passwords, mapping)
    assert leaks(everything_shown(played), wanted) == []
    assert played.code == 0, played.output[-3000:]
    assert_silent(played, watched, wanted)
    assert "SCRAM-SHA-256$" not in everything_shown(played)
    ledger = ledger_text(target_db)
    assert "COPY seren_migrator.migration" in ledger
    assert leaks(ledger, wanted) == []
    assert "SCRAM-SHA-256$" not in ledger
    host = "localhost" if form == "urls" else "one"
    shown = played.result("pg_migration_validate", host)
    assert shown["source"]["endpoint"]["dbname"] == source_db.name  # harmless words are not masked
    assert shown["source"]["endpoint"]["host"] == "127.0.0.1"
    assert shown["target"]["endpoint"]["user"] == "target login"


def test_the_ledger_of_an_unfinished_copy_holds_no_secret(pair: tuple[Database, Database, str]) -> None:
    source, target, mapping = pair
    password = password_of("w")
    case = Case(login(source, "source login", password), target)

    def die(event: Any) -> None:
        if event.text.startswith("building indexes"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        case.init(die)
    ((archive,),) = target.execute("SELECT archive FROM seren_migrator.schema_dump")
    assert b"elsewhere" in bytes(archive)
    assert leaks(ledger_text(target), words(password, mapping)) == []
    assert leaks(bytes(archive).decode(errors="replace"), words(password, mapping)) == []


@pytest.mark.parametrize("shape", SHAPES)
def test_a_password_of_any_shape_logs_in(source_db: Database, target_db: Database, shape: str) -> None:
    """As a URL, as a keyword string and as keywords, the subscription's own connection included."""
    password = password_of(shape)
    source, target = login(source_db, "login", password), login(target_db, "login", password)
    source_db.execute("CREATE TABLE a (id int PRIMARY KEY)")
    keywords = psycopg.conninfo.make_conninfo(**source.params)
    for given in ({"url": url(source)}, {"url": keywords}, source.params):
        migration, _options = migration_from({"source": given, "target": target.params, "name": "any"})
        with migration.open("source", "test") as session:
            assert session.value("SELECT current_user AS login") == "login"
    case = Case(source, target)
    case.init()
    case.sync()
    case.wait_until_in_sync()
    case.cleanup()


@pytest.mark.parametrize("shape", SHAPES)
def test_what_a_server_quotes_of_a_connection_string_is_redacted(
    source_db: Database, target_db: Database, shape: str
) -> None:
    """A statement that fails comes back with the words of the server, and with itself as context."""
    password = password_of(shape)
    source = altered(source_db, user="nobody", password=password)
    migration, _options = migration_from({"source": source.params, "target": target_db.params, "name": "any"})
    conninfo = psycopg.conninfo.make_conninfo(**source.params)
    statements = (
        sql.SQL("CREATE SUBSCRIPTION s CONNECTION {} PUBLICATION p").format(sql.Literal(conninfo)),
        sql.SQL("DO {}").format(sql.Literal(f"BEGIN RAISE EXCEPTION USING MESSAGE = {quoted(conninfo)}; END")),
        sql.SQL("DO {}").format(sql.Literal(f"BEGIN EXECUTE {quoted('SELECT ' + quoted(conninfo) + ' FROM x')}; END")),
        sql.SQL("SELECT {}::int").format(sql.Literal(password)),
    )
    for statement in statements:
        with migration.open("target", "test") as session:
            with pytest.raises(MigrationError) as caught, translated(migration.redactor):
                session.execute(statement)
            assert leaks(f"{caught.value} {caught.value.details}", words(password)) == []
            assert leaks("\n".join(migration.log.entries), words(password)) == []


def quoted(text: str) -> str:
    return str(sql.Literal(text).as_string(None)).strip()


BROKEN_URLS = (
    "host=127.0.0.1 dbname=d password=w w",
    "host=127.0.0.1 dbname=d password='w",
    "postgresql://login:w%zz@127.0.0.1/d",
    "postgresql://login:w@w@127.0.0.1/d",
    "postgresql://login:w/w@127.0.0.1/d",
    "postgresql://login:w@127.0.0.1/d?w",
    "postgresql://login:w@127.0.0.1/d?w=w",
    "postgres:/login:w@127.0.0.1/d",
    "login:w@127.0.0.1/d",
    "w",
)


@pytest.mark.parametrize("broken", BROKEN_URLS)
def test_a_url_that_cannot_be_parsed_is_not_quoted(broken: str) -> None:
    given = password_of(broken)
    target = {"host": "127.0.0.1", "dbname": "d"}
    with pytest.raises(MigrationError) as caught:
        migration_from({"source": {"url": given}, "target": target, "name": "any"})
    assert caught.value.code == "bad_option"
    assert leaks(f"{caught.value} {caught.value.details}", words(given)) == []


# Failures, through the playbook.


def test_a_refused_login_shows_no_password(pair: tuple[Database, Database, str], watched: Watched) -> None:
    source_db, target_db, _mapping = pair
    password = nasty_password()
    wrong = altered(source_db, user="postgres", password=password)
    played = play("migrate", {"source_url": url(wrong), "target_url": target_db.url}, "-vvv")
    assert played.code != 0
    assert "password authentication failed" in played.output
    assert_silent(played, watched, words(password))


def test_a_source_that_refuses_the_subscription_shows_no_password(
    pair: tuple[Database, Database, str], watched: Watched
) -> None:
    source_db, target_db, _mapping = pair
    passwords = [nasty_password(), nasty_password()]
    case = Case(login(source_db, "source login", passwords[0]), target_db)
    case.init()
    with refusing(source_db) as gone:
        for given in (
            {"migrate_source_from_target": {"port": gone.params["port"]}},
            {"migrate_replication_role": {"user": "postgres", "password": passwords[1]}},
        ):
            played = play("sync", {"source_url": url(case.source), "target_url": target_db.url, **given}, "-vvv")  # type: ignore[arg-type]
            assert played.code != 0
            assert "could not connect" in played.output
            assert_silent(played, watched, words(*passwords))
