# Copyright (c) 2026, Seren
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  window:
    description:
      - Seconds over which samples are taken on the same connections. V(0) takes one.
      - The state is V(in_sync) only when every sample of the window says so.
    type: float
    default: 2.0
  sample_interval:
    description: Seconds between two samples of a window.
    type: float
    default: 1.0
  max_lag_bytes:
    description: Bytes of WAL that the target may be behind and still be V(in_sync).
    type: int
    default: 1048576
  max_lag_seconds:
    description: Seconds that the target may be behind and still be V(in_sync).
    type: float
    default: 1.0
"""
