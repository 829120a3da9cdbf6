-- SPDX-License-Identifier: GPL-3.0-or-later
-- Roles with every attribute, option and kind of setting. They belong to the server: made once for a test's database.

CREATE ROLE t_owner NOLOGIN;
CREATE ROLE t_second NOLOGIN NOINHERIT CONNECTION LIMIT 0;
CREATE ROLE t_third LOGIN CREATEDB CREATEROLE PASSWORD 'of "the" third; \ %s $1' CONNECTION LIMIT 17;
CREATE ROLE t_reader NOLOGIN;
CREATE ROLE t_writer NOLOGIN;
CREATE ROLE t_app LOGIN PASSWORD 'of the app' VALID UNTIL '2031-12-31 23:59:59.123456+00';
CREATE ROLE t_guest LOGIN VALID UNTIL 'infinity';
CREATE ROLE t_expired LOGIN PASSWORD 'late' VALID UNTIL '2001-01-01 00:00:00+00' CONNECTION LIMIT 1;
CREATE ROLE t_security NOLOGIN;
CREATE ROLE t_chief NOLOGIN;
CREATE ROLE "t Weird ""Röle""; -- %s {} $1 \' ." LOGIN PASSWORD 'it''s; "weird"';
CREATE ROLE "select" NOLOGIN;
CREATE ROLE "T_Owner" NOLOGIN;
CREATE ROLE "t_45678901234567890123456789012345678901234567890123456789012ß" NOLOGIN;
-- Nothing refers to this one: it stays behind unless all roles are asked for.
CREATE ROLE t_unreferenced LOGIN PASSWORD 'nobody' CREATEDB;

--: superuser
CREATE ROLE t_replicator LOGIN REPLICATION PASSWORD 'of the replicator';
CREATE ROLE t_bypasses LOGIN BYPASSRLS NOINHERIT;
CREATE ROLE t_root NOLOGIN SUPERUSER;

--: managed
-- Whoever is not a superuser must belong to a role to give objects to it.
GRANT t_owner, t_second, t_third, t_reader, t_writer, t_app, t_guest, t_security, t_chief TO CURRENT_USER;
GRANT "t Weird ""Röle""; -- %s {} $1 \' .", "select", "T_Owner" TO CURRENT_USER;
GRANT "t_45678901234567890123456789012345678901234567890123456789012ß" TO CURRENT_USER;

--:
GRANT t_reader TO t_writer;
GRANT t_writer TO t_app;
GRANT t_owner TO t_chief WITH ADMIN OPTION;
GRANT t_reader TO t_guest, "t Weird ""Röle""; -- %s {} $1 \' .";
GRANT "select", "T_Owner" TO "t Weird ""Röle""; -- %s {} $1 \' .";
GRANT t_chief TO t_third;

--: superuser
GRANT pg_monitor, pg_signal_backend TO t_app;
GRANT pg_read_all_stats TO t_chief WITH ADMIN OPTION;
-- Granted by somebody else than the superuser.
SET ROLE t_chief;
GRANT t_owner TO t_security GRANTED BY t_chief;
RESET ROLE;

--: superuser since=14
GRANT pg_read_all_data TO t_security;

--: since=16
GRANT t_second TO t_app WITH INHERIT FALSE, SET TRUE;
GRANT t_second TO t_guest WITH INHERIT TRUE, SET FALSE;
GRANT t_third TO t_security WITH ADMIN TRUE, INHERIT FALSE, SET FALSE;

--: superuser since=16
-- The same membership by two grantors.
GRANT t_reader TO t_chief WITH ADMIN OPTION;
GRANT t_reader TO t_app GRANTED BY t_chief;
GRANT t_reader TO t_app WITH INHERIT FALSE GRANTED BY CURRENT_USER;

--:
ALTER ROLE t_app SET search_path = store, "Weird ""Schema""; --", "$user", public;
ALTER ROLE t_app SET statement_timeout = '30s';
ALTER ROLE t_app SET DateStyle = 'ISO, DMY';
ALTER ROLE t_guest SET search_path = '';
ALTER ROLE t_guest SET work_mem = '7MB';
ALTER ROLE t_guest SET default_transaction_read_only = on;
ALTER ROLE "t Weird ""Röle""; -- %s {} $1 \' ." SET TimeZone = 'Europe/Berlin';
ALTER ROLE "t Weird ""Röle""; -- %s {} $1 \' ." SET temp_tablespaces = '';
DO $setting$
BEGIN
    EXECUTE format('ALTER ROLE t_app IN DATABASE %I SET work_mem = ''8MB''', current_database());
    EXECUTE format('ALTER ROLE t_app IN DATABASE %I SET search_path = code, types, "a,b", "c""d"', current_database());
    EXECUTE format('ALTER ROLE t_guest IN DATABASE %I SET lock_timeout = ''1234ms''', current_database());
END
$setting$;

--: superuser
ALTER ROLE t_app SET log_min_duration_statement = '250ms';
ALTER ROLE t_app SET "app.who" = 'it''s "somebody", else; \ %s {} $1';
ALTER ROLE t_app SET session_replication_role = 'origin';
COMMENT ON ROLE t_root IS 'superuser';

--:
COMMENT ON ROLE t_owner IS 'It''s the "owner"; \ --';
COMMENT ON ROLE "t Weird ""Röle""; -- %s {} $1 \' ." IS 'Ünïcode 数据
in two lines';
