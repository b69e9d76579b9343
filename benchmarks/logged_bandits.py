"""Ours and the rival packages on real data: InterCode's logs, prompts answered by three models, handwritten digits.

    python benchmarks/logged_bandits.py [--data ../shared/data] [--seeds 5] [--quick] [--json] [--only NAME]...
        [--policies ours,vw-squarecb] [--progress] [--figure PATH]

InterCode (SQL and bash).  A log has no reward for the tool that was not called, and the agents' probabilities are
unknown, so nothing is weighted by guessed propensities.  Instead several attempts at one task stand in for each other:
all visits with the same task and the same last observation form one state, and only states in which the attempts called
two tools or more are kept.  There, the tools called are offered, and the reward of each is drawn from the visits that
called it: the highest logged reward from that step on, discounted by 0.9 a step.  States come as often as they were
visited, in random order.  What this can say: which tool went with better ends in this state, among agents of unlike
strength; not what a tool would cause.  The oracle knows the means of this table, the logging policy's frequencies are a
baseline.  States are hashed words of task and observation, 384 entries.

Routing (paretobandit's holdout, arXiv 2604.00136): 1,824 prompts, reward and price of three models for each, so that
rewards are known for all.  Reward − λ·cost, cost on a log scale in [0, 1]; with a price cut (the dearest model at a
hundredth) or a quality drop (the second model's rewards × 0.6) half-way.  TF-IDF and SVD to 25 entries, fitted on the
package's other file.

Digits (scikit-learn): 1,797 images in random order, 10 tools, reward 1 for the right digit; 64 entries.

Every figure is the mean over seeds (order, draws and policy) with a 95 % t-interval; `below ours` is the paired
difference.  Rewards are reported at once.
"""

import argparse
import json
import sys
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from bandit_protocol import Policy, PolicyFactory
from logged_sets import Floats, Maker, Rounds, makers
from ours import ours
from rivals import available, missing
from scipy.stats import t as student_t


@dataclass(frozen=True, slots=True)
class Played:
    """One policy with one seed: the mean value of its choices, milliseconds a round (choice and report)."""

    value: float
    milliseconds: float


@dataclass(frozen=True, slots=True)
class Row:
    """A policy on one set: mean value over seeds with its interval, how far below ours (paired), cost of a round."""

    set: str
    policy: str
    value: float
    low: float
    high: float
    below_ours: float
    below_low: float
    below_high: float
    milliseconds: float


def replay(policy: Policy, rounds: Rounds) -> Floats:
    """The mean reward of each choice, shape (N,), each reward reported before the next decision."""
    met_N = np.zeros(len(rounds.states_ND))
    for decision, state_D in enumerate(rounds.states_ND):
        tool = policy.choose(decision, state_D, np.flatnonzero(rounds.offered_NK[decision]))
        met_N[decision] = rounds.means_NK[decision, tool]
        policy.report(decision, float(rounds.rewards_NK[decision, tool]))
    return met_N


def fixed_ranking(rounds: Rounds) -> Floats:
    """Means met by one order of tools for all states: by how far each lies above the others offered with it."""
    masked_NK = np.where(rounds.offered_NK, rounds.means_NK, np.nan)
    above_NK = masked_NK - np.nanmean(masked_NK, axis=1, keepdims=True)
    above_K = np.array([np.nanmean(column) if np.isfinite(column).any() else -np.inf for column in above_NK.T])
    best_N = np.where(rounds.offered_NK, above_K, -np.inf).argmax(axis=1)
    return np.take_along_axis(rounds.means_NK, best_N[:, None], axis=1)[:, 0]


def baselines(rounds: Rounds) -> dict[str, float]:
    """What can be known without playing: the best of each state, the best fixed order, what the agents got."""
    best_N = np.where(rounds.offered_NK, rounds.means_NK, -np.inf).max(axis=1)
    found = {"oracle": best_N, "best fixed": fixed_ranking(rounds)}
    if rounds.logging_N is not None:
        found["logging"] = rounds.logging_N
    return {name: rounds.value(means_N) for name, means_N in found.items()}


def interval(values_S: Floats) -> tuple[float, float, float]:
    """Mean, and the ends of its 95 % t-interval over S seeds (both the mean where S is 1)."""
    mean = float(values_S.mean())
    if len(values_S) < 2:
        return mean, mean, mean
    half = float(student_t.ppf(0.975, len(values_S) - 1) * values_S.std(ddof=1) / np.sqrt(len(values_S)))
    return mean, mean - half, mean + half


