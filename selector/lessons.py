"""What a stored trajectory teaches: which of its steps were right, which were wrong, and how much each counts."""

from collections.abc import Iterator
from dataclasses import dataclass

from trajstore.experience import Playback, wasted_steps
from trajstore.progress import leading_steps
from trajstore.schema import Step, Trajectory

ENDED = "done"
WRONG_WEIGHT = 0.5
FATAL_WEIGHT = 2.0


@dataclass(frozen=True, slots=True)
class Lesson:
    """A step that was right, or `is_wrong`; `weight` counts beside 1 for a right step of an example."""

    position: int
    weight: float = 1.0
    is_wrong: bool = False


def lessons(playback: Playback, wrong: frozenset[int], *, is_example: bool, at_stake: float = 1.0) -> Iterator[Lesson]:
    """The steps to learn from: of an example those that led to what it reached, the `wrong` ones of any trajectory.

    What ended a failure counts as far as something was `at_stake`, in [0, 1], or as any wrong step where it lost reward
    or was refused.
    """
    trajectory = playback.trajectory
    wasted = wasted_steps(playback) if is_example else ()
    leading = leading_steps(trajectory)
    last = len(trajectory.steps) - 1 if has_ended_badly(trajectory) else -1
    for position, step in enumerate(trajectory.steps):
        if step.kind != "tool":
            continue
        if position in wrong:
            weight = WRONG_WEIGHT if loses(step) else 0.0
            if position == last:
                weight = max(weight, FATAL_WEIGHT * at_stake)
            if weight > 0.0:
                yield Lesson(position, weight, is_wrong=True)
        elif is_example and position < leading and not wasted[position]:
            yield Lesson(position)


def wrong_steps(trajectory: Trajectory) -> frozenset[int]:
    """Positions of steps that lost reward, were refused, or ended, without a gain, a failure that was over then.

    What is refused again and again was wrong once.
    """
    steps = trajectory.steps
    calls = [(step.tool, step.args, step.outcome) for step in steps]
    found = {at for at, step in enumerate(steps) if loses(step)}
    found -= {at for at in found if steps[at].was_refused and calls[at - 1 : at] == [calls[at]]}
    if steps and has_ended_badly(trajectory) and (steps[-1].reward or 0.0) <= 0.0:
        found.add(len(steps) - 1)
    return frozenset(found)


def loses(step: Step) -> bool:
    """Whether a step lost reward, or was refused."""
    return (step.reward or 0.0) < 0.0 or step.was_refused


def has_ended_badly(trajectory: Trajectory) -> bool:
    """Whether the environment itself ended the trajectory as a failure: its last step lost all that was left."""
    return trajectory.success is False and trajectory.stop_reason == ENDED
