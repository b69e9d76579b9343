"""Baselines for benchmarks/environments_table.py, each an `Agent` that acts from a task to the end of an episode.

Those that learn do so from trajectories alone, and none knows a word of any environment: which actions are possible is
what the environment lists, which words may stand for each other is what differs between two texts.
"""

import re
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from difflib import SequenceMatcher
from typing import Any

import numpy as np

from grpo.protocols import Policy
from selector import SelectorConfig
from selector.demo.agents import best_of, choose_at_random, key_of, most_alike
from selector.demo.collect import action_of, rng_for
from selector.demo.run import ACTING
from selector.demo.texts import NearestTexts
from selector.demo.world import World
from selector.loops import LoopConfig
from selector.prune_book import PruneConfig
from selector.situation import Situation
from trajstore.environment import Observation, Transition
from trajstore.experience import past_step
from trajstore.render import PastStep
from trajstore.schema import Candidate, Step, Task, Trajectory

Seen = Observation | Transition
Rule = Callable[[Seen], Candidate]
Words = tuple[str, ...]
Swaps = Mapping[Words, Words]

WORD = re.compile(r"[\w'-]+")
ORDERS = (2, 1, 0)
START = ("", "")
NEVER = 1_000_000


class RuleAgent:
    """An agent that looks at what is seen alone: `open_rule` makes, of a task, the rule for one episode of it."""

    def __init__(self, name: str, open_rule: Callable[[Task], Rule]) -> None:
        self.name = name
        self._open_rule = open_rule
        self._rule: Rule = _first_candidate

    def begin(self, task: Task) -> None:
        """Start an episode."""
        self._rule = self._open_rule(task)

    def choose(self, seen: Seen) -> Candidate:
        """What the rule says."""
        return self._rule(seen)

    def observe(self, after: Transition) -> None:
        """What matters is in the state that comes next."""

    def end(self, *, success: bool, reward: float) -> None:
        """Nothing is kept."""


def nothing(name: str = "do nothing") -> RuleAgent:
    """Repeats the action that was offered first at the start, whatever it does; any other offered first without it."""

    def open_rule(_task: Task) -> Rule:
        first: list[str] = []

        def rule(seen: Seen) -> Candidate:
            first[:] = first or [seen.candidates[0].text]
            return next((one for one in seen.candidates if one.text == first[0]), seen.candidates[0])

        return rule

    return RuleAgent(name, open_rule)


def gold(world: World, name: str = "gold") -> RuleAgent:
    """Follows the environment's own path to success; the bound that every other agent is measured against."""

    def open_rule(task: Task) -> Rule:
        ahead = deque(world.gold_path(task))

        def rule(seen: Seen) -> Candidate:
            if not ahead:
                return seen.candidates[0]
            action = ahead.popleft()
            return next((one for one in seen.candidates if one.text == action), None) or world.as_candidate(action)

        return rule

    return RuleAgent(name, open_rule)


def most_frequent(memory: Sequence[Trajectory], seed: int, name: str = "most frequent") -> RuleAgent:
    """Takes the tool that successes called most often, with the arguments whose words they used most often with it."""
    tools = Counter[str]()
    words: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for step in (step for trajectory in memory if trajectory.success for step in trajectory.steps):
        tools[step.tool] += 1
        words[step.tool].update(_argument_words(step))

    def open_rule(task: Task) -> Rule:
        rng = rng_for(seed, task.task_id)

        def rule(seen: Seen) -> Candidate:
            tool = best_of(seen.candidates, [float(tools[one.tool]) for one in seen.candidates], rng).tool
            same = [one for one in seen.candidates if one.tool == tool]
            return best_of(same, [_mean_count(words[tool], _argument_words(one)) for one in same], rng)

        return rule

    return RuleAgent(name, open_rule)


def markov(memory: Sequence[Trajectory], seed: int, name: str = "Markov, order 2") -> RuleAgent:
    """Takes the offered action that most often came after the last two in successes; backs off to one, then to none."""
    counts = following_counts([tuple(map(action_of, one.steps)) for one in memory if one.success])

    def open_rule(task: Task) -> Rule:
        rng, done = rng_for(seed, task.task_id), list(START)

        def rule(seen: Seen) -> Candidate:
            votes = backed_off_votes(counts, tuple(done), [one.text for one in seen.candidates])
            chosen = best_of(seen.candidates, votes, rng)
            done.append(chosen.text)
            return chosen

        return rule

    return RuleAgent(name, open_rule)


