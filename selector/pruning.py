"""Which candidates are left out of a decision, each with its reason: loops, and tools that fail here."""

import numpy as np

from selector.knowledge import Assessment
from selector.live import NO_FEEDBACK, Feedback
from selector.loops import IsShown, Loop, loop_reasons, never_shown
from selector.records import PrunedCandidate, SelectorConfig
from selector.situation import Situation

Reasons = dict[int, str]


def prune(
    situation: Situation,
    assessment: Assessment,
    config: SelectorConfig,
    *,
    feedback: Feedback = NO_FEEDBACK,
    loop: Loop | None = None,
    is_shown: IsShown = never_shown,
) -> Reasons:
    """Reason by place of each candidate to leave out; at least one candidate always stays.

    `loop` is the one that the newest steps stand in; `is_shown` says whether successes repeated a tool's call as often.
    """
    reasons = (
        failing_here(assessment, config)
        | quarantined(assessment, feedback)
        | loop_reasons(situation, config.loops, loop, is_shown)
    )
    return reasons if len(reasons) < len(situation.candidates) else {}


def quarantined(assessment: Assessment, feedback: Feedback) -> Reasons:
    """Candidates whose tool is pruned in this kind of state until its next probe."""
    text = feedback.pruned(assessment.cluster, assessment.candidates.tool_names)
    names = assessment.candidates.tool_names
    if not text:
        return {}
    return {
        place: text[names[tool]]
        for place, tool in enumerate(assessment.candidates.tool_of.tolist())
        if names[tool] in text
    }


def failing_here(assessment: Assessment, config: SelectorConfig) -> Reasons:
    """Candidates whose tool is credibly worse here than the best: its upper bound lies below the best lower bound."""
    known = assessment.tool_evidence >= config.prune_evidence
    if not known.any():
        return {}
    low, high = assessment.tool_success.bounds(config.prune_deviations)
    best = int(np.argmax(np.where(known, low, -1.0)))
    bad = known & (high < config.prune_share * low[best])
    names = assessment.candidates.tool_names
    text = {
        tool: f"fails here: success at most {high[tool]:.2f}, while {names[best]} has at least {low[best]:.2f}"
        for tool in np.flatnonzero(bad).tolist()
    }
    return {place: text[tool] for place, tool in enumerate(assessment.candidates.tool_of.tolist()) if tool in text}


def pruned_candidates(situation: Situation, reasons: Reasons) -> tuple[PrunedCandidate, ...]:
    """The pruned ones as records, in the order offered."""
    return tuple(PrunedCandidate(situation.candidates[place], reasons[place]) for place in sorted(reasons))
