# SPDX-License-Identifier: GPL-3.0-or-later
"""Bring a test cluster back to how initdb made it: no subscriptions, slots, databases, roles or settings of a test.

Robust against what tests leave behind: running walsenders, slots in use, prepared transactions, open connections.
"""

from __future__ import annotations

import time
from typing import Any

import psycopg
from psycopg import sql

from tests.support.cluster import SUPERUSER, Cluster

KEPT_DATABASES = ("postgres", "template0", "template1")
TIMEOUT_S = 20.0

Connection = psycopg.Connection[tuple[Any, ...]]

SUBSCRIPTIONS = """
    SELECT s.subname, d.datname
    FROM pg_catalog.pg_subscription AS s
    JOIN pg_catalog.pg_database AS d ON d.oid = s.subdbid
"""
PREPARED = "SELECT gid, database FROM pg_catalog.pg_prepared_xacts"
SLOTS = "SELECT slot_name, active_pid FROM pg_catalog.pg_replication_slots"
ORIGINS = "SELECT roname FROM pg_catalog.pg_replication_origin"
DATABASES = "SELECT datname FROM pg_catalog.pg_database WHERE NOT datname = ANY(%s)"
ROLES = "SELECT rolname FROM pg_catalog.pg_roles WHERE rolname !~ '^pg_' AND rolname <> %s"
SCHEMAS = """
    SELECT nspname
    FROM pg_catalog.pg_namespace
    WHERE nspname !~ '^pg_' AND nspname NOT IN ('public', 'information_schema')
"""
# From 15 on; those of roles go with the roles.
PARAMETERS_OF_ALL = """
    SELECT p.parname
    FROM pg_catalog.pg_parameter_acl AS p
    CROSS JOIN LATERAL pg_catalog.aclexplode(p.paracl) AS a
    WHERE a.grantee = 0
"""
PUBLICATIONS = "SELECT pubname FROM pg_catalog.pg_publication"
OTHER_SESSIONS = """
    SELECT pg_catalog.pg_terminate_backend(pid)
    FROM pg_catalog.pg_stat_activity
    WHERE datname = %s AND pid <> pg_catalog.pg_backend_pid()
"""


def sweep(cluster: Cluster) -> None:
    """Remove everything that tests made in `cluster`; starts it when a test left it stopped."""
    if cluster.pid is None:
        cluster.start()
    with psycopg.connect(cluster.socket_dsn(), autocommit=True) as connection:
        connection.execute("ALTER SYSTEM RESET ALL")
        connection.execute("SELECT pg_catalog.pg_reload_conf()")
        _drop_subscriptions(cluster, connection)
        _roll_back_prepared(cluster, connection)
        _drop_slots(connection)
        for (name,) in connection.execute(DATABASES, [list(KEPT_DATABASES)]).fetchall():
            drop_database(connection, name)
        for (name,) in connection.execute(ORIGINS).fetchall():
            connection.execute("SELECT pg_catalog.pg_replication_origin_drop(%s)", [name])
        _clear_maintenance_database(connection)
        _drop_roles(connection)
        if cluster.major >= 15:
            _revoke_parameters(connection)


def drop_database(connection: Connection, name: str) -> None:
    """Drop the database `name`, ending the sessions in it."""
    # A cancelled ALTER DATABASE ... CONNECTION LIMIT or IS_TEMPLATE must not protect it from DROP.
    connection.execute(sql.SQL("ALTER DATABASE {} IS_TEMPLATE false").format(sql.Identifier(name)))
    statement = sql.SQL("DROP DATABASE IF EXISTS {}").format(sql.Identifier(name))
    deadline = time.monotonic() + TIMEOUT_S
    while True:
        connection.execute(OTHER_SESSIONS, [name])
        try:
            connection.execute(statement)
        except psycopg.errors.ObjectInUse:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return


def _drop_subscriptions(cluster: Cluster, connection: Connection) -> None:
    for name, dbname in connection.execute(SUBSCRIPTIONS).fetchall():
        subscription = sql.Identifier(name)
        with psycopg.connect(cluster.socket_dsn(dbname), autocommit=True) as inside:
            # The slot lives on the other cluster, which may be gone: it is swept there.
            inside.execute(sql.SQL("ALTER SUBSCRIPTION {} DISABLE").format(subscription))
            inside.execute(sql.SQL("ALTER SUBSCRIPTION {} SET (slot_name = NONE)").format(subscription))
            inside.execute(sql.SQL("DROP SUBSCRIPTION {}").format(subscription))


def _roll_back_prepared(cluster: Cluster, connection: Connection) -> None:
    for gid, dbname in connection.execute(PREPARED).fetchall():
        with psycopg.connect(cluster.socket_dsn(dbname), autocommit=True) as inside:
            inside.execute(sql.SQL("ROLLBACK PREPARED {}").format(sql.Literal(gid)))


def _drop_slots(connection: Connection) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while slots := connection.execute(SLOTS).fetchall():
        for name, active_pid in slots:
            if active_pid is not None:
                connection.execute("SELECT pg_catalog.pg_terminate_backend(%s)", [active_pid])
            try:
                connection.execute("SELECT pg_catalog.pg_drop_replication_slot(%s)", [name])
            except (psycopg.errors.ObjectInUse, psycopg.errors.UndefinedObject):
                if time.monotonic() > deadline:
                    raise
        time.sleep(0.02)


def _clear_maintenance_database(connection: Connection) -> None:
    for (name,) in connection.execute(PUBLICATIONS).fetchall():
        connection.execute(sql.SQL("DROP PUBLICATION {}").format(sql.Identifier(name)))
    for (name,) in connection.execute(SCHEMAS).fetchall():
        connection.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(sql.Identifier(name)))


def _drop_roles(connection: Connection) -> None:
    names = [name for (name,) in connection.execute(ROLES, [SUPERUSER]).fetchall()]
    for name in names:
        connection.execute(sql.SQL("DROP OWNED BY {} CASCADE").format(sql.Identifier(name)))
    for name in names:
        connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))


def _revoke_parameters(connection: Connection) -> None:
    for (name,) in connection.execute(PARAMETERS_OF_ALL).fetchall():
        parameter = sql.Identifier(*name.split("."))
        connection.execute(sql.SQL("REVOKE ALL ON PARAMETER {} FROM PUBLIC").format(parameter))