def following_counts(paths: Sequence[Words]) -> Mapping[Words, Counter[str]]:
    """How often each action came after each sequence of two, one and no actions; the start counts as two empty ones.

    >>> counts = following_counts([("a", "b"), ("a", "c"), ("a", "b")])
    >>> counts["", "a"]["b"], counts["a",]["c"], counts[()]["a"]
    (2, 1, 3)
    """
    counts: defaultdict[Words, Counter[str]] = defaultdict(Counter)
    for path in paths:
        padded = START + path
        for at in range(len(START), len(padded)):
            for order in ORDERS:
                counts[padded[at - order : at]][padded[at]] += 1
    return counts


def backed_off_votes(counts: Mapping[Words, Counter[str]], done: Words, offered: Sequence[str]) -> list[float]:
    """Counts of each offered action after the longest known sequence that any of them followed (Katz 1987, undamped).

    >>> backed_off_votes(following_counts([("a", "b")]), ("x", "a"), ["b", "c"])
    [1.0, 0.0]
    """
    for order in ORDERS:
        known = counts.get(done[len(done) - order :], Counter())
        votes = [float(known[action]) for action in offered]
        if any(votes):
            return votes
    return [0.0] * len(offered)


def substituting_replay(memory: Sequence[Trajectory], seed: int, name: str = "replay, words substituted") -> RuleAgent:
    """Follows the nearest success, with the words that differ between the two tasks, then states, put in their places.

    Near is the cosine of TF-IDF over the task and the first state.  An action that is not offered with the task's words
    takes on those of the state, then what shares most words with it is taken; beyond the path's end, any at random.
    """
    successes = [one for one in memory if one.success and one.steps]
    texts = NearestTexts([key_of(one.task, one.steps[0].state) for one in successes])

    def plan(task: Task, state: str) -> tuple[deque[Step], Swaps]:
        near = texts.nearest(key_of(task, state), 1)
        if not near:
            return deque(), {}
        found = successes[near[0].index]
        return deque(found.steps), differing_words(found.task.text, task.text)

    def open_rule(task: Task) -> Rule:
        rng, plans = rng_for(seed, task.task_id), list[tuple[deque[Step], Swaps]]()

        def rule(seen: Seen) -> Candidate:
            plans[:] = plans or [plan(task, seen.state)]
            ahead, swaps = plans[0]
            return _swapped(ahead.popleft(), swaps, seen, rng) if ahead else choose_at_random(seen.candidates, rng)

        return rule

    return RuleAgent(name, open_rule)


def differing_words(old: str, new: str) -> dict[Words, Words]:
    """Which words of the old text stand where other words stand in the new one; word by word where as many do.

    Aligned by longest common blocks (Ratcliff and Metzener 1988); the first place of a word decides.

    >>> differing_words("Find an animal. Move it to the red box.", "Find a tree. Move it to the blue box.")
    {('an',): ('a',), ('animal',): ('tree',), ('red',): ('blue',)}
    """
    before, after = WORD.findall(old.lower()), WORD.findall(new.lower())
    found: dict[Words, Words] = {}
    for kind, start, end, first, last in SequenceMatcher(None, before, after, autojunk=False).get_opcodes():
        if kind != "replace":
            continue
        if end - start == last - first:
            for word, other in zip(before[start:end], after[first:last], strict=True):
                found.setdefault((word,), (other,))
        else:
            found.setdefault(tuple(before[start:end]), tuple(after[first:last]))
    return found


def substitute(action: str, swaps: Swaps) -> str:
    """The action with words swapped in one pass from the left, the longest sequence first.

    >>> substitute("move red apple to box", {("red", "apple"): ("pear",), ("box",): ("bin",), ("pear",): ("fig",)})
    'move pear to bin'
    """
    words, made = action.split(), list[str]()
    longest = max(map(len, swaps), default=0)
    while words:
        sizes = range(min(longest, len(words)), 0, -1)
        size = next((size for size in sizes if tuple(word.lower() for word in words[:size]) in swaps), 0)
        made += swaps[tuple(word.lower() for word in words[:size])] if size else words[:1]
        words = words[max(size, 1) :]
    return " ".join(made)


