# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""Phase verify: prove that both sides hold the same rows while both are written to, or name what differs.

Fails closed: the whole is verified only when every selected table and sequence is. Nothing is written on either side but
our own marker, where the mode needs one.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from datetime import datetime, timezone

from .. import database
from ..errors import MigrationError
from ..ledger import Record, Stream, find
from ..migration import Migration
from ..progress import Progress, silent
from ..result import Result
from ..session import translated
from ..verification.difference_file import DifferenceFile
from ..verification.disclosure import new_disclosure
from ..verification.evidence import Witness
from ..verification.meter import Meter, ticking
from ..verification.readers import Connections
from ..verification.resuming import Resuming
from ..verification.run_state import RunState
from ..verification.snapshots import Holders
from .verify_findings import Findings, nothing_there, result, unfinished
from .verify_options import VerifyOptions, check
from .verify_run import Run


def run(migration: Migration, options: VerifyOptions, progress: Progress = silent) -> Result:
    """Compare source and target, along the streams that the ledger knows.

    ``data`` of the result: ``verified``, ``rows_verified``, ``mode`` (the one of the whole run, with ``mode_reason`` when
    it is not the one asked for), ``epochs[]``, ``certificate``, ``objects``, ``consistency`` (aligned or unaligned, with ``consistency_reason``), ``partial``,
    ``rounds``, ``lsn`` (the position in the source's WAL that the last pair of snapshots stands for), ``tables[]``,
    ``differences[]``, ``in_doubt[]``, ``differences_truncated``, ``sequences[]``, ``left_out[]``, ``settings``, ``started_at``.
    """
    try:
        with migration.open("target", "verify ledger", read_only=True) as target, translated(migration.redactor):
            record = find(target, migration.name)
    except MigrationError as error:
        if options.check_mode and database.is_absent(migration, options.maintenance_db, error):
            return nothing_there(f"database {migration.target.dbname} does not exist on the target yet")
        raise
    if options.check_mode and (record is None or record.state == "cleaned"):
        return nothing_there(f"the migration {migration.name} does not exist yet")
    if record is not None and record.state == "copying":
        return unfinished(migration, options, record)
    return verify_streams(migration, options, progress, record.live_streams if record else (), record)


def verify_streams(
    migration: Migration,
    options: VerifyOptions,
    progress: Progress,
    streams: Sequence[Stream],
    record: Record | None = None,
) -> Result:
    """Compare source and target along some streams; without any, both snapshots are taken as they come.

    ``record`` tells which tables the migration left without data on purpose.
    """
    check(options)
    findings = Findings(datetime.now(timezone.utc).isoformat(timespec="seconds"))
    with ExitStack() as stack:
        file = stack.enter_context(DifferenceFile(options.differences_path)) if options.differences_path else None
        if options.state_path and not options.check_mode:
            state = stack.enter_context(RunState(options.state_path))
            findings.resuming = Resuming(state, options.resume)
        connections = stack.enter_context(Connections(migration))
        stack.enter_context(translated(migration.redactor))
        holders = Holders(
            connections.open("source", "snapshot"),
            connections.open("source", "control"),
            connections.open("target", "snapshot"),
        )
        findings.disclosure = new_disclosure(show_values=options.show_values, hash_keys=options.hash_keys)
        run_ = Run(migration, options, progress, connections, holders, findings, Meter(findings.comparisons), file)
        run_.pace = run_.new_pace(streams)
        witness = Witness(holders.control, holders.target, streams, migration.redactor)
        run_.prepare(streams, record)
        witness.begin()
        with ticking(options.progress_interval, run_.say_how_far):
            run_.compare(streams)
            run_.mend(streams)
            run_.compare_large_objects(record)
        findings.resuming.finish(findings.comparisons, len(findings.refusals))
        findings.besides.replication = witness.end()
        if findings.mode == "fenced" or (record is not None and record.state == "cut_over"):
            findings.besides.writes_have_stopped("writes have stopped")
        findings.facts["slots"] = run_.slots_now(streams)
        if file is not None:
            looks = {comparison.look for comparison in findings.comparisons}
            file.finish(lambda look: look in looks)
    return result(migration, options, findings)
