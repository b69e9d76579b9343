"""The conformance suite itself: a runtime that keeps all the rules passes, and one that breaks a rule is caught."""

import asyncio
import inspect
import typing
from collections.abc import Mapping

import pytest

from selector.adapters.advisor import AdvisedEpisode, Advisor
from selector.adapters.testing import (
    Ability,
    Asked,
    Case,
    Play,
    Played,
    ScriptedCall,
    Way,
    calls_are_recorded_as_they_were,
    cancelled_runs_are_censored,
    cases_of,
    errors_of_tools_are_errors,
    force_gives_way_where_refused,
    forced_tools_are_forced,
    guidance_that_fails_changes_nothing,
    hidden_tools_do_not_run,
    hints_come_last,
    invalid_arguments_are_invalid,
    parallel_calls_keep_apart,
    refused_tools_do_not_run,
    shadow_changes_nothing,
    unknown_tools_are_unknown,
)
from trajstore.schema import ToolSpec


class PlainLoop:
    """A runtime of twenty lines: the model's turns one after the other, calls of a turn at once."""

    name = "plain loop"
    ways: tuple[Way, ...] = ("async",)
    lacks: Mapping[Ability, str] = {}
    refuses = hints = forces = hides = tells_errors = checks = ends = True
    retries = guards = True

    async def play(self, advisor: Advisor | None, play: Play) -> Played:
        specs = [ToolSpec(name, function.__doc__ or "") for name, function in play.tools.functions.items()]
        episode = advisor.episode(play.task, specs) if advisor else None
        asked: list[Asked] = []
        try:
            for turn in play.turns:
                asked += self._ask(episode, play, [spec.name for spec in specs])
                if isinstance(turn, str):
                    if episode and self.ends:
                        await episode.afinish()
                    return Played(turn, tuple(asked))
                await asyncio.gather(*(self._call(episode, play, call) for call in turn))
        except BaseException:
            if episode:
                episode.abandon() if self.ends else await episode.afinish(success=True)
            raise
        return Played("", tuple(asked))

    def _ask(self, episode: AdvisedEpisode | None, play: Play, names: list[str]) -> list[Asked]:
        if episode is None:
            return [Asked(tuple(names), None, play.task)]
        advice = episode.recommend(play.task)
        text = f"{play.task} {advice.hint}".strip() if self.hints else f"{advice.hint} {play.task}"
        tools = advice.tools if self.hides else tuple(names)
        if advice.forced and self.forces and play.refuses_force:
            if not self.retries:
                raise RuntimeError("tool choice is refused")
            return [Asked(tools, advice.forced, text), Asked(tools, None, text)]
        return [Asked(tools, advice.forced if self.forces else None, text)]

    async def _call(self, episode: AdvisedEpisode | None, play: Play, call: ScriptedCall) -> None:
        outcome, observation = "ok", ""
        function = play.tools.functions.get(call.tool)
        try:
            if function is None:
                outcome = "unknown_tool"
            elif episode and self.refuses and episode.refusal(call.tool):
                outcome = "blocked"
            elif self.checks and not fits(function, call.args):
                outcome = "invalid_args"
            else:
                made = function(**call.args)
                observation = await made if inspect.isawaitable(made) else made
        except Exception:  # noqa: BLE001 - a tool may raise anything
            outcome = "tool_error" if self.tells_errors else "ok"
        if episode:
            episode.observe(call.tool, call.args, outcome, observation)


def fits(function: typing.Any, args: Mapping[str, object]) -> bool:
    hints = typing.get_type_hints(function)
    return all(isinstance(value, hints[name]) for name, value in args.items())


@pytest.mark.parametrize(("case", "way"), cases_of(PlainLoop()))
async def test_a_runtime_that_keeps_the_rules_passes(case: Case, way: Way):
    await case(PlainLoop(), way)


BROKEN: list[tuple[Case, str]] = [
    (refused_tools_do_not_run, "refuses"),
    (hidden_tools_do_not_run, "hides"),
    (errors_of_tools_are_errors, "tells_errors"),
    (invalid_arguments_are_invalid, "checks"),
    (calls_are_recorded_as_they_were, "ends"),
    (cancelled_runs_are_censored, "ends"),
    (hints_come_last, "hints"),
    (forced_tools_are_forced, "forces"),
]


@pytest.mark.parametrize(("case", "rule"), BROKEN)
async def test_a_runtime_that_breaks_a_rule_is_caught(case: Case, rule: str):
    broken = type("Broken", (PlainLoop,), {rule: False})()
    with pytest.raises(AssertionError):
        await case(broken, "async")


async def test_a_runtime_that_gives_up_where_force_is_refused_is_caught():
    broken = type("Broken", (PlainLoop,), {"retries": False})()
    with pytest.raises((AssertionError, RuntimeError)):
        await force_gives_way_where_refused(broken, "async")


class Mixing(PlainLoop):
    """Records one observation for all calls of a turn."""

    async def _call(self, episode: AdvisedEpisode | None, play: Play, call: ScriptedCall) -> None:
        await super()._call(None, play, call)
        if episode:
            episode.observe(call.tool, call.args, "ok", "found a and b")


async def test_a_runtime_that_mixes_up_parallel_calls_is_caught():
    with pytest.raises(AssertionError, match="recorded"):
        await parallel_calls_keep_apart(Mixing(), "async")


async def test_a_runtime_that_takes_an_unknown_tool_for_done_is_caught():
    with pytest.raises(AssertionError, match="does not exist"):
        await unknown_tools_are_unknown(Mixing(), "async")


class Talkative(PlainLoop):
    """Tells the model of its advisor."""

    def _ask(self, episode: AdvisedEpisode | None, play: Play, names: list[str]) -> list[Asked]:
        return [
            Asked(one.tools, one.forced, f"{one.text} {bool(episode)}") for one in super()._ask(episode, play, names)
        ]


@pytest.mark.parametrize("case", [shadow_changes_nothing, guidance_that_fails_changes_nothing])
async def test_a_runtime_that_shows_its_advisor_is_caught(case: Case):
    with pytest.raises(AssertionError):
        await case(Talkative(), "async")


def test_what_a_runtime_lacks_is_not_asked_of_it():
    less = type("Less", (PlainLoop,), {"lacks": {"force": "no such setting", "cancel": "runs in threads"}})()
    asked = {case for case, _ in cases_of(less)}
    assert forced_tools_are_forced not in asked
    assert cancelled_runs_are_censored not in asked
    assert hints_come_last in asked
