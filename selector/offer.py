"""What candidates are by themselves, whatever the situation in which they are offered."""

from dataclasses import dataclass
from functools import cached_property, lru_cache

from selector.reading import Distinct, distinct
from trajstore.render import Call, call_of
from trajstore.schema import Candidate

MOST_OFFERS = 64


@dataclass(frozen=True, eq=False)
class Offer:
    """Candidates with what is read off them alone; equal to itself only."""

    candidates: tuple[Candidate, ...]

    @cached_property
    def is_grounded(self) -> bool:
        """Whether any candidate comes with arguments."""
        return any(candidate.args for candidate in self.candidates)

    @cached_property
    def is_described(self) -> bool:
        """Whether any candidate says more of itself than its tool's name: arguments, or a text."""
        return self.is_grounded or any(candidate.text for candidate in self.candidates)

    @cached_property
    def calls(self) -> tuple[Call, ...]:
        """Each candidate as words."""
        return tuple(map(call_of, self.candidates))

    @cached_property
    def actions(self) -> tuple[str, ...]:
        """Each candidate's action as words."""
        if not self.is_grounded:
            return tuple(candidate.tool.lower() for candidate in self.candidates)
        return tuple(call.action for call in self.calls)

    @cached_property
    def tools(self) -> Distinct:
        """The different tools offered, and which of them is each candidate's."""
        return distinct(candidate.tool for candidate in self.candidates)

    @cached_property
    def numbered(self) -> tuple[str, ...]:
        """The different arguments, as words, that end in a number."""
        names = dict.fromkeys(name for call in self.calls for name in (call.first, *call.others))
        return tuple(name for name in names if name[-1:].isdecimal())

    @cached_property
    def objects(self) -> tuple[str, ...]:
        """Each candidate's first argument as words, by the name of the argument; "" where it has none."""
        return tuple(call.first for call in self.calls)


def offer_of(candidates: tuple[Candidate, ...]) -> Offer:
    """The offer of these candidates; that of the very same tuple is remembered, as an episode offers it step by step.

    >>> candidates = (Candidate("take", {"object": "coin"}), Candidate("look"))
    >>> offer_of(candidates).objects, offer_of(candidates) is offer_of(candidates)
    (('coin', ''), True)
    """
    return _offer(_Same(candidates))


class _Same:
    """A tuple as a key that equals itself alone: candidates have no hash, and comparing them takes time."""

    __slots__ = ("candidates",)

    def __init__(self, candidates: tuple[Candidate, ...]) -> None:
        self.candidates = candidates

    def __hash__(self) -> int:
        return id(self.candidates)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self.candidates is other.candidates


@lru_cache(maxsize=MOST_OFFERS)
def _offer(same: _Same) -> Offer:
    return Offer(same.candidates)
