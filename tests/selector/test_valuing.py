"""What a policy is worth on a store's own log: parity with plain means and with a world whose values are known."""

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from selector import Decision, Selector, SelectorConfig, ToolSpec
from selector.decision_log import decision_row, probabilities
from selector.errors import SelectorUsageError
from selector.ope import Estimate
from selector.prune_book import PruneConfig
from selector.valuing import (
    POLICIES,
    LoggedChoice,
    Valuation,
    as_arrays,
    contexts,
    read_log,
    target_probabilities,
    tool_numbers,
    value_of,
)
from trajstore.embedding import HashedEmbedder
from trajstore.logbook import EpisodeRow
from trajstore.store import TrajectoryStore

SMALL = HashedEmbedder(64)
TASK, STATE = "press the button", "the lamp is red"
TOOLS = [ToolSpec("good"), ToolSpec("bad")]
TRUE = {"good": 0.9, "bad": 0.2}
EPISODES = 150
NEVER = PruneConfig(evidence=1e9)
CONFIG = SelectorConfig(exploration=0.3, minimum_support=0.0, prune_evidence=1e9, pruning=NEVER)


def teach(store: TrajectoryStore) -> None:
    """Experience in which the good tool succeeds and the bad one does not."""
    teacher = Selector(store, CONFIG, embedder=SMALL)
    for tool, success in (("good", True), ("bad", False)) * 3:
        with teacher.episode(TASK, TOOLS) as episode:
            episode.record(tool, state=STATE)
            episode.finish(success=success)


def live(selector: Selector, episodes: int, *, seed: int = 0) -> None:
    """Agents that follow every decision once, in a world that rewards by `TRUE`."""
    rng = np.random.default_rng(seed)
    for _ in range(episodes):
        with selector.episode(TASK, TOOLS) as episode:
            tool = episode.choose(STATE).tool or "bad"
            episode.record(tool, outcome="ok")
            episode.finish(success=bool(rng.random() < TRUE[tool]))


def estimates(valuation: Valuation) -> dict[str, Estimate]:
    """Estimates by the name of their estimator."""
    return {one.estimator: one for one in valuation.estimates}


@pytest.fixture(scope="module")
def world() -> tuple[TrajectoryStore, Selector]:
    """A store that was lived on, and who reads it now."""
    store = TrajectoryStore(":memory:")
    teach(store)
    live(Selector(store, CONFIG, seed=1, embedder=SMALL), EPISODES)
    return store, Selector(store, CONFIG, embedder=SMALL)


@pytest.fixture(scope="module")
def values(world: tuple[TrajectoryStore, Selector]) -> dict[str, Valuation]:
    """The value of every policy."""
    store, selector = world
    return {name: value_of(store, selector.room("default"), name) for name in POLICIES}


def test_the_value_of_the_logging_policy_is_the_mean_reward_of_a_decision(world, values):
    rewards = [choice.reward for choice in read_log(world[0], "default").choices]
    found = estimates(values["logged"])
    assert len(rewards) == values["logged"].decisions == EPISODES
    for name in ("ips", "snips"):
        assert found[name].value == pytest.approx(np.mean(rewards))
        assert found[name].effective_sample_size == pytest.approx(EPISODES)


def test_uniform_choices_are_worth_what_the_world_says(values):
    truth = float(np.mean(list(TRUE.values())))
    for name in ("ips", "snips", "dr"):
        one = estimates(values["uniform"])[name]
        assert 0.0 < one.standard_error < 0.1, name
        assert abs(one.value - truth) < 4.0 * one.standard_error, name


def test_the_greedy_choice_is_worth_its_tool(values):
    for name in ("ips", "snips"):
        one = estimates(values["greedy"])[name]
        assert abs(one.value - TRUE["good"]) < 4.0 * one.standard_error, name


def test_the_engine_is_worth_more_than_chance_and_at_most_the_best_tool(values):
    engine, uniform = estimates(values["engine"])["snips"], estimates(values["uniform"])["snips"]
    assert uniform.value < engine.value < TRUE["good"] + 4.0 * engine.standard_error


def test_estimates_are_those_of_the_formula_by_hand(world, values):
    log = read_log(world[0], "default")
    weights = np.array([0.5 / choice.probabilities[choice.place] for choice in log.choices])
    rewards = np.array([choice.reward for choice in log.choices])
    found = estimates(values["uniform"])
    assert found["ips"].value == pytest.approx(float(np.mean(weights * rewards)))
    assert found["snips"].value == pytest.approx(float(weights @ rewards / weights.sum()))


@pytest.mark.parametrize("policy", POLICIES)
def test_a_valuation_is_plain_json(values, policy):
    data = values[policy].to_json()
    assert json.loads(json.dumps(data, allow_nan=False)) == data
    assert data["policy"] == policy
    assert {"estimator", "value", "low", "high", "effective_sample_size"} <= data["estimates"][0].keys()
    assert data["skipped"] == {"withheld": 0, "abstained": 0, "not_followed": 0, "not_rewarded": 0}


