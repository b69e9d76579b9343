"""A store on a PostgreSQL server: several writers, its password, what is refused, and what survives a fork."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from command_line import trajstore, trajstore_alone, write_log
from hypothesis import HealthCheck, example, given, settings
from postgres_server import PostgresServer, running_server, why_not
from trajectory_samples import EVERYTHING_USED, TEXTS, TRAJECTORIES, content, make_trajectory

from trajstore.connection import Packed
from trajstore.doctor import examine, repair
from trajstore.errors import DamagedStore, InvalidRecord, MissingDependency, NewerStore, StoreUnavailable, UsageError
from trajstore.filters import TrajectoryFilter
from trajstore.identity import EmbedderIdentity
from trajstore.ingest import read_trajectories
from trajstore.migrations import SCHEMA_VERSION, STATEMENTS
from trajstore.opening import is_database_there, open_database, public_path
from trajstore.postgres_dialect import escaped, unescaped
from trajstore.schema import Task, Trajectory
from trajstore.store import TrajectoryStore

psycopg = pytest.importorskip("psycopg")

SECRET = "s3cr3t-w0rd"
VECTOR = np.array([0.6, 0.8], "<f2").tobytes()
WRITERS, WRITES = 4, 25
WRITER = """
import sys
from trajstore import Step, Task, Trajectory, TrajectoryStore
def made(number, source):
    return Trajectory(task=Task(f"task {number}"), steps=(Step(index=0, tool="look"),), success=True, source=source)
with TrajectoryStore(sys.argv[1]) as store:
    for number in range(int(sys.argv[3])):
        print(store.add(made(number, sys.argv[2])), flush=True)
        store.logbook.count("default", "written")
        store.add(made(number, "what every writer adds"))
"""


@pytest.fixture
def store(postgres_address: str) -> Iterator[TrajectoryStore]:
    with TrajectoryStore(postgres_address) as opened:
        yield opened


@pytest.fixture
def plain(postgres_server: PostgresServer) -> Iterator["psycopg.Connection[tuple[object, ...]]"]:
    """A connection of another program."""
    with psycopg.connect(postgres_server.address, autocommit=True) as connection:
        yield connection


def schema_of(address: str) -> str:
    return address.rpartition("schema=")[2]


def in_fork(work: Callable[[], bool]) -> bool:
    """What `work` says in a forked child; a child that hangs is ended after ten seconds."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            signal.alarm(10)
            code = 0 if work() else 1
        finally:
            os._exit(code)
    return os.waitpid(child, 0)[1] == 0


def with_password(address: str) -> str:
    return address.replace("postgres@", f"postgres:{SECRET}@")


@pytest.fixture(scope="module")
def shared(postgres_server: PostgresServer) -> Iterator[TrajectoryStore]:
    """One store for the examples of a law, which keeps every text as it comes."""
    if reason := why_not():
        pytest.skip(reason)
    with TrajectoryStore(postgres_server.new_address(), redactor=None) as opened:
        yield opened


@given(TRAJECTORIES)
@example(make_trajectory(metadata={"Credential": 0}))
@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
def test_what_is_added_comes_back_equal_whatever_it_holds(shared: TrajectoryStore, trajectory):
    stored = shared.get(shared.add(trajectory))
    assert content(stored) == content(trajectory)


@given(TEXTS)
@example("\x00")
@example("\x1a0\x1a1\x00\x1a")
def test_escaping_loses_nothing_and_leaves_no_nul(text: str):
    assert unescaped(escaped(text)) == text
    assert "\x00" not in escaped(text)


HOSTILE = ["'; DROP TABLE steps; --", "' OR '1'='1", "%s", "%(name)s", "?", ":name", "$1", '"', "\\", "\x00", "\x1a0"]


@pytest.mark.parametrize("text", HOSTILE)
def test_a_value_is_never_read_as_sql(store: TrajectoryStore, text: str):
    other = make_trajectory("other")
    hostile = make_trajectory(text, (text,), source=text)
    ids = store.add_many([other, hostile])
    for where in (TrajectoryFilter(source=text), TrajectoryFilter(tool=text), TrajectoryFilter(ids=(ids[1],))):
        assert [one.trajectory_id for one in store.trajectories(where)] == [ids[1]]
    assert store.ids(text) == ()
    assert store.forget(namespace=text) == 0
    assert store.forget(source=text) == 1
    assert [one.trajectory_id for one in store.trajectories()] == [ids[0]]


