"""The learners of `grpo_learning.py`: policy gradients, value models, and policies from stored trajectories."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import torch

from grpo.cloning import CloningConfig, best_clone
from grpo.collector import Rollout
from grpo.config import GRPOConfig
from grpo.decision_table import DecisionTable
from grpo.encoding import STANDINGS, Encoder
from grpo.live_data import live_batch, outcome_reward, refine_rollouts
from grpo.protocols import Action
from grpo.rollouts import encode_rollouts
from grpo.tool_network import ToolNetwork
from grpo.tool_policy import ToolPolicy
from grpo.trainer import GRPOTrainer
from grpo.updating import TrainingBatch, Updater
from selector.situation import Situation
from trajstore.schema import Trajectory

TASKS, GROUP = 8, 8
SCHEMES: Mapping[str, Mapping[str, object]] = {
    "ours": {},
    "group std": {"baseline": "mean", "scale": "group_std"},
    "REINFORCE": {"loss": "reinforce"},
    "naive": {"baseline": "mean", "scale": "group_std", "loss": "positive_only"},
}


class Learner:
    """A policy that is trained by policy gradients; `scheme` says how."""

    def __init__(self, scheme: str, seed: int, learning_rate: float) -> None:
        plain = GRPOConfig(groups=TASKS, group_size=GROUP, seed=seed, learning_rate=learning_rate)
        self.config = replace(plain, **SCHEMES[scheme])
        self._scheme = scheme
        self.policy = ToolPolicy.untrained(seed=seed)
        self._network = ToolNetwork(self.policy.shape, self.policy.weights)
        self._updater = Updater(self._network, self.config)

    def learn(self, rollouts: Sequence[Rollout], number: int) -> None:
        """One update, or in the naive loop one a trajectory."""
        refined = refine_rollouts(rollouts, self.config, outcome_reward)
        if self._scheme == "REINFORCE":
            rewards = np.array([outcome_reward(rollout.trajectory) or 0.0 for rollout in rollouts])
            refined = replace(refined, advantages_R=rewards, has_signal_R=np.ones(len(rewards), np.bool_))
        texts = self.policy.encoder.table
        batch = live_batch(rollouts, refined, texts, self.config, loss=self.config.loss or "clipped")
        if batch is None:
            return
        for part in _by_rollout(batch) if self._scheme == "naive" else [batch]:
            self._updater.update([part], number)
        self.policy = self.policy.with_weights(self._network.to_weights(), version=number + 1)


def _by_rollout(batch: TrainingBatch) -> list[TrainingBatch]:
    rollouts = [batch.part(torch.nonzero(batch.rollouts_N == one)[:, 0]) for one in batch.rollouts_N.unique()]
    return [replace(one, rollouts_N=torch.zeros_like(one.rollouts_N)) for one in rollouts if one.advantages_N.max() > 0]


class ValueLearner:
    """Regresses the discounted return of what was chosen on the network's score; greedy, but for exploration."""

    def __init__(self, seed: int) -> None:
        self.config = GRPOConfig(groups=TASKS, group_size=GROUP, seed=seed)
        self._inner = ToolPolicy.untrained(seed=seed)
        self._network = ToolNetwork(self._inner.shape, self._inner.weights)
        self._optimizer = torch.optim.Adam(self._network.parameters(), 1e-3)
        self.policy = Greedy(self._inner, 0.1)

    def learn(self, rollouts: Sequence[Rollout], number: int) -> None:
        """Four passes over the newest rollouts."""
        refined = refine_rollouts(rollouts, self.config, outcome_reward)
        returns = np.array([outcome_reward(rollout.trajectory) or 0.0 for rollout in rollouts])
        told = replace(refined, advantages_R=returns, has_signal_R=np.ones(len(returns), np.bool_))
        batch = live_batch(rollouts, told, self._inner.encoder.table, self.config)
        if batch is None:
            return
        for rows in torch.randperm(4 * len(batch)).remainder(len(batch)).split(512):
            part = batch.part(rows)
            scores = self._network(part.table.batch(part.rows_N)).gather(1, part.chosen_N[:, None])[:, 0]
            loss = ((scores - part.advantages_N) ** 2).mean()
            self._optimizer.zero_grad()
            loss.backward()
            self._optimizer.step()
        self._inner = self._inner.with_weights(self._network.to_weights(), version=number + 1)
        self.policy = Greedy(self._inner, 0.1)


