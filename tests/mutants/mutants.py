"""The mutants, and for each the check that catches it. run_mutants.py proves it; docs/testing.md shows it.

A check is one of the test programs (its twin that holds the mutants), restricted to some tests, scenarios or seeds so
that it takes a few seconds. It stops at its first failure. `says` is a regular expression that the failure must match:
the wrong answer that this bug gives, not any failure at all.

Most checks run over some seeds, of which few may see a given mutant: a change of what a seed does may need more seeds.
"""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Check:
    program: str
    tests: str
    environment: dict
    what: str


@dataclasses.dataclass(frozen=True)
class Mutant:
    name: str
    wrong: str
    check: str
    says: str


def _crash_points(scenario):
    return Check(
        "simulation_disk_mutants",
        "CrashPointsTest.*",
        {"LAMINA_SIM_SCENARIO": scenario},
        f"a crash at every call of scenario `{scenario}`",
    )


def _system(test, runs, what):
    return Check("simulation_system_mutants", f"SystemTest.{test}", {"LAMINA_SIM_RUNS": str(runs)}, what)


# The model's own complaint: an answer that differs, not an error that the database gave.
WRONG_ANSWER = r"LAMINA_MODEL_SEED=\d+\): Invalid: (\w+: all versions|\w+ at system|get |own |snapshot |row outside)"

# Seeds run beside each other: the first to fail may be one that the engine's own check stops.
OWNERS_DISAGREE = r"two_owners seed .* violation: |check failed: commit == state_->version->flushed_commit"

CHECKS = {
    "crash points, puts": _crash_points("puts-always"),
    "crash points, flush": _crash_points("flush"),
    "crash points, unsynced log": _crash_points("log-rotation-unsynced"),
    "crash points, idempotency": _crash_points("idempotency"),
    "crash points, append table": _crash_points("append-table"),
    "call failures": Check(
        "simulation_disk_mutants",
        "CallFailuresTest.*",
        {"LAMINA_SIM_SCENARIO": "puts-always", "LAMINA_SIM_FAILURES": "1500"},
        "failing calls of the file system in scenario `puts-always`",
    ),
    "bit flips": Check(
        "simulation_disk_mutants",
        "BitFlipsTest.*",
        {"LAMINA_SIM_FILES": "/wal/"},
        "a flipped bit in each byte of the log",
    ),
    "systems on disk": _system("DiskThatFailsAndMachinesThatStop", 60, "whole systems on a disk that fails"),
    "systems under jumps of the clock": _system("ClockThatJumpsByYears", 40, "whole systems whose clock jumps"),
    "systems on a network": _system("NetworkThatLosesAnswers", 30, "whole systems on a network that fails"),
    "systems of two owners": _system("TwoOwnersOfOneDatabase", 16, "whole systems with two owners at once"),
    "metamorphic": Check(
        "simulation_system_mutants",
        "MetamorphicTest.*",
        {"LAMINA_SIM_RUNS": "5"},
        "the same operations under other options",
    ),
    "model": Check(
        "model_mutants",
        "ModelTest.*",
        {"LAMINA_MODEL_HISTORIES": "200"},
        "random histories against the reference model",
    ),
    "transactions": Check(
        "behaviour_mutants",
        "TransactionTest.*-*PowerLoss*",
        {},
        "behaviour tests of transactions",
    ),
    "lost answers": Check(
        "behaviour_mutants",
        "FaultyMaintenanceTest.*Sync*:FaultyMaintenanceTest.*Unclear*",
        {},
        "behaviour tests of a store that answers late or not at all",
    ),
    "history": Check("behaviour_mutants", "TrimTest.*:GarbageTest.*", {}, "behaviour tests of retention and garbage"),
    "loads": Check("behaviour_mutants", "LoadTest.*", {}, "behaviour tests of loads"),
    "values": Check("behaviour_mutants", "ValueTest.LongText*", {}, "behaviour tests of long values"),
    "evolution": Check("behaviour_mutants", "RandomEvolutionTest.*", {}, "random changes of a table's definition"),
}

