# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""The one door to psycopg.

A module must import, and document itself, on a machine without psycopg. Every engine file therefore takes
``psycopg``, ``sql`` and ``pq`` from here; when the library is missing they are ``None`` and ``IMPORT_ERROR`` holds the
traceback, which ``module.py`` turns into the usual "missing library" answer.
"""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING, Any

IMPORT_ERROR: str | None = None

if TYPE_CHECKING:
    import psycopg
    from psycopg import conninfo, pq, sql
    from psycopg.rows import dict_row
else:
    try:
        import psycopg
        from psycopg import conninfo, pq, sql
        from psycopg.rows import dict_row
    except ImportError:
        IMPORT_ERROR = traceback.format_exc()
        psycopg = conninfo = pq = sql = dict_row = None

Row = dict[str, Any]

if TYPE_CHECKING:
    Connection = psycopg.Connection[Row]

__all__ = ["IMPORT_ERROR", "Row", "conninfo", "dict_row", "pq", "psycopg", "sql"]
