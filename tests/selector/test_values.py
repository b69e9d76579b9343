"""Values of (state, tool) against linear systems, traces written out step by step, and the laws they must keep."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from selector.errors import SelectorUsageError
from selector.values import (
    ActionValues,
    StepRun,
    ValueConfig,
    credited_outcomes,
    final_reward_run,
    lambda_returns,
    replaced_returns,
)

METHODS = ("sarsa", "q_learning", "monte_carlo")
shares = st.floats(0.0, 1.0)
steps = st.tuples(st.integers(-1, 3), st.integers(0, 2), shares)
runs = st.builds(
    lambda rows, ends: run_of(rows, is_terminal=ends), st.lists(steps, min_size=1, max_size=12), st.booleans()
)
configs = st.builds(
    ValueConfig,
    method=st.sampled_from(METHODS),
    step_size=st.none() | st.floats(0.01, 1.0),
    discount=shares,
    trace=shares,
    trace_kind=st.sampled_from(["accumulating", "replacing"]),
    prior_value=shares,
    prior_weight=st.sampled_from([0.0, 0.5, 4.0]),
)


def run_of(rows: list[tuple[int, int, float]], *, is_terminal: bool = True) -> StepRun:
    states, tools, rewards = zip(*rows, strict=True)
    return StepRun(np.array(states), np.array(tools), np.array(rewards), is_terminal)


def learned(config: ValueConfig, *some: StepRun) -> ActionValues:
    values = ActionValues(config)
    for run in some:
        values.learn(run)
    return values


def traced_changes(run: StepRun, before: ActionValues, config: ValueConfig) -> dict[tuple[int, int], float]:
    """The backward view, written as in the book: a trace for each pair, every error credited along all traces."""
    own = before.value(run.states_T, run.tools_T)
    traces: dict[tuple[int, int], float] = {}
    changes: dict[tuple[int, int], float] = {}
    pairs = list(zip(run.states_T.tolist(), run.tools_T.tolist(), strict=True))
    for at, pair in enumerate(pairs):
        following = own[at + 1] if at + 1 < len(pairs) else 0.0
        error = run.rewards_T[at] + config.discount * following - own[at]
        traces = {each: config.discount * config.trace * trace for each, trace in traces.items()}
        traces[pair] = 1.0 if config.trace_kind == "replacing" else traces.get(pair, 0.0) + 1.0
        for each, trace in traces.items():
            changes[each] = changes.get(each, 0.0) + trace * error
    return changes


@settings(max_examples=50)
@given(st.lists(steps, min_size=1, max_size=12), shares, shares, st.sampled_from(["accumulating", "replacing"]))
def test_the_forward_view_and_the_backward_view_change_the_table_alike(rows, discount, trace, kind):
    config = ValueConfig(
        step_size=1 / 16, discount=discount, trace=trace, trace_kind=kind, prior_weight=0.0, prior_value=0.25
    )
    everywhere = run_of([(state, tool, 0.5) for state in range(-1, 4) for tool in range(3)])
    run = run_of(rows)
    before, after = learned(config, everywhere), learned(config, everywhere, run)
    for (state, tool), change in traced_changes(run, before, config).items():
        moved = float(after.value(state, tool) - before.value(state, tool))
        assert moved == pytest.approx(change / 16, abs=1e-9)


def walk(rng: np.random.Generator, *, places: int = 5) -> StepRun:
    """The random walk of Sutton & Barto's example 6.2: out on the right pays 1, out on the left 0."""
    at, visited = places // 2, []
    while 0 <= at < places:
        visited.append(at)
        at += 1 if rng.random() < 0.5 else -1
    return final_reward_run(np.array(visited), np.zeros(len(visited), np.int64), at == places)


def walk_values(discount: float, places: int = 5) -> np.ndarray:
    """The values that solve v = r + γ P v."""
    moves = (np.eye(places, k=1) + np.eye(places, k=-1)) / 2
    pays = np.zeros(places)
    pays[-1] = 0.5
    return np.linalg.solve(np.eye(places) - discount * moves, pays)


@pytest.mark.parametrize("discount", [1.0, 0.9])
@pytest.mark.parametrize(
    ("method", "trace", "kind", "step_size"),
    [
        ("sarsa", 0.9, "accumulating", 0.01),
        ("sarsa", 0.9, "replacing", 0.01),
        ("sarsa", 0.0, "accumulating", 0.01),
        ("monte_carlo", 0.0, "accumulating", None),
        ("q_learning", 0.0, "accumulating", 0.01),
    ],
)
def test_values_of_a_random_walk_come_to_those_of_the_linear_system(method, trace, kind, step_size, discount):
    config = ValueConfig(method, step_size, discount, trace, kind, prior_weight=0.0)
    rng = np.random.default_rng(0)
    values = learned(config, *(walk(rng) for _ in range(2000)))
    assert values.value(np.arange(5), 0) == pytest.approx(walk_values(discount), abs=0.07)


