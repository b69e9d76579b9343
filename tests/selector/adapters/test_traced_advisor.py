"""An advisor's decisions, calls and episodes as spans: what they say, whose children they are, what they keep back."""

import asyncio
import json
import logging
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("opentelemetry.sdk")

from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from otlp_lines import Ids, Spans

from selector.adapters import Advisor
from selector.adapters.otel import NAMES, SCHEMA_VERSION, traced
from selector.adapters.scripted_tools import FORBIDDEN, TASK, ScriptedTools
from selector.adapters.testing import advised, last_trajectory
from selector.guard import MODES, Mode
from trajstore.ingest import read_trajectories
from trajstore.schema import OUTCOMES, ToolSpec, Trajectory

TOOLS = tuple(ToolSpec(name) for name in ScriptedTools().functions)
SECRET = "ann@mail.org"


@pytest.fixture
def spans() -> Spans:
    return Spans("host")


def guide(spans: Spans, advisor: Advisor, **settings: Any) -> Advisor:
    return traced(advisor, tracer_provider=spans.provider, **settings)


def one_episode(advisor: Advisor) -> str:
    """An episode of two steps; returns its trajectory's id."""
    episode = advisor.episode(TASK, TOOLS)
    episode.recommend(TASK)
    episode.observe("search", {"query": "x"}, "ok", "found x")
    episode.recommend(TASK)
    episode.observe("fail", {"amount": 1}, "tool_error", "", error="cannot do 1")
    return episode.finish(success=True, reward=0.0)


def named(spans: Spans, name: str) -> list[ReadableSpan]:
    return [span for span in spans.finished if span.name == name]


def said(span: ReadableSpan) -> Mapping[str, Any]:
    return dict(span.attributes or {})


def read(path: Path, lines: str) -> Trajectory:
    path.write_text(lines)
    (found,) = read_trajectories([path])
    assert isinstance(found, Trajectory), found
    return found


@pytest.mark.parametrize("mode", MODES)
def test_every_decision_is_a_span_that_says_what_was_decided_shown_or_not(spans: Spans, mode: Mode):
    with advised(mode) as advisor:
        one_episode(guide(spans, advisor))
        logged = {row.id: row for row in advisor.selector.store.logbook.decisions("default")}
    first, second = map(said, named(spans, "trajstore.decide"))
    assert [one[NAMES["tool"]] for one in (first, second)] == ["search", "calculate"]
    assert {one[NAMES["decision"]] for one in (first, second)} == set(logged)
    assert first[NAMES["mode"]] == mode
    assert first[NAMES["propensity"]] == logged[first[NAMES["decision"]]].propensity
    assert first[NAMES["candidates"]] == tuple(tool.name for tool in TOOLS)
    assert first[NAMES["pruned"]] == (FORBIDDEN,)
    assert first[NAMES["refused"]] == ((FORBIDDEN,) if mode in ("narrow", "force") else ())
    assert first[NAMES["is_shown"]] is (mode != "shadow")
    assert first[NAMES["schema_version"]] == SCHEMA_VERSION


def test_every_call_is_a_span_with_its_outcome_and_the_decision_before_it(spans: Spans):
    with advised("suggest") as advisor:
        one_episode(guide(spans, advisor))
    decided = said(named(spans, "trajstore.decide")[0])
    (searched,), (failed,) = named(spans, "execute_tool search"), named(spans, "execute_tool fail")
    assert said(searched)[NAMES["decision"]] == decided[NAMES["decision"]]
    assert said(searched)["gen_ai.operation.name"] == "execute_tool"
    assert said(searched)["gen_ai.tool.name"] == "search"
    assert "error.type" not in said(searched)
    assert said(failed)["error.type"] == "tool_error"
    assert not failed.status.is_ok


def test_calls_are_left_to_the_runtime_s_own_instrumentation_where_that_is_asked_for(spans: Spans):
    with advised("suggest") as advisor:
        one_episode(guide(spans, advisor, calls=False))
    assert {span.name for span in spans.finished} == {"trajstore.decide", "trajstore.episode"}


