"""Spans as instrumentations write them: whose they are, how calls ended, what was said."""

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("opentelemetry.sdk")

from opentelemetry.trace import Status, StatusCode
from otlp_lines import Spans, any_value, attribute_list, resource_spans, snake

from trajstore.ingest import read_trajectories
from trajstore.ingest.span_messages import unflattened
from trajstore.ingest.spans import attributes_of, hex_id
from trajstore.schema import Trajectory

Read = Callable[[str], list[Trajectory]]

PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@pytest.fixture
def spans() -> Spans:
    return Spans()


@pytest.fixture
def read(tmp_path: Path) -> Read:
    def reads(text: str) -> list[Trajectory]:
        path = tmp_path / "spans.jsonl"
        path.write_text(text)
        found = list(read_trajectories([path], format="otel"))
        assert all(isinstance(one, Trajectory) for one in found), found
        return [one for one in found if isinstance(one, Trajectory)]

    return reads


def said(text: str, role: str = "user") -> str:
    return json.dumps([{"role": role, "parts": [{"type": "text", "content": text}]}])


def agent(spans: Spans, name: str, **more: str) -> Any:
    return spans.span(f"invoke_agent {name}", gen_ai__operation__name="invoke_agent", gen_ai__agent__name=name, **more)


def chat(spans: Spans, text: str, **more: str) -> None:
    with spans.span("chat m", gen_ai__operation__name="chat", gen_ai__input__messages=said(text), **more):
        pass


def tool(spans: Spans, name: str, **more: str) -> Any:
    named = {"gen_ai__operation__name": "execute_tool", "gen_ai__tool__name": name}
    return spans.span(f"execute_tool {name}", **named, **more)


def call(spans: Spans, name: str, **more: str) -> None:
    with tool(spans, name, **more):
        pass


@given(st.dictionaries(st.text(min_size=1), PLAIN, max_size=6))
def test_attributes_come_back_as_they_were_written(attributes: dict[str, Any]):
    written = json.loads(json.dumps(attribute_list(attributes)))
    assert attributes_of(written) == attributes
    assert attributes_of(snake(written)) == attributes


@given(st.integers(-(2**63), 2**63 - 1))
def test_whole_numbers_are_read_from_texts_and_from_numbers(number: int):
    for written in (str(number), number):
        assert attributes_of([{"key": "n", "value": {"intValue": written}}]) == {"n": number}


@given(st.binary(min_size=8, max_size=8) | st.binary(min_size=16, max_size=16))
def test_an_id_is_the_same_however_it_is_written(raw: bytes):
    written = [raw.hex(), raw.hex().upper(), f"0x{raw.hex()}", base64.b64encode(raw).decode()]
    assert {hex_id(text) for text in written} == {raw.hex()}


@given(st.text())
def test_any_text_may_be_an_id_and_reading_it_twice_changes_nothing(text: str):
    assert hex_id(hex_id(text)) == hex_id(text)


@given(st.lists(st.dictionaries(st.sampled_from(["role", "content"]), st.text(), min_size=1), max_size=12))
def test_flattened_lists_come_back_in_their_order(objects: list[dict[str, str]]):
    flat = {f"m.{place}.{key}": value for place, one in enumerate(objects) for key, value in one.items()}
    assert unflattened(dict(reversed(flat.items())), "m") == objects


@given(st.dictionaries(st.text(alphabet="m.012ab", min_size=1), st.text(max_size=2), max_size=8))
def test_no_set_of_names_breaks_the_reading_of_flattened_lists(attributes: dict[str, str]):
    assert all(isinstance(one, dict) for one in unflattened(attributes, "m"))


@pytest.mark.parametrize("ids", ["hex", "base64"])
def test_the_spans_of_a_run_are_its_trajectory(spans: Spans, read: Read, ids):
    with agent(spans, "planner"):
        chat(spans, "Fly to Rome")
        call(spans, "search", gen_ai__tool__call__arguments='{"to": "Rome"}', gen_ai__tool__call__result="two")
        chat(spans, "Fly to Rome", gen_ai__output__messages=said("Booked.", "assistant"))
    (trajectory,) = read(spans.lines(ids))
    assert trajectory.task.text == "Fly to Rome"
    assert [(step.tool, step.args, step.observation) for step in trajectory.steps] == [
        ("search", {"to": "Rome"}, "two"),
        ("respond", {"content": "Booked."}, ""),
    ]
    assert (trajectory.agent, trajectory.source) == ("planner", "demo")


