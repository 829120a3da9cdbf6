# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""The connection string of a subscription: how the *target server* reaches the source.

Here belongs what the target's libpq is told; how this machine connects is in ``endpoint.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .driver import conninfo, psycopg
from .endpoint import DEFAULT_CONNECT_TIMEOUT_S, KEEPALIVES, Endpoint, parse_url
from .errors import MigrationError, Redactor

# What the source's session must be told. A target of 14 does not ask for the last three itself, as newer ones do: the
# source would print dates as its own settings have them, for the target to read as its own do, and floats with 15 digits.
PUBLISHER_SETTINGS = "-c row_security=off -c datestyle=ISO -c intervalstyle=postgres -c extra_float_digits=3"

# What the source's own keywords may tell another machine, whose libpq may be as old as 14: no file path, nothing that
# concerns only this process, no keyword newer than 14.
PORTABLE_KEYWORDS = (
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "sslmode",
    "sslsni",
    "ssl_min_protocol_version",
    "ssl_max_protocol_version",
    "channel_binding",
    "gssencmode",
    "krbsrvname",
    "target_session_attrs",
    "tcp_user_timeout",
    "options",
    "connect_timeout",
    *KEEPALIVES,
)
# Meaningless on the target server, or a secret it would have to keep in clear: refused, never dropped in silence.
REFUSED_KEYWORDS = ("passfile", "service", "servicefile", "sslpassword", "replication", "client_encoding")


def _explicit(options: Mapping[str, Any]) -> dict[str, str]:
    """The keywords of ``source_from_target``: those of its url, overridden by its own keys."""
    url = options.get("url")
    params = parse_url("source_from_target", str(url)) if url else {}
    params.update({key: str(value) for key, value in options.items() if value is not None and key != "url"})
    for keyword in REFUSED_KEYWORDS:
        if keyword in params:
            raise MigrationError(
                "bad_option",
                f"source_from_target cannot hold {keyword}: the connection is made by the target server.",
                f"Remove {keyword} from source_from_target.",
            )
    return params


def subscription_conninfo(
    source: Endpoint,
    source_from_target: Mapping[str, Any] | None,
    replication_role: Mapping[str, Any] | None,
    application_name: str,
) -> str:
    """Return the connection string that a subscription on the target uses.

    ``source`` gives the portable libpq keywords; ``source_from_target`` (``url`` or keywords) overrides them, and is
    the only place from which file paths such as sslrootcert are taken, because they name files of the target server;
    ``replication_role`` (``user``, ``password``) replaces the role. Row security is switched off, so that a policy
    makes replication fail instead of hiding rows, and values are printed without loss. Raises ``bad_option`` when the result has no host or libpq would
    refuse it. The result holds the password: it belongs into an SQL literal, never into a message.

    Source: PostgreSQL manual, "Parameter Key Words" and CREATE SUBSCRIPTION.
    """
    params = {key: source.params[key] for key in PORTABLE_KEYWORDS if source.params.get(key)}
    explicit = _explicit(source_from_target or {})
    if "host" in explicit and "hostaddr" not in explicit:
        params.pop("hostaddr", None)  # the address would win over the new host
    params.update(explicit)
    if replication_role:
        params["user"] = str(replication_role["user"])
        params.pop("password", None)
        if replication_role.get("password"):
            params["password"] = str(replication_role["password"])
    if not (params.get("host") or params.get("hostaddr")):
        raise MigrationError(
            "bad_option",
            f"The {source.label} names no host that could be given to the target server.",
            "Set source_from_target with host and port as the target server reaches the source.",
        )
    params.pop("fallback_application_name", None)
    params["application_name"] = application_name
    params["options"] = " ".join(part for part in (params.get("options", "").strip(), PUBLISHER_SETTINGS) if part)
    defaults = {"connect_timeout": DEFAULT_CONNECT_TIMEOUT_S, **KEEPALIVES}
    try:
        return conninfo.make_conninfo(**{**defaults, **params})
    except psycopg.Error as error:
        raise MigrationError(
            "bad_option",
            "source_from_target holds a keyword that libpq does not know: "
            + Redactor([params.get("password", "")]).text(str(error)).strip(),
            "Use the names of the PostgreSQL manual, 'Parameter Key Words'.",
        ) from None
