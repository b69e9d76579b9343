"""What is known at one decision: the task, the state, the steps so far and the candidates."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, zip_longest

import numpy as np
from numpy.typing import NDArray

from selector.kinds import as_asked
from selector.mentions import Mentions, find, phrase_numbers, read
from selector.offer import Offer, offer_of
from selector.reading import Distinct, distinct
from trajstore.experience import Experience, Playback
from trajstore.redact import KeyedRedactor
from trajstore.render import Call, PastStep, render_goal, render_state
from trajstore.schema import Candidate

TASK, STATE = "^task", "^state"
MOST_TEXTS = 12


@dataclass(frozen=True)
class Situation:
    """One decision as the engine sees it, live or played back from a stored trajectory."""

    task: str
    state: str
    history: tuple[PastStep, ...]
    candidates: tuple[Candidate, ...]

    @cached_property
    def state_text(self) -> str:
        """The text that is embedded: what the agent knows just before it acts."""
        return render_state(self.state, self.history) or render_goal(self.task)

    @cached_property
    def moment_text(self) -> str:
        """The state alone, without what came before it."""
        return render_state(self.state, ()) or render_goal(self.task)

    @cached_property
    def since_request(self) -> tuple[PastStep, ...]:
        """The newest steps since which the state has only grown: the next one's state begins with each one's."""
        state, first = self.state, len(self.history)
        while first and self.history[first - 1].state and state.startswith(self.history[first - 1].state):
            first -= 1
            state = self.history[first].state
        return self.history[first:]

    @property
    def request(self) -> str:
        """The state as it stood before the newest steps that only added to it: what came since are answers."""
        return self.since_request[0].state if self.since_request else self.state

    @property
    def request_text(self) -> str:
        """What is asked for as a text to embed."""
        return render_state(self.request, ()) or render_goal(self.task)

    @cached_property
    def offer(self) -> Offer:
        """The candidates with what is read off them alone."""
        return offer_of(self.candidates)

    @property
    def calls(self) -> tuple[Call, ...]:
        """Each candidate as words."""
        return self.offer.calls

    @property
    def actions(self) -> tuple[str, ...]:
        """Each candidate's action as words."""
        return self.offer.actions

    @property
    def is_grounded(self) -> bool:
        """Whether any candidate comes with arguments."""
        return self.offer.is_grounded

    @property
    def is_described(self) -> bool:
        """Whether any candidate says more of itself than its tool's name: arguments, or a text."""
        return self.offer.is_described

    @property
    def tools(self) -> Distinct:
        """The different tools offered, and which of them is each candidate's."""
        return self.offer.tools

    @property
    def objects(self) -> tuple[str, ...]:
        """Each candidate's first argument as words, by the name of the argument; "" where it has none."""
        return self.offer.objects

    @cached_property
    def kinds(self) -> Mapping[str, str]:
        """The kind of each thing that is offered by a name with a number and that the task names by its kind."""
        kinds = ((name, as_asked(name, self.task)) for name in self.offer.numbered)
        return {name: kind for name, kind in kinds if kind != name}

    @cached_property
    def asked_actions(self) -> tuple[str, ...]:
        """Each candidate's action as words, things called by their kind where the task calls them so."""
        if not self.kinds:
            return self.actions
        return tuple(self._as_asked(call) for call in self.calls)

    def _as_asked(self, call: Call) -> str:
        action = call.action
        for name in (call.first, *call.others):
            if name in self.kinds:
                action = action.replace(name, self.kinds[name])
        return action

    @cached_property
    def done(self) -> tuple[str, ...]:
        """The action of each past step as words."""
        return tuple(step.action for step in self.history)

    @cached_property
    def mentions(self) -> Mentions:
        """Where the candidates' arguments are mentioned: in the task, in the state, and in what tools gave.

        Of each tool the newest words count, of the MOST_TEXTS − 2 tools that were called last.
        """
        texts = {TASK: self.task, STATE: self.state}
        for step in reversed(self.history):
            if len(texts) < MOST_TEXTS and step.observation:
                texts.setdefault(step.tool, step.observation)
        called = ((call.first, *call.others) for call in self.calls)
        columns = [*zip_longest(("", ""), *called, fillvalue="")]
        names = [*chain.from_iterable(columns)]
        parts = distinct([self.kinds.get(name, name) for name in names] if self.kinds else names)
        first, *others = parts.places.reshape(len(columns), -1)[:, 1:]
        phrases_PW = np.array([phrase_numbers(phrase) for phrase in parts.texts], np.int64)
        found = find(phrases_PW, [*map(read, texts.values())])
        return Mentions(parts.texts, first, np.stack(others, axis=1), tuple(texts), found)

    @property
    def last(self) -> PastStep | None:
        """The newest step, None at the start."""
        return self.history[-1] if self.history else None


def hidden(situation: Situation, redactor: KeyedRedactor) -> Situation:
    """A situation with secrets hidden as in stored ones, itself where there are none; its history was hidden before."""
    task, state = redactor.text(situation.task), redactor.text(situation.state)
    candidates = tuple(map(redactor.candidate, situation.candidates))
    if (task, state, candidates) == (situation.task, situation.state, situation.candidates):
        return situation
    return Situation(task, state, situation.history, candidates)


@dataclass(frozen=True, slots=True)
class CandidateSet:
    """Numbers of a situation's candidates in an `Experience`.

    `tool_names` are the different tools offered (M of them), `tools` their numbers (−1: never seen), `tool_of` (K,) the
    place of each candidate's tool among them, `siblings` (K,) how many candidates share its tool, `actions` (K,) the
    number of each candidate's action (−1: never seen), `first` (known tools,) the place of each known tool's first
    candidate (−1: not offered).
    """

    tool_names: tuple[str, ...]
    tools: NDArray[np.int64]
    tool_of: NDArray[np.int64]
    siblings: NDArray[np.int64]
    actions: NDArray[np.int64]
    first: NDArray[np.int64]

    @property
    def is_known(self) -> NDArray[np.bool_]:
        """Whether each of the different tools was ever seen, shape (M,)."""
        return self.tools >= 0


def number_candidates(offer: Offer, experience: Experience) -> CandidateSet:
    """Look the candidates up in the experience's vocabularies."""
    names, tool_of = offer.tools.texts, offer.tools.places
    tools = np.array([experience.tools.known(name) for name in names], np.int64)
    siblings = np.bincount(tool_of, minlength=len(names))[tool_of]
    actions = np.array([experience.actions.known(action) for action in offer.actions], np.int64)
    first = np.full(len(experience.tools) + 1, -1)
    first[tools[tool_of[::-1]]] = np.arange(len(tool_of))[::-1]
    return CandidateSet(names, tools, tool_of, siblings, actions, first[:-1])


def place_of(situation: Situation, tool: str, args: Mapping[str, object]) -> int | None:
    """Where a call stands among the candidates: the same call, else the bare tool; None where it was not offered."""
    bare = None
    for place, candidate in enumerate(situation.candidates):
        if candidate.tool == tool and candidate.args == args:
            return place
        if candidate.tool == tool and not candidate.args:
            bare = place if bare is None else bare
    return bare


def situation_at(playback: Playback, position: int, tools: Sequence[Candidate]) -> Situation:
    """The decision before the step at `position`; `tools` are offered where the log does not say what was."""
    step = playback.trajectory.steps[position]
    return Situation(
        playback.trajectory.task.text, step.state, playback.past[:position], tuple(step.candidates) or tuple(tools)
    )