def test_spans_as_the_sdk_prints_them_and_as_collectors_write_them_say_the_same(spans: Spans, read: Read):
    with agent(spans, "planner"):
        chat(spans, "Fly to Rome")
        call(spans, "search")
    (printed,) = read("\n".join(span.to_json(indent=None) for span in spans.finished))
    (collected,) = read(spans.lines())
    (batch,) = read(json.dumps(resource_spans(spans.finished)))
    assert printed.tools == collected.tools == batch.tools == ("search",)
    assert printed.task == collected.task == batch.task
    assert printed.metadata == collected.metadata == batch.metadata


def test_runs_side_by_side_in_one_trace_keep_their_own_calls(spans: Spans, read: Read):
    with spans.span("POST /batch"):
        for name, task in (("a", "First"), ("b", "Second")):
            with agent(spans, name):
                chat(spans, task)
                with spans.span("a layer between"):
                    call(spans, f"tool_{name}")
    found = read(spans.lines())
    assert [(one.task.text, one.tools) for one in found] == [("First", ("tool_a",)), ("Second", ("tool_b",))]


def test_runs_of_one_conversation_are_one_trajectory(spans: Spans, read: Read):
    for task, name in (("Look.", "look"), ("Now open it.", "open")):
        with agent(spans, "a", gen_ai__conversation__id="talk"):
            chat(spans, task)
            call(spans, name)
    (trajectory,) = read(spans.lines())
    assert trajectory.tools == ("look", "open")
    assert [step.state for step in trajectory.steps] == ["Look.", "Now open it."]


@pytest.mark.parametrize("conversation", ["inner", "outer"])
def test_a_sub_agent_is_a_trajectory_of_its_own_whatever_its_conversation(spans: Spans, read: Read, conversation: str):
    with agent(spans, "boss", gen_ai__conversation__id="outer"):
        chat(spans, "Write a report")
        with tool(spans, "research"), agent(spans, "helper", gen_ai__conversation__id=conversation):
            chat(spans, "Find sources")
            call(spans, "search")
        call(spans, "write")
    boss, helper = read(spans.lines())
    assert (boss.task.text, boss.tools) == ("Write a report", ("research", "write"))
    assert (helper.task.text, helper.tools) == ("Find sources", ("search",))


def test_an_agent_that_only_wraps_another_is_no_trajectory(spans: Spans, read: Read):
    with agent(spans, "workflow", gen_ai__conversation__id="talk"), agent(spans, "worker"):
        chat(spans, "Dig")
        call(spans, "dig")
    (trajectory,) = read(spans.lines())
    assert (trajectory.tools, trajectory.metadata["conversation"]) == (("dig",), "talk")


def test_a_call_whose_agent_is_in_another_file_belongs_to_the_trace(spans: Spans, read: Read):
    with spans.span("invoke_agent a"):
        call(spans, "look")
        call(spans, "open")
    children = [span for span in spans.finished if span.name.startswith("execute_tool")]
    (trajectory,) = read(json.dumps(resource_spans(children)))
    assert trajectory.tools == ("look", "open")


def test_a_span_that_was_exported_twice_counts_once(spans: Spans, read: Read):
    call(spans, "look")
    (trajectory,) = read(f"{spans.lines()}\n{spans.lines()}")
    assert trajectory.tools == ("look",)


def test_a_call_told_by_every_layer_is_one_step_that_failed_where_any_layer_says_so(spans: Spans, read: Read):
    with agent(spans, "a"), tool(spans, "weather", gen_ai__tool__call__result="no idea"):  # noqa: SIM117
        with tool(spans, "weather", gen_ai__tool__call__arguments='{"at": "Oslo"}') as inner:
            inner.set_attribute("error.type", "McpError")
    (trajectory,) = read(spans.lines())
    (step,) = trajectory.steps
    assert (step.tool, step.args, step.observation) == ("weather", {"at": "Oslo"}, "no idea")
    assert (step.outcome, step.error) == ("tool_error", "McpError")


def test_a_tool_that_calls_another_tool_is_two_steps(spans: Spans, read: Read):
    with agent(spans, "a"), tool(spans, "run_code"):
        call(spans, "search")
    (trajectory,) = read(spans.lines())
    assert trajectory.tools == ("run_code", "search")


def raising(spans: Spans, error: Exception) -> None:
    with pytest.raises(type(error)), tool(spans, "act"):
        raise error


