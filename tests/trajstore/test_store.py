"""The store by example: what is kept, what is one and the same, what is erased."""

import contextlib
import re
import threading
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from trajectory_samples import EVERYTHING_USED, content, make_step, make_trajectory

from trajstore.embedding import text_hash
from trajstore.errors import EmbedderMismatch, InvalidRecord, StoreUnavailable, UnknownTrajectory, UsageError
from trajstore.experience import embedded_texts
from trajstore.filters import Scope, TrajectoryFilter
from trajstore.identity import EmbedderIdentity
from trajstore.logbook import DecisionRow, EpisodeRow
from trajstore.rows import LARGEST_TEXT
from trajstore.schema import Task, Trajectory
from trajstore.store import TrajectoryStore

SMALL = EmbedderIdentity("small", 3, "small-v1")
SECRET = "s3cr3t-w0rds"


def decision(name: str, episode: str, namespace: str = "default") -> DecisionRow:
    return DecisionRow(name, episode, 0, namespace, 1.0, "follow", "search", "{}", 0.5, "[]", "[]", "[]", SECRET)


def episode(name: str, trajectory_id: str, namespace: str = "default") -> EpisodeRow:
    return EpisodeRow(
        name, namespace, trajectory_id, success=True, reward=1.0, kpis="{}", stop_reason="done", finished_at=2.0
    )


def stored_texts(path: Path) -> bytes:
    return b"".join(file.read_bytes() for file in path.parent.iterdir() if file.is_file())


def test_what_is_added_comes_back_equal(store: TrajectoryStore):
    stored = store.get(store.add(EVERYTHING_USED))
    assert stored == replace(EVERYTHING_USED, trajectory_id=stored.trajectory_id)


def test_failed_trajectories_and_unjudged_ones_are_kept_beside_successes(store: TrajectoryStore):
    ids = store.add_many([make_trajectory(success=success) for success in (True, False, None)])
    assert [store.get(one).success for one in ids] == [True, False, None]
    assert store.stats().successes == 1


def test_what_names_no_time_is_given_the_time_of_adding():
    with TrajectoryStore(":memory:", clock=lambda: 12.5) as store:
        assert store.get(store.add(make_trajectory())).created_at == 12.5
        assert store.get(store.add(EVERYTHING_USED)).created_at == EVERYTHING_USED.created_at


def test_a_trajectory_keeps_the_id_that_it_brings(store: TrajectoryStore):
    assert store.add(make_trajectory(trajectory_id="mine")) == "mine"


def test_an_id_that_another_trajectory_has_is_refused(store: TrajectoryStore):
    store.add(make_trajectory("a", trajectory_id="mine"))
    with pytest.raises(InvalidRecord, match="'mine' is that of another stored trajectory; leave it empty"):
        store.add(make_trajectory("b", trajectory_id="mine"))
    assert store.stats().trajectories == 1


def test_the_same_content_twice_is_stored_once(store: TrajectoryStore):
    first = store.add_batch([make_trajectory()])
    again = store.add_batch([make_trajectory(created_at=5.0), make_trajectory("other"), make_trajectory()])
    assert (first.added, first.duplicates, first.steps) == (1, 0, 2)
    assert (again.added, again.duplicates, again.steps) == (1, 2, 2)
    assert again.ids[0] == again.ids[2] == first.ids[0]


def test_what_was_read_from_a_store_is_known_to_it(store: TrajectoryStore):
    trajectory_id = store.add(make_trajectory(reward=1))
    report = store.add_batch([store.get(trajectory_id)])
    assert (report.added, report.ids) == (0, (trajectory_id,))


def test_the_same_content_in_another_namespace_is_another_trajectory(store: TrajectoryStore):
    ids = store.add_many([make_trajectory(task=Task("a", namespace=namespace)) for namespace in "xy"])
    assert len(set(ids)) == 2
    assert store.ids("x") == ids[:1]


