"""BFCL v4 multi-turn behind the `Environment` protocol: conversations with simulated services, turn by turn.

The package bfcl-eval 2026.3.23 (Apache-2.0) holds the conversations, the services and the checker; its own list of
dependencies is huge, so that it is installed without them:

    pip install --no-deps bfcl-eval==2026.3.23 mpmath rank_bm25
"""

import importlib
import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

from selector.demo.world import Fold
from selector.errors import SelectorUsageError
from trajstore.environment import Observation, Transition
from trajstore.errors import MissingDependency
from trajstore.render import clip
from trajstore.schema import Candidate, Outcome, Task

Json = Mapping[str, Any]  # Any: the package's own JSON

INSTALL = "pip install --no-deps bfcl-eval==2026.3.23 mpmath rank_bm25"
PACKAGE = "bfcl_eval"
CHECKS = f"{PACKAGE}.eval_checker.multi_turn_eval"
FAMILY_PREFIX = "bfcl/"
FOLDS = 5
END_OF_TURN = "end_turn"
END_OF_TURN_SAYS = "All that was asked for is done: answer the user, who may then ask for something else."
NEW_TOOLS = "I have updated some more functions you can choose from. What about now?"
NOT_CARRIED_OUT = "not carried out"
ANSWER_CHARACTERS = 300

_episodes = itertools.count()


@dataclass(frozen=True, slots=True)
class Conversation:
    """One entry of the benchmark: what the user says in each turn, and the reference's calls in each, as Python.

    `offered` are the tools of each turn.
    """

    entry: Json = field(repr=False)
    turns: tuple[str, ...]
    calls: tuple[tuple[str, ...], ...] = field(repr=False)
    offered: tuple[tuple[Candidate, ...], ...] = field(repr=False)


class BfclEnvironment:
    """The multi-turn conversations of BFCL, one episode at a time; only the choice of tools is asked for.

    A task's id is "category/number".  The state is what the user says in this turn, followed by the calls made since
    with what they answered.  Offered are the tools of the conversation's services, without those that it excludes, and
    one that ends the turn; a candidate's text is the tool's name with what it says about itself.

    What is counted: a candidate that is the reference's next call is carried out with the reference's arguments.  A
    turn is done when each of its calls was named in the reference's order and then its end.  Any other candidate is not
    carried out: the turn is not done, the reference's remaining calls are made unseen, so that later turns find what
    they need, and the turn can only be ended.  The reward of a turn that is done is 1 / turns; `success` says that all
    were, and that the package's checker passes what was carried out.  One conversation of miss_func cannot be done: its
    reference calls a tool that is held back.  With arguments given, no number here
    compares with the benchmark's leaderboard.

    Of the numbers that the four categories share, the test fold holds those that leave the remainder `held_out` in
    [0, 5) when divided by 5, the dev fold those of the next remainder, the train fold the rest: whatever the category,
    no fold sees another's conversations.
    """

    def __init__(self, held_out: int = 0) -> None:
        if not 0 <= held_out < FOLDS:
            raise SelectorUsageError(f"held_out must lie in [0, {FOLDS}), got {held_out}")
        self._held_out = held_out
        self._conversations: dict[str, Conversation] = {}
        self._episode: _Episode | None = None

    def tasks(self, game: str, fold: Fold, count: int) -> tuple[Task, ...]:
        """The first `count` tasks of a fold; `game` is a category: base, miss_func, miss_param or long_context."""
        numbers = [number for number in range(len(_entries(game))) if self._fold_of(number) == fold]
        return tuple(self._task(f"{game}/{number}") for number in numbers[:count])

    def gold_path(self, task: Task) -> tuple[str, ...]:
        """The texts of the candidates that do the task."""
        conversation = self._conversation(task.task_id)
        tools = [
            tool for calls in conversation.calls for tool in (*(call.partition("(")[0] for call in calls), END_OF_TURN)
        ]
        return tuple(text_of(tool) for tool in tools)

    def as_candidate(self, action: str) -> Candidate:
        """The candidate whose text is `action`."""
        return Candidate(action.partition(":")[0], {}, action)

    def reset(self, task: Task) -> Observation:
        """Begin an episode of `task`."""
        self.close()
        self._episode = _Episode(self._conversation(task.task_id))
        return Observation(self._episode.state, self._episode.candidates)

    def step(self, candidate: Candidate) -> Transition:
        """Carry out one candidate, where it is the reference's next call, or end the turn."""
        if self._episode is None or self._episode.is_over:
            raise SelectorUsageError(f"no episode is open, got {candidate.tool!r}: call reset first")
        return self._episode.step(candidate.tool)

    def close(self) -> None:
        """Forget the services of the newest episode."""
        if self._episode is not None:
            self._episode.services.close()
            self._episode = None

    def turns_of(self, task: Task) -> tuple[tuple[str, ...], ...]:
        """The tools of each turn's reference, for measuring; an agent never sees them."""
        return tuple(tuple(tool_of(call) for call in calls) for calls in self._conversation(task.task_id).calls)

    def _fold_of(self, number: int) -> Fold:
        after = (number - self._held_out) % FOLDS
        return "train" if after > 1 else ("test", "dev")[after]

    def _task(self, task_id: str) -> Task:
        """The task as it is asked first; what else is asked comes with the states."""
        return Task(self._conversation(task_id).turns[0], task_id, task_id, FAMILY_PREFIX + task_id)

    def _conversation(self, task_id: str) -> Conversation:
        if task_id not in self._conversations:
            self._conversations[task_id] = _load(task_id)
        return self._conversations[task_id]