def test_namespaces_with_hostile_names_stay_apart(store: TrajectoryStore):
    for name in HOSTILE:
        store.add(make_trajectory(task=Task("a", namespace=name)))
    assert all(len(store.ids(name)) == 1 for name in HOSTILE)
    assert store.stats().namespaces == dict.fromkeys(HOSTILE, 1)


@pytest.mark.parametrize("schema", ["a;drop", 'a"b', "Ab", "1a", "a b", "a-b", ""])
def test_a_schema_that_is_no_plain_name_is_refused(schema: str):
    with pytest.raises(UsageError, match="schema must be a name of small letters"):
        TrajectoryStore(f"postgresql://postgres@localhost/db?schema={schema}")


def test_several_processes_that_start_at_once_lose_nothing(postgres_address: str):
    command = [sys.executable, "-c", WRITER, postgres_address]
    writers = [
        subprocess.Popen([*command, str(name), str(WRITES)], stdout=subprocess.PIPE, text=True)
        for name in range(WRITERS)
    ]
    acknowledged = [line for writer in writers for line in writer.communicate()[0].split()]
    assert [writer.returncode for writer in writers] == [0] * WRITERS
    with TrajectoryStore(postgres_address) as store:
        assert len(acknowledged) == WRITERS * WRITES
        theirs = {one.trajectory_id for one in store.trajectories() if one.source != "what every writer adds"}
        assert sorted(theirs) == sorted(acknowledged)
        assert store.stats().trajectories == len(acknowledged) + WRITES
        assert store.logbook.counters("default") == {"written": WRITERS * WRITES}


def test_a_reader_that_goes_on_from_the_last_number_misses_no_row(postgres_address: str):
    """Numbers are given before a commit: without one writer at a time, a lower one could appear later."""
    done = threading.Event()
    seen: list[int] = []

    def write(source: str) -> None:
        with TrajectoryStore(postgres_address) as store:
            for number in range(WRITES):
                store.add(make_trajectory(f"task {number}", source=source))

    def read() -> None:
        with TrajectoryStore(postgres_address) as store:
            is_last = False
            while not is_last:
                is_last = done.is_set()
                seen.extend(row.seq for row in store.read_trajectory_rows(seen[-1] if seen else 0))

    reader = threading.Thread(target=read)
    writers = [threading.Thread(target=write, args=[name]) for name in "abcd"]
    for thread in (reader, *writers):
        thread.start()
    for thread in writers:
        thread.join()
    done.set()
    reader.join()
    assert len(seen) == 4 * WRITES


