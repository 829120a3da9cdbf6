# SPDX-License-Identifier: GPL-3.0-or-later
"""A provider of security labels that accepts everything, for a throw-away server of 15-17; needs a C compiler."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.cluster import Cluster
from tests.support.template import server_user

# The wheels bring no headers of the server; this is all that a module has to know of it.
_SOURCE = """
typedef struct {{ int len, version, funcmaxargs, indexmaxkeys, namedatalen, float8byval; char abi_extra[32]; }} Magic;
extern void register_label_provider(const char *name, void (*check)(const void *object, const char *label));
static void check(const void *object, const char *label) {{ (void) object; (void) label; }}
const Magic *Pg_magic_func(void);
const Magic *Pg_magic_func(void)
{{ static const Magic magic = {{ sizeof(Magic), {version}, 100, 32, 64, 1, "PostgreSQL" }}; return &magic; }}
void _PG_init(void);
void _PG_init(void) {{ register_label_provider("{provider}", check); }}
"""


def build_label_provider(cluster: Cluster, provider: str) -> Path:
    """The library to load; the test is skipped, visibly, where there is no compiler."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler")
    source, library = cluster.folder / "label_provider.c", cluster.folder / "label_provider.so"
    source.write_text(_SOURCE.format(version=cluster.major * 100, provider=provider), encoding="ascii")
    subprocess.run([compiler, "-shared", "-fPIC", "-o", str(library), str(source)], check=True, capture_output=True)
    server_user().give(library)
    return library
