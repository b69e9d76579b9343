"""One decision: abstaining, explaining itself, and propensities that are the truth."""

import functools
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_worlds import at, attempt, coloured_presses, decide, learned_from, routines

from selector.engine import Engine
from selector.learning import Learned
from selector.records import Decision, SelectorConfig
from selector.situation import Situation
from trajstore.render import PastStep
from trajstore.schema import Candidate

PRESSES = ("press_red", "press_blue", "press_green")


@functools.cache
def coloured() -> Learned:
    return learned_from(coloured_presses(12))


@functools.cache
def two_tools() -> Learned:
    """In red, one tool succeeded a little more often than the other; in blue, a third one always did."""
    red = [attempt(("red", tool)) for tool in ("left", "right", "left", "right", "left")]
    return learned_from([*red, *(attempt(("blue", "wait")) for _ in range(5))])


def essence(decision: Decision) -> Decision:
    return replace(decision, decision_id="")


def test_without_experience_it_abstains_and_says_so():
    decision = decide(learned_from([]), at("red", *PRESSES))
    assert (decision.tool, decision.candidate, decision.source) == (None, None, "defer")
    assert decision.reason == "too little experience: support 0.00 is below 1"
    assert decision.propensity == 1.0
    assert [one.candidate.tool for one in decision.ranked] == list(PRESSES)


def test_among_tools_never_seen_it_abstains_and_says_so():
    decision = decide(coloured(), at("the lamp is red", "fly", "swim"))
    assert decision.source == "defer"
    assert decision.reason == "none of the offered tools was ever seen"


def test_a_support_that_is_asked_for_and_not_there_makes_it_abstain():
    config = SelectorConfig(minimum_support=1e6)
    assert "is below 1e+06" in decide(coloured(), at("the lamp is red", *PRESSES), config).reason


def test_failures_alone_are_nothing_to_follow():
    learned = learned_from([attempt(("red", "press_red"), success=False)] * 20)
    assert decide(learned, at("red", *PRESSES)).source == "defer"


@pytest.mark.parametrize("colour", ["red", "blue", "green"])
def test_it_follows_what_succeeded_in_this_state(colour):
    decision = decide(coloured(), at(f"the lamp is {colour}", *PRESSES), SelectorConfig(exploration=0.0))
    assert decision.tool == f"press_{colour}"
    assert decision.source == "follow"
    assert decision.ranked[0].candidate.tool == f"press_{colour}"
    assert decision.propensity > 0.9


def test_it_follows_the_order_where_no_text_says_anything():
    learned = learned_from(routines(6, ["login", "search", "book", "pay"]))
    history = (PastStep("login"), PastStep("search"))
    assert decide(learned, at("", "pay", "login", "book", history=history)).ranked[0].candidate.tool == "book"


def test_a_decision_explains_itself():
    decision = decide(coloured(), at("the lamp is red", *PRESSES, "fly"))
    assert decision.decision_id
    assert [one.probability for one in decision.ranked] == sorted(
        (one.probability for one in decision.ranked), reverse=True
    )
    assert sum(one.probability for one in decision.ranked) == pytest.approx(1.0)
    for one in decision.ranked:
        assert 0 <= one.interval[0] <= one.probability <= one.interval[1] <= 1
    evidence = {one.candidate.tool: one.evidence for one in decision.ranked}
    assert evidence["press_red"] > evidence["press_blue"]
    assert evidence["fly"] == 0.0
    nearest = decision.evidence[0]
    assert (nearest.tool, nearest.success) == ("press_red", True)
    assert nearest.trajectory in coloured().knowledge.experience.trajectory_ids
    assert [one.similarity for one in decision.evidence] == sorted(
        (one.similarity for one in decision.evidence), reverse=True
    )


def test_what_is_pruned_is_never_chosen_and_carries_its_reason():
    seen = PastStep("press_red", "", "nothing happened", state="the lamp is red")
    situation = at("the lamp is red", *PRESSES, history=(seen,) * 4)
    decisions = [decide(coloured(), situation, SelectorConfig(exploration=0.5), seed=seed) for seed in range(50)]
    assert {one.tool for one in decisions} == {"press_blue", "press_green"}
    (pruned,) = decisions[0].pruned
    assert pruned.candidate == Candidate("press_red")
    assert pruned.reason == "loop: the last 4 calls had the same arguments and observation"


