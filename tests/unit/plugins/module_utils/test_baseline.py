# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
from __future__ import annotations

import json
import zlib

import pytest

pytest.importorskip("psycopg")

from ansible_collections.seren.migrator.plugins.module_utils.baseline import differing, digests
from ansible_collections.seren.migrator.plugins.module_utils.verification.objects.described import Described

TABLE = Described("table", "public.t", 1259, 1, {"owner": "alice"})
COLUMN = Described("column", "public.t.v", 1259, 1, {"type": "text", "not null": "yes"}, TABLE.key)
INDEX = Described("index", "public.t_v", 1259, 2, {"definition": "secret"}, TABLE.key)
THEN = zlib.compress(json.dumps(digests([TABLE, COLUMN, INDEX])).encode())


def test_nothing_differs_from_itself() -> None:
    assert differing(THEN, [TABLE, COLUMN, INDEX]) == ()


def test_parts_and_attributes_are_named() -> None:
    changed = Described("column", "public.t.v", 1259, 1, {"type": "bigint", "default": "1"}, TABLE.key)
    new = Described("index", "public.t_w", 1259, 3, {}, TABLE.key)
    assert differing(THEN, [TABLE, changed, new]) == (
        "column public.t.v (default, not null, type)",
        "index public.t_v (dropped)",
        "index public.t_w (added)",
    )


def test_no_value_is_kept() -> None:
    assert b"secret" not in zlib.decompress(THEN)
