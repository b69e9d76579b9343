"""Batches of decisions that a known policy made."""

from collections.abc import Iterable

import numpy as np
import torch
from tiny_policies import encoded, random_policy, random_situations

from grpo.config import Loss
from grpo.decision_table import DecisionTable
from grpo.updating import TrainingBatch

POLICY = random_policy()
SITUATIONS = [one for one in random_situations(60) if len(one.candidates) > 1][:36]
DECISIONS, VECTORS = encoded(SITUATIONS, POLICY)
TABLE = DecisionTable(DECISIONS, VECTORS)


def batch(
    loss: Loss = "clipped", rows: Iterable[int] = range(36), advantages: np.ndarray | None = None, seed: int = 0
) -> TrainingBatch:
    """Rollouts of three decisions each, in on-policy samples of the policy."""
    rng = np.random.default_rng(seed)
    rows = list(rows)
    logs = [POLICY.log_probabilities(SITUATIONS[row]) for row in rows]
    draws = [np.random.default_rng(row) for row in rows]
    chosen = [int(draw.choice(len(one), p=np.exp(one))) for draw, one in zip(draws, logs, strict=True)]
    behaviour = [one[place] for one, place in zip(logs, chosen, strict=True)]
    drawn = rng.normal(size=len(rows)) if advantages is None else advantages
    return TrainingBatch(
        TABLE,
        torch.tensor(rows),
        torch.tensor(chosen),
        torch.tensor(behaviour, dtype=torch.float32),
        torch.tensor(np.asarray(drawn), dtype=torch.float32),
        torch.tensor([row // 3 for row in range(len(rows))]),
        torch.zeros(len(rows)),
        loss,
    )
