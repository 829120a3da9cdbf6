# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs as lines, medians and ratios. Pure: values in, text and plain data out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from tests.benchmark.measuring import Cost

MEGABYTE = 1024 * 1024
OURS = "ours"
HEADER = f"{'tool':<16} {'wall s':>8} {'CPU s':>8} {'client':>8} {'source':>8} {'target':>8} {'client MB':>10}"


@dataclass(frozen=True)
class Run:
    """One tool in one round. `problem` is empty when the copy was complete; only then does it count."""

    tool: str
    round: int
    cost: Cost
    problem: str = ""

    @property
    def is_good(self) -> bool:
        return not self.problem

    def numbers(self) -> dict[str, float]:
        return {
            "wall_s": self.cost.wall_s,
            "total_cpu_s": self.cost.total_cpu_s,
            "client_cpu_s": self.cost.client_cpu_s,
            "source_cpu_s": self.cost.server_cpu_s["source"],
            "target_cpu_s": self.cost.server_cpu_s["target"],
            "client_memory_mb": self.cost.peak_pss_bytes / MEGABYTE,
        }

    def as_data(self) -> dict[str, Any]:
        """Everything that was measured, as plain data."""
        return {**asdict(self), "numbers": self.numbers()}


def line(name: str, numbers: Mapping[str, float]) -> str:
    """One line below `HEADER`."""
    wall, total, client, source, target, memory = numbers.values()
    return f"{name:<16} {wall:8.1f} {total:8.1f} {client:8.1f} {source:8.1f} {target:8.1f} {memory:10.0f}"


def run_line(run: Run) -> str:
    """The line of one run, with what was wrong with it."""
    return line(f"{run.tool} #{run.round}", run.numbers()) + (f"  FAILED: {run.problem}" if run.problem else "")


def medians(runs: Iterable[Run]) -> dict[str, dict[str, float]]:
    """Of each tool's good runs: the median of each number."""
    by_tool: dict[str, list[dict[str, float]]] = {}
    for run in runs:
        if run.is_good:
            by_tool.setdefault(run.tool, []).append(run.numbers())
    return {tool: {key: median(item[key] for item in all_of) for key in all_of[0]} for tool, all_of in by_tool.items()}


def ratios(runs: Sequence[Run], key: str) -> dict[str, dict[str, float]]:
    """Ours against each other tool: of the medians, and the lowest and highest within a round."""
    middle = medians(runs)
    if OURS not in middle:
        return {}
    good = {(run.tool, run.round): run.numbers()[key] for run in runs if run.is_good}
    found = {}
    for tool in middle:
        pairs = [(good[OURS, number], value) for (name, number), value in good.items() if name == tool]
        in_rounds = [ours / value for ours, value in pairs if value] if _all_rounds(good, tool) else []
        if tool != OURS and middle[tool][key]:
            whole = middle[OURS][key] / middle[tool][key]
            found[tool] = {
                "ratio": whole,
                "lowest": min(in_rounds, default=whole),
                "highest": max(in_rounds, default=whole),
            }
    return found


def _all_rounds(good: Mapping[tuple[str, int], float], tool: str) -> bool:
    return all((OURS, number) in good for name, number in good if name == tool)


def summary(runs: Sequence[Run], descriptions: Mapping[str, str]) -> str:
    """Medians and ratios, for people."""
    counts = {tool: sum(run.is_good for run in runs if run.tool == tool) for tool in descriptions}
    lines = [
        "",
        f"medians (of so many good runs: {', '.join(f'{tool} {count}' for tool, count in counts.items())})",
        HEADER,
    ]
    lines += [line(tool, numbers) for tool, numbers in medians(runs).items()]
    lines += ["", f"{'ours against':<16} {'wall':>6} {'(lowest-highest of a round)':<28} {'CPU':>6} (lowest-highest)"]
    cpu = ratios(runs, "total_cpu_s")
    for tool, wall in ratios(runs, "wall_s").items():
        spread = f"({wall['lowest']:.2f}-{wall['highest']:.2f})"
        cpu_spread = f"({cpu[tool]['lowest']:.2f}-{cpu[tool]['highest']:.2f})"
        lines.append(f"{tool:<16} {wall['ratio']:6.2f} {spread:<28} {cpu[tool]['ratio']:6.2f} {cpu_spread}")
    if not cpu:
        lines.append("no good run of ours, or of any other tool")
    lines += ["", *(f"{tool:<16} {text}" for tool, text in descriptions.items())]
    return "\n".join(lines)
