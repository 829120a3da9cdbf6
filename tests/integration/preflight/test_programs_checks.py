# SPDX-License-Identifier: GPL-3.0-or-later
"""Pre-flight checks of the client programs of this machine, on real servers: where they fire, and that their remedies cure."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.binaries import client_dir
from tests.support.preflight import Case, run_validate

CASES = (
    Case("client_programs", options={"client_bin_dir": "/nonexistent"}),
    Case("client_major", options={"client_bin_dir": str(client_dir(18))}, severity="info"),
)


@pytest.mark.fires("client_security")
@pytest.mark.parametrize(
    ("version", "status"), [("17.5", "fail"), ("17.6", "pass"), ("18.0", "pass"), ("16.9", "fail")]
)
def test_client_programs_with_a_known_hole_are_found(
    version: str, status: str, ready: dict[str, Any], tmp_path: Path
) -> None:
    for program in ("pg_dump", "pg_restore"):
        (tmp_path / program).write_text(f'#!/bin/sh\necho "{program} (PostgreSQL) {version}"\n')
        (tmp_path / program).chmod(0o755)
    report = run_validate(**{**ready, "client_bin_dir": str(tmp_path)})
    assert report["client_programs"]["status"] == "pass"
    assert report["client_security"]["status"] == status
    assert report["client_security"]["severity"] == "warning"
