"""What the trainer asks of a policy and of an environment."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from grpo.encoding import EncodedDecision
from selector.situation import Situation
from trajstore.environment import Environment, Observation, Transition

__all__ = ["Action", "Environment", "Observation", "Policy", "Transition"]


@dataclass(frozen=True, slots=True)
class Action:
    """What a policy did: the place of a candidate, and the log-probability with which it did so (natural, ≤ 0).

    `encoded` is the situation as the policy read it, where training can use that again.
    """

    place: int
    log_probability: float
    encoded: EncodedDecision | None = None


class Policy(Protocol):
    """Chooses among the candidates of a situation; a small network or a language model that scores each of them.

    The policy *is* softmax(logits / temperature): what is sampled, what is recorded and what is trained are the same
    distribution.  `version` counts updates.
    """

    version: int

    def log_probabilities(self, situation: Situation, *, temperature: float = 1.0) -> NDArray[np.float64]:
        """ln P(candidate), shape (K,)."""
        ...

    def act_with_exploration(
        self, situation: Situation, rng: np.random.Generator, *, temperature: float = 1.0
    ) -> Action:
        """Sample a candidate; temperature 0 takes the most probable."""
        ...
