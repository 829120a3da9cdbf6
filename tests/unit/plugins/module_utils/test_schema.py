# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
from __future__ import annotations

import random

import pytest

pytest.importorskip("psycopg")

from ansible_collections.seren.migrator.plugins.module_utils.left_behind import LeftObject
from ansible_collections.seren.migrator.plugins.module_utils.schema import (
    chosen_list,
    filtered_list,
    quoted_pattern,
    skips,
    without_mapping_secrets,
)
from ansible_collections.seren.migrator.tests.unit.plugins.module_utils.catalogs import foreign_key

# As `pg_restore --list --verbose` of release 15 shows it.
LISTING = """;
; Archive created at 2026-01-01 00:00:00 UTC
;     dbname: postgres
; Selected TOC Entries:
;
2608; 0 0 ENCODING - ENCODING\x20
2; 3079 16384 EXTENSION - pgcrypto\x20
2613; 0 0 COMMENT - EXTENSION pgcrypto\x20
;\tdepends on: 2
216; 1259 16428 TABLE public t alice
2616; 0 0 COMMENT public TABLE t alice
;\tdepends on: 216
263; 1255 16433 FUNCTION public f(public.t) alice
;\tdepends on: 216
2619; 0 0 ACL public FUNCTION f(public.t) alice
;\tdepends on: 263
2620; 0 0 USER MAPPING - USER MAPPING alice SERVER s alice
219; 1259 16442 TABLE public pr alice
220; 1259 16445 FOREIGN TABLE public prf alice
;\tdepends on: 2099 219
2457; 0 0 TABLE ATTACH public prf alice
;\tdepends on: 220 219
2460; 2606 16432 CONSTRAINT public t t_pkey alice
;\tdepends on: 216
2604; 0 16428 ROW SECURITY public t alice
;\tdepends on: 216
6000; 6104 16500 PUBLICATION - p alice
6001; 6100 16501 SUBSCRIPTION - s alice
2600; 826 16451 DEFAULT ACL public DEFAULT PRIVILEGES FOR TABLES alice
"""
NEVER = {"2613", "2620", "6000", "6001"}


def ids(*skipped: tuple[int, int]) -> list[str]:
    return [line.split(";")[0] for line in filtered_list(LISTING, frozenset(skipped)).splitlines()]


def test_everything_is_restored_but_mappings_publications_and_subscriptions() -> None:
    every = [line.split(";")[0] for line in LISTING.splitlines() if not line.startswith(";")]
    assert ids() == [entry for entry in every if entry not in NEVER]


def test_comments_and_privileges_go_with_their_object() -> None:
    assert set(ids()) - set(ids((1255, 16433))) == {"263", "2619"}
    assert set(ids()) - set(ids((3079, 16384))) == {"2"}


def test_what_has_an_oid_of_its_own_is_skipped_by_that_only() -> None:
    # pg_dump leaves out what belongs to a table; a function that uses it is named by its own OID.
    assert set(ids()) - set(ids((1259, 16428))) == {"216", "2616", "2604"}


def test_a_partition_that_is_skipped_is_not_attached() -> None:
    assert set(ids()) - set(ids((1259, 16445))) == {"220", "2457"}


def test_an_oid_of_another_catalog_is_another_object() -> None:
    assert ids((1255, 16428)) == ids()


def test_an_empty_archive_gives_an_empty_list() -> None:
    assert filtered_list("; nothing\n;\n", frozenset()).strip() == ""


def left(classid: int, objid: int) -> LeftObject:
    return LeftObject(classid, objid, "pg_proc", "function f()", None, None, None, None, None)


def test_left_objects_and_waiting_foreign_keys_are_skipped() -> None:
    assert skips([left(1255, 7)], [foreign_key(70, "k", 1, 2)]) == {(1255, 7), (2606, 70)}
    assert skips([], []) == frozenset()


@pytest.mark.parametrize(
    ("parts", "pattern"),
    [
        (("shop",), '"shop"'),
        (("shop", "orders"), '"shop"."orders"'),
        (("odd.s", 'Weird "x"*?'), '"odd.s"."Weird ""x""*?"'),
    ],
)
def test_a_pattern_for_pg_dump_is_literal(parts: tuple[str, ...], pattern: str) -> None:
    assert quoted_pattern(*parts) == pattern


# --- secrets of user mappings --------------------------------------------------------------------------------------


def mapping(user: str, server: str, password: str) -> bytes:
    quoted = password.replace("'", "''")
    literal = "E'" + quoted.replace("\\", "\\\\") + "'" if "\\" in quoted else f"'{quoted}'"
    options = f"(\n    password {literal},\n    \"user\" 'someone'\n);\n"
    return f"CREATE USER MAPPING FOR {user} SERVER {server} OPTIONS {options}".encode()


@pytest.mark.parametrize("user", ["alice", '"O\'Brien"', '"Weird ""Näme""; --"', '"x OPTIONS (y"'])
def test_no_value_of_a_user_mapping_is_left(user: str) -> None:
    rng = random.Random(user)
    for _round in range(300):
        noise = "".join(rng.choices("'\\\";)(\nab ,", k=rng.randint(0, 8)))
        statement = mapping(user, '"my server"', f"secret{noise}secret")
        archive = b"\x00before'\x00" + statement + b"\x00after 'kept'\x00" + statement
        blanked = without_mapping_secrets(archive)
        assert len(blanked) == len(archive)
        assert b"secret" not in blanked, noise
        assert b"someone" not in blanked
        assert blanked.startswith(b"\x00before'\x00CREATE USER MAPPING FOR " + user.encode() + b' SERVER "my server"')
        assert b"\x00after 'kept'\x00" in blanked


def test_an_archive_without_mappings_is_the_same() -> None:
    archive = b"CREATE TABLE t (v text DEFAULT 'x');\n"
    assert without_mapping_secrets(archive) == archive


def test_what_was_chosen_comes_with_its_comments_and_attachments_and_nothing_else_does() -> None:
    chosen = chosen_list(LISTING, frozenset({(1259, 16428), (1259, 16445)}))
    # The comment and row security of the table, and the attachment of the partition to what the target has.
    assert [line.split(";")[0] for line in chosen.splitlines() if not line.startswith(";")] == [
        *("216", "2616", "220", "2457", "2604"),
    ]
    assert filtered_list(chosen, frozenset({(1259, 16428)})).startswith("220;")
    assert chosen_list(LISTING, frozenset()).strip() == ""