class _Episode:
    """Where a conversation stands."""

    def __init__(self, conversation: Conversation) -> None:
        self.services = _Services(conversation.entry)
        self._conversation = conversation
        self._turn, self._made = 0, 0
        self._seen = [conversation.turns[0]]
        self._has_erred = False
        self._done: list[bool] = []

    @property
    def is_over(self) -> bool:
        return self._turn >= len(self._conversation.turns)

    @property
    def state(self) -> str:
        return "\n".join(self._seen)

    @property
    def candidates(self) -> tuple[Candidate, ...]:
        if self.is_over:
            return ()
        offered = self._conversation.offered[self._turn]
        return offered[-1:] if self._has_erred else offered

    def step(self, tool: str) -> Transition:
        calls = self._conversation.calls[self._turn]
        wanted = tool_of(calls[self._made]) if self._made < len(calls) else END_OF_TURN
        if tool == END_OF_TURN:
            return self._next_turn(is_done=tool == wanted and not self._has_erred)
        if tool != wanted or self._has_erred:
            self._has_erred = True
            return self._after(NOT_CARRIED_OUT, "blocked")
        return self._carry_out(calls[self._made])

    def _carry_out(self, call: str) -> Transition:
        self._made += 1
        answer = clip(self.services.make([call])[0], ANSWER_CHARACTERS)
        self._seen.append(f"{call} {answer}")
        return self._after(self._seen[-1], _outcome_of(answer))

    def _next_turn(self, *, is_done: bool) -> Transition:
        self.services.make(self._conversation.calls[self._turn][self._made :])
        self._done.append(is_done)
        self._turn, self._made, self._has_erred = self._turn + 1, 0, False
        reward = is_done / len(self._conversation.turns)
        if self.is_over:
            success = all(self._done) and self.services.passes(self._conversation.calls)
            return Transition("", (), "", reward, "ok", done=True, success=success)
        self._seen = [self._conversation.turns[self._turn]]
        return self._after("", "ok", reward)

    def _after(self, observation: str, outcome: Outcome, reward: float = 0.0) -> Transition:
        return Transition(self.state, self.candidates, observation, reward, outcome, done=False)


class _Services:
    """The simulated services of one episode, under a name of its own, since the package keeps them in its globals."""

    def __init__(self, entry: Json) -> None:
        self._entry = entry
        self._name = f"trajstore_{next(_episodes)}"
        self._module = _import(f"{CHECKS}.multi_turn_utils")
        self._turns: list[list[str]] = [[]]

    def make(self, calls: Sequence[str]) -> list[str]:
        """Make calls, and return what each answered."""
        if not calls:
            return []
        self._turns[-1].extend(calls)
        answers, _ = self._module.execute_multi_turn_func_call(
            list(calls),
            self._entry["initial_config"],
            self._entry["involved_classes"],
            self._name,
            self._entry["id"],
            long_context="long_context" in self._entry["id"],
        )
        return list(answers)

    def passes(self, calls: Sequence[Sequence[str]]) -> bool:
        """Whether the package's checker finds that what was made, by turns, leads where the reference leads."""
        made = iter(self._turns[0])
        by_turn = [[[next(made)] for _ in turn] for turn in calls]
        checker = _import(f"{CHECKS}.multi_turn_checker")
        category = self._entry["id"].rpartition("_")[0]
        reference = [list(turn) for turn in calls]
        return bool(checker.multi_turn_checker(by_turn, reference, self._entry, category, self._name)["valid"])

    def close(self) -> None:
        """Delete the services' instances, those of the checker too."""
        held = vars(self._module)
        for name in [name for name in held if name.startswith(f"{self._name}_")]:
            del held[name]