def measure(make: Maker, factories: dict[str, PolicyFactory], seeds: Iterable[int]) -> dict[str, list[Played]]:
    """What every policy and baseline reached, for each seed."""
    found: dict[str, list[Played]] = defaultdict(list)
    for seed in seeds:
        rounds = make(seed)
        for name, value in baselines(rounds).items():
            found[name].append(Played(value, 0.0))
        for factory in factories.values():
            policy = factory(rounds.states_ND.shape[1], rounds.means_NK.shape[1], seed)
            start = time.perf_counter()
            met_N = replay(policy, rounds)
            milliseconds = 1e3 * (time.perf_counter() - start) / len(met_N)
            found[policy.name].append(Played(rounds.value(met_N), milliseconds))
    return found


def rows_of(name: str, found: dict[str, list[Played]]) -> list[Row]:
    """Means and intervals, the best first; without ours, the first policy found stands in its place."""
    reference_S = np.array([one.value for one in found.get("ToolBandit", next(iter(found.values())))])
    rows = []
    for policy, played in found.items():
        values_S = np.array([one.value for one in played])
        cost = float(np.mean([one.milliseconds for one in played]))
        rows.append(Row(name, policy, *interval(values_S), *interval(reference_S - values_S), cost))
    return sorted(rows, key=lambda row: -row.value)


def printed(rows: Sequence[Row]) -> None:
    """One set as a table."""
    print(f"\n{rows[0].set}\n{'policy':<42}{'value':>8}  {'95 %':<16}{'below ours':>11}  {'95 %':<18}{'ms':>7}")
    for row in rows:
        span, below = f"{row.low:.4f}–{row.high:.4f}", f"{row.below_low:+.4f}–{row.below_high:+.4f}"
        figures = f"{row.value:>8.4f}  {span:<16}{row.below_ours:>+11.4f}  {below:<18}{row.milliseconds:>7.2f}"
        print(f"{row.policy:<42}{figures}")


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="2 seeds, 250 rounds")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--only", action="append", help="a set by name; may be repeated")
    parser.add_argument("--policies", help="names from rivals.RIVALS, and ours, with commas")
    parser.add_argument("--figure", default="", help="where to draw the values with their intervals")
    parser.add_argument("--progress", action="store_true", help="each set on stderr as it is done")
    return parser.parse_args()


def draw(tables: Sequence[Sequence[Row]], path: str) -> None:
    """One panel a set: mean value and 95 % interval of each policy."""
    import matplotlib  # noqa: PLC0415 - only to draw

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415 - as above

    figure, panels = plt.subplots(len(tables), 1, figsize=(7, 0.8 + 1.8 * len(tables)), squeeze=False)
    for axes, table in zip(panels[:, 0], tables, strict=True):
        places = range(len(table))
        axes.hlines(places, [row.low for row in table], [row.high for row in table])
        axes.plot([row.value for row in table], places, "o")
        axes.set_yticks(places, [row.policy for row in table])
        axes.set_title(table[0].set, loc="left", fontsize=10)
    figure.savefig(path, dpi=150, bbox_inches="tight")


def main() -> None:
    """Measure and print."""
    args = arguments()
    factories: dict[str, PolicyFactory] = {"ours": ours, **available()}
    wanted = args.policies.split(",") if args.policies else list(factories)
    chosen = {name: factories[name] for name in wanted if name in factories}
    sets = makers(args.data, 250 if args.quick else None)
    seeds = range(args.first_seed, args.first_seed + (2 if args.quick else args.seeds))
    tables = []
    for name in args.only or sets:
        tables.append(rows_of(name, measure(sets[name], chosen, seeds)))
        if args.progress:
            print(json.dumps([asdict(row) for row in tables[-1]], ensure_ascii=False), file=sys.stderr, flush=True)
    if args.figure:
        draw(tables, args.figure)
    absent = missing()
    if args.json:
        rows = [asdict(row) for table in tables for row in table]
        print(json.dumps({"seeds": len(seeds), "missing": absent, "rows": rows}, ensure_ascii=False))
        return
    for table in tables:
        printed(table)
    for rival, error in absent.items():
        print(f"{rival} was left out: {error}")


if __name__ == "__main__":
    main()
