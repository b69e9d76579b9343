"""The log by law and example: what counts once, what gives way, what is erased, and judging an episode late."""

import threading
from collections.abc import Callable
from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trajectory_samples import NAMES, TEXTS, make_trajectory

from trajstore.logbook import CallRow, DecisionRow, EpisodeRow, Logbook, PruningRow
from trajstore.schema import Trajectory
from trajstore.store import TrajectoryStore

REALS = st.floats(-1e9, 1e9)
COUNTS = st.integers(0, 1000)
NO_LOSS = 25


def decision(name: str = "d", episode: str = "e", namespace: str = "default", **changes: object) -> DecisionRow:
    """One logged decision."""
    row = DecisionRow(name, episode, 0, namespace, 1.0, "follow", "search", "{}", 0.5, "[]", "[]", "[]", "")
    return replace(row, **changes)


def ended(name: str = "e", trajectory_id: str = "", **changes: object) -> EpisodeRow:
    """One finished episode."""
    row = EpisodeRow(
        name, "default", trajectory_id, success=True, reward=1.0, kpis="{}", stop_reason="finished", finished_at=2.0
    )
    return replace(row, **changes)


def censored(name: str = "e", trajectory_id: str = "", **changes: object) -> EpisodeRow:
    """One episode that was left without an end."""
    return ended(name, trajectory_id, success=None, reward=None, stop_reason="censored", **changes)


def call(tool: str = "search", episode: str = "e", namespace: str = "default", *, failed: bool = False) -> CallRow:
    """One call."""
    return CallRow(namespace, episode, tool, failed=failed, called_at=3.0)


def pruning(tool: str = "search", namespace: str = "default", **changes: object) -> PruningRow:
    """One pair that is pruned."""
    row = PruningRow(namespace, 2, tool, "quarantined", "bad", 1.0, 20.0, 0.2, "book", 0.7, 1.0, float("inf"), 1)
    return replace(row, **changes)


DECISIONS = st.builds(
    DecisionRow,
    id=NAMES,
    episode=TEXTS,
    step_index=COUNTS,
    namespace=NAMES,
    created_at=REALS,
    source=st.sampled_from(["follow", "explore", "defer"]),
    tool=st.none() | NAMES,
    args=st.none() | TEXTS,
    propensity=st.floats(0, 1),
    ranked=TEXTS,
    pruned=TEXTS,
    evidence=TEXTS,
    reason=TEXTS,
    mode=NAMES,
    arm=NAMES,
    policy=TEXTS,
    cluster=st.integers(-1, 64),
    probabilities=TEXTS,
)
EPISODES = st.builds(
    EpisodeRow,
    id=NAMES,
    namespace=NAMES,
    trajectory_id=TEXTS,
    success=st.none() | st.booleans(),
    reward=st.none() | REALS,
    kpis=TEXTS,
    stop_reason=st.sampled_from(["finished", "censored", "finished late"]),
    finished_at=REALS,
    mode=NAMES,
    arm=NAMES,
    task_group=TEXTS,
    combined=st.none() | st.floats(0, 1),
    parts=TEXTS,
)
PRUNINGS = st.builds(
    PruningRow,
    namespace=st.just("default"),
    cluster=st.integers(-1, 64),
    tool=NAMES,
    status=NAMES,
    reason=TEXTS,
    successes=REALS,
    counts=REALS,
    upper=REALS,
    rival=TEXTS,
    rival_lower=REALS,
    since=REALS,
    until=REALS | st.just(float("inf")),
    strikes=COUNTS,
)


@pytest.fixture
def logbook(store: TrajectoryStore) -> Logbook:
    return store.logbook


@given(st.lists(DECISIONS, max_size=4, unique_by=lambda row: row.id))
def test_decisions_come_back_equal_and_in_the_order_of_time(rows):
    with TrajectoryStore(":memory:") as store:
        store.logbook.add(rows)
        assert store.logbook.decisions() == sorted(rows, key=lambda row: row.created_at)


@given(EPISODES)
def test_an_episode_comes_back_equal(row):
    with TrajectoryStore(":memory:") as store:
        assert store.logbook.end_episode(row) == "applied"
        assert store.logbook.episode(row.id) == row
        assert store.logbook.episodes(row.namespace) == store.logbook.episodes() == [row]


