"""What is made of one logged batch of known propensities: losses of `grpo` beside value models, from clone to oracle.

    python benchmarks/logged_batch.py [--quick] [--json] [--figure logged_batch.png] [--seeds 20] [--first-seed 0]
        [--world straight|curved] [--rollouts 8]

A task is a vector of 12 entries, an attempt chooses one of 10 tools and succeeds with σ(a number a tool): `straight`,
linear in the vector, or `curved`, with absolute values in it.  The log holds 300 tasks with 8 attempts each (with
`--rollouts 1`: 2,400 tasks tried once, and the baseline is what similar tasks earned), made by a policy that prefers
tools for no reason (quality 0.0) or knows a little (0.4).  Every loss trains the same network of 32 units for the same
250 updates; success is the true probability on 4,000 new tasks.  Seeds draw everything anew; the last column is the
paired difference to "direct, one network" with a 95 % t interval.  Settings were chosen on seeds 100 to 109.
"""

import argparse
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import expit, log_softmax
from scipy.stats import t as student
from torch import Tensor

from grpo.advantages import refine_rewards, retrieval_baseline
from grpo.losses import clipped_surrogate, doubly_robust, positive_only, reinforce, truncated_importance
from grpo.value_models import StackedValues, fit_values

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

ENTRIES, TOOLS, ATTEMPTS, NEW_TASKS = 12, 10, 2400, 4000
UPDATES, HIDDEN, LEARNING_RATE, WEIGHT_DECAY = 250, 32, 0.02, 1e-4
NEIGHBOURS = 16
QUALITIES = (0.0, 0.4)
REFERENCE = "direct, one network"
SHARPNESS = 0.05


@dataclass(frozen=True, slots=True, eq=False)
class Log:
    """N attempts and M new tasks; `successes_MK` are true, `logging_MK` is what the logger does there."""

    states_ND: Floats
    tasks_N: Integers
    log_propensities_NK: Floats
    chosen_N: Integers
    rewards_N: Floats
    new_states_MD: Floats
    successes_MK: Floats
    logging_MK: Floats

    @property
    def logged(self) -> Floats:
        """Log-propensity of what was chosen, shape (N,)."""
        return self.log_propensities_NK[np.arange(len(self.chosen_N)), self.chosen_N]


@dataclass(frozen=True, slots=True)
class Score:
    """Mean success of one way over the seeds, its 95 % half width, and the paired difference to the reference."""

    quality: float
    way: str
    success: float
    half_width: float
    difference: float
    difference_half_width: float
    regret: float


class Prepared:
    """A log as tensors, with advantages and the value models that several ways share."""

    def __init__(self, log: Log, seed: int) -> None:
        self.log = log
        self.seed = seed
        self.states = torch.from_numpy(log.states_ND.astype(np.float32))
        self.chosen = torch.from_numpy(log.chosen_N)
        self.behaviour = torch.from_numpy(log.logged.astype(np.float32))
        self.rewards = torch.from_numpy(log.rewards_N.astype(np.float32))
        self.advantages = torch.from_numpy(advantages(log).astype(np.float32))
        self.mask = torch.ones_like(self.chosen, dtype=torch.bool)
        self.network = value_network(log, seed)
        self.simple_NK = network_values(self.network, log.states_ND)
        self.stacked: StackedValues = fit_values(
            log.states_ND, log.chosen_N, log.rewards_N, log.tasks_N, np.random.default_rng([seed, 1])
        )

    def taken(self, log_probs_NK: Tensor) -> Tensor:
        """Log-probability of what was chosen, shape (N,)."""
        return log_probs_NK.gather(1, self.chosen[:, None])[:, 0]


Objective = Callable[[Prepared, Tensor], Tensor]
Way = Callable[[Prepared], Floats]


