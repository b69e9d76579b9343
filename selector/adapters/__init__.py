"""Guided tool choice in the runtimes of agents: a core that knows no runtime, and one file for each of them.

Each runtime's package comes with an extra of its own; importing its adapter without it says which.
"""

from selector.adapters.advice import Advice
from selector.adapters.advisor import AdvisedEpisode, Advisor
from selector.adapters.episode_work import AdvisorSettings

__all__ = ["Advice", "AdvisedEpisode", "Advisor", "AdvisorSettings"]
