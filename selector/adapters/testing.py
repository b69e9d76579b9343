"""What every adapter must do, as cases that any runtime can be put through with a scripted model.

Make a `Runtime` of your own that plays a script, and run the cases, e.g. with pytest:

    @pytest.mark.parametrize(("case", "way"), cases_of(MY_RUNTIME))
    async def test_my_adapter(case, way):
        await case(MY_RUNTIME, way)

A case raises AssertionError with what did not hold.  What a runtime cannot do it names in `lacks`, with the reason.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from selector.adapters.advisor import AdvisedEpisode, Advisor
from selector.adapters.episode_work import AdvisorSettings
from selector.adapters.scripted_tools import FORBIDDEN, TASK, ScriptedTools, experienced_store
from selector.guard import Mode
from selector.records import SelectorConfig
from selector.selector import Selector
from trajstore.schema import Step, ToolSpec, Trajectory

Way = Literal["sync", "async", "stream"]
Ability = Literal["hint", "force", "hide", "parallel", "cancel", "invalid_args", "unknown_tool", "shadow"]
Case = Callable[["Runtime", Way], Awaitable[None]]

PATIENCE_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class ScriptedCall:
    """One call that the scripted model makes."""

    tool: str
    args: Mapping[str, Any] = field(default_factory=dict)  # Any: what a model writes


Turn = Sequence[ScriptedCall] | str
"""What the scripted model answers once: calls, all at once, or its last words."""


@dataclass(frozen=True, slots=True)
class Play:
    """One run of an agent: the tools it has, what its model says turn by turn, and in which way it is run.

    With `refuses_force` the scripted model raises an error when it is asked with a forced tool.
    """

    tools: ScriptedTools
    turns: tuple[Turn, ...]
    way: Way = "async"
    task: str = TASK
    refuses_force: bool = False


@dataclass(frozen=True, slots=True)
class Asked:
    """What the scripted model was given once: the tools offered, the one forced, and all texts in their order."""

    tools: tuple[str, ...]
    forced: str | None = None
    text: str = ""


@dataclass(frozen=True, slots=True)
class Played:
    """How a run went; `failure` names the error that ended it, "" where none did."""

    output: str = ""
    asked: tuple[Asked, ...] = ()
    failure: str = ""


class Runtime(Protocol):
    """A runtime with its adapter: `play` runs an agent with a scripted model, unguided where `advisor` is None.

    The adapter begins and ends the advised episode; `play` returns when the run is over, and passes cancellation on.
    """

    name: str
    ways: tuple[Way, ...]
    lacks: Mapping[Ability, str]

    async def play(self, advisor: Advisor | None, play: Play) -> Played:
        """Run once."""
        ...


async def refused_tools_do_not_run(runtime: Runtime, way: Way) -> None:
    """A tool that is refused does not run, though the model names it, and is recorded as blocked."""
    tools = ScriptedTools()
    with advised("narrow") as advisor:
        await runtime.play(advisor, Play(tools, ([ScriptedCall(FORBIDDEN, {"path": "/"})], "done"), way))
        step = only(steps_of(advisor), FORBIDDEN)
    _require(FORBIDDEN not in tools.ran, f"the refused tool ran: {tools.ran}")
    _require(step.outcome == "blocked", f"a refused call was recorded as {step.outcome!r}")


async def hidden_tools_do_not_run(runtime: Runtime, way: Way) -> None:
    """A tool taken out of the list is not offered, and does not run though the model names it."""
    tools = ScriptedTools()
    with advised("narrow", keeps_tools=False) as advisor:
        played = await runtime.play(advisor, Play(tools, ([ScriptedCall(FORBIDDEN, {"path": "/"})], "done"), way))
        found = [step.outcome for step in steps_of(advisor) if step.tool == FORBIDDEN]
    _require(FORBIDDEN not in played.asked[0].tools, f"the hidden tool was offered: {played.asked[0].tools}")
    _require(FORBIDDEN not in tools.ran, f"the hidden tool ran: {tools.ran}")
    _require(found in (["blocked"], ["unknown_tool"]), f"the call of a hidden tool was recorded as {found}")


async def errors_of_tools_are_errors(runtime: Runtime, way: Way) -> None:
    """A tool that raises is recorded as tool_error, whatever the runtime makes of it."""
    step = await _one_call(runtime, way, ScriptedCall("fail", {"amount": 1}))
    _require(step.outcome == "tool_error", f"a call that raised was recorded as {step.outcome!r}")


async def invalid_arguments_are_invalid(runtime: Runtime, way: Way) -> None:
    """Arguments that do not validate are recorded as such, and the tool does not run."""
    tools = ScriptedTools()
    step = await _one_call(runtime, way, ScriptedCall("count", {"amount": "many"}), tools)
    _require("count" not in tools.ran, "the tool ran with arguments that do not validate")
    _require(step.outcome == "invalid_args", f"invalid arguments were recorded as {step.outcome!r}")


async def unknown_tools_are_unknown(runtime: Runtime, way: Way) -> None:
    """A tool that does not exist is recorded as unknown_tool."""
    step = await _one_call(runtime, way, ScriptedCall("no_such_tool", {"a": 1}))
    _require(step.outcome == "unknown_tool", f"a tool that does not exist was recorded as {step.outcome!r}")


async def calls_are_recorded_as_they_were(runtime: Runtime, way: Way) -> None:
    """Calls that succeed are recorded in order, with arguments and observations; the run is one trajectory."""
    turns = ([ScriptedCall("search", {"query": "x"})], [ScriptedCall("calculate", {"expression": "6*7"})], "42")
    with advised("suggest") as advisor:
        played = await runtime.play(advisor, Play(ScriptedTools(), turns, way))
        trajectory = last_trajectory(advisor)
    steps = [step for step in trajectory.steps if step.kind == "tool"]
    _require(played.output == "42", f"the run's output is {played.output!r}, not '42'")
    _require(trajectory.task.text == TASK, f"the task was recorded as {trajectory.task.text!r}")
    _require([one.tool for one in steps] == ["search", "calculate"], f"recorded were {[one.tool for one in steps]}")
    _require([one.outcome for one in steps] == ["ok", "ok"], f"recorded as {[one.outcome for one in steps]}")
    _require(dict(steps[0].args) == {"query": "x"}, f"the arguments were recorded as {steps[0].args}")
    _require("found x" in steps[0].observation, f"the observation was recorded as {steps[0].observation!r}")
    _require(steps[0].decision_id is not None, "no decision was made before the first step")


async def parallel_calls_keep_apart(runtime: Runtime, way: Way) -> None:
    """Calls made at once are recorded once each, each with its own arguments and observation.

    Where a tool that raises ends the run, the calls beside it may have been cancelled.
    """
    turn = [
        ScriptedCall("search", {"query": "a"}),
        ScriptedCall("search", {"query": "b"}),
        ScriptedCall("fail", {"amount": 2}),
    ]
    with advised("suggest") as advisor:
        played = await runtime.play(advisor, Play(ScriptedTools(), (turn, "done"), way))
        steps = steps_of(advisor)
    found = sorted((one.tool, str(dict(one.args))) for one in steps)
    expected = [("fail", "{'amount': 2}"), ("search", "{'query': 'a'}"), ("search", "{'query': 'b'}")]
    _require(found == expected, f"recorded were {found}")
    allowed = {"fail": ["tool_error"], "search": ["ok", "cancelled"] if played.failure else ["ok"]}
    for step in steps:
        _require(step.outcome in allowed[step.tool], f"{dict(step.args)} was recorded as {step.outcome!r}")
        is_own = step.outcome != "ok" or f"found {step.args['query']}" in step.observation
        _require(is_own, f"{dict(step.args)} was recorded with the observation {step.observation!r}")


async def cancelled_runs_are_censored(runtime: Runtime, way: Way) -> None:
    """A run that is cancelled within a tool leaves an unjudged trajectory, and its call is no success."""
    tools = ScriptedTools()
    turns = ([ScriptedCall("search", {"query": "x"})], [ScriptedCall("pause", {"seconds": 3600})], "never")
    with advised("suggest") as advisor:
        running = asyncio.ensure_future(runtime.play(advisor, Play(tools, turns, way)))
        await asyncio.wait_for(tools.paused.wait(), PATIENCE_SECONDS)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        trajectory = last_trajectory(advisor)
    found = [(step.tool, step.outcome) for step in trajectory.steps]
    _require(trajectory.success is None, f"a cancelled run was recorded with success {trajectory.success}")
    _require(found[0] == ("search", "ok"), f"recorded were {found}")
    _require(found[1:] in ([], [("pause", "cancelled")]), f"recorded were {found}")


async def guidance_that_fails_changes_nothing(runtime: Runtime, way: Way) -> None:
    """With an advisor whose store is gone, the run goes as it would without one."""
    turns = ([ScriptedCall("search", {"query": "x"})], "done")
    unguided = await runtime.play(None, Play(ScriptedTools(), turns, way))
    with advised("narrow") as advisor:
        advisor.selector.store.close()
        broken = await runtime.play(advisor, Play(ScriptedTools(), turns, way))
    _require(broken == unguided, f"with a broken advisor it went {broken}, without one {unguided}")


async def shadow_changes_nothing(runtime: Runtime, way: Way) -> None:
    """In shadow mode the model is given what it would be given without an advisor, while decisions are made."""
    turns = ([ScriptedCall("search", {"query": "x"})], "done")
    unguided = await runtime.play(None, Play(ScriptedTools(), turns, way))
    with advised("shadow") as advisor:
        shadowed = await runtime.play(advisor, Play(ScriptedTools(), turns, way))
        steps = steps_of(advisor)
    _require(shadowed == unguided, f"in shadow mode it went {shadowed}, unguided {unguided}")
    _require(steps[0].decision_id is not None, "no decision was made in shadow mode")


async def hints_come_last(runtime: Runtime, way: Way) -> None:
    """In suggest mode all tools are offered, and the hint stands at the end of the model's context."""
    turns = ([ScriptedCall("search", {"query": "x"})], "done")
    unguided = await runtime.play(None, Play(ScriptedTools(), turns, way))
    with advised("suggest") as advisor:
        played = await runtime.play(advisor, Play(ScriptedTools(), turns, way))
    first, plain = played.asked[0], unguided.asked[0]
    _require(first.tools == plain.tools, f"offered were {first.tools}, without guidance {plain.tools}")
    _require("`search`" in first.text, f"no hint was in the context: {first.text!r}")
    _require(first.text.index(TASK) < first.text.index("`search`"), f"the hint is not at the end: {first.text!r}")


