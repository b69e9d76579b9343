"""The MCP server, spoken to by the SDK's own client in memory."""

import asyncio
import json

import pytest

pytest.importorskip("mcp")

from mcp.client import Client
from mcp_peers import MODES, Json, ask, client_of, tell, text_of

from selector.adapters.advisor import Advisor
from selector.adapters.mcp_episodes import Observed, OpenEpisodes
from selector.adapters.mcp_server import PRUNED, STATISTICS, make_server
from selector.adapters.scripted_tools import FORBIDDEN, TASK
from selector.adapters.testing import advised, last_trajectory, live
from trajstore.store import TrajectoryStore


def names(ranked: list[Json]) -> list[str]:
    return [one["tool"] for one in ranked]


@pytest.mark.parametrize("mode", MODES)
async def test_what_worked_in_similar_tasks_is_ranked_first_and_suggested(mode: str):
    with advised("suggest") as advisor:
        async with client_of(advisor, mode) as client:
            found = await ask(client)
    assert found["suggested"] == "search"
    assert found["hint"].startswith("Past experience with similar tasks went on with the tool `search` here")
    assert names(found["ranked"])[0] == "search"
    assert sorted(names(found["ranked"])) == sorted([FORBIDDEN, "calculate", "search"])
    assert found["decision_id"]
    assert found["refused"] == []


async def test_what_is_refused_is_not_ranked_and_carries_its_reason():
    with advised("narrow") as advisor:
        async with client_of(advisor) as client:
            found = await ask(client)
    assert found["refused"] == [{"tool": FORBIDDEN, "reason": "rule: it cannot be undone"}]
    assert FORBIDDEN not in names(found["ranked"])
    assert found["suggested"] is None


async def test_in_force_mode_one_tool_must_be_called():
    with advised("force") as advisor:
        async with client_of(advisor) as client:
            assert (await ask(client))["forced"] == "search"


async def test_in_shadow_mode_nothing_is_shown_and_the_decision_is_logged():
    with advised("shadow") as advisor:
        async with client_of(advisor) as client:
            found = await ask(client)
            await tell(client, found["episode_id"], "calculate")
            await client.call_tool("finish_trajectory", {"episode_id": found["episode_id"]})
        step = last_trajectory(advisor).steps[0]
    assert found["ranked"] == [{"tool": name, "probability": None} for name in (FORBIDDEN, "calculate", "search")]
    assert (found["hint"], found["suggested"], found["refused"]) == ("", None, [])
    assert step.decision_id == found["decision_id"]


@pytest.mark.parametrize("mode", MODES)
async def test_what_is_told_is_stored_as_it_was_told(mode: str):
    with advised("suggest") as advisor:
        async with client_of(advisor, mode) as client:
            episode_id = (await ask(client, state="Nothing is known."))["episode_id"]
            first = await tell(client, episode_id, "search", args={"query": "x"}, observation="found x")
            second = await tell(client, episode_id, "count", outcome="tool_error", error="no such number")
            ended = await client.call_tool(
                "finish_trajectory", {"episode_id": episode_id, "success": True, "reward": 1}
            )
        stored = last_trajectory(advisor)
    assert first == {"episode_id": episode_id, "step": 0, "outcome": "ok"}
    assert second["step"] == 1
    assert (ended.structured_content or {})["trajectory_id"] == stored.trajectory_id
    assert (stored.task.text, stored.success, stored.reward) == (TASK, True, 1.0)
    told = [(one.tool, dict(one.args), one.outcome, one.observation, one.error) for one in stored.steps]
    assert told == [
        ("search", {"query": "x"}, "ok", "found x", None),
        ("count", {}, "tool_error", "", "no such number"),
    ]
    assert stored.steps[0].state == "Nothing is known."


async def test_an_episode_that_is_finished_is_learned_from_at_once():
    with advised("suggest") as advisor:
        async with client_of(advisor) as client:
            episode_id = (await ask(client, task="Paint the fence."))["episode_id"]
            await tell(client, episode_id, "calculate")
            await client.call_tool("finish_trajectory", {"episode_id": episode_id, "success": True})
            found = await client.call_tool("search_trajectories", {"task": "Paint the fence.", "limit": 1})
    (nearest,) = (found.structured_content or {})["steps"]
    assert (nearest["task"], nearest["tool"], nearest["success"]) == ("Paint the fence.", "calculate", True)
    assert nearest["similarity"] > 0.9


async def test_a_search_shows_only_steps_of_the_tools_and_sources_asked_for():
    with advised("suggest") as advisor:
        async with client_of(advisor) as client:
            for wanted in ({"tools": ["calculate"]}, {"tools": ["search"], "sources": ["nobody"]}):
                found = await client.call_tool("search_trajectories", {"task": TASK, "limit": 50, **wanted})
                steps = (found.structured_content or {})["steps"]
                assert {one["tool"] for one in steps} == ({"calculate"} if "sources" not in wanted else set())


async def test_episodes_of_clients_at_once_keep_apart():
    with advised("suggest") as advisor:
        server = make_server(advisor)

        async def work(number: int) -> None:
            async with Client(server, mode=MODES[number % 2]) as client:
                episode_id = (await ask(client, task=f"task {number}"))["episode_id"]
                for step in range(3):
                    await tell(client, episode_id, "search", args={"query": f"{number} {step}"})
                await client.call_tool("finish_trajectory", {"episode_id": episode_id, "success": number % 2 == 0})

        await asyncio.gather(*(work(number) for number in range(6)))
        stored = {one.task.text: one for one in live(advisor)}
    assert sorted(stored) == [f"task {number}" for number in range(6)]
    for number in range(6):
        one = stored[f"task {number}"]
        assert [step.args["query"] for step in one.steps] == [f"{number} {step}" for step in range(3)]
        assert one.success is (number % 2 == 0)


