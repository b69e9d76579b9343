"""What a baseline that knows the policy changes on real logs, where one group holds attempts of many policies.

    python benchmarks/policy_adjusted.py [--data ../shared/data] [--quick] [--json] [--figure adjusted.png]

For each set, over trajectories with a reward (groups are tasks, policies are agents):

- `signs`: share of rollouts with signal whose advantage changes sign between leave-one-out and policy-adjusted;
- `explained`: share of the advantages' variance that lies between policies (R² of the policy's mean, adjusted for the
  number of policies; 0: the advantage says nothing about who acted, below 0: less than chance would);
- `error`: root mean squared error in foretelling the rewards of held-out rollouts (5 folds over rollouts, seed 0) by
  the task's mean, drawn to the mean of all with the strength that foretells best, and by task and policy, both fitted
  on the other folds alone; beside it the plain mean of the task (the mean of all where it has no other rollout).

Intervals (95 %) are ± 1.96 standard deviations over resampled tasks, with all their rollouts (a percentile range would
be off: tasks drawn twice raise R² by themselves); the fits are not repeated.  Where one of two policies never loses
(the reference of BFCL), a group has signal only where the other lost: no baseline can part action from policy there.
"""

import argparse
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from grpo.advantages import best_strengths, refine_rewards
from trajstore.ingest import Rejection, read_trajectories
from trajstore.schema import Trajectory

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Interval = tuple[float, float, float]
SETS: Mapping[str, tuple[str, str]] = {
    "tau2": ("tau2", ""),
    "tau-bench": ("tau1", ""),
    "InterCode SQL": ("intercode", "intercode_sql"),
    "InterCode bash": ("intercode", "intercode_bash"),
    "HotpotQA": ("hotpot", ""),
    "BFCL": ("bfcl", ""),
}
RESAMPLES = 500
FOLDS = 5
SWEEPS = 2000


@dataclass(frozen=True, slots=True)
class Log:
    """Rollouts of one set as numbers, shape (R,) each."""

    rewards_R: Floats
    tasks_R: Integers
    policies_R: Integers


@dataclass(frozen=True, slots=True)
class Found:
    """The figures of one set: value, and the ends of its interval."""

    rollouts: int
    tasks: int
    policies: int
    with_signal: int
    task_strength: float
    policy_strength: float
    signs: Interval
    explained_leave_one_out: Interval
    explained_adjusted: Interval
    error_task_mean: Interval
    error_task: Interval
    error_task_and_policy: Interval
    error_difference: Interval


def main() -> None:
    """Read, compare and print a table, or JSON lines."""
    options = parse()
    results = {}
    for name, (file, domain) in SETS.items():
        log = read_log(options.data / f"{file}.jsonl.gz", domain, quick=options.quick)
        results[name] = measured(log, 100 if options.quick else RESAMPLES)
        show(name, results[name], as_json=options.json)
    if options.figure:
        draw(results, options.figure)


