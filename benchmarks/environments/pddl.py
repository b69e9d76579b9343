"""PDDLGym (Silver & Chitnis 2020, arXiv 2002.06432) behind the `World` protocol: planning domains with their problems.

The package's own files and parser are used, not its gym.  Candidates are the ground operators that apply, at most some
hundred; the state is the list of facts that hold.  PyPerplan (Alkhazraji et al. 2020) searches for the plans.
"""

import io
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import redirect_stderr, suppress
from dataclasses import dataclass
from importlib import import_module
from itertools import filterfalse, islice
from pathlib import Path
from typing import Any

from selector.demo.wording import join_seen, outcome_of, parse_action
from selector.demo.world import Fold
from trajstore.environment import Observation, Transition
from trajstore.errors import MissingDependency
from trajstore.schema import Candidate, Task

# The package's own test problems of these are too large for a planner in Python.
TEST_OF_TRAIN = ("manyblockssmallpiles", "manyferry", "manygripper", "manylogistics", "manymiconic")
OWN_TEST = ("blocks_medium", "easynewspapers", "glibrearrangement", "minecraft", "searchandrescue_level5")
DOMAINS = (*OWN_TEST, *TEST_OF_TRAIN)
SAYS_THEY_DIFFER = frozenset(("=", "not-eq"))
SHORTEST_PATH, LONGEST_PATH = 2, 60
WEIGHT = 2
# How many states are looked at, and whether only actions of the relaxed plan are tried, which may miss all plans.
SEARCHES = ((500, False), (4_000, True))
Bound = dict[str, str]


@dataclass(frozen=True, slots=True)
class Problem:
    """A problem that is ready to be acted in: facts are numbers with `words`, `lasting` are those that never change.

    `candidates` are named by their texts, as the operators in `planned` are, PyPerplan's record of the problem.
    """

    words: Sequence[str]
    lasting: tuple[str, ...]
    candidates: Mapping[str, Candidate]
    planned: Any

    def text_of(self, facts: Iterable[int]) -> str:
        """Facts in words, sorted."""
        return "; ".join(sorted(self.words[fact] for fact in facts))


