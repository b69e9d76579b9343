"""Regret of tool bandits in simulated worlds: `ToolBandit` beside other packages, chance and oracle clusters.

    python benchmarks/regret.py [--quick] [--ablations] [--policy NAME ...] [--first-seed S] [--seeds N] [--jobs N]
                                [--json] [--figure PATH]

Every policy meets the same worlds (tool_simulator.py): 4,000 decisions over 30 tools and 384-entry states in 25 hidden
clusters, with late tools, breaks, delayed and doubled rewards.  Settings of all policies were chosen on seeds from 100;
the seeds from 0 are for reporting.  "oracle" is Thompson sampling told each state's true cluster: what learning the
clusters could bring without sharing between tools.  Times are CPU time of the thread, the mean of one play, in µs.
"""

import argparse
import json
import os
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
from bandit_protocol import Policy, PolicyFactory
from numpy.typing import NDArray
from scipy.stats import t as student
from tool_simulator import World, WorldConfig, make_world, play

from selector.bandit_memory import BanditConfig
from selector.tool_bandit import ToolBandit

OURS = "ToolBandit"
ABLATIONS: Mapping[str, BanditConfig] = {
    "no hierarchy": BanditConfig(tool_strength=1e6),
    "learned prior strength": BanditConfig(prior_strength=None),
    "no sharpening": BanditConfig(sharpening=1.0),
    "fixed bandwidth": BanditConfig(fixed_bandwidth=(0.0, 1.0)),
    "no change detector": BanditConfig(alarm_level=1e9),
    "nor forgetting by use": BanditConfig(alarm_level=1e9, use_forgetting=1.0),
    "no bound on newcomers": BanditConfig(newcomer_chance=0.0),
    "no floor of exploration": BanditConfig(exploration=0.0),
    "floor of 0.02": BanditConfig(exploration=0.02),
}


class Ours:
    """`ToolBandit` as a `Policy`."""

    def __init__(self, dimension: int, tools: int, seed: int, config: BanditConfig | None = None) -> None:
        self.name = OURS
        self._bandit = ToolBandit(dimension, config or BanditConfig(), np.random.default_rng(seed))

    def choose(self, decision: int, state_D: NDArray[np.float32], offered: NDArray[np.int64]) -> int:
        """See `Policy.choose`."""
        return int(self._bandit.choose(decision, state_D, offered).tool)

    def report(self, decision: int, reward: float) -> None:
        """See `Policy.report`."""
        self._bandit.report(decision, reward)


class Chance:
    """Chooses any offered tool."""

    name = "random"

    def __init__(self, dimension: int, tools: int, seed: int) -> None:
        self._rng = np.random.default_rng(seed)

    def choose(self, decision: int, state_D: NDArray[np.float32], offered: NDArray[np.int64]) -> int:
        """See `Policy.choose`."""
        return int(self._rng.choice(offered))

    def report(self, decision: int, reward: float) -> None:
        """Learns nothing."""


class Oracle:
    """Gaussian Thompson sampling on the true clusters, with tool means as priors; η, s and forgetting were tuned."""

    name = "oracle"

    def __init__(self, world: World, tools: int, seed: int) -> None:
        self._clusters_N, self._rng = world.clusters_N, np.random.default_rng(seed)
        self._evidence_2CK = np.zeros((2, int(world.clusters_N.max()) + 1, tools))
        self._open: dict[int, tuple[int, int]] = {}

    def choose(self, decision: int, state_D: NDArray[np.float32], offered: NDArray[np.int64]) -> int:
        """See `Policy.choose`."""
        cluster, evidence = int(self._clusters_N[decision]), self._evidence_2CK
        successes_K, counts_K = evidence.sum(axis=1)
        overall = (successes_K.sum() + 1.0) / (counts_K.sum() + 2.0)
        priors_K = (8.0 * overall + successes_K) / (8.0 + counts_K)
        totals_K = 2.25 + evidence[1, cluster]
        means_K = (2.25 * priors_K + evidence[0, cluster]) / totals_K
        draws_K = means_K + np.sqrt(0.18 / 16.0 / totals_K) * self._rng.standard_normal(len(totals_K))
        tool = int(offered[draws_K[offered].argmax()])
        self._open[decision] = (cluster, tool)
        return tool

    def report(self, decision: int, reward: float) -> None:
        """See `Policy.report`."""
        place = self._open.pop(decision, None)
        if place is not None:
            cell = self._evidence_2CK[:, place[0], place[1]]
            self._evidence_2CK[:, place[0], place[1]] = 0.97 * cell + (reward, 1.0)


@dataclass(frozen=True, slots=True)
class Measured:
    """One policy over S worlds: cumulative regret over time, shape (S, N), and seconds of a choice and of a report."""

    name: str
    regrets_SN: NDArray[np.float64]
    choose_seconds: float
    report_seconds: float

    @property
    def totals(self) -> NDArray[np.float64]:
        """Cumulative regret at the end of each world, shape (S,)."""
        return self.regrets_SN[:, -1]


@dataclass(frozen=True, slots=True)
class Difference:
    """Mean of paired differences and half the width of its 95 % interval (Student's t)."""

    mean: float
    half_width: float


