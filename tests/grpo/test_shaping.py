"""Shaped rewards: terms, unknown outcomes, and the report that shows a harmful term."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import mannwhitneyu

from grpo.errors import TrainingUsageError
from grpo.shaping import (
    RewardTerm,
    ShapedReward,
    ShapingConfig,
    compute_shaped_reward,
    discriminativeness,
    rank_flips,
    weighted_aucs,
)
from selector.kpis import Kpi, RewardSpec
from trajstore.schema import Step, Task, Trajectory


def trajectory(outcomes=("ok", "tool_error"), **more) -> Trajectory:
    steps = tuple(Step(place, "look", outcome=outcome) for place, outcome in enumerate(outcomes))
    return Trajectory(Task("find the key"), steps, **({"success": True} | more))


def shaped_with(parts_by_won: list[tuple[float, float]]) -> list[ShapedReward]:
    return [ShapedReward(won, won + part, {"outcome": won, "own": part}) for won, part in parts_by_won]


def test_the_default_terms_add_up_with_their_weights():
    shaped = compute_shaped_reward(trajectory())
    assert shaped.parts == pytest.approx({"outcome": 1.0, "tool_success": 0.05, "verification": 0.0, "length": -0.02})
    assert shaped.total == pytest.approx(1.03)


def test_a_verification_step_earns_its_term_once():
    steps = tuple(Step(place, "check", kind="verification") for place in range(3))
    shaped = compute_shaped_reward(Trajectory(Task("t"), steps, success=False))
    assert shaped.parts["verification"] == 0.05


def test_what_nobody_judged_has_no_total():
    shaped = compute_shaped_reward(trajectory(success=None))
    assert shaped.raw is None
    assert shaped.total is None
    assert "outcome" not in shaped.parts


def test_calls_of_unknown_outcome_count_neither_way():
    assert compute_shaped_reward(trajectory(("ok", "unknown"))).parts["tool_success"] == pytest.approx(0.1)
    assert "tool_success" not in compute_shaped_reward(trajectory(("unknown",))).parts


@given(st.integers(1, 30))
def test_more_ok_calls_never_raise_the_tool_term(count):
    assert compute_shaped_reward(trajectory(("ok",) * count)).parts["tool_success"] == pytest.approx(0.1)


def test_the_logged_reward_comes_before_success():
    assert compute_shaped_reward(trajectory(reward=0.25)).raw == 0.25


def test_kpis_and_own_terms_join_the_total():
    own = RewardTerm("own", 2.0, lambda one: float(len(one.task.text)))
    config = ShapingConfig(0.0, 0.0, 0.0, 0.0, RewardSpec((Kpi("steps", direction="lower", high=4.0),)), own=(own,))
    shaped = compute_shaped_reward(trajectory(), config)
    assert shaped.parts == {"kpis": 0.5, "own": 24.0}
    assert shaped.total == 24.5


def test_a_reversed_term_is_called_harmful_and_its_flips_are_counted():
    rng = np.random.default_rng(0)
    won = rng.integers(0, 2, 200).astype(float)
    report = discriminativeness(shaped_with([(each, -3.0 * each + 0.1 * rng.normal()) for each in won]))
    rows = {row.name: row for row in report.rows}
    assert report.harmful == ("own",)
    assert rows["own"].rank_flips == report.rank_flips == 1.0
    assert rows["outcome"].verdict == "helpful"
    assert rows["own"].correlation < -0.99


def test_a_term_of_pure_noise_is_not_called_harmful_more_often_than_its_interval_allows():
    rng = np.random.default_rng(1)
    reports = [
        discriminativeness(shaped_with([(float(rng.integers(0, 2)), rng.normal()) for _ in range(60)]))
        for _ in range(60)
    ]
    assert sum("own" in report.harmful for report in reports) <= 6


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.sampled_from([0.0, 0.5, 1.0]), st.floats(-5, 5)), min_size=2, max_size=40))
def test_variance_shares_add_to_one(pairs):
    report = discriminativeness(shaped_with(pairs))
    shares = [row.variance_share for row in report.rows]
    assert sum(shares) == pytest.approx(1.0) or all(map(math.isnan, shares))


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 4)), min_size=2, max_size=30))
def test_the_auc_is_scipys_mann_whitney_share(pairs):
    won = np.array([each for each, _ in pairs])
    values = np.array([float(value) for _, value in pairs])
    auc = weighted_aucs(values, won, np.ones((1, len(won)), np.int64))[0]
    if won.all() or not won.any():
        assert math.isnan(auc)
    else:
        assert auc == pytest.approx(mannwhitneyu(values[won], values[~won]).statistic / (won.sum() * (~won).sum()))


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=2, max_size=20))
def test_flips_are_the_pairs_counted_one_by_one(pairs):
    ordered = [(a, b) for at, a in enumerate(pairs) for b in pairs[:at] if a[0] != b[0]]
    flipped = sum((a[0] - b[0]) * (a[1] - b[1]) < 0 for a, b in ordered)
    found = rank_flips(np.array([float(b) for _, b in pairs]), np.array([float(a) for a, _ in pairs]))
    assert math.isnan(found) if not ordered else found == pytest.approx(flipped / len(ordered))


def test_unjudged_trajectories_are_counted_and_left_out():
    report = discriminativeness([*shaped_with([(1.0, 0.0), (0.0, 1.0)]), ShapedReward(None, None, {"own": 9.0})])
    assert (report.judged, report.successes, report.unjudged) == (2, 1, 1)


@pytest.mark.parametrize(
    ("build", "rule"),
    [
        (lambda: RewardTerm("own", math.nan, lambda _: 1.0), "must be finite, got nan"),
        (lambda: RewardTerm("", 1.0, lambda _: 1.0), "must have a name"),
        (lambda: ShapingConfig(own=(RewardTerm("length", 1.0, lambda _: 1.0),)), "'length' is declared twice"),
        (lambda: ShapingConfig(outcome=math.inf), "must be finite, got inf"),
        (lambda: compute_shaped_reward(trajectory(reward=1.5)), r"must lie in \[0, 1\], got 1.5"),
        (
            lambda: compute_shaped_reward(
                trajectory(), ShapingConfig(own=(RewardTerm("own", 1.0, lambda _: math.nan),))
            ),
            "'own' must be finite, got nan",
        ),
        (lambda: discriminativeness([]), "got none in 0 rewards"),
    ],
)
def test_what_breaks_a_shaping_rule_is_refused(build, rule):
    with pytest.raises(TrainingUsageError, match=rule):
        build()