def main() -> None:
    """Print a table of both logging policies, or one JSON object."""
    options = parse()
    torch.set_num_threads(1)
    seeds = range(options.first_seed, options.first_seed + (2 if options.quick else options.seeds))
    scores = [score for quality in QUALITIES for score in scored(quality, seeds, options.world, options.rollouts)]
    if options.json:
        settings = {"world": options.world, "rollouts": options.rollouts, "seeds": [seeds.start, seeds.stop - 1]}
        print(json.dumps(settings | {"scores": [asdict(score) for score in scores]}))
    else:
        print_table(scores, options, seeds)
    if options.figure:
        draw(scores, options.figure)


def scored(quality: float, seeds: range, world: str, rollouts: int) -> list[Score]:
    """Every way on the log of every seed."""
    found = [successes(drawn(seed, quality, world, rollouts), seed) for seed in seeds]
    columns = {way: np.array([one[way] for one in found]) for way in found[0]}
    return [_score(quality, way, column, columns) for way, column in columns.items()]


def _score(quality: float, way: str, column_S: Floats, columns: Mapping[str, Floats]) -> Score:
    differences_S = column_S - columns[REFERENCE]
    return Score(
        quality,
        way,
        float(column_S.mean()),
        half_width(column_S),
        float(differences_S.mean()),
        half_width(differences_S),
        float((columns["oracle"] - column_S).mean()),
    )


def half_width(numbers_S: Floats) -> float:
    """Half of the 95 % t interval of a mean."""
    return float(student.ppf(0.975, len(numbers_S) - 1) * numbers_S.std(ddof=1) / len(numbers_S) ** 0.5)


def successes(log: Log, seed: int) -> dict[str, float]:
    """True success of each way on new tasks."""
    prepared = Prepared(log, seed)
    policies = {"logging policy": log.logging_MK} | {name: way(prepared) for name, way in WAYS.items()}
    policies["oracle"] = greedy(log.successes_MK)
    return {name: float((policy * log.successes_MK).sum(axis=1).mean()) for name, policy in policies.items()}