def paired(first_S: NDArray[np.float64], second_S: NDArray[np.float64]) -> Difference:
    """First less second, world by world; S > 1."""
    differences_S = first_S - second_S
    error = differences_S.std(ddof=1) / np.sqrt(len(differences_S))
    return Difference(float(differences_S.mean()), float(student.ppf(0.975, len(differences_S) - 1) * error))


def rivals() -> dict[str, PolicyFactory]:
    """Policies of other packages, Vowpal Wabbit as tuned on the tuning seeds; empty where rivals.py cannot load."""
    try:
        from rivals import RIVALS, VwSettings, vw  # noqa: PLC0415 - rivals load when asked for
    except ImportError as error:
        print(f"rivals are skipped: {error}")
        return {}
    tuned = {
        "vw-squarecb": partial(vw, settings=VwSettings(gamma_scale=15.0, learning_rate=0.5)),
        "vw-bag": partial(vw, settings=VwSettings("bag", bag=5, learning_rate=1.0)),
    }
    return {**RIVALS, **tuned}


def policy_of(name: str, world: World, seed: int) -> Policy:
    """A fresh policy by name; an oracle sees the world."""
    dimension, tools = world.states_ND.shape[1], world.means_NK.shape[1]
    if name == "oracle":
        return Oracle(world, tools, seed)
    if name in ABLATIONS:
        return Ours(dimension, tools, seed, ABLATIONS[name])
    own: dict[str, PolicyFactory] = {OURS: Ours, "random": Chance}
    return {**rivals(), **own}[name](dimension, tools, seed)


def measure(name: str, seeds: range, config: WorldConfig) -> Measured | str:
    """One policy in the worlds of all seeds, or why it could not be made."""
    plays = []
    for seed in seeds:
        world = make_world(seed, config)
        try:
            policy = policy_of(name, world, seed)
        except ImportError as error:
            return f"{name} is skipped: {error}"
        plays.append(play(policy, world))
    curves_SN = np.array([one.regrets_N.cumsum() for one in plays])
    choosing, reporting = (np.median([getattr(one, part) for one in plays]) for part in _TIMES)
    return Measured(name, curves_SN, float(choosing), float(reporting))


_TIMES = ("choose_seconds", "report_seconds")


def row(one: Measured, ours: Measured) -> dict[str, float | str | int]:
    """What a table says of one policy."""
    difference = paired(one.totals, ours.totals)
    return {
        "policy": one.name,
        "worlds": len(one.totals),
        "regret": round(float(one.totals.mean()), 1),
        "less ours": round(difference.mean, 1),
        "interval": round(difference.half_width, 1),
        "ours below, %": round(100.0 * difference.mean / float(one.totals.mean()), 1),
        "choose, µs": round(1e6 * one.choose_seconds, 1),
        "report, µs": round(1e6 * one.report_seconds, 1),
    }


def show(rows: list[dict[str, float | str | int]], *, as_json: bool) -> None:
    """Print rows as JSON lines or as a table."""
    if as_json:
        print("\n".join(json.dumps(one) for one in rows))
        return
    print("| " + " | ".join(rows[0]) + " |\n|" + " --- |" * len(rows[0]))
    for one in rows:
        print("| " + " | ".join(str(value) for value in one.values()) + " |")


def draw(measured: list[Measured], path: str) -> None:
    """Mean cumulative regret over the decisions, one line a policy."""
    import matplotlib as mpl  # noqa: PLC0415 - heavy, and only for figures

    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415 - the same

    figure, axes = plt.subplots(figsize=(7, 4.5), layout="constrained")
    for one in measured:
        axes.plot(one.regrets_SN.mean(axis=0), label=one.name, linewidth=2.2 if one.name == OURS else 1.2)
    axes.set(xlabel="decision", ylabel="cumulative regret", ylim=(0, None))
    axes.legend(frameon=False)
    figure.savefig(path, dpi=150)


def parse() -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="two short worlds, without rivals")
    parser.add_argument("--ablations", action="store_true", help="parts of ToolBandit taken away, in place of rivals")
    parser.add_argument("--policy", action="append", help="measure these only, beside ToolBandit")
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--jobs", type=int, default=1, help="policies measured at once; 1 for honest times")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--figure", help="where to write the curves")
    return parser.parse_args()


def names_of(options: argparse.Namespace) -> list[str]:
    """The policies to measure, ours first."""
    if options.ablations:
        return [OURS, *ABLATIONS]
    others = ["random", "oracle"] if options.quick else ["random", "oracle", "vw-squarecb", "vw-bag"]
    return [OURS, *(options.policy or others)]


def main() -> None:
    """Measure the policies asked for and print a table."""
    options = parse()
    seeds = range(options.first_seed, options.first_seed + (2 if options.quick else options.seeds))
    config = WorldConfig(rounds=1000) if options.quick else WorldConfig()
    work = partial(measure, seeds=seeds, config=config)
    with ProcessPoolExecutor(options.jobs) as pool:
        results = list(pool.map(work, names_of(options)))
    print(*(one for one in results if isinstance(one, str)), sep="\n", end="")
    measured = [one for one in results if isinstance(one, Measured)]
    show([row(one, measured[0]) for one in measured], as_json=options.json)
    if options.figure:
        draw(measured, options.figure)


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
