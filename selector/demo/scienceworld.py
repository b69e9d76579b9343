"""ScienceWorld behind the `Environment` protocol: tasks of elementary science, with variations."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import takewhile
from typing import Any, TypeVar

from selector.demo.java import INSTALL, bundled_java, stop_java
from selector.demo.naming import name_meant, seen_names
from selector.demo.questions import options_of, shortened
from selector.demo.wording import Grammar, compact, grammar_of, join_seen, outcome_of, parse_action
from selector.demo.world import Fold
from selector.errors import SelectorUsageError
from trajstore.environment import Observation, Transition
from trajstore.errors import MissingDependency
from trajstore.schema import Candidate, Task

Item = TypeVar("Item")

FAMILY_PREFIX = "scienceworld/"
HEAP_MEGABYTES = 1536
SIMPLIFICATIONS = "easy"
NOT_OFFERED = frozenset({"reset task"})
# The package understands both verbs of a pair and offers one.
SAME_VERB = {"examine": "look at", "drop": "put down"}
LOOK = "look around"  # takes no time
WAIT = "wait1"
MOST_WAITS = 12
HEADING = "Task Description: "


class ScienceWorldEnvironment:
    """The tasks of ScienceWorld, one episode at a time, in one Java process, with the simplifications called "easy".

    A task's id is "game/variation", a game being one of the package's thirty tasks.  The score is clipped at 0: a wrong
    focus ends an episode with nothing, not with -100.  Rewards are changes of the score in [0, 1].

    Objects are offered by the names under which they are seen or asked for (`seen_names`); the package makes names up.
    Where it asks which of several things is meant, its options are offered, unless they read alike: then the first is
    taken.
    """

    def __init__(self) -> None:
        self._server = _start()
        self._games = tuple(self._server.get_task_names())
        self._gold: dict[str, tuple[str, ...]] = {}
        self._score = 0.0
        self._asked = ""
        self._grammar = Grammar({})
        self._offered: dict[str, Candidate] = {}
        self._typed: dict[str, str] = {}
        self._referents: dict[str, tuple[str, ...]] = {}

    @property
    def games(self) -> tuple[str, ...]:
        """The package's thirty tasks."""
        return self._games

    def tasks(self, game: str, fold: Fold, count: int) -> tuple[Task, ...]:
        """The first `count` tasks of a game's fold; all of them where there are fewer.

        Neighbouring variations differ in little: training tasks come in an order that spreads over the fold.
        """
        self._load(f"{game}/0", with_gold_path=False)
        variations = {
            "train": self._server.get_variations_train,
            "dev": self._server.get_variations_dev,
            "test": self._server.get_variations_test,
        }[fold]()
        ordered = spread(variations) if fold == "train" else variations
        return tuple(self._task(game, variation) for variation in ordered[:count])

    def gold_path(self, task: Task) -> tuple[str, ...]:
        """Actions that succeed; remembered, because some tasks make up another path each time they are loaded.

        The package's paths open doors that are open already, and call objects by names that are not offered: actions
        that are refused on the way are left out, the others are written as they are offered.  Time passed with what is
        left out, so that what is not offered yet is waited for.
        """
        if task.task_id not in self._gold:
            self._load(task.task_id, with_gold_path=True)
            kept = tuple(self._accepted(self._server.get_gold_action_sequence()))
            self.reset(task)
            self._gold[task.task_id] = tuple(self._timed(kept))
        return self._gold[task.task_id]

    def reset(self, task: Task) -> Observation:
        """Begin an episode of `task`."""
        self._load(task.task_id, with_gold_path=False)
        self._server.server.step(LOOK)  # until something is seen, the package tells the end of the last episode
        self._score = 0.0
        seen = self._seen()
        return Observation(join_seen(*seen), self._candidates(seen))

    def step(self, candidate: Candidate) -> Transition:
        """Carry out one candidate; what the environment does not understand costs a step."""
        server = self._server.server
        answer = self._answer(self._typed.get(candidate.text, candidate.text))
        raw_score = float(server.getScore())
        score = max(0.0, raw_score)
        reward, self._score = score - self._score, score
        done = bool(server.getCompleted()) or raw_score < 0
        observation, seen = compact(answer), self._seen()
        return Transition(
            join_seen(*seen, observation),
            () if done else self._candidates(seen, answer),
            observation,
            reward,
            outcome_of(observation),
            done,
            score >= 1.0 if done else None,
        )

    def as_candidate(self, action: str) -> Candidate:
        """The candidate as which an action is offered now; the action as it stands where none means the same.

        The package offers each object by one of its names, while its own paths use any of them.
        """
        return self._offered_as(action) or parse_action(action, self._grammar)

    def close(self) -> None:
        """Stop the Java process."""
        stop_java(self._server)

    def _task(self, game: str, variation: int) -> Task:
        task_id = f"{game}/{variation}"
        self._load(task_id, with_gold_path=False)
        return Task(self._asked, task_id, task_id, FAMILY_PREFIX + game)

    def _accepted(self, path: Sequence[str]) -> Iterator[str]:
        """Walk along a path without looking at what it brings: its actions that are carried out.

        What is offered is done even where it is refused: some refusals still let time pass.
        """
        answer = ""
        for action in path:
            self._candidates(self._seen(), answer)
            offered = self._offered_as(action)
            answer = self._answer(self._typed[offered.text] if offered else action)
            if offered or outcome_of(compact(answer)) == "ok":
                yield action

    def _timed(self, path: Sequence[str]) -> Iterator[str]:
        """Walk along a path, waiting for what is not offered yet: its actions as they are offered."""
        for action in path:
            waits, offered = 0, self._offered_as(action)
            while not offered and waits < MOST_WAITS:
                waits += 1
                self._answer(WAIT)
                self._candidates(self._seen())
                offered = self._offered_as(action)
            if offered:
                yield from [WAIT] * waits
                yield offered.text
                answer = self._answer(self._typed[offered.text])
                self._candidates(self._seen(), answer)

    def _offered_as(self, action: str) -> Candidate | None:
        """The offered candidate that means this action."""
        if action in self._offered:
            return self._offered[action]
        return offered_as(parse_action(action, self._grammar), tuple(self._offered.values()), self._referents)

    def _answer(self, action: str) -> str:
        """What the environment says to an action; options that read alike are no question."""
        answer = str(self._server.server.step(action))
        numbers = options_of(answer).values()
        return str(self._server.server.step(*numbers)) if len(numbers) == 1 else answer

    def _load(self, task_id: str, *, with_gold_path: bool) -> None:
        game, _, variation = task_id.rpartition("/")
        if game not in self._games or not variation.isdecimal():
            raise SelectorUsageError(
                f"task_id must be GAME/VARIATION with a game of {', '.join(self._games)}, got {task_id!r}"
            )
        self._server.load(game, int(variation), SIMPLIFICATIONS, with_gold_path)
        self._server.server.reset()
        self._asked = compact(self._server.get_task_description()).removeprefix(HEADING)
        self._grammar = grammar_of([one["action_example"] for one in self._server.get_possible_actions_with_IDs()])

    def _seen(self) -> tuple[str, str]:
        """The place, and what is carried: what an agent sees without taking a step."""
        return self._server.look(), self._server.inventory()

    def _candidates(self, seen: tuple[str, str], answer: str = "") -> tuple[Candidate, ...]:
        """What is offered: the options of a question that was just asked, else all valid actions."""
        options = options_of(answer)
        if options:
            self._typed = shortened(options)
            self._offered = {text: parse_action(text, self._grammar) for text in self._typed}
            return tuple(self._offered.values())
        server = self._server.server
        valid = json.loads(server.getValidActionObjectCombinationsJSON())["validActions"]
        valid = [one for one in valid if one["action"] not in NOT_OFFERED]
        made_up = _names(valid)
        known = json.loads(server.getAllObjectIdsTypesReferentsLUTJSON())
        others = {number: _understood(known.get(number, {}).get("referents", ())) for number in made_up}
        names = seen_names(made_up, others, " ".join((*seen, self._asked)))
        self._grammar = replace(self._grammar, names=frozenset((*names.values(), *made_up.values())))
        self._referents = {name: (name, made_up[number], *others[number]) for number, name in names.items()}
        made = sorted(((_named(one, made_up, names), one["action"]) for one in valid), key=lambda pair: pair[0].text)
        self._offered = {candidate.text: candidate for candidate, _ in made}
        self._typed = {candidate.text: action for candidate, action in made}
        return tuple(self._offered.values())


