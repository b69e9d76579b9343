"""The key of a store's placeholders: random, made once, kept in the database file and never exported."""

import secrets

from trajstore.connection import AnyDatabase

SETTING = "redaction_key"
KEY_BYTES = 32


def redaction_key(database: AnyDatabase) -> bytes:
    """The key of this store, made where there is none yet; the same for every process."""
    with database.reading() as connection:
        found = connection.execute("SELECT value FROM settings WHERE name = ?", [SETTING]).fetchone()
    if found is None:
        with database.writing() as connection:
            made = [SETTING, secrets.token_hex(KEY_BYTES)]
            connection.execute("INSERT INTO settings VALUES (?, ?) ON CONFLICT DO NOTHING", made)
            found = connection.execute("SELECT value FROM settings WHERE name = ?", [SETTING]).fetchone()
    return str(found[0]).encode()
