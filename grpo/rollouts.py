"""Trajectories as a trainer sees them: the decisions of each, the group it belongs to, who made it, what it earned."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from grpo.encoding import EncodedDecision, Encoder, Offer, decision_at
from grpo.errors import TrainingUsageError
from trajstore.experience import play_back, wasted_steps
from trajstore.schema import Candidate, Trajectory

Floats = NDArray[np.float64]
Numbers = NDArray[np.int64]
Flags = NDArray[np.bool_]
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
    groups_R: Numbers
    policies_R: Numbers
    successes_R: Floats

    def __len__(self) -> int:
        return len(self.decisions)


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
        _numbers([group_of(trajectory) for trajectory in trajectories]),
        _numbers([f"{trajectory.source}\n{trajectory.agent}" for trajectory in trajectories]),
        np.array([np.nan if trajectory.success is None else float(trajectory.success) for trajectory in trajectories]),
    )


def group_of(trajectory: Trajectory) -> str:
    """The name of the group that a trajectory is compared in: attempts at the same task share it."""
    task = trajectory.task
    return task.group or task.task_id or task.text


def panels_of(trajectories: Sequence[Trajectory], *, validation: float = 0.15, test: float = 0.15) -> NDArray[np.str_]:
    """The panel of each trajectory: "train", "validation" or "test"; shape (R,).

    Whole families go to one panel, in the order of a hash of their names, until a panel holds its share in [0, 1) of
    all trajectories: the same in every run on the same trajectories.  Where there are too few families for that, whole
    groups do.  Raises TrainingUsageError where a panel would be empty even so.

    >>> from trajstore.schema import Task, Trajectory
    >>> sorted(panels_of([Trajectory(Task("t", family=f"f{n}")) for n in range(4)], validation=0.2, test=0.2).tolist())
    ['test', 'train', 'train', 'validation']
    """
    shares = {"test": test, "validation": validation, "train": 1.0 - test - validation}
    groups = [group_of(trajectory) for trajectory in trajectories]
    families = [trajectory.task.family or group for trajectory, group in zip(trajectories, groups, strict=True)]
    for names in (families, groups):
        panels = _panels(names, shares)
        if all(panel in panels for panel, share in shares.items() if share > 0.0):
            return panels
    raise TrainingUsageError(
        f"{len(set(groups))} groups of tasks are too few to train on some and measure on others: add trajectories of "
        "other tasks"
    )


def _panels(names: Sequence[str], shares: Mapping[str, float]) -> NDArray[np.str_]:
    """The panel of each name; the last panel takes what is left."""
    found, own, sizes = np.unique(np.array(names), return_inverse=True, return_counts=True)
    order = np.argsort([blake2b(name.encode(), digest_size=8).hexdigest() for name in found.tolist()])
    before = (np.cumsum(sizes[order]) - sizes[order]) / max(len(names), 1)
    limits = np.cumsum(list(shares.values()))[:-1]
    panels = np.empty(len(found), dtype="<U10")
    panels[order] = np.array(list(shares))[np.searchsorted(limits, before, side="right")]
    return panels[own]


def sample_groups(trajectories: Sequence[Trajectory], decisions: int) -> tuple[Trajectory, ...]:
    """Whole groups, in the order of a hash of their names, as long as they hold at most `decisions` tool calls in all.

    All trajectories where that is no less; at least one group.

    >>> from trajstore.schema import Step, Task, Trajectory
    >>> each = [Trajectory(Task(name), (Step(0, "look"),)) for name in ("a", "a", "b")]
    >>> len(sample_groups(each, 3)), len({one.task.text for one in sample_groups(each, 2)})
    (3, 1)
    """
    calls: dict[str, int] = {}
    for trajectory in trajectories:
        name = group_of(trajectory)
        calls[name] = calls.get(name, 0) + sum(step.kind == "tool" for step in trajectory.steps)
    if sum(calls.values()) <= decisions:
        return tuple(trajectories)
    order = sorted(calls, key=lambda name: blake2b(f"sample {name}".encode(), digest_size=8).hexdigest())
    totals = np.cumsum([calls[name] for name in order])
    kept = set(order[: max(int(np.searchsorted(totals, decisions, side="right")), 1)])
    return tuple(trajectory for trajectory in trajectories if group_of(trajectory) in kept)


def training_panel(trajectories: Sequence[Trajectory]) -> tuple[Trajectory, ...]:
    """Those of the training panel; all of them where there are too few families for panels."""
    try:
        panels = panels_of(trajectories)
    except TrainingUsageError:
        return tuple(trajectories)
    return tuple(one for one, panel in zip(trajectories, panels.tolist(), strict=True) if panel == "train")


def _tools_of(trajectories: Iterable[Trajectory]) -> tuple[Candidate, ...]:
    names = {step.tool for trajectory in trajectories for step in trajectory.steps if step.kind == "tool"}
    return tuple(Candidate(name) for name in sorted(names))


def _numbers(names: Sequence[str]) -> Numbers:
    known: dict[str, int] = {}
    return np.array([known.setdefault(name, len(known)) for name in names], np.int64)