def spread(items: Sequence[Item]) -> list[Item]:
    """The items in an order whose every beginning is spread over them (van der Corput 1935).

    >>> spread("abcdefgh")
    ['a', 'e', 'c', 'g', 'b', 'f', 'd', 'h']
    """
    bits = max(len(items) - 1, 0).bit_length()
    turned = (int(f"{place:0{bits}b}"[::-1], 2) if bits else 0 for place in range(1 << bits))
    return [items[place] for place in dict.fromkeys(one * len(items) >> bits for one in turned)] if items else []


def _understood(names: Sequence[str]) -> tuple[str, ...]:
    """What the package lists as names of an object, without what says that it has none."""
    return tuple(name for name in names if not name.startswith("ERROR"))


def _named(valid: Mapping[str, Any], made_up: Mapping[str, str], names: Mapping[str, str]) -> Candidate:
    """The candidate of a valid action, its objects called by their names.

    >>> valid = {"action": "move big thing to box 1", "obj_ids": [7, 8]}
    >>> _named(valid, {"7": "big thing", "8": "box 1"}, {"7": "couch", "8": "box"})
    Candidate(tool='move to', args={'object': 'couch', 'place': 'box'}, text='move couch to box')
    """
    numbers = [str(number) for number in valid["obj_ids"]]
    if not numbers or not names.keys() >= set(numbers):
        return parse_action(valid["action"])
    words = [names[number] for number in numbers]
    head = str(valid["action"]).removesuffix(f" {made_up[numbers[-1]]}")
    if len(numbers) == 1:
        return Candidate(head, {"object": words[0]}, f"{head} {words[0]}")
    head, _, connector = head.rpartition(" ")
    head = head.removesuffix(f" {made_up[numbers[0]]}")
    return Candidate(
        f"{head} {connector}", {"object": words[0], "place": words[1]}, f"{head} {words[0]} {connector} {words[1]}"
    )


