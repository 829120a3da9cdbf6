# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
from __future__ import annotations

import pytest

pytest.importorskip("psycopg")

from ansible_collections.seren.migrator.plugins.module_utils.copy_sample import order
from ansible_collections.seren.migrator.plugins.module_utils.copying import CopyTask

from .catalogs import table


def task(oid: int, name: str, size: int, predicate: str | None = None) -> CopyTask:
    return CopyTask(oid, "public", name, ("id",), predicate, "binary", size)


def test_large_tables_whose_rows_are_known_are_read_first_and_empty_ones_never() -> None:
    tables = {
        1: table(1, "vast", bytes=900, estimated_rows=-1, pages=0),
        2: table(2, "chosen", bytes=800),
        3: table(3, "small", bytes=10),
        4: table(4, "large", bytes=700),
        5: table(5, "empty", bytes=0),
    }
    tasks = [task(oid, each.name, each.bytes, "id > 1" if oid == 2 else None) for oid, each in tables.items()]
    assert [each.name for each in order(tasks, tables)] == ["large", "small", "vast", "chosen"]
