"""How high credit ranks the step that people marked as the root cause of a failure (AgentRx), beside position alone.

    python benchmarks/step_credit.py [--data ../shared/data] [--seed 0] [--quick] [--json] [--figure step_credit.png]

Steps of each marked run are ranked from the lowest credit up; equal ones count as if they stood in random order.
Values come from AgentRx and the retail part of tau2 without the families of the fold that is asked, and step groups
compare with other families only.  Intervals (95 %) come from resampling runs; `lead` is the hit@1 above the first write
call on the same resampled runs.  Where all reward is terminal and 0, a step group's advantage is the negative mean
return of like states: it says which state was promising, not which action spoiled it.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from grpo.step_credit import batch_advantages, compute_step_rewards
from grpo.step_groups import NearConfig, StepReturns, equal_state_advantages, near_state_advantages
from grpo.value_function import ValueFitConfig, ValueFunction, explained_variance
from selector.values import ActionValues, ValueConfig, final_reward_run
from trajstore.embedding import HashedEmbedder
from trajstore.ingest import Rejection, read_trajectories
from trajstore.schema import Step, Trajectory

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
WRITES = ("cancel_", "exchange_", "modify_", "return_")
DISCOUNT, TRACE = 0.99, 0.9
RESAMPLES = 2000
RIVAL = "position: first write"


@dataclass(frozen=True, slots=True)
class Runs:
    """B judged trajectories, and their N steps one after the other: features, vectors, tools, and where each ends."""

    trajectories: tuple[Trajectory, ...]
    features_ND: Floats
    vectors_ND: NDArray[np.float32]
    tools_N: Integers
    before_N: Integers
    families_N: Integers
    ends_B: Integers

    def rows(self, run: int) -> slice:
        """Rows of one run."""
        return slice(int(self.ends_B[run - 1]) if run else 0, int(self.ends_B[run]))


@dataclass(frozen=True, slots=True)
class Ranked:
    """Hit@1, hit@3, mean reciprocal rank and the lead in hit@1: value and the ends of its 95 % interval."""

    hit_1: tuple[float, float, float]
    hit_3: tuple[float, float, float]
    reciprocal_rank: tuple[float, float, float]
    lead: tuple[float, float, float]


def main() -> None:
    """Rank the steps of every marked run by each credit and print the table."""
    options = parse()
    runs = read_runs(options.data)
    marked = [at for at, one in enumerate(runs.trajectories) if marked_step(one) is not None]
    values_N, actions_N, explained = learned_values(runs, options.folds, options.epochs, options.seed)
    by_name = position_credits(runs) | learned_credits(runs, values_N, actions_N) | group_credits(runs)
    results = {name: ranked(credit, by_name[RIVAL], runs, marked) for name, credit in by_name.items()}
    show(results, len(marked), len(runs.trajectories), explained, as_json=options.json)
    if options.figure:
        draw(results, options.figure)


def parse() -> argparse.Namespace:
    """Options of the command line."""
    parser = argparse.ArgumentParser(description="Rank marked root-cause steps by credit.")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="two folds and ten epochs")
    parser.add_argument("--json", action="store_true", help="JSON lines instead of a table")
    parser.add_argument("--figure", type=Path, help="write hit@1 as a figure here")
    options = parser.parse_args()
    options.folds, options.epochs = (2, 10) if options.quick else (5, 100)
    return options


def read_runs(data: Path) -> Runs:
    """AgentRx and the retail part of tau2, as far as somebody judged them."""
    found = read_trajectories([data / "agentrx.jsonl.gz", data / "tau2.jsonl.gz"])
    kept = [one for one in found if not isinstance(one, Rejection) and one.success is not None and one.steps]
    kept = [one for one in kept if one.metadata.get("domain") == "retail"]
    texts = [state_text(one, at) for one in kept for at in range(len(one.steps))]
    vectors = HashedEmbedder(256).embed(texts)
    places = np.concatenate([np.arange(len(one.steps)) / 20.0 for one in kept])[:, None]
    names = sorted({step.tool for one in kept for step in one.steps})
    tools = [[names.index(step.tool) + 1 for step in one.steps] for one in kept]
    families = sorted({one.task.family for one in kept})
    lengths = [len(one.steps) for one in kept]
    return Runs(
        tuple(kept),
        np.hstack([16.0 * vectors, places]).astype(np.float64),
        vectors,
        np.concatenate(tools).astype(np.int64),
        np.concatenate([[0, *each[:-1]] for each in tools]).astype(np.int64),
        np.repeat([families.index(one.task.family) for one in kept], lengths).astype(np.int64),
        np.cumsum(lengths),
    )


def state_text(one: Trajectory, at: int) -> str:
    """What was known before step `at`: the task, the newest utterance, the last tool and what it brought."""
    last = f"{one.steps[at - 1].tool} {one.steps[at - 1].observation[:300]}" if at else "start"
    return f"{one.task.text} {one.steps[at].state} {last}"


def marked_step(one: Trajectory) -> int | None:
    """The step that people marked as the root cause; None where they marked none."""
    failure = one.metadata.get("failure")
    return int(failure["step"]) if failure and failure.get("step") is not None else None


def learned_values(runs: Runs, folds: int, epochs: int, seed: int) -> tuple[Floats, Floats, float]:
    """V(state) and SARSA's Q(last tool, tool) of each step, from other folds; V's explained variance."""
    lengths = np.diff(runs.ends_B, prepend=0)
    fold_N = np.random.default_rng(seed).permutation(int(runs.families_N.max()) + 1)[runs.families_N] % folds
    won_N = np.repeat([float(bool(one.success)) for one in runs.trajectories], lengths)
    values_N, actions_N = np.zeros(len(won_N)), np.zeros(len(won_N))
    for fold in range(folds):
        asked = fold_N == fold
        value = ValueFunction(runs.features_ND.shape[1], seed=seed)
        value.fit(runs.features_ND[~asked], won_N[~asked], runs.families_N[~asked], ValueFitConfig(epochs=epochs))
        values_N[asked] = value.predict(runs.features_ND[asked])
        table = ActionValues(ValueConfig())
        for run, one in enumerate(runs.trajectories):
            rows = runs.rows(run)
            if not asked[rows][0]:
                table.learn(final_reward_run(runs.before_N[rows], runs.tools_N[rows], float(bool(one.success))))
        actions_N[asked] = table.value(runs.before_N[asked], runs.tools_N[asked])
    return values_N, actions_N, explained_variance(values_N, won_N)


def learned_credits(runs: Runs, values_N: Floats, actions_N: Floats) -> dict[str, Floats]:
    """Credits of the value function and of SARSA; a drop compares with the step before the end at the last one."""
    is_last = np.zeros(len(values_N), np.bool_)
    is_last[runs.ends_B - 1] = True
    rewards = np.where(is_last, [float(bool(one.success)) for one in owners(runs)], 0.0)
    stops = np.zeros(len(runs.ends_B))
    return {
        "GAE, lambda 0.9": batch_advantages(rewards, values_N, runs.ends_B, stops, discount=DISCOUNT, trace=TRACE),
        "GAE, lambda 0": batch_advantages(rewards, values_N, runs.ends_B, stops, discount=DISCOUNT, trace=0.0),
        "value drop": np.where(is_last, 0.0, np.append(values_N[1:], 0.0) - values_N),
        "SARSA value": actions_N,
        "SARSA drop": np.where(is_last, 0.0, np.append(actions_N[1:], 0.0) - actions_N),
        "SARSA less V": actions_N - values_N,
    }


def owners(runs: Runs) -> list[Trajectory]:
    """The trajectory of each step."""
    return [one for one in runs.trajectories for _ in one.steps]


def group_credits(runs: Runs) -> dict[str, Floats]:
    """Advantages over equal states (the last tool) and near ones, compared with other families only."""
    returns = [compute_step_rewards(float(bool(one.success)), one.steps, discount=0.95) for one in runs.trajectories]
    steps = StepReturns(np.concatenate(returns), runs.families_N, np.zeros(len(runs.tools_N), np.int64))
    equal = equal_state_advantages(steps, runs.before_N, leave_one_out=True)
    near = near_state_advantages(steps, runs.vectors_ND, NearConfig(0.5, 32, "anywhere"))
    share = f"{near.singleton_fraction:.0%} alone"
    return {"equal states": equal.advantages_N, f"near states ({share})": near.advantages_N}


def position_credits(runs: Runs) -> dict[str, Floats]:
    """Credits that know positions alone: −1 at the step that is named, 0 elsewhere."""

    def named(is_meant: Sequence[bool], *, last: bool = False) -> Floats:
        places = np.flatnonzero(is_meant)
        credit = np.zeros(len(is_meant))
        credit[places[-1:] if last else places[:1]] = -1.0
        return credit

    writes = [[step.tool.startswith(WRITES) for step in one.steps] for one in runs.trajectories]
    errors = [[is_error(step) for step in one.steps] for one in runs.trajectories]
    return {
        "position: uniform": np.zeros(len(runs.tools_N)),
        "position: first error": np.concatenate([named(each) for each in errors]),
        RIVAL: np.concatenate([named(each) for each in writes]),
        "position: last step": np.concatenate([named([True] * len(one.steps), last=True) for one in runs.trajectories]),
        "position: last write": np.concatenate([named(each, last=True) for each in writes]),
    }


def is_error(step: Step) -> bool:
    """Whether the log or the observation says that the call failed."""
    return step.has_failed or step.observation.lower().startswith("error")


def ranks_of(credit_N: Floats, runs: Runs, marked: Sequence[int]) -> Floats:
    """Hit@1, hit@3 and reciprocal rank expected of each marked run when ties are broken at random; shape (B, 3)."""
    found = []
    for run in marked:
        credit_T = credit_N[runs.rows(run)]
        own = credit_T[marked_step(runs.trajectories[run])]
        below, tied = int((credit_T < own).sum()), int((credit_T == own).sum())
        hits = [min(max((k - below) / tied, 0.0), 1.0) for k in (1, 3)]
        found.append([*hits, float(np.mean(1.0 / np.arange(below + 1, below + tied + 1)))])
    return np.array(found)


def ranked(credit_N: Floats, rival_N: Floats, runs: Runs, marked: Sequence[int]) -> Ranked:
    """The figures of one credit with their intervals over marked runs."""
    own_B3, rival_B3 = (ranks_of(each, runs, marked) for each in (credit_N, rival_N))
    columns_B4 = np.hstack([own_B3, own_B3[:, :1] - rival_B3[:, :1]])
    drawn = np.random.default_rng(0).integers(0, len(marked), (RESAMPLES, len(marked)))
    means, lows, highs = columns_B4.mean(0), *np.quantile(columns_B4[drawn].mean(1), [0.025, 0.975], axis=0)
    return Ranked(*((float(a), float(b), float(c)) for a, b, c in zip(means, lows, highs, strict=True)))


def show(results: Mapping[str, Ranked], marked: int, runs: int, explained: float, *, as_json: bool) -> None:
    """Print the table, or JSON lines."""
    if as_json:
        for name, row in results.items():
            print(json.dumps({"credit": name, "marked": marked, "explained_variance": explained, **asdict(row)}))
        return
    print(f"{marked} marked runs of {runs}; explained variance of V on families not learned from: {explained:.3f}\n")
    print(f"{'credit':<28}{'hit@1':>20}{'hit@3':>20}{'MRR':>20}{'lead in hit@1':>22}")
    for name, row in results.items():
        cells = [f"{a:.2f} [{b:.2f}, {c:.2f}]" for a, b, c in (row.hit_1, row.hit_3, row.reciprocal_rank)]
        lead = "{:+.2f} [{:+.2f}, {:+.2f}]".format(*row.lead)
        print(f"{name:<28}" + "".join(f"{cell:>20}" for cell in cells) + f"{lead:>22}")


def draw(results: Mapping[str, Ranked], path: Path) -> None:
    """Hit@1 of each credit with its interval."""
    import matplotlib  # noqa: PLC0415 - heavy

    matplotlib.use("Agg")
    from matplotlib import pyplot  # noqa: PLC0415 - heavy

    values, lows, highs = np.array([row.hit_1 for row in results.values()]).T
    figure, axes = pyplot.subplots(figsize=(7, 4))
    axes.barh(list(results), values, xerr=[values - lows, highs - values])
    axes.set_xlabel("hit@1 of the marked step")
    axes.invert_yaxis()
    figure.tight_layout()
    figure.savefig(path)


if __name__ == "__main__":
    main()
