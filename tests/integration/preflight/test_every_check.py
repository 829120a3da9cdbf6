# SPDX-License-Identifier: GPL-3.0-or-later
"""No check without a test in which it fires and one in which it is silent."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator

from ansible_collections.seren.migrator.plugins.module_utils.preflight.registry import CHECKS
from tests.integration import preflight
from tests.integration.preflight.test_silence import NOT_CONCERNED


def _marked(name: str) -> Iterator[str]:
    """Ids that tests of this package name in their marks."""
    for found in pkgutil.iter_modules(preflight.__path__):
        module = importlib.import_module(f"{preflight.__name__}.{found.name}")
        for item in vars(module).values():
            for mark in getattr(item, "pytestmark", []):
                if mark.name == name:
                    yield from mark.args


def _in_tables() -> Iterator[str]:
    for found in pkgutil.iter_modules(preflight.__path__):
        module = importlib.import_module(f"{preflight.__name__}.{found.name}")
        for case in getattr(module, "CASES", ()):
            yield case.check


def test_every_check_has_a_test_in_which_it_fires() -> None:
    missing = {check.id for check in CHECKS} - set(_in_tables()) - set(_marked("fires"))
    assert missing == set()


def test_every_check_has_a_test_in_which_it_is_silent() -> None:
    """All of them pass in `test_silence.py`, but for those which do not concern its pair of servers."""
    assert set(NOT_CONCERNED) - set(_marked("silent")) == set()


def test_marks_name_checks_that_exist() -> None:
    known = {check.id for check in CHECKS}
    assert {*_in_tables(), *_marked("fires"), *_marked("silent")} - known == set()
