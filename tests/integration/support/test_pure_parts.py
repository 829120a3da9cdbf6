# SPDX-License-Identifier: GPL-3.0-or-later
"""The parts of the test support that decide without a server."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from tests.support import compare, fault_proxy, host_libraries, schema_dump, verified
from tests.support.live import journal as journals
from tests.support.live.journal import Change, Journal

LDD = """
bin/postgres:
    libssl.so.3 => not found
    libcrypto.so.3 => not found
    libxml2.so.2 => /lib/x86_64-linux-gnu/libxml2.so.2 (0x00007f)
bin/psql:
    libreadline.so.8 => not found
bin/psql: /lib/libc.so.6: version `GLIBC_2.34' not found (required by bin/psql)
bin/psql: /lib/libc.so.6: version `GLIBC_2.9' not found (required by bin/psql)
"""


def test_missing_libraries_become_one_install_line() -> None:
    missing = host_libraries.missing_libraries(LDD)
    assert missing == ["libcrypto.so.3", "libreadline.so.8", "libssl.so.3"]
    packages = [package for package in map(host_libraries.package_of, missing) if package is not None]
    assert host_libraries.install_line(packages, has_apt=True) == "apt-get install -y libreadline8 libssl3"
    assert host_libraries.install_line(packages, has_apt=False) == "dnf install -y openssl-libs readline"
    assert host_libraries.missing_glibc(LDD) == "GLIBC_2.34"


def test_sorted_streams_are_merged_by_their_unescaped_bytes() -> None:
    # In the server's order a tab (\x09) comes before a blank, in COPY's text its escape comes after it.
    left = [b"(a\\tb)\n", b"(a b)\n", b"(c)\n", b"(c)\n"]
    right = [b"(a b)\n", b"(c)\n", b"(d\\\\n)\n"]
    assert list(compare.merge(iter(left), iter(right))) == [
        ("left", left[0]),
        ("both", left[1]),
        ("both", left[2]),
        ("left", left[3]),
        ("right", right[2]),
    ]
    assert compare.unescape(rb"\\n\n\\\t") == b"\\n\n\\\t"


def test_a_journal_cut_in_the_middle_of_a_line_is_repaired_and_its_open_transaction_is_unsettled(
    tmp_path: Path,
) -> None:
    path = tmp_path / "journal"
    journal = Journal(path)
    journal.intend(1, "insert", [Change("+", "t", (1, None)), Change("+", "t", (1, None))])
    journal.settle(1, "committed")
    journal.intend(2, "delete", [Change("-", "t", (1, None))])
    journal.settle(2, "aborted")
    journal.intend(3, "delete", [Change("-", "t", (1, None))])
    journal.close()
    with path.open("a", encoding="utf-8") as file:
        file.write('{"token":3,"outc')
    journals.repair(path)
    transactions = journals.read(path)
    assert [transaction.outcome for transaction in transactions] == ["committed", "aborted", None]
    assert journals.contents(transactions).rows["t"] == {(1, None): 2}


def test_dumps_are_compared_without_what_major_versions_spell_differently() -> None:
    entry = "--\n-- Name: v; Type: VIEW; Schema: s; Owner: o\n--\n\nCREATE VIEW s.v AS\n SELECT {}id\n   FROM s.t;\n"
    old, new = entry.format('"T ""x""".'), entry.format("")
    assert schema_dump.normalised(old, (15, 17)) == schema_dump.normalised(new, (15, 17))
    assert schema_dump.normalised(old, (16, 17)) != schema_dump.normalised(new, (16, 17))


def test_startup_parameters_are_read_and_a_cancel_request_has_none() -> None:
    body = b"user\0me\0replication\0database\0options\0-c a=b\0\0"
    packet = struct.pack("!ii", len(body) + 8, 196608) + body
    assert fault_proxy.startup_parameters(packet) == {"user": "me", "replication": "database", "options": "-c a=b"}
    assert fault_proxy.startup_parameters(struct.pack("!iiii", 16, 80877102, 1, 2)) == {}


def test_what_is_not_verified_is_told_by_name() -> None:
    table = {"schema": "s", "name": "t", "status": "different", "reason": "1 row"}
    data = {
        "verified": False,
        "tables": [table, {**table, "name": "fine", "status": "verified"}],
        "differences": [{"key": {"id": number}} for number in range(verified.SHOWN + 2)],
        "sequences": [{"name": "q", "status": "unverified"}],
        "objects": {"status": "different", "different": [{"kind": "view", "name": "v"}]},
    }
    with pytest.raises(AssertionError) as caught:
        verified.assert_verified(data)
    said = str(caught.value)
    for part in ("'t'", "{'id': 0}", "row: 2 more", "'q'", "'v'"):
        assert part in said
    assert "fine" not in said
    verified.assert_verified({"verified": True})
