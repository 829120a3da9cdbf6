# SPDX-License-Identifier: GPL-3.0-or-later
"""The proof of a migration in one line of a test: verify has found both sides alike, or the test tells what it has found."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.seren.migrator.plugins.module_utils.result import Result

SHOWN = 20


def assert_verified(found: Result | Mapping[str, Any]) -> None:
    """`found` is what verify returned: the engine's result, or the module's."""
    error, data = (found.error, found.data) if isinstance(found, Result) else (found.get("error"), found)
    assert data["verified"] is True, told(error, data)


def told(error: object, data: Mapping[str, Any]) -> str:
    """What differs, and what could not be looked at, in lines."""
    tables = [item for item in data.get("tables", []) if item["status"] != "verified"]
    sequences = [item for item in data.get("sequences", []) if item["status"] in ("different", "unverified")]
    objects = data.get("objects", {})
    lines = [f"not verified: {error or data.get('consistency_reason')}"]
    for what, items in (
        ("table", tables),
        ("row", data.get("differences", [])),
        ("sequence", sequences),
        ("object", objects.get("different", [])),
    ):
        lines += [f"{what}: {item}" for item in items[:SHOWN]]
        lines += [f"{what}: {len(items) - SHOWN} more"] if len(items) > SHOWN else []
    return "\n".join([*lines, f"objects: { {key: value for key, value in objects.items() if key != 'different'} }"])