def test_a_choice_of_the_best_that_is_left_is_following():
    seen = PastStep("press_red", "", "nothing happened", state="the lamp is red")
    situation = at("the lamp is red", *PRESSES, history=(seen,) * 4)
    best = next(one.candidate.tool for one in decide(coloured(), situation).ranked if one.candidate.tool != "press_red")
    for seed in range(20):
        decision = decide(coloured(), situation, SelectorConfig(exploration=0.5), seed=seed)
        assert decision.source == ("follow" if decision.tool == best else "explore")


@pytest.mark.parametrize("exploration", [0.0, 0.3])
def test_the_propensity_is_how_often_the_choice_is_made(exploration):
    config, count = SelectorConfig(exploration=exploration, sharpening=0.5), 1000
    decisions = [decide(two_tools(), at("red", "left", "right"), config, seed=seed) for seed in range(count)]
    chosen = Counter(one.tool for one in decisions)
    assert set(chosen) == {"left", "right"}
    propensities = {one.tool: one.propensity for one in decisions}
    assert sum(propensities.values()) == pytest.approx(1.0)
    for tool, propensity in propensities.items():
        assert {one.propensity for one in decisions if one.tool == tool} == {propensity}
        standard_error = np.sqrt(propensity * (1 - propensity) / count)
        assert abs(chosen[tool] / count - propensity) < 4 * standard_error


def test_full_exploration_chooses_uniformly():
    decision = decide(coloured(), at("the lamp is red", *PRESSES), SelectorConfig(exploration=1.0))
    assert decision.propensity == pytest.approx(1 / 3)


@settings(max_examples=20)
@given(st.integers(0, 2**31), st.sampled_from(["the lamp is red", "", "nothing known"]))
def test_the_same_seed_makes_the_same_decision(seed, state):
    first, second = (decide(coloured(), at(state, *PRESSES), seed=seed) for _ in range(2))
    assert first.decision_id != second.decision_id
    assert essence(first) == essence(second)


@settings(max_examples=20)
@given(st.lists(st.sampled_from([*PRESSES, "fly"]), min_size=1, max_size=4, unique=True), st.integers(0, 99))
def test_what_is_chosen_was_offered_and_has_a_propensity(tools, seed):
    decision = decide(coloured(), at("the lamp is red", *tools), seed=seed)
    assert 0 < decision.propensity <= 1 + 1e-9
    assert decision.tool in tools or decision.source == "defer"
    assert {one.candidate.tool for one in decision.ranked} == set(tools)


def test_many_candidates_are_ranked_in_short():
    situation = at("the lamp is red", *PRESSES, *(f"tool{number}" for number in range(100)))
    decision = decide(coloured(), situation)
    assert len(decision.ranked) == 20
    assert decision.ranked[0].candidate.tool == "press_red"


def test_what_did_not_help_here_is_less_probable_when_it_is_tried_again():
    offered = (Candidate("press", {"button": "red"}), Candidate("press", {"button": "blue"}))
    tried = PastStep("press", "red", "nothing happened", state="the lamp is red")

    def first(*history: PastStep) -> float:
        situation = Situation("t", "the lamp is red", history, offered)
        engine = Engine(coloured(), SelectorConfig(), np.random.default_rng(0))
        goals = coloured().knowledge.goal_similarities(situation)
        return float(engine.consider(situation, goals).posterior.mean[0])

    elsewhere = replace(tried, state="blue green")
    assert first(tried) < first(elsewhere)


def test_similarities_to_tasks_of_an_older_experience_are_made_anew():
    engine = Engine(coloured(), SelectorConfig(), np.random.default_rng(0))
    decision = engine.decide(at("the lamp is red", *PRESSES), np.zeros(0, np.float32))
    assert decision.ranked[0].candidate.tool == "press_red"