MUTANTS = [
    # ---- The log
    Mutant("wal.sync_skipped", "the log is never synced", "crash points, puts", "durable commits are lost"),
    Mutant(
        "wal.rotation_unsynced",
        "a segment that is full is closed without a sync",
        "model",
        "log is damaged",
    ),
    Mutant(
        "wal.synced_of_the_segment_before",
        "the first frames of a segment claim that as much of it is synced as of the one before",
        "crash points, unsynced log",
        "log is damaged",
    ),
    Mutant("wal.torn_tail_kept", "the seal is put behind a torn tail", "crash points, puts", "check: log: "),
    Mutant(
        "wal.damage_taken_for_torn",
        "a bad byte in front of synced frames counts as a torn tail",
        "bit flips",
        "check finds nothing: .*durable commits are lost",
    ),
    Mutant(
        "wal.checksum_unchecked",
        "a frame's checksum is not compared",
        "crash points, puts",
        "open: .*commit payload cannot be decoded",
    ),
    # ---- Store and manifest
    Mutant(
        "store.object_unsynced",
        "an object gets its name before its bytes are synced",
        "crash points, flush",
        "open.*: object is cut short",
    ),
    Mutant(
        "store.directory_sync_skipped",
        "a directory is not synced after a rename",
        "crash points, flush",
        "durable commits are lost",
    ),
    Mutant(
        "store.failed_sync_tried_again",
        "a failed fdatasync is tried again, and the second OK believed",
        "call failures",
        "errno .* of call .*fsync.* after power off: ",
    ),
    Mutant(
        "store.failed_directory_sync_forgotten",
        "after a failed sync of a directory the store goes on",
        "call failures",
        "errno .* of call .*fsync.* after power off: ",
    ),
    Mutant(
        "manifest.failed_sync_read_back",
        "a publish whose sync failed counts as done because the ref reads back",
        "call failures",
        "errno .* of call .*fsync.* after power off: ",
    ),
    Mutant(
        "manifest.unclear_put_taken_for_failed",
        "a publish whose answer is lost counts as not done",
        "systems on a network",
        "a data file that the manifest names is missing|version edit does not fit",
    ),
    Mutant("manifest.unconditional_put",
        "the ref is put without a condition",
        "systems of two owners",
        OWNERS_DISAGREE,
    ),
    Mutant("manifest.fence_ignored",
        "an owner publishes after a newer one has claimed",
        "systems of two owners",
        OWNERS_DISAGREE,
    ),
    # ---- Commit
    Mutant(
        "commit.acknowledged_before_sync",
        "a commit waits for the sync of the one before it",
        "model",
        "another commit came first",
    ),
    Mutant(
        "commit.published_before_sync",
        "commits are seen before they are durable",
        "systems on disk",
        "which was not durable",
    ),
    Mutant(
        "commit.sync_covers_later_appends",
        "what was appended while a sync ran counts as synced",
        "lost answers",
        "the second Sync trusted the first",
    ),
    Mutant(
        "commit.phantoms_unchecked",
        "keys that appear in a range that was read do not conflict",
        "model",
        "second to commit: conflict expected=1",
    ),
    Mutant(
        "commit.read_keys_unchecked",
        "keys that were read are not checked (write skew)",
        "model",
        "second to commit: conflict expected=1",
    ),
    Mutant(
        "commit.conflict_missed_by_one",
        "the commit right after the snapshot does not conflict",
        "model",
        "second to commit: conflict expected=1",
    ),
    Mutant(
        "commit.time_may_stand",
        "a commit may have the time of the one before",
        "systems under jumps of the clock",
        "violation: time goes back|log misses commits or goes back",
    ),
    # ---- Flush
    Mutant(
        "flush.floor_of_the_writer",
        "the log's floor moves to the segment being written, past commits in memory only",
        "systems on disk",
        "log misses commits|was promised|belongs to nobody",
    ),
    Mutant(
        "flush.files_deleted_after_unclear_publish",
        "a flush deletes its files when it does not know whether they were published",
        "lost answers",
        "AFlushWhosePublishIsUnclear",
    ),
    Mutant(
        "flush.conflict_floor_not_raised",
        "facts are dropped from the conflict window, and old snapshots still checked against the rest",
        "transactions",
        "ASnapshotTooOldToBeCheckedIsRefused",
    ),
    Mutant("flush.tombstone_lost", "a delete of a row in a file is dropped", "model", WRONG_ANSWER),
    Mutant(
        "flush.older_ends_lost",
        "a new deletion vector replaces the old one instead of adding to it",
        "metamorphic",
        "plainly",
    ),
    Mutant(
        "flush.last_key_of_a_file_missed",
        "the row with a file's greatest key is not found, so not ended",
        "model",
        WRONG_ANSWER,
    ),
    Mutant("flush.history_not_erased", "an erase leaves the versions in history files", "model", WRONG_ANSWER),
    Mutant(
        "flush.row_id_reused",
        "the next row id after a flush is the last one given",
        "crash points, append table",
        "rows differ: table log",
    ),
    Mutant(
        "flush.idempotency_keys_forgotten",
        "idempotency keys are not written to files",
        "crash points, idempotency",
        "idempotency key forgotten",
    ),
    # ---- Compaction, garbage, retention
    Mutant(
        "compaction.ended_rows_dropped",
        "rows that ended are dropped, not moved to history",
        "metamorphic",
        "plainly",
    ),
    Mutant(
        "compaction.floor_by_birth",
        "rows born before the history floor are dropped, also if they are still open",
        "model",
        WRONG_ANSWER,
    ),
    Mutant(
        "compaction.late_ends_lost",
        "what a flush ended beside a running compaction comes back",
        "model",
        WRONG_ANSWER,
    ),
    Mutant(
        "gc.snapshots_ignored",
        "files that a snapshot reads are deleted",
        "model",
        "data file that the manifest names is missing",
    ),
    Mutant("gc.grace_ignored", "retired files are deleted within the grace", "history", "WithinTheGraceNothingGoes"),
    Mutant(
        "gc.vectors_in_use_forgotten",
        "deletion vectors in use count as garbage",
        "model",
        r"object does not exist: path=data/.*\.dv",
    ),
    Mutant(
        "gc.running_compaction_forgotten",
        "what a running compaction has written counts as garbage",
        "systems on disk",
        "a data file that the manifest names is missing|object does not exist",
    ),
    Mutant(
        "gc.stopped_engine_collects",
        "a collection that waited for a publish in doubt goes on and deletes what it wrote",
        "lost answers",
        "ACollectionThatWaitedForAnUnclearPublishDeletesNothing",
    ),
    Mutant(
        "trim.file_dropped_by_its_first_end",
        "a history file goes when its first row ended before the floor, not its last",
        "model",
        WRONG_ANSWER,
    ),
    # ---- Recovery
    Mutant(
        "recovery.stale_manifest",
        "what an older owner published just before the claim is not read",
        "systems of two owners",
        "check failed: commit == state_->version->flushed_commit|two_owners seed .* violation: ",
    ),
    Mutant(
        "recovery.floor_past_replayed",
        "the log's floor moves past commits that were only replayed into memory",
        "model",
        # Found by the database itself, or by the model when nothing came after what is lost.
        "log misses commits|after reopen: expected commit",
    ),
    Mutant(
        "recovery.newest_time_forgotten",
        "after a reopen times may go back",
        "systems on disk",
        # The model that the judge asks may say it before the judge does.
        "disk seed .* violation: |check failed: system > newest_time_",
    ),
    Mutant(
        "recovery.row_id_reused",
        "the next row id after a replay is the last one given",
        "crash points, append table",
        "rows differ: table log",
    ),
    # ---- Reads
    Mutant(
        "snapshot.later_facts_seen",
        "a scan of a held snapshot is cut by facts of later commits",
        "systems on disk",
        "held snapshot changed",
    ),
    Mutant(
        "point_read.row_missed_at_its_birth",
        "a Get at the very moment of a file's first commit does not look into it",
        "model",
        "expected v.*, got nothing",
    ),
    Mutant(
        "point_read.row_seen_at_its_end",
        "a Get sees a row at the moment at which it ended",
        "model",
        WRONG_ANSWER,
    ),
    Mutant("scan.valid_to_included", "a scan sees a row at the end of its validity", "model", WRONG_ANSWER),
    Mutant(
        "merge.equal_key_goes_whole",
        "a block that ends in the next source's key is not merged",
        "model",
        "out of order",
    ),
    Mutant("period.to_included", "FROM a TO b includes b", "model", WRONG_ANSWER),
    Mutant(
        "read.floor_ignored",
        "below the history floor what is left is shown",
        "history",
        "BelowTheFloorReadsAreRefused",
    ),
    Mutant(
        "transaction.rolled_back_writes_read",
        "after a rollback to a savepoint its writes are still read",
        "model",
        WRONG_ANSWER,
    ),
    # ---- Files
    Mutant("bloom.first_key_left_out", "a Bloom filter lacks the file's first key", "model", WRONG_ANSWER),
    Mutant(
        "key_index.page_before_missed",
        "a key is not looked for in the page that begins before it",
        "model",
        f"{WRONG_ANSWER}|lacks a commit",
    ),
    Mutant(
        "deletion_vector.rest_forgotten",
        "merging deletion vectors loses the rows behind the last new one",
        "metamorphic",
        "plainly",
    ),
    Mutant(
        "sst.page_pruned_at_the_edge",
        "a page born at the window's last moment is skipped",
        "model",
        WRONG_ANSWER,
    ),
    Mutant(
        "statistics.long_maximum_rounded_down",
        "the bound of a long text is cut and not raised, so its file is skipped",
        "values",
        "LongTextIsNotCutByStatistics",
    ),
    # ---- Times and definitions
    Mutant(
        "resolve.right_rest_lost",
        "a fact in the middle of a row loses the row's right part",
        "model",
        WRONG_ANSWER,
    ),
    Mutant("resolve.touching_row_cut", "a fact cuts the row that ends where it begins", "model", WRONG_ANSWER),
    Mutant(
        "sst.column_found_by_name",
        "a renamed column reads the old column of that name",
        "model",
        "columns do not belong together",
    ),
    Mutant(
        "catalog.column_id_reused",
        "a new column gets the id of the one dropped before it",
        "evolution",
        "EveryMomentReads",
    ),
    # ---- Loads
    Mutant(
        "load.key_twice_in_two_files",
        "a key that two files of a load have is taken twice",
        "loads",
        "expected already_exists, got OK",
    ),
    Mutant(
        "load.key_of_the_table_taken",
        "a load's keys are not looked for in the table",
        "loads",
        "expected already_exists, got OK",
    ),
    Mutant(
        "load.own_conflict_missed",
        "a load does not look at what was written since its snapshot",
        "loads",
        "expected conflict, got OK",
    ),
    Mutant(
        "load.conflict_of_others_missed",
        "others do not see that a load came since their snapshot",
        "loads",
        "expected conflict, got OK",
    ),
    Mutant(
        "load.files_deleted_after_unclear_publish",
        "a load whose publish had no clear outcome deletes its files",
        "loads",
        "AnUnclearPublishKeepsTheFiles",
    ),
    Mutant(
        "gc.running_load_forgotten",
        "a collection takes the files of a load that has not committed for orphans",
        "loads",
        "ACollectionKeepsTheFilesOfALoadThatHasNotCommitted",
    ),
]