async def forced_tools_are_forced(runtime: Runtime, way: Way) -> None:
    """In force mode the model must call what was decided."""
    turns = ([ScriptedCall("search", {"query": "x"})], "done")
    with advised("force") as advisor:
        played = await runtime.play(advisor, Play(ScriptedTools(), turns, way))
    _require(played.asked[0].forced == "search", f"forced was {played.asked[0].forced!r}, not 'search'")


async def force_gives_way_where_refused(runtime: Runtime, way: Way) -> None:
    """Where the provider refuses a forced tool, the model is asked again with the hint alone."""
    turns = ([ScriptedCall("search", {"query": "x"})], "done")
    with advised("force") as advisor:
        played = await runtime.play(advisor, Play(ScriptedTools(), turns, way, refuses_force=True))
        steps = steps_of(advisor)
    _require(not played.failure and played.output == "done", f"the run ended with {played}")
    _require([one.tool for one in steps] == ["search"], f"recorded were {[one.tool for one in steps]}")
    last = next(one for one in played.asked if one.forced is None)
    _require("`search`" in last.text, f"the hint was lost with the force: {last.text!r}")


NEEDED: Mapping[Case, tuple[Ability, ...]] = {
    refused_tools_do_not_run: (),
    hidden_tools_do_not_run: ("hide",),
    errors_of_tools_are_errors: (),
    invalid_arguments_are_invalid: ("invalid_args",),
    unknown_tools_are_unknown: ("unknown_tool",),
    calls_are_recorded_as_they_were: (),
    parallel_calls_keep_apart: ("parallel",),
    cancelled_runs_are_censored: ("cancel",),
    guidance_that_fails_changes_nothing: (),
    shadow_changes_nothing: ("shadow",),
    hints_come_last: ("hint",),
    forced_tools_are_forced: ("force",),
    force_gives_way_where_refused: ("force",),
}
"""Every case, with what a runtime must be able to do for it."""


