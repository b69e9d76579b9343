"""What a runtime is told at one step: which tools to offer, what to hint, what to force, and what must not run."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from selector.guard import shown
from selector.records import Decision
from trajstore.schema import Candidate, ToolSpec

RULE = "rule: "
"""How the reason of a candidate begins that the user's own rule forbids."""
LOOP = "loop: "
"""How that of a candidate begins whose calls go round in circles: with other arguments it may be called."""


@dataclass(frozen=True, slots=True)
class Advice:
    """What a runtime is to do at one step.

    `tools` are the names to offer, in the order in which the runtime gave them.  `hint` is a text for the end of the
    model's context, empty where there is nothing to say; it names tools and counts and never quotes what is stored.
    `forced` is the tool that the model must call (None: it is free).  `refused` holds the reason by name of each tool
    that must not run even if the model names it.  `decision` is what stands behind all this; None where there is no
    opinion: then everything is as if nobody had been asked.
    """

    tools: tuple[str, ...]
    hint: str = ""
    forced: str | None = None
    refused: Mapping[str, str] = field(default_factory=dict)
    decision: Decision | None = None

    @property
    def is_narrowed(self) -> bool:
        """Whether tools were taken out of those to offer."""
        return any(name not in self.tools for name in self.refused)


def no_opinion(tools: Sequence[ToolSpec]) -> Advice:
    """Everything is offered, nothing is said.

    >>> no_opinion([ToolSpec("look"), ToolSpec("open")])
    Advice(tools=('look', 'open'), hint='', forced=None, refused={}, decision=None)
    """
    return Advice(tuple(tool.name for tool in tools))


def candidates_of(tools: Sequence[ToolSpec]) -> tuple[Candidate, ...]:
    """The tools as candidates, which describe themselves by their text."""
    return tuple(Candidate(tool.name, text=tool.description) for tool in tools)


def advice_of(decision: Decision, tools: Sequence[ToolSpec], *, keeps_tools: bool = True) -> Advice:
    """What a decision about these tools comes to in its mode and arm.

    In the modes narrow and force the pruned tools are refused; they are still offered where `keeps_tools`, since a list
    of tools that changes makes a provider read its cached prompt anew, and where only calls that were made before are
    refused.  Where everything would be refused, only what the user's own rules forbid is.
    """
    names = tuple(tool.name for tool in tools)
    pruned = {one.candidate.tool: one.reason for one in decision.pruned}
    seen = shown(decision.mode, decision.arm, candidates_of(tools), (), decision.candidate)
    if decision.arm == "held_out" or decision.mode == "shadow":
        return Advice(names, decision=decision)
    suggested = seen.suggestion.tool if seen.suggestion else None
    if decision.mode == "suggest":
        return Advice(names, hint_of(decision, suggested, pruned), decision=decision)
    refused = _refused(names, pruned)
    return Advice(
        names if keeps_tools else tuple(name for name in names if is_for_repeats(refused.get(name, LOOP))),
        hint_of(decision, suggested, refused),
        suggested if seen.is_forced else None,
        refused,
        decision,
    )


def is_for_repeats(reason: str) -> bool:
    """Whether a tool is refused for calls with the arguments of an earlier one alone.

    >>> is_for_repeats("loop: the last 4 calls had the same arguments and observation"), is_for_repeats("fails here")
    (True, False)
    """
    return reason.startswith(LOOP)


def hint_of(decision: Decision, suggested: str | None, against: Mapping[str, str]) -> str:
    """What the model is told, in one or two sentences; empty where there is nothing to say."""
    return " ".join(filter(None, (_speaks_for(decision, suggested), _speaks_against(decision, against))))


def _speaks_for(decision: Decision, suggested: str | None) -> str:
    if suggested is None:
        return ""
    judged = [one for one in decision.evidence if one.tool == suggested and one.success is not None]
    counted = f" ({sum(bool(one.success) for one in judged)} of {len(judged)} such steps led to success)"
    return f"Past experience with similar tasks went on with the tool `{suggested}` here{counted if judged else ''}."


def _speaks_against(decision: Decision, against: Mapping[str, str]) -> str:
    if not against:
        return ""
    if decision.mode == "suggest":
        return f"It speaks against {_listed(against)}."
    repeated = [name for name, reason in against.items() if is_for_repeats(reason)]
    others = [name for name in against if name not in repeated]
    now = f"Do not call {_listed(others)} now: the call would be refused." if others else ""
    again = f"Do not call {_listed(repeated)} again as before: the call would be refused." if repeated else ""
    return " ".join(filter(None, (now, again)))


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in sorted(names))


def _refused(names: Sequence[str], pruned: Mapping[str, str]) -> dict[str, str]:
    refused = {name: pruned[name] for name in names if name in pruned}
    if len(refused) < len(names):
        return refused
    return {name: reason for name, reason in refused.items() if reason.startswith(RULE)}
