"""The rewarded-step bandit: which tool to use in a state, learned from rewards that come late, twice or never.

Kernel evidence on hierarchical priors (the C3 family, arXiv 2603.16755), averaged with a linear model of every tool as
far as that foretells rewards better (`selector.linear_values`), with Gaussian Thompson draws (Thompson 1933),
exact propensities (arXiv 2504.08773), a change detector for each kind of state and tool (Page 1954) and a bounded
price for newcomers (arXiv 2602.00943).  Letters: K tools offered, D vector entries.
"""

import io
import json
import zipfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from selector.bandit_memory import BanditConfig, BanditMemory, Scalars, require
from selector.errors import SelectorUsageError
from selector.kernel_values import Floats, Numbers, Report, Vectors, chosen_probability, newcomer_mean

Name = str | int
Reported = Literal["applied", "duplicate", "unknown"]

FORMAT = 2
SMALLEST_PROPENSITY = 1e-9
REMEMBERED_IDS = 65_536


@dataclass(frozen=True, slots=True)
class BanditChoice:
    """One tool out of the K offered: its `place` among them, and the probability with which it was chosen.

    `means_K` and `deviations_K` are those of the draws, so that the propensity of every tool can be computed again.
    """

    tool: Name
    place: int
    propensity: float
    means_K: Floats
    deviations_K: Floats


@dataclass(frozen=True, slots=True)
class ReportCounts:
    """How many reports were applied, came again, or named a decision that is not (or no longer) known."""

    applied: int = 0
    duplicate: int = 0
    unknown: int = 0


@dataclass(frozen=True, slots=True)
class _Pending:
    """A decision whose reward is awaited."""

    state_D: Vectors
    column: int
    expected: float


