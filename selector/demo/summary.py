"""What rollouts come to: success, reward, steps and time by agent and game, with bootstrap intervals over tasks."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from selector.demo.rollout import Rollout

ALL_GAMES = "all games"
RESAMPLES = 2_000
COVERAGE = 0.95


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean with the bounds that hold it in 95 of 100 resamples of the tasks."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Row:
    """How one agent did on one game (or all): means over tasks; `steps_to_success` is None without any success."""

    agent: str
    game: str
    tasks: int
    success: Interval
    reward: Interval
    steps_to_success: float | None
    milliseconds_per_decision: float


@dataclass(frozen=True, slots=True)
class Lead:
    """By how much one agent's success is above another's on the same tasks."""

    agent: str
    other: str
    game: str
    success: Interval


@dataclass(frozen=True, slots=True)
class Table:
    """Rows by game and agent, and the leads of one agent over each other."""

    rows: tuple[Row, ...]
    leads: tuple[Lead, ...]

    def row(self, agent: str, game: str = ALL_GAMES) -> Row:
        """The row of an agent and a game."""
        return next(row for row in self.rows if row.agent == agent and row.game == game)

    @property
    def games(self) -> tuple[str, ...]:
        """Games in their order; that of all games comes last."""
        return tuple(dict.fromkeys(row.game for row in self.rows))

    @property
    def agents(self) -> tuple[str, ...]:
        """Agents in their order."""
        return tuple(dict.fromkeys(row.agent for row in self.rows))


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """What agents came to that knew the first `trajectories` of the stored ones."""

    trajectories: int
    table: Table


def summarise(rollouts: Sequence[Rollout], *, leader: str = "", seed: int = 0) -> Table:
    """The table of rollouts; `leader` names the agent that is compared with each other one."""
    games = tuple(dict.fromkeys(rollout.game for rollout in rollouts))
    agents = tuple(dict.fromkeys(rollout.agent for rollout in rollouts))
    groups = [(game, (game,)) for game in games] + ([(ALL_GAMES, games)] if len(games) > 1 else [])
    rows = [_row(agent, name, _of(rollouts, agent, within), seed) for name, within in groups for agent in agents]
    leads = [
        _lead(_of(rollouts, leader, within), _of(rollouts, other, within), name, seed)
        for name, within in groups
        for other in agents
        if leader in agents and other != leader
    ]
    return Table(tuple(rows), tuple(leads))


def bootstrap_mean(strata: Sequence[NDArray[np.float64]], rng: np.random.Generator) -> Interval:
    """Mean of the values with a percentile interval; each stratum is resampled for itself (Efron and Tibshirani 1993).

    >>> bootstrap_mean([np.array([1.0, 1.0])], np.random.default_rng(0))
    Interval(value=1.0, low=1.0, high=1.0)
    """
    total = sum(len(stratum) for stratum in strata)
    sums = np.zeros(RESAMPLES)
    for stratum in strata:
        sums += stratum[rng.integers(len(stratum), size=(RESAMPLES, len(stratum)))].sum(axis=1)
    low, high = np.quantile(sums / total, [(1 - COVERAGE) / 2, (1 + COVERAGE) / 2])
    return Interval(float(np.concatenate(strata).mean()), float(low), float(high))


def _of(rollouts: Iterable[Rollout], agent: str, games: tuple[str, ...]) -> list[Rollout]:
    return [rollout for rollout in rollouts if rollout.agent == agent and rollout.game in games]


def _row(agent: str, game: str, rollouts: Sequence[Rollout], seed: int) -> Row:
    steps = [rollout.steps for rollout in rollouts if rollout.success]
    seconds = [second for rollout in rollouts for second in rollout.choose_seconds]
    return Row(
        agent=agent,
        game=game,
        tasks=len(rollouts),
        success=bootstrap_mean(
            _strata(rollouts, [rollout.success for rollout in rollouts]), np.random.default_rng(seed)
        ),
        reward=bootstrap_mean(_strata(rollouts, [rollout.reward for rollout in rollouts]), np.random.default_rng(seed)),
        steps_to_success=float(np.mean(steps)) if steps else None,
        milliseconds_per_decision=1e3 * float(np.median(seconds)) if seconds else 0.0,
    )


def _lead(ours: Sequence[Rollout], theirs: Sequence[Rollout], game: str, seed: int) -> Lead:
    other = {rollout.task_id: rollout for rollout in theirs}
    gains = [float(one.success) - float(other[one.task_id].success) for one in ours]
    interval = bootstrap_mean(_strata(ours, gains), np.random.default_rng(seed))
    return Lead(ours[0].agent, theirs[0].agent, game, interval)


def _strata(rollouts: Sequence[Rollout], values: Sequence[float]) -> list[NDArray[np.float64]]:
    games = dict.fromkeys(rollout.game for rollout in rollouts)
    return [
        np.array([value for rollout, value in zip(rollouts, values, strict=True) if rollout.game == game], np.float64)
        for game in games
    ]
