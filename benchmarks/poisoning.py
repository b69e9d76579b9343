"""How far forged experience gets: a poisoned store asked through the real selector, with naive ways of choosing beside.

    python benchmarks/poisoning.py [--quick] [--json] [--families N] [--all-families]

Honest agents of 50 sources solved tasks of 20 families (`--families`), 100 each, with five tools, of which one is right
and one, the target, never is; three in five outcomes were judged by the environment, the others by the agent itself.
The attacker stores forged trajectories worded nearer to one family than the honest ones: successes of the target
("promote"), or failures of the right tool ("demote"), from one source or from 20, judged by itself or (forged) by the
environment.
The poison share is that of the honest trajectories, all of it on the family that is asked.

What is reported is exact, no draw of the selector enters: attack success is the mean probability of the target
(promote), or of anything but the right tool (demote); excess is what it is above that of the store without poison.
"copy nearest" takes the tool of the nearest success, "Thompson" draws from Beta(1 + successes, 1 + failures) of the 40
nearest; "unguarded" is the selector with `corroboration` switched off.  The gate is an excess of 5 points at 1 %, a
clean loss of 5 points, and full recovery after the attacker's sources were forgotten.
"""

import argparse
import itertools
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from selector import Selector, SelectorConfig
from selector.engine import Engine
from selector.situation import Situation
from trajstore.output import print_table, progress_bars
from trajstore.schema import Candidate, Judge, Step, Task, Trajectory
from trajstore.store import TrajectoryStore

Kind = Literal["promote", "demote"]
FAMILIES, PER_FAMILY, TOOLS, SOURCES = 20, 100, 5, 50
TARGET = TOOLS - 1
NAMES = tuple(f"{word}_tool" for word in ("north", "south", "east", "west", "dark"))
OFFERED = tuple(map(Candidate, NAMES))
SHARES = (0.001, 0.01, 0.05, 0.2)
THOMPSON_ROWS, THOMPSON_DRAWS = 40, 400
QUESTIONS, DECISIONS = 20, 300


@dataclass(frozen=True, slots=True)
class Attack:
    """What is forged: its share of the honest trajectories, its aim, and how well it is disguised."""

    share: float
    kind: Kind = "promote"
    sources: int = 1
    is_judge_forged: bool = False


@dataclass(frozen=True, slots=True)
class Rates:
    """Mean probability of the target, and of the right tool."""

    target: float
    right: float

    def success(self, kind: Kind) -> float:
        """Attack success."""
        return self.target if kind == "promote" else 1.0 - self.right


@dataclass(frozen=True, slots=True)
class Cell:
    """One attack: excess attack success and right-tool rate by method, and what remains after `forget`."""

    attack: Attack
    excess: dict[str, float]
    right: dict[str, float]
    remaining: float


