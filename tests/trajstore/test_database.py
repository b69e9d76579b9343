"""Opening a file: what is refused, what is shared, and what survives a fork."""

import contextlib
import os
import signal
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from trajstore import database as database_module
from trajstore.checkpoints import LOG_BYTES
from trajstore.database import MEMORY, Database
from trajstore.errors import DamagedStore, NewerStore, StoreUnavailable, UsageError
from trajstore.faultpoints import watch
from trajstore.migrations import APPLICATION_ID, SCHEMA_VERSION

OWN_LOCKS = Path("/proc/locks")
SETTINGS = 3  # rows of the table in a new file


def count(database: Database, table: str = "settings") -> int:
    with database.reading() as connection:
        return int(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])


def put(database: Database, name: str) -> None:
    with database.writing() as connection:
        connection.execute("INSERT INTO settings VALUES (?, '')", [name])


def in_fork(work: Callable[[], bool]) -> bool:
    """What `work` says in a forked child; a child that hangs is ended after five seconds."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            signal.alarm(5)
            code = 0 if work() else 1
        finally:
            os._exit(code)
    return os.waitpid(child, 0)[1] == 0


def test_a_new_file_has_the_schema_and_is_marked_as_ours(store_path: Path):
    Database(store_path).close()
    plain = sqlite3.connect(store_path)
    assert plain.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)
    assert plain.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION,)
    assert plain.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    plain.close()


@pytest.mark.parametrize(
    ("pragma", "value"),
    [
        ("synchronous", 2),
        ("foreign_keys", 1),
        ("trusted_schema", 0),
        ("secure_delete", 1),
        ("journal_mode", "wal"),
        ("wal_autocheckpoint", 0),
    ],
)
def test_a_connection_is_set_to_lose_nothing(store_path: Path, pragma: str, value: object):
    with Database(store_path).reading() as connection:
        assert connection.execute(f"PRAGMA {pragma}").fetchone() == (value,)


def test_an_empty_file_becomes_a_store(store_path: Path):
    store_path.touch()
    assert count(Database(store_path)) > 0


@pytest.mark.parametrize("text", ["x", "just notes\n", "notes " * 10_000])
def test_a_text_file_is_refused_and_left_as_it_is(tmp_path: Path, text: str):
    path = tmp_path / "notes.txt"
    path.write_text(text)
    with pytest.raises(DamagedStore, match=r"notes\.txt is not a SQLite database; give a new path"):
        Database(path)
    assert path.read_text() == text
    assert list(tmp_path.iterdir()) == [path]


def test_a_database_of_another_program_is_refused_and_left_as_it_is(store_path: Path):
    other = sqlite3.connect(store_path)
    other.execute("CREATE TABLE notes (text)")
    other.close()
    before = store_path.read_bytes()
    with pytest.raises(StoreUnavailable, match="a SQLite database of another program"):
        Database(store_path)
    assert store_path.read_bytes() == before
    assert list(store_path.parent.iterdir()) == [store_path]


def test_a_newer_file_is_refused_by_its_version_and_left_as_it_is(store_path: Path):
    Database(store_path).close()
    newer = sqlite3.connect(store_path)
    newer.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    newer.close()
    before = store_path.read_bytes()
    with pytest.raises(NewerStore, match=f"schema version {SCHEMA_VERSION + 1}, and this trajstore knows up to"):
        Database(store_path)
    assert store_path.read_bytes() == before


def test_a_folder_is_no_store(tmp_path: Path):
    with pytest.raises(StoreUnavailable, match="is a folder; give the path of a database file"):
        Database(tmp_path)


def test_a_path_below_a_file_is_refused(tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(StoreUnavailable, match="check that the folder exists"):
        Database(tmp_path / "file" / "agent.db")


def test_a_path_in_no_folder_is_refused(tmp_path: Path):
    with pytest.raises(StoreUnavailable, match="check that the folder exists"):
        Database(tmp_path / "none" / "agent.db")


def test_an_empty_path_is_refused_since_sqlite_would_throw_the_rows_away():
    with pytest.raises(UsageError, match="must not be empty"):
        Database("")


def test_a_failure_within_a_transaction_leaves_nothing(store_path: Path):
    database = Database(store_path)
    before = count(database)
    with pytest.raises(ZeroDivisionError), database.writing() as connection:
        connection.executemany("INSERT INTO settings VALUES (?, '')", ([1 // (2 - number)] for number in range(4)))
    assert count(database) == before
    put(database, "whole")
    assert count(database) == before + 1


def test_a_closed_database_says_so(store_path: Path):
    database = Database(store_path)
    database.close()
    database.close()
    with pytest.raises(StoreUnavailable, match="is closed; open it again"):
        count(database)


def test_a_file_locked_by_another_writer_is_named_and_can_be_written_later(store_path: Path):
    database = Database(store_path, busy_seconds=0.05)
    other = sqlite3.connect(store_path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailable, match=r"database is locked; another process holds it for long: try again"):
        put(database, "name")
    other.execute("ROLLBACK")
    other.close()
    put(database, "name")


def test_a_mistake_in_a_statement_is_no_fault_of_the_file(store_path: Path):
    database = Database(store_path)
    with pytest.raises(sqlite3.IntegrityError), database.writing() as connection:
        connection.execute("INSERT INTO settings VALUES ('database_id', '')")


def test_traces_that_another_reader_keeps_are_reported(store_path: Path):
    database = Database(store_path, busy_seconds=0.05)
    reader = sqlite3.connect(store_path, isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM settings").fetchone()
    put(database, "later")
    with pytest.raises(StoreUnavailable, match=r"agent\.db-wal keeps copies while another process reads it"):
        database.erase_traces()
    reader.close()
    database.erase_traces()


@pytest.mark.skipif(not OWN_LOCKS.exists(), reason="only Linux lists the locks of a file")
def test_opening_a_file_twice_in_one_process_keeps_the_locks_of_the_first(store_path: Path):
    def locks() -> int:
        return OWN_LOCKS.read_text().count(f":{store_path.stat().st_ino} ")

    first = Database(store_path)
    put(first, "name")
    held = locks()
    assert held > 0
    second = Database(store_path)
    assert locks() == held
    second.close()
    first.close()


def test_threads_share_one_database(store_path: Path):
    database = Database(store_path)
    before = count(database)
    threads = [
        threading.Thread(target=lambda name=name: [put(database, f"{name}/{at}") for at in range(20)])
        for name in "abcd"
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert count(database) == before + 80


def test_a_new_file_that_another_connection_is_about_to_write_is_waited_for(store_path: Path):
    writer = sqlite3.connect(store_path, isolation_level=None, check_same_thread=False)
    writer.execute("BEGIN IMMEDIATE")
    release = threading.Timer(0.2, writer.close)
    release.start()
    assert count(Database(store_path)) > 0
    release.join()


def test_connections_that_create_a_file_at_the_same_moment_all_get_it(tmp_path: Path):
    def create(path: Path, start: threading.Barrier, opened: list[Database]) -> None:
        start.wait()
        opened.append(Database(path))

    for number in range(30):
        start, opened = threading.Barrier(6), []
        arguments = (tmp_path / f"{number}.db", start, opened)
        threads = [threading.Thread(target=create, args=arguments) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(opened) == 6
        for database in opened:
            database.close()


def test_a_forked_child_opens_the_file_anew(store_path: Path):
    database = Database(store_path)
    put(database, "parent")
    before = count(database)

    def write() -> bool:
        put(database, "child")
        return count(database) == before + 1

    assert in_fork(write)
    put(database, "parent again")
    assert count(database) == before + 2
    with database.reading() as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_forked_child_has_its_own_copy_of_a_database_in_memory():
    database = Database(":memory:")
    put(database, "parent")
    before = count(database)

    def write() -> bool:
        put(database, "child")
        return count(database) == before + 1

    assert in_fork(write)
    assert count(database) == before


@pytest.fixture
def short_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database_module, "FORK_SECONDS", 0.05)


@contextlib.contextmanager
def in_use_by_another_thread(database: Database) -> Iterator[None]:
    """A write that another thread has begun and not ended."""
    held, release = threading.Event(), threading.Event()

    def hold() -> None:
        with database.writing():
            held.set()
            release.wait()

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait()
    try:
        yield
    finally:
        release.set()
        holder.join()


def says_that_it_was_in_use(work: Callable[[], object]) -> bool:
    try:
        work()
    except StoreUnavailable as error:
        return "was in use by another thread when this process was forked" in str(error)
    return False


@pytest.mark.usefixtures("short_wait")
@pytest.mark.parametrize("path", ["file", MEMORY])
def test_a_fork_in_the_middle_of_another_threads_write_is_a_sentence_in_the_child(store_path: Path, path: str):
    database = Database(store_path if path == "file" else MEMORY)
    before = count(database)
    with in_use_by_another_thread(database):
        assert in_fork(lambda: says_that_it_was_in_use(lambda: count(database)))
    assert count(database) == before


@pytest.mark.usefixtures("short_wait")
def test_such_a_child_cannot_open_the_file_anew_but_any_other(store_path: Path, tmp_path: Path):
    database = Database(store_path)
    with in_use_by_another_thread(database):
        assert in_fork(lambda: says_that_it_was_in_use(lambda: Database(store_path)))
        assert in_fork(lambda: count(Database(tmp_path / "other.db")) > 0)


def test_a_fork_within_a_transaction_is_a_sentence_in_the_child_and_harmless_to_the_parent(store_path: Path):
    database = Database(store_path)
    before = count(database)
    with database.writing() as connection:
        connection.execute("INSERT INTO settings VALUES ('half', '')")
        assert in_fork(lambda: says_that_it_was_in_use(lambda: count(database)))
    assert count(database) == before + 1


def test_a_fork_waits_for_a_write_that_ends_soon(store_path: Path):
    database = Database(store_path)
    before = count(database)
    begun = threading.Event()

    def write_slowly() -> None:
        with database.writing() as connection:
            begun.set()
            time.sleep(0.2)
            connection.execute("INSERT INTO settings VALUES ('slow', '')")

    writer = threading.Thread(target=write_slowly)
    writer.start()
    begun.wait()
    assert in_fork(lambda: count(database) == before + 1)
    writer.join()


def test_what_a_child_wrote_stays_when_its_parent_closes_the_file_first(store_path: Path):
    database = Database(store_path)
    put(database, "parent")
    before = count(database)
    opened_receive, opened_send = os.pipe()
    closed_receive, closed_send = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            signal.alarm(5)
            put(database, "child")
            os.write(opened_send, b".")
            os.read(closed_receive, 1)
            put(database, "child after the parent")
            code = 0
        finally:
            os._exit(code)
    os.read(opened_receive, 1)
    database.close()
    os.write(closed_send, b".")
    assert os.waitpid(child, 0)[1] == 0
    assert count(Database(store_path)) == before + 2


def test_threads_that_write_at_once_share_commits_and_each_gets_its_own_answer(store_path: Path):
    database = Database(store_path)
    commits, answers = [], {}
    watch(lambda name: commits.append(name) if name == "after commit" else None)

    def write(name: str) -> None:
        for number in range(40):
            cells = [f"{name}/{number}"]
            answers[cells[0]] = database.group.run(
                lambda connection, cells=cells: connection.execute(
                    "INSERT INTO settings VALUES (?, '') RETURNING name", cells
                ).fetchone()[0]
            )

    threads = [threading.Thread(target=write, args=[name]) for name in "abcdefgh"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    watch(None)
    assert answers == {key: key for key in answers}
    assert len(answers) == 320
    assert len(commits) < 320
    assert count(database) == 320 + SETTINGS


def test_a_change_that_fails_costs_nobody_else_theirs(store_path: Path):
    database = Database(store_path)
    failed: list[str] = []

    def write(name: str) -> None:
        for number in range(30):
            key = "taken" if number % 3 == 0 else f"{name}/{number}"
            statement = ("INSERT INTO settings VALUES (?, '')", [key])
            try:
                database.group.run(lambda connection, statement=statement: connection.execute(*statement).rowcount)
            except sqlite3.IntegrityError:
                failed.append(key)

    threads = [threading.Thread(target=write, args=[name]) for name in "abcdef"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == ["taken"] * (6 * 10 - 1)
    assert count(database) == 6 * 20 + 1 + SETTINGS


def test_the_log_is_moved_into_the_file_while_it_is_written(store_path: Path):
    database = Database(store_path)
    sizes = []
    for number in range(40):
        with database.writing() as connection:
            connection.execute("INSERT INTO settings VALUES (?, ?)", [str(number), "x" * 500_000])
        sizes.append(Path(f"{store_path}-wal").stat().st_size)
    assert max(sizes) < 3 * LOG_BYTES
    assert store_path.stat().st_size > 3 * LOG_BYTES


def test_a_log_that_a_reader_keeps_grows_and_is_moved_once_the_reader_ends(store_path: Path):
    database = Database(store_path)
    reader = sqlite3.connect(store_path, isolation_level=None)
    reader.execute("BEGIN")
    seen = reader.execute("SELECT count(*) FROM settings").fetchone()
    for number in range(30):
        with database.writing() as connection:
            connection.execute("INSERT INTO settings VALUES (?, ?)", [str(number), "x" * 500_000])
    assert Path(f"{store_path}-wal").stat().st_size > 3 * LOG_BYTES
    assert reader.execute("SELECT count(*) FROM settings").fetchone() == seen
    reader.close()
    database.erase_traces()
    assert Path(f"{store_path}-wal").stat().st_size == 0
    assert count(database) == 30 + SETTINGS
