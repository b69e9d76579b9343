"""Laws of the store, over any trajectories and any order of use."""

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule
from trajectory_samples import TEXTS, TRAJECTORIES, content, make_step, make_trajectory

from trajstore.codec import content_hash
from trajstore.doctor import damaged_rows, examine
from trajstore.embedding import HashedEmbedder, text_hash
from trajstore.experience import embedded_texts
from trajstore.filters import TrajectoryFilter
from trajstore.logbook import EpisodeRow
from trajstore.recollection import recollect
from trajstore.schema import Task, Trajectory
from trajstore.searching import search
from trajstore.store import TrajectoryStore, index_folder
from trajstore.vector_cache import VectorCache

SECRET = "s3cr3t-w0rds"
EMBEDDER = HashedEmbedder(16)
LAW = settings(deadline=None, max_examples=100)
NAMES = st.sampled_from("ab")
SMALL_TRAJECTORIES = st.builds(
    lambda text, namespace, source, success: make_trajectory(
        task=Task(text, namespace=namespace), source=source, success=success
    ),
    st.sampled_from("tuvw"),
    NAMES,
    NAMES,
    st.none() | st.booleans(),
)


@LAW
@given(TRAJECTORIES)
def test_what_is_added_comes_back_equal(trajectory: Trajectory):
    with TrajectoryStore(":memory:", redactor=None) as store:
        trajectory_id = store.add(trajectory)
        stored = store.get(trajectory_id)
    assert content(stored) == content(trajectory)
    assert stored.trajectory_id == trajectory_id
    assert trajectory.created_at in (None, stored.created_at)


@LAW
@given(TRAJECTORIES)
def test_the_content_hash_survives_storing(trajectory: Trajectory):
    with TrajectoryStore(":memory:", redactor=None) as store:
        stored = store.get(store.add(trajectory))
        assert content_hash(stored) == content_hash(trajectory)
        assert store.add_batch([stored]).duplicates == 1


@LAW
@given(TRAJECTORIES, TRAJECTORIES)
def test_contents_that_differ_are_stored_apart(one: Trajectory, other: Trajectory):
    with TrajectoryStore(":memory:", redactor=None) as store:
        store.add_many([one, other])
        stored = [content(trajectory) for trajectory in store.trajectories()]
    assert content(one) in stored
    assert content(other) in stored


@LAW
@given(st.lists(TRAJECTORIES, max_size=4))
def test_one_batch_and_one_by_one_store_the_same(trajectories: list[Trajectory]):
    with TrajectoryStore(":memory:", redactor=None) as batched, TrajectoryStore(":memory:", redactor=None) as single:
        batched.add_batch(trajectories)
        for trajectory in trajectories:
            single.add(trajectory)
        assert [content(one) for one in batched.trajectories()] == [content(one) for one in single.trajectories()]
        assert batched.stats() == single.stats()


@LAW
@given(st.lists(TRAJECTORIES, max_size=3))
def test_a_second_addition_adds_nothing(trajectories: list[Trajectory]):
    with TrajectoryStore(":memory:", redactor=None) as store:
        first = store.add_batch(trajectories)
        before = store.generation
        again = store.add_batch(trajectories)
        assert (again.ids, again.added, again.steps) == (first.ids, 0, 0)
        assert again.duplicates == len(trajectories) == first.added + first.duplicates
        assert store.generation == before


@LAW
@given(TEXTS, TEXTS)
def test_a_filter_never_reads_its_value_as_sql(source: str, asked: str):
    with TrajectoryStore(":memory:", redactor=None) as store:
        store.add(make_trajectory(source=source))
        assert len(list(store.trajectories(TrajectoryFilter(source=asked)))) == (source == asked)


