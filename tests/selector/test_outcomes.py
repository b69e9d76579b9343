"""What came of stored steps, as laws of the sums that pruning and the success model read."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_logs import WordEmbedder, experience_of
from tiny_worlds import attempt

from selector.clusters import StateClusters
from selector.credit import IMMEDIATE_WEIGHT, TRACE
from selector.outcomes import BEFORE_CHANGE, Outcomes
from trajstore.experience import Experience
from trajstore.retriever import Retriever
from trajstore.schema import Trajectory

WORDS = ("red", "blue")
TOOLS = ("press", "pull", "wait")
EMBEDDER = WordEmbedder(*WORDS)
BY_COLOUR = StateClusters(np.eye(2, dtype=np.float32), 2)

STEPS = st.lists(st.tuples(st.sampled_from(WORDS), st.sampled_from(TOOLS)), min_size=1, max_size=5)
ATTEMPTS = st.builds(
    lambda steps, success, outcome, trust: replace(attempt(*steps, success=success, outcome=outcome), trust=trust),
    STEPS,
    st.sampled_from([True, False, None]),
    st.sampled_from(["ok", "tool_error", "unknown"]),
    st.floats(0.0, 1.0, width=32),
)
LOGS = st.lists(ATTEMPTS, min_size=1, max_size=5).map(
    lambda made: [replace(one, trajectory_id=f"t{number}") for number, one in enumerate(made)]
)


def learned(trajectories: Sequence[Trajectory]) -> tuple[Outcomes, Experience]:
    """Everything taken in at once, with one cluster of all states."""
    experience = experience_of(trajectories, EMBEDDER)
    outcomes = Outcomes(experience)
    outcomes.learn(trajectories, states_of(experience))
    return outcomes, experience


def states_of(experience: Experience) -> np.ndarray:
    """The vectors of all rows."""
    return Retriever(experience).states


def cell(outcomes: Outcomes, experience: Experience, tool: str) -> tuple[float, float]:
    """Credited successes and weight of a tool over all clusters."""
    at = experience.tools.known(tool)
    return float(outcomes.successes_CT[:, at].sum()), float(outcomes.counts_CT[:, at].sum())


@given(LOGS)
def test_credited_successes_never_exceed_their_weights(trajectories):
    outcomes, _ = learned(trajectories)
    assert (outcomes.successes_CT >= 0.0).all()
    assert (outcomes.successes_CT <= outcomes.counts_CT + 1e-9).all()
    assert (outcomes.credit.successes_N <= outcomes.credit.weights_N + 1e-9).all()


@given(LOGS)
def test_no_trajectory_weighs_more_than_one_in_any_cell(trajectories):
    outcomes, experience = learned(trajectories)
    callers = [sum(name in one.tools for one in trajectories) for name in experience.tools.names]
    assert (outcomes.counts_CT <= np.array(callers) + 1e-9).all()


@given(STEPS, st.floats(0.0, 1.0, width=32))
def test_a_trajectory_that_calls_each_tool_once_weighs_no_more_than_it_is_trusted(steps, trust):
    once = list({tool: (state, tool) for state, tool in steps}.values())
    outcomes, _ = learned([replace(attempt(*once), trust=trust)])
    assert outcomes.counts_CT.max() <= trust + 1e-9


@given(ATTEMPTS)
def test_one_trajectory_weighs_at_most_one(trajectory):
    outcomes, _ = learned([trajectory])
    assert outcomes.counts_CT.max() <= 1.0 + 1e-9


@given(LOGS, st.integers(0, 5))
def test_learning_in_two_parts_equals_learning_at_once(trajectories, cut):
    at_once, _ = learned(trajectories)
    experience = experience_of(trajectories[:cut], EMBEDDER)
    outcomes = Outcomes(experience)
    outcomes.learn(trajectories[:cut], states_of(experience))
    experience.extend(trajectories[cut:])
    outcomes.learn(trajectories[cut:], states_of(experience))
    np.testing.assert_allclose(outcomes.successes_CT, at_once.successes_CT)
    np.testing.assert_allclose(outcomes.counts_CT, at_once.counts_CT)
    np.testing.assert_allclose(outcomes.credit.weights_N, at_once.credit.weights_N)
    np.testing.assert_allclose(outcomes.records.attempts, at_once.records.attempts)


@given(LOGS)
def test_rows_that_were_not_learned_yet_get_no_credit(trajectories):
    experience = experience_of(trajectories, EMBEDDER)
    outcomes = Outcomes(experience)
    assert len(outcomes.credit.weights_N) == 0
    assert outcomes.counts_CT.sum() == 0.0


@given(LOGS)
def test_credit_is_that_of_the_formula_by_hand(trajectories):
    outcomes, _ = learned(trajectories)
    expected = []
    for one in trajectories:
        for position, step in enumerate(one.steps):
            at_once = IMMEDIATE_WEIGHT if step.has_failed else 0.0
            left = len(one.steps) - 1 - position
            expected.append(at_once + (0.0 if one.success is None else TRACE**left * (1.0 - at_once)))
    np.testing.assert_allclose(outcomes.credit.weights_N, expected)


def test_steps_that_are_not_calls_of_tools_are_no_rows():
    made = attempt(("red", "press"), ("red", "pull"))
    made = replace(made, steps=(made.steps[0], replace(made.steps[1], kind="message")))
    outcomes, _ = learned([made])
    assert outcomes.credit.weights_N.tolist() == [1.0]


@given(LOGS)
def test_clusters_split_the_sums_and_change_nothing_where_no_cell_is_shared(trajectories):
    single = [replace(one, steps=one.steps[:1]) for one in trajectories]
    outcomes, experience = learned(single)
    successes, counts = outcomes.successes_CT.sum(axis=0), outcomes.counts_CT.sum(axis=0)
    outcomes.use_clusters(BY_COLOUR, states_of(experience))
    assert outcomes.counts_CT.shape == (2, len(experience.tools))
    np.testing.assert_allclose(outcomes.successes_CT.sum(axis=0), successes)
    np.testing.assert_allclose(outcomes.counts_CT.sum(axis=0), counts)


@given(LOGS)
def test_clusters_never_lower_the_weight_of_a_tool(trajectories):
    outcomes, experience = learned(trajectories)
    counts = outcomes.counts_CT.sum(axis=0)
    outcomes.use_clusters(BY_COLOUR, states_of(experience))
    assert (outcomes.counts_CT.sum(axis=0) >= counts - 1e-9).all()
    outcomes.use_clusters(StateClusters(np.zeros((0, 2), np.float32), 0), states_of(experience))
    np.testing.assert_allclose(outcomes.counts_CT.sum(axis=0), counts)


def test_each_state_counts_in_its_own_cluster():
    made = [attempt(("red", "press"), success=True), attempt(("blue", "press"), success=False)]
    outcomes, experience = learned(made)
    outcomes.use_clusters(BY_COLOUR, states_of(experience))
    assert outcomes.successes_CT[:, 0].tolist() == [1.0, 0.0]
    assert outcomes.counts_CT[:, 0].tolist() == [1.0, 1.0]


def decided(steps: Sequence[str], *, success: bool | None, trajectory_id: str = "t") -> Trajectory:
    """An attempt whose steps followed decisions d0, d1, …"""
    made = attempt(*(("red", tool) for tool in steps), success=success, trajectory_id=trajectory_id)
    numbered = tuple(replace(step, decision_id=f"d{step.index}") for step in made.steps)
    return replace(made, steps=numbered)


@pytest.mark.parametrize("reward", [0.0, 0.3, 1.0])
def test_a_report_is_the_immediate_outcome_of_the_step_of_its_decision(reward):
    outcomes, _ = learned([decided(["press", "pull"], success=None)])
    outcomes.use_reports({"d1": reward})
    assert outcomes.credit.weights_N.tolist() == [0.0, IMMEDIATE_WEIGHT]
    assert outcomes.credit.successes_N.tolist() == [0.0, IMMEDIATE_WEIGHT * reward]


def test_a_report_is_mixed_with_how_the_trajectory_ended():
    outcomes, _ = learned([decided(["press"], success=True)])
    outcomes.use_reports({"d0": 0.2})
    assert outcomes.credit.weights_N.tolist() == [1.0]
    np.testing.assert_allclose(outcomes.credit.successes_N, [IMMEDIATE_WEIGHT * 0.2 + (1.0 - IMMEDIATE_WEIGHT)])


def test_a_report_speaks_louder_than_the_outcome_of_the_call():
    failed = decided(["press"], success=None)
    failed = replace(failed, steps=(replace(failed.steps[0], outcome="tool_error"),))
    outcomes, _ = learned([failed])
    assert outcomes.credit.successes_N.tolist() == [0.0]
    outcomes.use_reports({"d0": 1.0})
    assert outcomes.credit.successes_N.tolist() == [IMMEDIATE_WEIGHT]


def test_reports_of_other_decisions_change_nothing_and_newer_reports_replace_older_ones():
    outcomes, _ = learned([decided(["press"], success=None)])
    outcomes.use_reports({"nobody": 1.0})
    assert outcomes.credit.weights_N.tolist() == [0.0]
    outcomes.use_reports({"d0": 1.0})
    outcomes.use_reports({})
    assert outcomes.credit.weights_N.tolist() == [0.0]


def test_a_change_of_a_tool_discounts_only_its_own_older_rows():
    made = [
        replace(attempt(("red", tool), success=True), created_at=at, trajectory_id=f"{tool}{at}")
        for tool in ("press", "pull")
        for at in (10.0, 30.0)
    ]
    outcomes, experience = learned(made)
    before = outcomes.credit
    outcomes.use_changes({"press": 20.0, "never called": 99.0})
    kept = [BEFORE_CHANGE, 1.0, 1.0, 1.0]
    np.testing.assert_allclose(outcomes.credit.weights_N, before.weights_N * kept)
    np.testing.assert_allclose(outcomes.credit.successes_N, before.successes_N * kept)
    assert cell(outcomes, experience, "press") == pytest.approx((1.0 + BEFORE_CHANGE, 1.0 + BEFORE_CHANGE))
    assert cell(outcomes, experience, "pull") == pytest.approx((2.0, 2.0))
    outcomes.use_changes({})
    np.testing.assert_allclose(outcomes.credit.weights_N, before.weights_N)


def test_what_nobody_judged_counts_neither_for_nor_against():
    outcomes, experience = learned([attempt(("red", "press"), success=None)])
    assert cell(outcomes, experience, "press") == (0.0, 0.0)
    assert outcomes.records.attempts.tolist() == [0.0]


def test_the_reward_of_a_trajectory_is_what_it_is_credited_with():
    trajectories = [attempt(("red", "press"), success=True, trajectory_id="t")]
    experience = experience_of(trajectories, EMBEDDER)
    outcomes = Outcomes(experience, lambda trajectory: 0.25)
    outcomes.learn(trajectories, states_of(experience))
    assert cell(outcomes, experience, "press") == (0.25, 1.0)


def test_a_path_keeps_the_record_of_all_its_attempts():
    ways = [("press", "pull"), ("press", "pull"), ("wait", "pull")]
    made = [attempt(*(("red", tool) for tool in way), success=at == 0) for at, way in enumerate(ways)]
    outcomes, _ = learned(made)
    assert outcomes.records.wins.tolist() == [1.0, 0.0]
    assert outcomes.records.attempts.tolist() == [2.0, 1.0]


def test_a_log_of_nothing_has_no_cells():
    outcomes, _ = learned([])
    assert outcomes.counts_CT.shape == (1, 0)
