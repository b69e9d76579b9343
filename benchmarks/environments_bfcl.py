"""Tools chosen in BFCL's multi-turn conversations: the engine beside its baselines on conversations never seen.

    python benchmarks/environments_bfcl.py [--quick] [--json PATH] [--figure PATH] [--category NAME] [--agents NAME ...]

Five folds by the number that the categories share; experience is the reference's calls of the other four.  Arguments
are the reference's (`environments.bfcl`), so that no number compares with the benchmark's leaderboard.  Intervals are
bootstrapped over conversations.  `--quick` runs one fold of a third of the conversations; all takes about 10 minutes.
"""

import argparse
import json
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from environments.bfcl import END_OF_TURN, FOLDS, BfclEnvironment

from grpo import ToolPolicy
from selector import Selector, SelectorConfig
from selector.demo.agents import Agent, RandomAgent
from selector.demo.collect import CollectSettings, collect
from selector.demo.engine_agent import EngineAgent
from selector.demo.summary import Interval, bootstrap_mean
from selector.demo.texts import NearestTexts
from selector.situation import Situation
from trajstore import TrajectoryStore
from trajstore.environment import Observation, Transition
from trajstore.errors import MissingDependency
from trajstore.experience import past_step
from trajstore.render import PastStep
from trajstore.schema import Candidate, Step, Task, Trajectory

Seen = Observation | Transition
Votes = Mapping[str, float]
MEASURES = ("first tool of a turn", "turns done", "all turns of a task")
MOST_STEPS = 80
ALL = 1_000
QUICK_SHARE = 3
AGENTS = ("random", "most frequent", "Markov", "1-NN", "5-NN", "no experience", "selector", "greedy", "policy", "both")
LEARNING = SelectorConfig(record_episodes=False)
GREEDY = SelectorConfig(record_episodes=False, exploration=0.0, sharpening=100.0)  # better than LEARNING on dev folds


@dataclass(frozen=True, slots=True)
class Outing:
    """One conversation of one agent: for each turn whether its first tool was right (None: it has none), and done."""

    agent: str
    task_id: str
    firsts: tuple[bool | None, ...]
    done: tuple[bool, ...]
    success: bool
    choose_seconds: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Row:
    """One agent over all folds, each measure with its 95 % interval over conversations."""

    agent: str
    conversations: int
    measures: Mapping[str, Interval]
    milliseconds_per_decision: float


class VotingAgent:
    """Takes the offered tool with most votes; `vote` is asked with the turn's words and the tools called since.

    A turn's words are the state's first line; the first of those that tie is taken.
    """

    def __init__(self, name: str, vote: Callable[[str, tuple[str, ...]], Votes]) -> None:
        self.name = name
        self._vote = vote
        self._called: tuple[str, ...] = ()

    def begin(self, task: Task) -> None:
        """Start an episode."""
        self._called = ()

    def choose(self, seen: Seen) -> Candidate:
        """The tool with most votes."""
        votes = self._vote(seen.state.partition("\n")[0], self._called)
        chosen = max(seen.candidates, key=lambda candidate: votes.get(candidate.tool, 0.0))
        self._called = () if chosen.tool == END_OF_TURN else (*self._called, chosen.tool)
        return chosen

    def observe(self, after: Transition) -> None:
        """Only tools are counted."""

    def end(self, *, success: bool, reward: float) -> None:
        """Nothing is kept."""


class PolicyAgent:
    """Takes the candidate that a trained policy gives most."""

    name = "policy"

    def __init__(self, policy: ToolPolicy) -> None:
        self._policy = policy
        self._rng = np.random.default_rng(0)
        self._task = ""
        self._history: deque[PastStep] = deque()
        self._pending: tuple[Seen, Candidate] | None = None

    def begin(self, task: Task) -> None:
        """Start an episode."""
        self._task = task.text
        self._history.clear()

    def choose(self, seen: Seen) -> Candidate:
        """The most probable candidate."""
        situation = Situation(self._task, seen.state, tuple(self._history), seen.candidates)
        chosen = seen.candidates[self._policy.act_with_exploration(situation, self._rng, temperature=0.0).place]
        self._pending = seen, chosen
        return chosen

    def observe(self, after: Transition) -> None:
        """Remember the step."""
        if self._pending is not None:
            seen, chosen = self._pending
            step = Step(0, chosen.tool, seen.state, chosen.args, after.observation, after.outcome, reward=after.reward)
            self._history.append(past_step(step))

    def end(self, *, success: bool, reward: float) -> None:
        """Nothing is kept."""


