"""Statements are written in the SQL that SQLite and PostgreSQL share; few files know what is one's alone."""

import re
from pathlib import Path

import pytest

import grpo
import selector
import trajstore

SQLITE_FILES = {
    "backup.py",
    "checkpoints.py",
    "checksums.py",
    "copying.py",
    "database.py",
    "migrations.py",
    "transactions.py",
    "upgrading.py",
}
SERVER_FILES = {
    "postgres.py",
    "postgres_connections.py",
    "postgres_dialect.py",
    "postgres_schema.py",
    "server_index.py",
}
SQLITE_ALONE = (
    r"INSERT OR (IGNORE|REPLACE)",
    r"\bPRAGMA\b",
    r"\bsqlite_(master|sequence|schema)\b",
    r"\blastrowid\b",
    r"\bWHERE 1\b",
    r"\b(json_extract|randomblob|zeroblob|ifnull|julianday|strftime)\(",
    r"\bIN \(\)",
    r"\bimport sqlite3\b|\bfrom sqlite3\b",
)
FILES = sorted(
    path
    for package in (trajstore, selector, grpo)
    for path in Path(str(package.__file__)).parent.rglob("*.py")
    if path.name not in SQLITE_FILES | SERVER_FILES
)


@pytest.mark.parametrize("pattern", SQLITE_ALONE)
def test_no_statement_is_of_one_database_alone(pattern: str):
    found = [path.name for path in FILES if re.search(pattern, path.read_text())]
    assert found == []
