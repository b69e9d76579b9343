"""The order of tools by evidence, for runtimes whose list of tools a model reads from its top."""

from selector.adapters.advice import Advice
from selector.records import Decision


def has_opinion(decision: Decision | None) -> bool:
    """Whether there is a decision that may be shown to the agent, and that did not abstain."""
    if decision is None or decision.mode == "shadow" or decision.arm == "held_out":
        return False
    return (decision.candidate or decision.proposal) is not None


def by_evidence(advice: Advice) -> tuple[str, ...]:
    """The tools to offer, most probable first and refused ones last; in the order given where there is no opinion.

    >>> by_evidence(Advice(("look", "open"), refused={"look": "it is locked"}))
    ('open', 'look')
    """
    decision = advice.decision
    ranked = decision.ranked if decision is not None and has_opinion(decision) else ()
    places = {one.candidate.tool: place for place, one in reversed(list(enumerate(ranked)))}
    return tuple(sorted(advice.tools, key=lambda name: (name in advice.refused, places.get(name, len(places)))))
