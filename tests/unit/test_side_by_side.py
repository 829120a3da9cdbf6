# SPDX-License-Identifier: GPL-3.0-or-later
"""Two things at the same time: neither waits for the other, neither is left running."""

from __future__ import annotations

import threading

import pytest

from ansible_collections.seren.migrator.plugins.module_utils.side_by_side import both

PATIENCE_S = 30


def test_each_runs_while_the_other_does() -> None:
    meeting = threading.Barrier(2, timeout=PATIENCE_S)

    def meet(word: str) -> str:
        meeting.wait()
        return word

    assert both(lambda: meet("first"), lambda: meet("second")) == ("first", "second")


@pytest.mark.parametrize(("fails", "said"), [({1}, "1"), ({2}, "2"), ({1, 2}, "1")])
def test_an_error_is_raised_once_both_have_ended(fails: set[int], said: str) -> None:
    ended: list[int] = []
    first_failed = threading.Event()

    def work(number: int) -> None:
        if number == 2:
            first_failed.wait(PATIENCE_S)
        else:
            first_failed.set()
        ended.append(number)
        if number in fails:
            raise ValueError(str(number))

    with pytest.raises(ValueError, match=said):
        both(lambda: work(1), lambda: work(2))
    assert ended == [1, 2]
