"""selector: chooses the next tool from stored trajectories, says why, and abstains where it knows too little."""

from selector.bandit_memory import BanditConfig
from selector.episode import Episode
from selector.guard import Guard
from selector.health import HealthConfig
from selector.kpis import Kpi, RewardSpec
from selector.loops import LoopConfig
from selector.prune_book import PruneConfig
from selector.records import Decision, PrunedCandidate, RankedCandidate, SelectorConfig, SupportingStep
from selector.rules import Rule
from selector.selector import Selector
from selector.tool_bandit import ToolBandit
from selector.values import ValueConfig
from trajstore.schema import Candidate, ToolSpec

__all__ = [
    "BanditConfig",
    "Candidate",
    "Decision",
    "Episode",
    "Guard",
    "HealthConfig",
    "Kpi",
    "LoopConfig",
    "PruneConfig",
    "PrunedCandidate",
    "RankedCandidate",
    "RewardSpec",
    "Rule",
    "Selector",
    "SelectorConfig",
    "SupportingStep",
    "ToolBandit",
    "ToolSpec",
    "ValueConfig",
]