def tool_of(call: str) -> str:
    """The tool that a call in Python names.

    >>> tool_of("grep(file_name='a.txt', pattern='b')")
    'grep'
    """
    return call.partition("(")[0]


def text_of(tool: str) -> str:
    """The text of a tool's candidate: its name, and what it says about itself and its parameters."""
    return f"{tool}: {END_OF_TURN_SAYS if tool == END_OF_TURN else _descriptions()[tool]}"


def _load(task_id: str) -> Conversation:
    category, _, number = task_id.partition("/")
    entries = _entries(category)
    if not number.isdecimal() or int(number) >= len(entries):
        raise SelectorUsageError(f"task_id must be CATEGORY/NUMBER with a number below {len(entries)}, got {task_id!r}")
    entry, reference = entries[int(number)]
    turns = tuple(" ".join(message["content"] for message in turn) or NEW_TOOLS for turn in entry["question"])
    return Conversation(entry, turns, tuple(map(tuple, reference)), tuple(_offered(entry, len(turns))))


def _offered(entry: Json, turns: int) -> Iterator[tuple[Candidate, ...]]:
    """The tools of each turn: those that a conversation holds back come with the turn that it names."""
    held_back = {int(turn): tools for turn, tools in entry.get("missed_function", {}).items()}
    missing = {tool for tools in held_back.values() for tool in tools} | set(entry.get("excluded_function", ()))
    tools = [tool for service in entry["involved_classes"] for tool in _tools_of(service)]
    for turn in range(turns):
        missing -= set(held_back.get(turn, ()))
        names = [*(tool for tool in tools if tool not in missing), END_OF_TURN]
        yield tuple(Candidate(name, {}, text_of(name)) for name in names)


def _outcome_of(answer: str) -> Outcome:
    """How a call ended, by the form of its answer alone."""
    return "tool_error" if answer.startswith(('{"error"', "Error during execution")) else "ok"


@lru_cache
def _entries(category: str) -> tuple[tuple[Json, tuple[tuple[str, ...], ...]], ...]:
    """Each conversation of a category with its reference's calls."""
    name = f"BFCL_v4_multi_turn_{category}.json"
    if not (_data() / name).is_file():
        raise SelectorUsageError(f"category must be base, miss_func, miss_param or long_context, got {category!r}")
    calls = {one["id"]: one["ground_truth"] for one in _lines(_data() / "possible_answer" / name)}
    return tuple((entry, tuple(map(tuple, calls[entry["id"]]))) for entry in _lines(_data() / name))


@lru_cache
def _descriptions() -> Mapping[str, str]:
    """What each tool says about itself, with its parameters."""
    services = _import(f"{PACKAGE}.constants.executable_backend_config").MULTI_TURN_FUNC_DOC_FILE_MAPPING
    return {tool: says for service in services for tool, says in _tools_of(service).items()}


@lru_cache
def _tools_of(service: str) -> Mapping[str, str]:
    """The tools of one service, in their order."""
    files = _import(f"{PACKAGE}.constants.executable_backend_config").MULTI_TURN_FUNC_DOC_FILE_MAPPING
    return {one["name"]: _says(one) for one in _lines(_data() / "multi_turn_func_doc" / files[service])}


def _says(tool: Json) -> str:
    """What a tool is for, and what its parameters are; the sentence that all tools of its service share comes last."""
    service, _, own = tool["description"].rpartition("Tool description: ")
    parameters = (f"{name}: {one.get('description', '')}" for name, one in tool["parameters"]["properties"].items())
    return " ".join([own, *parameters, service]).strip()


def _lines(path: Path) -> list[Json]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@lru_cache
def _data() -> Path:
    return Path(str(_import(PACKAGE).__file__)).parent / "data"


def _import(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise MissingDependency(f"the conversations of BFCL are not installed; install them: {INSTALL}") from error
