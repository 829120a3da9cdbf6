# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""The options of phase init."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from . import validate


@dataclass(frozen=True)
class InitOptions(validate.ValidateOptions):
    """Options of init: validate's, for its gate and its policies, and those of the copy.

    ``slot_timeout`` is in seconds, ``split_tables_larger_than`` in bytes (0: never), ``max_rate`` in bytes per second
    (0: no limit); ``validate_foreign_keys`` is before_sync or after_sync; ``progress_interval`` is in seconds, between
    two words about the same long step; ``max_retained_wal`` is the bytes of WAL that the source may keep for the copy
    (None: no limit); ``resume`` False takes back what an earlier run has made and begins anew. Where the servers copy by
    themselves, ``subscription_options`` are PostgreSQL's, and ``stall_timeout`` is how many seconds they may stand
    still.
    """

    slot_timeout: float = 60
    progress_interval: float = 10
    split_tables_larger_than: int = 10 * 2**30
    max_rate: int = 0
    resume: bool = True
    max_retained_wal: int | None = None
    validate_foreign_keys: str = "before_sync"
    subscription_options: Mapping[str, Any] = field(default_factory=dict)
    stall_timeout: float = 600
    check_mode: bool = False
