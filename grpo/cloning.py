"""Behaviour cloning: the policy that does what logged agents did, by maximum likelihood (Pomerleau 1989)."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from grpo.decision_table import DecisionTable
from grpo.encoding import Encoder
from grpo.errors import TrainingUsageError
from grpo.rollouts import OnProgress, Rollouts, encode_rollouts, group_of, sample_groups, training_panel
from grpo.tool_network import ToolNetwork
from grpo.tool_policy import ToolPolicy
from trajstore.experience import imitation_weight
from trajstore.filters import TrajectoryFilter
from trajstore.recollection import stored_embedder
from trajstore.store import TrajectoryStore

Floats = NDArray[np.float64]
Weights = dict[str, NDArray[np.float32]]


@dataclass(frozen=True, slots=True)
class CloningConfig:
    """How a policy is cloned: passes at most, decisions a step, Adam's rate and decay.

    Cloning stops once `patience` passes have not bettered the log loss on `held_out` in (0, 1) of the groups.
    """

    passes: int = 30
    batch: int = 256
    learning_rate: float = 1e-3
    weight_decay: float = 0.02
    patience: int = 3
    held_out: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("passes", "batch", "patience"):
            if getattr(self, name) < 1:
                raise TrainingUsageError(f"{name} must be 1 or more, got {getattr(self, name)}")
        if not 0.0 < self.held_out < 1.0:
            raise TrainingUsageError(f"held_out must lie in (0, 1), got {self.held_out}")


MOST_DECISIONS = 20_000
FAILED_SHARES = (0.0, 0.3, 1.0)
LEAST_STEPS = 8  # a pass over a small log must still move the weights


def best_clone(
    policy: ToolPolicy,
    rollouts: Rollouts,
    table: DecisionTable,
    may_use_R: NDArray[np.bool_],
    config: CloningConfig,
    on_progress: OnProgress | None = None,
) -> ToolPolicy:
    """Clone successes, with steps of failed trajectories counted as much as helps: not, a third, or fully.

    Failed trajectories are mostly made of sensible steps, and where successes are few their number counts for more than
    their quality.  Of three clones the one with the least log loss on the successes of left-out groups is taken.
    """
    good_N = success_weights(rollouts) * may_use_R[rollouts.rollouts_N]
    other_N = np.where(rollouts.wasted_N, 0.0, 1.0) * may_use_R[rollouts.rollouts_N]
    asked = _held_out(rollouts, config)[rollouts.rollouts_N] & (good_N > 0.0)
    best, least = policy, float("inf")
    for share in FAILED_SHARES if asked.any() else FAILED_SHARES[:1]:
        weights_N = np.maximum(good_N, share * other_N)
        found = clone(policy, rollouts, table, weights_N, config, on_progress)
        loss = log_loss(found, rollouts, table, np.flatnonzero(asked)) if asked.any() else 0.0
        if loss < least:
            best, least = found, loss
    return best


def log_loss(policy: ToolPolicy, rollouts: Rollouts, table: DecisionTable, rows_N: NDArray[np.int64]) -> float:
    """Mean of −ln π(chosen) over some decisions, in nats."""
    network, total = ToolNetwork(policy.shape, policy.weights).to(table.device), 0.0
    with torch.no_grad():
        for part in np.array_split(rows_N, len(rows_N) // 1024 + 1):
            log_probs = network.log_probabilities(table.batch(torch.from_numpy(part).to(table.device))).cpu().numpy()
            total -= float(log_probs[np.arange(len(part)), rollouts.chosen_N[part]].sum())
    return total / max(len(rows_N), 1)


def clone_store(
    store: TrajectoryStore, *, namespace: str = "default", seed: int = 0, on_progress: OnProgress | None = None
) -> ToolPolicy:
    """Clone the successes of a namespace's training panel, so that the others can tell how good it is.

    Raises TrainingUsageError where there are none.
    """
    trajectories = tuple(store.trajectories(TrajectoryFilter(namespace=namespace)))
    trajectories = training_panel(trajectories)
    if not any(imitation_weight(trajectory) > 0.0 for trajectory in trajectories):
        raise TrainingUsageError(f"nothing to clone in namespace {namespace!r}: it holds no successful trajectory")
    policy = ToolPolicy.untrained(stored_embedder(store), seed=seed)
    encoder = Encoder(policy.encoder.embedder, most_texts=None)
    trajectories = sample_groups(trajectories, MOST_DECISIONS)
    rollouts = encode_rollouts(trajectories, encoder, seed=seed, on_progress=on_progress)
    table = DecisionTable(rollouts.decisions, encoder.table.vectors)
    return best_clone(
        policy, rollouts, table, np.ones(len(trajectories), np.bool_), CloningConfig(seed=seed), on_progress
    )


def success_weights(rollouts: Rollouts) -> Floats:
    """How far each decision is an example to follow, shape (N,): of a success, and not on a way back."""
    weights_R = np.array([imitation_weight(trajectory) for trajectory in rollouts.trajectories])
    return np.where(rollouts.wasted_N, 0.0, weights_R[rollouts.rollouts_N])


def clone(
    policy: ToolPolicy,
    rollouts: Rollouts,
    table: DecisionTable,
    weights_N: Floats,
    config: CloningConfig,
    on_progress: OnProgress | None = None,
) -> ToolPolicy:
    """The policy after cloning the decisions of weight above 0, best on groups that were left out."""
    kept = np.flatnonzero(weights_N > 0.0)
    if not len(kept):
        raise TrainingUsageError("nothing to clone: every decision has weight 0")
    is_held_out = _held_out(rollouts, config)[rollouts.rollouts_N[kept]]
    if is_held_out.all() or not is_held_out.any():  # one group: what is left out must be decisions of it
        is_held_out = np.random.default_rng(config.seed).random(len(kept)) < config.held_out
    training, asking = kept[~is_held_out], kept[is_held_out]
    return _Cloning(policy, rollouts, table, weights_N, config).run(training, asking, on_progress)


class _Cloning:
    def __init__(
        self, policy: ToolPolicy, rollouts: Rollouts, table: DecisionTable, weights_N: Floats, config: CloningConfig
    ) -> None:
        self._policy, self._table, self._config = policy, table, config
        self._network = ToolNetwork(policy.shape, policy.weights).to(table.device)
        self._chosen = torch.from_numpy(rollouts.chosen_N).to(table.device)
        self._weights = torch.from_numpy(weights_N.astype(np.float32)).to(table.device)
        self._optimizer = torch.optim.AdamW(
            self._network.parameters(), config.learning_rate, weight_decay=config.weight_decay
        )

    def run(self, training: NDArray[np.int64], asking: NDArray[np.int64], on_progress: OnProgress | None) -> ToolPolicy:
        rng, best, waited = np.random.default_rng(self._config.seed), self._network.to_weights(), 0
        least = self._loss_on(asking)
        for number in range(self._config.passes):
            self._pass(rng.permutation(training))
            loss = self._loss_on(asking)
            waited = 0 if loss < least else waited + 1
            if loss < least:
                least, best = loss, self._network.to_weights()
            if on_progress is not None:
                on_progress("cloning", number + 1, self._config.passes)
            if waited >= self._config.patience:
                break
        return self._policy.with_weights(best, version=self._policy.version)

    def _pass(self, rows: NDArray[np.int64]) -> None:
        for batch in np.array_split(rows, min(max(LEAST_STEPS, len(rows) // self._config.batch), len(rows))):
            loss = self._loss(torch.from_numpy(batch).to(self._table.device))
            self._optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            self._optimizer.step()

    def _loss(self, rows_N: torch.Tensor) -> torch.Tensor:
        """Weighted mean of −ln π(chosen)."""
        log_probabilities = self._network.log_probabilities(self._table.batch(rows_N))
        chosen, weights = log_probabilities.gather(1, self._chosen[rows_N][:, None])[:, 0], self._weights[rows_N]
        return -(weights * chosen).sum() / weights.sum().clamp(min=1e-9)

    def _loss_on(self, rows: NDArray[np.int64]) -> float:
        if not len(rows):
            return 0.0
        with torch.no_grad():
            parts = [
                float(self._loss(torch.from_numpy(part).to(self._table.device))) * len(part)
                for part in np.array_split(rows, max(1, len(rows) // 1024))
            ]
        return sum(parts) / len(rows)


def _held_out(rollouts: Rollouts, config: CloningConfig) -> NDArray[np.bool_]:
    """Which trajectories are left out to ask when to stop: whole families or groups; shape (R,)."""
    names = [trajectory.task.family or group_of(trajectory) for trajectory in rollouts.trajectories]
    rng, shares = np.random.default_rng(config.seed), dict[str, float]()
    for name in names:
        shares.setdefault(name, float(rng.random()))
    return np.array([shares[name] < config.held_out for name in names])
