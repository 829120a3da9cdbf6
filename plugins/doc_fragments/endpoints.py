# Copyright (c) 2026, Seren
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import textwrap

# The keys of one endpoint, written once. PATH is the type of file names.
_KEYWORDS = r"""
url:
  description:
    - A connection URI, or a keyword string, as libpq takes it. Keywords given beside it win over it.
    - In a URI special characters are percent-encoded; the keywords below take every value as it is.
  type: str
host:
  description: Name or address of the server, or the directory of its socket. Several, separated by commas, are tried in turn.
  type: str
  aliases: [login_host]
hostaddr:
  description: Address of the server, which saves the look-up of its name.
  type: str
port:
  description: Port of the server; libpq's default is 5432.
  type: int
  aliases: [login_port]
user:
  description: Role to connect as.
  type: str
  aliases: [login_user]
password:
  description: Password of the role.
  type: str
  aliases: [login_password]
dbname:
  description: Name of the database. Required, here or in the url.
  type: str
  aliases: [login_db, database]
sslmode:
  description: How much TLS is demanded. V(verify-full) is the only one that proves which server answers.
  type: str
  choices: [disable, allow, prefer, require, verify-ca, verify-full]
sslrootcert:
  description: File with the certificates of trusted authorities, or V(system) for those of the operating system.
  type: PATH
sslcert:
  description: File with the client's certificate.
  type: PATH
sslkey:
  description: File with the client's key, without a passphrase.
  type: PATH
channel_binding:
  description: Whether the password exchange must be bound to the TLS connection.
  type: str
  choices: [disable, prefer, require]
gssencmode:
  description: Whether GSSAPI encryption is used.
  type: str
  choices: [disable, prefer, require]
require_auth:
  description: Authentication methods that are accepted from the server, separated by commas; for instance V(scram-sha-256).
  type: str
target_session_attrs:
  description: What kind of server is accepted when several hosts are given.
  type: str
  choices: [any, read-write, read-only, primary, standby, prefer-standby]
connect_timeout:
  description: Seconds to wait for a connection to each host; 10 when it is not given.
  type: int
options:
  description: Settings for the session on the server, as command-line options; Neon takes V(endpoint=...) here.
  type: str
"""


def _suboptions(path: str) -> str:
    return textwrap.indent(_KEYWORDS.replace("PATH", path), " " * 6)


class ModuleDocFragment:
    # Annotated, because ansible-test reads plain assignments of plain strings only.
    DOCUMENTATION: str = (
        r"""
requirements:
  - Python >= 3.10 and psycopg >= 3.1, where the module runs
  - PostgreSQL 12 to 18 as source, 14 to 18 as target
options:
  source:
    description:
      - The database to migrate from, as O(source.url), as libpq keywords, or both.
      - The dictionary itself is not secret; O(source.url) and O(source.password) are.
    type: dict
    required: true
    suboptions:
"""
        + _suboptions("path")
        + r"""
  target:
    description:
      - The database to migrate to, as O(target.url), as libpq keywords, or both.
      - The migration's ledger, schema C(seren_migrator), lives there.
    type: dict
    required: true
    suboptions:
"""
        + _suboptions("path")
        + r"""
  maintenance_db:
    description: Database of each server to connect to when the one to migrate cannot be used, because it does not exist yet.
    type: str
    default: postgres
  name:
    description:
      - Name of the migration. The publication is called like it with C(_pub) appended, the subscription with C(_sub).
      - Any machine that names the same two databases and the same name can go on with, watch or clean up a migration.
    type: str
    default: seren_migration
"""
    )

    REPLICATION: str = (
        r"""
options:
  source_from_target:
    description:
      - How the target's server reaches the source, where that is not how this machine does; for instance another
        host name inside a private network.
      - What is not given here is taken from O(source). Names of files are those of the target's server.
    type: dict
    suboptions:
"""
        + _suboptions("str")
        + r"""
  replication_role:
    description:
      - A role on the source, with the attribute REPLICATION, that the subscription uses instead of the role of O(source).
      - PostgreSQL keeps the subscription's password in the target's catalog, readable by its superusers, until the
        subscription is dropped. A role of its own can be dropped or be given another password afterwards.
    type: dict
    suboptions:
      user:
        description: Name of the role.
        type: str
        required: true
      password:
        description: Password of the role.
        type: str
"""
    )

    CLIENTS = r"""
options:
  client_bin_dir:
    description:
      - Directory of C(pg_dump) and C(pg_restore). Without it they are looked for in C(PATH) and where packages put them.
      - Both must be of one major version, not older than the source's.
    type: path
"""
