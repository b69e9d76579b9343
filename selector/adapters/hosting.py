"""What every adapter does alike at the border to its runtime: name an outcome, word a refusal, ask a judge."""

from collections.abc import Callable
from typing import TypeVar

from selector.adapters.advisor import AdvisedEpisode
from selector.adapters.complaints import Complaints, named
from trajstore.schema import Outcome

Result = TypeVar("Result")
Judge = Callable[[Result], bool | None]
"""Says of a runtime's own final result whether the task was done; None where it cannot tell."""

MOST_CAUSES = 16


def outcome_of(error: BaseException) -> Outcome:
    """How a tool ended that raised `error`; a runtime may have wrapped what was raised.

    >>> outcome_of(ValueError()), outcome_of(TimeoutError()), outcome_of(KeyboardInterrupt())
    ('tool_error', 'timeout', 'cancelled')
    """
    if not isinstance(error, Exception):
        return "cancelled"
    cause: BaseException | None = error
    for _ in range(MOST_CAUSES):
        if cause is None:
            break
        if isinstance(cause, TimeoutError):
            return "timeout"
        cause = cause.__cause__ or cause.__context__  # also where it is hidden: pydantic-ai raises so on a timeout
    return "tool_error"


def refused(tool: str, reason: str) -> str:
    """What the model reads in place of an observation.

    >>> refused("remove", "it cannot be undone")
    'The tool `remove` was not run: it cannot be undone. Go on with another tool.'
    """
    return f"The tool `{tool}` was not run: {reason}. Go on with another tool."


def judged(complaints: Complaints, judge: Judge[Result] | None, result: Result) -> bool | None:
    """The word of the user's judge; None where there is none, or it fails."""
    if judge is None:
        return None
    with complaints.instead_of_raising("the judge failed"):
        success = judge(result)
        if success is None or isinstance(success, bool):
            return success
        raise TypeError(f"a judge must return True, False or None, got {success!r}")
    return None


def observed_error(episode: AdvisedEpisode, tool: str, args: object, error: BaseException) -> None:
    """Take in a call that raised."""
    episode.observe(tool, args, outcome_of(error), error=named(error))
