"""Rewards and ends that are reported late: each counts once, and an episode that never reports never failed."""

import math
from pathlib import Path

import numpy as np
import pytest

from selector import Decision, Episode, Selector, SelectorConfig, ToolSpec
from selector.errors import SelectorUsageError
from selector.kpis import Kpi, RewardSpec
from trajstore.embedding import HashedEmbedder
from trajstore.store import TrajectoryStore

TASK = "press the button"
TOOLS = [ToolSpec("press"), ToolSpec("pull")]
CONFIG = SelectorConfig(exploration=0.0, minimum_support=0.0)
SMALL = HashedEmbedder(64)


@pytest.fixture
def selector(store: TrajectoryStore) -> Selector:
    return Selector(store, CONFIG, embedder=SMALL, clock=lambda: 100.0)


@pytest.fixture
def experienced(selector: Selector) -> Selector:
    for number in range(3):
        with selector.episode(f"{TASK} {number}", TOOLS) as episode:
            episode.record("press", state="the lamp is red")
            episode.finish(success=True)
    return selector


def left_open(selector: Selector, tool: str = "press", *, namespace: str = "default") -> tuple[Episode, Decision]:
    """An episode of one step that was left without `finish`, and its decision."""
    with selector.episode(TASK, TOOLS, namespace=namespace) as episode:
        decision = episode.choose("the lamp is red")
        episode.record(tool)
    return episode, decision


def weight_of_last_row(selector: Selector) -> float:
    """How much what is known of the newest step weighs."""
    return float(selector.room("default").knowledge.outcomes.credit.weights_N[-1])


def test_a_reward_of_a_decision_is_taken_in_once(selector, store):
    _, decision = left_open(selector)
    assert selector.report(decision.decision_id, 0.5) == "applied"
    assert selector.report(decision.decision_id, 1.0) == "duplicate"
    assert selector.report(decision.decision_id, 1.0, kind="rating") == "applied"
    assert store.logbook.reports("default") == {
        (decision.decision_id, "reward"): 0.5,
        (decision.decision_id, "rating"): 1.0,
    }


def test_a_reward_of_an_unknown_decision_is_counted_and_harmless(selector, store):
    assert selector.report("nobody", 0.5) == "unknown"
    assert store.logbook.counters("") == {"reports unknown": 1}


@pytest.mark.parametrize("reward", [-0.1, 1.1, math.nan, math.inf])
def test_a_reward_outside_its_range_is_refused(selector, reward):
    _, decision = left_open(selector)
    with pytest.raises(SelectorUsageError, match=r"reward must lie in \[0, 1\]"):
        selector.report(decision.decision_id, reward)


def test_a_reported_reward_is_learned_by_whoever_loads_the_store_next(experienced, store):
    _, decision = left_open(experienced)
    assert weight_of_last_row(experienced) == 0.0
    experienced.report(decision.decision_id, 1.0)
    assert weight_of_last_row(Selector(store, CONFIG, embedder=SMALL)) == 0.5


@pytest.mark.parametrize(("success", "combined"), [(True, 1.0), (False, 0.0)])
def test_a_late_end_judges_the_episode_and_its_trajectory(experienced, store, success, combined):
    episode, _ = left_open(experienced)
    assert experienced.report_episode(episode.episode_id, success=success) == "applied"
    stored, row = store.get(episode.trajectory_id), store.logbook.episode(episode.episode_id)
    assert (stored.success, stored.stop_reason) == (success, "finished late")
    assert (row.success, row.combined, row.stop_reason, row.finished_at) == (success, combined, "finished late", 100.0)


def test_a_late_end_is_learned_at_once(experienced):
    episode, _ = left_open(experienced, "pull")
    outcomes = experienced.room("default").knowledge.outcomes
    assert outcomes.successes_CT.sum() == outcomes.counts_CT.sum() == 3.0
    experienced.report_episode(episode.episode_id, success=False)
    outcomes = experienced.room("default").knowledge.outcomes
    assert (outcomes.successes_CT.sum(), outcomes.counts_CT.sum()) == (3.0, 4.0)


