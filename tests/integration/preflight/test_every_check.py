# SPDX-License-Identifier: GPL-3.0-or-later
"""Each check fires where it should and its remedy cures it; none is without a test in which it fires and one in which it is silent."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterator
from types import ModuleType

import pytest

from ansible_collections.seren.migrator.plugins.module_utils.preflight.registry import CHECKS
from tests.integration import preflight
from tests.integration.preflight.test_silence import NOT_CONCERNED
from tests.support.fixtures import Database
from tests.support.preflight import Case, Report, case_id, fires_and_is_cured


def _modules() -> Iterator[ModuleType]:
    for found in pkgutil.iter_modules(preflight.__path__):
        yield importlib.import_module(f"{preflight.__name__}.{found.name}")


def _marked(name: str) -> Iterator[str]:
    """Ids that tests of this package name in their marks."""
    for module in _modules():
        for item in vars(module).values():
            for mark in getattr(item, "pytestmark", []):
                if mark.name == name:
                    yield from mark.args


CASES: list[Case] = [case for module in _modules() for case in getattr(module, "CASES", ())]
IN_TABLES = {
    case.check for module in _modules() for name in ("CASES", "MANAGED_CASES") for case in getattr(module, name, ())
}


@pytest.mark.parametrize("case", CASES, ids=case_id)
def test_the_check_fires_and_its_remedy_cures_it(
    case: Case, examine: Callable[[Case], Report], source_db: Database, target_db: Database
) -> None:
    fires_and_is_cured(case, examine, source_db, target_db)


def test_every_check_has_a_test_in_which_it_fires() -> None:
    missing = {check.id for check in CHECKS} - IN_TABLES - set(_marked("fires"))
    assert missing == set()


def test_every_check_has_a_test_in_which_it_is_silent() -> None:
    """All of them pass in `test_silence.py`, but for those which do not concern its pair of servers."""
    assert set(NOT_CONCERNED) - set(_marked("silent")) == set()


def test_marks_name_checks_that_exist() -> None:
    known = {check.id for check in CHECKS}
    assert {*IN_TABLES, *_marked("fires"), *_marked("silent")} - known == set()
