"""Rewards from KPIs: laws of the combination, and what a trajectory shows."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from selector.errors import SelectorUsageError
from selector.kpis import Kpi, RewardSpec, combine, measured, scale
from trajstore.schema import Step, Task, Trajectory

finite = st.floats(-1e6, 1e6)
names = st.sampled_from(["success", "reward", "cost_usd", "latency_seconds", "steps", "tone"])


@st.composite
def kpis(draw) -> Kpi:
    low = draw(finite)
    high = low + draw(st.floats(0.1, 1e6))
    return Kpi(draw(names), draw(st.floats(0.01, 100)), draw(st.sampled_from(["higher", "lower"])), low, high)


specs = st.lists(kpis(), min_size=1, max_size=5, unique_by=lambda kpi: kpi.name).map(tuple).map(RewardSpec)
measurements = st.dictionaries(names, finite)


@given(measurements, specs)
def test_the_reward_is_the_weighted_mean_of_the_scaled_parts(values, spec):
    reward = combine(values, spec)
    known = [kpi for kpi in spec.kpis if kpi.name in values]
    if not known:
        assert reward.value is None
        return
    total = sum(kpi.weight for kpi in known)
    expected = sum(kpi.weight / total * scale(values[kpi.name], kpi) for kpi in known)
    assert reward.value == pytest.approx(expected, abs=1e-12)
    assert 0.0 <= reward.value <= 1.0


@given(measurements, specs)
def test_every_declared_kpi_is_a_part_or_missing(values, spec):
    reward = combine(values, spec)
    assert {part.name for part in reward.parts} | set(reward.missing) == {kpi.name for kpi in spec.kpis}
    assert not {part.name for part in reward.parts} & set(reward.missing)
    assert {part.name: part.raw for part in reward.parts} == {
        name: value for name, value in values.items() if name not in reward.missing and name in dict_of(spec)
    }


def dict_of(spec: RewardSpec) -> dict[str, Kpi]:
    return {kpi.name: kpi for kpi in spec.kpis}


@given(kpis(), finite, finite)
def test_a_better_raw_value_never_scales_lower(kpi, first, second):
    worse, better = sorted([first, second], reverse=kpi.direction == "lower")
    assert scale(worse, kpi) <= scale(better, kpi)


@given(kpis(), st.floats(0, 1))
def test_values_between_the_limits_are_scaled_by_interpolation(kpi, share):
    raw = kpi.low + share * (kpi.high - kpi.low)
    expected = share if kpi.direction == "higher" else 1 - share
    assert scale(raw, kpi) == pytest.approx(expected, abs=1e-6)


def test_values_beyond_the_limits_are_clipped():
    cost = Kpi("cost_usd", direction="lower", low=1.0, high=2.0)
    assert [scale(raw, cost) for raw in (0.0, 1.0, 1.5, 2.0, 9.0)] == [1.0, 1.0, 0.5, 0.0, 0.0]


@pytest.mark.parametrize(("raw", "scaled"), [(-1.7e308, 0.0), (0.0, 0.5), (1.7e308, 1.0)])
def test_limits_as_far_apart_as_numbers_go_do_not_overflow(raw, scaled):
    assert scale(raw, Kpi("tone", low=-1.7e308, high=1.7e308)) == pytest.approx(scaled)


def test_limits_next_to_each_other_still_part_good_from_bad():
    kpi = Kpi("tone", low=0.0, high=5e-324)
    assert [scale(raw, kpi) for raw in (0.0, 5e-324)] == [0.0, 1.0]


def test_a_missing_kpi_does_not_count_as_zero():
    spec = RewardSpec((Kpi("success"), Kpi("cost_usd", weight=9.0)))
    assert combine({"success": 1.0}, spec).value == 1.0
    assert combine({"success": 1.0, "cost_usd": 0.0}, spec).value == pytest.approx(0.1)


def test_the_reward_is_success_alone_unless_declared():
    reward = combine({"success": True, "cost_usd": 3.0})
    assert (reward.value, reward.missing) == (1.0, ())
    assert combine({}).value is None
    assert combine({}).missing == ("success",)


@given(specs)
def test_a_declaration_comes_back_equal_from_json(spec):
    assert RewardSpec.from_json(json.loads(json.dumps(spec.to_json()))) == spec


@given(measurements, specs)
def test_a_reward_is_stored_as_plain_json(values, spec):
    reward = combine(values, spec)
    stored = json.loads(json.dumps(reward.to_json()))
    assert stored["value"] == reward.value
    assert [part["raw"] for part in stored["parts"]] == [part.raw for part in reward.parts]
    assert stored["missing"] == list(reward.missing)


def step(index: int, latency: float | None, cost: float | None) -> Step:
    return Step(index=index, tool="open", latency_seconds=latency, cost_usd=cost)


def test_a_trajectory_shows_what_its_steps_know():
    trajectory = Trajectory(
        Task("find it"), (step(0, 1.5, None), step(1, None, None), step(2, 2.0, 0.25)), success=False, reward=-3.0
    )
    assert measured(trajectory) == {
        "success": 0.0,
        "reward": -3.0,
        "steps": 3.0,
        "latency_seconds": 3.5,
        "cost_usd": 0.25,
    }


def test_what_a_trajectory_does_not_know_is_left_out():
    assert measured(Trajectory(Task("find it"), (step(0, None, None),))) == {"steps": 1.0}


def test_kpis_given_with_a_trajectory_win_over_what_its_steps_show():
    trajectory = Trajectory(Task("find it"), (step(0, 1.0, 1.0),), success=True, kpis={"cost_usd": 7.0, "tone": 0.3})
    values = measured(trajectory)
    assert (values["cost_usd"], values["tone"], values["success"]) == (7.0, 0.3, 1.0)


@pytest.mark.parametrize(
    ("arguments", "rule"),
    [
        ({"name": ""}, "needs a name"),
        ({"name": "tone", "direction": "up"}, "must be higher or lower, got 'up'"),
        ({"name": "tone", "weight": 0.0}, "above 0, got 0.0"),
        ({"name": "tone", "weight": -1.0}, "above 0"),
        ({"name": "tone", "weight": math.nan}, "finite and above 0"),
        ({"name": "tone", "low": 1.0, "high": 1.0}, "low < high"),
        ({"name": "tone", "low": -math.inf}, "finite low < high"),
    ],
)
def test_a_kpi_that_breaks_a_rule_is_refused(arguments, rule):
    with pytest.raises(SelectorUsageError, match=rule):
        Kpi(**arguments)


def test_a_name_declared_twice_is_refused():
    with pytest.raises(SelectorUsageError, match="'tone' is declared twice"):
        RewardSpec((Kpi("tone"), Kpi("tone", weight=2.0)))


def test_a_reward_of_no_kpis_is_refused():
    with pytest.raises(SelectorUsageError, match="at least one KPI"):
        RewardSpec(())


@pytest.mark.parametrize("raw", [math.nan, math.inf, -math.inf])
def test_a_value_that_is_not_finite_is_refused(raw):
    with pytest.raises(SelectorUsageError, match="'success' must be a finite number"):
        combine({"success": raw})


@pytest.mark.parametrize("data", [{}, {"kpis": [{"name": "tone", "wight": 1}]}, {"kpis": 3}, {"kpis": [{}]}])
def test_a_declaration_that_is_none_is_refused(data):
    with pytest.raises(SelectorUsageError, match="a reward is declared as kpis"):
        RewardSpec.from_json(data)
