"""What experience says of each candidate: parity with the formulas written out, and what is left out."""

import functools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_worlds import COLOURS, assess, at, attempt, coloured_presses, knowledge_of, learned_from, routines

from selector.knowledge import (
    EXPERTS,
    ORDER_FLOOR,
    TOOL_EXPERTS,
    VOTE_PRIOR,
)
from selector.learning import Learned
from selector.records import SelectorConfig
from selector.situation import Situation
from trajstore.order import START
from trajstore.render import PastStep
from trajstore.retriever import Keys, RetrieverConfig
from trajstore.schema import Candidate, Step, Task, Trajectory

PRESSES = tuple(f"press_{colour}" for colour in COLOURS)


def with_errors(trajectory: Trajectory) -> Trajectory:
    return replace(trajectory, steps=tuple(replace(step, outcome="tool_error") for step in trajectory.steps))


def coloured_logs() -> list[Trajectory]:
    """Successes, failures, and successes in spite of calls that failed."""
    lost = [replace(one, success=False) for one in coloured_presses(4, seed=7)]
    return [*coloured_presses(8), *lost, *map(with_errors, coloured_presses(4, seed=8))]


@functools.cache
def coloured() -> Learned:
    return learned_from(coloured_logs())


def success_of(row: int) -> float:
    """Whether the trajectory of a row succeeded; half where the call itself failed."""
    experience = coloured().knowledge.experience
    return float(bool(experience.describe(row)[3])) * (0.5 if experience.column("failed")[row] else 1.0)


def expert(name: str) -> int:
    return EXPERTS.index(name)


def test_the_order_expert_is_the_order_model_among_the_offered_with_a_floor():
    learned = learned_from(routines(3, ["login", "search", "pay"]))
    situation = at("", "pay", "search", "fly", history=(PastStep("login"),))
    order = learned.knowledge.tool_order.predict([0], 3)
    offered = np.array([order[2], order[1], 0.0])
    floored = offered / offered.sum() + ORDER_FLOOR / 3
    found = np.exp(assess(learned, situation).experts[:, expert("order")])
    assert found == pytest.approx(floored / floored.sum())
    assert np.argmax(found) == 1


@pytest.mark.parametrize(
    ("name", "weights"), [("path", "weights"), ("content", "content_weights"), ("moment", "moment_weights")]
)
def test_a_vote_is_the_share_of_the_examples_that_did_it(name, weights):
    assessment = assess(coloured(), at("the lamp is red", *PRESSES, "fly"))
    experience = coloured().knowledge.experience
    votes = dict.fromkeys((*PRESSES, "fly"), VOTE_PRIOR / 4)
    for row, weight in zip(assessment.evidence.rows.tolist(), getattr(assessment.evidence, weights), strict=True):
        _, _, tool, success = experience.describe(row)
        votes[tool] += float(weight) if success else 0.0
    total = sum(votes.values())
    found = np.exp(assessment.experts[:, expert(name)])
    assert found == pytest.approx([vote / total for vote in votes.values()], rel=1e-5)
    assert np.argmax(found) == 0


def test_success_here_is_the_credited_evidence_on_the_prior_of_the_hierarchy():
    situation = at("the lamp is red", *PRESSES)
    assessment, knowledge = assess(coloured(), situation), coloured().knowledge
    outcomes, tools = knowledge.outcomes, knowledge.experience.tools
    here = {tool: [0.0, 0.0] for tool in PRESSES}
    for row, weight in zip(assessment.evidence.rows.tolist(), assessment.evidence.weights, strict=True):
        tool = knowledge.experience.describe(row)[2]
        here[tool][0] += float(weight) * outcomes.credit.successes_N[row]
        here[tool][1] += float(weight) * outcomes.credit.weights_N[row]
    for place, tool in enumerate(PRESSES):
        prior = outcomes.hierarchy.clusters_CT[assessment.cluster, tools.known(tool)]
        strength = outcomes.hierarchy.weights_T[tools.known(tool)]
        expected = (strength * prior + here[tool][0]) / (strength + here[tool][1])
        assert assessment.tool_success.mean[place] == pytest.approx(expected, rel=1e-3)
        assert assessment.tool_evidence[place] == pytest.approx(here[tool][1], rel=1e-5, abs=1e-9)