def test_a_valuation_says_in_words_what_was_left_out_and_what_the_guard_says(values):
    assert values["engine"].skipped_words == "none left out"
    assert values["engine"].guard_words.startswith("guard: not enough; ")


def test_the_same_seed_gives_the_same_valuation_and_progress_reaches_the_end(world):
    store, selector = world
    seen: list[tuple[int, int]] = []
    first = value_of(store, selector.room("default"), "engine", seed=3, on_progress=lambda *at: seen.append(at))
    assert first == value_of(store, selector.room("default"), "engine", seed=3)
    assert seen == [(number, EPISODES) for number in range(1, EPISODES + 1)]


def test_what_is_asked_of_the_engine_leaves_out_the_trajectory_that_answers(world):
    store, selector = world
    log = read_log(store, "default")
    knowledge = selector.room("default").knowledge
    number = knowledge.experience.trajectory_ids.index(log.choices[0].trajectory.trajectory_id)
    assert knowledge.left_out([number]).excluded.sum() == 1
    for target in target_probabilities(log, selector.room("default").engine(), "engine"):
        assert target.shape == (2,)
        assert target.sum() == pytest.approx(1.0)


def test_the_probabilities_of_the_logging_policy_are_those_that_were_logged(world):
    log = read_log(world[0], "default")
    engine = world[1].room("default").engine()
    for target, choice in zip(target_probabilities(log, engine, "logged"), log.choices, strict=True):
        assert target is choice.probabilities
        assert choice.probabilities[choice.place] == pytest.approx(choice.propensity, abs=1e-6)


def test_an_unknown_policy_is_refused(world):
    policy: Any = "clairvoyant"
    with pytest.raises(SelectorUsageError, match="policy must be one of engine, greedy, uniform, logged, got 'clairv"):
        value_of(world[0], world[1].room("default"), policy)


def with_probabilities(choice: LoggedChoice, values: Sequence[float]) -> LoggedChoice:
    """The same choice under another logging policy."""
    return replace(choice, probabilities=np.array(values), propensity=values[choice.place])


def test_what_a_policy_leaves_to_the_agent_stands_in_the_last_place(world):
    log = read_log(world[0], "default")
    log = replace(log, choices=(with_probabilities(log.choices[0], [0.3, 0.3]),))
    logged, target_NK = as_arrays(log, [np.array([0.25, 0.25])])
    assert target_NK.tolist() == [[0.25, 0.25, 0.5]]
    assert logged.offered_NK.tolist() == [[True, True, True]]
    logged, target_NK = as_arrays(log, [np.array([1.0, 0.0])])
    assert target_NK.tolist() == [[1.0, 0.0, 0.0]]


def test_what_was_chosen_was_offered_however_improbable_it_was(world):
    log = read_log(world[0], "default")
    unlikely = np.zeros(2)
    unlikely[1 - log.choices[0].place] = 1.0
    log = replace(log, choices=(replace(log.choices[0], probabilities=unlikely, propensity=1e-9),))
    logged, _ = as_arrays(log, [unlikely])
    assert logged.offered_NK.tolist() == [[True, True, False]]


@given(st.lists(st.floats(0.0, 1.0), min_size=1, max_size=8), st.floats(0.0, 1.0))
def test_the_probabilities_of_a_decision_come_back_from_its_row(weights, defer):
    total = sum(weights) + defer
    shares = tuple(weight / total for weight in weights) if total > 1e-6 else (1.0,) * (len(weights) == 1)
    decision = Decision("d", None, "defer", 1.0, (), (), (), probabilities=shares)
    row = decision_row(decision, "e", 0, "default", 1.0)
    np.testing.assert_allclose(probabilities(row, len(shares)), shares, atol=2e-9)


def test_a_decision_that_abstained_has_no_probabilities():
    row = decision_row(Decision("d", None, "defer", 1.0, (), (), ()), "e", 0, "default", 1.0)
    assert probabilities(row, 3).tolist() == [0.0, 0.0, 0.0]


def test_what_is_pruned_is_left_out_of_what_is_uniform(store):
    teach(store)
    live(Selector(store, CONFIG, seed=1, embedder=SMALL), 60)
    log = read_log(store, "default")
    strict = replace(CONFIG, pruning=PruneConfig(evidence=3.0, share=0.99))
    room = Selector(store, strict, embedder=SMALL).room("default")
    assert {row.tool for row in store.logbook.prunings("default")} == {"bad"}
    for target in target_probabilities(log, room.engine(), "uniform"):
        assert target.tolist() == [1.0, 0.0]


def test_tools_have_one_number_each_and_states_one_vector_each(world):
    log = read_log(world[0], "default")
    numbers = tool_numbers(log, 4)
    assert numbers.shape == (EPISODES, 4)
    assert (numbers == np.array([1, 2, -1, 0])).all()
    assert contexts(log, lambda text: SMALL.embed([text])[0]).shape == (EPISODES, 64)