class ToolBandit:
    """Chooses tools by state and learns from their rewards.

    `dimension` D of the unit state vectors; same seed, same calls, same choices.
    `choose` costs some tens of microseconds whatever was learned; `report` the same, except that it settles the
    prototypes anew whenever the rows have grown by half.  One thread at a time.  Of decisions that are never
    reported, and of ids already reported, the last 65,536 are kept.

    >>> bandit = ToolBandit(2, BanditConfig(), np.random.default_rng(0))
    >>> choice = bandit.choose("first", np.array([1.0, 0.0], np.float32), ["search", "read"])
    >>> choice.tool, bandit.report("first", 1.0), bandit.report("first", 1.0)
    ('search', 'applied', 'duplicate')
    """

    def __init__(self, dimension: int, config: BanditConfig, rng: np.random.Generator) -> None:
        require(dimension > 0, f"dimension must be 1 or more, got {dimension}")
        self._config, self._rng, self._dimension = config, rng, dimension
        self._memory = BanditMemory(dimension, config)
        self._columns: dict[Name, int] = {}
        self._pending: dict[Name, _Pending] = {}
        self._reported: dict[Name, None] = {}
        self._counts = dict.fromkeys(("applied", "duplicate", "unknown"), 0)

    @property
    def counts(self) -> ReportCounts:
        """What became of the reports so far."""
        return ReportCounts(**self._counts)

    def choose(self, decision_id: Name, state_D: Vectors, tools: Sequence[Name] | Numbers) -> BanditChoice:
        """One of K > 0 tools, named by strings or numbers, for a unit vector of shape (D,); remembers the decision.

        Raises `SelectorUsageError` where the id was used before, no tool is offered, or the vector does not fit.
        """
        names: list[Name] = tools.tolist() if isinstance(tools, np.ndarray) else list(tools)
        self._check(decision_id, state_D, names)
        columns_K = self._columns_of(names)
        means_K, deviations_K = self._draws_of(state_D, columns_K)
        place = self._draw(means_K, deviations_K)
        propensity = chosen_probability(means_K, deviations_K, place, self._config.exploration)
        self._await(decision_id, _Pending(state_D.copy(), int(columns_K[place]), float(means_K[place])))
        return BanditChoice(names[place], place, max(propensity, SMALLEST_PROPENSITY), means_K, deviations_K)

    def report(self, decision_id: Name, reward: float, weight: float = 1.0) -> Reported:
        """Credit a decision with a reward in [0, 1] that weighs `weight` in [0, 1]; each decision counts once.

        "duplicate": it was reported before; "unknown": no such decision.  Neither changes anything but the counts.
        """
        require(0.0 <= reward <= 1.0, f"reward must lie in [0, 1], got {reward}")
        require(0.0 <= weight <= 1.0, f"weight must lie in [0, 1], got {weight}")
        decision = self._pending.pop(decision_id, None)
        if decision is None:
            return self._count("duplicate" if decision_id in self._reported else "unknown")
        self._reported[decision_id] = None
        _bound(self._reported)
        self._memory.learn(Report(decision.state_D, decision.column, float(reward), float(weight), decision.expected))
        return self._count("applied")

    def refresh(self) -> None:
        """Settle what is learned slowly now, where the caller has time; `report` does it when it is due."""
        self._memory.refresh()

    def save(self) -> bytes:
        """Everything, the generator included, as a NumPy archive without pickle."""
        pending = list(self._pending.values())
        header = {
            "format": FORMAT,
            "dimension": self._dimension,
            "config": asdict(self._config),
            "tools": list(self._columns),
            "pending": [[key, one.column, one.expected] for key, one in self._pending.items()],
            "reported": list(self._reported),
            "counts": self._counts,
            "scalars": asdict(self._memory.scalars()),
            "rng": self._rng.bit_generator.state,
        }
        arrays: dict[str, Any] = dict(self._memory.arrays())  # savez takes arrays of any type by name
        arrays["header"] = np.frombuffer(json.dumps(header, default=_plain).encode(), np.uint8)
        arrays["pending"] = np.array([one.state_D for one in pending], np.float32).reshape(-1, self._dimension)
        file = io.BytesIO()
        np.savez(file, **arrays)
        return file.getvalue()

    @classmethod
    def load(cls, content: bytes) -> "ToolBandit":
        """What `save` gave; it goes on exactly as the saved one would have.

        Raises `SelectorUsageError` where the bytes are no such archive.
        """
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as archive:
                arrays = {name: archive[name] for name in archive.files}
            return cls._restored(json.loads(arrays["header"].tobytes()), arrays)
        except (ValueError, KeyError, TypeError, EOFError, OSError, zipfile.BadZipFile) as error:
            raise SelectorUsageError("these bytes are not a saved tool bandit; save it anew") from error

    @classmethod
    def _restored(cls, header: dict[str, Any], arrays: dict[str, Any]) -> "ToolBandit":
        """A bandit from the parts of an archive: its JSON and its arrays, which are of several types."""
        require(header["format"] == FORMAT, f"format must be {FORMAT}, got {header['format']}")
        settings = header["config"]
        settings["fixed_bandwidth"] = settings["fixed_bandwidth"] and tuple(settings["fixed_bandwidth"])
        bits = getattr(np.random, header["rng"]["bit_generator"])()
        bits.state = header["rng"]
        bandit = cls(header["dimension"], BanditConfig(**settings), np.random.Generator(bits))
        bandit._memory.restore(arrays, Scalars(**header["scalars"]))
        bandit._columns = {tool: column for column, tool in enumerate(header["tools"])}
        waiting = zip(arrays["pending"], header["pending"], strict=True)
        bandit._pending = {key: _Pending(state_D, column, expected) for state_D, (key, column, expected) in waiting}
        bandit._reported = dict.fromkeys(header["reported"])
        bandit._counts = header["counts"]
        return bandit

    def _check(self, decision_id: Name, state_D: Vectors, names: list[Name]) -> None:
        wanted = (self._dimension,)
        require(bool(names), "no tool is offered; offer at least one")
        require(state_D.shape == wanted, f"the state must have shape {wanted}, got {state_D.shape}")
        is_new = decision_id not in self._pending and decision_id not in self._reported
        require(is_new, f"decision {decision_id!r} was made before; give each decision its own id")

    def _columns_of(self, names: list[Name]) -> Numbers:
        """Columns of the tools; a tool never offered before gets one."""
        columns = self._columns
        known = len(columns)
        numbers_K = np.array([columns.setdefault(name, len(columns)) for name in names])
        if len(columns) > known:
            self._memory.widen(len(columns) - known)
        return numbers_K

    def _draws_of(self, state_D: Vectors, columns_K: Numbers) -> tuple[Floats, Floats]:
        """Means and deviations √(noise / (η n)) of the K draws; newcomers and suspects get their chances."""
        config = self._config
        posterior = self._memory.posterior(state_D, columns_K)
        means_K, deviations_K = posterior.means_K, np.sqrt(config.noise / config.sharpening / posterior.counts_K)
        newcomers = self._memory.newcomers(columns_K) if config.newcomer_chance else ()
        if 0 < len(newcomers) < len(columns_K):
            rest_K = np.delete(np.arange(len(columns_K)), newcomers)
            best = int(rest_K[means_K[rest_K].argmax()])
            chance = config.newcomer_chance / len(newcomers)
            for one in newcomers:
                means_K[one] = newcomer_mean(means_K[best], deviations_K[best], deviations_K[one], chance)
        if config.revisit_chance and posterior.suspicions_K.any():
            best = int(means_K.argmax())
            for one in np.flatnonzero(posterior.suspicions_K):
                chance = config.revisit_chance / float(posterior.suspicions_K[one])
                reach = newcomer_mean(means_K[best], deviations_K[best], deviations_K[one], chance)
                means_K[one] = max(means_K[one], reach)
        return means_K, deviations_K

    def _draw(self, means_K: Floats, deviations_K: Floats) -> int:
        """The place of the largest draw, or with probability ε any place."""
        uniform, anywhere = self._rng.random(2)
        drawn = int((means_K + deviations_K * self._rng.standard_normal(len(means_K))).argmax())
        return int(anywhere * len(means_K)) if uniform < self._config.exploration else drawn

    def _await(self, decision_id: Name, decision: _Pending) -> None:
        self._pending[decision_id] = decision
        _bound(self._pending)

    def _count(self, reported: Reported) -> Reported:
        self._counts[reported] += 1
        return reported


def _bound(kept: dict[Name, Any]) -> None:
    """Forget the oldest key where there are too many; the values are of no matter."""
    if len(kept) > REMEMBERED_IDS:
        del kept[next(iter(kept))]


def _plain(number: np.integer[Any]) -> int:
    """Numbers of NumPy, which ids may be, as JSON knows them."""
    return int(number)
