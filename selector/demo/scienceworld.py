"""ScienceWorld behind the `Environment` protocol: tasks of elementary science, with variations."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from selector.demo.java import INSTALL, bundled_java, stop_java
from selector.demo.wording import Grammar, compact, grammar_of, join_seen, outcome_of, parse_action
from selector.demo.world import Fold
from selector.errors import SelectorUsageError
from trajstore.environment import Observation, Transition
from trajstore.errors import MissingDependency
from trajstore.schema import Candidate, Task

FAMILY_PREFIX = "scienceworld/"
HEAP_MEGABYTES = 1536
SIMPLIFICATIONS = "easy"
NOT_OFFERED = frozenset({"reset task"})
# The package understands both verbs of a pair and offers one.
SAME_VERB = {"examine": "look at", "drop": "put down"}
LOOK = "look around"  # takes no time
HEADING = "Task Description: "


class ScienceWorldEnvironment:
    """The tasks of ScienceWorld, one episode at a time, in one Java process, with the simplifications called "easy".

    A task's id is "game/variation", a game being one of the package's thirty tasks.  The score is clipped at 0: a wrong
    focus ends an episode with nothing, not with -100.  Rewards are changes of the score in [0, 1].
    """

    def __init__(self) -> None:
        self._server = _start()
        self._games = tuple(self._server.get_task_names())
        self._gold: dict[str, tuple[str, ...]] = {}
        self._score = 0.0
        self._grammar = Grammar({})
        self._offered: dict[str, Candidate] = {}
        self._names: dict[str, str] = {}

    @property
    def games(self) -> tuple[str, ...]:
        """The package's thirty tasks."""
        return self._games

    def tasks(self, game: str, fold: Fold, count: int) -> tuple[Task, ...]:
        """The first `count` tasks of a game's fold; all of them where there are fewer."""
        self._load(f"{game}/0", with_gold_path=False)
        variations = {
            "train": self._server.get_variations_train,
            "dev": self._server.get_variations_dev,
            "test": self._server.get_variations_test,
        }[fold]()
        return tuple(self._task(game, variation) for variation in variations[:count])

    def gold_path(self, task: Task) -> tuple[str, ...]:
        """Actions that succeed; remembered, because some tasks make up another path each time they are loaded.

        The package's paths open doors that are open already, and call objects by names that are not offered: actions
        that are refused on the way are left out, the others are written as they are offered.
        """
        if task.task_id not in self._gold:
            self._load(task.task_id, with_gold_path=True)
            self._gold[task.task_id] = tuple(self._accepted(self._server.get_gold_action_sequence()))
        return self._gold[task.task_id]

    def reset(self, task: Task) -> Observation:
        """Begin an episode of `task`."""
        self._load(task.task_id, with_gold_path=False)
        self._server.server.step(LOOK)  # until something is seen, the package tells the end of the last episode
        self._score = 0.0
        return Observation(self._render(""), self._candidates())

    def step(self, candidate: Candidate) -> Transition:
        """Carry out one candidate; what the environment does not understand costs a step."""
        server = self._server.server
        observation = str(server.step(candidate.text))
        raw_score = float(server.getScore())
        score = max(0.0, raw_score)
        reward, self._score = score - self._score, score
        done = bool(server.getCompleted()) or raw_score < 0
        return Transition(
            self._render(observation),
            () if done else self._candidates(),
            compact(observation),
            reward,
            outcome_of(observation),
            done,
            score >= 1.0 if done else None,
        )

    def as_candidate(self, action: str) -> Candidate:
        """The candidate as which an action is offered now; the action as it stands where none means the same.

        The package offers each object by one of its names, while its own paths use any of them.
        """
        if action in self._offered:
            return self._offered[action]
        parsed = parse_action(action, self._grammar)
        known = json.loads(self._server.server.getAllObjectIdsTypesReferentsLUTJSON())
        names = {name: (name, *known.get(number, {}).get("referents", ())) for number, name in self._names.items()}
        return offered_as(parsed, tuple(self._offered.values()), names) or parsed

    def close(self) -> None:
        """Stop the Java process."""
        stop_java(self._server)

    def _task(self, game: str, variation: int) -> Task:
        task_id = f"{game}/{variation}"
        self._load(task_id, with_gold_path=False)
        text = compact(self._server.get_task_description()).removeprefix(HEADING)
        return Task(text, task_id, task_id, FAMILY_PREFIX + game)

    def _accepted(self, path: Sequence[str]) -> Iterator[str]:
        """Walk along a path without looking at what it brings: the actions that were carried out, as they are offered.

        What is offered is done even where it is refused: some refusals still let time pass.
        """
        for action in path:
            self._candidates()
            offered = self.as_candidate(action).text
            outcome = outcome_of(compact(self._server.server.step(offered)))
            if outcome == "ok" or offered in self._offered:
                yield offered

    def _load(self, task_id: str, *, with_gold_path: bool) -> None:
        game, _, variation = task_id.rpartition("/")
        if game not in self._games or not variation.isdecimal():
            raise SelectorUsageError(
                f"task_id must be GAME/VARIATION with a game of {', '.join(self._games)}, got {task_id!r}"
            )
        self._server.load(game, int(variation), SIMPLIFICATIONS, with_gold_path)
        self._server.server.reset()
        self._grammar = grammar_of([one["action_example"] for one in self._server.get_possible_actions_with_IDs()])

    def _render(self, observation: str) -> str:
        return join_seen(self._server.look(), self._server.inventory(), observation)

    def _candidates(self) -> tuple[Candidate, ...]:
        valid = json.loads(self._server.server.getValidActionObjectCombinationsJSON())["validActions"]
        self._names = _names(valid)
        self._grammar = replace(self._grammar, names=frozenset(self._names.values()))
        actions = sorted({one["action"] for one in valid} - NOT_OFFERED)
        self._offered = {action: parse_action(action, self._grammar) for action in actions}
        return tuple(self._offered.values())


