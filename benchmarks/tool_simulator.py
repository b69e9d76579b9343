"""A simulated world of tools: states in hidden clusters, late and broken tools, delayed and doubled rewards.

Everything random is drawn before the first round from one seed, so that every policy meets the same states, offers and
luck: the reward of tool k at decision n is 1 exactly where `luck_NK[n, k] < means_NK[n, k]`, whoever chooses it.
"""

import time
from collections import defaultdict
from dataclasses import dataclass

import numpy as np
from bandit_protocol import Policy
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class WorldConfig:
    """Sizes and rates of a world; the defaults are those of the published tables."""

    rounds: int = 4000
    dimension: int = 384
    clusters: int = 25
    tools: int = 30
    families: int = 6
    offered_fraction: float = 0.6
    late_tools: int = 6
    twin_pairs: int = 4
    misleading_fraction: float = 0.03
    delayed_fraction: float = 0.3
    longest_delay: int = 50
    doubled_fraction: float = 0.05


@dataclass(frozen=True, slots=True)
class World:
    """N decisions over K tools: what is shown, what is true and when rewards arrive.

    `states_ND` are unit vectors, `clusters_N` the clusters that they behave like, `offered_NK` the mask of tools,
    `means_NK` the true probabilities of success, `luck_NK` uniform draws, `delays_N` rounds until the reward is
    reported (0: before the next decision), `doubled_N` rounds until it is reported again (−1: never).
    """

    states_ND: NDArray[np.float32]
    clusters_N: NDArray[np.int64]
    offered_NK: NDArray[np.bool_]
    means_NK: Floats
    luck_NK: Floats
    delays_N: NDArray[np.int64]
    doubled_N: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Play:
    """One policy in one world: the regret of each decision, shape (N,), and mean CPU seconds of a choice and report."""

    regrets_N: Floats
    choose_seconds: float
    report_seconds: float

    @property
    def regret(self) -> float:
        """Cumulative pseudo-regret: the best offered mean less the chosen one, summed."""
        return float(self.regrets_N.sum())


def make_world(seed: int, config: WorldConfig | None = None) -> World:
    """The world of one seed."""
    config = config or WorldConfig()
    rng = np.random.default_rng([seed, 4127])
    shares = rng.dirichlet(np.full(config.clusters, 4.0))
    looks_N = rng.choice(config.clusters, config.rounds, p=shares)
    misled_N = rng.random(config.rounds) < config.misleading_fraction
    behaves_N = np.where(misled_N, rng.integers(config.clusters, size=config.rounds), looks_N)
    delayed_N = rng.random(config.rounds) < config.delayed_fraction
    doubled_N = rng.random(config.rounds) < config.doubled_fraction
    return World(
        states_ND=_states(rng, looks_N, config),
        clusters_N=behaves_N,
        offered_NK=_offers(rng, config),
        means_NK=_means(rng, behaves_N, config),
        luck_NK=rng.random((config.rounds, config.tools)),
        delays_N=np.where(delayed_N, rng.integers(1, config.longest_delay + 1, config.rounds), 0),
        doubled_N=np.where(doubled_N, rng.integers(1, 2 * config.longest_delay + 1, config.rounds), -1),
    )


def _units(vectors_ND: Floats) -> Floats:
    return np.asarray(vectors_ND / np.linalg.norm(vectors_ND, axis=1, keepdims=True), np.float64)


def _states(rng: np.random.Generator, looks_N: NDArray[np.int64], config: WorldConfig) -> NDArray[np.float32]:
    """Cosine about 0.65 inside a cluster, 0.3 between two, 0.58 between the two of a twin pair."""
    common_D = _units(rng.normal(size=(1, config.dimension)))
    centres_CD = _units(rng.normal(size=(config.clusters, config.dimension)))
    first, second = np.arange(config.twin_pairs) * 2, np.arange(config.twin_pairs) * 2 + 1
    centres_CD[second] = _units(0.8 * centres_CD[first] + 0.6 * centres_CD[second])
    noise_ND = _units(rng.normal(size=(len(looks_N), config.dimension)))
    mixed_ND = np.sqrt(0.3) * common_D + np.sqrt(0.35) * (centres_CD[looks_N] + noise_ND)
    return _units(mixed_ND).astype(np.float32)


