# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""The certificate of a comparison: what was compared with what, when, at which positions, by which rules; sealed.

Plain data whose canonical JSON has a checksum. It says what was found, also when that is not equality.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from ..catalog import Catalog
from ..session import Session

FORMAT = 1

_SLOTS = """
SELECT s.slot_name AS slot, s.confirmed_flush_lsn::text AS confirmed_flush_lsn
  FROM pg_catalog.pg_replication_slots AS s WHERE s.slot_name = ANY (%(slots)s) ORDER BY 1
"""


def database(session: Session, catalog: Catalog) -> dict[str, Any]:
    """Return what identifies one side: server, version and database."""
    return {
        "system_identifier": catalog.database.system_identifier,
        "version": session.version,
        "database": catalog.database.name,
        "database_oid": catalog.database.oid,
        "encoding": catalog.database.encoding,
    }


def slots(source: Session, names: Sequence[str]) -> list[dict[str, Any]]:
    """Return where each slot stands on the source now."""
    return list(source.rows(_SLOTS, {"slots": list(names)}))


def sealed(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return the content with ``sha256`` over its canonical JSON: sorted keys, no spaces, UTF-8."""
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=str)
    return {**content, "sha256": hashlib.sha256(canonical.encode("utf-8", "surrogateescape")).hexdigest()}


def is_sealed(certificate: Mapping[str, Any]) -> bool:
    """True when a certificate is as it was issued."""
    content = {key: value for key, value in certificate.items() if key != "sha256"}
    return bool(sealed(content)["sha256"] == certificate.get("sha256"))


def issued(migration: str, data: Mapping[str, Any], facts: Mapping[str, Any], finished_at: str) -> dict[str, Any]:
    """Return the certificate of a run. ``data`` is its result, ``facts`` are ``source``, ``target`` and ``slots``."""
    in_doubt = [
        {"schema": table["schema"], "name": table["name"], "rows": table["in_doubt"], "reason": table["reason"]}
        for table in data["tables"]
        if table["status"] == "unverified"
    ]
    return sealed(
        {
            "format": FORMAT,
            "migration": migration,
            "verified": data["verified"],
            "rows_verified": data["rows_verified"],
            "partial": data["partial"],
            "mode": data["mode"],
            "mode_reason": data["mode_reason"],
            "source": facts.get("source"),
            "target": facts.get("target"),
            "slots": facts.get("slots", []),
            "epochs": data["epochs"],
            "hash": data["settings"],
            "tables": [_table(table) for table in data["tables"]],
            "sequences": [
                {key: item[key] for key in ("schema", "name", "status", "reason")} for item in data["sequences"]
            ],
            "objects": {key: data["objects"][key] for key in ("status", "different_count", "expected_count")},
            "large_objects": {key: value for key, value in data["large_objects"].items() if key != "differences"},
            "materialized_views": [
                {key: item[key] for key in ("schema", "name", "status")} for item in data["materialized_views"]
            ],
            "replication": {key: data["replication"][key] for key in ("status", "reason")},
            "unverified": in_doubt,
            "differences": sum(table["differing_rows"] for table in data["tables"]),
            "left_out": data["left_out"],
            "started_at": data["started_at"],
            "finished_at": finished_at,
        }
    )


def _table(table: Mapping[str, Any]) -> dict[str, Any]:
    counts = ("source_rows", "target_rows", "differing_rows", "rounds", "digest")
    wanted = ("schema", "name", "status", "reason", *counts, "lsn", "last_lsn", "read_at", "resumed", "ranges")
    return {key: table[key] for key in wanted if key in table}
