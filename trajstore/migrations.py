"""The schema as a list of small steps; a step is never edited once released, only followed by another.

This file alone knows which columns there are.
"""

from sqlite_utils import Database
from sqlite_utils.migrations import Migrations

from trajstore.checksums import CHECKED, fill_checksums

APPLICATION_ID = 0x74726A73  # "trjs": marks a SQLite file as ours
SCHEMA_VERSION = 4

migrations = Migrations("trajstore")


@migrations()
def m001_trajectories_steps_vectors_decisions(db: Database) -> None:
    """Everything that version 1 stores."""
    for statement in _VERSION_1:
        db.execute(statement)


@migrations()
def m002_what_guidance_did_and_how_it_ended(db: Database) -> None:
    """What version 2 adds: modes and policies of decisions, rewards of episodes, reports, calls, prunings."""
    for statement in _VERSION_2:
        db.execute(statement)


@migrations()
def m003_training_jobs(db: Database) -> None:
    """What version 3 adds: training jobs, and the metrics that they reported."""
    for statement in _VERSION_3:
        db.execute(statement)


@migrations()
def m004_checksums_of_rows(db: Database) -> None:
    """What version 4 adds: a checksum to every row that is judged by it; what is there is taken as it is."""
    for statement in _VERSION_4:
        db.execute(statement)
    fill_checksums(db.conn)


_VERSION_1 = (
    """
    CREATE TABLE trajectories (
        seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, content_hash TEXT NOT NULL,
        namespace TEXT NOT NULL, task_text TEXT NOT NULL, task_id TEXT NOT NULL, task_group TEXT NOT NULL,
        family TEXT NOT NULL, success INTEGER, reward REAL, kpis TEXT NOT NULL, agent TEXT NOT NULL,
        source TEXT NOT NULL, judge TEXT NOT NULL, trust REAL NOT NULL, stop_reason TEXT NOT NULL,
        created_at REAL NOT NULL, metadata TEXT NOT NULL, UNIQUE (namespace, content_hash)
    )
    """,
    "CREATE INDEX trajectories_source ON trajectories (source)",
    """
    CREATE TABLE steps (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        trajectory_seq INTEGER NOT NULL REFERENCES trajectories (seq) ON DELETE CASCADE,
        step_index INTEGER NOT NULL, tool TEXT NOT NULL, state TEXT NOT NULL, args TEXT NOT NULL,
        observation TEXT NOT NULL, outcome TEXT NOT NULL, error TEXT, reward REAL, kind TEXT NOT NULL,
        latency_seconds REAL, cost_usd REAL, tokens INTEGER, candidates TEXT NOT NULL, propensity REAL,
        decision_id TEXT, UNIQUE (trajectory_seq, step_index)
    )
    """,
    "CREATE INDEX steps_tool ON steps (tool)",
    """
    CREATE TABLE embedders (
        id INTEGER PRIMARY KEY, name TEXT NOT NULL, dimension INTEGER NOT NULL, fingerprint TEXT NOT NULL UNIQUE
    )
    """,
    """
    CREATE TABLE vectors (
        embedder_id INTEGER NOT NULL REFERENCES embedders (id) ON DELETE CASCADE,
        text_hash BLOB NOT NULL, vector BLOB NOT NULL, PRIMARY KEY (text_hash, embedder_id)
    )
    """,
    """
    CREATE TABLE decisions (
        id TEXT PRIMARY KEY, episode TEXT NOT NULL, step_index INTEGER NOT NULL, namespace TEXT NOT NULL,
        created_at REAL NOT NULL, source TEXT NOT NULL, tool TEXT, args TEXT, propensity REAL NOT NULL,
        ranked TEXT NOT NULL, pruned TEXT NOT NULL, evidence TEXT NOT NULL, reason TEXT NOT NULL
    )
    """,
    "CREATE INDEX decisions_episode ON decisions (episode)",
    """
    CREATE TABLE episodes (
        id TEXT PRIMARY KEY, namespace TEXT NOT NULL, trajectory_id TEXT NOT NULL, success INTEGER, reward REAL,
        kpis TEXT NOT NULL, stop_reason TEXT NOT NULL, finished_at REAL NOT NULL
    )
    """,
    """
    CREATE TABLE artifacts (
        name TEXT PRIMARY KEY, key TEXT NOT NULL, content BLOB NOT NULL
    )
    """,
    "CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT NOT NULL)",
    "INSERT INTO settings VALUES ('database_id', lower(hex(randomblob(16)))), ('removals', '0')",
)

