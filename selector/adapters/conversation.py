"""What the user's messages say of task and state: by the rule of the readers of logs, so that live states meet them."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Heard:
    """The user's first and newest words: the task, and the state of the next step."""

    task: str = ""
    state: str = ""


def heard(user_texts: Iterable[str]) -> Heard:
    """Task and state, from what the user said in the order of time; texts of white space alone say nothing.

    >>> heard(["Book a flight.", " ", "To Oslo."])
    Heard(task='Book a flight.', state='To Oslo.')
    """
    said = [text for text in user_texts if text.strip()]
    return Heard(said[0], said[-1]) if said else Heard()