@given(st.lists(PRUNINGS, max_size=4, unique_by=lambda row: (row.cluster, row.tool)))
def test_prunings_come_back_equal(rows):
    with TrajectoryStore(":memory:") as store:
        store.logbook.put_prunings(rows)
        found = store.logbook.prunings("default")
        assert sorted(found, key=lambda row: (row.cluster, row.tool)) == sorted(
            rows, key=lambda row: (row.cluster, row.tool)
        )


def test_a_decision_that_is_there_already_stays_as_it_was(logbook):
    logbook.add([decision(reason="first")])
    logbook.add([decision(reason="second"), decision("other")])
    assert [(row.id, row.reason) for row in logbook.decisions()] == [("d", "first"), ("other", "")]


def test_what_fails_half_way_leaves_nothing_behind(logbook):
    with pytest.raises(Exception, match=r"(?i)not.null constraint"):  # each database has an error of its own
        logbook.add([decision()], [replace(call(), tool=None)])
    assert logbook.decisions() == []
    assert logbook.calls("default") == []


def test_an_episode_that_is_not_there_is_none(logbook):
    assert logbook.episode("nobody") is None


def test_a_report_counts_once_for_each_kind(logbook):
    logbook.add([decision()])
    answers = [logbook.report("d", kind, value, 9.0) for kind, value in (("a", 0.5), ("a", 1.0), ("b", 0.25))]
    assert answers == ["applied", "duplicate", "applied"]
    assert logbook.reports("default") == {("d", "a"): 0.5, ("d", "b"): 0.25}
    assert logbook.counters("default") == {"reports applied": 2, "reports duplicate": 1}


def test_a_report_of_an_unknown_decision_is_counted_and_harmless(logbook):
    logbook.add([decision()])
    assert logbook.report("nobody", "a", 0.5, 9.0) == "unknown"
    assert logbook.reports("default") == {}
    assert (logbook.counters(""), logbook.counters("default")) == ({"reports unknown": 1}, {})


def test_reports_belong_to_the_namespace_of_their_decision(logbook):
    logbook.add([decision("x", namespace="x"), decision("y", namespace="y")])
    logbook.report("x", "a", 0.5, 9.0)
    assert (logbook.reports("x"), logbook.reports("y")) == ({("x", "a"): 0.5}, {})


def test_a_finished_episode_never_ends_again(logbook):
    logbook.end_episode(ended())
    assert logbook.end_episode(ended(success=False)) == "duplicate"
    assert logbook.end_episode(censored()) == "duplicate"
    assert logbook.episodes() == [ended()]
    assert logbook.counters("default") == {"episodes finished": 1, "episodes duplicate": 2}


def test_a_censored_episode_ends_once_more_and_no_more(logbook):
    late = ended(success=False, stop_reason="finished late")
    answers = [logbook.end_episode(row) for row in (censored(), censored(), late, late)]
    assert answers == ["applied", "duplicate", "applied", "duplicate"]
    assert logbook.episodes() == [late]
    assert logbook.counters("default") == {"episodes censored": 1, "episodes late": 1, "episodes duplicate": 2}


@given(st.lists(st.tuples(NAMES, st.booleans()), max_size=5), st.integers(0, 6))
def test_calls_come_in_the_order_of_logging_and_after_a_number(made, after):
    with TrajectoryStore(":memory:") as store:
        rows = [call(tool, failed=failed) for tool, failed in made]
        store.logbook.add(calls=rows)
        store.logbook.add(calls=[call(namespace="another")])
        found = store.logbook.calls("default")
        assert [replace(row, seq=0) for row in found] == rows
        assert [row.seq for row in found] == sorted({row.seq for row in found})
        assert store.logbook.calls("default", after) == [row for row in found if row.seq > after]


def test_a_pruning_takes_the_place_of_the_one_before_for_its_pair_alone(logbook):
    logbook.put_prunings([pruning(), pruning("book"), pruning(namespace="another")])
    logbook.put_prunings([pruning(status="restored")])
    assert [(row.tool, row.status) for row in logbook.prunings("default")] == [
        ("book", "quarantined"),
        ("search", "restored"),
    ]
    assert logbook.prunings("another") == [pruning(namespace="another")]


def test_clearing_forgets_the_prunings_of_one_namespace(logbook):
    logbook.put_prunings([pruning(), pruning(namespace="another")])
    logbook.clear_prunings("default")
    assert (logbook.prunings("default"), len(logbook.prunings("another"))) == ([], 1)