@dataclass(frozen=True, slots=True)
class Turn:
    """A stored turn: what was said, and the tools called, its end the last."""

    words: str
    tools: tuple[str, ...]


def turns_of(trajectories: Sequence[Trajectory]) -> Iterator[Turn]:
    """The turns of stored conversations."""
    for trajectory in trajectories:
        words, tools = "", list[str]()
        for step in trajectory.steps:
            words = words if tools else step.state.partition("\n")[0]
            tools.append(step.tool)
            if step.tool == END_OF_TURN:
                yield Turn(words, tuple(tools))
                tools = []


def most_frequent(turns: Sequence[Turn]) -> VotingAgent:
    """Votes for what was called most often at this place of a turn."""
    counts = defaultdict[int, Counter[str]](Counter)
    for turn in turns:
        for place, tool in enumerate(turn.tools):
            counts[place][tool] += 1
    return VotingAgent("most frequent", lambda _, called: counts[len(called)])


def markov(turns: Sequence[Turn]) -> VotingAgent:
    """Votes for what followed the last two tools of the turn most often, else the last one."""
    counts = defaultdict[tuple[str, ...], Counter[str]](Counter)
    for turn in turns:
        for place, tool in enumerate(turn.tools):
            for depth in (1, 2):
                counts[("", "", *turn.tools[:place])[-depth:]][tool] += 1

    def vote(_: str, called: tuple[str, ...]) -> Votes:
        before = ("", "", *called)
        return counts[before[-2:]] or counts[before[-1:]]

    return VotingAgent("Markov", vote)


def nearest_turns(turns: Sequence[Turn], neighbours: int) -> VotingAgent:
    """Votes for what the turns with the most similar words (cosine of TF-IDF) called at this place."""
    texts = NearestTexts([turn.words for turn in turns])

    def vote(words: str, called: tuple[str, ...]) -> Votes:
        votes = Counter[str]()
        for near in texts.nearest(words, neighbours):
            tools = turns[near.index].tools
            votes[tools[min(len(called), len(tools) - 1)]] += near.similarity  # type: ignore[assignment]
        return votes

    return VotingAgent(f"{neighbours}-NN on the turn", vote)


def engine(
    name: str,
    store: TrajectoryStore,
    seed: int,
    *,
    config: SelectorConfig = LEARNING,
    policy: ToolPolicy | None = None,
) -> EngineAgent:
    """The selector with what the store holds; it learns nothing from the conversations that it is tested on."""
    selector = Selector(store, config, seed=seed, policy=policy)
    return EngineAgent(lambda task: selector.episode(task=task.text, group=task.group), seed=seed, name=name)


def agents(names: Sequence[str], trajectories: Sequence[Trajectory], seed: int) -> Iterator[Agent]:
    """The agents of these names, each with the experience at hand."""
    turns = list(turns_of(trajectories))
    store = TrajectoryStore(":memory:")
    store.add_many(trajectories)
    policy = ToolPolicy.from_store(store, seed=seed) if {"policy", "both"} & set(names) else None
    makers: Mapping[str, Callable[[], Agent]] = {
        "random": lambda: RandomAgent(seed),
        "most frequent": lambda: most_frequent(turns),
        "Markov": lambda: markov(turns),
        "1-NN": lambda: nearest_turns(turns, 1),
        "5-NN": lambda: nearest_turns(turns, 5),
        "no experience": lambda: engine("selector without experience", TrajectoryStore(":memory:"), seed),
        "selector": lambda: engine("selector", store, seed),
        "greedy": lambda: engine("selector, greedy", store, seed, config=GREEDY),
        "policy": lambda: PolicyAgent(policy) if policy else RandomAgent(seed),
        "both": lambda: engine("both, greedy", store, seed, config=GREEDY, policy=policy),
    }
    return (makers[name]() for name in names)


def go_out(environment: BfclEnvironment, agent: Agent, task: Task) -> Outing:
    """One conversation."""
    agent.begin(task)
    seen: Seen = environment.reset(task)
    first_tools = [tools[0] if tools else None for tools in environment.turns_of(task)]
    firsts, done, seconds, is_first, total = list[bool | None](), list[bool](), list[float](), True, 0.0
    while seen.candidates and len(seconds) < MOST_STEPS:
        started = time.perf_counter()
        chosen = agent.choose(seen)
        seconds.append(time.perf_counter() - started)
        if is_first:
            wanted = first_tools[len(done)]
            firsts.append(None if wanted is None else chosen.tool == wanted)
        seen = environment.step(chosen)
        agent.observe(seen)
        is_first, total = chosen.tool == END_OF_TURN, total + seen.reward
        if is_first:
            done.append(seen.reward > 0)
    success = isinstance(seen, Transition) and seen.success is True
    agent.end(success=success, reward=total)
    return Outing(agent.name, task.task_id, tuple(firsts), tuple(done), success, tuple(seconds))


