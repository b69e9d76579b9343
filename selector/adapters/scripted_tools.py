"""The tools of the conformance suite, which remember that they ran, and a store that knows how they are used."""

import asyncio
from collections.abc import Callable, Mapping

from trajstore.schema import Step, Task, Trajectory
from trajstore.store import TrajectoryStore

TASK = "What is six times seven?"
FORBIDDEN = "remove"
EXAMPLES = 12


class ScriptedTools:
    """Typed functions that note their calls in `ran`; `paused` is set once `pause` has begun."""

    def __init__(self) -> None:
        self.ran: list[str] = []
        self.paused = asyncio.Event()

    def search(self, query: str) -> str:
        """Find something by its name."""
        self.ran.append("search")
        return f"found {query}"

    def calculate(self, expression: str) -> str:
        """Work out an expression."""
        self.ran.append("calculate")
        return f"worked out {expression}"

    def remove(self, path: str) -> str:
        """Delete a file for good."""
        self.ran.append(FORBIDDEN)
        return f"removed {path}"

    def fail(self, amount: int) -> str:
        """Never works."""
        self.ran.append("fail")
        raise ValueError(f"cannot do {amount}")

    def count(self, amount: int) -> str:
        """Count up to an amount."""
        self.ran.append("count")
        return f"counted {amount}"

    async def pause(self, seconds: int) -> str:
        """Wait."""
        self.ran.append("pause")
        self.paused.set()
        await asyncio.sleep(seconds)
        return "waited"

    @property
    def functions(self) -> Mapping[str, Callable[..., object]]:
        """The functions by name, in the order in which they are to be offered."""
        named = (self.remove, self.search, self.calculate, self.fail, self.count, self.pause)
        return {function.__name__: function for function in named}


def experienced_store() -> TrajectoryStore:
    """A store in memory in which such tasks were done by `search` and then `calculate`."""
    store = TrajectoryStore(":memory:")
    store.add_many(_example(number) for number in range(EXAMPLES))
    return store


def _example(number: int) -> Trajectory:
    task = f"What is {number} times seven?"
    steps = (
        Step(index=0, tool="search", state=task, args={"query": "times"}, observation="found times", outcome="ok"),
        Step(index=1, tool="calculate", state=task, args={"expression": f"{number}*7"}, outcome="ok"),
    )
    return Trajectory(task=Task(task, group=f"product {number}"), steps=steps, success=True, source="examples")
