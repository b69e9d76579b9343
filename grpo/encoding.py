"""Situations as numbers: what a `ToolPolicy` sees of the task, the state, the history and each candidate.

Texts become rows of one table, so that a text that comes up in a thousand decisions is embedded and kept once.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from selector.features import state_features
from selector.relations import RELATIONS, relations
from selector.situation import Situation, place_of
from trajstore.embedding import Embedder, word_hash
from trajstore.experience import Playback
from trajstore.render import clip, render_goal
from trajstore.schema import Candidate

Floats = NDArray[np.float32]
Rows = NDArray[np.int64]

TOOL_ROWS = 2048
RECENT_TOOLS = 8
CANDIDATE_CHARACTERS = 400
LIVE_TEXTS = 20_000

STANDINGS = (
    *RELATIONS,
    "similarity to the task",
    "similarity to the state",
    "similarity to the history",
    "times its tool was called (log)",
    "its tool was called last",
    "its tool was called last and failed",
)


class TextTable:
    """Unit vectors of texts, one row each; row 0 is the empty text, the zero vector."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder
        self._rows: dict[str, int] = {"": 0}
        self._vectors = np.zeros((256, embedder.identity.dimension), np.float32)

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def dimension(self) -> int:
        """Entries of a vector, D."""
        return int(self._vectors.shape[1])

    @property
    def vectors(self) -> Floats:
        """All vectors, shape (texts, D)."""
        return self._vectors[: len(self._rows)]

    def rows(self, texts: Sequence[str]) -> Rows:
        """The row of each text, shape (len(texts),); new texts are embedded together."""
        new = [text for text in dict.fromkeys(texts) if text not in self._rows]
        if new:
            self._append(new)
        return np.array([self._rows[text] for text in texts], np.int64)

    def _append(self, texts: Sequence[str]) -> None:
        first, needed = len(self._rows), len(self._rows) + len(texts)
        if needed > len(self._vectors):
            grown = np.zeros((max(needed, 2 * len(self._vectors)), self.dimension), np.float32)
            grown[:first] = self._vectors[:first]
            self._vectors = grown
        self._vectors[first:needed] = self._embedder.embed(texts)
        self._rows |= {text: first + place for place, text in enumerate(texts)}


@dataclass(frozen=True, slots=True)
class EncodedDecision:
    """One situation with K candidates.

    `task`, `state` and `history` are rows of the text table, `candidates_K` those of the candidates, `tools_K` in
    [0, TOOL_ROWS) name their tools, `words_W` and `weights_W` are hashed words of the situation
    (`selector.features.state_features`), `standings_KF` how each candidate stands to it (`STANDINGS`), but for the
    three similarities, which the policy adds.
    """

    task: int
    state: int
    history: int
    words_W: Rows
    weights_W: Floats
    candidates_K: Rows
    tools_K: Rows
    standings_KF: Floats


class Encoder:
    """Encodes situations; `descriptions` are what tools say about themselves, by name.

    The table of texts is emptied when it has grown beyond `most_texts` (None: never, as for training, where encoded
    decisions are kept).
    """

    def __init__(
        self, embedder: Embedder, descriptions: Mapping[str, str] | None = None, *, most_texts: int | None = LIVE_TEXTS
    ) -> None:
        self.embedder, self.descriptions = embedder, dict(descriptions or {})
        self.most_texts = most_texts
        self.table = TextTable(embedder)

    def encode(self, situation: Situation) -> EncodedDecision:
        """One decision as rows and numbers."""
        if self.most_texts is not None and len(self.table) > self.most_texts:
            self.table = TextTable(self.embedder)
        words, recent = state_features(situation), [step.tool for step in situation.history[-RECENT_TOOLS:]]
        texts = [render_goal(situation.task), situation.state_text, " ".join(recent)]
        rows = self.table.rows([*texts, *map(self._text_of, situation.candidates)])
        return EncodedDecision(
            task=int(rows[0]),
            state=int(rows[1]),
            history=int(rows[2]),
            words_W=words.places,
            weights_W=words.values.astype(np.float32),
            candidates_K=rows[3:],
            tools_K=np.array([tool_row(candidate.tool) for candidate in situation.candidates], np.int64),
            standings_KF=standings(situation),
        )

    def _text_of(self, candidate: Candidate) -> str:
        words = [candidate.tool, self.descriptions.get(candidate.tool, ""), candidate.text]
        words += [] if candidate.text else map(str, candidate.args.values())
        return clip(" ".join(word for word in words if word), CANDIDATE_CHARACTERS)


def tool_row(tool: str) -> int:
    """A number in [0, TOOL_ROWS) for a tool's name, the same in every process."""
    return (word_hash(tool) >> 1) % TOOL_ROWS


def standings(situation: Situation) -> Floats:
    """How each candidate stands to the situation, the three similarities 0; shape (K, len(STANDINGS))."""
    related = np.zeros((len(situation.candidates), len(STANDINGS)), np.float32)
    if situation.is_described:
        related[:, : len(RELATIONS)] = relations(situation)
    times, last = Counter(step.tool for step in situation.history), situation.last
    tools = [candidate.tool for candidate in situation.candidates]
    related[:, -3] = np.log1p([times[tool] for tool in tools])
    if last is not None:
        related[:, -2] = [tool == last.tool for tool in tools]
        related[:, -1] = related[:, -2] * last.failed
    return related


@dataclass(frozen=True, slots=True)
class LoggedDecision:
    """A step of a trajectory as a decision: encoded, the place of what was chosen, and its propensity if logged."""

    encoded: EncodedDecision
    chosen: int
    propensity: float | None = None


@dataclass(frozen=True, slots=True)
class Offer:
    """What is taken to have been offered where a log does not say: `tools`, or a sample of them with the one chosen."""

    tools: tuple[Candidate, ...] = ()
    most: int = 64
    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(0))

    def with_chosen(self, tool: str) -> tuple[Candidate, ...]:
        """At most `most` of the tools, the one chosen among them."""
        if len(self.tools) <= self.most:
            return self.tools
        kept = set(self.rng.choice(len(self.tools), self.most - 1, replace=False).tolist())
        return tuple(one for place, one in enumerate(self.tools) if place in kept or one.tool == tool)


def decision_at(playback: Playback, position: int, encoder: Encoder, offer: Offer) -> LoggedDecision | None:
    """The decision that a step stands for; None where it called no offered tool, or nothing else was offered."""
    step = playback.trajectory.steps[position]
    if step.kind != "tool":
        return None
    offered = step.candidates or offer.with_chosen(step.tool)
    situation = Situation(playback.trajectory.task.text, step.state, playback.past[:position], tuple(offered))
    chosen = place_of(situation, step.tool, step.args)
    if chosen is None or len(offered) < 2:
        return None
    return LoggedDecision(encoder.encode(situation), chosen, step.propensity)