def row(agent: str, outings: Sequence[Outing], seed: int) -> Row:
    """One agent's row; turns are counted alike, conversations are resampled."""
    firsts = [[float(one) for one in outing.firsts if one is not None] for outing in outings]
    done = [[float(one) for one in outing.done] for outing in outings]
    values = (firsts, done, [[float(outing.success)] for outing in outings])
    measures = {name: ratio(value, seed) for name, value in zip(MEASURES, values, strict=True)}
    seconds = [second for outing in outings for second in outing.choose_seconds]
    return Row(agent, len(outings), measures, 1e3 * float(np.median(seconds)))


def ratio(values: Sequence[Sequence[float]], seed: int) -> Interval:
    """Mean over all values, with an interval from resampling the lists that they come in."""
    sums, counts = np.array([sum(one) for one in values]), np.array([len(one) for one in values], np.float64)
    spread = bootstrap_mean([sums - counts * sums.sum() / counts.sum()], np.random.default_rng(seed))
    mean, size = float(sums.sum() / counts.sum()), float(counts.mean())
    return Interval(mean, mean + spread.low / size, mean + spread.high / size)


def measure(options: argparse.Namespace) -> list[Row]:
    """Every agent over every fold."""
    outings = defaultdict[str, list[Outing]](list)
    for held_out in range(1 if options.quick else FOLDS):
        environment = BfclEnvironment(held_out)
        train, dev, test = (environment.tasks(options.category, fold, ALL) for fold in ("train", "dev", "test"))
        if options.quick:
            train, dev, test = train[::QUICK_SHARE], dev[::QUICK_SHARE], test[::QUICK_SHARE]
        settings = CollectSettings(gold=1, detours=0, random=0, max_steps=MOST_STEPS)
        trajectories = list(collect(environment, (*train, *dev), settings, seed=options.seed))
        for agent in agents(options.agents, trajectories, options.seed):
            outings[agent.name] += [go_out(environment, agent, task) for task in test]
        environment.close()
    return [row(agent, found, options.seed) for agent, found in outings.items()]


def print_rows(rows: Sequence[Row]) -> None:
    """A table on stdout."""
    print(f"{'agent':<28}" + "".join(f"{name:>24}" for name in MEASURES) + f"{'ms a decision':>16}")
    for one in rows:
        cells = [f"{at.value:.3f} ({at.low:.2f} to {at.high:.2f})" for at in one.measures.values()]
        print(f"{one.agent:<28}" + "".join(f"{cell:>24}" for cell in cells) + f"{one.milliseconds_per_decision:>16.1f}")


def draw(rows: Sequence[Row], path: Path) -> None:
    """Bars by agent, one panel a measure."""
    import matplotlib  # noqa: PLC0415 - only where a figure is asked for

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415 - as above

    figure, panels = plt.subplots(1, len(MEASURES), figsize=(12, 0.4 * len(rows) + 1.2), sharey=True)
    names = [one.agent for one in rows]
    for panel, name in zip(panels, MEASURES, strict=True):
        found = [one.measures[name] for one in rows]
        values = np.array([at.value for at in found])
        reach = np.array([[at.value - at.low for at in found], [at.high - at.value for at in found]])
        panel.barh(names, values, xerr=np.maximum(reach, 0.0), color="#4477aa", ecolor="#222222")
        panel.set(title=name, xlim=(0, 1))
    panels[0].invert_yaxis()
    figure.tight_layout()
    figure.savefig(path, dpi=120)


def main() -> None:
    """Read the options, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one fold of a third of the conversations")
    parser.add_argument("--json", type=Path, help="where to write the rows")
    parser.add_argument("--figure", type=Path, help="where to draw them")
    parser.add_argument("--category", default="base", choices=["base", "miss_func", "miss_param", "long_context"])
    parser.add_argument("--agents", nargs="+", default=list(AGENTS), choices=AGENTS)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    try:
        rows = measure(options)
    except MissingDependency as error:
        parser.exit(1, f"{error}\n")
    print_rows(rows)
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps([asdict(one) for one in rows], indent=2), encoding="utf-8")
    if options.figure:
        draw(rows, options.figure)


if __name__ == "__main__":
    main()