@pytest.mark.parametrize("mode", MODES)
async def test_what_a_client_that_goes_away_has_left_is_censored(mode: str):
    with advised("suggest") as advisor:
        async with client_of(advisor, mode) as client:
            await tell(client, (await ask(client))["episode_id"], "search")
        stored = live(advisor)
    assert [(one.success, one.stop_reason, len(one.steps)) for one in stored] == [(None, "censored", 1)]


def test_an_episode_of_which_nothing_is_heard_is_censored():
    now = 0.0
    with advised("suggest") as advisor:
        episodes = OpenEpisodes(advisor, idle_seconds=10.0, clock=lambda: now)
        left, kept = episodes.begin("left"), episodes.begin("kept")
        episodes.record(left, Observed("search", {}, "ok"))
        now = 9.0
        episodes.record(kept, Observed("search", {}, "ok"))
        now = 18.0
        episodes.record(kept, Observed("search", {}, "ok"))
        assert [(one.task.text, one.stop_reason) for one in live(advisor)] == [("left", "censored")]


WRONG: list[tuple[str, Json, str]] = [
    ("recommend", {"task": TASK, "tools": []}, "recommend was called wrongly: tools: list should have at least 1 item"),
    ("recommend", {"tools": ["a"]}, "recommend was called wrongly: task: field required"),
    ("recommend", {"task": " ", "tools": ["a"]}, "task must not be empty: say what the agent is asked to do"),
    (
        "recommend",
        {"task": TASK, "tools": ["a"], "episode_id": "4f"},
        "no episode '4f' is open: call recommend without",
    ),
    ("record_step", {"episode_id": "4f", "tool": "a", "outcome": "ok"}, "no episode '4f' is open: call recommend with"),
    ("record_step", {"episode_id": "4f", "tool": "a", "outcome": "fine"}, "record_step was called wrongly: outcome: "),
    ("finish_trajectory", {"episode_id": "4f"}, "no episode '4f' is open: call recommend without episode_id to begin"),
    ("finish_trajectory", {"episode_id": "4f", "reward": 2}, "finish_trajectory was called wrongly: reward: input sho"),
    ("search_trajectories", {"task": TASK, "limit": 0}, "search_trajectories was called wrongly: limit: input should"),
    ("forget", {}, "Unknown tool: forget"),
]


@pytest.mark.parametrize(("tool", "args", "sentence"), WRONG)
async def test_an_error_is_one_sentence_in_the_result(tool: str, args: Json, sentence: str):
    with advised("suggest") as advisor:
        async with client_of(advisor) as client:
            result = await client.call_tool(tool, args)
    assert result.is_error
    assert text_of(result).startswith(sentence)
    assert "\n" not in text_of(result)


async def test_an_episode_that_has_ended_is_no_longer_open():
    with advised("suggest") as advisor:
        async with client_of(advisor) as client:
            episode_id = (await ask(client))["episode_id"]
            await client.call_tool("finish_trajectory", {"episode_id": episode_id})
            again = await client.call_tool("finish_trajectory", {"episode_id": episode_id})
    assert text_of(again).startswith(f"no episode '{episode_id}' is open")


async def test_a_store_that_is_gone_is_said_in_the_result():
    with advised("suggest") as advisor:
        async with client_of(advisor) as client:
            advisor.selector.store.close()
            result = await client.call_tool("recommend", {"task": TASK, "tools": ["a"]})
    assert result.is_error
    assert "\n" not in text_of(result)


async def test_every_tool_says_what_it_takes_and_returns():
    with advised("suggest") as advisor:
        async with client_of(advisor) as client:
            tools = {tool.name: tool for tool in (await client.list_tools()).tools}
    assert set(tools) == {"recommend", "record_step", "finish_trajectory", "search_trajectories"}
    assert all(tool.description and tool.output_schema for tool in tools.values())
    assert set(tools["recommend"].input_schema["required"]) == {"task", "tools"}
    assert "unknown_tool" in json.dumps(tools["record_step"].input_schema)


async def test_resources_tell_what_is_stored_and_what_is_pruned():
    with advised("suggest") as advisor:
        async with client_of(advisor) as client:
            uris = {str(one.uri) for one in (await client.list_resources()).resources}
            read = {uri: json.loads((await client.read_resource(uri)).contents[0].text) for uri in uris}  # type: ignore[union-attr]
    assert uris == {STATISTICS, PRUNED}
    assert (read[STATISTICS]["trajectories"], read[STATISTICS]["tools"]) == (12, {"calculate": 12, "search": 12})
    assert read[PRUNED] == {"pruned": []}


async def test_an_empty_store_has_no_opinion_and_finds_nothing(store: TrajectoryStore):
    with Advisor.open(":memory:") as advisor:
        async with client_of(advisor) as client:
            found = await ask(client)
            steps = await client.call_tool("search_trajectories", {"task": TASK})
    assert names(found["ranked"]) == [FORBIDDEN, "calculate", "search"]
    assert found["hint"] == ""
    assert steps.structured_content == {"steps": []}
