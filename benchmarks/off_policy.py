"""Off-policy evaluation on the Open Bandit data and on simulated Thompson-sampling logs of known truth.

    python benchmarks/off_policy.py [--quick] [--json] [--figure off_policy.png] [--runs N] [--seed N]

The first table judges BernoulliTS of the Open Bandit data (campaign "all", 10,000 rows, arXiv 2008.07146) from the log
of the random policy; data and policy come with obp 0.5.7 (`pip install --no-deps --ignore-requires-python obp==0.5.7`),
without which it is skipped.  `relative` divides by the random log's click mean, as in obp's README (IPW: 1.198126;
`--quick` draws fewer times); `error` is |value − truth| / truth with the on-policy click mean as truth.

The second table logs a learning Thompson policy (12 tools, 8 clusters, 3,000 decisions) and asks the value of a fixed
softmax policy: root mean squared error, bias, coverage of the 95 % interval, share of runs that were trusted, error
among those, effective sample size, under exact and under wrong propensities.
"""

import argparse
import csv
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selector.ope import ESTIMATORS, Estimate, LoggedDecisions, estimate
from selector.propensity import choice_probabilities
from selector.reward_model import cross_fitted_rewards

Floats = NDArray[np.float64]

TOOLS, CLUSTERS, DECISIONS, EPISODE = 12, 8, 3000, 3
SHARPENING = 3.0
LOGGINGS = ("Gaussian TS, exact", "Beta TS, Gaussian-approximated", "Gaussian TS, assumed uniform")


@dataclass(frozen=True, slots=True)
class Score:
    """How one estimator did on many simulated logs of one kind."""

    logging: str
    exploration: float
    estimator: str
    rmse: float
    bias: float
    coverage: float
    trusted: float
    trusted_rmse: float
    ess_share: float


def main() -> None:
    """Print both tables, or one JSON object."""
    options = parse()
    bandit = open_bandit(options.quick)
    scores = simulated(options.runs or (3 if options.quick else 100), options.seed)
    if options.json:
        print(json.dumps({"open_bandit": bandit, "simulated": [score_row(score) for score in scores]}))
    else:
        print_tables(bandit, scores)
    if options.figure:
        draw(scores, options.figure)


def open_bandit(is_quick: bool) -> dict[str, Any]:  # noqa: FBT001 - the command's own flag
    """Estimates of BernoulliTS from the random log, or the error that stands in the way."""
    try:
        import obp  # noqa: PLC0415 - a rival is imported where it is used
        from obp.policy import BernoulliTS  # noqa: PLC0415
    except ImportError as error:
        return {"skipped": f"obp 0.5.7: {error}"}
    folder = Path(obp.__file__).parent / "dataset" / "obd"
    logged, positions, contexts_ND = read_log(folder / "random" / "all" / "all.csv")
    on_policy = read_log(folder / "bts" / "all" / "all.csv")[0]
    policy = BernoulliTS(n_actions=80, len_list=3, is_zozotown_prior=True, campaign="all", random_state=12345)
    shares = policy.compute_batch_action_dist(n_rounds=1, n_sim=10_000 if is_quick else 100_000)[0]
    target_NK = np.ascontiguousarray(shares.T[positions])
    tools_NK = np.tile(np.arange(80), (len(logged), 1))
    q_NK = cross_fitted_rewards(contexts_ND, tools_NK, logged, strength=200.0)
    found = estimate(logged, target_NK, q_NK=q_NK, resamples=200 if is_quick else 1000)
    return {
        "clicks": float(logged.rewards_N.mean()),
        "truth": float(on_policy.rewards_N.mean()),
        "truth_error": float(on_policy.rewards_N.std() / len(on_policy) ** 0.5),
        "estimates": [estimate_row(one) for one in found],
    }