def test_a_call_that_failed_in_a_success_counts_half():
    fine, failed = (
        learned_from([attempt(("red", "press_red"), outcome=outcome)] * 10) for outcome in ("ok", "tool_error")
    )
    whole, half = (assess(one, at("red", "press_red")).tool_success.mean[0] for one in (fine, failed))
    assert half < 0.6 < whole


@pytest.mark.parametrize(("key", "silent"), [("order", ["order"]), ("state", ["moment"])])
def test_an_expert_whose_key_is_off_says_nothing(key, silent):
    config = SelectorConfig(retrieval=RetrieverConfig(keys=replace(Keys(), **{key: 0.0})))
    learned = learned_from(coloured_presses(4), config=config)
    experts = assess(learned, at("the lamp is red", *PRESSES)).experts
    for name in TOOL_EXPERTS:
        assert experts[:, expert(name)].any() != (name in silent)


def test_the_tool_that_describes_itself_most_like_what_is_asked_is_believed_most():
    said = {"press_red": "makes the lamp red", "press_green": "makes the lamp green"}
    offered = tuple(Candidate(tool, {}, text) for tool, text in said.items())
    asked = Situation("", "it should be green", (), offered)
    answered = replace(asked, state="it should be green\nred red lamp", history=(PastStep("fly", state=asked.state),))
    shares = [np.exp(assess(coloured(), one).experts[:, expert("meaning")]) for one in (asked, answered)]
    cosines = [coloured().knowledge.experience.embed(text) for text in (asked.state, *said.values())]
    odds = np.exp(10.0 * np.array([one @ cosines[0] for one in cosines[1:]]))
    assert shares[0] == pytest.approx(odds / odds.sum(), rel=1e-5)
    assert shares[1] == pytest.approx(shares[0])
    assert shares[0][1] > 0.6


def test_of_tools_that_say_nothing_of_themselves_all_mean_the_same():
    for situation in (at("the lamp is red", *PRESSES), Situation("", "red", (), (Candidate("go", {"to": "red"}),))):
        meaning = assess(coloured(), situation).experts[:, expert("meaning")]
        assert meaning == pytest.approx(-np.log(len(situation.tools.texts)))


@settings(max_examples=40)
@given(
    st.lists(st.sampled_from([*PRESSES, "fly", "swim"]), min_size=1, max_size=5, unique=True),
    st.sampled_from(["the lamp is red", "", "green blue"]),
    st.lists(st.sampled_from([*PRESSES, "fly"]), max_size=3),
)
def test_what_the_tools_are_believed_to_be_sums_to_one(tools, state, history):
    assessment = assess(coloured(), at(state, *tools, history=[PastStep(tool) for tool in history]))
    shares = [expert(name) for name in TOOL_EXPERTS if name != "success"]
    assert np.exp(assessment.experts[:, shares]).sum(axis=0) == pytest.approx(np.ones(len(shares)))
    assert np.isfinite(assessment.experts).all()


@settings(max_examples=40)
@given(st.permutations((*PRESSES, "fly")))
def test_the_order_in_which_candidates_are_offered_does_not_matter(order):
    offered = (*PRESSES, "fly")
    forth = assess(coloured(), at("the lamp is blue", *offered)).experts
    back = assess(coloured(), at("the lamp is blue", *order)).experts
    assert back == pytest.approx(forth[[offered.index(tool) for tool in order]])


def grounded(*calls: tuple[str, str], offered: tuple[str, ...] = ("coin", "lamp", "key")) -> list[Trajectory]:
    candidates = (*(Candidate("Take", {"object": name}) for name in offered), Candidate("look"))
    steps = tuple(
        Step(index=place, tool="Take", state=state, args={"object": name}, candidates=candidates)
        for place, (state, name) in enumerate(calls)
    )
    return [Trajectory(task=Task("take it"), steps=steps, success=True)] * 3


