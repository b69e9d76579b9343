"""Real data as rounds of a bandit: InterCode's logs, prompts answered by three models, handwritten digits.

benchmarks/logged_bandits.py explains the sets.
"""

import gzip
import importlib
import importlib.resources
import json
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trajstore.embedding import HashedEmbedder, normalised

Floats = NDArray[np.float64]

DISCOUNT = 0.9
INTERCODE_ROUNDS = 1500
OBSERVATION_CHARACTERS = 400
CHEAPEST_DOLLARS = 1e-5
ROUTING_ENTRIES = 25


@dataclass(frozen=True, slots=True)
class Rounds:
    """N decisions over K tools: unit states, a mask of tools, rewards in [0, 1] as they will be drawn, their means.

    A value is reported as `scale` × mean + `offset`, which undoes what brought rewards into [0, 1].
    `logging_N`, where there is a log, are the mean rewards of what its agents called.
    """

    states_ND: NDArray[np.float32]
    offered_NK: NDArray[np.bool_]
    rewards_NK: Floats
    means_NK: Floats
    scale: float = 1.0
    offset: float = 0.0
    logging_N: Floats | None = None

    def value(self, means_N: Floats) -> float:
        """The mean of the means that were met, in the data's own unit."""
        return float(means_N.mean() * self.scale + self.offset)


Maker = Callable[[int], Rounds]


@dataclass(frozen=True, slots=True)
class Visits:
    """InterCode's states that several tools were called in, by number.

    `states_SD` are their vectors, `returns` the returns by (state, tool), `visits_N` the state of each logged visit,
    `means_S` the mean return of a state's visits, `tools` how many tools there are.
    """

    states_SD: NDArray[np.float32]
    returns: dict[tuple[int, int], Floats]
    visits_N: NDArray[np.int64]
    means_S: Floats
    tools: int


def returns_to_go(rewards_T: Sequence[float | None]) -> Floats:
    """The highest reward from each step on, discounted for each step until it; shape (T,), in [0, 1].

    A reward that the log lacks, or a negative one, counts as 0.

    >>> returns_to_go([0.0, None, 1.0, 0.5]).tolist()
    [0.81, 0.9, 1.0, 0.5]
    """
    returns_T = np.clip([reward or 0.0 for reward in rewards_T], 0.0, 1.0)
    for step in range(len(returns_T) - 2, -1, -1):
        returns_T[step] = max(returns_T[step], DISCOUNT * returns_T[step + 1])
    return returns_T