def test_more_threads_than_connections_all_get_their_turn(store: TrajectoryStore):
    def work(name: int) -> None:
        for number in range(5):
            store.add(make_trajectory(f"{name} {number}"))

    threads = [threading.Thread(target=work, args=[name]) for name in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.stats().trajectories == 100


def test_a_failure_within_a_transaction_leaves_nothing(postgres_address: str):
    database = open_database(postgres_address)
    with pytest.raises(ZeroDivisionError), database.writing() as connection:
        connection.executemany("INSERT INTO settings VALUES (?, '')", ([str(1 // (2 - n))] for n in range(4)))
    with database.reading() as connection:
        names = connection.execute("SELECT name FROM settings ORDER BY 1").fetchall()
    assert names == [("database_id",), ("removals",), ("revisions",)]
    database.close()


def test_reading_within_a_write_sees_what_was_written(postgres_address: str):
    database = open_database(postgres_address)
    with database.writing() as connection:
        connection.execute("INSERT INTO settings VALUES ('new', '')")
        with database.reading() as inner:
            assert inner.execute("SELECT count(*) FROM settings WHERE name = 'new'").fetchone() == (1,)
    database.close()


def test_a_write_that_another_client_holds_up_for_long_is_one_sentence(postgres_address: str):
    waiting = TrajectoryStore(postgres_address, busy_seconds=0.1)
    holding = open_database(postgres_address)
    with holding.writing(), pytest.raises(StoreUnavailable, match="another client holds it for long: try again"):
        waiting.add(make_trajectory())
    waiting.add(make_trajectory())
    assert waiting.stats().trajectories == 1


def test_a_forked_child_has_connections_of_its_own(store: TrajectoryStore):
    store.add(make_trajectory("parent"))

    def write() -> bool:
        store.add(make_trajectory("child"))
        return store.stats().trajectories == 2

    assert in_fork(write)
    store.add(make_trajectory("parent again"))
    assert store.stats().trajectories == 3


def test_a_fork_within_a_write_changes_nothing_of_it(postgres_address: str):
    database = open_database(postgres_address)
    with database.writing() as connection:
        connection.execute("INSERT INTO settings VALUES ('new', '')")

        def count() -> bool:
            with database.reading() as own:
                return own.execute("SELECT count(*) FROM settings WHERE name = 'new'").fetchone() == (0,)

        assert in_fork(count)
    with database.reading() as after:
        assert after.execute("SELECT count(*) FROM settings WHERE name = 'new'").fetchone() == (1,)
    database.close()


def test_a_closed_store_says_so(store: TrajectoryStore):
    store.close()
    store.close()
    with pytest.raises(StoreUnavailable, match="is closed; open it again with TrajectoryStore"):
        store.stats()


def test_the_path_opens_the_same_store(store: TrajectoryStore):
    trajectory_id = store.add(EVERYTHING_USED)
    with TrajectoryStore(store.path) as again:
        assert again.ids(EVERYTHING_USED.task.namespace) == (trajectory_id,)
        assert again.path == store.path


def test_two_schemas_of_one_database_are_two_stores(postgres_server: PostgresServer):
    with (
        TrajectoryStore(postgres_server.new_address()) as one,
        TrajectoryStore(postgres_server.new_address()) as other,
    ):
        one.add(make_trajectory())
        assert (one.stats().trajectories, other.stats().trajectories) == (1, 0)


def test_a_newer_store_is_refused_by_its_version(postgres_address: str, plain):
    TrajectoryStore(postgres_address).close()
    plain.execute(f"INSERT INTO {schema_of(postgres_address)}.schema_version VALUES ({SCHEMA_VERSION + 1})")
    with pytest.raises(NewerStore, match=f"schema version {SCHEMA_VERSION + 1}, and this trajstore knows up to"):
        TrajectoryStore(postgres_address)


def test_an_older_store_is_brought_up_to_date_with_all_that_is_in_it(postgres_address: str, monkeypatch):
    monkeypatch.setattr("trajstore.postgres_schema.SCHEMA_VERSION", 1)
    database = open_database(postgres_address)
    with database.writing() as connection:
        connection.execute("INSERT INTO artifacts VALUES ('model', 'key', ?)", [b"learned"])
        connection.execute("INSERT INTO embedders (name, dimension, fingerprint) VALUES ('hashed', 2, 'x')")
        connection.execute(
            "INSERT INTO vectors (text_hash, embedder_id, vector) VALUES (?, 1, ?)", [b"t", Packed(VECTOR)]
        )
    database.close()
    monkeypatch.undo()
    with TrajectoryStore(postgres_address) as store:
        assert store.artifact("model", "key") == b"learned"
        assert store.vectors([b"t"])[b"t"].tobytes() == VECTOR
        assert store.changed_rows() == ()
        store.logbook.count("default", "kept since version 2")
        trajectory_id = store.add(EVERYTHING_USED)
        assert content(store.get(trajectory_id)) == content(EVERYTHING_USED)


def test_clients_that_create_a_store_at_the_same_moment_all_get_it(postgres_server: PostgresServer):
    for _ in range(3):
        address, start, opened = postgres_server.new_address(), threading.Barrier(5), []

        def create(address=address, start=start, opened=opened) -> None:
            start.wait()
            opened.append(TrajectoryStore(address))

        threads = [threading.Thread(target=create) for _ in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [store.stats().trajectories for store in opened] == [0] * 5
        for store in opened:
            store.close()


def test_a_database_that_does_not_hold_every_text_is_refused(postgres_address: str, plain):
    plain.execute("DROP DATABASE IF EXISTS old")
    plain.execute("CREATE DATABASE old ENCODING 'LATIN1' TEMPLATE template0")
    with pytest.raises(StoreUnavailable, match="keeps texts as LATIN1; make a database with encoding UTF8"):
        TrajectoryStore(postgres_address.replace("/postgres?", "/old?"))


def test_the_extension_may_lie_anywhere(postgres_address: str, plain):
    plain.execute("DROP DATABASE IF EXISTS hosted")
    plain.execute("CREATE DATABASE hosted TEMPLATE template0")
    address = postgres_address.replace("/postgres?", "/hosted?")
    with psycopg.connect(address.partition("&schema")[0], autocommit=True) as hosted:
        hosted.execute('CREATE SCHEMA "Extensions"; CREATE EXTENSION vector WITH SCHEMA "Extensions"')
    with TrajectoryStore(address) as store:
        store.add(make_trajectory())
        repair(store)
        assert examine(store) == ()


def test_a_user_who_was_given_a_schema_needs_no_more(postgres_address: str, plain):
    TrajectoryStore(postgres_address).close()  # the extension is there
    plain.execute("DROP ROLE IF EXISTS tenant; CREATE ROLE tenant LOGIN")
    plain.execute("CREATE SCHEMA given_to_tenant AUTHORIZATION tenant")
    address = postgres_address.replace("postgres@/", "tenant@/").replace(schema_of(postgres_address), "given_to_tenant")
    with TrajectoryStore(address) as store:
        store.remove(store.add(make_trajectory()))
        assert store.stats().trajectories == 0
    plain.execute("DROP SCHEMA given_to_tenant CASCADE; DROP ROLE tenant")


def test_a_server_that_takes_no_writes_is_one_sentence(postgres_address: str):
    TrajectoryStore(postgres_address).close()
    with (
        TrajectoryStore(f"{postgres_address}&options=-cdefault_transaction_read_only%3Don") as store,
        pytest.raises(StoreUnavailable, match="give the address of the server that takes writes"),
    ):
        store.add(make_trajectory())


def test_a_sound_store_has_no_findings(store: TrajectoryStore):
    store.add_many(make_trajectory(f"task {number}") for number in range(5))
    repair(store)
    assert examine(store) == ()


def test_tables_of_another_program_are_left_as_they_are(postgres_address: str, plain):
    schema = schema_of(postgres_address)
    plain.execute(f"CREATE SCHEMA {schema}")
    plain.execute(f"CREATE TABLE {schema}.steps (text TEXT)")
    with pytest.raises(StoreUnavailable, match="holds tables of another program"):
        TrajectoryStore(postgres_address)
    assert plain.execute("SELECT count(*) FROM pg_tables WHERE schemaname = %s", [schema]).fetchone() == (1,)


def test_every_version_of_the_schema_has_its_statements():
    assert len(STATEMENTS) == SCHEMA_VERSION


def test_a_table_that_is_gone_is_damage(store: TrajectoryStore, plain):
    plain.execute(f"DROP TABLE {schema_of(store.path)}.steps CASCADE")
    with pytest.raises(DamagedStore, match=r"is damaged: .*steps.*; run trajstore doctor, or restore a backup"):
        store.stats()


def test_a_broken_reference_is_found(store: TrajectoryStore, plain):
    store.add(make_trajectory())
    assert store.integrity_findings() == ()
    schema = schema_of(store.path)
    plain.execute(f"SET session_replication_role = replica; DELETE FROM {schema}.trajectories")
    assert store.integrity_findings() == ("broken reference in steps",)


def test_a_name_too_long_for_an_index_is_refused_in_one_sentence(store: TrajectoryStore):
    incompressible = "".join(map(chr, np.random.default_rng(0).integers(0x4E00, 0x9FFF, 4000)))
    with pytest.raises(InvalidRecord, match="must be shorter than 2,700 bytes"):
        store.add(make_trajectory(trajectory_id=incompressible))
    assert store.stats().trajectories == 0


def test_a_vector_comes_back_bit_for_bit(store: TrajectoryStore):
    store.set_embedder(EmbedderIdentity("small", 5, "v1"))
    vector = np.array([0.0, -0.0, 6e-8, 65504.0, -0.1], np.float16)
    store.put_vectors({b"a": vector})
    assert store.vectors([b"a"])[b"a"].tobytes() == vector.tobytes()


def test_rows_of_erased_trajectories_are_freed(store: TrajectoryStore, plain):
    store.add_many(make_trajectory(f"task {number}") for number in range(50))
    store.forget(namespace="default")
    size = plain.execute(f"SELECT pg_relation_size('{schema_of(store.path)}.steps')").fetchone()
    assert size == (0,)


@pytest.mark.parametrize(
    "address",
    [
        f"postgresql://me:{SECRET}@127.0.0.1:1/db",
        f"postgresql://me@127.0.0.1:1/db?password={SECRET}",
        f"postgresql://me@127.0.0.1:1/db?p%61ssword={SECRET}",
        f"postgresql://me:{SECRET}@127.0.0.1:port/db",
        f"postgresql://me:x/{SECRET}@127.0.0.1:1/db",
        f"postgresql://me:x?{SECRET}@127.0.0.1:1/db",
        f"postgresql://me:x#{SECRET}@127.0.0.1:1/db",
        f"postgresql://me:%zz{SECRET}@127.0.0.1:1/db",
        f"postgresql://me@127.0.0.1:1/db?nonsense={SECRET}",
        f"postgresql://me:{SECRET}@127.0.0.1:1/db?schema=A-B",
        f"mysql://me:{SECRET}@127.0.0.1/db",
    ],
)
@pytest.mark.parametrize("command", ["stats", "ingest"])
def test_no_message_shows_the_password(address: str, command: str, tmp_path: Path):
    words = [write_log(tmp_path / "log.jsonl", "a")] if command == "ingest" else []
    ran = trajstore(command, *words, "--db", address, "--debug")
    assert ran.exit_code in (1, 2)
    assert SECRET not in ran.stdout + ran.stderr
    assert ran.stderr.strip()


def test_neither_path_nor_repr_shows_the_password(postgres_address: str):
    with TrajectoryStore(with_password(postgres_address)) as store:
        assert SECRET not in store.path + repr(store) + repr(store.logbook)
        with pytest.raises(KeyError) as raised:
            store.get("nobody")
        assert SECRET not in str(raised.value)
        assert store.path == public_path(postgres_address)


def test_a_server_that_is_not_there_is_one_sentence():
    ran = trajstore_alone("stats", "--db", "postgresql://me@127.0.0.1:1/db")
    assert ran.exit_code == 1
    assert "check that the server runs, and that host and port are right" in ran.sentence


@pytest.mark.parametrize(
    ("changed", "remedy"),
    [("postgres@/nobody_made_it?", "make the database first"), ("nobody@/postgres?", "check user and password")],
)
def test_a_database_or_user_that_is_not_there_is_one_sentence(postgres_address: str, changed: str, remedy: str):
    with pytest.raises(StoreUnavailable, match=remedy):
        TrajectoryStore(postgres_address.replace("postgres@/postgres?", changed))


def test_a_user_that_may_not_create_is_told_so(postgres_address: str, plain):
    plain.execute("DROP ROLE IF EXISTS guest; CREATE ROLE guest LOGIN")
    with pytest.raises(StoreUnavailable, match="let the user create in the database"):
        TrajectoryStore(postgres_address.replace("postgres@/", "guest@/"))


def test_without_the_driver_the_command_that_installs_it_is_named(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingDependency, match=re.escape("pip install 'trajstore[postgres]'")):
        TrajectoryStore("postgresql://me@127.0.0.1:1/db")


def test_a_store_that_nobody_made_is_not_made_by_a_question(postgres_address: str):
    assert not is_database_there(postgres_address)
    ran = trajstore("stats", "--db", postgres_address)
    assert (ran.exit_code, "there is no database" in ran.sentence) == (1, True)
    assert not is_database_there(postgres_address)


@pytest.fixture
def own_server() -> Iterator[PostgresServer]:
    """A server that may be stopped."""
    if reason := why_not():
        pytest.skip(reason)
    with running_server() as server:
        yield server


def test_a_server_that_stops_is_one_sentence_and_is_found_again_with_everything(own_server: PostgresServer):
    with TrajectoryStore(own_server.new_address()) as store:
        first = store.add(make_trajectory("a"))
        own_server.stop()
        for _ in range(2):
            with pytest.raises(
                StoreUnavailable, match=r"^postgresql://.* cannot be used: .*; check that the server runs"
            ):
                store.add(make_trajectory("b"))
        own_server.start()
        second = store.add(make_trajectory("b"))
        assert store.ids("default") == (first, second)


def test_the_commands_do_on_a_server_what_they_do_on_a_file(postgres_address: str, tmp_path: Path):
    log = write_log(tmp_path / "log.jsonl", "open the door", "close the window", source="ops")
    commands = [
        ("ingest", log),
        ("ingest", log),
        ("stats",),
        ("search", "--task", "open the door", "--state", "a door"),
        ("choose", "--task", "open the door", "--tools", "look,jump", "--seed", "1"),
        ("doctor", "--repair"),
        ("forget", "--source", "ops"),
        ("stats",),
    ]
    for words in commands:
        on_file, on_server = (
            trajstore(*words, "--db", db, "--json") for db in (str(tmp_path / "agent.db"), postgres_address)
        )
        assert on_server.exit_code == on_file.exit_code == 0, on_server.stderr
        assert same(on_server.data) == same(on_file.data), words


def same(data: object) -> object:
    """Data of a command without ids and times, and without what is true of files alone."""
    text = json.dumps(data, sort_keys=True)
    loaded = json.loads(text)
    if isinstance(loaded, dict):
        for name in ("findings", "decision_id", "path"):
            loaded.pop(name, None)
        for hit in [*loaded.get("hits", []), *loaded.get("evidence", [])]:
            hit.pop("trajectory")
    return loaded


@pytest.fixture(params=["by hand", "tau1", "bfcl"])
def log(request: pytest.FixtureRequest) -> list[Trajectory]:
    """Trajectories of every shape: one with every field in use beside plain ones, and those of real logs."""
    if request.param == "by hand":
        return [EVERYTHING_USED, *(make_trajectory(f"flight {n}", success=n % 2 == 0) for n in range(20))]
    path = request.getfixturevalue("shared_data") / f"{request.param}.jsonl.gz"
    return [one for one in islice(read_trajectories([path]), 120) if isinstance(one, Trajectory)]


@pytest.mark.parametrize("is_to_server", [True, False])
def test_what_is_read_from_one_database_is_the_same_in_another(
    postgres_address: str, log: list[Trajectory], *, is_to_server: bool
):
    file, server = TrajectoryStore(":memory:"), TrajectoryStore(postgres_address)
    there, here = (file, server) if is_to_server else (server, file)
    ids = there.add_many(log)
    assert here.add_many(there.trajectories()) == ids
    assert list(here.trajectories()) == list(there.trajectories())
    assert here.content_hashes() == there.content_hashes()
    assert here.add_batch(there.trajectories()).added == 0
    file.close()
    server.close()


@pytest.mark.parametrize("is_to_server", [True, False])
def test_a_store_that_is_exported_and_ingested_is_the_same(
    postgres_address: str, tmp_path: Path, log: list[Trajectory], *, is_to_server: bool
):
    there, here = str(tmp_path / "agent.db"), postgres_address
    if not is_to_server:
        there, here = here, there
    with TrajectoryStore(there) as store:
        ids = store.add_many(log)
        hashes = store.content_hashes()
    exported = tmp_path / "exported.jsonl"
    assert trajstore("export", "--db", there, "--format", "native", exported).exit_code == 0
    assert trajstore("ingest", exported, "--db", here, "--no-embed").exit_code == 0
    with TrajectoryStore(here) as store:
        assert store.content_hashes() == hashes
        assert {name for namespace in store.stats().namespaces for name in store.ids(namespace)} == set(ids)


def test_a_file_is_opened_without_the_driver_of_a_server(tmp_path: Path):
    code = "import sys, trajstore; trajstore.TrajectoryStore(sys.argv[1]).close(); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code, tmp_path / "a.db"], capture_output=True, text=True, check=True)
    assert "psycopg" not in loaded.stdout.split()


async def test_threads_of_an_event_loop_share_the_pool(store: TrajectoryStore):
    ids = await asyncio.gather(
        *(asyncio.to_thread(store.add, make_trajectory(f"task {number}")) for number in range(30))
    )
    assert sorted(ids) == sorted(store.ids("default"))