@settings(deadline=None, max_examples=30)
@given(st.lists(st.lists(st.tuples(st.booleans(), st.integers(0, 900)), max_size=6), max_size=8))
@example([[(False, 551)], [(False, 43), (True, 128), (False, 10), (True, 71), (True, 336), (False, 453)]])
def test_what_is_forgotten_is_in_no_byte_of_any_file(batches: list[list[tuple[bool, int]]]):
    with tempfile.TemporaryDirectory() as folder, TrajectoryStore(Path(folder) / "agent.db", redactor=None) as store:
        for at, batch in enumerate(batches):
            store.add_many(secretive(f"{at}-{place}", *about) for place, about in enumerate(batch))
        VectorCache(store, HashedEmbedder(16)).embed(
            [text for trajectory in store.trajectories() for text in embedded_texts(trajectory)]
        )
        secret = [one for one in store.trajectories() if one.source == SECRET]
        keys = [text_hash(text) for trajectory in secret for text in embedded_texts(trajectory)]
        assert store.forget(source=SECRET) == len(secret)
        left = b"".join(path.read_bytes() for path in Path(folder).rglob("*") if path.is_file())
        assert SECRET.encode() not in left
        assert store.vectors(keys) == {}


def secretive(name: str, is_secret: bool, length: int) -> Trajectory:  # noqa: FBT001 - Hypothesis draws it
    """A trajectory with one word in every field, which is the secret one or not."""
    word = SECRET if is_secret else "open"
    step = make_step(tool=word, state=word, args={word: word}, observation=word * length, error=word)
    task = Task(f"{word} {name}", word, word, word)
    return make_trajectory(task=task, steps=(step,), source=word, agent=word, stop_reason=word, metadata={word: word})