class PDDLEnvironment:
    """One problem at a time.  A task's id is "folder/problem"; its reward is 1 when the goal is reached, else 0.

    The test fold is the package's own, of problems that are mostly larger; for `TEST_OF_TRAIN` it is the last quarter
    of the train problems.  The dev fold is the last third of the other train problems.  A problem is a task only where
    one of the `SEARCHES` finds a plan of `SHORTEST_PATH` to `LONGEST_PATH` steps.
    """

    def __init__(self) -> None:
        try:
            with redirect_stderr(io.StringIO()):  # gym announces its end there
                self._parser = import_module("pddlgym.parser")
            self._planner = import_module("pyperplan.planner")
        except ImportError as error:
            raise MissingDependency("PDDLGym needs its packages: pip install pddlgym pyperplan") from error
        self._folder = Path(str(self._parser.__file__)).parent / "pddl"
        self._problems: dict[str, Problem] = {}
        self._plans: dict[str, tuple[str, ...]] = {}
        self._playing: Any = None
        self._facts: frozenset[int] = frozenset()

    def tasks(self, game: str, fold: Fold, count: int) -> tuple[Task, ...]:
        """The first tasks of a fold."""
        made = (self._task(game, task_id) for task_id in self._task_ids(game, fold))
        fitting = (task for task in made if SHORTEST_PATH <= len(self.gold_path(task)) <= LONGEST_PATH)
        return tuple(islice(fitting, count))

    def gold_path(self, task: Task) -> tuple[str, ...]:
        """A short plan, not always the shortest; empty where none is found."""
        if task.task_id not in self._plans:
            planned, found = self._problem(task.task_id).planned, list[Any]()
            heuristic, search = self._planner.HEURISTICS["hff"](planned), self._planner.SEARCHES["wastar"]
            for most_states, helpful_only in SEARCHES:
                with suppress(TimeoutError):
                    found = found or search(planned, _Limited(heuristic, most_states), WEIGHT, helpful_only) or []
            self._plans[task.task_id] = tuple(operator.name for operator in found)
        return self._plans[task.task_id]

    def as_candidate(self, action: str) -> Candidate:
        """The candidate as which an action would be offered, in the problem that runs."""
        known = self._playing.candidates if self._playing else {}
        return known.get(action) or parse_action(action)

    def reset(self, task: Task) -> Observation:
        """Start the problem of a task."""
        self._playing = self._problem(task.task_id)
        self._facts = self._playing.planned.initial_state
        return Observation(self._state(""), self._candidates())

    def step(self, candidate: Candidate) -> Transition:
        """Carry out one ground operator."""
        said = self._act(candidate)
        done = self._playing.planned.goal_reached(self._facts)
        candidates = () if done else self._candidates()
        return Transition(self._state(said), candidates, said, float(done), outcome_of(said), done, done or None)

    def close(self) -> None:
        """Forget the problem that runs."""
        self._playing = None

    def _act(self, candidate: Candidate) -> str:
        asked = candidate.text or " ".join([candidate.tool, *map(str, candidate.args.values())])
        if asked not in self._playing.candidates:
            return "Unknown action."
        operator = next(one for one in self._playing.planned.operators if one.name == asked)
        if not operator.applicable(self._facts):
            return "You cannot do that now."
        before, self._facts = self._facts, operator.apply(self._facts)
        gained, lost = (self._playing.text_of(one) for one in (self._facts - before, before - self._facts))
        parts = (gained and f"Now: {gained}.", lost and f"No longer: {lost}.")
        return " ".join(filter(None, parts)) or "Nothing changes."

    def _state(self, said: str) -> str:
        return join_seen(self._playing.text_of(self._facts), "; ".join(self._playing.lasting), said)

    def _candidates(self) -> tuple[Candidate, ...]:
        applicable = (one.name for one in self._playing.planned.operators if one.applicable(self._facts))
        return tuple(self._playing.candidates[name] for name in applicable)

    def _task(self, game: str, task_id: str) -> Task:
        problem = self._problem(task_id)
        text = f"Reach: {problem.text_of(problem.planned.goals)}."
        return Task(text=text, task_id=task_id, group=task_id, family=f"pddlgym/{game}")

    def _task_ids(self, game: str, fold: Fold) -> Sequence[str]:
        train, test = self._in_folder(game), self._in_folder(game + "_test")
        if game in TEST_OF_TRAIN:
            held_out = len(train) // 4
            train, test = train[:-held_out], train[-held_out:]
        dev = len(train) - len(train) // 3
        return {"train": train[:dev], "dev": train[dev:], "test": test}[fold]

    def _in_folder(self, folder: str) -> Sequence[str]:
        paths = sorted((self._folder / folder).glob("*.pddl"), key=lambda path: (len(path.stem), path.stem))
        return [f"{folder}/{path.stem}" for path in paths]

    def _problem(self, task_id: str) -> Problem:
        if task_id not in self._problems:
            path = self._folder / f"{task_id.partition('/')[0].removesuffix('_test')}.pddl"
            domain = self._parser.PDDLDomainParser(path, expect_action_preds="(:actions" in path.read_text())
            known = (domain.domain_name, domain.types, domain.predicates, domain.actions, domain.constants)
            problem = self._parser.PDDLProblemParser(self._folder / f"{task_id}.pddl", *known)
            self._problems[task_id] = _Grounding(domain, problem).problem()
        return self._problems[task_id]


class _Limited:
    """A heuristic that gives up after so many states; a limit in seconds would give other tasks each time."""

    def __init__(self, heuristic: Any, most_states: int) -> None:
        self.calc_h_with_plan = heuristic.calc_h_with_plan
        self._heuristic = heuristic
        self._most_states = most_states
        self._known: dict[frozenset[int], float] = {}

    def __call__(self, node: Any) -> float:
        if node.state not in self._known:
            if len(self._known) == self._most_states:
                raise TimeoutError(f"no plan within {self._most_states} states")
            self._known[node.state] = float(self._heuristic(node))
        return self._known[node.state]


