# SPDX-License-Identifier: GPL-3.0-or-later
"""How the demo's results look on a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

LARGEST = 10
WIDTH = 100


@dataclass(frozen=True)
class Claim:
    """One thing that was to be shown, what was found, and whether that proves it. `details` has one line each."""

    text: str
    found: str
    is_proven: bool
    details: tuple[str, ...] = ()


def render(claims: Sequence[Claim], rows: Mapping[str, int]) -> str:
    """The closing table: the rows of the largest tables, then each claim, then the verdict."""
    lines = ["", "=" * WIDTH, *(_rows(rows) if rows else ())]
    left = max(len(claim.text) for claim in claims)
    for claim in claims:
        lines.append(f"  {'proven    ' if claim.is_proven else 'NOT PROVEN'}  {claim.text:<{left}}  {claim.found}")
        lines += [f"              {_printable(detail)}" for detail in claim.details]
    missing = sum(not claim.is_proven for claim in claims)
    verdict = f"{missing} of {len(claims)} were NOT proven." if missing else "Everything was proven."
    return "\n".join([*lines, "", f"  {verdict}", "=" * WIDTH])


def _rows(rows: Mapping[str, int]) -> list[str]:
    largest = sorted(rows.items(), key=lambda item: (-item[1], item[0]))[:LARGEST]
    lines = [f"  Rows of the {len(largest)} largest tables, equal on both sides unless named below", ""]
    lines += [f"  {count:>12,}  {_printable(table)}" for table, count in largest]
    lines += [f"  {sum(rows.values()):>12,}  in all {len(rows)} tables", ""]
    return lines


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else "?" for character in text)


def bytes_text(count: float) -> str:
    """A number of bytes with the unit that suits it: `812 B`, `3.4 MB`."""
    for unit in ("B", "kB", "MB", "GB"):
        if abs(count) < 1000 or unit == "GB":
            break
        count /= 1000
    return f"{count:.0f} B" if unit == "B" else f"{count:.1f} {unit}"