def test_an_unknown_id_is_an_error_that_names_it(store: TrajectoryStore):
    for use in (store.get, store.remove):
        with pytest.raises(UnknownTrajectory, match=re.escape(f"no trajectory 'nobody' in {store.path}")):
            use("nobody")


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        (TrajectoryFilter(), "abc"),
        (TrajectoryFilter(namespace="x"), "a"),
        (TrajectoryFilter(source="logs"), "bc"),
        (TrajectoryFilter(tool="fly"), "b"),
        (TrajectoryFilter(success=True), "a"),
        (TrajectoryFilter(success=False), "b"),
        (TrajectoryFilter(family="f"), "ac"),
        (TrajectoryFilter(group="g"), "c"),
        (TrajectoryFilter(source="logs", success=False), "b"),
        (TrajectoryFilter(ids=()), ""),
    ],
)
def test_every_condition_of_a_filter_must_hold(store: TrajectoryStore, where: TrajectoryFilter, expected: str):
    store.add_many(
        [
            make_trajectory(task=Task("a", family="f", namespace="x"), success=True),
            make_trajectory("b", ("fly", "fly"), source="logs", success=False),
            make_trajectory(task=Task("c", family="f", group="g"), source="logs", success=None),
        ]
    )
    assert [trajectory.task.text for trajectory in store.trajectories(where)] == list(expected)


def test_trajectories_come_in_the_order_of_adding_across_chunks(store: TrajectoryStore):
    texts = [f"task {number}" for number in range(450)]
    store.add_many(make_trajectory(text) for text in texts)
    assert [trajectory.task.text for trajectory in store.trajectories()] == texts


def test_a_store_may_be_changed_while_it_is_read(store: TrajectoryStore):
    store.add_many(make_trajectory(f"task {number}") for number in range(450))
    for number, trajectory in enumerate(store.trajectories()):
        if number < 10:
            store.remove(trajectory.trajectory_id)
            store.add(make_trajectory(f"new {number}"))
    assert store.stats().trajectories == 450


def test_stats_count_what_is_stored(store: TrajectoryStore):
    store.add_many([make_trajectory("a", ("x", "y", "x"), source="s"), make_trajectory("b", ("x",), success=False)])
    stats = store.stats()
    assert (stats.trajectories, stats.steps, stats.successes) == (2, 4, 1)
    assert (stats.tools, stats.sources, stats.namespaces) == ({"x": 3, "y": 1}, {"s": 1, "": 1}, {"default": 2})


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (make_trajectory(agent="\ud800"), "agent must be valid Unicode, got a lone surrogate at position 0"),
        (make_trajectory(steps=(make_step(error="a\udfff"),)), "error must be valid Unicode"),
        (make_trajectory(steps=(make_step(args={"a": "\ud800"}),)), "args must be valid Unicode"),
        (make_trajectory(steps=(make_step(args={"a": float("nan")}),)), "must be plain JSON"),
        (make_trajectory(steps=(make_step(observation=None),)), "observation must be given, got None"),
        (make_trajectory(steps=(make_step(observation=["a"]),)), "observation must be text, got list"),
        (make_trajectory(steps=(make_step(tokens=2**63),)), "tokens must be a whole number of at most 64 bits"),
        (
            make_trajectory(steps=(make_step(tokens=1.5),)),
            "tokens must be a whole number of at most 64 bits, got float",
        ),
        (make_trajectory(reward=2**53 + 1), "reward must be a number that 64-bit floats hold exactly"),
        (make_trajectory(steps=(make_step(observation="a" * (LARGEST_TEXT + 1)),)), "at most 67,108,864 characters"),
    ],
    ids=lambda value: value[:24] if isinstance(value, str) else "",
)
def test_a_record_that_would_not_come_back_leaves_nothing_of_its_batch(
    store: TrajectoryStore, broken: Trajectory, reason: str
):
    with pytest.raises(InvalidRecord, match=reason):
        store.add_batch([make_trajectory("before"), broken, make_trajectory("after")])
    assert store.stats().trajectories == store.stats().steps == 0


def test_a_batch_that_fails_at_its_last_row_leaves_nothing(store: TrajectoryStore):
    store.add(make_trajectory("a", trajectory_id="mine"))
    with pytest.raises(InvalidRecord):
        store.add_batch([make_trajectory("b"), make_trajectory("c", trajectory_id="mine")])
    assert [trajectory.task.text for trajectory in store.trajectories()] == ["a"]