def test_counters_count_for_each_namespace_and_name(logbook):
    for namespace, name in (("x", "a"), ("x", "a"), ("x", "b"), ("y", "a")):
        logbook.count(namespace, name)
    assert (logbook.counters("x"), logbook.counters("y"), logbook.counters("z")) == ({"a": 2, "b": 1}, {"a": 1}, {})


def test_ended_episodes_come_in_the_order_of_their_ends_with_each_of_their_clusters_once(logbook):
    clusters = {"1": 4, "2": 4, "3": 1}
    logbook.add([decision(name, cluster=cluster) for name, cluster in clusters.items()])
    logbook.add([decision("4", "f", "another", cluster=2)])
    logbook.end_episode(ended("later", finished_at=9.0))
    logbook.end_episode(ended("e", finished_at=1.0))
    logbook.end_episode(ended("f", namespace="another"))
    found = logbook.ended_after("default", 0)
    assert [(one.episode.id, one.clusters) for one in found] == [("later", ()), ("e", (1, 4))]
    assert [one.episode for one in found] == logbook.episodes("default")
    assert logbook.ended_after("default", found[0].number) == found[1:]
    assert logbook.ended_after("default", found[1].number) == []


@pytest.mark.parametrize("others", [0, 1])
def test_the_late_end_of_a_censored_episode_is_new_to_whoever_read_the_first(logbook, others):
    logbook.end_episode(censored())
    for number in range(others):
        logbook.end_episode(ended(f"other {number}"))
    last = logbook.ended_after("default", 0)[-1].number
    logbook.end_episode(ended())
    assert [one.episode for one in logbook.ended_after("default", last)] == [ended()]
    assert len(logbook.ended_after("default", 0)) == 1 + others


def log_an_episode(store: TrajectoryStore, name: str, *, namespace: str = "default", source: str = "") -> str:
    """A stored trajectory with a decision, a report, a call, an episode and a pruning; returns the trajectory's id."""
    trajectory = make_trajectory(name, source=source)
    trajectory = replace(trajectory, task=replace(trajectory.task, namespace=namespace))
    trajectory_id = store.add(trajectory)
    store.logbook.add([decision(name, name, namespace)], [call(episode=name, namespace=namespace)])
    store.logbook.report(name, "reward", 1.0, 4.0)
    store.logbook.end_episode(ended(name, trajectory_id, namespace=namespace))
    store.logbook.put_prunings([pruning(namespace=namespace)])
    return trajectory_id


def logged(store: TrajectoryStore, namespace: str) -> dict[str, int]:
    """How many rows of each kind a namespace has."""
    book = store.logbook
    return {
        "decisions": len(book.decisions(namespace)),
        "episodes": len(book.episodes(namespace)),
        "calls": len(book.calls(namespace)),
        "reports": len(book.reports(namespace)),
        "prunings": len(book.prunings(namespace)),
        "counters": len(book.counters(namespace)),
    }


def everything(count: int) -> dict[str, int]:
    """As `logged`, where there are as many rows of each kind."""
    return dict.fromkeys(("decisions", "episodes", "calls", "reports"), count) | {"prunings": 1, "counters": 2}


def test_forgetting_a_namespace_erases_all_that_was_logged_there_and_nothing_else(store):
    log_an_episode(store, "x", namespace="x")
    log_an_episode(store, "y", namespace="y")
    store.logbook.add([decision("unfinished", "open", "x")], [call(episode="open", namespace="x")])
    store.forget(namespace="x")
    assert set(logged(store, "x").values()) == {0}
    assert logged(store, "y") == everything(1)
    assert store.integrity_findings() == ()


@pytest.mark.parametrize(
    "erase", [lambda store, identity: store.forget(source="bad"), lambda store, identity: store.remove(identity)]
)
def test_erasing_some_trajectories_erases_their_rows_and_what_was_pruned_in_their_namespace(
    store: TrajectoryStore, erase: Callable[[TrajectoryStore, str], object]
):
    gone = log_an_episode(store, "gone", source="bad")
    log_an_episode(store, "kept", source="good")
    log_an_episode(store, "elsewhere", namespace="y", source="good")
    erase(store, gone)
    assert logged(store, "default") == everything(1) | {"prunings": 0}
    assert [row.id for row in store.logbook.decisions("default")] == ["kept"]
    assert list(store.logbook.reports("default")) == [("kept", "reward")]
    assert logged(store, "y") == everything(1)
    assert store.integrity_findings() == ()