def test_a_late_end_comes_with_its_kpis_and_their_reward(store):
    spec = RewardSpec((Kpi("success"), Kpi("cost_usd", direction="lower", high=2.0)))
    selector = Selector(store, SelectorConfig(reward=spec), embedder=SMALL)
    episode, _ = left_open(selector)
    selector.report_episode(episode.episode_id, success=True, reward=0.75, kpis={"cost_usd": 1.0})
    stored, row = store.get(episode.trajectory_id), store.logbook.episode(episode.episode_id)
    assert (dict(stored.kpis), stored.reward) == ({"cost_usd": 1.0}, 0.75)
    assert (row.kpis, row.reward, row.combined) == ('{"cost_usd":1.0}', 0.75, 0.75)


def test_an_end_is_reported_once_and_only_of_what_was_left_open(experienced, store):
    episode, _ = left_open(experienced)
    experienced.report_episode(episode.episode_id, success=True)
    finished = store.logbook.episodes()[0]
    for episode_id in (episode.episode_id, finished.id):
        before = store.logbook.episode(episode_id)
        assert experienced.report_episode(episode_id, success=False) == "duplicate"
        assert store.logbook.episode(episode_id) == before
    assert [one.success for one in store.trajectories()] == [True] * 4


def test_an_end_of_an_unknown_episode_is_counted_and_harmless(experienced, store):
    generation = store.generation
    assert experienced.report_episode("nobody", success=True) == "unknown"
    assert store.logbook.counters("") == {"episodes unknown": 1}
    assert store.generation == generation


def test_an_episode_without_steps_may_end_late(experienced, store):
    with experienced.episode(TASK, TOOLS) as episode:
        pass
    assert experienced.report_episode(episode.episode_id, success=True) == "applied"
    assert store.logbook.episode(episode.episode_id).success is True


def test_a_late_end_is_learned_in_the_namespace_of_its_episode(experienced, store):
    episode, _ = left_open(experienced, namespace="tenant")
    experienced.report_episode(episode.episode_id, success=True)
    assert experienced.room("tenant").knowledge.outcomes.successes_CT.sum() == 1.0
    assert experienced.room("default").knowledge.outcomes.successes_CT.sum() == 3.0
    assert store.logbook.episodes("tenant")[0].combined == 1.0


def test_another_process_may_report_the_end(store_path: Path):
    with TrajectoryStore(store_path) as first, TrajectoryStore(store_path) as second:
        selector = Selector(first, CONFIG, embedder=SMALL)
        episode, _ = left_open(selector)
        assert Selector(second, CONFIG, embedder=SMALL).report_episode(episode.episode_id, success=True) == "applied"
        with selector.episode(TASK, TOOLS):
            assert selector.room("default").knowledge.outcomes.successes_CT.sum() == 1.0


def test_an_episode_that_never_reports_is_censored_and_counted_by_neither_guard_nor_outcomes(experienced, store):
    before = experienced.room("default").feedback.guard
    episode, _ = left_open(experienced, "pull")
    room, row = experienced.room("default"), store.logbook.episode(episode.episode_id)
    assert (row.success, row.reward, row.combined, row.stop_reason) == (None, None, None, "censored")
    assert room.feedback.guard == before
    assert weight_of_last_row(experienced) == 0.0
    pulled = room.knowledge.experience.tools.known("pull")
    np.testing.assert_array_equal(room.knowledge.outcomes.counts_CT[:, pulled], 0.0)


def test_only_the_late_end_of_a_censored_episode_reaches_the_guard(experienced):
    episode, _ = left_open(experienced)
    before = experienced.room("default").feedback.guard.guided
    experienced.report_episode(episode.episode_id, success=False)
    after = experienced.room("default").feedback.guard.guided
    assert (after.episodes - before.episodes, after.total - before.total) == (1, 0.0)
