# Copyright (c) 2026, Seren
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options: {}
attributes:
  action_group:
    description: Part of the action group C(group/seren.migrator.migrator), so that O(source), O(target) and O(name) can be written
      once, in C(module_defaults).
    support: full
    membership:
      - seren.migrator.migrator
  check_mode:
    description: Can run in check mode; nothing is written on either server.
    support: full
  diff_mode:
    description: Returns what has changed, or would change, when run with C(--diff).
    support: full
  platform:
    description: Where the module can run. The two servers may run anywhere.
    support: full
    platforms: posix
"""

    # For the modules that never change anything.
    READ_ONLY = r"""
options: {}
attributes:
  action_group:
    description: Part of the action group C(group/seren.migrator.migrator), so that O(source), O(target) and O(name) can be written
      once, in C(module_defaults).
    support: full
    membership:
      - seren.migrator.migrator
  check_mode:
    description: Can run in check mode; this never changes anything of yours on either server, and returns the same in check mode.
    support: full
  diff_mode:
    description: Returns what has changed, or would change, when run with C(--diff). This never changes anything.
    support: N/A
  platform:
    description: Where the module can run. The two servers may run anywhere.
    support: full
    platforms: posix
"""

    ACTION_PLUGIN = r"""
options: {}
attributes:
  action:
    description: Has an action plugin of the same name, so that a part of it runs on the controller.
    support: full
  async:
    description: Can be used with the C(async) keyword.
    support: none
"""

    # For an action plugin that runs its module as a job.
    BACKGROUND = r"""
options: {}
attributes:
  action:
    description: Has an action plugin of the same name, so that a part of it runs on the controller.
    support: full
  async:
    description: Can be used with the C(async) keyword; it then runs plainly, without live lines.
    support: full
"""
