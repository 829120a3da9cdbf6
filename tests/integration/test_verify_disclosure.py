# SPDX-License-Identifier: GPL-3.0-or-later
"""How much verify tells of the rows that differ: values only when asked to, keys hashed when asked to, and a file for all."""

from __future__ import annotations

import functools
import json
import stat
from pathlib import Path

import pytest

from ansible_collections.seren.migrator.plugins.module_utils.errors import MigrationError
from ansible_collections.seren.migrator.plugins.module_utils.phases import verify_run
from tests.integration.verify_pair import ReplicatedPair, status_of
from tests.support.fixtures import Database
from tests.support.preflight import HOSTILE, H

LONG = "x" * 199 + "é" + "y" * 500


def prepared(source_db: Database, target_db: Database) -> ReplicatedPair:
    pair = ReplicatedPair(source_db, target_db)
    pair.both(f"CREATE SCHEMA {H}")
    pair.both(f"CREATE TABLE {H}.{H} (id int PRIMARY KEY, {H} text, b bytea, same text)")
    pair.both("CREATE TABLE public.keyless (a int, b text)")
    pair.both("ALTER TABLE public.keyless REPLICA IDENTITY FULL")
    source_db.execute(
        f"INSERT INTO {H}.{H} SELECT i, 'value ' || i, decode(repeat('ab', 1000), 'hex'), 'unshown' FROM generate_series(1, 50) AS i"
    )
    source_db.execute(f"UPDATE {H}.{H} SET {H} = '{LONG}' WHERE id = 1")
    source_db.execute("INSERT INTO public.keyless VALUES (1, 'lonely')")
    pair.replicate()
    pair.damage(
        f"UPDATE {H}.{H} SET {H} = NULL WHERE id = 1",
        f"UPDATE {H}.{H} SET b = '\\xcd' WHERE id = 2",
        f"DELETE FROM {H}.{H} WHERE id = 3",
        f"INSERT INTO {H}.{H} VALUES (99, 'more', NULL, 'here')",
        "DELETE FROM public.keyless",
    )
    return pair


def test_values_are_told_on_request_only_and_cut(source_db: Database, target_db: Database) -> None:
    pair = prepared(source_db, target_db)
    silent = pair.verify()
    assert "values" not in silent.data["differences"][0]
    for word in ("xxx", "value", "abab", "unshown", "more", "lonely"):
        assert word not in json.dumps([silent.data["differences"], str(silent.error)]).replace('"public.keyless', "")
    result = pair.verify(show_values=True)
    told = {(item["table"], tuple(item["key"].values())): item["values"] for item in result.data["differences"]}
    assert told == {
        (HOSTILE, ("1",)): {"source": {HOSTILE: LONG[:200] + "…"}, "target": {HOSTILE: None}},
        (HOSTILE, ("2",)): {"source": {"b": "\\x" + "ab" * 99 + "…"}, "target": {"b": "\\xcd"}},
        (HOSTILE, ("3",)): {"source": {"id": "3", HOSTILE: "value 3", "b": "\\x" + "ab" * 99 + "…", "same": "unshown"}},
        (HOSTILE, ("99",)): {"target": {"id": "99", HOSTILE: "more", "b": None, "same": "here"}},
        ("keyless", ()): {"source": {"a": "1", "b": "lonely"}},
    }


def test_hashed_keys_are_not_told_anywhere_and_cannot_be_found_by_trying(
    source_db: Database, target_db: Database, tmp_path: Path
) -> None:
    pair = prepared(source_db, target_db)
    path = tmp_path / "differences.jsonl"
    results = [pair.verify(hash_keys=True, show_values=True, differences_path=str(path)) for _run in range(2)]
    keys = [
        [item["key"]["id"] for item in result.data["differences"] if item["table"] == HOSTILE] for result in results
    ]
    assert all(len(key) == 64 for key in keys[0])
    assert len(set(keys[0] + keys[1])) == 8  # another secret in each run
    assert "99" not in {text for each in results[0].data["differences"] for text in each["key"].values()}
    assert all("id" not in side for each in results[1].data["differences"] for side in each["values"].values())
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert sorted(item["key"]["id"] for item in lines if item["key"]) == sorted(keys[1])
    # The place still leads there.
    ((place,),) = [each["tuples"]["target"] for each in results[0].data["differences"] if each["kind"] == "extra"]
    ctid = place.rsplit(" ", 1)[1]
    assert target_db.execute(f"SELECT id FROM {H}.{H} WHERE ctid = '{ctid}'") == [(99,)]


def test_the_file_holds_what_the_result_has_no_room_for(
    source_db: Database, target_db: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verify_run, "Limits", functools.partial(verify_run.Limits, named_at_once=7))
    pair = prepared(source_db, target_db)
    pair.damage(f"UPDATE {H}.{H} SET same = 'other' WHERE id > 10")
    path = tmp_path / "differences.jsonl"
    path.write_text("of yesterday")
    path.chmod(0o644)
    result = pair.verify(max_differences=3, differences_path=str(path), check_mode=True)
    assert len(result.data["differences"]) == 3
    assert result.data["differences_truncated"] is True
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert len(lines) == sum(table["differing_rows"] for table in result.data["tables"]) == 45
    assert all(item in lines for item in result.data["differences"])
    assert sorted(int(item["key"]["id"]) for item in lines if item["columns"] == ["same"]) == list(range(11, 51))
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


def test_a_place_that_cannot_be_written_is_refused_before_anything_is_read(
    source_db: Database, target_db: Database, tmp_path: Path
) -> None:
    pair = ReplicatedPair(source_db, target_db)
    with pytest.raises(MigrationError) as refused:
        pair.verify(differences_path=str(tmp_path / "absent" / "file"))
    assert refused.value.code == "bad_option"
    assert "differences_path" in refused.value.message


def test_what_a_rewritten_table_has_taken_back_is_not_in_the_file(tmp_path: Path) -> None:
    from ansible_collections.seren.migrator.plugins.module_utils.verification.difference_file import DifferenceFile

    path = tmp_path / "file"
    with DifferenceFile(str(path)) as file:
        for owner in ("first", "second", "first"):
            assert file.add(owner, {"of": owner, "text": "é\n"})
        file.finish(lambda owner: owner == "second")
        assert not path.exists()
    assert path.read_text(encoding="utf-8") == '{"of": "second", "text": "é\\n"}\n'


def test_an_error_in_a_predicate_quotes_no_value(source_db: Database, target_db: Database) -> None:
    pair = ReplicatedPair(source_db, target_db)
    pair.both("CREATE TABLE public.t (id int PRIMARY KEY, v text)")
    source_db.execute("INSERT INTO public.t VALUES (1, 'hunter2')")
    pair.replicate()
    result = pair.verify({"rows": {"public.t": "v::integer > 0"}}, fail_on_difference=False)
    status, reason = status_of(result, "t")
    assert status == "error"
    assert "InvalidTextRepresentation" in reason
    assert "hunter2" not in json.dumps(result.data, default=str)