@pytest.mark.parametrize(
    ("error", "outcome"),
    [(ValueError("no"), "tool_error"), (TimeoutError("late"), "timeout")],
)
def test_a_call_that_raised_failed_with_its_error(spans: Spans, read: Read, error: Exception, outcome: str):
    raising(spans, error)
    (step,) = read(spans.lines())[0].steps
    assert (step.outcome, step.error) == (outcome, f"{type(error).__name__}: {error}")


def test_an_exception_that_was_recorded_without_a_status_is_an_error(spans: Spans, read: Read):
    with tool(spans, "act") as span:
        span.record_exception(RuntimeError("broken"))
    (step,) = read(spans.lines())[0].steps
    assert (step.outcome, step.error) == ("tool_error", "RuntimeError: broken")


def test_a_call_that_merely_ended_is_unknown_and_one_that_was_called_ok_is_ok(spans: Spans, read: Read):
    call(spans, "first")
    with tool(spans, "second") as span:
        span.set_status(Status(StatusCode.OK))
    found = read(spans.lines())
    assert [step.outcome for one in found for step in one.steps] == ["unknown", "ok"]


@pytest.mark.parametrize(
    "observation",
    ['{"error": "no such city"}', '{"isError": true, "content": []}', '{"type": "tool", "status": "error"}'],
)
def test_an_error_that_was_handed_back_as_a_result_is_never_ok(spans: Spans, read: Read, observation: str):
    with tool(spans, "act", gen_ai__tool__call__result=observation) as span:
        span.set_status(Status(StatusCode.OK))
    (step,) = read(spans.lines())[0].steps
    assert step.outcome == "tool_error"


@given(
    st.sampled_from(["error.type", "status", "exception", "result"]),
    st.sampled_from([None, "ok", "unknown", "tool_error", "blocked"]),
    st.booleans(),
)
def test_no_mark_of_success_turns_an_error_into_one(sign: str, marked: str | None, is_called_ok: bool):  # noqa: FBT001
    spans = Spans()
    with tool(spans, "act") as span:
        if is_called_ok and sign not in ("status", "exception"):
            span.set_status(Status(StatusCode.OK))
        if marked:
            span.set_attribute("trajstore.outcome", marked)
        if sign == "error.type":
            span.set_attribute("error.type", "ValueError")
        elif sign == "status":
            span.set_status(Status(StatusCode.ERROR, "no"))
        elif sign == "exception":
            span.record_exception(ValueError("no"))
        else:
            span.set_attribute("gen_ai.tool.call.result", '{"is_error": true}')
    assert outcome_of(spans) == (marked if marked == "blocked" else "tool_error")


def outcome_of(spans: Spans) -> str:
    from trajstore.ingest.otel import READER
    from trajstore.ingest.records import Document, Record

    (record,) = READER.records([Document("f", "f", resource_spans(spans.finished))])
    assert isinstance(record, Record)
    return READER.trajectory(record.value).steps[0].outcome


def test_what_a_tool_span_leaves_out_is_read_from_the_chats_by_the_call_s_id(spans: Spans, read: Read):
    told = [
        {"role": "user", "parts": [{"type": "text", "content": "Look"}]},
        {"role": "assistant", "parts": [{"type": "tool_call", "id": "c1", "name": "look", "arguments": {"at": "it"}}]},
        {"role": "tool", "parts": [{"type": "tool_call_response", "id": "c1", "response": "a door"}]},
    ]
    call(spans, "look", gen_ai__tool__call__id="c1", gen_ai__conversation__id="t")
    with spans.span("chat", gen_ai__operation__name="chat", gen_ai__conversation__id="t") as span:
        span.set_attribute("gen_ai.input.messages", json.dumps(told))
    (step,) = read(spans.lines())[0].steps
    assert (step.args, step.observation) == ({"at": "it"}, "a door")


@pytest.mark.parametrize("names_ids", [True, False])
def test_a_call_that_left_no_span_is_a_step_where_ids_tell_it_from_the_others(
    spans: Spans, read: Read, *, names_ids: bool
):
    called = [{"type": "tool_call", "id": place, "name": name} for place, name in (("c1", "look"), ("c2", "fly"))]
    answered = [{"type": "tool_call_response", "id": place, "response": f"of {place}"} for place in ("c1", "c2")]
    with agent(spans, "a"):
        chat(spans, "Look", gen_ai__output__messages=json.dumps([{"role": "assistant", "parts": called}]))
        call(spans, "look", **({"gen_ai__tool__call__id": "c1"} if names_ids else {}))
        with spans.span("chat", gen_ai__operation__name="chat") as span:
            span.set_attribute("gen_ai.input.messages", json.dumps([{"role": "tool", "parts": answered}]))
    (trajectory,) = read(spans.lines())
    expected = [("fly", "of c2", "unknown"), ("look", "of c1", "unknown")] if names_ids else [("look", "", "unknown")]
    assert [(step.tool, step.observation, step.outcome) for step in trajectory.steps] == expected


