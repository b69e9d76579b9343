"""Rules of the user: plain functions that say why a candidate must not be chosen.

They are the user's word and hold even where they forbid every candidate: then the choice must be left to the agent.
"""

from collections.abc import Callable, Sequence

from selector.errors import RuleFailed
from selector.situation import Situation
from trajstore.schema import Candidate

Rule = Callable[[Situation, Candidate], str]


def apply_rules(rules: Sequence[Rule], situation: Situation) -> dict[int, str]:
    """Reason by place of each candidate that a rule forbids, that of the first rule that does.

    All places may be there: whoever decides must then abstain, never overrule.  A rule that raises is a `RuleFailed`
    that names it.
    """
    reasons: dict[int, str] = {}
    if not rules:
        return reasons
    for place, candidate in enumerate(situation.candidates):
        reason = next((found for rule in rules if (found := _ask(rule, situation, candidate))), "")
        if reason:
            reasons[place] = f"rule: {reason}"
    return reasons


def _ask(rule: Rule, situation: Situation, candidate: Candidate) -> str:
    name = getattr(rule, "__name__", type(rule).__name__)
    try:
        reason = rule(situation, candidate)
    except Exception as error:  # the border to the user's code: whatever it raises is named
        raise RuleFailed(f"rule {name} failed on {candidate.tool!r}: {error!r}; mend the rule") from error
    if not isinstance(reason, str):
        raise RuleFailed(f"rule {name} must return a reason or '' for {candidate.tool!r}, got {reason!r}")
    return reason
