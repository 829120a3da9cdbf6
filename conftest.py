# Copyright (c) 2026, Seren
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes ``ansible_collections.seren.migrator`` importable from a plain checkout, wherever it lives."""

from __future__ import annotations

import importlib.util
import sys
import tempfile
from pathlib import Path

# ansible-test and pytest-ansible bring a tree of their own; then there is nothing to do.
if "ansible_collections" not in sys.modules and importlib.util.find_spec("ansible_collections") is None:
    _tree = tempfile.TemporaryDirectory(prefix="seren-migrator-")
    _link = Path(_tree.name, "ansible_collections", "seren", "migrator")
    _link.parent.mkdir(parents=True)
    _link.symlink_to(Path(__file__).parent, target_is_directory=True)
    sys.path.insert(0, _tree.name)
