# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""Whose server it is, recognised from what the server itself shows, and what that provider does its own way.

Pure but for :func:`of_server`: :data:`QUERY` is one question that every role may ask, :func:`recognise` judges its answer. The facts are those of
the providers' public documentation; none of them decides whether something is copied, they give remedies and warnings
the words of the place.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from .session import Session

# Names and prefixes travel as parameters, see `parameters`. A role counts only with power of its own: a role of that
# name that was restored with a dump has none. The text of a setting that is only a placeholder is in no view.
QUERY = """
SELECT ARRAY(SELECT r.rolname::text
               FROM pg_catalog.pg_roles AS r
              WHERE r.rolname = ANY (%(roles)s)
                AND (r.rolsuper OR r.rolcreaterole OR r.rolcreatedb OR r.rolreplication)
              ORDER BY 1) AS roles,
       ARRAY(SELECT d.datname::text
               FROM pg_catalog.pg_database AS d
              WHERE d.datname = ANY (%(databases)s)
              ORDER BY 1) AS databases,
       ARRAY(SELECT e.extname::text
               FROM pg_catalog.pg_extension AS e
              WHERE e.extname = ANY (%(extensions)s)
              ORDER BY 1) AS extensions,
       ARRAY(SELECT DISTINCT p.proname::text
               FROM pg_catalog.pg_proc AS p
              WHERE p.proname = ANY (%(functions)s)
              ORDER BY 1) AS functions,
       ARRAY(SELECT s.name
               FROM pg_catalog.pg_settings AS s
              WHERE pg_catalog.split_part(s.name, '.', 1) = ANY (%(families)s)
              ORDER BY 1) AS settings,
       (SELECT coalesce(pg_catalog.jsonb_object_agg(v.name, pg_catalog.current_setting(v.name, true)), '{}')
          FROM pg_catalog.unnest(%(values)s::text[]) AS v(name)
         WHERE pg_catalog.current_setting(v.name, true) <> '') AS values,
       (SELECT r.rolsuper FROM pg_catalog.pg_roles AS r WHERE r.rolname = current_user) AS is_superuser
"""

SIZE_CAP = "neon.max_cluster_size"
PRIVILEGED_ROLE = "neon.privileged_role_name"
_VALUES = (SIZE_CAP, PRIVILEGED_ROLE, "neon.tenant_id", "neon.timeline_id")
_UNITS = {"B": 1, "kB": 1024, "MB": 1024**2, "GB": 1024**3, "TB": 1024**4}


@dataclass(frozen=True)
class Rules:
    """What is known about one provider.

    ``families``, ``roles``, ``databases``, ``extensions`` and ``functions`` are what only its servers have; ``hosts`` are
    ends of host names, and never decide alone. ``variant_of`` names the provider whose servers it builds on.

    ``change`` says how a setting gets a value (with ``{setting}`` and ``{value}``), ``restart`` is added where the value
    counts only after one; ``renamed`` maps settings of PostgreSQL to the provider's own name and value, ``special``
    to a sentence of their own. ``grant_replication`` is SQL with ``{}`` for the role, '' where SQL cannot give it.
    ``own_slots`` and ``own_senders`` (application names of WAL senders) belong to its storage and its backups.
    ``slot_life_h`` is after how many hours a slot that nobody reads is removed. ``privileged_role`` is what it gives
    to the administrators of a database instead of superuser, '' where that is a login.
    """

    name: str
    title: str
    variant_of: str = ""
    families: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    databases: tuple[str, ...] = ()
    extensions: tuple[str, ...] = ()
    functions: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    change: str = ""
    restart: str = ""
    renamed: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    special: Mapping[str, str] = field(default_factory=dict)
    grant_replication: str = "ALTER ROLE {} REPLICATION"
    replication_note: str = ""
    direct: str = ""
    own_schemas: tuple[str, ...] = ()
    own_extensions: tuple[str, ...] = ()
    own_slots: tuple[str, ...] = ()
    own_senders: tuple[str, ...] = ()
    slot_life_h: int | None = None
    privileged_role: str = ""
    keeps_slots_in_failover: bool = False


SELF_HOSTED = Rules("self_hosted", "self-hosted PostgreSQL")