def test_q_learning_values_the_best_tool_and_sarsa_the_tool_that_is_used():
    """From state 0 one tool leads to state 1, where tool 0 succeeds and tool 1, used as often, fails."""
    half = [final_reward_run(np.array([0, 1]), np.array([0, tool]), float(tool == 0)) for tool in (0, 1)]
    config = ValueConfig(step_size=0.02, discount=1.0, trace=0.0, prior_weight=0.0)
    sarsa = learned(config, *(half * 400))
    greedy = learned(replace(config, method="q_learning"), *(half * 400))
    assert sarsa.value(0, 0) == pytest.approx(0.5, abs=0.03)
    assert greedy.value(0, 0) == pytest.approx(1.0, abs=0.03)


@settings(max_examples=35)
@given(st.lists(runs, min_size=1, max_size=6), shares)
def test_sarsa_with_a_full_trace_is_monte_carlo(some, discount):
    sarsa = learned(ValueConfig("sarsa", discount=discount, trace=1.0), *some).to_arrays()
    monte_carlo = learned(ValueConfig("monte_carlo", discount=discount, trace=0.3), *some).to_arrays()
    assert sarsa["values_SA"] == pytest.approx(monte_carlo["values_SA"])


@settings(max_examples=35)
@given(st.lists(steps, min_size=1, max_size=12), shares)
def test_with_no_trace_a_return_looks_one_step_ahead(rows, discount):
    run, before = run_of(rows), learned(ValueConfig(discount=discount, trace=0.0), run_of([(0, 0, 1.0), (1, 1, 0.5)]))
    following = np.append(before.value(run.states_T, run.tools_T)[1:], 0.0)
    assert before.returns([run])[0] == pytest.approx(run.rewards_T + discount * following)


@settings(max_examples=35)
@given(st.lists(steps, min_size=1, max_size=12), shares)
def test_monte_carlo_values_are_means_of_discounted_sums_over_every_visit(rows, discount):
    run = run_of(rows)
    sums = [
        sum(discount**later * reward for later, reward in enumerate(run.rewards_T[at:].tolist()))
        for at in range(len(run))
    ]
    values = learned(ValueConfig("monte_carlo", discount=discount, prior_weight=0.0), run)
    for state, tool in set(zip(run.states_T.tolist(), run.tools_T.tolist(), strict=True)):
        visits = (run.states_T == state) & (run.tools_T == tool)
        assert float(values.value(state, tool)) == pytest.approx(np.mean(np.array(sums)[visits]))


@settings(max_examples=50)
@given(st.lists(runs, min_size=1, max_size=6), configs)
def test_values_stay_within_the_range_of_returns(some, config):
    """With rewards of at most 1 a step no return exceeds the geometric sum, nor 1 where only the last step pays."""
    every = np.arange(-1, 5)[:, None], np.arange(-1, 4)[None]
    values = learned(config, *some).value(*every)
    assert values.min() >= -1e-9
    assert values.max() <= sum(config.discount**step for step in range(12 * len(some))) + 1e-9
    ended = [final_reward_run(run.states_T, run.tools_T, float(run.rewards_T[-1])) for run in some]
    assert learned(config, *ended).value(*every).max() <= 1.0 + 1e-9


@settings(max_examples=35)
@given(st.lists(runs, max_size=5), st.lists(runs, max_size=5), configs)
def test_learning_goes_on_after_loading_as_if_it_had_never_stopped(early, late, config):
    halfway = ActionValues.from_arrays(learned(config, *early).to_arrays(), config)
    for run in late:
        halfway.learn(run)
    whole = learned(config, *early, *late).to_arrays()
    assert all(np.array_equal(halfway.to_arrays()[name], whole[name]) for name in whole)


def test_each_step_of_a_run_is_one_visit():
    values = learned(ValueConfig(), run_of([(0, 0, 0.0), (0, 0, 0.0), (-1, 1, 1.0)]))
    assert values.counts.tolist() == [[0.0, 1.0], [2.0, 0.0]]


def test_a_run_that_was_cut_is_bootstrapped_from_its_last_pair():
    config = ValueConfig(discount=1.0, trace=1.0, prior_weight=0.0)
    values = learned(config, run_of([(1, 0, 0.75)]), run_of([(0, 0, 0.0), (1, 0, 0.0)], is_terminal=False))
    assert values.value([0, 1], [0, 0]).tolist() == [0.75, 0.75]
    assert values.counts.sum() == 2


