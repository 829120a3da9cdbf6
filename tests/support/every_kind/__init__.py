# SPDX-License-Identifier: GPL-3.0-or-later
"""A small database with every kind of object, and the changes to it that a comparison has to name."""

from __future__ import annotations

from pathlib import Path

from tests.support.cluster import Cluster
from tests.support.fixtures import Database, create_database
from tests.support.sweep import sweep

DATABASE = "ek_database"
SQL_DIR = Path(__file__).parent
PARTS = (("roles", 12), ("base", 12), ("since_14", 14), ("since_15", 15), ("since_18", 18))


def load(cluster: Cluster, features_of: int) -> Database:
    """Make the database with what `features_of` knows. The cluster is swept before."""
    sweep(cluster)
    database = create_database(cluster, DATABASE)
    with database.connect() as connection:
        for part, since in PARTS:
            if features_of >= since:
                connection.execute((SQL_DIR / f"{part}.sql").read_bytes())
    return database
