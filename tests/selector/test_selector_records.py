"""Settings that break a rule, and what a decision says of itself."""

import pytest

from selector.errors import SelectorUsageError
from selector.records import Decision, SelectorConfig
from trajstore.schema import Candidate


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"exploration": 1.5}, r"exploration must lie in \[0, 1\], got 1.5"),
        ({"exploration": float("nan")}, r"exploration must lie in \[0, 1\], got nan"),
        ({"prune_share": -0.1}, r"prune_share must lie in \[0, 1\], got -0.1"),
        ({"sharpening": 0.0}, "sharpening must be above 0, got 0.0"),
        ({"prior_strength": -1.0}, "prior_strength must be above 0, got -1.0"),
        ({"decisions": 0}, "decisions must be above 0, got 0"),
        ({"prune_evidence": float("nan")}, "prune_evidence must be above 0, got nan"),
        ({"allowance": 1.0}, r"allowance must lie in \[0, 1\), got 1.0"),
        ({"held_out": 1.0}, r"fraction must lie in \[0, 1\), got 1.0"),
        ({"mode": "loud"}, "mode must be one of"),
        ({"margin": 2.0}, "margin must lie in"),
    ],
)
def test_a_setting_that_breaks_a_rule_is_refused_by_name(changes, rule):
    with pytest.raises(SelectorUsageError, match=rule):
        SelectorConfig(**changes)


def test_the_tool_of_a_decision_is_that_of_its_candidate():
    fields = {"decision_id": "d", "propensity": 1.0, "ranked": (), "pruned": (), "evidence": ()}
    assert Decision(candidate=Candidate("search"), source="follow", **fields).tool == "search"
    assert Decision(candidate=None, source="defer", **fields).tool is None
