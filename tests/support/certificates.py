# SPDX-License-Identifier: GPL-3.0-or-later
"""A certificate authority and a server certificate for 127.0.0.1 and localhost, made by openssl in 0.1 s."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.support.template import ServerUser

SERVER_EXTENSIONS = "subjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth\n"


@dataclass(frozen=True)
class Certificates:
    """Files in PEM form. `ca` is what clients give as sslrootcert; every user can read it."""

    ca: Path
    certificate: Path
    key: Path


def make_certificates(folder: Path, user: ServerUser) -> Certificates:
    """Create the authority and the server's key pair in `folder` (created), readable by `user`."""
    folder.mkdir(mode=0o755)
    made = Certificates(folder / "ca.crt", folder / "server.crt", folder / "server.key")
    ca_key, request, extensions = folder / "ca.key", folder / "server.csr", folder / "server.ext"
    extensions.write_text(SERVER_EXTENSIONS, encoding="ascii")
    new_key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    _openssl("req", "-x509", *new_key, "-keyout", ca_key, "-out", made.ca, "-days", "30", "-subj", "/CN=Test CA")
    _openssl("req", *new_key, "-keyout", made.key, "-out", request, "-subj", "/CN=localhost")
    sign = ("-CA", made.ca, "-CAkey", ca_key, "-CAcreateserial", "-extfile", extensions)
    _openssl("x509", "-req", "-in", request, "-out", made.certificate, "-days", "30", *sign)
    for path in (made.ca, made.certificate):
        path.chmod(0o644)
    made.key.chmod(0o600)
    for path in (folder, *folder.iterdir()):
        user.give(path)
    return made


def _openssl(*arguments: str | Path) -> None:
    command = ["openssl", *(os.fspath(argument) for argument in arguments)]
    completed = subprocess.run(command, capture_output=True, text=True, check=False)
    if completed.returncode != 0:
        raise RuntimeError(f"openssl {arguments[0]} failed:\n{completed.stderr}")
