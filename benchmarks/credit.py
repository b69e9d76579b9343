"""How well the value of (state, tool) at step k foretells its trajectory's success, on families never learned from.

    python benchmarks/credit.py [--data ../shared/data] [--clusters 64] [--quick] [--json] [--figure credit.png]
                                [--weight step|trajectory]

Values are learned from the families whose CRC-32 is no multiple of 3, in the order of the file, and asked at every tool
call of the others.  Beside them stand the mean success of the tool's calls and the global rate.  Every held-out step
weighs 1, as every step did that was learned from, or (`--weight trajectory`) every trajectory; intervals come from
resampling families.  Success is the only reward.  `earned by failures` and `earned by successes` are the mean credited
outcomes of the steps of failed and of successful trajectories, on the families learned from.
"""

import argparse
import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from selector.loops import LoopConfig, looping_steps
from selector.values import ActionValues, StepRun, ValueConfig, credited_outcomes
from trajstore.embedding import HashedEmbedder
from trajstore.experience import play_back
from trajstore.ingest import Rejection, read_trajectories
from trajstore.schema import Trajectory

Floats = NDArray[np.float64]
SETS: Mapping[str, tuple[str, str]] = {
    "tau2": ("tau2", ""),
    "InterCode bash": ("intercode", "intercode_bash"),
    "InterCode SQL": ("intercode", "intercode_sql"),
    "BFCL": ("bfcl", ""),
    "tau-bench": ("tau1", ""),
    "AgentRx": ("agentrx", ""),
}
METHODS: Mapping[str, ValueConfig] = {
    "SARSA(0)": ValueConfig("sarsa", trace=0.0),
    "SARSA(0.5)": ValueConfig("sarsa", trace=0.5),
    "SARSA(0.9)": ValueConfig("sarsa", trace=0.9),
    "SARSA(0.9), replacing": ValueConfig("sarsa", trace=0.9, trace_kind="replacing"),
    "SARSA(0.9), step 0.05": ValueConfig("sarsa", trace=0.9, step_size=0.05),
    "Q-learning": ValueConfig("q_learning"),
    "Monte Carlo": ValueConfig("monte_carlo"),
}
MOST_CENTRE_STATES = 20_000
RESAMPLES = 500
RIVAL = "tool's mean"


@dataclass(frozen=True, slots=True)
class Asked:
    """Steps of one set as numbers, shape (N,) each: what stood there, how it ended, its weight, and its family."""

    success_N: Floats
    weight_N: Floats
    family_N: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Scored:
    """AUC and log-loss (nats) of one method, and how far each lies above that of the tool's mean.

    Each with the ends of its 95 % interval.
    """

    auc: tuple[float, float, float]
    log_loss: tuple[float, float, float]
    auc_lead: tuple[float, float, float]
    log_loss_lead: tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Log:
    """A judged trajectory and its run."""

    trajectory: Trajectory
    run: StepRun


def main() -> None:
    """Learn, ask and print a table, or JSON lines."""
    options = parse()
    sets = {name: read_set(options, *where) for name, where in SETS.items()}
    results: dict[str, dict[str, Scored]] = {}
    pooled: list[tuple[dict[str, Floats], Asked]] = []
    for name, trajectories in sets.items():
        logs = as_runs(trajectories, options.clusters)
        predicted, asked, earned = foretell(logs, options.weight)
        pooled.append((predicted, asked))
        results[name] = scored(predicted, asked)
        show(name, results[name], asked, earned, as_json=options.json)
    predicted, asked = joined(pooled)
    results["all"] = scored(predicted, asked)
    show("all", results["all"], asked, {}, as_json=options.json)
    if options.figure:
        draw(results, options.figure)


def foretell(logs: Sequence[Log], weight: str) -> tuple[dict[str, Floats], Asked, dict[str, float]]:
    """What each method says at each step of the held-out families, and what the steps learned from were credited."""
    train = [log for log in logs if not is_held_out(log.trajectory)]
    test = [log for log in logs if is_held_out(log.trajectory)]
    states, tools = (np.concatenate([getattr(log.run, name) for log in test]) for name in ("states_T", "tools_T"))
    learned = {name: ActionValues(config) for name, config in METHODS.items()}
    for log in train:
        for values in learned.values():
            values.learn(log.run)
    # A value is discounted by the steps that are left, which are not known when it is asked: it is taken as it is.
    predicted = {name: np.clip(values.value(states, tools), 0.01, 0.99) for name, values in learned.items()}
    wins, tries = tool_means(train)
    rate = float((wins.sum() + 1.0) / (tries.sum() + 2.0))
    known = np.minimum(tools, len(tries))
    means = np.append((wins + 4.0 * rate) / (tries + 4.0), rate)
    predicted |= {RIVAL: means[known], "global rate": np.full(len(tools), rate)}
    return predicted, asked_of(test, weight), earnings([log.run for log in train])


