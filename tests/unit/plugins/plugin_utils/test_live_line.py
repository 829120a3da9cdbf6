# Copyright (c) 2026, Seren
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from ansible_collections.seren.migrator.plugins.plugin_utils.live_line import live_line


def test_what_is_not_known_is_unknown_and_zero_is_zero():
    line = live_line("pg_migration_init", "shop", {"bytes_copied": 0, "eta_seconds": None})
    assert line == "pg_migration_init [shop] bytes_copied=0 eta_seconds=unknown"


def test_text_with_blanks_quotes_or_line_breaks_is_quoted_so_that_the_line_stays_one():
    line = live_line("p", "h", {"a": "two words", "b": 'a"b', "c": "x=y", "d": "new\nline", "e": "", "f": "plain"})
    assert line == r'p [h] a="two words" b="a\"b" c="x=y" d="new\nline" e="" f=plain'
