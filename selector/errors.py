"""Errors of the selector.

TrajstoreError
└── UsageError (ValueError)
├── SelectorUsageError     an argument of the selector breaks a rule              2
├── RuleFailed             a rule of the user raised, or did not return text      2
└── EpisodeFinished        an episode that has ended is used again                2
"""

from trajstore.errors import UsageError


class SelectorUsageError(UsageError):
    """An argument of the selector breaks a rule."""


class RuleFailed(SelectorUsageError):
    """A rule of the user raised an error, or did not return text."""


class EpisodeFinished(UsageError):
    """An episode that has ended is used again."""
