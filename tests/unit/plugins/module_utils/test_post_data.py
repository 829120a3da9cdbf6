# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
from __future__ import annotations

from ansible_collections.seren.migrator.plugins.module_utils.post_data import (
    PG_CLASS,
    PG_CONSTRAINT,
    after_first_statement,
    sequence_of,
    split,
)

LISTING = """\
3320; 1259 16411 TABLE public t alice
3400; 2606 16420 CONSTRAINT public t t_pkey alice
3401; 1259 16421 INDEX public t_v alice
4900; 0 0 COMMENT public INDEX t_v alice
3402; 2606 16430 FK CONSTRAINT public t t_fk alice
"""


def head(number: int, classid: int, objid: int) -> bytes:
    return f"--\n-- TOC entry {number} (class {classid} OID {objid})\n-- Name: x; Type: x; Owner: x\n--\n\n".encode()


PROLOGUE = b"SET client_encoding = 'UTF8';\n\n"
PKEY = head(3400, 2606, 16420) + b"ALTER TABLE ONLY t\n    ADD CONSTRAINT t_pkey PRIMARY KEY (id);\n\n\n"
INDEX = head(3401, 1259, 16421) + b"CREATE INDEX t_v ON t (v);\n\n\n"
COMMENT = head(4900, 0, 0) + b"COMMENT ON INDEX t_v IS 'it';\n\n\n"
KEY = head(3402, 2606, 16430) + b"ALTER TABLE ONLY t\n    ADD CONSTRAINT t_fk FOREIGN KEY (v) REFERENCES u(v);\n\n\n"
END = b"-- Completed on a day\n\n--\n-- PostgreSQL database dump complete\n--\n\n"


def test_a_script_is_its_prologue_and_its_entries() -> None:
    script = split(PROLOGUE + PKEY + INDEX + COMMENT + KEY + END, LISTING)
    assert script.prologue == PROLOGUE
    assert [entry.text for entry in script.entries] == [PKEY, INDEX, COMMENT, KEY + END]
    assert script.by_object[PG_CLASS, 16421].statements == b"CREATE INDEX t_v ON t (v);\n\n\n"
    assert set(script.by_object) == {(PG_CLASS, 16421), (PG_CONSTRAINT, 16420), (PG_CONSTRAINT, 16430)}


def test_what_is_built_elsewhere_is_left_out_and_the_rest_keeps_its_order() -> None:
    script = split(PROLOGUE + PKEY + INDEX + COMMENT + KEY + END, LISTING)
    remaining = script.without({(PG_CONSTRAINT, 16420), (PG_CLASS, 16421)}, set())
    assert remaining == PROLOGUE + COMMENT + KEY + END


def test_a_foreign_key_can_be_added_without_a_look_at_the_rows() -> None:
    script = split(PROLOGUE + KEY + END, LISTING)
    remaining = script.without(set(), {16430})
    assert b"FOREIGN KEY (v) REFERENCES u(v) NOT VALID;\n" in remaining
    assert remaining.count(b"NOT VALID") == 1


def test_a_text_that_imitates_the_head_of_an_entry_makes_it_one_piece() -> None:
    for number, classid, objid in ((3402, 2606, 16430), (9999, 0, 0), (3320, 1259, 16411)):
        imitation = b"CREATE INDEX t_v ON t (v) WHERE v <> '\n" + head(number, classid, objid) + b"';\n\n\n"
        text = PROLOGUE + PKEY + head(3401, 1259, 16421) + imitation + KEY
        script = split(text, LISTING)
        assert script.entries == ()
        assert script.without({(PG_CLASS, 16421)}, {16430}) == text


def test_no_entries_at_all_are_only_a_prologue() -> None:
    assert split(PROLOGUE + END, LISTING).without(set(), set()) == PROLOGUE + END


def test_what_follows_the_first_statement_is_kept_whatever_names_hold() -> None:
    first = b'ALTER TABLE ONLY "a;\nb"\n    ADD CONSTRAINT "c;\n" PRIMARY KEY (id) WITH (x=\';\n\');\n\n'
    assert after_first_statement(first) == b""
    assert after_first_statement(first + b'ALTER TABLE "a;\nb" CLUSTER ON x;\n') == b'ALTER TABLE "a;\nb" CLUSTER ON x;'


def test_statements_are_joined_without_the_empty_ones() -> None:
    assert sequence_of([b"a;\n\n", b"", b" \n", b"b;"]) == b"a;\nb;"
