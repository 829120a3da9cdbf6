#!/usr/bin/env bash
# Copyright (c) 2026, Seren
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# host.sh VENV: finds a Python that can run the project and makes the virtual environment VENV with it. What is
# missing is named with the one line that installs it. PYTHON=... chooses the interpreter.
# The shared libraries of the throw-away servers are host_libraries.py's business.
set -euo pipefail

venv=$1

# install_line DEBIAN FEDORA ALPINE MACOS: how this host installs it.
install_line() {
    local sudo=""
    [ "$(id -u)" = 0 ] || sudo="sudo "
    if command -v apt-get >/dev/null; then
        echo "${sudo}apt-get install -y $1"
    elif command -v dnf >/dev/null; then
        echo "${sudo}dnf install -y $2"
    elif command -v apk >/dev/null; then
        echo "${sudo}apk add $3"
    elif command -v brew >/dev/null; then
        echo "brew install $4"
    else
        echo "install the packages $1, or what your system calls them"
    fi
}

missing() {
    echo "missing: $1" >&2
    echo "    $2" >&2
}

# Runs, and is 3.11 or newer? A version manager leaves names on PATH that cannot run.
is_new_enough() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

# Can it make a virtual environment? Debian packs that apart.
can_make_environments() {
    "$1" -c 'import ensurepip, venv' 2>/dev/null
}

lacks_venv=""
chosen=""
for candidate in ${PYTHON:-python3 python3.13 python3.12 python3.11 python3.14 /usr/bin/python3}; do
    is_new_enough "$candidate" || continue
    if can_make_environments "$candidate"; then
        chosen=$candidate
        break
    fi
    lacks_venv=${lacks_venv:-$candidate}
done

if [ -z "$chosen" ] && [ -n "$lacks_venv" ]; then
    version=$("$lacks_venv" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    missing "the venv module of $lacks_venv" \
        "$(install_line "python$version-venv" "python3" "python3" "python@$version")"
    exit 1
fi
if [ -z "$chosen" ]; then
    missing "Python 3.11 or newer (${PYTHON:-python3, python3.11 to python3.14})" \
        "$(install_line "python3 python3-venv" "python3.12" "python3" "python@3.13")"
    exit 1
fi
if ! command -v git >/dev/null; then
    missing "git" "$(install_line git git git git)"
    exit 1
fi

# An environment whose Python is gone or was exchanged is made anew.
if ! "$venv/bin/python" -c 'import pip' 2>/dev/null || ! is_new_enough "$venv/bin/python"; then
    "$chosen" -m venv --clear "$venv"
fi