_VERSION_2 = (
    "ALTER TABLE decisions ADD COLUMN mode TEXT NOT NULL DEFAULT 'suggest'",
    "ALTER TABLE decisions ADD COLUMN arm TEXT NOT NULL DEFAULT 'guided'",
    "ALTER TABLE decisions ADD COLUMN policy TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE decisions ADD COLUMN cluster INTEGER NOT NULL DEFAULT -1",
    "ALTER TABLE decisions ADD COLUMN probabilities TEXT NOT NULL DEFAULT '{}'",
    "CREATE INDEX decisions_namespace ON decisions (namespace, created_at)",
    "ALTER TABLE episodes ADD COLUMN mode TEXT NOT NULL DEFAULT 'suggest'",
    "ALTER TABLE episodes ADD COLUMN arm TEXT NOT NULL DEFAULT 'guided'",
    "ALTER TABLE episodes ADD COLUMN assigned REAL NOT NULL DEFAULT 1.0",
    "ALTER TABLE episodes ADD COLUMN task_group TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE episodes ADD COLUMN combined REAL",
    "ALTER TABLE episodes ADD COLUMN parts TEXT NOT NULL DEFAULT '[]'",
    "CREATE INDEX episodes_namespace ON episodes (namespace, finished_at)",
    """
    CREATE TABLE reports (
        decision_id TEXT NOT NULL REFERENCES decisions (id) ON DELETE CASCADE, kind TEXT NOT NULL,
        value REAL NOT NULL, reported_at REAL NOT NULL, PRIMARY KEY (decision_id, kind)
    )
    """,
    """
    CREATE TABLE calls (
        seq INTEGER PRIMARY KEY AUTOINCREMENT, namespace TEXT NOT NULL, episode TEXT NOT NULL, tool TEXT NOT NULL,
        failed INTEGER NOT NULL, called_at REAL NOT NULL
    )
    """,
    "CREATE INDEX calls_namespace ON calls (namespace, seq)",
    """
    CREATE TABLE prunings (
        namespace TEXT NOT NULL, cluster INTEGER NOT NULL, tool TEXT NOT NULL, status TEXT NOT NULL,
        reason TEXT NOT NULL, successes REAL NOT NULL, counts REAL NOT NULL, upper REAL NOT NULL, rival TEXT NOT NULL,
        rival_lower REAL NOT NULL, since REAL NOT NULL, until REAL NOT NULL, strikes INTEGER NOT NULL,
        PRIMARY KEY (namespace, cluster, tool)
    )
    """,
    """
    CREATE TABLE counters (
        namespace TEXT NOT NULL, name TEXT NOT NULL, value INTEGER NOT NULL, PRIMARY KEY (namespace, name)
    )
    """,
    "INSERT INTO settings VALUES ('revisions', '0')",
)

_VERSION_3 = (
    """
    CREATE TABLE training_jobs (
        seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, agent_id TEXT NOT NULL, config TEXT NOT NULL,
        training_data TEXT NOT NULL, idempotency_key TEXT UNIQUE, request_hash TEXT NOT NULL, status TEXT NOT NULL,
        progress REAL NOT NULL, furthest REAL NOT NULL, metrics TEXT NOT NULL, best_checkpoint TEXT,
        reason TEXT NOT NULL, is_cancelling INTEGER NOT NULL, resumes INTEGER NOT NULL, owner TEXT NOT NULL,
        lease_until REAL NOT NULL, created_at REAL NOT NULL, started_at REAL, finished_at REAL
    )
    """,
    "CREATE INDEX training_jobs_status ON training_jobs (status, seq)",
    """
    CREATE TABLE training_metrics (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        job_id TEXT NOT NULL REFERENCES training_jobs (id) ON DELETE CASCADE,
        reported_at REAL NOT NULL, progress REAL NOT NULL, metrics TEXT NOT NULL
    )
    """,
    "CREATE INDEX training_metrics_job ON training_metrics (job_id, seq)",
)

_VERSION_4 = tuple(f"ALTER TABLE {table} ADD COLUMN checksum TEXT NOT NULL DEFAULT ''" for table in CHECKED)

# The statements of each version, for databases that are not SQLite's.
STATEMENTS = (_VERSION_1, _VERSION_2, _VERSION_3, _VERSION_4)
