"""Guided episodes whose store lies on a server: the same decisions as from a file, also off the event loop."""

import asyncio

from trajectory_samples import make_trajectory

from selector import Selector, SelectorConfig, ToolSpec
from trajstore.store import TrajectoryStore

TOOLS = [ToolSpec(name, name) for name in ("login", "search", "book")]
CHAIN = ("login", "search", "book")


def experienced(address: str) -> TrajectoryStore:
    store = TrajectoryStore(address)
    store.add_many(make_trajectory(f"book flight {number}", CHAIN, trajectory_id=f"t{number}") for number in range(12))
    return store


def decided(address: str) -> list[tuple[str | None, str, float]]:
    """Tool, source and propensity of each step of an episode."""
    with (
        experienced(address) as store,
        Selector(store, SelectorConfig(), seed=3).episode("book flight", TOOLS) as episode,
    ):
        made = []
        for tool in CHAIN:
            decision = episode.choose()
            made.append((decision.tool, decision.source, decision.propensity))
            episode.record(tool, {}, "seen", "ok")
        episode.finish(success=True)
        return made


def test_the_same_experience_makes_the_same_decisions_wherever_it_lies(postgres_address: str):
    assert decided(postgres_address) == decided(":memory:")


async def test_episodes_at_the_same_time_are_all_stored_whole(postgres_address: str):
    with experienced(postgres_address) as store:
        selector = Selector(store, SelectorConfig(), seed=0)

        async def play(number: int) -> str:
            async with selector.episode(f"book flight {number}", TOOLS) as episode:
                for tool in CHAIN:
                    await episode.achoose()
                    await episode.arecord(tool, {}, f"seen {number}", "ok")
                return await episode.afinish(success=True)

        ids = await asyncio.gather(*map(play, range(10)))
        assert all(store.get(one).tools == CHAIN for one in ids)
        assert len(store.logbook.decisions()) == 10 * len(CHAIN)
        assert {one.stop_reason for one in store.logbook.episodes()} == {"finished"}