def tool_means(train: Sequence[Log]) -> tuple[Floats, Floats]:
    """Successes and calls of each tool over all steps, shape (A,)."""
    tools = np.concatenate([log.run.tools_T for log in train])
    won = np.concatenate([np.full(len(log.run), float(bool(log.trajectory.success))) for log in train])
    return np.bincount(tools, won), np.bincount(tools).astype(np.float64)


def earnings(runs: Sequence[StepRun]) -> dict[str, float]:
    """Mean credited outcome of the steps of failed and of successful trajectories, under SARSA(0.9)."""
    credited = credited_outcomes(runs, METHODS["SARSA(0.9)"])
    of = {
        won: [each for run, each in zip(runs, credited, strict=True) if (run.rewards_T.sum() > 0) == won]
        for won in (False, True)
    }
    return {
        "earned by failures": float(np.concatenate([np.zeros(0), *of[False]]).mean()) if of[False] else 0.0,
        "earned by successes": float(np.concatenate([np.zeros(0), *of[True]]).mean()) if of[True] else 0.0,
    }


def asked_of(test: Sequence[Log], weight: str) -> Asked:
    """The truth behind each step."""
    families = {name: number for number, name in enumerate(sorted({log.trajectory.task.family for log in test}))}
    lengths = [len(log.run) for log in test]
    return Asked(
        np.repeat([float(bool(log.trajectory.success)) for log in test], lengths),
        np.repeat([1.0 if weight == "step" else 1.0 / length for length in lengths], lengths),
        np.repeat([families[log.trajectory.task.family] for log in test], lengths).astype(np.int64),
    )


def joined(parts: Sequence[tuple[dict[str, Floats], Asked]]) -> tuple[dict[str, Floats], Asked]:
    """All sets as one; families of different sets stay apart."""
    predicted = {name: np.concatenate([each[name] for each, _ in parts]) for name in parts[0][0]}
    firsts = np.cumsum([0, *(int(asked.family_N.max()) + 1 for _, asked in parts)])
    families = np.concatenate([asked.family_N + first for (_, asked), first in zip(parts, firsts[:-1], strict=True)])
    success, weight = (
        np.concatenate([getattr(asked, name) for _, asked in parts]) for name in ("success_N", "weight_N")
    )
    return predicted, Asked(success, weight, families)


def scored(predicted: Mapping[str, Floats], asked: Asked) -> dict[str, Scored]:
    """AUC and log-loss of each method, and its leads over the mean of the tool on the same resampled families."""
    drawn = {name: resampled(each, asked) for name, each in predicted.items()}
    rival = drawn[RIVAL]
    return {
        name: Scored(*(interval(each[:, at]) for at in (0, 1)), *(interval((each - rival)[:, at]) for at in (0, 1)))
        for name, each in drawn.items()
    }


def interval(values: Floats) -> tuple[float, float, float]:
    """The first value, and the ends of the range that holds 95 % of the others."""
    low, high = np.nanquantile(values[1:], [0.025, 0.975])
    return float(values[0]), float(low), float(high)


def resampled(predicted_N: Floats, asked: Asked) -> Floats:
    """AUC and log-loss with all families first, then with families drawn anew; shape (1 + resamples, 2)."""
    count = int(asked.family_N.max()) + 1
    draws = np.random.default_rng(0).multinomial(count, np.full(count, 1.0 / count), size=RESAMPLES)
    order = np.argsort(predicted_N, kind="stable")
    ranked, won = predicted_N[order], asked.success_N[order]
    starts = np.flatnonzero(np.append(True, np.diff(ranked) > 0))
    losses = -np.log(np.where(asked.success_N > 0, predicted_N, 1.0 - predicted_N))
    found = []
    for times in np.vstack([np.ones(count), draws]):
        weight = asked.weight_N * times[asked.family_N]
        found.append((weighted_auc(weight[order], won, starts), float((weight * losses).sum() / weight.sum())))
    return np.array(found)


def weighted_auc(weight_N: Floats, won_N: Floats, starts: NDArray[np.int64]) -> float:
    """P(a success is ranked above a failure), ties half; rows in rising order, `starts` where equal ones begin.

    >>> weighted_auc(np.ones(3), np.array([0.0, 1.0, 1.0]), np.array([0, 1]))
    1.0
    """
    wins, losses = np.add.reduceat(weight_N * won_N, starts), np.add.reduceat(weight_N * (1.0 - won_N), starts)
    below = np.cumsum(losses) - losses
    total = wins.sum() * losses.sum()
    return float((wins * (below + losses / 2.0)).sum() / total) if total > 0 else float("nan")