class StoreAgainstDictionary(RuleBasedStateMachine):
    """The store does what a dictionary would, whatever is done to it and however often it is opened again.

    Another back end overrides `open_store`, which must give the same store whenever it is called with a folder.
    """

    ids = Bundle("ids")
    left = Bundle("left")

    def open_store(self, folder: Path) -> TrajectoryStore:
        return TrajectoryStore(folder / "agent.db", redactor=None)

    def __init__(self) -> None:
        super().__init__()
        self._folder = tempfile.TemporaryDirectory()
        self._store = self.open_store(Path(self._folder.name))
        self._episodes = 0
        self._model: dict[str, Trajectory] = {}
        self._generations = [self._store.generation]

    @rule(target=ids, batch=st.lists(SMALL_TRAJECTORIES, max_size=3))
    def add(self, batch: Sequence[Trajectory]) -> object:
        known = len(self._model)
        report = self._store.add_batch(batch)
        for trajectory_id, trajectory in zip(report.ids, batch, strict=True):
            assert self._model.setdefault(trajectory_id, trajectory) == trajectory
        assert report.added == len(self._model) - known
        self._note(changed=report.added > 0)
        return multiple(*report.ids)

    @rule(trajectory_id=consumes(ids))
    def remove(self, trajectory_id: str) -> None:
        if self._model.pop(trajectory_id, None) is not None:
            self._store.remove(trajectory_id)
            self._note(changed=True)

    @rule(source=NAMES)
    def forget_source(self, source: str) -> None:
        self._forget({key for key, one in self._model.items() if one.source == source}, source=source)

    @rule(namespace=NAMES)
    def forget_namespace(self, namespace: str) -> None:
        gone = {key for key, one in self._model.items() if one.task.namespace == namespace}
        self._forget(gone, namespace=namespace)

    @rule(target=left, text=st.sampled_from("xyz"), namespace=NAMES)
    def leave_an_episode(self, text: str, namespace: str) -> object:
        """Store a trajectory that nobody judged yet, and the censored end of its episode."""
        self._episodes += 1
        one = make_trajectory(task=Task(f"{text} {self._episodes}", namespace=namespace), success=None, reward=None)
        trajectory_id = self._store.add(one)
        self._model[trajectory_id] = one
        self._note(changed=True)
        row = EpisodeRow(f"e{self._episodes}", namespace, trajectory_id, None, None, "{}", "censored", 1.0)
        assert self._store.logbook.end_episode(row) == "applied"
        return row

    @rule(row=consumes(left), success=st.booleans())
    def judge(self, row: EpisodeRow, success: bool) -> None:  # noqa: FBT001 - Hypothesis draws it
        stored = self._model.get(row.trajectory_id)
        judged = replace(row, success=success, reward=float(success), stop_reason="finished late")
        assert self._store.judge(judged, {"turns": 2.0}) == ("applied" if stored else "unknown")
        if stored is not None:
            self._model[row.trajectory_id] = replace(
                stored, success=success, reward=float(success), kpis={"turns": 2.0}, stop_reason="finished late"
            )
            assert self._store.judge(judged, {}) == "duplicate"
        self._note(changed=stored is not None)

    @rule(namespace=NAMES, source=NAMES, success=st.none() | st.booleans())
    def filter_and_search(self, namespace: str, source: str, success: bool | None) -> None:  # noqa: FBT001 - as above
        where = TrajectoryFilter(namespace=namespace, source=source, success=success)
        expected = [
            key
            for key, one in self._model.items()
            if (one.task.namespace, one.source) == (namespace, source) and success in (None, one.success)
        ]
        assert [one.trajectory_id for one in self._store.trajectories(where)] == expected
        loaded = recollect(self._store, EMBEDDER, namespace)
        mine = {key: one for key, one in self._model.items() if one.task.namespace == namespace}
        for text in {one.task.text for one in mine.values()}:
            found = {hit.trajectory for hit in search(loaded, text, k=40)}
            assert {key for key, one in mine.items() if one.task.text == text} <= found <= mine.keys()

    @rule()
    def throw_the_index_away(self) -> None:
        shutil.rmtree(index_folder(self._store.path), ignore_errors=True)

    @rule()
    def open_again(self) -> None:
        self._store.close()
        self._store = self.open_store(Path(self._folder.name))

    @rule()
    def ask_the_doctor(self) -> None:
        assert damaged_rows(self._store) == ()
        assert [finding for finding in examine(self._store) if finding.severity == "error"] == []

    @invariant()
    def the_same_trajectories_are_there_in_the_same_order(self) -> None:
        stored = {one.trajectory_id: content(one) for one in self._store.trajectories()}
        assert list(stored.items()) == list(self._model.items())

    @invariant()
    def counts_agree(self) -> None:
        stats = self._store.stats()
        assert stats.trajectories == len(self._model)
        assert stats.steps == sum(len(one.steps) for one in self._model.values())
        assert stats.successes == sum(one.success is True for one in self._model.values())

    @invariant()
    def numbers_rise(self) -> None:
        seqs = [head.seq for head in self._store.read_trajectory_rows()]
        assert all(earlier < later for earlier, later in pairwise(seqs))

    def teardown(self) -> None:
        self._store.close()
        self._folder.cleanup()

    def _forget(self, gone: set[str], **names: str) -> None:
        assert self._store.forget(**names) == len(gone)
        self._model = {key: one for key, one in self._model.items() if key not in gone}
        self._note(changed=bool(gone))

    def _note(self, *, changed: bool) -> None:
        generation = self._store.generation
        assert (generation not in self._generations) == changed
        assert changed or generation == self._generations[-1]
        self._generations.append(generation)


StoreAgainstDictionary.TestCase.settings = settings(deadline=None, max_examples=8, stateful_step_count=12)
TestStoreAgainstDictionary = StoreAgainstDictionary.TestCase


@LAW
@given(TRAJECTORIES)
def test_scanned_cells_agree_with_the_records(trajectory: Trajectory):
    with TrajectoryStore(":memory:", redactor=None) as store:
        store.add(trajectory)
        cells = list(store.read_steps())
        (head,) = store.read_trajectory_rows()
    assert [(one.tool, one.state, one.observation, one.reward, one.outcome, one.kind) for one in cells] == [
        (step.tool, step.state, step.observation, step.reward, step.outcome, step.kind) for step in trajectory.steps
    ]
    assert [one.is_failed for one in cells] == [step.error is not None for step in trajectory.steps]
    assert head.success is trajectory.success
    assert replace(trajectory.task, text=head.task_text) == trajectory.task