def test_the_episode_s_span_says_how_it_ended_and_where_it_is_stored(spans: Spans):
    with advised("suggest") as advisor:
        trajectory_id = one_episode(guide(spans, advisor))
    (episode,) = map(said, named(spans, "trajstore.episode"))
    assert episode[NAMES["trajectory"]] == trajectory_id
    assert (episode[NAMES["success"]], episode[NAMES["reward"]], episode[NAMES["steps"]]) == (True, 0.0, 2)


def test_an_abandoned_episode_s_span_ends_unjudged(spans: Spans):
    with advised("suggest") as advisor:
        guide(spans, advisor).episode(TASK, TOOLS).abandon()
        advisor.flush()
    (episode,) = map(said, named(spans, "trajstore.episode"))
    assert episode[NAMES["is_censored"]] is True
    assert NAMES["success"] not in episode


def parent(span: ReadableSpan) -> int | None:
    return span.parent.span_id if span.parent else None


@pytest.mark.parametrize("mode", ["shadow", "suggest"])
def test_a_decision_and_a_call_are_children_of_the_caller_s_span(spans: Spans, mode: Mode):
    with advised(mode) as advisor:
        episode = guide(spans, advisor).episode(TASK, TOOLS)
        with spans.span("step") as step:
            episode.recommend(TASK)
            with spans.span("tool") as tool:
                episode.observe("search", {}, "ok")
        episode.finish()
    assert parent(named(spans, "trajstore.decide")[0]) == step.get_span_context().span_id
    assert parent(named(spans, "execute_tool search")[0]) == tool.get_span_context().span_id


async def test_tasks_of_one_event_loop_keep_their_own_spans(spans: Spans):
    async def run(advisor: Advisor, number: int) -> tuple[str, int]:
        with spans.span(f"run {number}") as own:
            episode = advisor.episode(f"{TASK} {number}", TOOLS)
            await episode.arecommend(TASK)
            await asyncio.sleep(0)
            await episode.afinish()
            return episode.episode_id, own.get_span_context().span_id

    with advised("suggest") as advisor:
        wrapped = guide(spans, advisor)
        expected = dict(await asyncio.gather(*(run(wrapped, number) for number in range(5))))
    found = {said(span)[NAMES["episode"]]: parent(span) for span in named(spans, "trajstore.decide")}
    assert found == expected


def test_outside_any_span_the_episode_is_home_to_its_decisions_and_calls(spans: Spans):
    with advised("suggest") as advisor:
        one_episode(guide(spans, advisor))
    (home,) = named(spans, "trajstore.episode")
    context = home.get_span_context()
    assert context is not None
    others = [span for span in spans.finished if span is not home]
    assert {parent(span) for span in others} == {context.span_id}


def test_a_span_lasts_from_the_question_to_the_answer(spans: Spans):
    ticks = iter(range(1000, 2000, 100))
    with advised("suggest") as advisor:
        guide(spans, advisor, clock=lambda: next(ticks)).episode(TASK, TOOLS).observe("search")
        advisor.flush()
    (searched,) = named(spans, "execute_tool search")
    assert (searched.start_time, searched.end_time) == (1100, 1100)


def everything(spans: Sequence[ReadableSpan]) -> str:
    return "\n".join(span.to_json() for span in spans)


def with_a_secret(advisor: Advisor) -> None:
    episode = advisor.episode(f"Write to {SECRET}", TOOLS)
    episode.recommend(f"the address is {SECRET}")
    episode.observe("search", {"query": SECRET}, "tool_error", f"no {SECRET}", error=f"never heard of {SECRET}")
    episode.finish()


def test_no_text_of_the_agent_is_in_a_span_unless_it_is_asked_for(spans: Spans):
    with advised("suggest") as advisor:
        with_a_secret(guide(spans, advisor))
    written = everything(spans.finished)
    assert [word for word in ("mail", "Write to", "address", "never heard", "query") if word in written] == []


def test_texts_that_are_asked_for_are_redacted_as_in_the_store(spans: Spans):
    with advised("suggest") as advisor:
        with_a_secret(guide(spans, advisor, content=True))
        stored = last_trajectory(advisor)
    written = everything(spans.finished)
    assert SECRET not in written
    (decided,), (called,) = named(spans, "trajstore.decide"), named(spans, "execute_tool search")
    told = json.loads(said(decided)["gen_ai.input.messages"])
    assert [one["parts"][0]["content"] for one in told] == [stored.task.text, stored.steps[0].state]
    assert json.loads(said(called)["gen_ai.tool.call.arguments"]) == stored.steps[0].args
    assert said(called)["gen_ai.tool.call.result"] == stored.steps[0].observation
    assert called.status.description == stored.steps[0].error