def test_messages_are_read_from_events_of_either_convention(spans: Spans, read: Read):
    with agent(spans, "a"):
        with spans.span("chat", gen_ai__operation__name="chat") as span:
            span.add_event("gen_ai.user.message", {"content": "Older words"})
            span.add_event("gen_ai.choice", {"index": 0, "message": '{"role": "assistant", "content": "Done."}'})
        call(spans, "look")
    with agent(spans, "b"):
        with spans.span("chat", gen_ai__operation__name="chat") as span:
            span.add_event("gen_ai.client.inference.operation.details", {"gen_ai.input.messages": said("Newer words")})
        call(spans, "look")
    older, newer = read(spans.lines())
    assert (older.task.text, older.tools) == ("Older words", ("respond", "look"))
    assert (newer.task.text, newer.tools) == ("Newer words", ("look",))


def test_openinference_spans_are_read_with_what_was_said_called_and_given_back(spans: Spans, read: Read):
    heard = {
        "llm.input_messages.0.message.role": "system",
        "llm.input_messages.0.message.content": "Be terse.",
        "llm.input_messages.1.message.role": "user",
        "llm.input_messages.1.message.contents.0.message_content.type": "text",
        "llm.input_messages.1.message.contents.0.message_content.text": "What is 6*7?",
        "llm.output_messages.0.message.role": "assistant",
        "llm.output_messages.0.message.tool_calls.0.tool_call.id": "c1",
        "llm.output_messages.0.message.tool_calls.0.tool_call.function.name": "calc",
        "llm.output_messages.0.message.tool_calls.0.tool_call.function.arguments": '{"e": "6*7"}',
        "llm.token_count.completion": 7,
    }
    with spans.span("agent", openinference__span__kind="AGENT"), spans.span("x", openinference__span__kind="CHAIN"):
        with spans.span("llm", openinference__span__kind="LLM", **heard):
            pass
        named = {"tool__name": "calc", "tool__parameters": '{"e": {"type": "string"}}'}
        with spans.span(
            "calc", openinference__span__kind="TOOL", input__value='{"e": "6*7"}', output__value="42", **named
        ) as span:
            span.set_status(Status(StatusCode.OK))
    (trajectory,) = read(spans.lines())
    (step,) = trajectory.steps
    assert (trajectory.task.text, step.state) == ("What is 6*7?", "What is 6*7?")
    assert (step.tool, step.args, step.observation, step.outcome) == ("calc", {"e": "6*7"}, "42", "ok")
    assert trajectory.kpis["output_tokens"] == 7


def test_calls_without_spans_are_read_from_openinference_messages(spans: Spans, read: Read):
    heard = {
        "llm.input_messages.0.message.role": "user",
        "llm.input_messages.0.message.content": "Look",
        "llm.input_messages.1.message.role": "assistant",
        "llm.input_messages.1.message.tool_calls.0.tool_call.id": "c1",
        "llm.input_messages.1.message.tool_calls.0.tool_call.function.name": "look",
        "llm.input_messages.1.message.tool_calls.0.tool_call.function.arguments": "{}",
        "llm.input_messages.2.message.role": "tool",
        "llm.input_messages.2.message.tool_call_id": "c1",
        "llm.input_messages.2.message.content": "a door",
    }
    with spans.span("llm", openinference__span__kind="LLM", **heard):
        pass
    (step,) = read(spans.lines())[0].steps
    assert (step.tool, step.observation) == ("look", "a door")


def test_the_input_of_an_agent_is_its_task_where_no_message_is_recorded(spans: Spans, read: Read):
    with (
        spans.span("agent", openinference__span__kind="AGENT", input__value="Find the key"),
        spans.span("look", openinference__span__kind="TOOL", tool__name="look"),
    ):
        pass
    (trajectory,) = read(spans.lines())
    assert trajectory.task.text == "Find the key"


def test_any_value_knows_every_kind_of_json():
    assert set(any_value({"a": [1, 1.5, True, "x", None]})) == {"kvlistValue"}
