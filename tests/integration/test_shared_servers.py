# SPDX-License-Identifier: GPL-3.0-or-later
"""The role counts the hosts of the play that share a server; nothing of an endpoint is shown."""

from __future__ import annotations

from pathlib import Path

from tests.support.playbooks import play

INVENTORY = """
migrations:
  vars:
    migrate_target: {url: "postgresql://app:s3cret%40x@T.example.com/db"}
  hosts:
    one: {migrate_source: {host: a.example.com, dbname: d1, password: s3cret}}
    two: {migrate_source: {url: "postgresql://me:s3cret@A.example.com:5432/d2?sslmode=require"}}
    three: {migrate_source: {login_host: a.example.com, login_port: 5432}}
    four: {migrate_source: {url: "host=a.example.com dbname=d user=me password=s3cret"}}
    five: {migrate_source: {host: a.example.com, port: 5433}}
    six: {migrate_source: {url: "postgresql:///d?host=%2Fvar%2Frun&port=5433"}, migrate_target: {host: t.example.com, port: 6000}}
    seven: {migrate_source: {url: "postgresql://[::1]:5433/d"}, migrate_migrations_on_source: 9}
"""
HOOK = """
- ansible.builtin.debug:
    msg: "{{ inventory_hostname }}: {{ migrate_migrations_on_source }} {{ migrate_migrations_on_target }} {{ migrate_migrations_at_once }}"
- ansible.builtin.meta: end_play
"""


def counted(tmp_path: Path, *arguments: str, hosts: str = INVENTORY) -> tuple[set[str], str]:
    inventory, hook = tmp_path / "inventory.yml", tmp_path / "hook.yml"
    inventory.write_text(hosts)
    hook.write_text(HOOK)
    done = play("validate", {"migrate_hooks": {"before_validate": str(hook)}}, "-i", str(inventory), *arguments)
    lines = {line["result"]["msg"] for line in done.lines if str(line.get("result", {}).get("msg", "")).count(" ") == 3}
    assert lines, done.output
    return lines, done.output


def test_hosts_with_the_same_server_are_counted(tmp_path: Path) -> None:
    lines, output = counted(tmp_path)
    assert lines == {
        "one: 4 6 5",
        "two: 4 6 5",
        "three: 4 6 5",
        "four: 4 6 5",
        "five: 1 6 5",
        "six: 1 1 5",
        "seven: 9 6 5",
    }
    assert "s3cret" not in output


def test_only_the_hosts_of_the_batch_count_and_no_more_work_at_once_than_there_are_forks(tmp_path: Path) -> None:
    assert counted(tmp_path, "--limit", "one,two,five", "--forks", "2")[0] == {
        "one: 2 3 2",
        "two: 2 3 2",
        "five: 1 3 2",
    }


def test_each_host_s_secrets_are_looked_up_by_itself_alone(tmp_path: Path) -> None:
    """Otherwise a vault is asked as often as the square of the hosts, and one missing secret stops them all."""
    asked = tmp_path / "asked"
    secret = "{{ lookup('ansible.builtin.pipe', 'echo >> ASKED; echo s3cret') }}".replace("ASKED", str(asked))
    hosts = "migrations:\n  vars:\n    migrate_target: {host: t.example.com, password: s3cret}\n  hosts:\n"
    for number in range(6):
        hosts += f'    host{number}: {{migrate_source: {{url: "postgresql://me:{secret}@a.example.com/d{number}"}}}}\n'
    missing = "{{ lookup('ansible.builtin.file', '/nonexistent') }}"
    hosts += f'    without: {{migrate_source: {{url: "postgresql://me:{missing}@a.example.com/d"}}}}\n'
    lines, output = counted(tmp_path, "--forks", "7", hosts=hosts)
    assert lines == {f"host{number}: 6 6 6" for number in range(6)}
    assert len(asked.read_text().splitlines()) < 6 * 6
    assert "s3cret" not in output
