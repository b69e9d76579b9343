"""What a tool-using environment looks like to the engine: a protocol and its two records."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from trajstore.schema import Candidate, Outcome, Task


@dataclass(frozen=True, slots=True)
class Observation:
    """What an agent sees at the start: the state, and the candidates that it may choose from."""

    state: str
    candidates: tuple[Candidate, ...]


@dataclass(frozen=True, slots=True)
class Transition:
    """What one step brought: the next state with its candidates, the observation, and how it went.

    `reward` is the number for this one step.  `success` is None until the environment knows.
    """

    state: str
    candidates: tuple[Candidate, ...]
    observation: str
    reward: float
    outcome: Outcome
    done: bool
    success: bool | None = None


@runtime_checkable
class Environment(Protocol):
    """Anything that can be acted in, one episode at a time."""

    def reset(self, task: Task) -> Observation:
        """Begin an episode of `task`."""
        ...

    def step(self, candidate: Candidate) -> Transition:
        """Carry out one candidate of those offered last."""
        ...
