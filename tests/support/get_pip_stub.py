# Copyright (c) 2026, Seren
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Takes the place of the get-pip script that ansible-test downloads to fill its virtual environments.

The pip that every Python carries does the same without a download, so that the gates need nothing but the package
index that pip is configured for. ``ansible_test.sh`` puts this file where ansible-test looks for the download first.
"""

from __future__ import annotations

import subprocess
import sys


def pip_arguments(get_pip_arguments: list[str]) -> list[str]:
    """What "pip install" shall get: everything but get-pip's own switches, such as ``--no-setuptools``."""
    return [argument for argument in get_pip_arguments if not argument.startswith("--no-")]


def main(arguments: list[str]) -> int:
    """Give this environment its pip, then install `arguments` with it; the exit status of pip."""
    # In a process of its own: ensurepip turns off pip's configuration, and with it the index and its certificates,
    # for the whole process that runs it.
    subprocess.run([sys.executable, "-m", "ensurepip", "--upgrade"], check=True, stdout=subprocess.DEVNULL)
    install = [sys.executable, "-m", "pip", "install", "--quiet", *pip_arguments(arguments)]
    return subprocess.run(install, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