_BY_CONSOLE = (
    "roles made in {title}'s console, command line or API have REPLICATION; a role made by SQL cannot be given it. Use "
    "such a role."
)
_DECODING = (
    "Switch on logical replication in the project's settings at {{title}}, or by its API: PATCH {url} with {body}. It "
    "cannot be switched off again, and it restarts all computes of the project and drops their connections."
)
_ENABLE = '"enable_logical_replication": true'
_NEON = Rules(
    "neon",
    "Neon",
    families=("neon",),
    roles=("neon_superuser", "serendb_superuser", "cloud_admin", "zenith_admin"),
    extensions=("neon",),
    hosts=(".neon.tech", ".neon.build"),
    change="{title} lets nobody change {setting} for the server: ask its support for {setting} = {value}.",
    special={
        "wal_level": _DECODING.format(
            url="https://console.neon.tech/api/v2/projects/ID",
            body=f'{{{{"project": {{{{"settings": {{{{{_ENABLE}}}}}}}}}}}}}',
        )
    },
    grant_replication="",
    replication_note=_BY_CONSOLE,
    direct="Use the same host name without -pooler.",
    own_schemas=("neon", "neon_auth", "neon_migration"),
    own_extensions=("neon", "neon_utils", "databricks_auth"),
    own_slots=("wal_proposer_slot", "wal_retention_slot"),
    own_senders=("walproposer",),
    slot_life_h=40,
    privileged_role="neon_superuser",
    keeps_slots_in_failover=True,
)
_RDS = Rules(
    "rds",
    "Amazon RDS",
    families=("rds",),
    roles=("rdsadmin",),
    databases=("rdsadmin",),
    extensions=("rds_tools",),
    hosts=(".rds.amazonaws.com", ".rds.amazonaws.com.cn"),
    change="In the instance's DB parameter group set {setting} = {value}.",
    restart=" Then reboot the instance.",
    renamed={"wal_level": ("rds.logical_replication", "1")},
    grant_replication="GRANT rds_replication TO {}",
    privileged_role="rds_superuser",
    direct="Use the endpoint of the instance or cluster instead of the RDS Proxy's.",
    own_extensions=("aws_s3", "aws_lambda", "aws_commons", "aws_ml", "rds_tools", "pgactive", "apg_plan_mgmt"),
    keeps_slots_in_failover=True,
)