def read_log(path: Path, domain: str, *, quick: bool) -> Log:
    """The scored trajectories of one file; of many, every so many-th task where it should be quick."""
    found = [one for one in read_trajectories([str(path)]) if not isinstance(one, Rejection)]
    scored = [one for one in found if _reward(one) is not None and (not domain or one.metadata.get("domain") == domain)]
    tasks_R = np.unique([one.task.group for one in scored], return_inverse=True)[1]
    stride = max(1, (int(tasks_R.max()) + 1) // 150) if quick else 1
    kept = [at for at, task in enumerate(tasks_R) if task % stride == 0]
    return Log(
        np.array([_reward(scored[at]) for at in kept], np.float64),
        np.unique(tasks_R[kept], return_inverse=True)[1],
        np.unique([f"{scored[at].source}\n{scored[at].agent}" for at in kept], return_inverse=True)[1],
    )


def _reward(trajectory: Trajectory) -> float | None:
    if trajectory.reward is not None or trajectory.success is None:
        return trajectory.reward
    return float(trajectory.success)


def measured(log: Log, resamples: int) -> Found:
    """All figures of one set."""
    strengths = best_strengths(log.rewards_R, log.tasks_R, log.policies_R)
    plain = refine_rewards(log.rewards_R, log.tasks_R)
    adjusted = refine_rewards(log.rewards_R, log.tasks_R, baseline=strengths, policies_R=log.policies_R)
    signal = plain.has_signal_R
    changed_R = (np.sign(plain.advantages_R) != np.sign(adjusted.advantages_R)).astype(np.float64)
    squares = held_out_squares(log)

    def bootstrap(statistic: Callable[[Integers], float], rows: Integers) -> Interval:
        return over_tasks(statistic, rows, log.tasks_R, resamples)

    with_signal, every = np.flatnonzero(signal), np.arange(len(log.rewards_R))

    def share(rows: Integers) -> float:
        return float(changed_R[rows].mean())

    def explained(advantages_R: Floats) -> Interval:
        return bootstrap(lambda rows: between_policies(advantages_R[rows], log.policies_R[rows]), with_signal)

    def error(of: str) -> Interval:
        return bootstrap(lambda rows: float(np.sqrt(squares[of][rows].mean())), every)

    def lead(rows: Integers) -> float:
        return float(np.sqrt(squares["task and policy"][rows].mean()) - np.sqrt(squares["task"][rows].mean()))

    return Found(
        len(log.rewards_R),
        int(log.tasks_R.max()) + 1,
        int(log.policies_R.max()) + 1,
        int(signal.sum()),
        strengths.task_strength,
        strengths.policy_strength,
        bootstrap(share, with_signal),
        explained(plain.advantages_R),
        explained(adjusted.advantages_R),
        error("task mean"),
        error("task"),
        error("task and policy"),
        bootstrap(lead, every),
    )


def held_out_squares(log: Log) -> dict[str, Floats]:
    """Squared errors of each baseline on every rollout, foretold from the folds that do not hold it."""
    folds_R = np.random.default_rng(0).permutation(len(log.rewards_R)) % FOLDS
    squares = {name: np.zeros(len(log.rewards_R)) for name in ("task mean", "task", "task and policy")}
    alone_R = np.zeros_like(log.policies_R)
    for fold in range(FOLDS):
        train, test = np.flatnonzero(folds_R != fold), np.flatnonzero(folds_R == fold)
        foretold = {
            "task mean": task_means(log, train, test),
            "task": foretell(log, log.tasks_R, alone_R, train, test),
            "task and policy": foretell(log, log.tasks_R, log.policies_R, train, test),
        }
        for name, predicted in foretold.items():
            squares[name][test] = (log.rewards_R[test] - predicted) ** 2
    return squares


def foretell(log: Log, tasks_R: Integers, policies_R: Integers, train: Integers, test: Integers) -> Floats:
    """Rewards that the additive model, fitted to `train`, expects of `test`; each effect in turn until none moves."""
    strengths = best_strengths(log.rewards_R[train], tasks_R[train], policies_R[train])
    tasks, policies = tasks_R[train], policies_R[train]
    mean, of_task, of_policy = 0.0, np.zeros(int(tasks_R.max()) + 1), np.zeros(int(policies_R.max()) + 1)
    for _ in range(SWEEPS):
        before = of_policy
        mean = float(np.mean(log.rewards_R[train] - of_task[tasks] - of_policy[policies]))
        of_task = shrunk(
            log.rewards_R[train] - mean - of_policy[policies], tasks, len(of_task), strengths.task_strength
        )
        left = log.rewards_R[train] - mean - of_task[tasks]
        of_policy = shrunk(left, policies, len(of_policy), strengths.policy_strength)
        if np.abs(of_policy - before).max() < 1e-10:
            break
    return np.asarray(mean + of_task[tasks_R[test]] + of_policy[policies_R[test]], np.float64)


def shrunk(left: Floats, numbers: Integers, size: int, strength: float) -> Floats:
    """Σ left / (n + strength) of each number."""
    return np.asarray(np.bincount(numbers, left, size) / (np.bincount(numbers, minlength=size) + strength), np.float64)


def task_means(log: Log, train: Integers, test: Integers) -> Floats:
    """The plain mean of each task over the training rollouts, the mean of all where it has none."""
    counts = np.bincount(log.tasks_R[train], minlength=int(log.tasks_R.max()) + 1)
    sums = np.bincount(log.tasks_R[train], log.rewards_R[train], len(counts))
    means = np.where(counts > 0, sums / np.maximum(counts, 1), log.rewards_R[train].mean())
    return np.asarray(means[log.tasks_R[test]], np.float64)


def between_policies(values_R: Floats, policies_R: Integers) -> float:
    """Adjusted R² of the policies' means: 1 − (1 − R²)(R − 1) / (R − P)."""
    counts = np.bincount(policies_R)
    means = np.bincount(policies_R, values_R) / np.maximum(counts, 1)
    total = float(((values_R - values_R.mean()) ** 2).sum())
    within = float(((values_R - means[policies_R]) ** 2).sum())
    freedom = len(values_R) - int((counts > 0).sum())
    return 1.0 - within / total * (len(values_R) - 1) / freedom if total > 0 and freedom > 0 else 0.0


def over_tasks(statistic: Callable[[Integers], float], rows: Integers, tasks_R: Integers, resamples: int) -> Interval:
    """The statistic on some rollouts, ± 1.96 of its standard deviation where their tasks are drawn anew."""
    rng = np.random.default_rng(0)
    ordered = rows[np.argsort(tasks_R[rows], kind="stable")]
    members = np.split(ordered, np.flatnonzero(np.diff(tasks_R[ordered])) + 1)
    draws = [
        statistic(np.concatenate([members[at] for at in rng.integers(len(members), size=len(members))]))
        for _ in range(resamples)
    ]
    value, reach = statistic(rows), 1.96 * float(np.std(draws, ddof=1))
    return value, value - reach, value + reach


def show(name: str, found: Found, *, as_json: bool) -> None:
    """The figures of one set."""
    if as_json:
        print(json.dumps({"set": name, **asdict(found)}), flush=True)
        return
    strengths = f"{found.task_strength:g} and {found.policy_strength:g}"
    print(
        f"{name}: {found.rollouts} rollouts ({found.with_signal} with signal), {found.tasks} tasks, "
        f"{found.policies} policies; strengths {strengths}"
    )
    for label, interval in asdict(found).items():
        if isinstance(interval, tuple):
            print(f"    {label:24} {interval[0]:+.3f} ({interval[1]:+.3f} to {interval[2]:+.3f})", flush=True)


def draw(results: Mapping[str, Found], path: Path) -> None:
    """Variance of the advantages between policies, under both baselines."""
    import matplotlib as mpl  # noqa: PLC0415 - only where a figure is asked for

    mpl.use("Agg")
    import matplotlib.pyplot as plt  # noqa: PLC0415 - as above

    figure, axes = plt.subplots(figsize=(7, 3.5), layout="constrained")
    for shift, name in ((-0.12, "explained_leave_one_out"), (0.12, "explained_adjusted")):
        middle, low, high = np.array([getattr(one, name) for one in results.values()]).T
        places = np.arange(len(results)) + shift
        axes.errorbar(middle, places, xerr=[middle - low, high - middle], fmt="o", label=name.replace("_", " "))
    axes.set_yticks(range(len(results)), list(results))
    axes.axvline(0.0, color="grey", linewidth=0.8)
    axes.set_xlabel("share of the advantages' variance between policies")
    axes.legend()
    figure.savefig(path, dpi=150)


def parse() -> argparse.Namespace:
    """The command's options."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--quick", action="store_true", help="about 150 tasks a set, fewer resamples")
    parser.add_argument("--json", action="store_true", help="one JSON object a set")
    parser.add_argument("--figure", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    main()