def offered_as(asked: Candidate, offered: Sequence[Candidate], names: Mapping[str, Sequence[str]]) -> Candidate | None:
    """The offered candidate with the same verb whose objects are those asked for, None where there is none.

    `names` holds every name of an object by the one that it is offered by.

    >>> bulb, lamp = Candidate("pick up", {"object": "bulb"}), Candidate("pick up", {"object": "red lamp"})
    >>> offered_as(bulb, [lamp], {"red lamp": ("red lamp", "bulb")}) is lamp
    True
    """
    verb = _verb(asked.tool)
    wanted = {name: name_meant(str(value), names) for name, value in asked.args.items()}
    fitting = (one for one in offered if _verb(one.tool) == verb and len(one.args) == len(wanted))
    return next((one for one in fitting if all(one.args.get(name) == value for name, value in wanted.items())), None)


def _verb(tool: str) -> str:
    return SAME_VERB.get(tool, tool).split()[0]


def _names(valid: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """The package's name of each object by its number: how all actions with this object alone end."""
    ends: dict[str, tuple[str, ...]] = {}
    for one in valid:
        if len(one["obj_ids"]) == 1:
            number, words = str(one["obj_ids"][0]), tuple(reversed(one["action"].split()))
            ends[number] = _common_start(ends.get(number, words), words)
    return {number: " ".join(reversed(words)) for number, words in ends.items()}


def _common_start(one: tuple[str, ...], other: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(mine for mine, _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


def _start() -> Any:
    try:
        from scienceworld import ScienceWorldEnv  # noqa: PLC0415 - loaded only when an episode starts
    except ImportError as error:
        raise MissingDependency(f"ScienceWorld is not installed; install it: {INSTALL}") from error
    with bundled_java(heap_megabytes=HEAP_MEGABYTES):
        return ScienceWorldEnv("")