def drawn(seed: int, quality: float, world: str, rollouts: int) -> Log:
    """A world and its log."""
    rng = np.random.default_rng(seed)
    weights_KD, ease_K = 0.9 * rng.standard_normal((TOOLS, ENTRIES)), 0.3 * rng.standard_normal(TOOLS)
    bends_KD, taste_K = 0.9 * rng.standard_normal((TOOLS, ENTRIES)), rng.standard_normal(TOOLS)
    tasks_N = np.repeat(np.arange(ATTEMPTS // rollouts), rollouts)
    states_ND = rng.standard_normal((ATTEMPTS // rollouts, ENTRIES))[tasks_N]
    new_MD = rng.standard_normal((NEW_TASKS, ENTRIES))

    def success(states_ND: Floats) -> Floats:
        if world == "curved":
            bent_NK = 0.6 * np.abs(states_ND @ bends_KD.T) - 1.5
            return np.asarray(expit(0.35 * states_ND @ weights_KD.T + bent_NK + ease_K), np.float64)
        return np.asarray(expit(0.6 * states_ND @ weights_KD.T + ease_K - 1.0), np.float64)

    def logging(states_ND: Floats) -> Floats:
        return np.asarray(log_softmax(quality * states_ND @ weights_KD.T + taste_K, axis=1), np.float64)

    log_propensities_NK = logging(states_ND)
    gumbels_NK = rng.gumbel(size=log_propensities_NK.shape)
    chosen_N = (log_propensities_NK + gumbels_NK).argmax(axis=1)
    earned_N = (rng.random(ATTEMPTS) < success(states_ND)[np.arange(ATTEMPTS), chosen_N]).astype(np.float64)
    return Log(
        states_ND, tasks_N, log_propensities_NK, chosen_N, earned_N, new_MD, success(new_MD), np.exp(logging(new_MD))
    )


def advantages(log: Log) -> Floats:
    """Reward less the mean of the task's other rollouts, or, of tasks tried once, of the most similar tasks."""
    if len(np.unique(log.tasks_N)) < ATTEMPTS:
        return refine_rewards(log.rewards_N, log.tasks_N).advantages_R
    squares_N = (log.states_ND**2).sum(axis=1)
    distances_NN = squares_N[:, None] + squares_N - 2.0 * log.states_ND @ log.states_ND.T
    np.fill_diagonal(distances_NN, np.inf)
    nearest_NK = np.argpartition(distances_NN, NEIGHBOURS, axis=1)[:, :NEIGHBOURS]
    return log.rewards_N - retrieval_baseline(log.rewards_N, nearest_NK, np.ones(nearest_NK.shape)).value_R


def value_network(log: Log, seed: int) -> torch.nn.Module:
    """One network fitted to the rewards of all decisions for a fixed time."""
    network = fresh_network(seed + 1)
    states, rewards = (torch.from_numpy(each.astype(np.float32)) for each in (log.states_ND, log.rewards_N))
    chosen = torch.from_numpy(log.chosen_N)[:, None]
    optimizer = torch.optim.Adam(network.parameters(), LEARNING_RATE, weight_decay=1e-3)
    for _ in range(200):
        logits_N = network(states).gather(1, chosen)[:, 0]
        loss = torch.nn.functional.binary_cross_entropy_with_logits(logits_N, rewards)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch's own
        optimizer.step()
    return network


def network_values(network: torch.nn.Module, states_MD: Floats) -> Floats:
    """Its modelled rewards, shape (M, K)."""
    with torch.no_grad():
        values = torch.sigmoid(network(torch.from_numpy(states_MD.astype(np.float32))))
    return np.asarray(values.numpy(), np.float64)


def fresh_network(seed: int) -> torch.nn.Module:
    """One hidden layer, from a task's vector to a number a tool."""
    torch.manual_seed(seed)
    return torch.nn.Sequential(torch.nn.Linear(ENTRIES, HIDDEN), torch.nn.Tanh(), torch.nn.Linear(HIDDEN, TOOLS))


def trained(objective: Objective) -> Way:
    """A way: the network that makes this loss small."""

    def way(prepared: Prepared) -> Floats:
        network = fresh_network(prepared.seed)
        optimizer = torch.optim.Adam(network.parameters(), LEARNING_RATE, weight_decay=WEIGHT_DECAY)
        for _ in range(UPDATES):
            loss = objective(prepared, network(prepared.states).log_softmax(1)).mean()
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]  # torch's own
            optimizer.step()
        with torch.no_grad():
            logits_MK = network(torch.from_numpy(prepared.log.new_states_MD.astype(np.float32)))
        return np.asarray(logits_MK.softmax(1).numpy(), np.float64)

    return way


def clone(prepared: Prepared, log_probs_NK: Tensor) -> Tensor:
    """Minus the log-likelihood of what was done."""
    return -prepared.taken(log_probs_NK)


def only_better(prepared: Prepared, log_probs_NK: Tensor) -> Tensor:
    """The loop that skips what was worse than its group."""
    return positive_only(prepared.taken(log_probs_NK), prepared.advantages, prepared.mask)


def uncorrected(prepared: Prepared, log_probs_NK: Tensor) -> Tensor:
    """Advantage times log-probability, as if the log were the policy's own."""
    return reinforce(prepared.taken(log_probs_NK), prepared.advantages, prepared.mask)


def clipped(prepared: Prepared, log_probs_NK: Tensor) -> Tensor:
    """PPO's clip around the logging policy."""
    return clipped_surrogate(prepared.taken(log_probs_NK), prepared.behaviour, prepared.advantages, prepared.mask)


def truncated(prepared: Prepared, log_probs_NK: Tensor) -> Tensor:
    """Importance weights of at most 5."""
    return truncated_importance(
        prepared.taken(log_probs_NK), prepared.behaviour, prepared.advantages, prepared.mask, cap=5.0
    )


def robust(values: Callable[[Prepared], Floats]) -> Objective:
    """Minus the doubly robust value under these modelled rewards."""

    def objective(prepared: Prepared, log_probs_NK: Tensor) -> Tensor:
        values_NK = torch.from_numpy(values(prepared).astype(np.float32))
        return doubly_robust(log_probs_NK, values_NK, prepared.chosen, prepared.behaviour.exp(), prepared.rewards)

    return objective


def direct(prepared: Prepared, log_probs_NK: Tensor) -> Tensor:
    """Minus the modelled reward of the policy."""
    return -(log_probs_NK.exp() * torch.from_numpy(prepared.simple_NK.astype(np.float32))).sum(1)


def greedy(values_MK: Floats) -> Floats:
    """All probability on the highest value."""
    return np.asarray(np.eye(values_MK.shape[1])[values_MK.argmax(axis=1)], np.float64)


def network_greedy(prepared: Prepared) -> Floats:
    """The highest value of the one network."""
    return greedy(network_values(prepared.network, prepared.log.new_states_MD))


def stacked_greedy(prepared: Prepared) -> Floats:
    """The highest value of the stacked models; nothing else is trained."""
    return greedy(prepared.stacked.values(prepared.log.new_states_MD))


def stacked_softmax(prepared: Prepared) -> Floats:
    """softmax(value / 0.05): the same, with propensities above 0 everywhere."""
    return np.asarray(np.exp(log_softmax(prepared.stacked.values(prepared.log.new_states_MD) / SHARPNESS, axis=1)))


WAYS: Mapping[str, Way] = {
    "behaviour clone": trained(clone),
    "positive only": trained(only_better),
    "group advantage, no correction": trained(uncorrected),
    "PPO clip on the logging policy": trained(clipped),
    "truncated importance": trained(truncated),
    "doubly robust, one network": trained(robust(lambda prepared: prepared.simple_NK)),
    REFERENCE: trained(direct),
    "one network's values, greedy": network_greedy,
    "doubly robust, stacked values": trained(robust(lambda prepared: prepared.stacked.held_out_NK)),
    "stacked values, softmax": stacked_softmax,
    "stacked values, greedy": stacked_greedy,
}


def print_table(scores: list[Score], options: argparse.Namespace, seeds: range) -> None:
    """One line a way."""
    print(f"{options.world} world, {options.rollouts} rollouts a task, seeds {seeds.start} to {seeds.stop - 1}")
    for quality in QUALITIES:
        print(f"\nquality of the logging policy {quality}\n{'way':34}{'success':>16}{'regret':>9}{'paired':>20}")
        for one in (score for score in scores if score.quality == quality):
            paired = f"{one.difference:+.3f} ± {one.difference_half_width:.3f}"
            print(f"{one.way:34}{one.success:>8.3f} ± {one.half_width:.3f}{one.regret:>9.3f}{paired:>20}")


def draw(scores: list[Score], path: str) -> None:
    """A bar a way and logging policy, with 95 % intervals."""
    import matplotlib as mpl  # noqa: PLC0415 - for the figure alone

    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415 - as above

    figure, axes = plt.subplots(1, len(QUALITIES), figsize=(11, 4.5), sharey=True, layout="constrained")
    for axis, quality in zip(axes, QUALITIES, strict=True):
        own = [score for score in scores if score.quality == quality]
        axis.barh([one.way for one in own], [one.success for one in own], xerr=[one.half_width for one in own])
        axis.set(title=f"quality of the logging policy {quality}", xlabel="success on new tasks")
    axes[0].invert_yaxis()
    figure.savefig(path)


def parse(arguments: Any = None) -> argparse.Namespace:  # Any: what argparse takes
    """The command's options."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="two seeds")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--figure", metavar="PATH")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--world", choices=("straight", "curved"), default="straight")
    parser.add_argument("--rollouts", type=int, choices=(1, 8), default=8)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