def _offers(rng: np.random.Generator, config: WorldConfig) -> NDArray[np.bool_]:
    """A fixed share of the tools is offered each time; late ones arrive one by one in the first two thirds."""
    present_K = np.zeros(config.tools, np.int64)
    late = rng.permutation(config.tools)[: config.late_tools]
    present_K[late] = config.rounds * np.linspace(0.1, 0.65, config.late_tools)
    offered_NK = rng.random((config.rounds, config.tools)) < config.offered_fraction
    offered_NK &= present_K <= np.arange(config.rounds)[:, None]
    always = np.argmin(present_K)
    offered_NK[~offered_NK.any(axis=1), always] = True
    return offered_NK


def _means(rng: np.random.Generator, behaves_N: NDArray[np.int64], config: WorldConfig) -> Floats:
    """Logits of tool, family-in-cluster and tool-in-cluster; the best of every other cluster breaks for a quarter.

    Half of these breaks hit the tool in all clusters, half in this one only; a broken tool keeps a twentieth of its
    success.  It recovers after three quarters of the rounds.
    """
    families_K = rng.integers(config.families, size=config.tools)
    logits_CK = -0.9 + rng.normal(0, 0.7, config.tools)[None]
    logits_CK = logits_CK + rng.normal(0, 0.8, (config.clusters, config.families))[:, families_K]
    logits_CK = logits_CK + rng.normal(0, 1.1, (config.clusters, config.tools))
    healthy_CK = 1.0 / (1.0 + np.exp(-logits_CK))
    broken_CK = np.ones_like(healthy_CK)
    for order, cluster in enumerate(range(0, config.clusters, 2)):
        best = int(healthy_CK[cluster].argmax())
        rows = slice(None) if order % 2 else cluster
        broken_CK[rows, best] = 0.05
    times_N = np.arange(config.rounds) / config.rounds
    down_N = (times_N >= 0.5) & (times_N < 0.75)
    return np.where(down_N[:, None], healthy_CK[behaves_N] * broken_CK[behaves_N], healthy_CK[behaves_N])


def play(policy: Policy, world: World) -> Play:
    """Let a policy meet all decisions of a world in order; rewards are reported when they arrive."""
    clock = time.thread_time
    due: dict[int, list[tuple[int, float]]] = defaultdict(list)
    rounds, reports = len(world.states_ND), 0
    choosing = reporting = 0.0
    chosen_N = np.zeros(rounds, np.int64)
    for decision in range(rounds):
        offered = np.flatnonzero(world.offered_NK[decision])
        start = clock()
        tool = policy.choose(decision, world.states_ND[decision], offered)
        choosing += clock() - start
        chosen_N[decision] = tool
        _schedule(due, world, decision, tool)
        for reported, reward in due.pop(decision, ()):
            start = clock()
            policy.report(reported, reward)
            reporting += clock() - start
            reports += 1
    return Play(_regrets(world, chosen_N), choosing / rounds, reporting / max(reports, 1))


def _schedule(due: dict[int, list[tuple[int, float]]], world: World, decision: int, tool: int) -> None:
    """Put the reward of a choice, and its double, where they will arrive."""
    report = (decision, float(world.luck_NK[decision, tool] < world.means_NK[decision, tool]))
    arrival = decision + int(world.delays_N[decision])
    due[arrival].append(report)
    if world.doubled_N[decision] >= 0:
        due[arrival + int(world.doubled_N[decision])].append(report)


def _regrets(world: World, chosen_N: NDArray[np.int64]) -> Floats:
    """Best offered mean less the chosen one; shape (N,)."""
    best_N = np.where(world.offered_NK, world.means_NK, -1.0).max(axis=1)
    taken_N = np.take_along_axis(world.means_NK, chosen_N[:, None], axis=1)[:, 0]
    if not np.take_along_axis(world.offered_NK, chosen_N[:, None], axis=1).all():
        raise ValueError("a policy chose a tool that was not offered")
    return np.asarray(best_N - taken_N, np.float64)
