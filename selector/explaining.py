"""What a decision shows for itself: the candidates ranked, and the stored steps behind it."""

from selector.knowledge import Assessment
from selector.posteriors import BetaPosterior
from selector.records import RankedCandidate, SupportingStep
from selector.situation import Situation
from trajstore.experience import Experience
from trajstore.retriever import Evidence

INTERVAL_DEVIATIONS = 1.645
EXPLAINED_STEPS = 5
RANKED_CANDIDATES = 20


def ranked(situation: Situation, assessment: Assessment, posterior: BetaPosterior) -> tuple[RankedCandidate, ...]:
    """The most probable candidates in falling order, each with a 90 % interval and its evidence."""
    order = (-posterior.mean).argsort(kind="stable")[:RANKED_CANDIDATES]
    low, high = posterior.bounds(INTERVAL_DEVIATIONS)
    evidence = assessment.tool_examples[assessment.candidates.tool_of]
    columns = (values[order].tolist() for values in (posterior.mean, low, high, evidence))
    rows = zip(order.tolist(), *columns, strict=True)
    return tuple([RankedCandidate(situation.candidates[row[0]], row[1], row[2:4], row[4]) for row in rows])


def supporting(experience: Experience, evidence: Evidence) -> tuple[SupportingStep, ...]:
    """The nearest stored steps."""
    rows = evidence.rows[:EXPLAINED_STEPS]
    return tuple(
        SupportingStep(*experience.describe(row), similarity=similarity)
        for row, similarity in zip(rows.tolist(), evidence.similarities[:EXPLAINED_STEPS].tolist(), strict=True)
    )