def as_runs(trajectories: Sequence[Trajectory], clusters: int) -> list[Log]:
    """Runs over the tool calls of judged trajectories; clusters are found on the families learned from alone."""
    playbacks = [play_back(one) for one in trajectories]
    calls = [[at for at, step in enumerate(one.steps) if step.kind == "tool"] for one in trajectories]
    kept = [at for at, one in enumerate(trajectories) if calls[at] and one.success is not None]
    texts = [[playbacks[at].state_text(step) for step in calls[at]] for at in kept]
    vectors = HashedEmbedder(256).embed([text for some in texts for text in some])
    owner = np.repeat(np.arange(len(kept)), [len(some) for some in texts])
    learned_from = np.array([not is_held_out(trajectories[at]) for at in kept])[owner]
    states = cluster_numbers(vectors, learned_from, clusters)
    numbers: dict[str, int] = {}
    ends = np.cumsum([len(some) for some in texts])
    logs = []
    for at, states_T in zip(kept, np.split(states, ends[:-1]), strict=True):
        tools_T = np.array([numbers.setdefault(trajectories[at].steps[step].tool, len(numbers)) for step in calls[at]])
        rewards_T = np.zeros(len(tools_T))
        rewards_T[-1] = float(bool(trajectories[at].success))
        looping = looping_steps(playbacks[at].past, LoopConfig())[calls[at]]
        logs.append(Log(trajectories[at], StepRun(states_T, tools_T, rewards_T, looping_T=looping)))
    return logs


def cluster_numbers(vectors: NDArray[np.float32], learned_from: NDArray[np.bool_], count: int) -> NDArray[np.int64]:
    """Spherical k-means (faiss, seed 0) on the rows learned from; the nearest centre of every row."""
    import faiss  # noqa: PLC0415 - heavy

    rows = vectors[learned_from]
    sample = rows[np.random.default_rng(0).permutation(len(rows))[:MOST_CENTRE_STATES]]
    means = faiss.Kmeans(vectors.shape[1], min(count, len(sample)), niter=15, seed=0, spherical=True)
    means.train(np.ascontiguousarray(sample))
    return np.asarray(means.index.search(vectors, 1)[1][:, 0], np.int64)


def is_held_out(trajectory: Trajectory) -> bool:
    """Whether nothing is learned from this trajectory's family."""
    return zlib.crc32(trajectory.task.family.encode()) % 3 == 0


def read_set(options: argparse.Namespace, file: str, domain: str) -> list[Trajectory]:
    """The trajectories of one set, every one, or about 300 of them."""
    found = [
        one for one in read_trajectories([str(options.data / f"{file}.jsonl.gz")]) if not isinstance(one, Rejection)
    ]
    kept = [one for one in found if not domain or one.metadata.get("domain") == domain]
    return kept[:: max(1, len(kept) // 300)] if options.quick else kept


def show(name: str, results: Mapping[str, Scored], asked: Asked, earned: Mapping[str, float], *, as_json: bool) -> None:
    """The rows of one set."""
    for method, one in results.items():
        if as_json:
            print(json.dumps({"set": name, "method": method, "steps": len(asked.success_N), **asdict(one)}), flush=True)
            continue
        lead = f"lead {one.auc_lead[0]:+.3f} ({one.auc_lead[1]:+.3f} to {one.auc_lead[2]:+.3f})"
        print(f"{name:15} {method:22} AUC {in_words(one.auc)} {lead}  log-loss {in_words(one.log_loss)}", flush=True)
    if earned and not as_json:
        print(f"{name:15} credit: " + ", ".join(f"{key} {value:.3f}" for key, value in earned.items()), flush=True)


def in_words(value: tuple[float, float, float]) -> str:
    """A value with its interval."""
    return f"{value[0]:.3f} ({value[1]:.3f} to {value[2]:.3f})"


def draw(results: Mapping[str, Mapping[str, Scored]], path: Path) -> None:
    """AUC of each method, a panel a set."""
    import matplotlib as mpl  # noqa: PLC0415 - only where a figure is asked for

    mpl.use("Agg")
    import matplotlib.pyplot as plt  # noqa: PLC0415 - as above

    figure, panels = plt.subplots(1, len(results), figsize=(2.4 * len(results), 3.5), sharey=True, layout="constrained")
    for panel, (name, methods) in zip(panels, results.items(), strict=True):
        places = np.arange(len(methods))
        middle, low, high = (np.array([one.auc[at] for one in methods.values()]) for at in range(3))
        panel.errorbar(middle, places, xerr=[middle - low, high - middle], fmt="o")
        panel.axvline(0.5, color="grey", linewidth=0.8)
        panel.set_title(name)
        panel.set_xlabel("AUC")
        panel.set_yticks(places, list(methods))
    figure.savefig(path, dpi=150)


def parse() -> argparse.Namespace:
    """The command's options."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--clusters", type=int, default=64)
    parser.add_argument("--weight", choices=["step", "trajectory"], default="step")
    parser.add_argument("--quick", action="store_true", help="about 300 trajectories a set")
    parser.add_argument("--json", action="store_true", help="one JSON object a set and method")
    parser.add_argument("--figure", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    main()
