# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""An endpoint is one side of a migration: server, database, role and TLS settings, as libpq keywords.

Here belongs what is known before a connection exists. Open connections are in ``session.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from .driver import conninfo, psycopg
from .errors import MigrationError

Side = Literal["source", "target"]
SECRET_KEYWORDS = ("password", "sslpassword")
DEFAULT_CONNECT_TIMEOUT_S = "10"
# A long COPY looks idle to a load balancer while one side computes: probe early, give up after about ten minutes.
KEEPALIVES = {"keepalives": "1", "keepalives_idle": "10", "keepalives_interval": "10", "keepalives_count": "60"}


def parse_url(option: str, url: str) -> dict[str, str]:
    """Return the libpq keywords of a URI or keyword string given in ``option``.

    Raises ``bad_option`` for one that cannot be parsed, or could be read in two ways; without libpq's own words, which
    quote pieces of the password.
    """
    try:
        parsed = None if _is_ambiguous(url) else conninfo.conninfo_to_dict(url)
    except psycopg.Error:
        parsed = None
    if parsed is None:
        raise MigrationError(
            "bad_option",
            f"The url of {option} cannot be parsed.",
            "Percent-encode special characters in a URI (a password p@ss is p%40ss), or give host, user, password "
            "and dbname as separate keys, where nothing needs encoding.",
        )
    return {key: str(value) for key, value in parsed.items() if value is not None}


def _is_ambiguous(url: str) -> bool:
    """True for a URI with an ``@`` that libpq would not take for the end of the password, though its writer may have."""
    scheme, separator, rest = url.partition("://")
    if not separator or scheme not in ("postgres", "postgresql"):
        return False
    authority, _slash, path = rest.partition("?")[0].partition("/")
    return authority.count("@") > 1 or "@" in path


@dataclass(frozen=True)
class Endpoint:
    """One side. ``params`` are libpq keywords (all values strings), the password among them."""

    side: Side
    params: Mapping[str, str] = field(repr=False)

    @classmethod
    def from_options(cls, side: Side, options: Mapping[str, Any]) -> Endpoint:
        """Build an endpoint from a module's ``source``/``target`` dictionary.

        ``options`` holds ``url`` (a libpq URI or keyword string), libpq keywords, or both; keywords win over the URL.
        Values of None count as absent. Raises ``bad_option`` when the URL cannot be parsed or no database is named.
        Source: PostgreSQL manual, "Connection Strings" and "Parameter Key Words".
        """
        given = {key: str(value) for key, value in options.items() if value is not None and key != "url"}
        url = options.get("url")
        params = parse_url(side, str(url)) if url else {}
        params.update(given)
        if not params.get("dbname"):
            raise MigrationError(
                "bad_option", f"The {side} names no database.", f"Add dbname to {side}, or /database to its url."
            )
        if not (params.get("host") or params.get("hostaddr") or params.get("service")):
            raise MigrationError("bad_option", f"The {side} names no host.", f"Add host to {side}, or use a full url.")
        return cls(side, params)

    @property
    def dbname(self) -> str:
        """Name of the database."""
        return self.params["dbname"]

    @property
    def user(self) -> str:
        """Name of the role, empty when libpq shall find it."""
        return self.params.get("user", "")

    @property
    def label(self) -> str:
        """What messages call this endpoint, for instance ``source shop on db1:5432``. Never a secret."""
        host = self.params.get("host") or self.params.get("hostaddr") or self.params.get("service", "")
        return f"{self.side} {self.dbname} on {host}:{self.params.get('port', '5432')}"

    @property
    def secrets(self) -> list[str]:
        """Values that must never be shown."""
        return [self.params[key] for key in SECRET_KEYWORDS if self.params.get(key)]

    def public(self) -> dict[str, str]:
        """Return what a result may show: host, port, database, user, sslmode."""
        return {key: self.params[key] for key in ("host", "port", "dbname", "user", "sslmode") if key in self.params}

    def with_database(self, dbname: str) -> Endpoint:
        """Return the same endpoint, connecting to another database."""
        return Endpoint(self.side, {**self.params, "dbname": dbname})

    def with_params(self, **params: str) -> Endpoint:
        """Return a copy with some libpq keywords replaced."""
        return Endpoint(self.side, {**self.params, **params})

    def connect_params(self, application_name: str) -> dict[str, str]:
        """Return the keywords for our own connections: the user's, with timeouts and keepalives where unset."""
        return {
            "connect_timeout": DEFAULT_CONNECT_TIMEOUT_S,
            **KEEPALIVES,
            "fallback_application_name": application_name,
            **self.params,
            "client_encoding": "UTF8",
        }

    def client_environment(self) -> tuple[str, dict[str, str]]:
        """Return (conninfo without secrets, environment variables with them) for pg_dump and pg_restore.

        Secrets never stand in an argument list, which every user of the machine can read.
        """
        if self.params.get("sslpassword"):
            raise MigrationError(
                "bad_option",
                f"sslpassword of the {self.side} cannot be given to pg_dump without showing it to others.",
                "Use a client key without a passphrase, in a file of mode 0600.",
            )
        left_out = (*SECRET_KEYWORDS, "application_name", "fallback_application_name")
        open_params = {key: value for key, value in self.params.items() if key not in left_out}
        open_params.setdefault("connect_timeout", DEFAULT_CONNECT_TIMEOUT_S)
        text = conninfo.make_conninfo(**{**KEEPALIVES, **open_params})
        environment = {"PGPASSWORD": self.params["password"]} if self.params.get("password") else {}
        return text, environment
