"""The schema on a PostgreSQL server: who may take it, and the migrations that bring it up to date.

It is that of `trajstore.migrations` in PostgreSQL's types, in a schema of its own, so that other programs may use the
same database.
"""

from psycopg import sql

from trajstore.checksums import CHECKED, row_checksum
from trajstore.errors import NewerStore, StoreUnavailable
from trajstore.migrations import SCHEMA_VERSION, STATEMENTS
from trajstore.postgres_connections import PostgresConnection, Raw, adapt_vectors
from trajstore.postgres_dialect import ADDITIONS, definition

CHECKSUMS_FROM = 4
LOCK_FAMILY = 0x74726A73  # "trjs": locks of this number are ours
# A schema that is not there yet cannot name its lock; its name can.
LOCK_TO_MAKE = "SELECT pg_advisory_xact_lock(%s, hashtext(%s))"


def version_of(raw: Raw, schema: str) -> int | None:
    """The version of the store in a schema; None where there is none."""
    table = sql.Identifier(schema, "schema_version")
    named = raw.execute(
        "SELECT EXISTS (SELECT 1 FROM pg_tables WHERE schemaname = %s AND tablename = 'schema_version')", [schema]
    ).fetchone()
    if named is None or not named[0]:
        return None
    row = raw.execute(sql.SQL("SELECT max(version) FROM {}").format(table)).fetchone()
    return None if row is None or row[0] is None else int(row[0])


def migrate(raw: Raw, schema: str, path: str) -> None:
    """Bring a schema up to date, making it where there is none; what is newer or another program's stays as it is."""
    found = version_of(raw, schema)
    if found == SCHEMA_VERSION:
        return
    with raw.transaction():
        raw.execute(LOCK_TO_MAKE, [LOCK_FAMILY, schema])
        found = version_of(raw, schema)
        if found is None:
            _make(raw, schema, path)
        elif found > SCHEMA_VERSION:
            raise NewerStore(
                f"{path} has schema version {found}, and this trajstore knows up to {SCHEMA_VERSION}: upgrade trajstore"
            )
        commands = [
            definition(command)
            for version in range((found or 0) + 1, SCHEMA_VERSION + 1)
            for command in (*STATEMENTS[version - 1], *ADDITIONS.get(version, ()))
        ]
        if commands:
            raw.execute(b"; ".join(commands))
            if found is not None and found < CHECKSUMS_FROM:
                _fill_checksums(raw)
            raw.execute("INSERT INTO schema_version VALUES (%s)", [SCHEMA_VERSION])


def _fill_checksums(raw: Raw) -> None:
    """Take every row for what was written, as SQLite's migration does."""
    adapt_vectors(raw)
    connection = PostgresConnection(raw)
    for table, columns in CHECKED.items():
        rows = connection.execute(f"SELECT ctid::text, {', '.join(columns)} FROM {table}").fetchall()  # noqa: S608 - constants
        filled = [(row_checksum(*cells), place) for place, *cells in rows]
        connection.executemany(f"UPDATE {table} SET checksum = ? WHERE ctid = ?::tid", filled)  # noqa: S608 - as above


def lock_command(raw: Raw, schema: str) -> bytes:
    """What takes the lock of the store's one writer until the transaction ends."""
    row = raw.execute("SELECT oid::int8 FROM pg_namespace WHERE nspname = %s", [schema]).fetchone()
    if row is None:
        raise StoreUnavailable(f"schema {schema!r} is gone from the server; restore a backup")
    signed = row[0] - (1 << 32) if row[0] >= 1 << 31 else row[0]
    return f"BEGIN; SELECT pg_advisory_xact_lock({LOCK_FAMILY}, {signed})".encode()


def _make(raw: Raw, schema: str, path: str) -> None:
    """Make an empty schema, beside the extension for vectors."""
    row = raw.execute("SELECT count(*) FROM pg_tables WHERE schemaname = %s", [schema]).fetchone()
    if row is not None and row[0]:
        raise StoreUnavailable(
            f"{path} holds tables of another program in its schema {schema!r}; name another one with ?schema=NAME"
        )
    encoding = raw.execute("SHOW server_encoding").fetchone()
    if encoding is not None and encoding[0] != "UTF8":
        raise StoreUnavailable(f"{path} keeps texts as {encoding[0]}; make a database with encoding UTF8 for the store")
    if raw.execute("SELECT 1 FROM pg_namespace WHERE nspname = %s", [schema]).fetchone() is None:
        raw.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(schema)))
    raw.execute("CREATE EXTENSION IF NOT EXISTS vector WITH SCHEMA public")
    raw.execute("CREATE TABLE schema_version (version BIGINT NOT NULL)")
