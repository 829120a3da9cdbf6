# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""What verify is asked to do, and which combinations cannot be done."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import MigrationError
from ..verification.epochs import MODES


@dataclass(frozen=True)
class VerifyOptions:
    """Options of the phase. ``tables`` are patterns that restrict the comparison; ``wait_timeout`` is in seconds.

    ``progress_interval`` is in seconds, between two events about how far it is; 0 for none.
    ``objects`` says what becomes of all that is not rows: compare it, report how it differs without counting it, or skip.
    ``show_values`` tells the values of columns that differ, ``hash_keys`` hides those of keys; ``differences_path`` is a file
    on this machine for all differing rows, as JSON lines. ``repair`` mends at most ``max_repairs`` rows on the target and verifies
    again; ``repair_sql_path`` is a file on this machine for the statements that would.
    ``mode`` is how the two sides are brought to one moment: *gate*, *live* or *fenced*; ``strict`` locks the last rows in
    doubt on the source, for milliseconds. ``max_snapshot_age`` is how many seconds snapshots are kept open for something new,
    ``max_rate`` is in bytes per second on each server (0: no limit), ``max_lag_bytes`` the lag above which nothing new is begun,
    ``job_timeout`` the seconds after which what is not decided stays so (None: no limit). ``state_path`` is a file on this
    machine that remembers what is proven, ``resume`` goes on with an earlier run that it tells of. ``maintenance_db`` is asked,
    in check mode only, whether a target that cannot be opened exists at all.
    """

    mode: str = "gate"
    strict: bool = False
    strong: bool = False
    jobs: int = 2
    tables: tuple[str, ...] = ()
    max_differences: int = 100
    max_rounds: int = 5
    wait_timeout: float = 300.0
    fail_on_difference: bool = True
    objects: str = "compare"
    show_values: bool = False
    hash_keys: bool = False
    differences_path: str | None = None
    repair: bool = False
    repair_sql_path: str | None = None
    max_repairs: int = 1000
    max_snapshot_age: float = 900.0
    max_rate: int = 0
    max_lag_bytes: int | None = None
    job_timeout: float | None = None
    state_path: str | None = None
    resume: bool = False
    progress_interval: float = 10.0
    check_mode: bool = False
    maintenance_db: str = "postgres"


def check(options: VerifyOptions) -> None:
    """Raise ``bad_option`` for values that make no sense, alone or together."""
    if options.jobs < 1 or options.max_rounds < 1 or min(options.max_differences, options.max_repairs) < 0:
        raise MigrationError(
            "bad_option",
            "jobs and max_rounds must be at least 1, max_differences and max_repairs at least 0.",
            "Correct the options.",
        )
    if options.mode not in MODES:
        raise MigrationError("bad_option", f"mode is {options.mode!r}.", f"Give one of {', '.join(MODES)}.")
    if options.strict and (options.mode != "gate" or options.max_rounds < 2):
        raise MigrationError(
            "bad_option",
            "strict ends a comparison in mode gate, from the second round on.",
            "Give mode gate and max_rounds of at least 2, or leave strict out.",
        )
    if options.objects not in ("compare", "report", "skip"):
        raise MigrationError("bad_option", f"objects is {options.objects!r}.", "Give compare, report or skip.")
    for name in ("max_snapshot_age", "job_timeout"):
        value = getattr(options, name)
        if value is not None and value <= 0:
            raise MigrationError("bad_option", f"{name} is {value:g}.", "Give a number of seconds above 0.")
    for name in ("max_rate", "max_lag_bytes"):
        value = getattr(options, name)
        if value is not None and value < 0:
            raise MigrationError("bad_option", f"{name} is {value}.", "Give a number of bytes, not below 0.")
    if options.resume and not options.state_path:
        raise MigrationError(
            "bad_option",
            "resume goes on with what an earlier run has noted in state_path, which is not given.",
            "Give state_path too, a file on the machine that runs the module; a run that shall be resumed needs it from its start.",
        )
