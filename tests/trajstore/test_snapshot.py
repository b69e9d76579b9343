"""A snapshot is a cache: whatever becomes of it, what is loaded is what the rows say."""

import os
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from trajectory_samples import TRAJECTORIES, make_step, make_trajectory

from trajstore.array_file import read_arrays, write_arrays
from trajstore.backup import backup, restore
from trajstore.contents import Contents
from trajstore.doctor import examine
from trajstore.embedding import HashedEmbedder
from trajstore.experience import Experience
from trajstore.index_cache import index_status, unrecorded_files, unusable_files
from trajstore.logbook import EpisodeRow
from trajstore.recalled import Recollection
from trajstore.recollection import recollect
from trajstore.schema import Task, Trajectory
from trajstore.snapshot import LAYOUT, SnapshotCache, Taken
from trajstore.store import TrajectoryStore, index_folder

EMBEDDER = HashedEmbedder(32)
NAME = "snapshot/default"


@pytest.fixture(autouse=True)
def _small_stores_have_snapshots(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trajstore.snapshot.LEAST_ROWS", 1)


def walk(number: int, source: str = "walks", namespace: str = "default") -> Trajectory:
    """A trajectory with a message, a decision, a failure, and states that partly return in others."""
    steps = (
        make_step(0, "look", state=f"in room {number % 5}", decision_id=f"d{source}{namespace}{number}"),
        make_step(1, "say", kind="message", observation="ünïcode"),
        make_step(2, "take", state=f"before thing {number}", outcome="tool_error" if number % 3 else "ok"),
    )
    task = Task(f"find thing {number % 7}", group=f"g{number % 4}", namespace=namespace)
    return make_trajectory(task=task, steps=steps, source=source, success=bool(number % 2))


@pytest.fixture
def filled(store_path: Path) -> TrajectoryStore:
    """A store with a snapshot of twenty trajectories of two sources."""
    store = TrajectoryStore(store_path)
    store.add_many([*map(walk, range(15)), *(walk(number, "others") for number in range(5))])
    recollect(store, EMBEDDER)
    return store


def file_of(store: TrajectoryStore) -> Path:
    file = SnapshotCache(store, "default").file()
    assert file is not None
    return file


def held(experience: Experience) -> dict[str, object]:
    """Everything that an experience holds, in a form that two can be compared by."""
    contents = experience.contents()
    arrays = {name: array.tolist() for name, array in contents.to_arrays().items()}
    return arrays | {"weights": contents.weights}


def seen(loaded: Recollection) -> str:
    """What is loaded: columns, vectors as they are compared, and what is found for one situation."""
    experience, retriever = loaded.experience, loaded.retriever
    vector = experience.embed("in room 3")
    query = retriever.query((vector, vector), retriever.goal_similarities(vector), (0, 3))
    evidence = retriever.evidence(query)
    texts = [experience.moment_text(row) for row in range(len(experience))]
    found = evidence.rows.tolist(), evidence.weights.tolist(), evidence.moment_weights.tolist()
    return repr([held(experience), retriever.states.tolist(), texts, *found])  # NaN equals nothing


def by_rows(store: TrajectoryStore) -> str:
    """The same, where there is no snapshot."""
    for file in index_folder(store.path).glob("*"):
        file.unlink()
    return seen(recollect(store, EMBEDDER))


def read_by(store: TrajectoryStore, monkeypatch: pytest.MonkeyPatch) -> list[Trajectory]:
    """The trajectories that are read from the database from now on."""
    read: list[Trajectory] = []
    added = store.added
    monkeypatch.setattr(store, "added", lambda *on, **since: [read.append(one) or one for one in added(*on, **since)])
    return read


def test_what_a_snapshot_gives_is_what_the_rows_give_and_no_row_is_read(
    filled: TrajectoryStore, monkeypatch: pytest.MonkeyPatch
):
    read = read_by(filled, monkeypatch)
    loaded = recollect(filled, EMBEDDER)
    assert read == []
    assert seen(loaded) == by_rows(filled)
    assert [one.trajectory_id for one in read] == list(filled.ids("default"))


def test_of_rows_that_came_later_those_alone_are_read(filled: TrajectoryStore, monkeypatch: pytest.MonkeyPatch):
    filled.add_many(map(walk, range(50, 54)))
    read = read_by(filled, monkeypatch)
    loaded = recollect(filled, EMBEDDER)
    assert [one.task.text for one in read] == [walk(number).task.text for number in range(50, 54)]
    assert loaded.experience.trajectory_ids == list(filled.ids("default"))
    columns = held(loaded.experience)
    by_rows(filled)
    assert repr(columns) == repr(held(recollect(filled, EMBEDDER).experience))


def test_a_snapshot_far_behind_the_rows_is_taken_anew(filled: TrajectoryStore, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("trajstore.layers.TAIL_ROWS", 4)
    old = file_of(filled)
    filled.add_many(map(walk, range(50, 60)))
    recollect(filled, EMBEDDER)
    assert file_of(filled) != old
    assert not old.exists()
    read = read_by(filled, monkeypatch)
    assert seen(recollect(filled, EMBEDDER)) == by_rows(filled)
    assert len(read) == 30


def test_the_trajectories_behind_a_snapshot_can_still_be_read(filled: TrajectoryStore):
    assert recollect(filled, EMBEDDER).read() == tuple(filled.trajectories())


def forget_a_source(store: TrajectoryStore) -> None:
    assert store.forget(source="others") == 5


def remove_one(store: TrajectoryStore) -> None:
    store.remove(store.ids("default")[3])


def remove_one_and_add_one(store: TrajectoryStore) -> None:
    remove_one(store)
    store.add(walk(70))


def judge_one(store: TrajectoryStore) -> None:
    left = EpisodeRow("e", "default", store.ids("default")[1], None, None, "{}", "censored", 1.0)
    store.logbook.end_episode(left)
    assert store.judge(replace(left, success=False, reward=0.0, stop_reason="late"), {}) == "applied"


def go_back_to_a_backup(store: TrajectoryStore) -> None:
    place = Path(store.path).with_name("copy.db")
    backup(store, place)
    store.add_many(map(walk, range(80, 90)))
    recollect(store, EMBEDDER)
    store.close()
    restore(place, Path(store.path), overwriting=True)


CHANGES: dict[str, Callable[[TrajectoryStore], None]] = {
    "forget": forget_a_source,
    "remove": remove_one,
    "remove and add": remove_one_and_add_one,
    "judge": judge_one,
    "restore": go_back_to_a_backup,
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_was_removed_judged_or_restored_never_comes_back_through_a_snapshot(filled: TrajectoryStore, change: str):
    kept, record = file_of(filled).read_bytes(), filled.artifact(NAME, LAYOUT)
    with TrajectoryStore(filled.path) as another:
        CHANGES[change](another)
    assert record is not None
    with TrajectoryStore(filled.path) as opened:
        opened.put_artifact(NAME, LAYOUT, record)  # as if whoever removed them had left the record and the file
        file = file_of(opened)
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(kept)
        loaded = recollect(opened, EMBEDDER)
        assert loaded.experience.trajectory_ids == list(opened.ids("default"))
        assert seen(loaded) == by_rows(opened)


def test_what_is_forgotten_takes_the_file_along(filled: TrajectoryStore):
    assert b"find thing" in file_of(filled).read_bytes()
    filled.forget(source="others")
    assert list(index_folder(filled.path).iterdir()) == []


def test_a_row_that_was_changed_by_hand_is_read_again(filled: TrajectoryStore):
    changed = replace(filled.get(filled.ids("default")[0]), success=None)
    with filled.lent_connection() as connection:
        connection.execute("UPDATE trajectories SET content_hash = 'x', success = NULL WHERE seq = 1")
    assert recollect(filled, EMBEDDER).read()[0] == changed
    assert np.isnan(recollect(filled, EMBEDDER).experience.trajectory_column("success")[0])


def test_texts_of_states_are_not_in_the_file(filled: TrajectoryStore):
    assert b"before thing" not in file_of(filled).read_bytes()


def flip_in(place: float) -> Callable[[Path], None]:
    def flip(file: Path) -> None:
        content = bytearray(file.read_bytes())
        used = [at for at, byte in enumerate(content) if byte]
        content[used[int(place * (len(used) - 1))]] ^= 4
        file.write_bytes(content)

    return flip


DAMAGES: dict[str, Callable[[Path], object]] = {
    "missing": lambda file: file.unlink(),
    "empty": lambda file: file.write_bytes(b""),
    "cut": lambda file: os.truncate(file, file.stat().st_size // 2),
    "cut at the end": lambda file: os.truncate(file, file.stat().st_size - 1),
    "zeroed": lambda file: file.write_bytes(bytes(file.stat().st_size)),
    "foreign": lambda file: write_arrays(file, {"states": np.zeros((3, 2))}, {}),
    **{f"one bit at {place}": flip_in(place) for place in (0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0)},
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_silently_replaced_by_the_rows_and_the_doctor_says_so(
    filled: TrajectoryStore, damage: str, monkeypatch: pytest.MonkeyPatch
):
    file = file_of(filled)
    DAMAGES[damage](file)
    assert unusable_files(filled) == (file,)
    assert any(file.name in finding.what for finding in examine(filled))
    read = read_by(filled, monkeypatch)
    loaded = recollect(filled, EMBEDDER)
    assert len(read) == 20
    assert unusable_files(filled) == unrecorded_files(filled) == ()
    assert seen(loaded) == by_rows(filled)


def test_a_missing_file_is_told_in_the_status(filled: TrajectoryStore):
    assert index_status(filled)["fresh"] is True
    file_of(filled).unlink()
    assert index_status(filled)["fresh"] is False


@pytest.mark.parametrize("record", [b"", b"no json", b"[]", b"{}", b'{"digest": "\\u0000"}', b"\xff\xfe", b"null"])
def test_a_damaged_record_is_as_good_as_none(filled: TrajectoryStore, record: bytes):
    filled.put_artifact(NAME, LAYOUT, record)
    assert SnapshotCache(filled, "default").file() is None
    assert seen(recollect(filled, EMBEDDER)) == by_rows(filled)


def test_a_snapshot_of_another_store_is_not_taken(filled: TrajectoryStore, tmp_path: Path):
    with TrajectoryStore(tmp_path / "other.db") as other:
        other.add_many(walk(number, "theirs") for number in range(20))
        recollect(other, EMBEDDER)
        theirs, record = file_of(other), other.artifact(NAME, LAYOUT)
        assert record is not None
        filled.put_artifact(NAME, LAYOUT, record)
        theirs.rename(index_folder(filled.path) / theirs.name)
    assert seen(recollect(filled, EMBEDDER)) == by_rows(filled)


def test_another_embedder_reads_the_rows(filled: TrajectoryStore):
    other = HashedEmbedder(16)
    filled.replace_embedder(other.identity)
    assert recollect(filled, other).experience.states.shape == (40, 16)


def test_a_python_that_numbers_suffixes_otherwise_reads_the_rows(
    filled: TrajectoryStore, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("trajstore.snapshot.hashing", lambda: "of another version")
    read = read_by(filled, monkeypatch)
    recollect(filled, EMBEDDER)
    assert len(read) == 20


def test_a_snapshot_that_was_taken_before_a_removal_is_not_kept(filled: TrajectoryStore):
    loaded = recollect(filled, EMBEDDER)
    taken = Taken.of(loaded, EMBEDDER.identity.fingerprint)
    filled.forget(source="others")
    SnapshotCache(filled, "default").save(taken)
    assert list(index_folder(filled.path).iterdir()) == []
    assert SnapshotCache(filled, "default").record() is None


@pytest.mark.parametrize("lacking", ["step goal", "names tools", "states"])
def test_a_snapshot_of_fewer_columns_than_there_are_today_is_not_taken(
    filled: TrajectoryStore, lacking: str, monkeypatch: pytest.MonkeyPatch
):
    whole = Contents.to_arrays
    taken = Taken.of(recollect(filled, EMBEDDER), EMBEDDER.identity.fingerprint)
    with monkeypatch.context() as patch:
        patch.setattr(Contents, "to_arrays", lambda one: {k: v for k, v in whole(one).items() if k != lacking})
        SnapshotCache(filled, "default").save(taken)
    assert unusable_files(filled) == ()
    read = read_by(filled, monkeypatch)
    loaded = recollect(filled, EMBEDDER)
    assert len(read) == 20
    assert seen(loaded) == by_rows(filled)


def test_of_a_snapshot_that_could_not_be_recorded_no_file_stays(filled: TrajectoryStore):
    taken = Taken.of(recollect(filled, EMBEDDER), EMBEDDER.identity.fingerprint)
    with TrajectoryStore(filled.path) as another:
        another.forget(source="others")
    filled.close()
    SnapshotCache(filled, "default").save(taken)
    assert list(index_folder(filled.path).iterdir()) == []


def test_what_grows_in_one_process_changes_neither_the_file_nor_what_others_see(filled: TrajectoryStore):
    content = file_of(filled).read_bytes()
    one, other = recollect(filled, EMBEDDER), recollect(filled, EMBEDDER)
    before = seen(other)
    one.experience.extend(map(walk, range(100, 120)))
    one.retriever.refresh()
    assert len(one.experience) == 80
    assert seen(other) == before
    assert file_of(filled).read_bytes() == content


def test_the_snapshots_of_two_namespaces_do_not_touch_each_other(filled: TrajectoryStore):
    filled.add_many(walk(number, namespace="tenant") for number in range(4))
    recollect(filled, EMBEDDER, "tenant")
    assert len(recollect(filled, EMBEDDER).experience) == 40
    assert len(recollect(filled, EMBEDDER, "tenant").experience) == 8
    assert len(list(index_folder(filled.path).iterdir())) == 2


def test_a_folder_that_cannot_be_made_only_costs_reading_the_rows(store_path: Path):
    index_folder(str(store_path)).write_text("a file where the folder should be")
    with TrajectoryStore(store_path) as store:
        store.add_many(map(walk, range(5)))
        assert len(recollect(store, EMBEDDER).experience) == len(recollect(store, EMBEDDER).experience) == 10


def test_a_store_without_a_folder_has_no_snapshot(store: TrajectoryStore, tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    store.add_many(map(walk, range(5)))
    assert len(recollect(store, EMBEDDER).experience) == 10
    assert SnapshotCache(store, "default").file() is None
    assert list(tmp_path.iterdir()) == []


def test_a_snapshot_can_be_taken_while_the_first_answers_are_given(store_path: Path):
    with TrajectoryStore(store_path) as store:
        store.add_many(map(walk, range(10)))
        recollect(store, EMBEDDER, in_background=True)
        while any(thread.name == "trajstore snapshot" for thread in threading.enumerate()):
            time.sleep(0.005)
        assert unusable_files(store) == unrecorded_files(store) == ()
        assert file_of(store).is_file()


def arrays_of(contents: Contents) -> str:
    return repr({name: array.tolist() for name, array in contents.to_arrays().items()})


@pytest.mark.filterwarnings("ignore:overflow encountered in cast")
@settings(max_examples=25)
@given(st.lists(TRAJECTORIES, max_size=4), st.lists(TRAJECTORIES, max_size=3))
def test_what_is_restored_and_then_grows_is_what_was_learned_at_once(
    tmp_path_factory: pytest.TempPathFactory, first: list[Trajectory], later: list[Trajectory]
):
    numbered = [replace(one, trajectory_id=f"t{number}") for number, one in enumerate([*first, *later])]
    first, later = numbered[: len(first)], numbered[len(first) :]
    whole, part = (Experience(EMBEDDER.embed, 32) for _ in range(2))
    whole.extend(first)
    file = tmp_path_factory.mktemp("arrays") / "file"
    contents = whole.contents()
    digest = write_arrays(file, contents.to_arrays(), {"weights": contents.weights})
    part.restore(Contents.of(read_arrays(file, digest)), {one.trajectory_id: one for one in numbered}.__getitem__)
    for experience in (whole, part):
        experience.extend(later)
    assert arrays_of(part.contents()) == arrays_of(whole.contents())
    assert part.contents().weights == whole.contents().weights
    texts = [[experience.moment_text(row) for row in range(len(experience))] for experience in (whole, part)]
    assert texts[0] == texts[1]
