"""Spans as pydantic-ai's own instrumentation writes them, of an agent whose tools fail and call another agent."""

from pathlib import Path

import pytest

pytest.importorskip("pydantic_ai")
pytest.importorskip("opentelemetry.sdk")

from otlp_lines import Spans
from pydantic_ai import Agent, ModelRetry
from pydantic_ai.capabilities import Instrumentation
from pydantic_ai.messages import ModelResponse, TextPart, ToolCallPart
from pydantic_ai.models.function import FunctionModel
from pydantic_ai.models.instrumented import InstrumentationSettings

from trajstore.ingest import read_trajectories
from trajstore.schema import Trajectory


def scripted(spans: Spans, name: str, *parts: ToolCallPart | TextPart) -> Agent:
    script = iter(parts)
    return Agent(
        FunctionModel(lambda _messages, _info: ModelResponse(parts=[next(script)])),
        name=name,
        retries=2,
        capabilities=[Instrumentation(InstrumentationSettings(tracer_provider=spans.provider))],
    )


@pytest.fixture
async def found(tmp_path: Path) -> list[Trajectory]:
    """What is read of one run of an agent that calls all its tools."""
    spans = Spans()
    inner = scripted(spans, "inner", ToolCallPart("search", {"q": "deep"}), TextPart("found deep"))
    outer = scripted(
        spans,
        "outer",
        ToolCallPart("search", {"q": "x"}),
        ToolCallPart("bad", {"q": "y"}),
        ToolCallPart("count", {"n": "many"}),
        ToolCallPart("helper", {"q": "find"}),
        TextPart("42"),
    )

    @outer.tool_plain
    def search(q: str) -> str:
        return f"found {q}"

    @outer.tool_plain
    def bad(q: str) -> str:
        raise ModelRetry(f"cannot {q}")

    @outer.tool_plain
    def count(n: int) -> str:
        return f"counted {n}"

    @outer.tool_plain
    async def helper(q: str) -> str:
        return (await inner.run(f"Please {q}")).output

    inner.tool_plain(search)
    await outer.run("What is six times seven?")
    path = tmp_path / "spans.jsonl"
    path.write_text(spans.lines())
    return [one for one in read_trajectories([path]) if isinstance(one, Trajectory)]


async def test_the_outer_agent_s_calls_are_its_own_with_how_they_ended(found: list[Trajectory]):
    outer = found[0]
    assert outer.task.text == "What is six times seven?"
    assert [(step.tool, step.outcome) for step in outer.steps] == [
        ("search", "unknown"),
        ("bad", "tool_error"),
        ("count", "tool_error"),
        ("helper", "unknown"),
        ("respond", "unknown"),
    ]
    assert outer.steps[0].args == {"q": "x"}
    assert outer.steps[0].observation == "found x"
    assert "cannot y" in (outer.steps[1].error or "")


async def test_the_inner_agent_is_a_trajectory_of_its_own(found: list[Trajectory]):
    _, inner = found
    assert (inner.task.text, inner.tools) == ("Please find", ("search", "respond"))
    assert inner.steps[0].args == {"q": "deep"}
    assert inner.agent.startswith("inner|")