def cases_of(runtime: Runtime) -> list[tuple[Case, Way]]:
    """Every case that a runtime can be put through, in each of its ways; only an asynchronous run can be cancelled."""
    return [
        (case, way)
        for case, needed in NEEDED.items()
        for way in runtime.ways
        if not set(needed) & set(runtime.lacks) and (way != "sync" or "cancel" not in needed)
    ]


@contextmanager
def advised(mode: Mode, *, keeps_tools: bool = True) -> Iterator[Advisor]:
    """An advisor in a mode, on a store that knows the scripted tools; a rule of its own forbids one of them."""
    with experienced_store() as store:
        config = SelectorConfig(mode=mode, exploration=0.0)
        selector = Selector(store, config, rules=[_forbids], seed=0)
        selector.room("default")
        yield _Holding(selector, AdvisorSettings(budget_seconds=PATIENCE_SECONDS, keeps_tools=keeps_tools))


class _Holding(Advisor):
    """Holds on to its episodes: what an adapter does not end itself is not stored."""

    def __init__(self, selector: Selector, settings: AdvisorSettings) -> None:
        super().__init__(selector, settings)
        self._held: list[AdvisedEpisode] = []

    def episode(self, task: str, tools: Sequence[ToolSpec] = (), *, group: str = "") -> AdvisedEpisode:
        begun = super().episode(task, tools, group=group)
        self._held.append(begun)
        return begun


