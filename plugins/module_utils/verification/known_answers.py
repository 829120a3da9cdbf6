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
        "int2",
        "SELECT 'int2 '||hashint2extended((-7)::int2,11)::text AS v",
        "int2 5932829908577765744",
    ),
    Question(
        "int4",
        "SELECT 'int4 '||hashint4extended(-7,11)::text||' '||hashint4extended(2147483647,0)::text AS v",
        "int4 5932829908577765744 -9109110466470504941",
    ),
    Question(
        "int8",
        "SELECT 'int8 '||hashint8extended(-7,11)::text||' '||hashint8extended(9223372036854775807,5)::text AS v",
        "int8 5932829908577765744 8945869837764875202",
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
        "ts",
        "SELECT 'ts '||timestamp_hash_extended('2024-02-29 23:59:59.999999'::timestamp,15)::text||"
        "' '||timestamp_hash_extended('infinity'::timestamp,15)::text AS v",
        "ts 2049765028930167768 2330620243889593081",
    ),
    Question(
        "tstz",
        "SELECT 'tstz '||timestamp_hash_extended('2024-02-29 23:59:59.999999+05:30'::timestamptz at time zone 'UTC',15)::text AS v",
        "tstz -4333236064045097158",
    ),
    Question(
        "char",
        """SELECT 'char '||hashcharextended('x'::"char",3)::text AS v""",
        "char 3227616765960295177",
    ),
    Question(
        "num",
        "SELECT 'num '||hash_numeric_extended(1.50,3)::text||' '||hash_numeric_extended('NaN',3)::text AS v",
        "num -7723975666727976740 3",
    ),
    Question(
        "f8",
        "SELECT 'f8 '||hashfloat8extended(0.1,3)::text||' '||hashfloat8extended('NaN',3)::text AS v",
        "f8 6633329729889604604 8232049380549144131",
    ),
    Question(
        "f4",
        "SELECT 'f4 '||hashfloat4extended(0.1::float4,3)::text||' '||hashfloat4extended('NaN',3)::text AS v",
        "f4 5542511452637177543 8232049380549144131",
    ),
    Question(
        "interval",
        "SELECT 'interval eq '||(interval_hash_extended('1 day',1)=interval_hash_extended('24 hours',1))::text AS v",
        "interval eq true",
    ),
    Question(
        "jsonb",
        """SELECT 'jsonb '||jsonb_hash_extended('{"a":[1,2.50,null,true,"x"],"b":{"c":1e2}}',1)::text AS v""",
        "jsonb 5509545621289480624",
    ),
    Question(
        "jsonbtxt",
        r"""SELECT 'jsonbtxt '||'{"b":1.50,"a":[1,2.50,null,true,"\u00e9x"],"aa":{"c":1e2}}'::jsonb::text AS v""",
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
        "SELECT 'numtxt '||(1.500::numeric)::text||' '||'NaN'::numeric::text||"
        "' '||(10::numeric(30,10))::text||' '||(1e-20::numeric)::text AS v",
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
        r"SELECT 'bytea '||'\xdeadbeef00'::bytea::text||' '||md5('\xdeadbeef00'::bytea) AS v",
        r"bytea \xdeadbeef00 99e50c3a6e46dccaea18bffa30b6c652",
    ),
    Question(
        "money",
        "SELECT 'money '||'1234567.89'::money::text||' '||'-5'::money::text AS v",
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
        r"""SELECT 'json '||'{"a" : 1.0,  "b":"\u0041"}'::json::text AS v""",
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
        "fin",
        "SELECT 'fin '||hashint8extended(coalesce(hashint8extended(5,11),-101) # coalesce(hashtextextended(null "
        'COLLATE pg_catalog."C",13),-103),0)::text AS v',
        "fin 6180383095137956193",
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
        """SELECT 'jsonb_ascii '||'{"b":1.50,"a":[1,2.50,null,true,"x"],"aa":{"c":1e2}}'::jsonb::text AS v""",
        'jsonb_ascii {"a": [1, 2.50, null, true, "x"], "b": 1.50, "aa": {"c": 100}}',
    ),
)
