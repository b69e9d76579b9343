"""What all adapters of runtimes with models and tools share: a guided run raises no error of its own."""

import pytest

from selector.adapters.guided_run import GuidedRun
from selector.adapters.testing import advised, last_trajectory, steps_of
from trajstore.schema import ToolSpec


class Unprintable:
    """Cannot be printed."""

    def __str__(self) -> str:
        raise RuntimeError("no words")


class Held(Exception):
    """By this a runtime leaves a call that it will make again."""


def test_what_cannot_be_printed_is_recorded_as_that():
    with advised("suggest") as advisor:
        run = GuidedRun(advisor, "task")
        run.observe("search", {"query": Unprintable()}, "ok")
        run.observe("search", {"query": "x"}, "ok")
        run.finish(success=True)
        queries = [one.args["query"] for one in steps_of(advisor)]
    assert queries == ["<Unprintable that cannot be printed>", "x"]


def test_an_error_that_cannot_be_printed_passes_as_it_is():
    class Silent(ValueError):
        __str__ = Unprintable.__str__

    with advised("suggest") as advisor:
        run = GuidedRun(advisor, "task")
        with pytest.raises(Silent), run.calling("fail", {}):
            raise Silent
        assert [one.error for one in steps_of(advisor)] == ["Silent: <Silent that cannot be printed>"]


async def test_an_advisor_that_takes_nothing_more_has_no_opinion():
    with advised("suggest") as advisor:
        run = GuidedRun(advisor, "task")
        advisor._worker.shutdown()
        tools = [ToolSpec("search"), ToolSpec("book")]
        assert run.advise("", tools).tools == ("search", "book")
        assert (await run.aadvise("", tools)).decision is None
        run.observe("search", {}, "ok")
        ended: list[str] = []
        run._on_end = lambda: ended.append("ended")
        await run.afinish(success=True)
    assert ended == ["ended"]


def test_a_run_that_failed_ends_once_all_its_calls_have():
    with advised("suggest") as advisor:
        ended: list[str] = []
        run = GuidedRun(advisor, "task", on_end=lambda: ended.append("ended"))
        with run.calling("slow", {}):
            with pytest.raises(ValueError, match="no"), run.calling("fail", {}):
                raise ValueError("no")
            assert ended == []
            run.observe("slow", {}, "ok")
        assert ended == ["ended"]
        assert [(one.tool, one.outcome) for one in last_trajectory(advisor).steps] == [
            ("fail", "tool_error"),
            ("slow", "ok"),
        ]


def test_a_call_that_the_runtime_will_make_again_is_not_recorded_and_ends_nothing():
    with advised("suggest") as advisor:
        run = GuidedRun(advisor, "task", passing=(Held,))
        with pytest.raises(Held), run.ending_where_it_fails(), run.calling("ask", {}):
            raise Held
        with run.calling("ask", {}):
            run.observe("ask", {}, "ok")
        run.finish(success=True)
        assert [one.outcome for one in steps_of(advisor)] == ["ok"]


def test_a_provider_that_refused_a_forced_tool_is_not_asked_so_again(caplog: pytest.LogCaptureFixture):
    with advised("force") as advisor:
        run, tools = GuidedRun(advisor, "What is six times seven?"), [ToolSpec("search"), ToolSpec("calculate")]
        assert run.advise("What is six times seven?", tools).forced == "search"
        for _ in range(2):
            with run.trying_force():
                raise RuntimeError("tool choice is refused")
        again = run.advise("What is six times seven?", tools)
        assert (again.forced, "`search`" in again.hint) == (None, True)
    assert caplog.text.count("forced tool was refused") == 1
