# SPDX-License-Identifier: GPL-3.0-or-later
"""Everything that differs between two databases, by none of the product's code, minus stated policies.

One pg_dump of both sides, the roles and effective privileges around them, every row, sequence and large object.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from tests.support.binaries import client_dir
from tests.support.compare import compare_data
from tests.support.fixtures import Database
from tests.support.schema_dump import differing_entries
from tests.support.surroundings import surrounding_differences

PRODUCT_SCHEMAS = ("seren_migrator",)


@dataclass(frozen=True)
class Policy:
    """Differences that are meant: `pattern` is searched in a difference, `reason` says why a user accepts it."""

    pattern: str
    reason: str

    def explains(self, difference: str) -> bool:
        return re.search(self.pattern, difference, re.DOTALL) is not None


def differences(source: Database, target: Database, *, sequences: str = "equal") -> list[str]:
    """Each difference as a line; the left side (`-`) is the source. Both are read as superuser, and nobody writes."""
    clients = client_dir(max(source.cluster.major, target.cluster.major))
    # As the superuser, whoever migrates.
    one, two = (side.cluster.dsn(side.name) for side in (source, target))
    rows = compare_data(one, two, sequences=sequences, large_objects=True)
    entries = differing_entries(one, two, clients, PRODUCT_SCHEMAS)
    majors = (source.cluster.major, target.cluster.major)
    if min(majors) < 17 <= max(majors):
        # "All but ..." is written otherwise by servers that know MAINTAIN; privileges are compared by the surroundings.
        entries = [entry for entry in entries if not re.match(r"ACL .*TABLE |DEFAULT ACL .*FOR TABLES", entry)]
    return [
        *entries,
        *surrounding_differences(one, two, PRODUCT_SCHEMAS),
        *rows.differences,
    ]


def unexplained(found: Sequence[str], policies: Sequence[Policy]) -> list[str]:
    """What no policy explains."""
    return [difference for difference in found if not any(policy.explains(difference) for policy in policies)]
