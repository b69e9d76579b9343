"""Words on which the next tool depends, found in stored decisions and kept where they help."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chi2_contingency
from tiny_worlds import learned_from

from selector import decisive_words
from selector.decisive_words import MOST_AFTER, NONE_DECISIVE, DecisiveWords, Moment, find_decisive
from selector.features import DECISIVE, HASHED, state_features
from selector.model_file import FittedModel, from_bytes, to_bytes
from selector.situation import Situation
from trajstore.render import PastStep
from trajstore.schema import Candidate, Step, Task, Trajectory

TOOLS = tuple(map(Candidate, ("look", "update", "escalate", "wait")))
NOISE = ("amber", "birch", "cedar", "dune", "ember", "fjord", "grove", "heath")


def moment(word: str, tool: str, unit: int, before: str = "look") -> Moment:
    return Moment(frozenset([word, "always"]), before, tool, unit)


def decided(number: int, unit: int) -> Moment:
    return moment("shipped" if number % 2 else "packed", "escalate" if number % 2 else "update", unit)


def cases(count: int, *, tells: bool) -> list[Trajectory]:
    """Cases in which the status that was read decides between two tools, or nothing does."""
    rng = np.random.default_rng(0)
    made = []
    for number in range(count):
        is_shipped = bool(rng.integers(2))
        status = ("shipped" if is_shipped else "packed") if tells else str(rng.choice(NOISE))
        words = " ".join(rng.choice(NOISE, 12).tolist())
        tool = "escalate" if is_shipped else "update"
        calls = (("look", f"{words} status {status} {words}"), (tool, "done"))
        steps = (
            Step(at, name, observation=text, outcome="ok", candidates=TOOLS) for at, (name, text) in enumerate(calls)
        )
        made.append(Trajectory(task=Task(f"case {number}", group=str(number)), steps=tuple(steps), success=True))
    return made


def after_look(observation: str) -> Situation:
    return Situation("case 7", "", (PastStep("look", "", observation),), TOOLS)


def test_the_word_that_goes_with_the_tool_is_found_and_what_always_stands_there_is_not():
    moments = [
        moment("shipped" if number % 2 else "packed", "escalate" if number % 2 else "update", number)
        for number in range(20)
    ]
    assert ("look", "shipped") in find_decisive(moments).words or ("look", "packed") in find_decisive(moments).words
    assert all(word != "always" for _, word in find_decisive(moments).words)


def test_many_steps_of_one_unit_are_no_evidence():
    moments = [
        moment("shipped" if number % 2 else "packed", "escalate" if number % 2 else "update", 0) for number in range(60)
    ]
    assert find_decisive(moments).words == ()


def test_words_that_go_together_are_one():
    both = [
        Moment(
            frozenset(["shipped", "sent"] if number % 2 else ["packed"]),
            "look",
            "escalate" if number % 2 else "update",
            number,
        )
        for number in range(20)
    ]
    assert len(find_decisive(both).words) == 1


def test_the_ratio_is_that_of_the_likelihood_ratio_test():
    table = np.array([[14.0, 3.0], [2.0, 11.0]])
    moments = [
        moment(word, tool, number)
        for number, (word, tool) in enumerate(
            (word, tool)
            for word, row in zip(("shipped", "packed"), table, strict=True)
            for tool, times in zip(("escalate", "update"), row, strict=True)
            for _ in range(int(times))
        )
    ]
    ratio = max(value for _, value in decisive_words._telling(moments))
    expected = chi2_contingency(table, correction=False, lambda_="log-likelihood").statistic
    assert ratio + 1.0 == pytest.approx(expected)  # one degree of freedom


@given(
    st.lists(
        st.tuples(st.sampled_from(NOISE), st.sampled_from("xyz"), st.integers(0, 9), st.sampled_from("ab")), max_size=40
    )
)
def test_each_tool_before_has_few_words_and_each_once(drawn):
    found = find_decisive([moment(word, tool, unit, before) for word, tool, unit, before in drawn]).words
    assert len(found) == len(set(found))
    assert all(sum(one[0] == before for one in found) <= MOST_AFTER for before in "ab")


def test_a_word_counts_after_its_tool_alone():
    decisive = DecisiveWords((("look", "shipped"), ("wait", "shipped"), ("look", "status packed")))
    assert decisive.places_in(after_look("It has shipped.")) == [0]
    assert decisive.places_in(after_look("Its status: packed.")) == [2]
    assert decisive.places_in(Situation("case", "shipped", (), TOOLS)) == []
    told = state_features(after_look("It has shipped."), decisive=decisive)
    assert told.values[told.places >= HASHED].tolist() == [DECISIVE]


def test_what_the_choice_depends_on_is_learned_where_it_helps_and_only_there():
    shipped, packed = (f"{' '.join(NOISE)} status {status}" for status in ("shipped", "packed"))
    told, untold = learned_from(cases(120, tells=True)), learned_from(cases(120, tells=False))
    assert told.knowledge.decisive.words
    assert untold.knowledge.decisive is NONE_DECISIVE
    for observation, tool in ((shipped, "escalate"), (packed, "update")):
        features = state_features(after_look(observation), decisive=told.knowledge.decisive)
        column = told.knowledge.experience.tools.known(tool)
        other = told.knowledge.experience.tools.known("update" if tool == "escalate" else "escalate")
        scores = features.values @ told.model.state[features.places]
        assert scores[column] > scores[other] + 1.0


def test_they_are_kept_with_the_model():
    learned = learned_from(cases(120, tells=True))
    kept = from_bytes(
        to_bytes(FittedModel(learned.model, learned.paths, learned.familiar, 1, decisive=learned.knowledge.decisive))
    )
    assert kept.decisive.words == learned.knowledge.decisive.words
