"""What every adapter does alike at the border to its runtime: name an outcome, word a refusal, ask a judge."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

from selector.adapters.advisor import AdvisedEpisode, Advisor
from trajstore.schema import Outcome

Result = TypeVar("Result")

MOST_CAUSES = 16


def outcome_of(error: BaseException) -> Outcome:
    """How a tool ended that raised `error`; a runtime may have wrapped what was raised.

    >>> outcome_of(ValueError()), outcome_of(TimeoutError()), outcome_of(asyncio.CancelledError())
    ('tool_error', 'timeout', 'cancelled')
    """
    if isinstance(error, asyncio.CancelledError):
        return "cancelled"
    cause: BaseException | None = error
    for _ in range(MOST_CAUSES):
        if cause is None:
            break
        if isinstance(cause, TimeoutError):
            return "timeout"
        cause = cause.__cause__ or cause.__context__
    return "tool_error"


def refused(tool: str, reason: str) -> str:
    """What the model reads in place of an observation.

    >>> refused("remove", "it cannot be undone")
    'The tool `remove` was not run: it cannot be undone. Go on with another tool.'
    """
    return f"The tool `{tool}` was not run: {reason}. Go on with another tool."


def judged(advisor: Advisor, judge: Callable[[Result], bool | None] | None, result: Result) -> bool | None:
    """The word of the user's judge; None where there is none, or it fails."""
    if judge is not None:
        with advisor.complaints.instead_of_raising("a run could not be judged"):
            return judge(result)
    return None


def observed_error(episode: AdvisedEpisode, tool: str, args: object, error: BaseException) -> None:
    """Take in a call that raised."""
    episode.observe(tool, args, outcome_of(error), error=f"{type(error).__name__}: {error}")
