# SPDX-License-Identifier: GPL-3.0-or-later
"""Text search, foreign data, and the rest."""

from __future__ import annotations

from tests.support.every_kind.mutations.mutation import (
    catalog,
    changed,
    extra,
    missing,
)

MUTATIONS = (
    # Text search.
    missing("DROP TEXT SEARCH CONFIGURATION o.search", "text search configuration", "o.search"),
    extra("CREATE TEXT SEARCH CONFIGURATION o.more (COPY = o.search)", "text search configuration", "o.more"),
    changed(
        "ALTER TEXT SEARCH CONFIGURATION o.search ALTER MAPPING FOR asciiword WITH simple, o.words",
        "text search configuration",
        "o.search",
        "mappings",
    ),
    changed(
        "ALTER TEXT SEARCH CONFIGURATION o.search DROP MAPPING FOR email",
        "text search configuration",
        "o.search",
        "mappings",
    ),
    changed(
        catalog(
            "pg_ts_config", "cfgparser = (SELECT oid FROM pg_ts_parser WHERE prsname = 'parser')", "cfgname = 'search'"
        ),
        "text search configuration",
        "o.search",
        "parser",
    ),
    missing(
        "ALTER TEXT SEARCH CONFIGURATION o.search ALTER MAPPING FOR asciiword WITH simple; DROP TEXT SEARCH DICTIONARY o.words",
        "text search dictionary",
        "o.words",
        ("text search configuration", "o.search", "changed", frozenset({"mappings"})),
    ),
    extra("CREATE TEXT SEARCH DICTIONARY o.more (TEMPLATE = simple)", "text search dictionary", "o.more"),
    changed("ALTER TEXT SEARCH DICTIONARY o.words (accept = false)", "text search dictionary", "o.words", "options"),
    changed(
        catalog(
            "pg_ts_dict",
            "dicttemplate = (SELECT oid FROM pg_ts_template WHERE tmplname = 'template')",
            "dictname = 'words'",
        ),
        "text search dictionary",
        "o.words",
        "template",
    ),
    missing("DROP TEXT SEARCH PARSER o.parser", "text search parser", "o.parser"),
    extra(
        "CREATE TEXT SEARCH PARSER o.more (START = prsd_start, GETTOKEN = prsd_nexttoken, END = prsd_end, LEXTYPES = prsd_lextype)",
        "text search parser",
        "o.more",
    ),
    *(
        changed(
            catalog("pg_ts_parser", f"{column} = 'dsimple_init'::regproc", "prsname = 'parser'"),
            "text search parser",
            "o.parser",
            attribute,
        )
        for column, attribute in (
            ("prsstart", "start function"),
            ("prstoken", "token function"),
            ("prsend", "end function"),
            ("prsheadline", "headline function"),
            ("prslextype", "token types function"),
        )
    ),
    missing("DROP TEXT SEARCH TEMPLATE o.template", "text search template", "o.template"),
    extra("CREATE TEXT SEARCH TEMPLATE o.more (LEXIZE = dsimple_lexize)", "text search template", "o.more"),
    changed(
        catalog("pg_ts_template", "tmplinit = 'prsd_start'::regproc", "tmplname = 'template'"),
        "text search template",
        "o.template",
        "init function",
    ),
    changed(
        catalog("pg_ts_template", "tmpllexize = 'prsd_start'::regproc", "tmplname = 'template'"),
        "text search template",
        "o.template",
        "lexize function",
    ),
    # Foreign data.
    missing("DROP FOREIGN DATA WRAPPER ek_other_wrapper", "foreign-data wrapper", "ek_other_wrapper"),
    extra("CREATE FOREIGN DATA WRAPPER ek_more", "foreign-data wrapper", "ek_more"),
    changed(
        "ALTER FOREIGN DATA WRAPPER ek_wrapper OPTIONS (SET debug 'false')",
        "foreign-data wrapper",
        "ek_wrapper",
        "option values",
    ),
    changed(
        catalog("pg_foreign_data_wrapper", "fdwhandler = 'o.touch'::regproc", "fdwname = 'ek_wrapper'"),
        "foreign-data wrapper",
        "ek_wrapper",
        "handler",
    ),
    changed(
        "ALTER FOREIGN DATA WRAPPER ek_other_wrapper VALIDATOR postgresql_fdw_validator",
        "foreign-data wrapper",
        "ek_other_wrapper",
        "validator",
    ),
    missing("DROP SERVER ek_other_server", "server", "ek_other_server"),
    extra("CREATE SERVER ek_more FOREIGN DATA WRAPPER ek_wrapper", "server", "ek_more"),
    changed(
        "ALTER FOREIGN DATA WRAPPER ek_wrapper OPTIONS (ADD more 'yes')",
        "foreign-data wrapper",
        "ek_wrapper",
        "options",
        "option values",
    ),
    changed(
        "ALTER SERVER ek_server OPTIONS (ADD password 'secret')", "server", "ek_server", "options", "option values"
    ),
    changed("ALTER SERVER ek_server OPTIONS (SET host 'elsewhere')", "server", "ek_server", "option values"),
    changed("ALTER SERVER ek_server VERSION '2'", "server", "ek_server", "version"),
    changed(catalog("pg_foreign_server", "srvtype = 'other'", "srvname = 'ek_server'"), "server", "ek_server", "type"),
    changed(
        catalog(
            "pg_foreign_server",
            "srvfdw = (SELECT oid FROM pg_foreign_data_wrapper WHERE fdwname = 'ek_other_wrapper')",
            "srvname = 'ek_server'",
        ),
        "server",
        "ek_server",
        "wrapper",
    ),
    missing("DROP USER MAPPING FOR ek_reader SERVER ek_server", "user mapping", "for ek_reader on server ek_server"),
    extra("CREATE USER MAPPING FOR PUBLIC SERVER ek_server", "user mapping", "for PUBLIC on server ek_server"),
    changed(
        "ALTER USER MAPPING FOR ek_reader SERVER ek_server OPTIONS (SET password 'other')",
        "user mapping",
        "for ek_reader on server ek_server",
        "option values",
    ),
    changed(
        "ALTER USER MAPPING FOR ek_reader SERVER ek_server OPTIONS (DROP password)",
        "user mapping",
        "for ek_reader on server ek_server",
        "options",
        "option values",
    ),
    # The rest.
    missing(
        "ALTER DEFAULT PRIVILEGES FOR ROLE ek_owner IN SCHEMA o REVOKE SELECT ON TABLES FROM ek_reader",
        "default privileges",
        "for role ek_owner in schema o on tables",
    ),
    extra(
        "ALTER DEFAULT PRIVILEGES FOR ROLE ek_owner GRANT USAGE ON SEQUENCES TO ek_reader",
        "default privileges",
        "for role ek_owner on sequences",
    ),
    extra(
        "ALTER DEFAULT PRIVILEGES FOR ROLE ek_other GRANT USAGE ON TYPES TO ek_reader",
        "default privileges",
        "for role ek_other on types",
    ),
    changed(
        "ALTER DEFAULT PRIVILEGES FOR ROLE ek_owner IN SCHEMA o GRANT INSERT ON TABLES TO ek_reader",
        "default privileges",
        "for role ek_owner in schema o on tables",
        "privileges",
    ),
    missing("SELECT lo_unlink(900001), lo_unlink(900002)", "large objects", "of the database"),
    changed("SELECT lo_unlink(900002)", "large objects", "of the database", "count", "OIDs", "owners and privileges"),
    changed("SELECT lo_create(900003)", "large objects", "of the database", "count", "OIDs", "owners and privileges"),
    missing(
        "REVOKE EXECUTE ON FUNCTION pg_catalog.pg_read_file(text) FROM ek_reader",
        "changed privileges",
        "function pg_read_file(text)",
    ),
    extra(
        "REVOKE EXECUTE ON FUNCTION public.citext_eq(public.citext, public.citext) FROM PUBLIC",
        "changed privileges",
        "function public.citext_eq(public.citext,public.citext)",
    ),
    changed(
        "GRANT EXECUTE ON FUNCTION pg_catalog.pg_read_file(text) TO ek_other",
        "changed privileges",
        "function pg_read_file(text)",
        "granted",
    ),
    extra("GRANT INSERT ON pg_catalog.pg_proc TO ek_other", "changed privileges", "table pg_proc"),
    changed("REVOKE SELECT ON pg_catalog.pg_settings FROM PUBLIC", "changed privileges", "view pg_settings", "revoked"),
)