# A base comes before what builds on it; where one's servers show another's signs too, the more particular comes first.
PROVIDERS: tuple[Rules, ...] = (
    _NEON,
    replace(
        _NEON,
        name="serendb",
        title="SerenDB",
        variant_of="neon",
        families=(),
        roles=("serendb_superuser",),
        privileged_role="serendb_superuser",
        extensions=(),
        hosts=(".serendb.com",),
        special={
            "wal_level": _DECODING.format(url="https://api.serendb.com/api/projects/ID", body=f"{{{{{_ENABLE}}}}}")
        },
    ),
    _RDS,
    replace(
        _RDS,
        name="aurora",
        title="Amazon Aurora",
        variant_of="rds",
        families=(),
        roles=(),
        databases=(),
        extensions=(),
        functions=("aurora_version",),
        change="In the DB cluster parameter group set {setting} = {value}.",
        restart=" Then reboot the writer instance.",
        own_schemas=("apg_plan_mgmt",),
    ),
    Rules(
        "alloydb",
        "Google AlloyDB",
        families=("alloydb",),
        roles=("alloydbsuperuser", "alloydbadmin"),
        privileged_role="alloydbsuperuser",
        databases=("alloydbadmin", "alloydbmetadata"),
        hosts=(".alloydb.goog",),
        change="Set the database flag {setting} to {value} on the primary instance.",
        restart=" The instance restarts.",
        renamed={"wal_level": ("alloydb.logical_decoding", "on")},
        direct="Use port 5432 of the instance, not that of managed connection pooling.",
        own_schemas=("google_vacuum_mgmt",),
        own_extensions=("google_columnar_engine", "google_ml_integration", "google_vacuum_mgmt"),
        keeps_slots_in_failover=True,
    ),
    Rules(
        "cloudsql",
        "Google Cloud SQL",
        families=("cloudsql",),
        roles=("cloudsqlsuperuser", "cloudsqladmin"),
        privileged_role="cloudsqlsuperuser",
        databases=("cloudsqladmin",),
        hosts=(".sql.goog",),
        change="Set the database flag {setting} to {value} on the instance, beside the flags that it has.",
        restart=" The instance restarts.",
        renamed={"wal_level": ("cloudsql.logical_decoding", "on")},
        direct="Use port 5432 of the instance, not that of managed connection pooling.",
        own_schemas=("google_vacuum_mgmt",),
        own_extensions=("google_columnar_engine", "google_ml_integration", "google_vacuum_mgmt"),
        keeps_slots_in_failover=True,
    ),
    Rules(
        "azure",
        "Azure Database for PostgreSQL",
        families=("azure",),
        roles=("azure_pg_admin", "azuresu", "azure_superuser"),
        privileged_role="azure_pg_admin",
        databases=("azure_maintenance", "azure_sys"),
        extensions=("azure",),
        hosts=(".postgres.database.azure.com",),
        change="az postgres flexible-server parameter set --resource-group GROUP --server-name SERVER "
        "--name {setting} --value {value}",
        restart="\naz postgres flexible-server restart --resource-group GROUP --name SERVER",
        direct="Use port 5432 of the same host, not 6432, which is its PgBouncer.",
        own_extensions=("azure", "azure_ai", "azure_storage", "pg_azure_storage", "pgaadauth"),
    ),
    Rules(
        "supabase",
        "Supabase",
        families=("supautils",),
        roles=("supabase_admin",),
        hosts=(".supabase.co", ".supabase.com"),
        change="supabase --experimental --project-ref REF postgres-config update --config {setting}={value}",
        restart="\n-- which restarts the database",
        replication_note="below PostgreSQL 17 role postgres is the one to replicate with.",
        direct="Use the direct connection, db.REF.supabase.co port 5432 (IPv6, unless the IPv4 add-on is booked).",
        own_schemas=(
            "auth",
            "storage",
            "realtime",
            "_realtime",
            "extensions",
            "graphql",
            "graphql_public",
            "vault",
            "pgbouncer",
            "pgsodium",
            "pgsodium_masks",
            "supabase_functions",
            "supabase_migrations",
            "net",
            "cron",
            "pgmq",
            "_analytics",
            "_supavisor",
            "pgtle",
        ),
        own_extensions=("supabase_vault", "pg_graphql", "pgsodium", "pg_net", "pgjwt", "wrappers"),
    ),
    Rules(
        "digitalocean",
        "DigitalOcean Managed Databases",
        roles=("doadmin",),
        databases=("_dodb",),
        hosts=(".db.ondigitalocean.com",),
        change="Set {setting} to {value} in the advanced configuration of the database cluster.",
        direct="Use port 25060 of the same host, not 25061, which is its connection pool.",
    ),
    Rules(
        "aiven",
        "Aiven",
        families=("aiven",),
        roles=("avnadmin", "_aiven"),
        databases=("_aiven",),
        hosts=(".aivencloud.com",),
        change="avn service update SERVICE -c pg.{setting}={value}",
        direct="Use the service URI of PostgreSQL itself, not that of a connection pool.",
        own_schemas=("aiven_extras",),
        own_extensions=("aiven_extras",),
        own_slots=("pghoard_local",),
        own_senders=("pghoard",),
    ),
    Rules(
        "timescale",
        "Tiger Cloud (Timescale)",
        families=("tsdb_admin",),
        roles=("tsdbadmin", "tsdbowner"),
        hosts=(".tsdb.cloud.timescale.com",),
        change="Set {setting} to {value} among the service's database parameters.",
        restart=" The service restarts.",
        direct="Use the service URL of the database itself, not that of its connection pooler.",
        own_schemas=("_timescaledb_*",),
    ),
    Rules(
        "snowflake",
        "Snowflake Postgres",
        roles=("snowflake_admin",),
        hosts=(".postgres.snowflake.app",),
        change="Set {setting} to {value} in the settings of the instance at Snowflake.",
        restart=" The instance restarts.",
    ),
)

