# SPDX-License-Identifier: GPL-3.0-or-later
"""Tables of every family of types, with values that are easily taken for one another, for the tests of verify.

Each type has a table of its own: the values in their order, neighbours being the easiest to confuse, and an array of each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tests.integration.verify_pair import ReplicatedPair

MADE = """
CREATE SCHEMA "Sch;ema";
CREATE TYPE "Sch;ema"."Mood's" AS ENUM ('sad', 'Sad', 'Glad ""', 'x,y', '');
CREATE TYPE "Sch;ema".pair AS (a integer, "B ""b" text, c char(3));
CREATE TYPE "Sch;ema".deep AS (p "Sch;ema".pair, ps "Sch;ema".pair[], n numeric, j json);
CREATE DOMAIN "Sch;ema".padded AS char(6);
CREATE DOMAIN "Sch;ema".padded_too AS "Sch;ema".padded;
CREATE DOMAIN "Sch;ema".amount AS numeric(20, 4);
CREATE DOMAIN "Sch;ema".names AS text[];
CREATE DOMAIN "Sch;ema".a_pair AS "Sch;ema".pair;
CREATE TYPE "Sch;ema".floats AS RANGE (subtype = double precision, subtype_diff = float8mi);
CREATE TYPE "Sch;ema".words AS RANGE (subtype = text, collation = "C");
"""
OWN = "pg_catalog."

# type: values. A value is what the type's input function reads, under the settings of `text_of`.
TYPES: dict[str, Sequence[str]] = {
    "smallint": ("-32768", "32767", "0", "-1"),
    "integer": ("-2147483648", "2147483647", "0", "-1"),
    "bigint": ("1", "4294967296", "-9223372036854775808", "9223372036854775807", "-1", "0"),
    "oid": ("0", "4294967295", "2147483648"),
    "numeric": (
        "1.0",
        "1.00",
        "1",
        "10",
        "NaN",
        "0",
        "0.0",
        "-0.1",
        "1e-100",
        "1e100",
        "12345678901234567890.123456789",
    ),
    "numeric(10,2)": ("1.00", "-1.00", "99999999.99"),
    "real": ("0", "-0", "NaN", "infinity", "-infinity", "1e-45", "3.4028235e38", "0.1", "0.10000001"),
    "double precision": (
        (
            "0",
            "-0",
            "NaN",
            "infinity",
            "-infinity",
            "5e-324",
            "1.7976931348623157e308",
            "0.1",
            "0.30000000000000004",
            "0.3",
        )
    ),
    "money": ("0", "-0.01", "0.01", "92233720368547758.07", "-92233720368547758.08"),
    "boolean": ("t", "f"),
    '"char"': ("", "a", "A", " "),
    "character(5)": ("", "a", " a", "A"),
    "character(5)[]": ('{"a"}', '{"A"}', '{"",NULL}'),
    "bpchar": ("a", " a", "A", ""),
    "character varying(9)": ("", " ", "  ", "a", "a ", "NULL", "null"),
    "text": (
        "",
        " ",
        "\\",
        "\\N",
        "NULL",
        "é",
        "e\u0301",
        "'",
        '"',
        "\n",
        "\r\n",
        "\t",
        "%s",
        "{}",
        "\U0001f600",
        "ﬁ",
        "fi",
    ),
    'text COLLATE "C"': ("a", "B", "b", ""),
    "name": ("a", "A", "", 'we"ird'),
    "uuid": (
        "00000000-0000-0000-0000-000000000000",
        "00000000-0000-0000-0000-000000000001",
        "80000000-0000-0000-0000-000000000000",
    ),
    "bytea": ("\\x", "\\x00", "\\x0000", "\\x30", "\\xff", "\\x5c78"),
    "date": (
        "0044-03-15 BC",
        "0044-03-15",
        "infinity",
        "-infinity",
        "5874897-12-31",
        "4713-01-01 BC",
        "0001-01-01",
        "0001-01-01 BC",
    ),
    "time": ("24:00", "00:00", "12:00", "12:00:00.000001"),
    "timetz": ("12:00+00", "13:00+01", "12:00+15:59:59", "12:00-15:59:59", "24:00+00", "00:00+00"),
    "timestamp": (
        "infinity",
        "-infinity",
        "4713-01-01 00:00 BC",
        "2000-01-01 00:00:00.000001",
        "2000-01-01 01:11:34.967296",
        "0044-03-15 00:00",
    ),
    "timestamptz": (
        "infinity",
        "-infinity",
        "4713-01-02 00:00+00 BC",
        "2000-01-01 00:00:00.000001+00",
        "2020-10-25 01:30+00",
        "2020-10-25 00:30+00",
    ),
    "timestamp(0)[]": ("{infinity,NULL}", "{-infinity,NULL}", "[5:5]={2000-01-01}"),
    "interval": (
        "1 day",
        "24:00:00",
        "1 mon",
        "30 days",
        "720:00:00",
        "-1 mon +30 days",
        "1 year -1 us",
        "0",
        "-00:00:00.000001",
    ),
    "interval day to second(0)": ("1 day", "24:00:00"),
    "inet": ("10.0.0.1", "10.0.0.1/8", "10.0.0.1/31", "::1", "::ffff:10.0.0.1", "fe80::/10"),
    "cidr": ("10.0.0.0/8", "10.0.0.0/9", "::/0", "0.0.0.0/0"),
    "macaddr": ("08:00:2b:01:02:03", "08:00:2b:01:02:04"),
    "macaddr8": ("08:00:2b:ff:fe:01:02:03", "08:00:2b:fe:ff:01:02:03"),
    "bit(4)": ("0000", "0001", "1000"),
    "bit varying": ("", "0", "00", "1", "10"),
    "point": ("(0,0)", "(-0,0)", "(0,-0)", "(NaN,infinity)", "(0.1,0.30000000000000004)", "(0.1,0.3)"),
    "line": ("{1,-1,0}", "{1,-1,-0}", "{0,1,5e-324}"),
    "lseg": ("[(0,0),(1,1)]", "[(1,1),(0,0)]"),
    "box": ("(1,1),(0,0)", "(1,1),(-0,0)"),
    "box[]": ("{(1,1),(0,0);(2,2),(0,0)}", "{(2,2),(0,0);(1,1),(0,0)}"),
    "path": ("((0,0),(1,1))", "[(0,0),(1,1)]"),
    "polygon": ("((0,0),(1,1),(2,0))", "((1,1),(2,0),(0,0))"),
    "circle": ("<(0,0),1>", "<(0,0),1.0000000000000002>"),
    "json": ('{"a":1,"b":2}', '{"b":2,"a":1}', '{"a":1, "b":2}', '{"a":1,"a":1}', "null", '"\\u0041"', '"A"'),
    "jsonb": (
        "1",
        "1.0",
        "1e2",
        "100.0",
        '"1"',
        "null",
        '"null"',
        "[]",
        "{}",
        "[null]",
        '{"a":1}',
        '{"a":1.0}',
        '{"A":1}',
        "-0.0",
    ),
    "jsonpath": ("$.a", "$.A", "lax $[0]", "strict $[0]"),
    "xml": ("<a/>", "<a></a>", "<a> </a>", "text", "", "<!-- c --><a/>", "<?pi x?>", '<a b="1"/>', "<a b='1'/>", "é"),
    "tsvector": ("'a':1", "'a':1A", "'a'", "'a b'", "'a' 'b'", ""),
    "tsquery": ("'a' & 'b'", "'a' | 'b'", "!'a'", "'a':*", "'a' <-> 'b'", "'a' <2> 'b'"),
    "int4range": ("empty", "[1,2)", "[1,3)", "(,)", "[1,)", "(,1)"),
    "int8range": ("[1,2)", "[4294967296,4294967297)", "empty"),
    "numrange": ("[1,2)", "[1.0,2)", "[1,2]", "(1,2)", "(,)"),
    "daterange": ("(,infinity)", "[0044-03-15 BC,infinity)", "(,)"),
    "tsrange": ("[-infinity,infinity)", "[-infinity,infinity]", "empty"),
    "tstzrange": ("[2000-01-01 00:00+00,)", "(2000-01-01 00:00+00,)"),
    "integer[]": (
        "{}",
        "{NULL}",
        "{0}",
        "{0,NULL}",
        "{NULL,0}",
        "[0:0]={0}",
        "{{0}}",
        "{{0,1},{2,3}}",
        "{{0,1,2,3}}",
        "[-1:0][2:3]={{0,1},{2,3}}",
    ),
    "text[]": (
        "{}",
        '{""}',
        "{NULL}",
        '{"NULL"}',
        '{"null"}',
        "{a,b}",
        '{"a,b"}',
        '{"a b"}',
        '{"a\\"b","c\\\\d","{}"}',
        "{a,NULL}",
    ),
    "double precision[]": ("{0}", "{-0}", "{NaN}", "{infinity}"),
    "bytea[]": ('{"\\\\x00"}', '{"\\\\x0000"}'),
    "oidvector": ("1 2", "12", ""),
    "int2vector": ("1 2", "12", ""),
    "xid": ("0", "1", "4294967295"),
    "cid": ("0", "1", "4294967295"),
    "tid": ("(0,0)", "(4294967295,65535)"),
    "txid_snapshot": ("10:20:10,14", "10:20:10,15"),
    "pg_lsn": ("0/0", "0/1", "1/0", "FFFFFFFF/FFFFFFFF"),
    "regclass": ("pg_class", "pg_type", "-", "12345"),
    "regproc": ("pg_catalog.now", "pg_catalog.txid_current", "-"),
    "regprocedure": ("pg_catalog.upper(text)", "pg_catalog.upper(anyrange)"),
    "regoperator": ("pg_catalog.+(integer,integer)", "pg_catalog.+(bigint,bigint)"),
    "regtype": ("integer", "bigint", "character varying", "timestamp with time zone[]"),
    "regconfig": ("english", "simple"),
    "regnamespace": ("pg_catalog", "pg_toast"),
    "regrole": ("pg_monitor", "pg_signal_backend"),
    "aclitem[]": ("{=r/pg_monitor}", "{=r*/pg_monitor}", "{pg_monitor=w/pg_monitor}"),
    "refcursor": ("a", "A", ""),
    '"Sch;ema"."Mood\'s"': ("sad", "Sad", 'Glad ""', "x,y", ""),
    '"Sch;ema".pair': (
        "(,,)",
        '(,"",)',
        "(1,,)",
        '(1,"",)',
        '(1," ",a)',
        '(1,"a,b",)',
        '(1,"a""b",)',
        "(1,a,b)",
        "(2,a,b)",
    ),
    '"Sch;ema".deep': (
        '("(1,a,b)","{}",1.0,{})',
        '("(1,a,b)","{}",1.00,{})',
        '("(1,a,b)",,1.0,{})',
        '(,"{}",1.0,{})',
        '(,,,"{ }")',
        "(,,,)",
    ),
    '"Sch;ema".padded': ("a", " a", "A", ""),
    '"Sch;ema".padded_too': ("a", " a", "A", ""),
    '"Sch;ema".amount': ("1", "-1", "1.0001"),
    '"Sch;ema".names': ("{}", "{a}", "{NULL}", '{"a,b"}'),
    '"Sch;ema".a_pair': ("(,,)", "(1,,)", '(1,"",)'),
    '"Sch;ema".floats': ("[0,1)", "[-0,1)", "[0,1]", "empty", "[NaN,NaN]"),
    '"Sch;ema".words': ('["",a)', "(,a)", '["a,b",c)', "empty"),
}
FROM_13 = {
    "xid8": ("0", "1", "4294967296", "18446744073709551615"),
    "pg_snapshot": ("10:20:10,14", "10:20:10,15"),
    "regcollation": ('"C"', '"POSIX"'),
}
FROM_14 = {
    "decimal": ("NaN", "Infinity", "-Infinity", "1"),
    "int4multirange": ("{}", "{[1,2)}", "{[1,2),[3,4)}", "{[1,4)}", "{(,)}"),
    "nummultirange": ("{[1,2)}", "{[1.0,2)}"),
    "datemultirange": ("{[2000-01-01,infinity)}", "{[2000-01-01,)}"),
    '"Sch;ema".multifloats': ("{[0,1)}", "{[-0,1)}", "{}"),
}
FROM_17 = {"interval second(3)": ("infinity", "-infinity", "0")}
# Extensions that bring types, where both servers have them.
EXTENSIONS: dict[str, dict[str, Sequence[str]]] = {
    "citext": {"public.citext": ("a", "A", "é", "É", ""), '"Sch;ema".citexts': ("[a,b)", "[A,b)", "[A,B)")},
    "hstore": {"public.hstore": ("a=>1", "a=>NULL", 'a=>"NULL"', 'a=>""', "a=>1,b=>2", "")},
    "ltree": {
        "public.ltree": ("a.b", "a.B", "a", ""),
        "public.lquery": ("a.*", "a.*{1}"),
        "public.ltxtquery": ("a & b", "a | b"),
    },
    "cube": {"public.cube": ("(1,2)", "(1,2),(1,3)", "(1)", "(0.1)", "(0.10000000000000002)")},
    "seg": {"public.seg": ("1.0", "1.00", "1 .. 2", "~1")},
    "isn": {"public.isbn13": ("978-0-393-04002-9", "978-0-11-000222-4")},
}
SETTINGS = (
    {
        "DateStyle": "'German, DMY'",
        "TimeZone": "'Asia/Kolkata'",
        "extra_float_digits": "'-15'",
        "IntervalStyle": "'sql_standard'",
        "bytea_output": "'escape'",
        "lc_monetary": "'POSIX'",
        "search_path": "nowhere",
        "xmloption": "document",
        "standard_conforming_strings": "off",
        "quote_all_identifiers": "on",
        "default_text_search_config": "'pg_catalog.german'",
        "array_nulls": "off",
        "row_security": "off",
    },
    {
        "DateStyle": "'SQL, MDY'",
        "TimeZone": "'America/St_Johns'",
        "extra_float_digits": "'0'",
        "IntervalStyle": "'iso_8601'",
        "bytea_output": "'hex'",
        "search_path": '"Sch;ema", public, pg_catalog',
        "client_encoding": "'LATIN1'",
        "default_transaction_isolation": "'serializable'",
        "default_transaction_deferrable": "on",
        "enable_seqscan": "off",
        "work_mem": "'64kB'",
        "lc_numeric": "'C'",
    },
)


def literal(value: str) -> str:
    """A constant that is the same whatever standard_conforming_strings is."""
    return "E'" + value.replace("\\", "\\\\").replace("'", "''") + "'"


def made(pair: ReplicatedPair) -> dict[str, Sequence[str]]:
    """Make every type that both servers have, and a table for each; return their values."""
    majors = min(database.cluster.major for database in (pair.source, pair.target))
    pair.both(MADE)
    types = dict(TYPES)
    if majors >= 14:
        multirange = ', multirange_type_name = "Sch;ema".multifloats'
        pair.both(
            f'DROP TYPE "Sch;ema".floats; CREATE TYPE "Sch;ema".floats AS RANGE (subtype = double precision{multirange})'
        )
    for major, more in ((13, FROM_13), (14, FROM_14), (17, FROM_17)):
        types.update(more if majors >= major else {})
    for extension in available(pair):
        pair.both(f"CREATE EXTENSION {extension} SCHEMA public")
        if extension == "citext":
            pair.both('CREATE TYPE "Sch;ema".citexts AS RANGE (subtype = public.citext)')
        types.update(EXTENSIONS[extension])
    tables = []
    for number, name in enumerate(types):
        collation = name.partition(" COLLATE ")
        element = collation[0] if collation[0].endswith("[]") else f"{collation[0]}[]"
        tables.append(f'CREATE TABLE public."T {number}" (id integer PRIMARY KEY, "v ""v" {name}, a {element});')
    pair.both("".join(tables))
    return types


def available(pair: ReplicatedPair) -> list[str]:
    """The extensions with types that both servers offer."""
    offered: Mapping[str, int] = {}
    names = [
        {str(name) for (name,) in side.execute("SELECT name FROM pg_catalog.pg_available_extensions")}
        for side in (pair.source, pair.target)
    ]
    assert not offered
    return [name for name in EXTENSIONS if name in names[0] & names[1]]


def filled(types: Mapping[str, Sequence[str]]) -> str:
    """Statements that fill the tables: a row for each value, then one of NULL; its array has another lower bound, and a NULL."""
    statements = [
        "SET DateStyle = 'ISO, YMD'; SET IntervalStyle = postgres; SET TimeZone = UTC; SET lc_monetary = 'C';"
    ]
    statements.append(
        "SET standard_conforming_strings = on; SET xmloption = content; SET array_nulls = on; SET search_path = '';"
    )
    for number, (name, values) in enumerate(types.items()):
        bare = name.partition(" COLLATE ")[0]
        for row, value in enumerate(values, start=1):
            array = (
                "NULL"
                if bare.endswith("[]") or "vector" in bare
                else f"pg_catalog.array_fill({literal(value)}::{bare}, '{{2}}', '{{-1}}') || NULL"
            )
            statements.append(f'INSERT INTO public."T {number}" VALUES ({row}, {literal(value)}::{bare}, {array});')
        statements.append(f'INSERT INTO public."T {number}" VALUES ({len(values) + 1}, NULL, NULL);')
    return "".join(statements)


def turned(types: Mapping[str, Sequence[str]]) -> list[str]:
    """Statements that give each row the value of the next one."""
    return [
        f'UPDATE public."T {number}" AS t SET "v ""v" = (SELECT o."v ""v" FROM public."T {number}" AS o WHERE o.id = t.id % {len(values) + 1} + 1)'
        for number, values in enumerate(types.values())
    ]