@pytest.mark.parametrize("within", [True, False])
@pytest.mark.parametrize("ids", ["hex", "base64"])
def test_what_is_emitted_is_read_in_again(spans: Spans, tmp_path: Path, ids: Ids, *, within: bool):
    with advised("suggest") as advisor:
        episode = guide(spans, advisor, content=True).episode(TASK, TOOLS)
        for number, outcome in enumerate(sorted(OUTCOMES)):
            episode.recommend(f"state {number}")
            observed = ("search", {"query": f"{number}"}, outcome, f"found {number}")
            if within:
                with spans.span("tool"):
                    episode.observe(*observed)
            else:
                episode.observe(*observed)
        episode.finish(success=False, reward=0.25)
        stored = last_trajectory(advisor)
    again = read(tmp_path / "spans.jsonl", spans.lines(ids))
    assert (again.task.text, again.success, again.reward) == (TASK, False, 0.25)
    for name in ("tool", "args", "outcome", "observation", "state", "error"):
        assert [getattr(step, name) for step in again.steps] == [getattr(step, name) for step in stored.steps], name


def test_without_texts_tools_and_outcomes_are_read_in_again(spans: Spans, tmp_path: Path):
    with advised("suggest") as advisor:
        one_episode(guide(spans, advisor))
    again = read(tmp_path / "spans.jsonl", spans.lines())
    assert [(step.tool, step.outcome) for step in again.steps] == [("search", "ok"), ("fail", "tool_error")]
    assert (again.task.text, again.success) == ("", True)


def test_an_instrumented_agent_s_spans_and_ours_are_one_trajectory(spans: Spans, tmp_path: Path):
    with advised("suggest") as advisor:
        wrapped = guide(spans, advisor, calls=False)
        with spans.span("invoke_agent a", gen_ai__operation__name="invoke_agent", gen_ai__conversation__id="talk"):
            episode = wrapped.episode(TASK, TOOLS)
            episode.recommend(TASK)
            with spans.span("execute_tool search", gen_ai__operation__name="execute_tool", gen_ai__tool__name="search"):
                pass
            episode.observe("search", {}, "ok")
            episode.finish(success=True)
    again = read(tmp_path / "spans.jsonl", spans.lines())
    assert (again.tools, again.success, again.metadata["conversation"]) == (("search",), True, "talk")


class Broken(SpanProcessor):
    """Fails at every span."""

    def on_start(self, span: object, parent_context: object = None) -> None:
        raise RuntimeError("no room for spans")

    def on_end(self, span: object) -> None:
        raise RuntimeError("no room for spans")


def test_spans_that_cannot_be_written_change_nothing_and_are_complained_of_once(caplog: pytest.LogCaptureFixture):
    provider = TracerProvider()
    provider.add_span_processor(Broken())
    with caplog.at_level(logging.WARNING), advised("suggest") as advisor:
        one_episode(traced(advisor, tracer_provider=provider))
        stored = last_trajectory(advisor)
    assert [step.outcome for step in stored.steps] == ["ok", "tool_error"]
    assert stored.steps[0].decision_id
    assert [record.message.split(";")[0] for record in caplog.records] == ["a span could not be begun"]


def test_without_an_sdk_nothing_is_written_and_everything_is_guided():
    with advised("suggest") as advisor:
        wrapped = traced(advisor)
        assert "`search`" in wrapped.episode(TASK, TOOLS).recommend(TASK).hint
        assert (wrapped.mode, wrapped.settings) == (advisor.mode, advisor.settings)


def test_a_missing_extra_is_said_in_one_sentence():
    code = "import sys; sys.modules['opentelemetry'] = None; import selector.adapters.otel"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    last = done.stderr.strip().splitlines()[-1]
    assert last.endswith("OpenTelemetry is not installed; install it: pip install 'trajstore[otel]'")


def test_the_core_loads_no_opentelemetry():
    code = "import sys, selector.adapters; print([one for one in sys.modules if one.startswith('opentelemetry')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
