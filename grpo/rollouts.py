"""Trajectories as a trainer sees them: the decisions of each, the group it belongs to, who made it, what it earned."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from grpo.encoding import EncodedDecision, Encoder, Offer, decision_at
from grpo.errors import TrainingUsageError
from trajstore.experience import play_back, wasted_steps
from trajstore.schema import Candidate, Trajectory

Floats = NDArray[np.float64]
Numbers = NDArray[np.int64]
Flags = NDArray[np.bool_]
Panel = Literal["train", "validation", "test"]
OnProgress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Rollouts:
    """R trajectories and their N decisions, one after the other.

    A decision has its `decisions` entry, `chosen_N` the place of what was chosen, `propensities_N` with which (NaN:
    not logged), `rollouts_N` in [0, R) whose it is, `steps_N` which step of its trajectory, `wasted_N` whether its
    step led back to where it began.
    """

    trajectories: tuple[Trajectory, ...]
    decisions: tuple[EncodedDecision, ...]
    chosen_N: Numbers
    propensities_N: Floats
    rollouts_N: Numbers
    steps_N: Numbers
    wasted_N: Flags

    def __len__(self) -> int:
        return len(self.decisions)

    @property
    def groups_R(self) -> Numbers:
        """Number of each trajectory's group, from 0."""
        return _numbers([group_of(trajectory) for trajectory in self.trajectories])

    @property
    def policies_R(self) -> Numbers:
        """Number of who made each trajectory, from 0."""
        return _numbers([f"{each.source}\n{each.agent}" for each in self.trajectories])

    @property
    def successes_R(self) -> Floats:
        """1 where a trajectory succeeded, 0 where not, NaN where nobody judged it."""
        return np.array([np.nan if each.success is None else float(each.success) for each in self.trajectories])


def encode_rollouts(
    trajectories: Sequence[Trajectory],
    encoder: Encoder,
    *,
    most_candidates: int = 64,
    seed: int = 0,
    on_progress: OnProgress | None = None,
) -> Rollouts:
    """Encode every decision of some trajectories.

    Where a log does not say what was offered, it is all tools that these trajectories call, or `most_candidates` of
    them with the one chosen.  Raises TrainingUsageError where no trajectory holds a decision.
    """
    offer = Offer(_tools_of(trajectories), most_candidates, np.random.default_rng(seed))
    found: list[tuple[EncodedDecision, int, float, int, int, bool]] = []
    for number, trajectory in enumerate(trajectories):
        playback = play_back(trajectory)
        wasted = wasted_steps(playback)
        for position in range(len(trajectory.steps)):
            made = decision_at(playback, position, encoder, offer)
            if made is not None:
                propensity = np.nan if made.propensity is None else made.propensity
                found.append((made.encoded, made.chosen, propensity, number, position, wasted[position]))
        if on_progress is not None:
            on_progress("encoding", number + 1, len(trajectories))
    if not found:
        raise TrainingUsageError(
            f"no decision in {len(trajectories)} trajectories: a step must call one of at least two tools"
        )
    decisions, chosen, propensities, owners, steps, wasted_steps_ = zip(*found, strict=True)
    return Rollouts(
        tuple(trajectories),
        decisions,
        np.array(chosen, np.int64),
        np.array(propensities, np.float64),
        np.array(owners, np.int64),
        np.array(steps, np.int64),
        np.array(wasted_steps_, np.bool_),
    )


def group_of(trajectory: Trajectory) -> str:
    """The name of the group that a trajectory is compared in: attempts at the same task share it."""
    task = trajectory.task
    return task.group or task.task_id or task.text


def panel_of(trajectory: Trajectory, *, validation: float = 0.15, test: float = 0.15) -> Panel:
    """To which panel a trajectory's task belongs, by a hash of its family (else its group), the same in all runs.

    `validation` and `test` are shares in [0, 1) of all families.

    >>> from trajstore.schema import Task, Trajectory
    >>> {panel_of(Trajectory(Task("t", family=f"f{n}")), validation=0.0, test=0.0) for n in range(9)}
    {'train'}
    """
    name = trajectory.task.family or group_of(trajectory)
    place = int.from_bytes(blake2b(name.encode(), digest_size=6).digest(), "big") / 2.0**48
    return "test" if place < test else "validation" if place < test + validation else "train"


def _tools_of(trajectories: Iterable[Trajectory]) -> tuple[Candidate, ...]:
    names = {step.tool for trajectory in trajectories for step in trajectory.steps if step.kind == "tool"}
    return tuple(Candidate(name) for name in sorted(names))


def _numbers(names: Sequence[str]) -> Numbers:
    known: dict[str, int] = {}
    return np.array([known.setdefault(name, len(known)) for name in names], np.int64)
