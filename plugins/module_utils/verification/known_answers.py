# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""The known-answer test: what hash functions and text forms answer on every server that we trust.

Data only; ``hashing.py`` asks the questions and draws the conclusions. Answers were taken on PostgreSQL 12-18, x86-64,
server encoding UTF8, under the session settings of ``snapshots.py``.
"""

from __future__ import annotations

from typing import NamedTuple


class Question(NamedTuple):
    """One question: its name, the query that asks it (one row, one column), and the answer to expect."""

    name: str
    query: str
    expected: str


QUESTIONS = (
    Question(
        "whole",
        "SELECT 'whole '||hashint4extended(1,(-7)::int8 # 11)::text||' '||hashint4extended(2,9223372036854775807 # 5)::text"
        "||' '||(hashint4extended(3,1::int8 # 77) = hashint4extended(3,4294967296 # 77))::text AS v",
        "whole -4537556667305146849 -7684068066218396358 false",
    ),
    Question(
        "tswire",
        "SELECT 'tswire '||encode(timestamp_send('2024-02-29 23:59:59.999999'),'hex')||"
        "' '||encode(timestamptz_send('2024-02-29 23:59:59.999999+05:30'),'hex')||"
        "' '||encode(timestamp_send('-infinity'),'hex') AS v",
        "tswire 0002b58cd363bfff 0002b5883737b9ff 8000000000000000",
    ),
    Question(
        "fin",
        "SELECT 'fin '||hashint4extended(0,(coalesce(hashint4extended(1,5::int8 # 11),-101) # coalesce(hashtextextended(null "
        'COLLATE pg_catalog."C",13),-103)) # 17)::text AS v',
        "fin -4157955625752403119",
    ),
    Question(
        "text",
        """SELECT 'text '||hashtextextended('' COLLATE pg_catalog."C",0)::text||"""
        r"""' '||hashtextextended(repeat(U&'\00e9\4e2d',50) COLLATE pg_catalog."C",13)::text AS v""",
        "text -6939563903564495251 -4142286625234175431",
    ),
    Question(
        "uuid",
        "SELECT 'uuid '||uuid_hash_extended('00112233-4455-6677-8899-aabbccddeeff'::uuid,20)::text AS v",
        "uuid 1544924363775063217",
    ),
    Question(
        "jsonbtxt",
        r"""SELECT 'jsonbtxt '||textin(jsonb_out('{"b":1.50,"a":[1,2.50,null,true,"\u00e9x"],"aa":{"c":1e2}}'::jsonb)) AS v""",
        'jsonbtxt {"a": [1, 2.50, null, true, "éx"], "b": 1.50, "aa": {"c": 100}}',
    ),
    Question(
        "float",
        "SELECT 'float '||(0.1::float8)::text||' '||(0.1::float4)::text||' '||(1e300::float8)::text||"
        "' '||(-0.0::float8)::text||' '||'NaN'::float8::text||' '||(1.0/3::float8)::text||"
        "' '||(123456789.123::float4)::text||' '||1e15::float8::text||' '||1e16::float8::text AS v",
        "float 0.1 0.1 1e+300 -0 NaN 0.3333333333333333 1.2345679e+08 1e+15 1e+16",
    ),
    Question(
        "numtxt",
        "SELECT 'numtxt '||textin(numeric_out(1.500::numeric))||' '||textin(numeric_out('NaN'::numeric))||"
        "' '||textin(numeric_out(10::numeric(30,10)))||' '||textin(numeric_out(1e-20::numeric)) AS v",
        "numtxt 1.500 NaN 10.0000000000 0.00000000000000000001",
    ),
    Question(
        "int",
        "SELECT 'int '||'1 year 2 mons -3 days 04:05:06.789'::interval::text||' '||'-1 day +1:00'::interval::text AS v",
        "int 1 year 2 mons -3 days +04:05:06.789 -1 days +01:00:00",
    ),
    Question(
        "date",
        "SELECT 'date '||'0044-03-15 BC'::date::text||' '||'infinity'::date::text||' '||'12345-01-01'::date::text AS v",
        "date 0044-03-15 BC infinity 12345-01-01",
    ),
    Question(
        "tt",
        "SELECT 'tt '||'0044-03-15 01:02:03.04 BC'::timestamptz::text||' '||'24:00'::time::text||"
        "' '||'12:00:00.5+05:30:15'::timetz::text AS v",
        "tt 0044-03-15 01:02:03.04+00 BC 24:00:00 12:00:00.5+05:30:15",
    ),
    Question(
        "bytea",
        r"SELECT 'bytea '||textin(byteaout('\xdeadbeef00'::bytea))||' '||md5('\xdeadbeef00'::bytea) AS v",
        r"bytea \xdeadbeef00 99e50c3a6e46dccaea18bffa30b6c652",
    ),
    Question(
        "money",
        "SELECT 'money '||textin(cash_out('1234567.89'::money))||' '||textin(cash_out('-5'::money)) AS v",
        "money $1,234,567.89 -$5.00",
    ),
    Question(
        "arr",
        """SELECT 'arr '||array[[1,null],[2,3]]::text||' '||'{"a b","NULL",null,"",q"}'::text||"""
        r"""' '||array['a b','NULL',null,'','q"\']::text||' '||'[0:1]={1,2}'::int[]::text AS v""",
        r'arr {{1,NULL},{2,3}} {"a b","NULL",null,"",q"} {"a b","NULL",NULL,"","q\"\\"} [0:1]={1,2}',
    ),
    Question(
        "rec",
        r"""SELECT 'rec '||row(null,'','a,b','a"b\','(x)',' ',1.50,true)::text AS v""",
        r'rec (,"","a,b","a""b\\","(x)"," ",1.50,t)',
    ),
    Question(
        "net",
        "SELECT 'net '||'10.1.2.3/24'::inet::text||' '||'10.0.0.0/8'::cidr::text||"
        "' '||'2001:db8::1'::inet::text||' '||'08:00:2b:01:02:03'::macaddr::text AS v",
        "net 10.1.2.3/24 10.0.0.0/8 2001:db8::1/128 08:00:2b:01:02:03",
    ),
    Question(
        "geo",
        "SELECT 'geo '||'(1.5,-0)'::point::text||' '||'((0,0),(1,1.1))'::box::text||"
        "' '||'<(1,2),3.3>'::circle::text||' '||'((0,0),(1,1),(2,0))'::polygon::text||"
        "' '||'{1,2,3}'::line::text||' '||'[(0,0),(1,1)]'::path::text AS v",
        "geo (1.5,-0) (1,1.1),(0,0) <(1,2),3.3> ((0,0),(1,1),(2,0)) {1,2,3} [(0,0),(1,1)]",
    ),
    Question(
        "ts_text",
        r"SELECT 'ts '||to_tsvector('simple','The quick brown fox''s  jumps:3 a\b')::text||"
        "' '||to_tsquery('simple','a & !b <-> c:*')::text||' '||'''a b'':1A,2 c'::tsvector::text AS v",
        "ts '3':7 'a':8 'b':9 'brown':3 'fox':4 'jumps':6 'quick':2 's':5 'the':1 'a' & !'b' <-> 'c':* 'a b':1A,2 'c'",
    ),
    Question(
        "range",
        "SELECT 'range '||'[1,5]'::int4range::text||' '||'(,2020-01-01)'::daterange::text||"
        "' '||'empty'::int8range::text||' '||'[2020-01-01 00:00,2020-01-02)'::tstzrange::text||"
        "' '||'[1.50,2)'::numrange::text AS v",
        'range [1,6) (,2020-01-01) empty ["2020-01-01 00:00:00+00","2020-01-02 00:00:00+00") [1.50,2)',
    ),
    Question(
        "bits",
        "SELECT 'bits '||B'1010'::text||' '||'1010'::varbit::text AS v",
        "bits 1010 1010",
    ),
    Question(
        "json",
        r"""SELECT 'json '||textin(json_out('{"a" : 1.0,  "b":"\u0041"}'::json)) AS v""",
        r'json {"a" : 1.0,  "b":"\u0041"}',
    ),
    Question(
        "lsn",
        "SELECT 'lsn '||'16/B374D848'::pg_lsn::text AS v",
        "lsn 16/B374D848",
    ),
    Question(
        "regs",
        "SELECT 'regs '||'pg_class'::regclass::text||' '||'int4'::regtype::text||"
        "' '||'upper(text)'::regprocedure::text||' '||'pg_catalog.english'::regconfig::text AS v",
        "regs pg_class integer upper(text) english",
    ),
    Question(
        "charint",
        """SELECT 'charint '||hashint4extended((('-56'::int4)::"char")::int4,3)::text||' bool '||hashint4extended(true::int4,12)::text AS v""",
        "charint 8891394344986711875 bool 5490127790131237542",
    ),
    Question(
        "charlo",
        """SELECT 'charlo '||'x'::"char"::text AS v""",
        "charlo x",
    ),
    Question(
        "jsonpath",
        "SELECT 'jsonpath '||'$.a[*] ? (@.b > 1.50 && exists(@.c)).type()'::jsonpath::text AS v",
        'jsonpath $."a"[*]?(@."b" > 1.50 && exists (@."c")).type()',
    ),
    Question(
        "bpchar",
        "SELECT 'bpchar '||('ab'::char(5))::text||'| '||concat('ab'::char(5))||'| '||row('ab'::char(5))::text AS v",
        'bpchar ab| ab   | ("ab   ")',
    ),
    Question(
        "xid",
        "SELECT 'xid '||'10:20:10,14'::txid_snapshot::text||' '||'5'::xid::text||' '||'(3,4)'::tid::text AS v",
        "xid 10:20:10,14 5 (3,4)",
    ),
    Question(
        "sumtype",
        "SELECT 'sumtype '||pg_typeof(sum(x))::text||"
        "' '||sum(x)::text FROM (VALUES (9223372036854775807::bigint),(9223372036854775807)) t(x)",
        "sumtype numeric 18446744073709551614",
    ),
    Question(
        "acl",
        "SELECT 'acl '||'{=r/pg_monitor}'::aclitem[]::text AS v",
        "acl {=r/pg_monitor}",
    ),
    # Ours: the same two questions as "text" and "jsonbtxt", for servers whose encoding lacks their characters.
    Question(
        "text_ascii",
        """SELECT 'text_ascii '||hashtextextended('' COLLATE pg_catalog."C",0)::text||' '||"""
        """hashtextextended(repeat('az',50) COLLATE pg_catalog."C",13)::text AS v""",
        "text_ascii -6939563903564495251 5674681153131217086",
    ),
    Question(
        "jsonb_ascii",
        """SELECT 'jsonb_ascii '||textin(jsonb_out('{"b":1.50,"a":[1,2.50,null,true,"x"],"aa":{"c":1e2}}'::jsonb)) AS v""",
        'jsonb_ascii {"a": [1, 2.50, null, true, "x"], "b": 1.50, "aa": {"c": 100}}',
    ),
)
