-- SPDX-License-Identifier: GPL-3.0-or-later
-- Values that are easily bent on the way: infinities, NaN, minus zero, years BC, NULL next to '', COPY's own escapes.

INSERT INTO shop.special_value (id, "numeric", "double", "real", "date", stamp, stamp_zone, span, flag, fixed, note)
VALUES
    (1, 'NaN', 'NaN', 'NaN', 'infinity', 'infinity', 'infinity', '-178000000 years', true, 'ab', ''),
    (2, -0.00, '-0', '-0', '-infinity', '-infinity', '-infinity', '1 mon -1 days +00:00:00.000001', false, '', NULL),
    (3, 1.0, 'Infinity', 'Infinity', '0044-03-15 BC', '0044-03-15 12:00 BC', '0044-03-15 12:00+00 BC', '0', NULL, NULL, '\N'),
    (4, 1.00, '-Infinity', '-Infinity', '5874897-12-31', '294276-12-31 23:59:59.999999', '294276-12-31 23:59:59+00', '1.5 days', true, 'x', '\.'),
    (5, 1e-40, 5e-324, 1.4e-45, '4713-01-01 BC', '4713-01-01 00:00 BC', '2025-03-30 01:59:59.999999+00', '36 hours', true, 'é', E'\\'),
    (6, 12345678901234567890.123456789012345678901234567890, 1.7976931348623157e308, 3.4028235e38, '2024-02-29',
     '2024-02-29 23:59:59.999999', '2025-10-26 00:30:00+00', '1 year 2 mons 3 days 04:05:06.789', false, '     ', E'\x01\t\r\n'),
    (7, 1e1000, 0.1, 0.1, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
    (8, 0, 0.30000000000000004, 16777216, NULL, NULL, NULL, NULL, NULL, NULL, '🐘 ẞ e' || chr(769) || chr(8203));

INSERT INTO shop.special_value (
    id, one, "time zone", bits, address, network, mac, location, shape, period, numbers, lsn, query, texts, binary_data
) VALUES
    (20, 'x', '23:59:60+14:59', B'', '::1/64', '10.0.0.0/8', '08:00:2b:01:02:03', '(NaN,Infinity)', '((0,0),(1,1e300),(1,0))',
     '(,infinity]', '{"[1,5)",empty,NULL}', 'FFFFFFFF/FFFFFFFF', '''a'' & !''b c'':*', '{NULL,"NULL","","{}","a,b","\\"}', '\x00ff5c'),
    (21, '', '00:00:00-15:59', B'101', '1.2.3.4', '::/0', NULL, '(-0,0)', NULL, 'empty', '{}', '0/0', '', '{{a,b},{c,NULL}}', ''),
    (22, E'\\', NULL, NULL, '255.255.255.255/0', NULL, NULL, NULL, NULL, '["2025-01-01 00:00+00",)', '[3:4]={"[1,2)",NULL}', NULL, NULL,
     '[-1:0]={x,y}', decode(repeat('00', 300), 'hex'));
