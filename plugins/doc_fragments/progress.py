# Copyright (c) 2026, Seren
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    # Of the phases that run as a background job, and show how far they are.
    DOCUMENTATION = r"""
options:
  progress_path:
    description:
      - File to which each event is appended as a line of JSON, with V(time), V(phase), V(text) and V(numbers), for a log or another program.
      - It is created with mode 0600 on the machine where the module runs, and holds no secret. The last line of a run has V(outcome) as well,
        V(ok) or V(failed). A run that was killed has none.
      - Not written in check mode.
    type: path
  progress_interval:
    description:
      - Seconds between two live lines, and between two events about the same long step. Live lines come once a second at most.
    type: float
    default: 10.0
  quiet:
    description: Show no live lines. With C(no_log) on the task there are none either.
    type: bool
    default: false
  job_timeout:
    description:
      - Seconds after which the module ends in order, with the error RV(code=job_timeout). The same command continues a copy that ended so.
      - Without it, it takes as long as it takes.
    type: float
notes:
  - The module runs as a background job, also without C(async), while its action plugin shows a live line every O(progress_interval) seconds,
    on standard error, as C(key=value) pairs behind the name of the host. What is not known is C(unknown). No line ever holds a secret.
  - With check mode or C(async) the module runs plainly, without live lines.
  - Ansible keeps its record of the job in C(~/.ansible_async) of the user that runs the module, or in C(ANSIBLE_ASYNC_DIR), with the latest
    event beside it. Both are removed at the end, unless the play was ended before its job; they are small, and hold no secret.
  - While it works it occupies one of Ansible's C(forks).
"""