class Greedy:
    """Takes the highest score; with probability `exploration` any candidate."""

    def __init__(self, inner: ToolPolicy, exploration: float) -> None:
        self.version, self._inner, self._exploration = inner.version, inner, exploration

    def log_probabilities(self, situation: Situation, *, temperature: float = 1.0) -> np.ndarray:
        """ln of the mixture."""
        scores = self._inner.logits(self._inner.encoder.encode(situation))
        return np.log(np.full(len(scores), self._exploration / len(scores)) + (1.0 - self._exploration) * _best(scores))

    def act_with_exploration(
        self, situation: Situation, rng: np.random.Generator, *, temperature: float = 1.0
    ) -> Action:
        """Explore, unless temperature is 0."""
        encoded = self._inner.encoder.encode(situation)
        scores = self._inner.logits(encoded) + 1e-9 * rng.random(len(situation.candidates))
        explores = temperature > 0.0 and rng.random() < self._exploration
        place = int(rng.integers(len(scores))) if explores else int(np.argmax(scores))
        chance = self._exploration / len(scores) + (1.0 - self._exploration) * float(_best(scores)[place])
        return Action(place, float(np.log(chance)), encoded)


def _best(scores: np.ndarray) -> np.ndarray:
    best = np.zeros(len(scores))
    best[int(np.argmax(scores))] = 1.0
    return best


class LinUcb:
    """One ridge regression of returns on how a candidate stands to the situation; acts by upper bounds."""

    version = 0

    def __init__(self, seed: int, width: float = 0.3) -> None:
        self._encoder = ToolPolicy.untrained(seed=seed).encoder
        self._gram, self._sums, self._width = np.eye(len(STANDINGS) + 1), np.zeros(len(STANDINGS) + 1), width
        self.policy = self

    def act_with_exploration(
        self, situation: Situation, rng: np.random.Generator, *, temperature: float = 1.0
    ) -> Action:
        """The highest bound; at temperature 0 the highest mean."""
        encoded = self._encoder.encode(situation)
        features = np.column_stack([encoded.standings_KF, np.ones(len(encoded.standings_KF))])
        inverse = np.linalg.inv(self._gram)
        bonus = self._width * np.sqrt(np.einsum("kf,fg,kg->k", features, inverse, features)) * (temperature > 0.0)
        return Action(int(np.argmax(features @ inverse @ self._sums + bonus + 1e-9 * rng.random())), 0.0, encoded)

    def log_probabilities(self, situation: Situation, *, temperature: float = 1.0) -> np.ndarray:
        """It is deterministic: 0 in all places, which nobody reads."""
        return np.zeros(len(situation.candidates))

    def learn(self, rollouts: Sequence[Rollout], number: int) -> None:
        """Add every step with its rollout's discounted reward."""
        for rollout in rollouts:
            reward = outcome_reward(rollout.trajectory) or 0.0
            for at, (step, encoded) in enumerate(zip(rollout.trajectory.steps, rollout.encoded, strict=True)):
                place = next(
                    n for n, one in enumerate(step.candidates) if (one.tool, one.args) == (step.tool, step.args)
                )
                row = np.append(encoded.standings_KF[place], 1.0)
                self._gram += np.outer(row, row)
                self._sums += row * reward * 0.99 ** (len(rollout.encoded) - 1 - at)


METHODS: Mapping[str, Callable[[int, float], Learner | ValueLearner | LinUcb]] = {
    **{scheme: partial(Learner, scheme) for scheme in SCHEMES},
    "value model": lambda seed, _rate: ValueLearner(seed),
    "LinUCB": lambda seed, _rate: LinUcb(seed),
}


def cloned(trajectories: Sequence[Trajectory], seed: int) -> ToolPolicy:
    """The clone of stored trajectories."""
    policy = ToolPolicy.untrained(seed=seed)
    encoder = Encoder(policy.encoder.embedder, most_texts=None)
    rollouts = encode_rollouts(trajectories, encoder, seed=seed)
    table, everything = DecisionTable(rollouts.decisions, encoder.table.vectors), np.ones(len(trajectories), np.bool_)
    return best_clone(policy, rollouts, table, everything, CloningConfig(seed=seed))


def trained_offline(trajectories: Sequence[Trajectory], seed: int) -> ToolPolicy:
    """What the trainer makes of stored trajectories; it keeps three tenths of them to choose and to report."""
    config = GRPOConfig(updates=100, seed=seed, device="cpu")
    return GRPOTrainer(ToolPolicy.untrained(seed=seed), config, trajectories=trajectories).train().policy


STORED: Mapping[str, Callable[[Sequence[Trajectory], int], ToolPolicy]] = {
    "cloning": cloned,
    "offline": trained_offline,
}
