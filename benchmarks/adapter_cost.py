"""How much time the adapters of runtimes add to one step of an agent, beyond the decision itself.

    python benchmarks/adapter_cost.py [--runtimes langchain,openai-agents] [--steps 20] [--runs 20] [--quick] [--json]

A scripted model calls one tool `--steps` times; counted is the processor's time of a run, divided by its steps, in the
fastest of `--runs`.  "unguided" is without guidance, for LangChain with a middleware that does nothing.  "alone" is
with an advisor whose store is closed: everything that an adapter does, without a decision.  "suggest" takes each
decision on a small store.
"""

import argparse
import json
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

from agents import Agent, RunConfig, Runner, function_tool
from agents.testing import ScriptedModel, assistant_message, function_call
from langchain.agents import create_agent
from langchain.agents.middleware import AgentMiddleware
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage

from selector.adapters import langchain, openai_agents
from selector.adapters.advisor import Advisor
from selector.adapters.scripted_tools import TASK
from selector.adapters.testing import advised

Run = Callable[[], object]


@dataclass(frozen=True, slots=True)
class Cost:
    """Milliseconds a step: unguided, and what is added by the adapter alone and with decisions."""

    runtime: str
    unguided: float
    alone: float
    suggest: float


def search(query: str) -> str:
    """Find something by its name."""
    return f"found {query}"


class Idle(AgentMiddleware):
    """A middleware with the hooks of guidance that does nothing: LangChain's own price of having one."""

    def before_agent(self, state: object, runtime: object) -> None:
        """Do nothing."""

    def after_agent(self, state: object, runtime: object) -> None:
        """Do nothing."""

    def wrap_model_call(self, request: Any, handler: Any) -> Any:
        """Ask the model."""
        return handler(request)

    def wrap_tool_call(self, request: Any, handler: Any) -> Any:
        """Call the tool."""
        return handler(request)


def langchain_run(advisor: Advisor | None, steps: int) -> Run:
    """A run of an agent of LangChain."""

    class Scripted(GenericFakeChatModel):
        def bind_tools(self, tools: object, **_: object) -> Any:
            return self

    def script() -> Iterator[AIMessage]:
        while True:
            for step in range(steps):
                call = {"name": "search", "args": {"query": "x"}, "id": str(step)}
                yield AIMessage("", tool_calls=[call])
            yield AIMessage("done")

    middleware = [langchain.Guidance(advisor) if advisor else Idle()]
    agent = create_agent(Scripted(messages=script()), [search], middleware=middleware)
    return lambda: agent.invoke({"messages": [{"role": "user", "content": TASK}]})


def openai_agents_run(advisor: Advisor | None, steps: int) -> Run:
    """A run of an agent of the OpenAI Agents SDK."""
    runner: Any = openai_agents.Guidance(advisor) if advisor else Runner
    tool, config = function_tool(search), RunConfig(tracing_disabled=True)

    def run() -> object:
        calls = [[function_call("search", {"query": "x"}, call_id=str(step))] for step in range(steps)]
        model = ScriptedModel([*calls, [assistant_message("done")]])
        agent = Agent(name="agent", model=model, tools=[tool])
        return runner.run_sync(agent, TASK, run_config=config, max_turns=steps + 1)

    return run


RUNTIMES: Mapping[str, Callable[[Advisor | None, int], Run]] = {
    "langchain": langchain_run,
    "openai-agents": openai_agents_run,
}


@contextmanager
def advisor_without_store() -> Iterator[Advisor]:
    """An advisor that can decide and store nothing."""
    logging.getLogger("selector.adapters").setLevel(logging.ERROR)
    with advised("shadow") as advisor:
        advisor.selector.store.close()
        yield advisor


def milliseconds_a_step(run: Run, steps: int, runs: int) -> float:
    """In the fastest run, after one that is not counted."""
    run()
    times = []
    for _ in range(runs):
        begun = time.process_time()
        run()
        times.append(time.process_time() - begun)
    return 1000 * min(times) / steps


def cost_of(runtime: str, steps: int, runs: int) -> Cost:
    """What one adapter costs."""
    make = RUNTIMES[runtime]
    unguided = milliseconds_a_step(make(None, steps), steps, runs)
    with advisor_without_store() as advisor:
        alone = milliseconds_a_step(make(advisor, steps), steps, runs)
    with advised("suggest") as advisor:
        suggest = milliseconds_a_step(make(advisor, steps), steps, runs)
    return Cost(runtime, unguided, alone - unguided, suggest - unguided)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runtimes", default=",".join(RUNTIMES))
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    runs = 3 if args.quick else args.runs
    costs = [cost_of(runtime, args.steps, runs) for runtime in args.runtimes.split(",")]
    if args.json:
        print(json.dumps([asdict(cost) for cost in costs]))
        return
    for cost in costs:
        print(
            f"{cost.runtime:15} unguided {cost.unguided:6.2f} ms a step, "
            f"adapter alone {cost.alone:+.2f} ms, with decisions {cost.suggest:+.2f} ms"
        )


if __name__ == "__main__":
    main()