@pytest.fixture
def taught(store: TrajectoryStore) -> Selector:
    teach(store)
    return Selector(store, CONFIG, embedder=SMALL)


def skipped(store: TrajectoryStore) -> dict[str, int]:
    """What was left out, by why; without what was not."""
    counts = read_log(store, "default").skipped
    return {name: getattr(counts, name) for name in counts.__dataclass_fields__ if getattr(counts, name)}


def one_episode(
    selector: Selector, *, success: bool | None = True, follow: bool = True, is_left: bool = False
) -> tuple[str, str]:
    """An episode of one decision; returns its id and that of the decision."""
    with selector.episode(TASK, TOOLS) as episode:
        decision = episode.choose(STATE)
        other = "bad" if decision.tool == "good" else "good"
        episode.record((decision.tool or "bad") if follow else other)
        if not is_left:
            episode.finish(success=success)
    return episode.episode_id, decision.decision_id


def test_what_an_agent_did_not_follow_says_nothing(taught, store):
    one_episode(taught, follow=False)
    assert (len(read_log(store, "default").choices), skipped(store)) == (0, {"not_followed": 1})


def test_what_nobody_rewarded_says_nothing_until_it_is_reported(taught, store):
    one_episode(taught, success=None)
    episode_id, decision_id = one_episode(taught, is_left=True)
    assert skipped(store) == {"not_rewarded": 2}
    taught.report(decision_id, 0.25)
    assert [choice.reward for choice in read_log(store, "default").choices] == [0.25]
    taught.report_episode(episode_id, success=True)
    assert [choice.reward for choice in read_log(store, "default").choices] == [0.25]
    assert skipped(store) == {"not_rewarded": 1}


def test_an_episode_that_is_still_running_says_nothing_yet(taught, store):
    with taught.episode(TASK, TOOLS) as episode:
        episode.record(episode.choose(STATE).tool or "bad")
        assert skipped(store) == {"not_rewarded": 1}
        episode.finish(success=True)
    assert skipped(store) == {}


@pytest.mark.parametrize("mode", ["shadow", "narrow"])
def test_what_was_never_shown_says_nothing(taught, store, mode):
    one_episode(Selector(store, replace(CONFIG, mode=mode), embedder=SMALL))
    assert skipped(store) == {"withheld": 1}


def test_held_out_episodes_say_nothing_of_a_policy_but_of_the_lift(taught, store):
    selector = Selector(store, replace(CONFIG, held_out=1.0 - 1e-12), embedder=SMALL)
    one_episode(selector)
    assert skipped(store) == {"withheld": 1}
    one_episode(taught)
    assert value_of(store, taught.room("default"), "logged").lift.episodes_held_out == 1


@pytest.mark.parametrize("episodes", [1, 2, 4])
def test_a_handful_of_episodes_is_valued_with_little_trust(taught, store, episodes):
    for _ in range(episodes):
        one_episode(taught)
    valuation = value_of(store, taught.room("default"), "logged")
    assert valuation.decisions == episodes
    assert estimates(valuation)["ips"].value == pytest.approx(1.0)
    assert not any(one.is_trusted for one in valuation.estimates)
    json.dumps(valuation.to_json(), allow_nan=False)


def test_decisions_that_abstained_say_nothing(store):
    one_episode(Selector(store, SelectorConfig(minimum_support=1e9), embedder=SMALL))
    assert skipped(store) == {"abstained": 1}


def test_a_decision_that_no_step_followed_says_nothing(taught, store):
    with taught.episode(TASK, TOOLS) as episode:
        episode.choose(STATE)
        episode.finish(success=True)
    assert skipped(store) == {"not_followed": 1}


@pytest.mark.parametrize("reward", [-3.0, 4.0])
def test_a_reward_beyond_its_range_counts_as_the_nearest_within(taught, store, reward):
    episode_id, _ = one_episode(taught, is_left=True)
    row = store.logbook.episode(episode_id)
    assert row is not None
    late: EpisodeRow = replace(row, stop_reason="finished late", combined=reward)
    store.judge(late, {})
    assert [choice.reward for choice in read_log(store, "default").choices] == [min(max(reward, 0.0), 1.0)]


@pytest.mark.parametrize("policy", POLICIES)
def test_a_log_without_decisions_is_refused_in_one_sentence(store, policy):
    selector = Selector(store, CONFIG, embedder=SMALL)
    with pytest.raises(SelectorUsageError, match=r"no decisions to value: .*; guide some episodes first") as refused:
        value_of(store, selector.room("default"), policy)
    assert "\n" not in str(refused.value)


def test_a_namespace_is_valued_on_its_own_decisions_alone(world):
    store, selector = world
    with pytest.raises(SelectorUsageError, match="no decisions to value"):
        value_of(store, selector.room("another"), "logged")