def test_a_run_of_one_step_that_was_cut_teaches_nothing():
    values = learned(ValueConfig(), run_of([(2, 1, 1.0)], is_terminal=False))
    assert values.counts.sum() == 0
    assert values.value(2, 1) == 0.5


def test_rare_pairs_are_drawn_to_their_tool_and_unknown_ones_to_their_parents():
    good, bad = run_of([(0, 0, 1.0)]), run_of([(1, 1, 0.0)])
    values = learned(ValueConfig(prior_weight=2.0), *[good] * 30, *[bad] * 30, run_of([(2, 0, 0.0)]))
    tool, everything = values.value(9, 0), values.value(0, 7)
    assert 0.0 < values.value(2, 0) < tool < values.value(0, 0) < 1.0
    assert values.value(9, 1) < everything < tool
    assert values.value(0, -1) == everything


@settings(max_examples=35)
@given(st.lists(runs, max_size=6), configs)
def test_credited_outcomes_lie_in_the_unit_interval_one_for_each_step(some, config):
    credited = credited_outcomes(some, config)
    assert [len(one) for one in credited] == [len(run) for run in some]
    assert all(((one >= 0.0) & (one <= 1.0)).all() for one in credited)


@settings(max_examples=25)
@given(st.lists(runs, min_size=1, max_size=6), configs)
def test_returns_of_many_runs_are_those_of_each_run_alone(some, config):
    values = learned(config, *some)
    for run, together in zip(some, values.returns(some), strict=True):
        assert together == pytest.approx(values.returns([run])[0], abs=1e-12)


def test_a_good_step_of_a_failed_run_is_blamed_less_than_the_bad_step_after_it():
    won = final_reward_run(np.array([0, 1]), np.array([0, 0]), 1.0)
    lost = final_reward_run(np.array([0, 1]), np.array([0, 1]), 0.0)
    early, late = credited_outcomes([won] * 9 + [lost], ValueConfig(trace=0.5))[-1]
    assert early > 0.2
    assert late == 0.0


def test_a_step_inside_a_loop_earns_nothing():
    run = replace(
        final_reward_run(np.zeros(3, np.int64), np.zeros(3, np.int64), 1.0), looping_T=np.array([0, 1, 0]) > 0
    )
    credited = credited_outcomes([run])[0]
    assert credited[1] == 0.0
    assert credited[[0, 2]].min() > 0.9


def test_lambda_returns_stop_where_a_run_ends():
    returns = lambda_returns(np.array([0.0, 1.0, 0.0]), np.zeros(3), np.array([False, True, True]), 0.5, 1.0)
    assert returns.tolist() == [0.5, 1.0, 0.0]


def test_a_replacing_trace_leaves_runs_without_a_second_visit_as_they_are():
    returns = np.array([0.2, 0.4, 0.6])
    assert replaced_returns(returns, np.zeros(3), np.array([1, 2, 3]), 0.9).tolist() == returns.tolist()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([0], [0], [1.5]), "rewards must lie in"),
        (([0], [0], [np.nan]), "nobody judged"),
        (([0, 1], [0], [1.0]), "one shape"),
        (([], [], []), "one shape"),
        (([-2], [0], [1.0]), "number them first"),
        (([0], [-1], [1.0]), "number them first"),
        (([0], [0], [1.0], True, np.array([True, False])), "looping_T"),
    ],
)
def test_a_run_that_breaks_a_rule_is_refused(arguments, message):
    columns = [np.array(one, np.int64) for one in arguments[:2]]
    with pytest.raises(SelectorUsageError, match=message):
        StepRun(*columns, np.array(arguments[2], np.float64), *arguments[3:])


@pytest.mark.parametrize(
    "setting",
    [{"method": "td"}, {"trace_kind": "dutch"}, {"trace": 1.1}, {"step_size": 0.0}, {"prior_weight": -1.0}],
)
def test_a_setting_out_of_range_is_refused(setting):
    with pytest.raises(SelectorUsageError, match=next(iter(setting))):
        ValueConfig(**setting)


@pytest.mark.parametrize(
    "arrays",
    [{}, {"values_SA": np.zeros((1, 2)), "counts_SA": np.zeros((2, 2))}, {"values_SA": np.full((1, 1), np.nan)}],
)
def test_arrays_that_are_no_table_are_refused(arrays):
    with pytest.raises(SelectorUsageError, match="stored values"):
        ActionValues.from_arrays({"counts_SA": np.zeros((1, 1)), **arrays} if arrays else arrays, ValueConfig())