def offered_as(asked: Candidate, offered: Sequence[Candidate], names: Mapping[str, Sequence[str]]) -> Candidate | None:
    """The offered candidate with the same verb whose objects are those asked for, None where there is none.

    `names` holds every name of an object by the one that it is offered by.

    >>> bulb, lamp = Candidate("pick up", {"object": "bulb"}), Candidate("pick up", {"object": "red lamp"})
    >>> offered_as(bulb, [lamp], {"red lamp": ("red lamp", "bulb")}) is lamp
    True
    """
    verb = _verb(asked.tool)
    wanted = {name: _called(str(value), names) for name, value in asked.args.items()}
    fitting = (one for one in offered if _verb(one.tool) == verb and len(one.args) == len(wanted))
    return next((one for one in fitting if all(one.args.get(name) == value for name, value in wanted.items())), None)


def _verb(tool: str) -> str:
    return SAME_VERB.get(tool, tool).split()[0]


def _called(phrase: str, names: Mapping[str, Sequence[str]]) -> str:
    """The name by which an object is offered that the phrase calls otherwise; the phrase itself where it fits none."""
    fits = {
        name: max(_fit(phrase, one) for one in others) + 0.5 * _overlap(phrase, name) for name, others in names.items()
    }
    best = max(fits, key=lambda name: fits[name], default=phrase)
    return best if fits.get(best, 0.0) >= 1.0 else phrase


def _fit(phrase: str, name: str) -> float:
    if phrase == name:
        return 3.0
    return 1.0 + len(name) / len(phrase) if name and phrase.startswith(f"{name} ") else 0.0


def _overlap(left: str, right: str) -> float:
    mine, other = set(left.split()), set(right.split())
    return len(mine & other) / max(1, len(mine | other))


def _names(valid: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """The name of each object by its number: what actions with one object are about."""
    singles = (one for one in valid if len(one["obj_ids"]) == 1)
    return {str(one["obj_ids"][0]): parse_action(one["action"], Grammar({})).args.get("object", "") for one in singles}


def _start() -> Any:
    try:
        from scienceworld import ScienceWorldEnv  # noqa: PLC0415 - loaded only when an episode starts
    except ImportError as error:
        raise MissingDependency(f"ScienceWorld is not installed; install it: {INSTALL}") from error
    with bundled_java(heap_megabytes=HEAP_MEGABYTES):
        return ScienceWorldEnv("")