def read_log(path: Path) -> tuple[LoggedDecisions, NDArray[np.int64], Floats]:
    """The rows of one log in order of time, their positions from 0, and position and user features as flags.

    A page shows three positions; rows of one moment are one episode.
    """
    with path.open(newline="", encoding="utf-8") as file:
        rows = sorted(csv.DictReader(file), key=lambda row: row["timestamp"])
    positions = np.unique([int(row["position"]) for row in rows], return_inverse=True)[1]
    columns = [[row[f"user_feature_{number}"] for row in rows] for number in range(4)]
    flags = [np.eye(int(codes.max()) + 1)[codes] for codes in (positions, *map(coded, columns))]
    logged = LoggedDecisions(
        np.array([float(row["click"]) for row in rows]),
        np.array([float(row["propensity_score"]) for row in rows]),
        np.array([int(row["item_id"]) for row in rows]),
        np.ones((len(rows), 80), bool),
        coded([row["timestamp"] for row in rows]),
    )
    return logged, positions, np.concatenate(flags, axis=1)


def coded(names: list[str]) -> NDArray[np.int64]:
    """Names as numbers from 0."""
    return np.unique(names, return_inverse=True)[1]


def simulated(runs: int, seed: int) -> list[Score]:
    """Every estimator on `runs` logs of each kind, with and without a floor of exploration."""
    scores = []
    for exploration in (0.02, 0.1):
        for logging in LOGGINGS:
            scores += scored(logging, exploration, runs, seed)
    return scores


def scored(logging: str, exploration: float, runs: int, seed: int) -> list[Score]:
    """One kind of log."""
    labels, found, truths = [], [], []
    for run in range(runs):
        estimates, truth = one_run(logging, exploration, np.random.default_rng((seed, run)))
        labels = [spec.label for spec in ESTIMATORS]
        found.append(estimates)
        truths.append(truth)
    return [
        score(logging, exploration, label, [estimates[place] for estimates in found], np.array(truths))
        for place, label in enumerate(labels)
    ]


def score(logging: str, exploration: float, label: str, found: list[Estimate], truths: Floats) -> Score:
    """What the estimates of one estimator say beside the truths."""
    errors = np.array([one.value for one in found]) - truths
    hits = [one.low <= truth <= one.high for one, truth in zip(found, truths, strict=True)]
    trusted = np.array([one.is_trusted for one in found])
    return Score(
        logging,
        exploration,
        label,
        float(np.sqrt(np.mean(errors**2))),
        float(errors.mean()),
        float(np.mean(hits)),
        float(trusted.mean()),
        float(np.sqrt(np.mean(errors[trusted] ** 2))) if trusted.any() else float("nan"),
        float(np.mean([one.effective_sample_size / one.decisions for one in found])),
    )


def one_run(logging: str, exploration: float, rng: np.random.Generator) -> tuple[tuple[Estimate, ...], float]:
    """One log, its estimates, and the true value of the target on the contexts logged."""
    chances = rng.beta(2.0, 3.0, (CLUSTERS, TOOLS))
    clusters = rng.integers(CLUSTERS, size=DECISIONS)
    logged = thompson_log(chances, clusters, exploration, rng, draws_beta=logging.startswith("Beta"))
    if logging.endswith("uniform"):
        logged = replace(logged, propensities_N=np.full(DECISIONS, 1.0 / TOOLS))
    raised = np.exp(4.0 * (chances + rng.normal(0.0, 0.15, chances.shape)))
    target = raised / raised.sum(axis=1, keepdims=True)
    tools_NK = np.tile(np.arange(TOOLS), (DECISIONS, 1))
    q_NK = cross_fitted_rewards(np.eye(CLUSTERS)[clusters], tools_NK, logged)
    truth = float((target * chances).sum(axis=1)[clusters].mean())
    return estimate(logged, target[clusters], q_NK=q_NK, resamples=400), truth


