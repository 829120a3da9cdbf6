-- SPDX-License-Identifier: GPL-3.0-or-later
-- What an application does while the torture database migrates; `torture.change` runs it, each time with another :round.
-- Not into tables with forced row security: the apply stops there, as validate warns (target_row_security).

SET CONSTRAINTS ALL DEFERRED;
INSERT INTO store.parent SELECT :round * 100 + i, -:round * 100 - i, 'later ' || :round * 100 + i FROM generate_series(1, 5) AS i;
UPDATE store.columns SET amount = amount + 1, mood = 'so-so; it''s', name = 'it''s \ ' || :round WHERE id > 1010;
DELETE FROM store.identity_full WHERE n = :round;
INSERT INTO store.event (occurred_on, region) VALUES ('2025-05-01', 'north'), ('2026-05-01', 'somewhere');
UPDATE store.event_2025_q3 SET payload = '{"round": :round}';
INSERT INTO "Weird ""Schema""; --"."Täble ""with"" dots. and 'quotes'; --" ("Ïd", "col ""umn""", "col.umn") VALUES (100 + :round, 'x', 'y');
UPDATE store.generated SET net = net + 1;
INSERT INTO store.amphibian (id, name) VALUES (44 + :round, 'later');
UPDATE store.indexed SET n = n + 1 WHERE id < 10;
INSERT INTO store.secured VALUES (77 + :round, 'somebody', 'later');
DELETE FROM store.by_mood WHERE id = 2 + :round;
INSERT INTO store.ruled VALUES (100 + :round, 200);
UPDATE store.whole_row SET high = high + 1;
