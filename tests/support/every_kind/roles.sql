-- SPDX-License-Identifier: GPL-3.0-or-later
CREATE ROLE ek_owner;
CREATE ROLE ek_reader;
CREATE ROLE ek_other;
CREATE ROLE "Weird ""Röle""; --";
CREATE ROLE postgres_too SUPERUSER;
