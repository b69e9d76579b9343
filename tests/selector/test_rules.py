"""Rules of the user are obeyed, and named where they fail."""

import pytest

from selector.errors import RuleFailed
from selector.rules import apply_rules
from selector.situation import Situation
from trajstore.schema import Candidate

SITUATION = Situation("task", "state", (), (Candidate("a"), Candidate("b")))


def no_a(situation, candidate):
    return "a is for experts" if candidate.tool == "a" else ""


def nothing_at_all(situation, candidate):
    return "stop"


def broken(situation, candidate):
    raise KeyError("missing")


def silent(situation, candidate):
    return None


def test_what_a_rule_forbids_has_its_reason():
    assert apply_rules([no_a], SITUATION) == {0: "rule: a is for experts"}
    assert apply_rules([], SITUATION) == {}


def test_the_first_rule_that_forbids_gives_the_reason():
    assert apply_rules([no_a, nothing_at_all], SITUATION) == {0: "rule: a is for experts", 1: "rule: stop"}


def test_a_rule_that_raises_is_named():
    with pytest.raises(RuleFailed, match=r"rule broken failed on 'a'.*mend the rule"):
        apply_rules([broken], SITUATION)


def test_a_rule_must_return_text():
    with pytest.raises(RuleFailed, match="rule silent must return"):
        apply_rules([silent], SITUATION)
