# SPDX-License-Identifier: GPL-3.0-or-later
"""What the host must have before the PostgreSQL builds of the tests can run, and the one line that installs it.

The builds bring libpq with them and take the rest (OpenSSL, Kerberos, readline, ...) from the host.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


class HostNotReady(RuntimeError):
    """The host lacks something that the tests' PostgreSQL needs; the message ends with the line that installs it."""


@dataclass(frozen=True)
class Package:
    """The name of one library's package in the two families of distributions."""

    debian: str
    fedora: str


# Longest prefix of a shared library's name -> the package that holds it.
PACKAGES: Mapping[str, Package] = {
    "libssl.so.3": Package("libssl3", "openssl-libs"),
    "libcrypto.so.3": Package("libssl3", "openssl-libs"),
    "libgssapi_krb5.so": Package("libgssapi-krb5-2", "krb5-libs"),
    "libreadline.so.8": Package("libreadline8", "readline"),
    "libxml2.so": Package("libxml2", "libxml2"),
    "libxslt.so": Package("libxslt1.1", "libxslt"),
    "liblz4.so": Package("liblz4-1", "lz4-libs"),
    "libzstd.so": Package("libzstd1", "libzstd"),
    "libz.so": Package("zlib1g", "zlib"),
    "libuuid.so": Package("libuuid1", "libuuid"),
    "libossp-uuid.so": Package("libossp-uuid16", "uuid"),
    "libldap": Package("libldap-2.5-0", "openldap"),
    "libpam.so": Package("libpam0g", "pam-libs"),
    "libstdc++.so": Package("libstdc++6", "libstdc++"),
}
TZDATA = Package("tzdata", "tzdata")
ZONEINFO = Path("/usr/share/zoneinfo/UTC")
PROGRAMS = ("bin/postgres", "bin/initdb", "bin/psql", "bin/pg_dump", "bin/pg_restore")
REPLICATION_LIBRARIES = ("lib/libpqwalreceiver.so", "lib/postgresql/libpqwalreceiver.so")

_MISSING_LIBRARY = re.compile(r"^\s*(\S+) => not found", re.MULTILINE)
_MISSING_GLIBC = re.compile(r"version `(GLIBC_[0-9.]+)' not found")


def missing_libraries(ldd_output: str) -> list[str]:
    """Names of the shared libraries that `ldd` could not find, sorted, each once."""
    return sorted(set(_MISSING_LIBRARY.findall(ldd_output)))


def missing_glibc(ldd_output: str) -> str | None:
    """The newest version of the C library that `ldd` asked for in vain, or None."""
    versions = _MISSING_GLIBC.findall(ldd_output)
    return max(versions, key=lambda name: [int(part) for part in name[6:].split(".")]) if versions else None


def install_line(packages: Iterable[Package], has_apt: bool) -> str:
    """The one command that installs `packages` on this family of distributions."""
    if has_apt:
        return "apt-get install -y " + " ".join(sorted({package.debian for package in packages}))
    return "dnf install -y " + " ".join(sorted({package.fedora for package in packages}))


def package_of(library: str) -> Package | None:
    """The package that holds `library`, or None when it is not a known one."""
    prefixes = [prefix for prefix in PACKAGES if library.startswith(prefix)]
    return PACKAGES[max(prefixes, key=len)] if prefixes else None


def require_runnable(root: Path, environment: Mapping[str, str]) -> None:
    """Raise `HostNotReady` unless the programs of the installation `root` find all their libraries.

    `environment` is the one the programs will run with. Hosts without `ldd` (macOS) are taken as they are.
    """
    if shutil.which("ldd") is None:
        return
    candidates = [root / name for name in (*PROGRAMS, *REPLICATION_LIBRARIES)]
    output = _ldd([path for path in candidates if path.exists()], environment)
    glibc = missing_glibc(output)
    if glibc is not None:
        raise HostNotReady(
            f"{root} needs {glibc}, this host's C library is older. "
            "Use a newer distribution, or install its own PostgreSQL packages."
        )
    libraries = missing_libraries(output)
    packages = {package for package in map(package_of, libraries) if package is not None}
    if not (root / "share/timezone").exists() and not any(root.glob("share/*/timezone")) and not ZONEINFO.exists():
        packages.add(TZDATA)
        libraries.append(str(ZONEINFO))
    if libraries:
        line = install_line(packages, has_apt=shutil.which("apt-get") is not None)
        raise HostNotReady(f"PostgreSQL in {root} needs {', '.join(libraries)} of the host. Install with:\n    {line}")


def _ldd(files: Sequence[Path], environment: Mapping[str, str]) -> str:
    completed = subprocess.run(
        ["ldd", *map(os.fspath, files)],
        env=dict(environment),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return completed.stdout
