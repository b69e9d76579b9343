"""What a policy is worth on a log, against what is known of the world that made it."""

import numpy as np
import pytest
from tiny_policies import embedder, logged_presses

from grpo.decision_table import DecisionTable
from grpo.encoding import Encoder
from grpo.logged_data import LoggedData
from grpo.logged_evaluation import LoggedPanel
from grpo.rollouts import encode_rollouts

SKILL, COLOURS = 0.6, ("red", "blue", "green")


class Log:
    """Presses of an agent, one a trajectory, and the tables of policies that do better and worse."""

    def __init__(self, groups: int = 400, length: int = 1) -> None:
        trajectories = logged_presses(groups, skill=SKILL, length=length)
        encoder = Encoder(embedder(), most_texts=None)
        self.rollouts = encode_rollouts(trajectories, encoder)
        self.rewards_R = np.array([trajectory.reward for trajectory in trajectories])
        count = len(self.rollouts)
        self.right_N = np.array(
            [COLOURS.index(step.state.split()[-1]) for trajectory in trajectories for step in trajectory.steps]
        )
        self.succeeded_N = self.rollouts.successes_R[self.rollouts.rollouts_N] == 1.0
        self.data = LoggedData(
            self.rollouts,
            DecisionTable(self.rollouts.decisions, encoder.table.vectors),
            None,  # type: ignore[arg-type]  # a panel reads no advantage
            np.log(self.rollouts.propensities_N),
            np.zeros(count, np.bool_),
            np.zeros(len(trajectories)),
            np.zeros(count),
            self.succeeded_N.astype(float),
        )

    def panel(self, is_panel_R=None) -> LoggedPanel:
        everyone = np.ones(len(self.rewards_R), np.bool_)
        return LoggedPanel(self.data, everyone if is_panel_R is None else is_panel_R, self.rewards_R)

    def table(self, skill: float) -> np.ndarray:
        """ln π of a policy that presses the right button with probability `skill`."""
        found = np.full((len(self.right_N), 3), np.log((1.0 - skill) / 2.0))
        found[np.arange(len(found)), self.right_N] = np.log(skill)
        return found


LOG = Log()


@pytest.mark.parametrize("skill", [0.34, 0.6, 0.8, 0.95])
def test_the_value_of_a_policy_lies_in_its_interval(skill):
    scores = LOG.panel().scores(LOG.table(skill))
    assert scores.value.low <= skill <= scores.value.high
    assert scores.value.standard_error > 0.0


def test_the_policy_that_acted_is_worth_what_the_log_earned():
    scores = LOG.panel().scores(LOG.table(SKILL))
    assert scores.value.value == pytest.approx(scores.logged_value) == pytest.approx(LOG.rewards_R.mean())
    assert scores.effective_sample_size == pytest.approx(1.0)


def test_the_further_from_the_log_the_fewer_decisions_tell():
    sizes = [LOG.panel().scores(LOG.table(skill)).effective_sample_size for skill in (0.6, 0.8, 0.99)]
    assert sizes[0] > sizes[1] > sizes[2] > 0.0


def test_a_policy_that_knows_the_right_button_names_what_successes_did():
    scores = LOG.panel().scores(LOG.table(0.9))
    assert scores.at1.value == scores.at3.value == 1.0
    assert scores.log_loss.value == pytest.approx(-np.log(0.9))


def test_ties_share_the_first_place():
    scores = LOG.panel().scores(np.full((len(LOG.right_N), 3), -np.log(3)))
    assert scores.at1.value == pytest.approx(1 / 3)
    assert scores.at3.value == 1.0


def test_gains_are_differences_of_scores():
    before, after = LOG.table(0.5), LOG.table(0.9)
    first, second = LOG.panel().scores(before), LOG.panel().scores(after)
    gain = LOG.panel().gain(before, after)
    assert gain.value.value == pytest.approx(second.value.value - first.value.value)
    assert gain.log_loss.value == pytest.approx(second.log_loss.value - first.log_loss.value)
    assert gain.value.low > 0.0


def test_a_policy_gains_nothing_over_itself():
    gain = LOG.panel().gain(LOG.table(0.7), LOG.table(0.7))
    assert gain.value.low == gain.value.high == gain.at1.value == gain.log_loss.value == 0.0


def test_a_panel_looks_at_its_own_trajectories_only():
    other = Log()
    mine = np.arange(len(other.rewards_R)) < 200
    before = other.panel(mine).scores(other.table(0.8))
    other.rewards_R = np.where(mine, other.rewards_R, 99.0)
    assert other.panel(mine).scores(other.table(0.8)) == before


def test_long_trajectories_count_no_more_than_short_ones():
    long = Log(groups=100, length=4)
    scores = long.panel().scores(long.table(SKILL))
    assert scores.logged_value == pytest.approx(long.rewards_R.mean())


def test_unknown_rewards_count_nowhere():
    other = Log(groups=50)
    unknown = np.arange(len(other.rewards_R)) % 2 == 0
    expected = other.rewards_R[~unknown].mean()
    other.rewards_R = np.where(unknown, np.nan, other.rewards_R)
    assert other.panel().scores(other.table(SKILL)).value.value == pytest.approx(expected)