def steps_of(advisor: Advisor) -> list[Step]:
    """The tools' steps of the newest trajectory."""
    return [step for step in last_trajectory(advisor).steps if step.kind == "tool"]


def live(advisor: Advisor) -> list[Trajectory]:
    """What adapters stored through an advisor, in the order of storing."""
    advisor.flush()
    return [one for one in advisor.selector.store.trajectories() if one.source == "live"]


def last_trajectory(advisor: Advisor) -> Trajectory:
    """What the adapter stored of the one run that there was."""
    stored = live(advisor)
    _require(len(stored) == 1, f"the adapter stored {len(stored)} trajectories of one run")
    return stored[0]


def only(steps: Sequence[Step], tool: str) -> Step:
    """The one step of a tool."""
    found = [step for step in steps if step.tool == tool]
    _require(len(found) == 1, f"{len(found)} steps of {tool!r} were recorded: {[one.tool for one in steps]}")
    return found[0]


async def _one_call(runtime: Runtime, way: Way, call: ScriptedCall, tools: ScriptedTools | None = None) -> Step:
    """The step that was recorded of one call."""
    with advised("suggest") as advisor:
        await runtime.play(advisor, Play(tools or ScriptedTools(), ([call], "done"), way))
        return only(steps_of(advisor), call.tool)


def _forbids(_situation: object, candidate: Any) -> str:
    return "it cannot be undone" if candidate.tool == FORBIDDEN else ""


def _require(holds: object, sentence: str) -> None:
    if not holds:
        raise AssertionError(sentence)
