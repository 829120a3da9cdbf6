-- SPDX-License-Identifier: GPL-3.0-or-later
-- Row security that binds the owner too (option): a subscription's worker that acts as the owner stops at it (16+).

ALTER TABLE shop.tenant_note FORCE ROW LEVEL SECURITY;