class PolicyAgent:
    """A trained policy on its own, sampled at `temperature` (0: the most probable candidate)."""

    def __init__(self, policy: Policy, seed: int, name: str, *, temperature: float = 1.0) -> None:
        self.name = name
        self._policy, self._seed, self._temperature = policy, seed, temperature
        self._task, self._past = Task(""), list[PastStep]()
        self._rng = np.random.default_rng(seed)
        self._pending: tuple[Seen, Candidate] | None = None

    def begin(self, task: Task) -> None:
        """Start an episode."""
        self._task, self._past, self._rng = task, [], rng_for(self._seed, task.task_id)

    def choose(self, seen: Seen) -> Candidate:
        """What the policy draws."""
        situation = Situation(self._task.text, seen.state, tuple(self._past), tuple(seen.candidates))
        action = self._policy.act_with_exploration(situation, self._rng, temperature=self._temperature)
        chosen = seen.candidates[action.place]
        self._pending = (seen, chosen)
        return chosen

    def observe(self, after: Transition) -> None:
        """Remember the step as a stored one would be."""
        if self._pending is None:
            return
        seen, chosen = self._pending
        step = Step(
            len(self._past),
            chosen.tool,
            seen.state,
            chosen.args,
            after.observation,
            after.outcome,
            reward=after.reward,
            candidates=tuple(seen.candidates),
        )
        self._past.append(past_step(step))

    def end(self, *, success: bool, reward: float) -> None:
        """Nothing is kept."""


def shuffled(memory: Sequence[Trajectory], rng: np.random.Generator) -> list[Trajectory]:
    """The trajectories with their outcomes dealt out anew; rewards of steps, which would tell, are left out."""
    order = rng.permutation(len(memory)).tolist()
    return [
        replace(
            one,
            success=memory[other].success,
            reward=memory[other].reward,
            steps=tuple(replace(step, reward=None) for step in one.steps),
        )
        for one, other in zip(memory, order, strict=True)
    ]


def config_without(what: str) -> SelectorConfig:
    """The selector's settings with one part switched off: a retrieval key, pruning, following or exploration."""
    config = ACTING
    keys, loops = config.retrieval.keys, LoopConfig(NEVER, NEVER, cycle_repeats=NEVER, stalled_steps=NEVER)
    if what in ("goal", "state", "order"):
        return replace(config, retrieval=replace(config.retrieval, keys=replace(keys, **{what: 0.0})))
    if what == "pruning":
        return replace(config, prune_evidence=float("inf"), pruning=PruneConfig(evidence=float("inf")), loops=loops)
    if what == "exploration":
        return replace(config, exploration=0.0, sharpening=1e8)
    switches: dict[str, Any] = {"following": False} if what == "following" else {}  # Any: a setting's own type
    return replace(config, **switches)


def without_names() -> tuple[str, ...]:
    """What can be left out; following only where the selector's settings have a switch for it."""
    has_switch = any(one.name == "following" for one in fields(SelectorConfig))
    return (*("goal", "state", "order", "pruning"), *(["following"] if has_switch else []), "exploration", "failures")


def _first_candidate(seen: Seen) -> Candidate:
    return seen.candidates[0]


def _argument_words(call: Step | Candidate) -> list[str]:
    return [word for value in call.args.values() for word in str(value).lower().split()]


def _mean_count(counts: Counter[str], words: Sequence[str]) -> float:
    return sum(counts[word] for word in words) / max(1, len(words))


def _swapped(step: Step, swaps: Swaps, seen: Seen, rng: np.random.Generator) -> Candidate:
    """The stored step's action as it would be written here."""
    action = substitute(action_of(step), swaps)
    offered = {one.text: one for one in seen.candidates}
    if action in offered:
        return offered[action]
    return most_alike(substitute(action, differing_words(step.state, seen.state)), seen.candidates, rng)
