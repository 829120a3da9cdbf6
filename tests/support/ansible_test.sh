#!/usr/bin/env bash
# Copyright (c) 2026, Seren
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# ansible_test.sh ARGUMENTS: runs "ansible-test ARGUMENTS" over this checkout, wherever it lives. ansible-test insists
# on a real path that ends in ansible_collections/NAMESPACE/NAME, so it gets a copy of what git knows or would add.
set -euo pipefail

checkout=$(git -C "$(dirname "$0")" rev-parse --show-toplevel)
copies=$(mktemp -d -t seren-migrator.XXXXXX)
trap 'rm -rf "$copies"' EXIT
copy=$copies/ansible_collections/seren/migrator
mkdir -p "$copy"
cd "$checkout"
git ls-files -z --cached --others --exclude-standard |
    tar --create --file=- --null --files-from=- --ignore-failed-read 2>/dev/null |
    tar --extract --file=- --directory="$copy"

# The environments of the sanity tests are filled without a download; see get_pip_stub.py.
internals=$(python -c 'import ansible_test._internal as internals; print(internals.__path__[0])')
cache=$HOME/.ansible/test/cache
mkdir -p "$cache"
sed -n "s/.*[^a-z_]pip='\([0-9.]*\)'.*/\1/p" "$internals/python_requirements.py" | sort -u | while read -r version; do
    script=$cache/get_pip_${version//./_}.py
    [ -s "$script" ] || cp tests/support/get_pip_stub.py "$script"
done

# What pip tells about filling the environments is left out.
cd "$copy"
ansible-test "$@" 2>&1 |
    grep --line-buffered -vE '^(Installing requirements|Using cached|WARNING: Location|Looking in|Collecting|Processing|Installing collected|Successfully installed| +Downloading| +Using cached| +━)'