# Roles that belong to a provider whatever server they are found on; names that may be anybody's are not among them.
_OWN_ROLES = re.compile(
    r"rds_\w+|rdsadmin|rdsrepladmin|rdstopmgr|rdswriteforwarduser|rdsproxyadmin|cloudsql\w*|alloydb\w*|azure_\w+|azuresu"
    r"|cloud_admin|zenith_admin|neon_superuser|neon_service|serendb_superuser|databricks_\w+|supabase_\w+|dashboard_user"
    r"|pgsodium_key\w+|pgtle_admin|doadmin|avnadmin|_aiven|tsdbadmin|tsdbowner|snowflake_admin|crunchy_\w+"
)

# Host names and ports at which providers and PgBouncer serve connections from a pool.
_POOLED_HOSTS = (
    (re.compile(r"-pooler\."), "neon"),
    (re.compile(r"\.pooler\.supabase\.com$"), "supabase"),
    (re.compile(r"\.proxy-[^.]+\.[^.]+\.rds\.amazonaws\.com(\.cn)?$"), "rds"),
)
_POOLED_PORTS = {"6432": "", "6543": "supabase", "25061": "digitalocean"}


@dataclass(frozen=True)
class Evidence:
    """What a server shows of its provider, as :data:`QUERY` reads it, and the host name by which it was reached."""

    roles: frozenset[str] = frozenset()
    databases: frozenset[str] = frozenset()
    extensions: frozenset[str] = frozenset()
    functions: frozenset[str] = frozenset()
    settings: frozenset[str] = frozenset()
    values: Mapping[str, str] = field(default_factory=dict)
    is_superuser: bool = False
    host: str = ""

    @classmethod
    def of(cls, row: Mapping[str, Any], host: str) -> Evidence:
        """Return the evidence of one row of :data:`QUERY`."""
        sets = {key: frozenset(row[key]) for key in ("roles", "databases", "extensions", "functions", "settings")}
        return cls(values=row["values"], is_superuser=row["is_superuser"], host=host, **sets)


@dataclass(frozen=True)
class Provider:
    """The provider of a server, what it was recognised by, and the most that the database may hold (None: unknown).

    ``told_privileged_role`` is what the server itself calls the role of its administrators, '' where it does not say.
    """

    rules: Rules
    evidence: tuple[str, ...] = ()
    size_cap_bytes: int | None = None
    told_privileged_role: str = ""

    @property
    def name(self) -> str:
        """A word for results."""
        return self.rules.name

    @property
    def title(self) -> str:
        """The name for people."""
        return self.rules.title

    @property
    def is_self_hosted(self) -> bool:
        """True where nothing on the server speaks for a provider."""
        return self.rules is SELF_HOSTED

    @property
    def privileged_role(self) -> str:
        """The role that its administrators have instead of superuser; '' where there is none, or it is a login."""
        return self.told_privileged_role or self.rules.privileged_role

    def owns_schema(self, name: str) -> bool:
        """True for a schema that the provider made for itself."""
        return any(name.startswith(own[:-1]) if own.endswith("*") else name == own for own in self.rules.own_schemas)

    def owns_extension(self, name: str) -> bool:
        """True for an extension that only this provider has."""
        return name in self.rules.own_extensions

    def how_to_set(self, setting: str, value: str, *, restarts: bool) -> str:
        """Return, in the provider's words, how a setting gets a value; '' where plain SQL does it."""
        rules = self.rules
        words = {"setting": setting, "value": value, "title": rules.title}
        if setting in rules.special:
            return rules.special[setting].format(**words)
        if setting in rules.renamed:
            words["setting"], words["value"] = rules.renamed[setting]
        return rules.change.format(**words) + (rules.restart if restarts and rules.change else "")

    @property
    def replication_note(self) -> str:
        """What to know about giving REPLICATION to a role; '' where SQL simply does it."""
        return self.rules.replication_note.format(title=self.rules.title)


def parameters() -> dict[str, list[str]]:
    """Return what :data:`QUERY` asks about."""

    def all_of(kind: str) -> list[str]:
        return sorted({name for rules in PROVIDERS for name in getattr(rules, kind)})

    return {
        "values": list(_VALUES),
        **{kind: all_of(kind) for kind in ("roles", "databases", "extensions", "functions", "families")},
    }


