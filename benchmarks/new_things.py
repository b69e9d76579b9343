"""What it brings to leave tasks out with their kin when weights are fitted (`selector/kin.py`).

    python benchmarks/new_things.py STORE [--decisions 4000] [--seed 0]

The decisions of a store's trajectories are assessed twice: with their own task left out, so that others about the same
rare thing may answer (known things), and with those left out too (new things).  Weights are fitted to half of the
tasks, assessed in either way, and asked about the decisions of the other half, assessed in both; each half in turn.
Printed is the mean ln p of the right candidate.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from selector.fitting import Example, Penalties, fit, log_probability
from selector.gain import penalties_with_paths
from selector.learning import LearningConfig, build_examples, know
from trajstore import TrajectoryStore
from trajstore.embedding import make_embedder


def mean_log_probability(fitted: Sequence[Example], asked: Sequence[Example], tools: int, seed: int) -> float:
    """Of the asked decisions' right candidates, by weights of the half of the tasks that they do not belong to."""
    units = np.random.default_rng(seed).permutation(sorted({one.unit for one in asked}))
    half = {unit: number % 2 for number, unit in enumerate(units.tolist())}
    values, weights = [], []
    for fold in (0, 1):
        model = fit([one for one in fitted if half[one.unit] != fold], tools, penalties_with_paths(Penalties()))
        right = [one for one in asked if half[one.unit] == fold and not one.is_wrong]
        values += [log_probability(one, model) for one in right]
        weights += [one.weight for one in right]
    return float(np.average(values, weights=weights))


def main() -> None:
    """Read the options, assess, fit, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=Path)
    parser.add_argument("--decisions", type=int, default=4000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with TrajectoryStore(options.store) as store:
        trajectories = list(store.trajectories())
    knowledge = know(trajectories, make_embedder())
    assessed = {
        name: list(
            build_examples(
                knowledge,
                trajectories,
                LearningConfig(decisions=options.decisions, seed=options.seed, with_kin=with_kin),
                with_paths=True,
            )
        )
        for name, with_kin in (("known", False), ("new", True))
    }
    tools = len(knowledge.experience.tools)
    print("| left out when weights are fitted | known things | new things |\n| --- | ---: | ---: |")
    for title, fitted in (("the task", assessed["known"]), ("the task and its kin", assessed["new"])):
        found = (mean_log_probability(fitted, asked, tools, options.seed) for asked in assessed.values())
        print(f"| {title} | " + " | ".join(f"{value:.3f}" for value in found) + " |")


if __name__ == "__main__":
    main()
