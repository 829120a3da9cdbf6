# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run of the benchmark is asked to do: the BENCH_* variables and PGCOPYDB, as `make` hands them on."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.support.playbooks import REPOSITORY

FOLDER = REPOSITORY / ".build" / "benchmark"
TOOLS = ("ours", "dump_psql", "dump_restore", "dump_restore_z0", "pgcopydb", "floor")
VERIFY_TOOLS = ("ours", "ours_strong", "ordered_md5", "sum_hashtext", "count")
DEFAULT_TOOLS = ("ours", "dump_psql", "dump_restore", "pgcopydb", "floor")
SSLMODES = ("disable", "require")


class BadSetting(RuntimeError):
    """A variable holds something that cannot be used; the message names it and what it may hold."""


@dataclass(frozen=True)
class Settings:
    """One run. Empty `tools` means each scenario's own choice; `delay_ms` is a round trip (None: the scenario's own)."""

    size_mb: int = 3000
    runs: int = 3
    jobs: int = 2
    index_jobs: int = 2
    source_major: int = 15
    target_major: int = 15
    tools: tuple[str, ...] = ()
    delay_ms: float | None = None
    sslmode: str = "disable"
    small_tables: int = 2000
    large_table_mb: int = 500
    memory_table_mb: int = 2000
    memory_row_mb: int = 100
    verify_rows: int = 10_000_000
    pause_s: float = 3.0
    timeout_s: float = 3600.0
    maintenance_work_mem: str = "1GB"
    pgcopydb: str | None = None

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> Settings:
        """The settings of an environment; empty variables count as absent. Raises `BadSetting`."""

        def number(name: str, default: float) -> float:
            text = environment.get(name) or str(default)
            try:
                value = float(text)
            except ValueError:
                raise BadSetting(f"{name} is a number, not {text!r}.") from None
            if value < 0:
                raise BadSetting(f"{name} is not negative.")
            return value

        def count(name: str, default: int, least: int = 1) -> int:
            value = number(name, default)
            if value < least or value != int(value):
                raise BadSetting(f"{name} is a whole number from {least} on.")
            return int(value)

        tools = tuple(word for word in environment.get("BENCH_TOOLS", "").replace(",", " ").split() if word)
        known = tuple(dict.fromkeys((*TOOLS, *VERIFY_TOOLS)))
        if unknown := set(tools) - set(known):
            raise BadSetting(f"BENCH_TOOLS knows {', '.join(known)}, not {', '.join(sorted(unknown))}.")
        jobs = count("BENCH_JOBS", cls.jobs)
        delay = environment.get("BENCH_DELAY_MS")
        return cls(
            size_mb=count("BENCH_SIZE_MB", cls.size_mb),
            runs=count("BENCH_RUNS", cls.runs),
            jobs=jobs,
            index_jobs=count("BENCH_INDEX_JOBS", jobs),
            source_major=count("BENCH_SOURCE", cls.source_major),
            target_major=count("BENCH_TARGET", cls.target_major),
            tools=tools,
            delay_ms=number("BENCH_DELAY_MS", 0) if delay else None,
            sslmode=_sslmode(environment.get("BENCH_SSLMODE") or cls.sslmode),
            small_tables=count("BENCH_SMALL_TABLES", cls.small_tables, 0),
            large_table_mb=count("BENCH_LARGE_TABLE_MB", cls.large_table_mb, 0),
            memory_table_mb=count("BENCH_MEMORY_TABLE_MB", cls.memory_table_mb),
            memory_row_mb=count("BENCH_MEMORY_ROW_MB", cls.memory_row_mb),
            verify_rows=count("BENCH_VERIFY_ROWS", cls.verify_rows),
            pause_s=number("BENCH_PAUSE_S", cls.pause_s),
            timeout_s=number("BENCH_TIMEOUT_S", cls.timeout_s),
            maintenance_work_mem=environment.get("BENCH_MAINTENANCE_WORK_MEM") or cls.maintenance_work_mem,
            pgcopydb=_program(environment.get("PGCOPYDB", "")),
        )


def _sslmode(text: str) -> str:
    if text not in SSLMODES:
        raise BadSetting(f"BENCH_SSLMODE is one of {', '.join(SSLMODES)}, not {text!r}.")
    return text


def _program(named: str) -> str | None:
    """The pgcopydb to use, None where none is installed. A build that was asked for must exist."""
    if not named:
        return shutil.which("pgcopydb")
    path = shutil.which(named) or (str(Path(named).resolve()) if Path(named).is_file() else None)
    if path is None:
        raise BadSetting(f"PGCOPYDB={named} is not a program.")
    return path
