#!/usr/bin/env bash
# Copyright (c) 2026, Seren
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# archive.sh DIRECTORY: builds the collection's archive in DIRECTORY, makes sure that nothing but the project's own
# files went in, and lets Galaxy's importer judge it.
set -euo pipefail

output=$1
rm -rf "$output"
mkdir -p "$output"
ansible-galaxy collection build --force --output-path "$output" . >/dev/null
archive=$(echo "$output"/seren-migrator-*.tar.gz)

foreign=$(comm -13 \
    <(git ls-files --cached --others --exclude-standard | sort) \
    <(tar --list --gzip --file="$archive" | grep -v -e '/$' -e '^MANIFEST.json$' -e '^FILES.json$' | sort))
if [ -n "$foreign" ]; then
    printf 'these files are not the project'\''s; add them to build_ignore in galaxy.yml:\n%s\n' "$foreign" >&2
    exit 1
fi

cd "$output"
if ! python -m galaxy_importer.main "$archive" >importer.log 2>&1 || grep -qE '^(WARNING|ERROR)' importer.log; then
    cat importer.log >&2
    exit 1
fi
echo "$(basename "$archive"): $(tar --list --gzip --file="$archive" | wc -l) entries, accepted by galaxy-importer"
