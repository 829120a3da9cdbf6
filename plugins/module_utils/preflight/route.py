# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""Checks of the road between the two servers: addresses, files that the other server must have, how long it takes."""

from __future__ import annotations

import socket

from ..conninfo import subscription_conninfo
from ..driver import conninfo as libpq
from ..errors import MigrationError
from .check import Check, Outcome, check, failed, passed, skipped, unknown
from .context import Context
from .trial import PROBE_NAME, said_by, try_subscription

CHECKS: list[Check] = []

FILE_KEYWORDS = ("sslrootcert", "sslcert", "sslkey", "sslcrl", "sslcrldir")
# The first libpq that knows the value "system" for sslrootcert; an older one takes it for a file name.
SYSTEM_ROOTS_MAJOR = 16
FAR_MS = 50


def _keywords(context: Context) -> dict[str, str]:
    """What the subscriptions' connection string says; {} when there is none, which ``subscription_probe`` reports."""
    try:
        return {key: str(value) for key, value in libpq.conninfo_to_dict(context.conninfo).items() if value is not None}
    except MigrationError:
        return {}


@check(
    CHECKS, "source_address", "The source has an address that any server can reach", side="source", severity="warning"
)
def address(context: Context) -> Outcome:
    """N4. Judged only where the target does not get through; otherwise it has proved that it can."""
    keywords = _keywords(context)
    if not keywords:
        return skipped("There is no connection string for the target.", needs="subscription_probe")
    if "source" not in context.errors and context.trial is not None and context.trial.error is None:
        return passed("The target has reached it.")
    hosts = (keywords.get("hostaddr") or keywords["host"]).split(",")
    found = {host: _families(host) for host in hosts if not host.startswith(("/", "@"))}
    only_ipv6 = [host for host, families in found.items() if families == {socket.AF_INET6}]
    if only_ipv6:
        return failed(
            "This host has only an IPv6 address, and the target does not get through to it: many servers have no IPv6.",
            "Switch IPv6 on at the target, give the source an IPv4 address (Supabase: the IPv4 add-on), or set "
            "source_from_target to a host name that has one.",
            objects=only_ipv6,
        )
    nowhere = [host for host, families in found.items() if not families]
    if nowhere:
        return unknown("The name cannot be resolved on this machine; the target may know it.", objects=nowhere)
    return passed()


def _families(host: str) -> set[int]:
    """Address families of a host name, as this machine resolves it."""
    try:
        return {int(info[0]) for info in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)}
    except OSError:
        return set()


@check(
    CHECKS,
    "source_from_target_files",
    "The target can read the files that its connection names",
    side="target",
    severity="warning",
)
def files(context: Context) -> Outcome:
    """N6. They are files of the target server; what source itself names is of this machine and is not passed on."""
    keywords = _keywords(context)
    named = [f"{key}={keywords[key]}" for key in FILE_KEYWORDS if key in keywords and keywords[key] != "system"]
    if context.trial is not None and context.trial.error is None:
        return passed(f"The target server has used {', '.join(named)}." if named else "")
    remedy = (
        "Put the files on the target server, readable for its operating system user (a key: for it alone), or leave "
        "them out of source_from_target: sslmode=require encrypts without any file."
    )
    if keywords.get("sslrootcert") == "system" and context.target.major < SYSTEM_ROOTS_MAJOR:
        return failed(
            f"PostgreSQL {context.target.major} takes sslrootcert=system for the name of a file; from "
            f"{SYSTEM_ROOTS_MAJOR} on it means the certificates of the operating system.",
            "Give source_from_target the file with them, often /etc/ssl/certs/ca-certificates.crt.",
            objects=["sslrootcert=system"],
        )
    if named:
        return unknown("The target does not get through to the source; it may lack these files.", remedy, objects=named)
    if keywords.get("sslmode", "").startswith("verify-") and "sslrootcert" not in keywords:
        return unknown(
            "The target does not get through to the source. It verifies the certificate with the file root.crt in "
            "~/.postgresql of its operating system user, and may not have it.",
            remedy,
            objects=[f"sslmode={keywords['sslmode']}"],
        )
    return passed()


@check(CHECKS, "round_trip", "The target is near the source", side="both", severity="info")
def round_trip(context: Context) -> Outcome:
    """N8. Measured by the trial subscription, the quickest of a few: no less than the true round trip."""
    trial = context.trial if _keywords(context) else None
    if trial is None or trial.error is not None:
        return skipped("The target has not reached the source.", needs="subscription_probe")
    if trial.round_trip_ms < FAR_MS:
        return passed(f"A round trip takes at most {trial.round_trip_ms:.0f} ms.")
    slow = {
        "subscription": "each table that the servers copy by themselves costs about ten of them, and",
        "runner": "changes are streamed without waiting for answers, but",
    }[context.options.copy_method]
    return failed(
        f"A round trip from the target to the source takes up to {trial.round_trip_ms:.0f} ms: {slow} the cut-over "
        "waits for some of them.",
        "Choose a target nearer to the source, or plan a longer pause of writes.",
        objects=[f"{trial.round_trip_ms:.0f} ms"],
    )


@check(
    CHECKS, "way_back", "The source can subscribe to the target, for the way back", side="source", severity="warning"
)
def way_back(context: Context) -> Outcome:
    """N10. The same trial in the other direction, where a way back is wanted. Nothing is left behind."""
    if not context.options.rollback:
        return skipped("Concerns rollback.")
    if context.target_database is None:
        return unknown("The target database does not exist yet; run validate again after init.")
    source, migration = context.source, context.migration
    try:
        conninfo = subscription_conninfo(migration.target, None, None, PROBE_NAME)
    except MigrationError as error:
        return unknown(error.message, "Give the target a host that the source can reach.")
    refused = try_subscription(source.session.endpoint, migration.log, conninfo).error
    if refused is None:
        return passed(f"The source reached PostgreSQL {context.target.major}.")
    return failed(
        f"The source tried to subscribe to the target and failed: {said_by(refused, migration.redactor)} "
        f"(SQLSTATE {refused.sqlstate or ''}). After the cut-over, what is written to the target could not be brought "
        "back.",
        "Let the source server's outgoing addresses in at the target, and give the role on the source the right to "
        "create subscriptions (16 and newer: GRANT pg_create_subscription; before: superuser), the one on the target "
        "REPLICATION. Or do without a way back: rollback: false.",
        objects=[migration.target.label],
    )