def test_a_source_of_trajectories_that_fails_leaves_nothing(store: TrajectoryStore):
    with pytest.raises(ZeroDivisionError):
        store.add_many(make_trajectory(str(1 // (2 - number))) for number in range(4))
    assert store.stats().trajectories == 0


def test_an_observation_of_50_megabytes_is_stored_whole(store_path: Path):
    observation = "0123456789" * 5_000_000
    with TrajectoryStore(store_path) as store:
        trajectory_id = store.add(make_trajectory(steps=(make_step(observation=observation),)))
    with TrajectoryStore(store_path) as store:
        assert store.get(trajectory_id).steps[0].observation == observation


def test_the_generation_changes_with_every_addition_and_removal(store: TrajectoryStore):
    seen = [store.generation]
    first = store.add(make_trajectory("a"))
    seen.append(store.generation)
    store.add(make_trajectory("b"))
    seen.append(store.generation)
    store.remove(first)
    seen.append(store.generation)
    store.add(make_trajectory("a"))
    seen.append(store.generation)
    assert len(set(seen)) == len(seen)


def test_the_generation_stays_where_nothing_was_added_or_removed(store: TrajectoryStore):
    store.add(make_trajectory())
    before = store.generation
    store.add(make_trajectory())
    assert store.forget(source="nobody") == 0
    assert store.generation == before


def test_the_generation_shows_what_another_store_on_the_file_did(store_path: Path):
    with TrajectoryStore(store_path) as one, TrajectoryStore(store_path) as other:
        before = one.generation
        other.add(make_trajectory())
        assert one.generation != before


def test_steps_are_scanned_in_order_from_any_number_on(store: TrajectoryStore):
    trajectories = [make_trajectory(f"task {number}", ("a", "b", "c")) for number in range(700)]
    store.add_many(trajectories)
    cells = list(store.read_steps())
    assert [(one.step_index, one.tool) for one in cells] == [(0, "a"), (1, "b"), (2, "c")] * 700
    assert list(store.read_steps(cells[1500].seq)) == cells[1501:]
    assert all(earlier.seq < later.seq for earlier, later in pairwise(cells))


def test_scanned_cells_are_those_that_were_stored(store: TrajectoryStore):
    trajectory_id = store.add(EVERYTHING_USED)
    (head,) = store.read_trajectory_rows()
    first, second = store.read_steps()
    assert (head.id, head.namespace, head.group, head.family) == (trajectory_id, "tenant", "g1", "f1")
    assert (head.success, head.reward, head.trust, head.judge) == (False, 0.5, 0.25, "llm")
    assert (first.trajectory_seq, first.step_index, first.outcome, first.kind) == (
        head.seq,
        2,
        "tool_error",
        "verification",
    )
    assert (first.is_failed, second.is_failed, second.args) == (True, False, "{}")
    assert (first.reward, second.reward, first.observation) == (-0.25, None, EVERYTHING_USED.steps[0].observation)


def test_numbers_are_not_used_again_and_removals_are_counted(store: TrajectoryStore):
    store.add(make_trajectory("a"))
    last = store.add(make_trajectory("b"))
    seqs = [head.seq for head in store.read_trajectory_rows()]
    assert store.removals == 0
    store.remove(last)
    store.add(make_trajectory("c"))
    assert store.removals == 1
    (new,) = store.read_trajectory_rows(max(seqs))
    assert new.task_text == "c"


def test_removing_takes_the_steps_along(store: TrajectoryStore):
    keep, go = store.add_many([make_trajectory("keep"), make_trajectory("go")])
    store.remove(go)
    assert [content(one) for one in store.trajectories()] == [make_trajectory("keep")]
    assert store.stats().steps == 2
    assert store.get(keep).trajectory_id == keep


def test_forgetting_takes_exactly_what_it_names(store: TrajectoryStore):
    for source in "ab":
        for namespace in "xy":
            store.add(make_trajectory(task=Task("t", namespace=namespace), source=source))
    assert store.forget(source="a") == 2
    assert store.forget(namespace="y") == 1
    (left,) = store.trajectories()
    assert (left.source, left.task.namespace) == ("b", "x")


@pytest.mark.parametrize("names", [{}, {"source": "a", "namespace": "b"}])
def test_forgetting_needs_exactly_one_name(store: TrajectoryStore, names: dict[str, str]):
    with pytest.raises(UsageError, match="either source or namespace"):
        store.forget(**names)


def test_the_decisions_of_a_forgotten_episode_are_forgotten(store: TrajectoryStore):
    keep, go = store.add_many([make_trajectory("keep", source="keep"), make_trajectory("go", source="go")])
    store.logbook.add([decision("d1", "e1"), decision("d2", "e2")])
    store.logbook.end_episode(episode("e1", keep))
    store.logbook.end_episode(episode("e2", go))
    store.forget(source="go")
    assert [one.id for one in store.logbook.decisions()] == ["d1"]


def test_a_forgotten_namespace_takes_its_unfinished_episodes_along(store: TrajectoryStore):
    store.logbook.add([decision("d1", "e1", "x"), decision("d2", "e2", "y")])
    assert store.forget(namespace="x") == 0
    assert [one.id for one in store.logbook.decisions()] == ["d2"]


def test_forgotten_words_are_in_no_file(store_path: Path):
    secret = make_trajectory(SECRET, source="go", steps=(make_step(observation=SECRET * 2000, args={"k": SECRET}),))
    with TrajectoryStore(store_path) as store:
        store.add_many([secret, make_trajectory("keep")])
        assert SECRET.encode() in stored_texts(store_path)
        store.forget(source="go")
        assert SECRET.encode() not in stored_texts(store_path)
    assert SECRET.encode() not in stored_texts(store_path)


def test_vectors_of_forgotten_texts_are_erased_and_others_stay(store: TrajectoryStore):
    keep, go = make_trajectory("keep", ("a",)), make_trajectory("go", ("b",), source="go")
    store.add_many([keep, go])
    kept = {text_hash(text) for text in embedded_texts(keep)}
    gone = {text_hash(text) for text in embedded_texts(go)}
    store.set_embedder(SMALL)
    store.put_vectors(dict.fromkeys([*kept, *gone], np.ones(3)))
    store.forget(source="go")
    assert set(store.vectors([*kept, *gone])) == kept - gone


def test_vectors_come_back_as_half_floats_and_unknown_ones_are_left_out(store: TrajectoryStore):
    store.set_embedder(SMALL)
    store.put_vectors({b"a": np.array([0.1, -1, 2]), b"b": np.zeros(3)})
    found = store.vectors([b"a", b"none", b"a"])
    assert list(found) == [b"a"]
    assert found[b"a"].dtype == np.float16
    np.testing.assert_allclose(found[b"a"], [0.1, -1, 2], rtol=1e-3)


def test_many_vectors_are_read_as_few_are(store: TrajectoryStore):
    store.set_embedder(SMALL)
    keys = [text_hash(str(number)) for number in range(2000)]
    store.put_vectors({key: np.full(3, number) for number, key in enumerate(keys)})
    found = store.vectors([*keys[:1500], b"none"])
    assert [int(found[key][0]) for key in keys[:1500]] == list(range(1500))
    assert len(found) == 1500


@pytest.mark.parametrize("vector", [np.ones(2), np.ones((1, 3)), np.array([1, np.nan, 1]), np.array([1, 1e6, 1])])
def test_a_vector_that_cannot_be_right_is_refused_with_its_batch(store: TrajectoryStore, vector: np.ndarray):
    store.set_embedder(SMALL)
    with pytest.raises(InvalidRecord, match="a vector of 'small' must have"):
        store.put_vectors({b"good": np.ones(3), b"bad": vector})
    assert store.vectors([b"good", b"bad"]) == {}


def test_vectors_without_an_embedder_are_refused(store: TrajectoryStore):
    with pytest.raises(UsageError, match="call set_embedder before put_vectors"):
        store.put_vectors({b"a": np.ones(3)})


@pytest.mark.parametrize(
    "other", [replace(SMALL, dimension=4), replace(SMALL, fingerprint="v2"), replace(SMALL, name="b")]
)
def test_another_embedder_is_refused_with_the_command_that_re_embeds(store: TrajectoryStore, other: EmbedderIdentity):
    store.set_embedder(SMALL)
    store.set_embedder(SMALL)
    store.put_vectors({b"a": np.ones(3)})
    with pytest.raises(
        EmbedderMismatch, match=re.escape(f"trajstore doctor --db {store.path} --repair --embedder {other.name}")
    ) as error:
        store.set_embedder(other)
    assert "'small' (3 entries)" in str(error.value)
    assert store.embedder_identity() == SMALL
    assert list(store.vectors([b"a"])) == [b"a"]


def test_replacing_the_embedder_drops_vectors_and_what_was_derived(store: TrajectoryStore):
    assert store.embedder_identity() is None
    store.set_embedder(SMALL)
    store.put_vectors({b"a": np.ones(3)})
    store.put_artifact("index", "key", b"bytes")
    store.replace_embedder(replace(SMALL, fingerprint="v2"))
    assert store.vectors([b"a"]) == {}
    assert store.artifact("index", "key") is None


def test_an_artifact_is_found_under_its_own_key_only(store: TrajectoryStore):
    store.put_artifact("index", "old", b"1")
    store.put_artifact("index", "new", b"2")
    assert (store.artifact("index", "old"), store.artifact("index", "new")) == (None, b"2")


def test_logged_decisions_come_back_in_order_and_only_once(store: TrajectoryStore):
    rows = [replace(decision(f"d{number}", "e"), created_at=float(number)) for number in (2, 1, 3)]
    store.logbook.add(rows)
    store.logbook.add(rows[:1])
    assert list(store.logbook.decisions()) == sorted(rows, key=lambda row: row.created_at)


def test_decisions_are_read_by_namespace(store: TrajectoryStore):
    store.logbook.add([decision("d1", "e", "x"), decision("d2", "e", "y")])
    assert [one.id for one in store.logbook.decisions("y")] == ["d2"]


def test_everything_is_there_after_opening_again(store_address: str):
    with TrajectoryStore(store_address) as store:
        trajectory_id = store.add(EVERYTHING_USED)
        store.set_embedder(SMALL)
        store.put_vectors({b"a": np.ones(3)})
        store.logbook.add([decision("d1", "e1")])
        generation = store.generation
    with TrajectoryStore(store_address) as store:
        assert content(store.get(trajectory_id)) == content(EVERYTHING_USED)
        assert list(store.vectors([b"a"])) == [b"a"]
        assert [one.id for one in store.logbook.decisions()] == ["d1"]
        assert store.generation == generation
        assert store.integrity_findings() == ()


def test_what_is_read_is_whole_while_others_erase(store_address: str):
    """A trajectory and its steps are two questions: both see the same moment."""
    is_over = threading.Event()
    with TrajectoryStore(store_address) as reading, TrajectoryStore(store_address, busy_seconds=0.05) as erasing:
        lasting = [reading.add(make_trajectory(f"stays {number}")) for number in range(150)]

        def erase() -> None:
            for number in range(30):
                with contextlib.suppress(StoreUnavailable):  # a file's log keeps traces while another reads it
                    erasing.remove(erasing.add(make_trajectory(f"goes {number}")))
            is_over.set()

        eraser = threading.Thread(target=erase)
        eraser.start()
        while not is_over.is_set():
            found = list(reading.trajectories())
            assert {len(one.steps) for one in found} == {2}
            assert [one.trajectory_id for one in found][: len(lasting)] == lasting
        eraser.join()


@pytest.mark.parametrize("scan_from", [0, 5, 10_000])
def test_vectors_are_found_however_many_are_asked_for(store: TrajectoryStore, monkeypatch, scan_from: int):
    monkeypatch.setattr("trajstore.vectors.SCAN_FROM", scan_from)
    monkeypatch.setattr("trajstore.vectors.LOOK_UPS", 7)
    made = {bytes([number]): np.full(3, number / 64) for number in range(40)}
    store.set_embedder(SMALL)
    store.put_vectors(made)
    for count in (0, 1, 7, 8, 30):
        found = store.vectors([*list(made)[:count], b"nobody's"])
        assert {key: vector.tolist() for key, vector in found.items()} == {
            key: vector.tolist() for key, vector in list(made.items())[:count]
        }


def test_what_is_measured_and_what_is_held_is_told_in_order_on_every_database(store: TrajectoryStore):
    slow = make_step(latency_seconds=0.5, cost_usd=0.25)
    ids = store.add_many(
        [
            make_trajectory("a", steps=(slow, replace(slow, index=1)), kpis={"own": 1.0}),
            make_trajectory("b", success=None, reward=None),
            make_trajectory("c", steps=(), success=False),
        ]
    )
    mark = store.mark
    store.add(make_trajectory("later"))
    found = store.measures(Scope("default"), mark, with_steps=True)
    assert [(one.success, one.reward, one.steps, one.latency_seconds, one.cost_usd) for one in found] == [
        (True, 1.0, 2, 1.0, 0.5),
        (None, None, 2, None, None),
        (False, 1.0, 0, None, None),
    ]
    assert [one.kpis for one in store.measures(Scope("default"), mark, with_steps=False)] == ['{"own":1.0}', "{}", "{}"]
    content = store.content(Scope("default"), mark)
    assert [(one.id, one.content_hash) for one in content] == [(one, store.content_hashes()[one]) for one in ids]
    assert store.content(Scope("default"), store.mark, since=mark)[0].seq > content[-1].seq