class _Grounding:
    """Turns a parsed problem into ground operators, without those that lasting facts rule out.

    The arguments of one differ from each other.  Action predicates, the package's names of choices, are left out.
    """

    def __init__(self, domain: Any, problem: Any) -> None:
        self._domain = domain
        self._problem = problem
        self._package = import_module("pyperplan.task")
        effects = [one for operator in domain.operators.values() for one in _literals(operator.effects)]
        self._changing = {one.predicate.name for one in effects}
        self._true = {_words(one, {}): one.predicate.name for one in problem.initial_state}
        self._numbers: dict[str, int] = {}
        self._candidates: dict[str, Candidate] = {}

    def problem(self) -> Problem:
        operators = [one for operator in self._domain.operators.values() for one in self._ground(operator)]
        goals = self._facts(filter(self._changes, _literals(self._problem.goal)), {})
        start = self._facts(filter(self._changes, self._problem.initial_state), {})
        ordered = sorted(operators, key=lambda one: str(one.name))
        planned = self._package.Task("", frozenset(self._numbers.values()), start, goals, ordered)
        return Problem(tuple(self._numbers), self._lasting(), self._candidates, planned)

    def _changes(self, literal: Any) -> bool:
        return literal.predicate.name in self._changing

    def _lasting(self) -> tuple[str, ...]:
        """What no operator changes, sorted; predicates of many facts, such as maps, come last."""
        said = {words: name for words, name in self._true.items() if name not in self._changing | SAYS_THEY_DIFFER}
        sizes = Counter(said.values())
        return tuple(sorted(said, key=lambda words: (sizes[said[words]], words)))

    def _ground(self, operator: Any) -> Iterator[Any]:
        asked = [one for one in _literals(operator.preconds) if one.predicate.name not in self._domain.actions]
        needs, lasting = [*filter(self._changes, asked)], [*filterfalse(self._changes, asked)]
        effects = _literals(operator.effects)
        gains, loses = [one for one in effects if not one.is_anti], [one for one in effects if one.is_anti]
        for bound in self._bindings(operator.params, lasting):
            text = " ".join([operator.name, *bound.values()])
            args = {name.removeprefix("?"): value for name, value in bound.items()}
            self._candidates[text] = Candidate(operator.name, args, text)
            yield self._package.Operator(text, *(self._facts(part, bound) for part in (needs, gains, loses)))

    def _bindings(self, params: Sequence[Any], asked: Sequence[Any]) -> list[Bound]:
        """Ways to bind parameters to objects so that what is asked of lasting facts holds, checked after each one."""
        kinds, bindings = self._domain.type_to_parent_types, [Bound()]
        for param in params:
            fitting = [one.name for one in self._problem.objects if param.var_type in kinds[one.var_type]]
            longer = ({**one, param.name: name} for one in bindings for name in fitting if name not in one.values())
            bindings = [bound for bound in longer if all(self._may_hold(one, bound) for one in asked)]
        return bindings

    def _may_hold(self, literal: Any, bound: Bound) -> bool:
        words = _words(literal, bound)
        return "?" in words or (words in self._true) != literal.is_negative

    def _facts(self, literals: Iterable[Any], bound: Bound) -> frozenset[int]:
        """The numbers of facts, in an order that no hash decides."""
        said = sorted((_words(one, bound), one.is_negative) for one in literals)
        if any(negative for _, negative in said):
            raise NotImplementedError(f"only lasting facts may be asked to be false, got {said}")
        return frozenset(self._numbers.setdefault(words, len(self._numbers)) for words, _ in said)


def _literals(formula: Any) -> list[Any]:
    """The literals of a conjunction; a literal is one of itself."""
    if type(formula).__name__ == "Literal":
        return [formula]
    if type(formula).__name__ != "LiteralConjunction":
        raise NotImplementedError(f"only conjunctions of literals are understood, got {formula}")
    return [one for part in formula.literals for one in _literals(part)]


def _words(literal: Any, bound: Bound) -> str:
    return " ".join([literal.predicate.name, *(bound.get(var.name, var.name) for var in literal.variables)])
