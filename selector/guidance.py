"""What guidance was worth so far: guided and unaided episodes as they ended, in all and by state cluster."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr

from selector.choice import Guidance, Normal
from selector.guard import Arm, ArmRewards, ConservativeLedger, Guard
from selector.records import SelectorConfig
from trajstore.logbook import EndedEpisode, EpisodeRow

ENOUGH_UNAIDED = 5
LEAST_GUIDED = 0.05
CLUSTER_STRENGTH = 4.0
LOWER_DEVIATIONS = 1.645


@dataclass(frozen=True, slots=True)
class Cell:
    """One arm in one state cluster."""

    cluster: int
    arm: Arm


class GuidanceRecord:
    """Takes ended episodes in their order: the same episodes make the same record.

    `guard` stops guidance that is credibly worse, the conservative ledger allows it only while little can have been
    lost; `newest` is the number of the newest episode taken.
    """

    def __init__(self, config: SelectorConfig, namespace: str) -> None:
        self.guard = Guard(config.mode, config.held_out, namespace, config.margin, config.confidence)
        self.newest = 0
        self._held_out = config.held_out
        self._is_conservative = config.allowance is not None
        self._ledger = ConservativeLedger(config.allowance or 0.0)
        self._guided, self._unaided = ArmRewards(), ArmRewards()
        self._cells: dict[Cell, ArmRewards] = {}

    def take(self, ended: Sequence[EndedEpisode]) -> None:
        """Count episodes, in their order; one without a reward says nothing, one in shadow how the agent does alone."""
        told = [each for each in ended if each.episode.combined is not None]
        self.newest = ended[-1].number if ended else self.newest
        for each in told:
            self._count(each)
        compared = [each.episode for each in told if each.episode.mode != "shadow"]
        if compared:
            self.guard = self.guard.record_all(
                [arm_of(episode) for episode in compared],
                [reward_of(episode) for episode in compared],
                [episode.assigned if arm_of(episode) == "guided" else 1.0 - episode.assigned for episode in compared],
            )

    def _count(self, ended: EndedEpisode) -> None:
        episode, arm, reward = ended.episode, arm_of(ended.episode), reward_of(ended.episode)
        if arm == "guided" and episode.mode != "shadow":
            self._ledger = self._ledger.record_guided(lower_bound(self._guided), mean_reward(self._unaided))
            self._guided = self._guided.add(reward)
        else:
            self._ledger = self._ledger.record_baseline(mean_reward(self._unaided))
            self._unaided = self._unaided.add(reward)
        if episode.mode != "shadow":
            for cluster in ended.clusters:
                cell = Cell(cluster, arm)
                self._cells[cell] = self._cells.get(cell, ArmRewards()).add(reward)

    def guided_share(self) -> float:
        """The share of new episodes to guide: P(guided ones earn more), within [0.05, 1 − held_out].

        Thompson sampling over the two arms, so that misleading experience costs a few episodes, and good experience
        soon guides nearly all.  Where nothing is held out, all are guided.
        """
        if self._held_out == 0.0:
            return 1.0
        guided, unaided = self.guard.guided, self.guard.held_out
        means = np.array([(arm.total + 1.0) / (arm.episodes + 2.0) for arm in (guided, unaided)])
        variances = means * (1.0 - means) / np.array([guided.episodes + 3.0, unaided.episodes + 3.0])
        better = float(ndtr((means[0] - means[1]) / np.sqrt(variances.sum())))
        return min(max(better, LEAST_GUIDED), 1.0 - self._held_out)

    def may_guide(self) -> bool:
        """Whether one more guided episode keeps within the allowance, where one was set."""
        if not self._is_conservative:
            return True
        return self._ledger.may_guide(lower_bound(self.guard.guided), mean_reward(self._unaided))

    def guidance(self, cluster: int) -> Guidance | None:
        """What episodes are worth with and without guidance there; None before enough unaided ones ended."""
        if self.guard.held_out.episodes < ENOUGH_UNAIDED:
            return None
        guided, unaided = self._cells.get(Cell(cluster, "guided")), self._cells.get(Cell(cluster, "held_out"))
        return Guidance(_belief(self.guard.guided, guided), _belief(self.guard.held_out, unaided))


def arm_of(episode: EpisodeRow) -> Arm:
    """The arm in which an episode was."""
    return "guided" if episode.arm == "guided" else "held_out"


def reward_of(episode: EpisodeRow) -> float:
    """What an ended episode earned, within [0, 1]; 0 where that is not known."""
    return min(max(episode.combined or 0.0, 0.0), 1.0)


def mean_reward(rewards: ArmRewards) -> float:
    """Mean reward under a Beta(½, ½) prior.

    >>> mean_reward(ArmRewards(1, 1.0))
    0.75
    """
    return (rewards.total + 0.5) / (rewards.episodes + 1.0)


def lower_bound(rewards: ArmRewards) -> float:
    """A lower bound of the mean reward (5 %), at least 0."""
    mean = mean_reward(rewards)
    return max(0.0, mean - LOWER_DEVIATIONS * float(np.sqrt(mean * (1.0 - mean) / (rewards.episodes + 2.0))))


def _belief(everywhere: ArmRewards, here: ArmRewards | None) -> Normal:
    """Mean reward in a cluster, drawn toward that of the namespace."""
    here = here or ArmRewards()
    mean = (CLUSTER_STRENGTH * mean_reward(everywhere) + here.total) / (CLUSTER_STRENGTH + here.episodes)
    weight = min(CLUSTER_STRENGTH, everywhere.episodes + 1.0) + here.episodes
    return Normal(mean, float(np.sqrt(max(mean * (1.0 - mean), 1e-4) / (weight + 1.0))))
