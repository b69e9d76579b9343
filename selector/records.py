"""The records of the selector: its settings, and the decision that explains itself."""

from dataclasses import dataclass, field
from typing import Literal

from selector.corroboration import CorroborationConfig
from selector.errors import SelectorUsageError
from selector.fitting import Penalties
from selector.guard import Arm, Guard, Mode
from selector.health import HealthConfig
from selector.kpis import RewardSpec
from selector.learning import HoldOut
from selector.loops import LoopConfig
from selector.prune_book import PruneConfig
from selector.values import ValueConfig
from trajstore.filters import Scope
from trajstore.retriever import RetrieverConfig
from trajstore.schema import Candidate

Source = Literal["follow", "explore", "defer"]


@dataclass(frozen=True, slots=True)
class SelectorConfig:
    """Settings of a selector.

    `exploration` in [0, 1] is the share of choices made uniformly; `sharpening` > 0 divides the posterior's variance.
    It abstains where the weight of examples is below `minimum_support`, and where the nearest stored step and
    the nearest stored task are both less like the moment, by `strangeness` in [0, 2], than for all but 1 % of stored
    decisions; `prior_strength` is the weight of a
    mean without examples.  A grounded action that was tried n times in this state has its probability divided by
    (1 + n) ** `repeat_discount`, one that lost reward n times in this episode by (1 + n) ** `loss_discount`.
    A call that loses all costs `loss_aversion` times what being right is worth (`selector.danger`).

    Pruning near here needs a weight of judged steps of `prune_evidence`, credible bounds of `prune_deviations`, and
    an upper one below `prune_share` of the best lower one; `pruning` is for whole state clusters, `loops` and `health`
    for what happens live.  `decisions` bounds how many stored decisions the choice model is fitted to, left out by
    `hold_out`.

    `following` says whether stored paths may be followed.  `sources` names those whose trajectories are evidence (None:
    all of the namespace): of what others said nothing is retrieved, counted or fitted.  How well tools are, and what
    guidance is worth, is measured live, and stays that of the namespace.

    `mode` says how much of a decision an agent sees (`selector.guard`), `held_out` in [0, 1) is the least share of
    episodes left unguided to measure what guidance brings: more of them while that is not known, all of them once
    guided ones are credibly worse (`confidence`).
    `allowance` in [0, 1) guides only while at most that share of the unaided reward can have been lost (None: no such
    condition).  `policy_weight` in [0, 1] is how far a trained policy's opinion counts beside that of experience, where
    the selector was given one.  `reward` says what an episode is worth, `values` how its steps are credited with that
    (None: each with all of it, less the further it is from the end; `ValueConfig()`: by SARSA(λ)).  `corroboration`
    says when evidence counts in full by who vouches for it (None: always).
    """

    retrieval: RetrieverConfig = field(default_factory=RetrieverConfig)
    penalties: Penalties = field(default_factory=Penalties)
    hold_out: HoldOut = "group"
    decisions: int = 8000
    exploration: float = 0.02
    sharpening: float = 3.0
    prior_strength: float = 4.0
    minimum_support: float = 1.0
    strangeness: float = 0.05
    repeat_discount: float = 2.0
    loss_discount: float = 3.0
    loss_aversion: float = 1.0
    prune_evidence: float = 5.0
    prune_deviations: float = 3.0
    prune_share: float = 0.5
    pruning: PruneConfig = field(default_factory=PruneConfig)
    loops: LoopConfig = field(default_factory=LoopConfig)
    health: HealthConfig = field(default_factory=HealthConfig)
    reward: RewardSpec = field(default_factory=RewardSpec)
    values: ValueConfig | None = None
    mode: Mode = "suggest"
    held_out: float = 0.0
    policy_weight: float = 0.2
    margin: float = 0.05
    confidence: float = 0.95
    allowance: float | None = None
    corroboration: CorroborationConfig | None = field(default_factory=CorroborationConfig)
    following: bool = True
    record_episodes: bool = True
    sources: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        for name in ("exploration", "prune_share", "policy_weight"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise SelectorUsageError(f"{name} must lie in [0, 1], got {getattr(self, name)}")
        for name in ("sharpening", "prior_strength", "decisions", "prune_evidence", "prune_deviations"):
            if not getattr(self, name) > 0:
                raise SelectorUsageError(f"{name} must be above 0, got {getattr(self, name)}")
        for name in ("repeat_discount", "loss_discount", "loss_aversion", "minimum_support", "strangeness"):
            if not getattr(self, name) >= 0:
                raise SelectorUsageError(f"{name} must be 0 or more, got {getattr(self, name)}")
        if self.allowance is not None and not 0.0 <= self.allowance < 1.0:
            raise SelectorUsageError(f"allowance must lie in [0, 1), got {self.allowance}; None sets no condition")
        Guard(self.mode, self.held_out, margin=self.margin, confidence=self.confidence)
        Scope("", self.sources)


@dataclass(frozen=True, slots=True)
class RankedCandidate:
    """One candidate as the engine saw it: how probably it is right, a 90 % interval, and its evidence weight."""

    candidate: Candidate
    probability: float
    interval: tuple[float, float]
    evidence: float


@dataclass(frozen=True, slots=True)
class PrunedCandidate:
    """A candidate that was left out, and why."""

    candidate: Candidate
    reason: str


@dataclass(frozen=True, slots=True)
class SupportingStep:
    """A stored step behind a decision: where it stands, its joint similarity, and whether its trajectory succeeded."""

    trajectory: str
    step: int
    tool: str
    success: bool | None
    similarity: float


@dataclass(frozen=True, slots=True)
class Decision:
    """One choice.

    `tool` and `candidate` are None where it abstains (`source` "defer"), and where what it would have done is not shown
    to the agent (`mode` shadow or narrow, `arm` held_out): then `proposal` is that.  `propensity` in (0, 1] is the
    exact probability of this choice under the engine, `probabilities` those of all candidates in the order offered (of
    which leaving the agent alone is the rest to 1).  `ranked` is in falling order of probability.  `path` is the stored
    trajectory that is followed, `reason` says why it abstained, `policy` names the settings and the model.  `feared`
    are candidates that can lose more than they are likely to bring (`selector.danger`): they are not chosen.
    """

    decision_id: str
    candidate: Candidate | None
    source: Source
    propensity: float
    ranked: tuple[RankedCandidate, ...]
    pruned: tuple[PrunedCandidate, ...]
    evidence: tuple[SupportingStep, ...]
    reason: str = ""
    path: str | None = None
    probabilities: tuple[float, ...] = ()
    cluster: int = -1
    mode: Mode = "suggest"
    arm: Arm = "guided"
    proposal: Candidate | None = None
    policy: str = ""
    feared: tuple[Candidate, ...] = ()

    @property
    def tool(self) -> str | None:
        """The tool chosen, None where it abstains."""
        return self.candidate.tool if self.candidate else None