class World:
    """Which words belong to a family and which tool is right there, drawn by a seed."""

    def __init__(self, seed: int, families: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.families = families
        self.right = self.rng.integers(0, TARGET, families)

    def state(self, family: int, own: int, other: int) -> str:
        """A state of `own` words of the family and `other` words of any."""
        words = [f"word{family}x{number}" for number in self.rng.permutation(8)[:own].tolist()]
        return " ".join([*words, *(f"noise{number}" for number in self.rng.integers(0, 40, other).tolist())])

    def honest(self) -> Iterator[Trajectory]:
        """What honest agents did."""
        for number in range(self.families * PER_FAMILY):
            family = number % self.families
            right = int(self.right[family])
            tool = right if self.rng.random() < 0.75 else int(self.rng.integers(0, TARGET))
            success = bool(self.rng.random() < (0.9 if tool == right else 0.25))
            judge: Judge = "environment" if self.rng.random() < 0.6 else "self"
            source = f"honest {int(self.rng.integers(SOURCES))}"
            yield made(self.state(family, 5, 4), tool, success=success, source=source, judge=judge)

    def forged(self, attack: Attack, *, is_everywhere: bool) -> Iterator[Trajectory]:
        """What the attacker stores."""
        judge: Judge = "environment" if attack.is_judge_forged else "self"
        for number in range(round(attack.share * self.families * PER_FAMILY)):
            family = number % self.families if is_everywhere else 0
            is_promoting = attack.kind == "promote"
            tool = TARGET if is_promoting else int(self.right[family])
            source = f"attacker {number % attack.sources}"
            yield made(self.state(family, 6, 2), tool, success=is_promoting, source=source, judge=judge)

    def questions(self, count: int, *, is_everywhere: bool) -> list[tuple[Situation, int]]:
        """Situations that are asked, each with the right tool."""
        families = [number % self.families if is_everywhere else 0 for number in range(count)]
        asked = [Situation("handle the request", self.state(family, 5, 4), (), OFFERED) for family in families]
        return [(one, int(self.right[family])) for one, family in zip(asked, families, strict=True)]


def made(state: str, tool: int, *, success: bool, source: str, judge: Judge) -> Trajectory:
    """A trajectory of one call."""
    step = Step(index=0, state=state, tool=NAMES[tool], outcome="ok")
    return Trajectory(Task("handle the request"), (step,), success=success, source=source, judge=judge)


def ask(engine: Engine, asked: Sequence[tuple[Situation, int]], rng: np.random.Generator) -> dict[str, Rates]:
    """The rates of the selector and of the naive ways, on the same store."""
    knowledge = engine.learned.knowledge
    goals = knowledge.goal_similarities(asked[0][0])
    found: dict[str, list[NDArray[np.float64]]] = {"selector": [], "copy nearest": [], "Thompson": []}
    for situation, _ in asked:
        found["selector"].append(engine.probabilities(situation, goals))
        found["copy nearest"].append(_copy_nearest(engine, situation))
        found["Thompson"].append(_thompson(engine, situation, rng))
    right = np.array([tool for _, tool in asked])
    return {name: _rates(np.stack(rows), right) for name, rows in found.items()}


def _rates(chosen_NK: NDArray[np.float64], right_N: NDArray[np.int64]) -> Rates:
    return Rates(float(chosen_NK[:, TARGET].mean()), float(chosen_NK[np.arange(len(right_N)), right_N].mean()))


def _nearest(engine: Engine, situation: Situation) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Tools and successes of all rows, the nearest first."""
    experience, retriever = engine.learned.knowledge.experience, engine.learned.knowledge.retriever
    vector = experience.embed(situation.state_text)
    query = retriever.query((vector, vector), np.zeros(len(experience.goals), np.float32), ())
    order = np.argsort(-(retriever.states @ query.state), kind="stable")
    owners = experience.column("trajectory")[order]
    names = [experience.tools.names[number] for number in experience.column("tool")[order].tolist()]
    return np.array([NAMES.index(name) for name in names]), experience.trajectory_column("success")[owners]


def _copy_nearest(engine: Engine, situation: Situation) -> NDArray[np.float64]:
    tools, successes = _nearest(engine, situation)
    return np.eye(TOOLS)[tools[np.argmax(successes > 0)]]


def _thompson(engine: Engine, situation: Situation, rng: np.random.Generator) -> NDArray[np.float64]:
    tools, successes = (values[:THOMPSON_ROWS] for values in _nearest(engine, situation))
    wins, tries = np.bincount(tools, successes, TOOLS), np.bincount(tools, minlength=TOOLS)
    drawn = rng.beta(1.0 + wins, 1.0 + tries - wins, (THOMPSON_DRAWS, TOOLS)).argmax(axis=1)
    return np.bincount(drawn, minlength=TOOLS) / THOMPSON_DRAWS


class Bench:
    """One world, asked with and without poison."""

    def __init__(self, seed: int, families: int, *, is_everywhere: bool) -> None:
        self._seed, self._families, self._is_everywhere = seed, families, is_everywhere
        self.clean = self._measure(None)[0]

    def cell(self, attack: Attack) -> Cell:
        """Attack, ask, forget the attacker, ask again."""
        found, after = self._measure(attack)
        excess = {
            name: rates.success(attack.kind) - self.clean[name].success(attack.kind) for name, rates in found.items()
        }
        right = {name: rates.right for name, rates in found.items()}
        remaining = after.success(attack.kind) - self.clean["selector"].success(attack.kind)
        return Cell(attack, excess, right, remaining)

    def _measure(self, attack: Attack | None) -> tuple[dict[str, Rates], Rates]:
        world = World(self._seed, self._families)
        config = SelectorConfig(decisions=DECISIONS)
        with TrajectoryStore(":memory:") as store:
            store.add_many(world.honest())
            asked = world.questions(QUESTIONS, is_everywhere=self._is_everywhere)
            if attack is not None:
                store.add_many(world.forged(attack, is_everywhere=self._is_everywhere))
            found = self._ask(store, asked, config)
            plain = SelectorConfig(decisions=DECISIONS, corroboration=None)
            found["unguarded"] = self._ask(store, asked, plain)["selector"]
            for number in range(attack.sources if attack else 0):
                store.forget(source=f"attacker {number}")
            return found, self._ask(store, asked, config)["selector"] if attack else found["selector"]

    def _ask(
        self, store: TrajectoryStore, asked: Sequence[tuple[Situation, int]], config: SelectorConfig
    ) -> dict[str, Rates]:
        engine = Selector(store, config).room("default").engine()
        return ask(engine, asked, np.random.default_rng(self._seed))


def attacks(*, is_quick: bool) -> list[Attack]:
    """The matrix, or of it what decides."""
    if is_quick:
        return [
            Attack(0.01),
            Attack(0.01, sources=20, is_judge_forged=True),
            Attack(0.01, "demote", 20, is_judge_forged=True),
        ]
    kinds: tuple[Kind, ...] = ("promote", "demote")
    return [Attack(*one) for one in itertools.product(SHARES, kinds, (1, 20), (False, True))]


def gate(clean: dict[str, Rates], cells: Sequence[Cell]) -> dict[str, bool]:
    """Whether the release gate holds."""
    at_one = [cell for cell in cells if cell.attack.share <= 0.01]
    return {
        "excess at 1 % is at most 5 points": all(cell.excess["selector"] <= 0.05 for cell in at_one),
        "clean loss is at most 5 points": clean["unguarded"].right - clean["selector"].right <= 0.05,
        "forgetting recovers fully": all(abs(cell.remaining) <= 1e-6 for cell in cells),
    }


METHODS = ("selector", "unguarded", "Thompson", "copy nearest")


def main(arguments: Sequence[str]) -> None:
    """Measure, print."""
    options = parse(arguments)
    families, planned = 6 if options.quick else options.families, attacks(is_quick=options.quick)
    with progress_bars() as tell:
        bench = Bench(options.seed, families, is_everywhere=options.all_families)
        cells = []
        for attack in planned:
            cells.append(bench.cell(attack))
            tell("attacks", len(cells), len(planned))
    found = gate(bench.clean, cells)
    if options.json:
        clean = {name: asdict(rates) for name, rates in bench.clean.items()}
        sys.stdout.write(json.dumps({"clean": clean, "cells": [asdict(cell) for cell in cells], "gate": found}) + "\n")
        return
    print_table(
        ["without poison", "target", "right tool"],
        [[name, f"{bench.clean[name].target:.3f}", f"{bench.clean[name].right:.3f}"] for name in METHODS],
    )
    print_table(
        ["poison", "aim", "sources", "judge", *(f"excess {name}" for name in METHODS), "right tool", "after forget"],
        [
            [
                f"{cell.attack.share:.1%}", cell.attack.kind, cell.attack.sources,
                "environment" if cell.attack.is_judge_forged else "self",
                *(f"{cell.excess[name]:+.3f}" for name in METHODS),
                f"{cell.right['selector']:.3f}", f"{cell.remaining:+.3f}",
            ]
            for cell in cells
        ],
    )  # fmt: skip
    print_table(["gate", "holds"], [[name, holds] for name, holds in found.items()])


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The command's options."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a small world and three attacks")
    parser.add_argument("--all-families", action="store_true", help="spread the poison, and ask, over all families")
    parser.add_argument("--families", type=int, default=FAMILIES, help="how many there are, 100 trajectories each")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main(sys.argv[1:])