def test_actions_are_voted_for_among_the_candidates_of_their_tool():
    learned = learned_from(grounded(("red", "coin"), ("blue", "lamp")))
    candidates = (*(Candidate("Take", {"object": name}) for name in ("coin", "lamp", "key")), Candidate("look"))
    experts = assess(learned, Situation("take it", "red", (), candidates)).experts
    moment, path = experts[:, expert("action moment")], experts[:, expert("action path")]
    assert np.argmax(moment[:3]) == np.argmax(path[:3]) == 0
    assert moment[1] == pytest.approx(moment[2])
    assert moment[3] == path[3] == 0.0
    assert experts[:, expert("siblings")] == pytest.approx([-np.log(3)] * 3 + [0.0])


def test_actions_that_followed_the_last_action_are_voted_for():
    learned = learned_from(grounded(("red", "coin"), ("blue", "lamp"), ("green", "key")))
    candidates = tuple(Candidate("Take", {"object": name}) for name in ("key", "lamp"))
    after_coin = Situation("take it", "", (PastStep("Take", "coin"),), candidates)
    order = assess(learned, after_coin).experts[:, expert("action order")]
    assert order[1] > 0 > order[0]


def test_bare_tools_have_no_opinion_on_actions():
    experts = assess(coloured(), at("the lamp is red", *PRESSES)).experts
    assert not experts[:, len(TOOL_EXPERTS) :].any()


@settings(max_examples=30)
@given(st.sets(st.integers(0, 15), min_size=1, max_size=15), st.sampled_from(COLOURS))
def test_trajectories_left_out_are_neither_evidence_nor_counted(members, colour):
    knowledge = coloured().knowledge
    left = knowledge.left_out(sorted(members))
    situation = at(f"the lamp is {colour}", *PRESSES)
    evidence = knowledge.assess(situation, knowledge.goal_similarities(situation), left=left).evidence
    owners = knowledge.experience.column("trajectory")[evidence.rows].tolist()
    assert not members & set(owners)
    others = knowledge.left_out(sorted(set(range(16)) - members))
    for tokens in ([], [0], [2, 4]):
        without = knowledge.tool_order.predict(tokens, 3, without=left.tools)
        assert without == pytest.approx(others.tools.predict(tokens, 3))
        kept = knowledge.action_order.followers((START,), without=left.actions)
        assert kept.weights == pytest.approx(others.actions.followers((START,)).weights)


def test_learning_in_two_parts_is_learning_at_once():
    first, second = coloured_presses(3), coloured_presses(3, seed=1)
    knowledge = knowledge_of(first)
    knowledge.experience.extend(second)
    knowledge.learn(second, first=3)
    whole = knowledge_of([*first, *second])
    for tokens in ([], [0], [2], [0, 2, 4]):
        assert knowledge.tool_order.predict(tokens, 3) == pytest.approx(whole.tool_order.predict(tokens, 3))
    situation = at("the lamp is red", *PRESSES)
    grown = knowledge.assess(situation, knowledge.goal_similarities(situation))
    at_once = whole.assess(situation, whole.goal_similarities(situation))
    assert grown.tool_success.mean == pytest.approx(at_once.tool_success.mean, abs=0.05)
    assert len(grown.evidence.rows) == len(at_once.evidence.rows)


def test_an_empty_experience_supports_nothing_and_prefers_nothing():
    assessment = assess(learned_from([]), at("the lamp is red", "press_red", "press_blue"))
    assert assessment.support == 0.0
    assert np.ptp(assessment.experts, axis=0).max() == 0.0
    assert len(assessment.evidence.rows) == 0
    assert assessment.tool_success.mean == pytest.approx([0.5, 0.5])


def test_failures_are_no_examples():
    learned = learned_from([attempt(("red", "press_red"), ("blue", "press_red"), success=False)] * 3)
    assessment = assess(learned, at("red", "press_red", "press_blue"))
    assert assessment.path_weight == assessment.support == 0.0
    assert assessment.tool_examples.tolist() == [0.0, 0.0]
    assert assessment.tool_evidence[0] > 0