def recognise(evidence: Evidence) -> Provider:
    """Return the provider that a server's evidence speaks for, self-hosted when none.

    Settings, databases, extensions and functions of a provider are proof. So is a role, unless we are superuser: no
    provider gives that away. A host name only supports, or tells a provider from the one it builds on.
    """
    for base in PROVIDERS:
        found = [] if base.variant_of else _signs(base, evidence)
        if not found:
            continue
        chosen = base
        for variant in PROVIDERS:
            if variant.variant_of == base.name and (_signs(variant, evidence) or _is_at(variant, evidence.host)):
                chosen, found = variant, [*_signs(variant, evidence), *found]
                break
        if _is_at(chosen, evidence.host) or _is_at(base, evidence.host):
            found.append(f"host {evidence.host}")
        cap, privileged = _size_cap(evidence.values.get(SIZE_CAP, "")), evidence.values.get(PRIVILEGED_ROLE, "")
        return Provider(chosen, tuple(dict.fromkeys(found)), cap, privileged)
    return Provider(SELF_HOSTED)


def of_server(session: Session) -> Provider:
    """Ask a server whose it is."""
    rows = session.rows(QUERY, parameters())
    return recognise(Evidence.of(rows[0], session.endpoint.params.get("host", "")))


def is_own_setting(name: str) -> bool:
    """True for a setting of a provider's own extensions or patches, whatever server it is found on."""
    family = name.split(".", 1)[0].lower() if "." in name else ""
    return family in {word for rules in PROVIDERS for word in (*rules.families, *rules.own_extensions)}


def _signs(rules: Rules, evidence: Evidence) -> list[str]:
    """Return what speaks for a provider, for people."""
    named = {*evidence.settings, *evidence.values}
    found = [f"setting {name}" for name in sorted(named) if name.split(".", 1)[0] in rules.families][:3]
    if evidence.values.get(PRIVILEGED_ROLE) in rules.roles:
        found.append(f"setting {PRIVILEGED_ROLE}")
    found += [f"database {name}" for name in rules.databases if name in evidence.databases]
    found += [f"extension {name}" for name in rules.extensions if name in evidence.extensions]
    found += [f"function {name}" for name in rules.functions if name in evidence.functions]
    if not evidence.is_superuser:
        found += [f"role {name}" for name in rules.roles if name in evidence.roles]
    return found


def _is_at(rules: Rules, host: str) -> bool:
    return host.lower().rstrip(".").endswith(rules.hosts) if rules.hosts else False


def _size_cap(text: str) -> int | None:
    """Return Neon's limit of size in bytes; its unit is MB unless it has one, and nothing above 0 is no limit."""
    parsed = re.fullmatch(r"\s*(-?\d+)\s*([kMGT]?B)?\s*", text)
    if parsed is None or int(parsed[1]) <= 0:
        return None
    return int(parsed[1]) * _UNITS[parsed[2] or "MB"]


def is_own_role(name: str) -> bool:
    """True for a role that a provider keeps for itself, whatever server it is found on."""
    return _OWN_ROLES.fullmatch(name) is not None


def is_privileged_role(name: str) -> bool:
    """True for the role that some provider gives to the administrators of a database."""
    return any(rules.privileged_role == name for rules in PROVIDERS)


def named_by(host: str) -> str:
    """Return the provider, as people call it, to which a host name belongs; '' when it may be anybody's."""
    return next((rules.title for rules in PROVIDERS if _is_at(rules, host)), "")


def is_pooled_host(host: str) -> bool:
    """True when a host name is that of a provider's connection pooler."""
    return any(pattern.search(host.lower()) for pattern, _provider in _POOLED_HOSTS)


def is_pooled_port(port: str) -> bool:
    """True for ports that poolers usually listen on."""
    return port in _POOLED_PORTS


def direct(host: str, port: str, recognised: Provider | None = None) -> str:
    """Return how to come to the server past its pooler: in the words of its provider, when that is known."""
    by_host = next((name for pattern, name in _POOLED_HOSTS if pattern.search(host.lower())), "")
    wanted = [by_host, recognised.name if recognised else "", _POOLED_PORTS.get(port, "")]
    words = {rules.name: rules.direct for rules in PROVIDERS}
    return next((words[name] for name in wanted if words.get(name)), "")