@cache
def intercode_visits(path: Path, domain: str) -> Visits:
    """The matched states of one domain of `intercode.jsonl.gz`."""
    cells: dict[tuple[str, str, str], dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            attempt = json.loads(line)
            if attempt["domain"] == domain:
                _add_attempt(cells, attempt)
    return _numbered({state: tools for state, tools in cells.items() if len(tools) > 1})


def _add_attempt(cells: dict[tuple[str, str, str], dict[str, list[float]]], attempt: dict[str, Any]) -> None:
    steps, observation = attempt["steps"], ""
    for step, value in zip(steps, returns_to_go([step["reward"] for step in steps]), strict=True):
        cells[attempt["group"], attempt["task"], observation][step["tool"]].append(float(value))
        observation = step["observation"] or ""


def _numbered(cells: dict[tuple[str, str, str], dict[str, list[float]]]) -> Visits:
    numbers = {tool: number for number, tool in enumerate(sorted({tool for tools in cells.values() for tool in tools}))}
    texts = [f"{task}\n{observation[:OBSERVATION_CHARACTERS]}" for _, task, observation in cells]
    counts_S = [sum(len(found) for found in tools.values()) for tools in cells.values()]
    return Visits(
        states_SD=HashedEmbedder(384).embed(texts),
        returns={
            (state, numbers[tool]): np.array(found)
            for state, tools in enumerate(cells.values())
            for tool, found in tools.items()
        },
        visits_N=np.repeat(np.arange(len(cells)), counts_S),
        means_S=np.array([np.concatenate(list(tools.values())).mean() for tools in cells.values()]),
        tools=len(numbers),
    )


def intercode(path: Path, domain: str, rounds: int, seed: int) -> Rounds:
    """As many visits as `rounds` in random order, each tool's reward drawn from its own visits in that state."""
    visits, rng = intercode_visits(path, domain), np.random.default_rng([seed, 7])
    shown_N = rng.permutation(visits.visits_N)[:rounds]
    rewards_NK = np.zeros((len(shown_N), visits.tools))
    means_NK, offered_NK = np.zeros_like(rewards_NK), np.zeros_like(rewards_NK, dtype=bool)
    for (state, tool), found in visits.returns.items():
        here = np.flatnonzero(shown_N == state)
        rewards_NK[here, tool] = rng.choice(found, len(here))
        means_NK[here, tool], offered_NK[here, tool] = found.mean(), True
    return Rounds(visits.states_SD[shown_N], offered_NK, rewards_NK, means_NK, logging_N=visits.means_S[shown_N])


@dataclass(frozen=True, slots=True)
class Routing:
    """The prompts' unit vectors, and reward in [0, 1] and dollars of each of K models."""

    states_ND: NDArray[np.float32]
    rewards_NK: Floats
    dollars_NK: Floats


@cache
def routing_data() -> Routing:
    """The files that the paretobandit package ships."""
    decomposition = importlib.import_module("sklearn.decomposition")
    text = importlib.import_module("sklearn.feature_extraction.text")
    folder = importlib.resources.files("pareto_bandit") / "data" / "examples"
    # Not splitlines: prompts hold other line ends than the one that parts records.
    other, shown = (
        [json.loads(line) for line in (folder / name).read_text("utf-8").split("\n") if line]
        for name in ("val.jsonl", "test_holdout.jsonl")
    )
    words = text.TfidfVectorizer(sublinear_tf=True, min_df=3)
    reduced = decomposition.TruncatedSVD(ROUTING_ENTRIES, random_state=0)
    reduced.fit(words.fit_transform(row["prompt"] for row in other))
    models = sorted(shown[0]["arms"])
    return Routing(
        normalised(reduced.transform(words.transform(row["prompt"] for row in shown)).astype(np.float32)),
        np.array([[row["arms"][model]["reward"] for model in models] for row in shown]),
        np.array([[row["arms"][model]["cost"] for model in models] for row in shown]),
    )


def log_costs(dollars_NK: Floats, largest: float) -> Floats:
    """ln(dollars / cheapest) / ln(largest / cheapest), clipped to [0, 1].

    >>> log_costs(np.array([1e-5, 1e-3, 1e-1]), 1e-1).round(2).tolist()
    [0.0, 0.5, 1.0]
    """
    scaled_NK = np.log(np.maximum(dollars_NK, CHEAPEST_DOLLARS) / CHEAPEST_DOLLARS) / np.log(largest / CHEAPEST_DOLLARS)
    return np.asarray(np.clip(scaled_NK, 0.0, 1.0), np.float64)


def routing(weight: float, drift: str, rounds: int, seed: int) -> Rounds:
    """Reward − `weight` × cost of the prompts in random order, with a `drift` half-way ("none", "price", "quality")."""
    data = routing_data()
    order_N = np.random.default_rng([seed, 11]).permutation(len(data.states_ND))[:rounds]
    rewards_NK, dollars_NK = data.rewards_NK[order_N], data.dollars_NK[order_N]
    late = slice(len(order_N) // 2, None)
    if drift == "price":
        dollars_NK[late, dollars_NK.mean(axis=0).argmax()] *= 0.01
    if drift == "quality":
        rewards_NK[late, np.argsort(dollars_NK.mean(axis=0))[1]] *= 0.6
    utilities_NK = rewards_NK - weight * log_costs(dollars_NK, float(data.dollars_NK.max()))
    scaled_NK = (utilities_NK + weight) / (1.0 + weight)
    offered_NK = np.ones(scaled_NK.shape, bool)
    return Rounds(data.states_ND[order_N], offered_NK, scaled_NK, scaled_NK, 1.0 + weight, -weight)


def digits(rounds: int, seed: int) -> Rounds:
    """The images in random order, each tool naming a digit."""
    images_ND, digits_N = importlib.import_module("sklearn.datasets").load_digits(return_X_y=True)
    order_N = np.random.default_rng([seed, 13]).permutation(len(digits_N))[:rounds]
    right_NK = np.eye(10)[digits_N[order_N]]
    return Rounds(normalised(images_ND[order_N].astype(np.float32)), right_NK >= 0.0, right_NK, right_NK)


def makers(data: Path, rounds: int | None) -> dict[str, Maker]:
    """Every set by name; `rounds` shortens them."""
    shown = rounds or INTERCODE_ROUNDS
    most = rounds or 10_000
    path = data / "intercode.jsonl.gz"
    found: dict[str, Maker] = {
        "intercode sql": partial(intercode, path, "intercode_sql", shown),
        "intercode bash": partial(intercode, path, "intercode_bash", shown),
    }
    for weight in (0.1, 0.3):
        found[f"routing λ={weight}"] = partial(routing, weight, "none", most)
    found["routing λ=0.3, price cut"] = partial(routing, 0.3, "price", most)
    found["routing λ=0.3, quality drop"] = partial(routing, 0.3, "quality", most)
    found["digits"] = partial(digits, most)
    return found
