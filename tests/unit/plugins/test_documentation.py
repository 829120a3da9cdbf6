# Copyright (c) 2026, Seren
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is written twice, because Ansible wants it so, says the same in both places."""

from __future__ import annotations

import dataclasses
import importlib
import re
from pathlib import Path

import pytest
import yaml
from ansible.module_utils.common.validation import check_type_bytes

from ansible_collections.seren.migrator.plugins.module_utils import module
from ansible_collections.seren.migrator.plugins.module_utils.errors import CODES

ROOT = Path(__file__).parents[3]
PACKAGE = "ansible_collections.seren.migrator.plugins"
PHASES = ("validate", "init", "sync", "status", "verify", "cleanup")
# The role's variable for a module's option, where it is not migrate_<option>.
VARIABLES = {
    ("sync", "timeout"): "migrate_sync_timeout",
    ("verify", "mode"): "migrate_verify_mode",
    ("verify", "strict"): "migrate_verify_strict",
    ("verify", "strong"): "migrate_verify_strong",
    ("verify", "jobs"): "migrate_verify_jobs",
    ("verify", "only"): "migrate_verify_only",
    ("verify", "job_timeout"): "migrate_verify_job_timeout",
    ("verify", "wait_timeout"): "migrate_verify_timeout",
    ("verify", "max_rate"): "migrate_verify_max_rate",
    ("verify", "max_lag_bytes"): "migrate_verify_max_lag_bytes",
    ("verify", "state_path"): "migrate_verify_state_path",
    ("verify", "resume"): "migrate_verify_resume",
    ("cleanup", "force"): "migrate_cleanup_force",
    ("cleanup", "timeout"): "migrate_cleanup_timeout",
}
# What the role counts by itself unless it is given, where a module has a fixed default.
COMPUTED = {"migrate_migrations_on_source", "migrate_migrations_on_target", "migrate_migrations_at_once"}


def spec_of(phase):
    """The argument spec that a module passes to Ansible."""
    taken = {}
    loaded = importlib.import_module(f"{PACKAGE}.modules.pg_migration_{phase}")
    original = loaded.run_module
    loaded.run_module = lambda name, run, options, spec, names=None, shows_progress=False: taken.update(
        name=name, options=options, spec=spec, names=names or {}, shows_progress=shows_progress
    )
    try:
        loaded.main()
    finally:
        loaded.run_module = original
    assert taken["name"] == phase
    return taken


def specs():
    found = {}
    for phase in PHASES:
        taken = spec_of(phase)
        progress = module.progress_options() if taken["shows_progress"] else {}
        found[phase] = {**module.common_options(), **taken["spec"], **progress}
    found["wait"] = {**module.common_options(), **module.sampling_options(), **module.waiting_options()}
    return found


def role(name):
    return yaml.safe_load((ROOT / "roles/migrate" / name).read_text(encoding="utf-8"))


@pytest.mark.parametrize("phase", PHASES)
def test_every_option_of_a_module_is_one_of_its_phase_with_the_same_default(phase):
    taken = spec_of(phase)
    fields = {field.name: field for field in dataclasses.fields(taken["options"])}
    names = {option: name for name, option in taken["names"].items()}
    for option, spec in taken["spec"].items():
        field = fields[names.get(option, option)]
        default = field.default
        if default is dataclasses.MISSING:
            default = field.default_factory()
        default = list(default) if isinstance(default, tuple) else default
        given = spec.get("default")
        if spec["type"] == "bytes" and given is not None:
            given = check_type_bytes(given)
        assert given == default, option


@pytest.mark.parametrize("phase", [*PHASES, "wait"])
def test_the_role_s_entry_points_offer_every_option_of_the_modules(phase):
    options = role("meta/argument_specs.yml")["argument_specs"][phase]["options"]
    defaults = role("defaults/main.yml")
    reported = {"validate": {"migrate_report_dir", "migrate_artifacts"}, "verify": {"migrate_report_dir"}}
    wanted = {"migrate_hooks", "migrate_unknown_variables", *reported.get(phase, ())}
    for option, spec in specs()[phase].items():
        variable = VARIABLES.get((phase, option), f"migrate_{option}")
        wanted.add(variable)
        described = options[variable]
        assert described["type"] == spec["type"], variable
        if variable in COMPUTED:
            assert "default" not in described
            assert "{{" in defaults[variable]
            continue
        assert described.get("default") == spec.get("default"), variable
        assert described.get("choices") == spec.get("choices"), variable
        assert described.get("elements") == spec.get("elements"), variable
        assert defaults.get(variable) == spec.get("default"), variable
    assert set(options) == wanted


def test_the_main_entry_point_offers_the_options_of_all_its_phases():
    entry_points = role("meta/argument_specs.yml")["argument_specs"]
    wanted = {}
    for phase in ("validate", "init", "sync", "wait", "status", "verify"):
        wanted.update(entry_points[phase]["options"])
    assert entry_points["main"]["options"] == wanted


@pytest.mark.parametrize("phase", [*PHASES, "wait"])
def test_the_role_passes_every_option_on(phase):
    task, *_shown = role(f"tasks/phases/{phase}.yml")
    if "block" in task:  # with what is shown afterwards, however the phase ends
        (task,) = task["block"]
    (passed,) = (value for key, value in task.items() if key == f"seren.migrator.pg_migration_{phase}")
    own = {option for option in specs()[phase] if option not in module.common_options()}
    assert set(passed) == own
    for option, value in passed.items():
        variable = VARIABLES.get((phase, option), f"migrate_{option}")
        assert re.fullmatch(r"\{\{ (\w+)( \| default\(omit\))? \}\}", value).group(1) == variable
    (run,) = role("tasks/phase.yml")
    assert set(run["module_defaults"]["group/seren.migrator.migrator"]) == set(module.common_options())


def test_the_page_of_errors_explains_exactly_the_codes_that_exist():
    page = (ROOT / "docs/errors.md").read_text(encoding="utf-8")
    assert re.findall(r"^## `(\w+)`$", page, re.MULTILINE) == sorted(CODES)


def test_the_page_about_the_old_command_line_names_only_what_exists():
    page = (ROOT / "docs/from-the-command-line.md").read_text(encoding="utf-8")
    variables = set(role("meta/argument_specs.yml")["argument_specs"]["main"]["options"])
    variables |= set(role("meta/argument_specs.yml")["argument_specs"]["cleanup"]["options"])
    assert set(re.findall(r"\bmigrate_\w+", page)) - variables == {"migrate_serial"} & set(
        re.findall(r"\bmigrate_\w+", page)
    )
    playbooks = {path.stem for path in (ROOT / "playbooks").glob("*.yml")}
    assert set(re.findall(r"seren\.migrator\.([a-z]\w+)", page)) <= playbooks | {
        f"pg_migration_{phase}" for phase in [*PHASES, "wait"]
    } | {"migrator"}


@pytest.mark.parametrize(
    "page",
    sorted(path for form in ("html", "xml") for path in (ROOT / "roles/migrate/templates").glob(f"*.{form}.j2")),
    ids=lambda path: path.name,
)
def test_every_expression_of_a_page_is_escaped(page):
    """Autoescape has no effect in Ansible's templates. What a macro of the page shows is escaped in the macro."""
    text = page.read_text(encoding="utf-8").replace("'{:,}'", "''")
    expressions = re.findall(r"\{\{(.*?)\}\}", text, re.DOTALL)
    assert expressions
    calls = tuple(f" {name}(" for name in re.findall(r"\{%- macro (\w+)\(", text))
    assert [each for each in expressions if not each.endswith(" | e ") and not each.startswith(calls)] == []