def test_two_threads_on_two_connections_lose_nothing(store_address: str):
    with TrajectoryStore(store_address) as first, TrajectoryStore(store_address) as second:

        def write(store: TrajectoryStore, name: str) -> None:
            for number in range(NO_LOSS):
                store.logbook.add([decision(f"{name}{number}")], [call(name)])
                store.logbook.report(f"{name}{number}", "reward", 0.5, 1.0)
                store.logbook.count("default", "both")

        threads = [threading.Thread(target=write, args=pair) for pair in ((first, "a"), (second, "b"))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(first.logbook.decisions()) == len(second.logbook.reports("default")) == 2 * NO_LOSS
        assert {row.seq for row in first.logbook.calls("default")} == set(range(1, 2 * NO_LOSS + 1))
        assert first.logbook.counters("default") == {"reports applied": 2 * NO_LOSS, "both": 2 * NO_LOSS}


def left_open() -> Trajectory:
    """A trajectory whose episode was left without an end."""
    return make_trajectory(success=None, reward=None, stop_reason="censored")


@pytest.fixture
def open_id(store: TrajectoryStore) -> str:
    trajectory_id = store.add(left_open())
    store.logbook.end_episode(censored("e", trajectory_id))
    return trajectory_id


def late(trajectory_id: str, **changes: object) -> EpisodeRow:
    """How the episode is said to have ended after all."""
    return ended("e", trajectory_id, success=False, reward=0.25, stop_reason="finished late", **changes)


def test_a_judged_trajectory_is_what_comes_back(store, open_id):
    before = store.get(open_id)
    assert store.judge(late(open_id), {"cost": 2.0}) == "applied"
    assert store.get(open_id) == replace(
        before, success=False, reward=0.25, kpis={"cost": 2.0}, stop_reason="finished late"
    )
    assert store.logbook.episode("e") == late(open_id)


def test_judging_is_noticed_as_a_change_but_removes_nothing(store, open_id):
    generation, removals, hashes = store.generation, store.removals, store.content_hashes()
    store.judge(late(open_id), {})
    assert store.generation != generation
    assert store.removals == removals
    assert store.content_hashes().keys() == hashes.keys()
    assert store.content_hashes() != hashes


@pytest.mark.parametrize(("name", "answer"), [("e", "duplicate"), ("nobody", "unknown")])
def test_judging_what_has_ended_or_never_was_changes_nothing(store, open_id, name, answer):
    store.judge(late(open_id), {})
    generation, stored = store.generation, store.get(open_id)
    assert store.judge(replace(late(open_id), id=name, success=True), {"cost": 1.0}) == answer
    assert (store.generation, store.get(open_id)) == (generation, stored)
    assert store.logbook.episodes() == [late(open_id)]


def test_an_episode_without_a_trajectory_can_be_judged(store):
    store.logbook.end_episode(censored("e"))
    assert store.judge(late(""), {}) == "applied"
    assert store.logbook.episode("e") == late("")


def test_after_judging_equal_content_is_known_and_the_unjudged_one_is_new(store, open_id):
    store.judge(late(open_id), {})
    assert store.add(store.get(open_id)) == open_id
    judged = replace(left_open(), success=False, reward=0.25, stop_reason="finished late")
    assert store.add(judged) == open_id
    assert store.add(left_open()) != open_id


def test_judging_one_episode_leaves_the_trajectories_beside_it_alone(store, open_id):
    other = store.add(make_trajectory("another"))
    before = store.get(other)
    store.judge(late(open_id), {})
    assert store.get(other) == before


def test_a_trajectory_that_would_become_the_equal_of_another_leaves_the_word_to_that_one(store, open_id):
    twin_id = store.add(replace(left_open(), success=False, reward=0.25, stop_reason="finished late"))
    before = store.get(open_id)
    assert store.judge(late(open_id), {}) == "applied"
    assert store.logbook.episode("e") == late(open_id)
    assert (store.get(open_id), store.get(twin_id).success) == (before, False)
    assert len(set(store.content_hashes().values())) == 2


def test_the_rows_of_the_log_are_frozen():
    for row in (decision(), ended(), call(), pruning()):
        with pytest.raises(AttributeError):
            setattr(row, fields(row)[0].name, "other")
