# SPDX-License-Identifier: GPL-3.0-or-later
"""`make demo`: one live migration between two throw-away servers, and the proof that nothing was lost."""
