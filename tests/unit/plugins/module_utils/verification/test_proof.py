# SPDX-License-Identifier: GPL-3.0-or-later
"""When a difference counts as proven: the truth table of the rules, without a server."""

from __future__ import annotations

import pytest

from ansible_collections.seren.migrator.plugins.module_utils.verification.rows import (
    Group,
    Place,
    Probe,
    Sighting,
    Version,
    is_proven,
    is_standing,
    is_untouched,
    kind_of,
    merged,
)

HORIZON = 100
PLACE: Place = (1, "(0,1)", "50")


def row(number: int, content: int = 7, generated: int = 0, heap: int = 1) -> Version:
    return Version(heap, f"(0,{number})", "50", content, generated)


def sighting(horizon: int, source_xmin: int, *target: Version, source: tuple[Version, ...] = ()) -> Sighting:
    return Sighting(horizon, source_xmin, frozenset(r.place for r in source), frozenset(r.place for r in target), True)


@pytest.mark.parametrize(
    ("xmax", "xmin", "expected"),
    [
        (0, 0, True),  # never touched, whatever else runs
        (0, HORIZON, True),
        (60, HORIZON - 1, False),  # a locker, or a change whose commit is not visible yet
        (60, HORIZON, True),  # all that could be in the target's snapshot has ended, and the tuple is still there
        (60, HORIZON + 1, True),
        (None, HORIZON + 1, False),  # the tuple is gone, or another row stands there
    ],
)
def test_a_source_tuple_is_untouched_only_when_nothing_in_the_targets_snapshot_can_have_changed_it(
    xmax: int | None, xmin: int, expected: bool
) -> None:
    probe = Probe(xmin, {} if xmax is None else {PLACE: xmax})
    assert is_untouched(PLACE, probe, HORIZON) is expected


SOURCE, OTHER = row(1), row(2)
WRONG, RIGHT = row(8, content=8), row(9)


@pytest.mark.parametrize(
    ("group", "untouched", "expected"),
    [
        (Group(1, (SOURCE,), (WRONG,)), {SOURCE.place}, True),
        (Group(1, (SOURCE,), (WRONG,)), set(), False),
        (Group(1, (SOURCE,), ()), {SOURCE.place}, True),
        (Group(1, (SOURCE,), ()), set(), False),
        (Group(1, (SOURCE,), (RIGHT, WRONG)), {SOURCE.place}, True),
        (Group(1, (SOURCE,), (RIGHT, WRONG)), {OTHER.place}, False),
        (Group(1, (), (WRONG,)), set(), False),
    ],
)
def test_a_key_on_the_source_is_proven_by_its_own_tuple_alone(
    group: Group, untouched: set[Place], expected: bool
) -> None:
    assert is_proven(group, frozenset(untouched), [], 1000, is_keyed=True) is expected


@pytest.mark.parametrize(
    ("earlier", "source_xmin", "expected"),
    [
        ([], 200, False),
        ([sighting(100, 50, WRONG)], 100, True),
        ([sighting(100, 50, WRONG)], 99, False),  # this source snapshot may miss what that target contained
        ([sighting(100, 50, RIGHT)], 200, False),  # another tuple
        ([sighting(100, 50, WRONG), sighting(300, 100, RIGHT)], 200, True),  # the older of two will do
    ],
)
def test_a_row_that_only_the_target_has_is_proven_when_it_outlives_whatever_could_have_brought_it(
    earlier: list[Sighting], source_xmin: int, expected: bool
) -> None:
    assert is_proven(Group(1, (), (WRONG,)), frozenset(), earlier, source_xmin, is_keyed=True) is expected


def test_without_a_key_a_loss_needs_more_untouched_rows_than_the_target_has() -> None:
    group = Group(7, (SOURCE, OTHER), (RIGHT,))
    assert is_proven(group, frozenset({SOURCE.place, OTHER.place}), [], 0, is_keyed=False)
    assert not is_proven(group, frozenset({SOURCE.place}), [], 0, is_keyed=False)


def test_without_a_key_a_surplus_must_last_over_two_intervals() -> None:
    group = Group(7, (SOURCE,), (row(8), row(9)))
    once = sighting(100, 50, *group.target)
    twice = [once, sighting(200, 100, *group.target)]
    assert not is_proven(group, frozenset(), [], 500, is_keyed=False)
    assert not is_proven(group, frozenset(), [once], 500, is_keyed=False)
    assert is_proven(group, frozenset(), twice, 200, is_keyed=False)
    assert not is_proven(group, frozenset(), [once, sighting(200, 99, *group.target)], 200, is_keyed=False)
    assert not is_proven(group, frozenset(), [sighting(100, 50, row(8)), twice[1]], 200, is_keyed=False)


def test_without_alignment_a_difference_must_stand_still_in_every_round() -> None:
    group = Group(1, (SOURCE,), (WRONG,))
    seen = sighting(100, 50, WRONG, source=(SOURCE,))
    moved = sighting(100, 50, RIGHT, source=(SOURCE,))
    safe = frozenset({SOURCE.place})
    assert is_standing(group, safe, [seen, seen], 3)
    assert not is_standing(group, safe, [seen], 3)
    assert not is_standing(group, safe, [seen, moved], 3)
    assert not is_standing(group, frozenset(), [seen, seen], 3)
    assert not is_standing(group, safe, [], 1)


@pytest.mark.parametrize(
    ("group", "is_keyed", "expected"),
    [
        (Group(1, (SOURCE,), ()), True, "missing"),
        (Group(1, (), (WRONG,)), True, "extra"),
        (Group(1, (SOURCE,), (WRONG,)), True, "changed"),
        (Group(1, (SOURCE,), (RIGHT, RIGHT)), True, "extra"),
        (Group(1, (SOURCE,), (WRONG, WRONG)), True, "changed"),
        (Group(1, (SOURCE,), (row(9, generated=1),)), True, "generated_only"),
        (Group(1, (SOURCE, OTHER), (RIGHT,)), False, "missing"),
        (Group(1, (SOURCE,), (RIGHT, RIGHT)), False, "extra"),
    ],
)
def test_each_difference_has_its_name(group: Group, is_keyed: bool, expected: str) -> None:
    assert group.differs
    assert kind_of(group, is_keyed=is_keyed) == expected


def test_equal_multisets_do_not_differ() -> None:
    assert not Group(1, (row(1, 5), row(2, 6)), (row(3, 6), row(4, 5))).differs
    assert Group(1, (row(1, 5), row(2, 5)), (row(3, 5), row(4, 6))).differs


def test_two_sorted_streams_merge_into_groups_of_equal_identity() -> None:
    source = [(-5, row(1)), (2, row(2)), (2, row(3)), (9, row(4))]
    target = [(2, row(5)), (3, row(6)), (9, row(7)), (9, row(8))]
    groups = [(g.identity, len(g.source), len(g.target)) for g in merged(source, target)]
    assert groups == [(-5, 1, 0), (2, 2, 1), (3, 0, 1), (9, 1, 2)]
    assert [g.identity for g in merged([], target)] == [2, 3, 9]
    assert list(merged([], [])) == []
