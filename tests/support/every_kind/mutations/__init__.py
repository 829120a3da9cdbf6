# SPDX-License-Identifier: GPL-3.0-or-later
"""Changes to the target, one at a time, and the one difference that each of them is.

Where SQL has no statement for an attribute, the catalog is written to: the comparison reads nothing else.
"""

from __future__ import annotations

from tests.support.every_kind.mutations import constraints, everywhere, of_18, others, relations, routines, types, whole
from tests.support.every_kind.mutations.mutation import EXTRA, MISSING, Mutation

__all__ = ["EVERY", "EXTRA", "MISSING", "OF_18", "Mutation"]

EVERY = (
    *whole.MUTATIONS,
    *relations.MUTATIONS,
    *constraints.MUTATIONS,
    *routines.MUTATIONS,
    *types.MUTATIONS,
    *others.MUTATIONS,
    *everywhere.MUTATIONS,
)
OF_18 = of_18.MUTATIONS
