# SPDX-License-Identifier: GPL-3.0-or-later
"""A pair of servers in which all is well: no check says anything."""

from __future__ import annotations

from tests.support.cluster import Cluster
from tests.support.fixtures import Database
from tests.support.preflight import HOSTILE, H, run_validate

GOOD_SOURCE = f"""
CREATE SCHEMA {H};
CREATE TABLE {H}.{H} ({H} int PRIMARY KEY, t text);
CREATE TABLE plain (id serial PRIMARY KEY, n numeric, twice int GENERATED ALWAYS AS (id * 2) STORED);
CREATE TABLE by_index (id int NOT NULL, j json);
CREATE UNIQUE INDEX by_index_id ON by_index (id);
ALTER TABLE by_index REPLICA IDENTITY USING INDEX by_index_id;
CREATE TABLE keyed_full (id int PRIMARY KEY, j json, n numeric);
ALTER TABLE keyed_full REPLICA IDENTITY FULL;
CREATE TABLE root (id int PRIMARY KEY) PARTITION BY RANGE (id);
CREATE TABLE leaf PARTITION OF root FOR VALUES FROM (0) TO (100);
CREATE SEQUENCE seq;
CREATE MATERIALIZED VIEW mv AS SELECT count(*) FROM plain;
CREATE FUNCTION noop() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE TRIGGER ordinary BEFORE INSERT ON plain FOR EACH ROW EXECUTE FUNCTION noop();
"""

# What does not concern a source 15 and a target 17 with this selection; a test marked `silent` shows each of them pass.
NOT_CONCERNED = (
    "source_slot_idle_timeout",
    "partitions",
    "target_sync_workers",
    "target_slots",
    "source_workers",
    "way_back",
    "target_wal_level",
    "removed_in_14",
)


def test_a_good_pair_passes_every_check(source_db: Database, target_db: Database, target_cluster: Cluster) -> None:
    source_db.execute(GOOD_SOURCE)
    report = run_validate(source_db.params, target_db.params, client_bin_dir=str(target_cluster.client_dir))
    assert report.error is None
    assert report.data["ready"] is True
    # Everything else has looked, and found nothing.
    assert report.with_status("fail", "unknown", "skipped") == dict.fromkeys(NOT_CONCERNED, "skipped")
    assert report.statements == []


def test_a_target_database_that_does_not_exist_yet_passes(source_db: Database, target_cluster: Cluster) -> None:
    source_db.execute(GOOD_SOURCE)
    report = run_validate(
        source_db.params, target_cluster.params(HOSTILE), client_bin_dir=str(target_cluster.client_dir)
    )
    assert report.error is None
    assert report.data["target"]["database_exists"] is False
    assert "does not exist yet" in report["target_connection"]["detail"]
    assert report["subscription_probe"]["status"] == "pass"