def thompson_log(
    chances: Floats, clusters: NDArray[np.int64], exploration: float, rng: np.random.Generator, *, draws_beta: bool
) -> LoggedDecisions:
    """A policy that learns tool by cluster; its propensities are those of Gaussian draws, right or wrong."""
    alpha, beta = np.ones(chances.shape), np.ones(chances.shape)
    chosen, propensities, rewards = np.zeros(DECISIONS, int), np.zeros(DECISIONS), np.zeros(DECISIONS)
    for row, cluster in enumerate(clusters.tolist()):
        a, b = alpha[cluster], beta[cluster]
        means = a / (a + b)
        deviations = np.sqrt(means * (1 - means) / (SHARPENING * (a + b) + 1))
        weight = SHARPENING * (a + b)
        drawn = rng.beta(means * weight, (1 - means) * weight) if draws_beta else rng.normal(means, deviations)
        arm = int(rng.integers(TOOLS)) if rng.random() < exploration else int(np.argmax(drawn))
        chosen[row] = arm
        propensities[row] = max(choice_probabilities(means, deviations, exploration=exploration)[arm], 1e-9)
        rewards[row] = float(rng.random() < chances[cluster, arm])
        alpha[cluster, arm] += rewards[row]
        beta[cluster, arm] += 1.0 - rewards[row]
    offered = np.ones((DECISIONS, TOOLS), bool)
    return LoggedDecisions(rewards, np.minimum(propensities, 1.0), chosen, offered, np.arange(DECISIONS) // EPISODE)


def print_tables(bandit: Mapping[str, Any], scores: list[Score]) -> None:
    """Both tables as Markdown."""
    if "skipped" in bandit:
        print(f"Open Bandit data skipped: {bandit['skipped']}")
    else:
        print(f"random clicks {bandit['clicks']:.5f}, truth {bandit['truth']:.5f} ± {bandit['truth_error']:.5f}\n")
        print("| estimator | relative | value | 95 % interval | error | ESS | trusted |\n" + "| --- " * 7 + "|")
        for one in bandit["estimates"]:
            print(
                f"| {one['estimator']} | {one['value'] / bandit['clicks']:.4f} | {one['value']:.5f} "
                f"| {one['low']:.5f} to {one['high']:.5f} | {abs(one['value'] / bandit['truth'] - 1):.2f} "
                f"| {one['ess']:.0f} | {one['reason'] or 'yes'} |"
            )
    print(
        "\n| logging | ε | estimator | rmse | bias | coverage | trusted | rmse, trusted | ESS/N |\n"
        + "| --- " * 9
        + "|"
    )
    for found in scores:
        print(
            f"| {found.logging} | {found.exploration} | {found.estimator} | {found.rmse:.3f} | {found.bias:+.3f} "
            f"| {found.coverage:.2f} | {found.trusted:.2f} | {found.trusted_rmse:.3f} | {found.ess_share:.3f} |"
        )


def estimate_row(found: Estimate) -> dict[str, Any]:
    """An estimate as JSON."""
    fields = ("estimator", "value", "standard_error", "low", "high", "reason")
    return {name: getattr(found, name) for name in fields} | {"ess": found.effective_sample_size}


def score_row(found: Score) -> dict[str, Any]:
    """A score as JSON; what no run was trusted for is null."""
    row = {name: getattr(found, name) for name in Score.__slots__}
    return {name: None if isinstance(value, float) and np.isnan(value) else value for name, value in row.items()}


def draw(scores: list[Score], path: Path) -> None:
    """Root mean squared error of every estimator under every kind of log, on a logarithmic axis."""
    import matplotlib as mpl  # noqa: PLC0415 - only where a figure is asked for

    mpl.use("Agg")
    from matplotlib import pyplot  # noqa: PLC0415

    kinds = sorted({(found.logging, found.exploration) for found in scores})
    figure, axes = pyplot.subplots(figsize=(9, 4.5))
    for place, (logging, exploration) in enumerate(kinds):
        mine = [found for found in scores if (found.logging, found.exploration) == (logging, exploration)]
        heights = [found.rmse for found in mine]
        axes.bar(np.arange(len(mine)) + 0.13 * (place - 2.5), heights, 0.13, label=f"{logging}, ε = {exploration}")
    axes.set_xticks(range(len(ESTIMATORS)), [spec.label for spec in ESTIMATORS])
    axes.set_yscale("log")
    axes.set_ylabel("root mean squared error of the value")
    axes.legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(path, dpi=150)


def parse() -> argparse.Namespace:
    """The command's options."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="under half a minute")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.add_argument("--figure", type=Path, help="where to write a figure")
    parser.add_argument("--runs", type=int, help="simulated logs of each kind (100; 3 with --quick)")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    main()
