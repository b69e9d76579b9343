"""The book of pruned pairs: tools that are credibly worse than another in a kind of state, until their next probe.

A pair is quarantined on credible bounds of what became of trajectories, never on an error or a repeated call.  Its time
runs out: then it may be tried again, and if new evidence still speaks against it, the next time is twice as long.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv

from selector.errors import SelectorUsageError

Floats = NDArray[np.float64]
Status = Literal["active", "quarantined", "restored"]
DAY = 86_400.0


@dataclass(frozen=True, slots=True)
class PruneConfig:
    """When a pair is pruned, and for how long.

    It needs `evidence` judged trajectories; its upper bound must lie below `share` of the best lower bound (who calls
    which tool is no chance: a tool of weak agents may look half as good as it is), or below `floor`; each bound holds
    with probability 1 − `doubt` / (tools compared), on a prior that weighs `prior_weight`.  The first quarantine lasts
    `first_seconds`, each later one twice as long, up to `longest_seconds`.
    """

    evidence: float = 10.0
    doubt: float = 0.01
    share: float = 0.25
    floor: float = 0.0
    prior_weight: float = 2.0
    first_seconds: float = DAY
    longest_seconds: float = 32 * DAY

    def __post_init__(self) -> None:
        for name in ("evidence", "prior_weight", "first_seconds"):
            if not getattr(self, name) > 0:
                raise SelectorUsageError(f"{name} must be above 0, got {getattr(self, name)}")
        for name in ("doubt", "share", "floor"):
            if not 0.0 <= getattr(self, name) < 1.0:
                raise SelectorUsageError(f"{name} must lie in [0, 1), got {getattr(self, name)}")
        if self.doubt == 0.0 or self.longest_seconds < self.first_seconds:
            raise SelectorUsageError("doubt must be above 0, and longest_seconds not below first_seconds")


@dataclass(frozen=True, slots=True)
class Verdict:
    """A pair that is credibly bad: at most `upper`, while `rival` has at least `rival_lower`."""

    cluster: int
    tool: str
    successes: float
    counts: float
    upper: float
    rival: str
    rival_lower: float

    @property
    def reason(self) -> str:
        """Why, in words."""
        rival = f"{self.rival} has at least {self.rival_lower:.2f}" if self.rival else "that is below the floor"
        return f"fails in such states: success at most {self.upper:.2f} after {self.counts:.0f} trajectories; {rival}"


@dataclass(frozen=True, slots=True)
class PrunedPair:
    """A pair in the book.

    `successes` of `counts` and the bounds are those of its newest quarantine (or of the moment when a person restored
    it); times are seconds since 1970; `strikes` counts its quarantines.
    """

    cluster: int
    tool: str
    status: Status
    reason: str
    successes: float
    counts: float
    upper: float
    rival: str
    rival_lower: float
    since: float
    until: float
    strikes: int


def judge(
    successes_CT: Floats, counts_CT: Floats, prior_CT: Floats, names: Sequence[str], config: PruneConfig
) -> tuple[Verdict, ...]:
    """Every pair of state cluster and tool that is credibly bad; one tool always stays in each cluster.

    Credible bounds are quantiles of Beta(s m + S, s (1 − m) + N − S), with m the prior mean and s its weight;
    0 ≤ successes ≤ counts, all of shape (C, T).
    """
    tried = counts_CT >= config.evidence
    if not tried.any():
        return ()
    alpha = config.prior_weight * prior_CT + successes_CT
    beta = config.prior_weight * (1.0 - prior_CT) + np.maximum(counts_CT - successes_CT, 0.0)
    doubt_CT = np.broadcast_to(config.doubt / np.maximum(tried.sum(axis=1, keepdims=True), 1), tried.shape)
    low, high = np.zeros(tried.shape), np.ones(tried.shape)
    low[tried] = betaincinv(alpha[tried], beta[tried], doubt_CT[tried])
    high[tried] = betaincinv(alpha[tried], beta[tried], 1.0 - doubt_CT[tried])
    best = np.argmax(low, axis=1)
    best_low = low.max(axis=1)
    is_worse = tried & (high < config.share * best_low[:, None])
    is_low = tried & (high < config.floor) & (np.arange(tried.shape[1])[None] != best[:, None])
    return tuple(
        Verdict(
            cluster,
            names[tool],
            float(successes_CT[cluster, tool]),
            float(counts_CT[cluster, tool]),
            float(high[cluster, tool]),
            names[int(best[cluster])] if is_worse[cluster, tool] else "",
            float(best_low[cluster]),
        )
        for cluster, tool in np.argwhere(is_worse | is_low).tolist()
    )


def low_value(wins: Floats, attempts: Floats, config: PruneConfig) -> NDArray[np.bool_]:
    """Stored paths that credibly succeed less than `share` as often as all paths on average; one shape for all."""
    overall = float((wins.sum() + 1.0) / (attempts.sum() + 2.0))
    tried = attempts >= config.evidence
    high = np.ones(attempts.shape)
    alpha = config.prior_weight * overall + wins[tried]
    beta = config.prior_weight * (1.0 - overall) + np.maximum(attempts - wins, 0.0)[tried]
    high[tried] = betaincinv(alpha, beta, 1.0 - config.doubt)
    return np.asarray(high < config.share * overall, np.bool_)


class PruneBook:
    """Pairs by state cluster and tool; `records` is all that there is to keep."""

    def __init__(self, config: PruneConfig | None = None, records: Iterable[PrunedPair] = ()) -> None:
        self._config = config or PruneConfig()
        self._pairs = {(pair.cluster, pair.tool): pair for pair in records}
        self._quarantined: dict[int, dict[str, PrunedPair]] = {}
        for pair in self._pairs.values():
            self._put(pair)

    def apply(self, verdicts: Iterable[Verdict], now: float) -> tuple[PrunedPair, ...]:
        """Take in all that is bad now: quarantine what is new, free what no longer is; returns what changed."""
        bad = {(verdict.cluster, verdict.tool): verdict for verdict in verdicts}
        changed = [
            replace(pair, status="active", until=now)
            for key, pair in self._pairs.items()
            if pair.status == "quarantined" and key not in bad
        ]
        for key, verdict in bad.items():
            pair = self._pairs.get(key)
            if pair is None or self._is_due(pair, verdict, now):
                changed.append(self._quarantine(verdict, pair.strikes if pair else 0, now))
        for pair in changed:
            self._put(pair)
        return tuple(changed)

    def pruned(self, cluster: int, tools: Sequence[str], now: float) -> Mapping[str, str]:
        """Reason by tool of those that are quarantined in a cluster and whose time has not run out."""
        here = self._quarantined.get(cluster)
        if not here:
            return {}
        return {tool: here[tool].reason for tool in tools if tool in here and now < here[tool].until}

    def reopen(self, tool: str, now: float) -> tuple[PrunedPair, ...]:
        """Let a tool that has changed be tried again everywhere at once; returns what changed."""
        changed = [
            replace(pair, until=now)
            for pair in self._pairs.values()
            if pair.tool == tool and pair.status == "quarantined" and pair.until > now
        ]
        for pair in changed:
            self._put(pair)
        return tuple(changed)

    def restore(self, cluster: int, tool: str, now: float) -> PrunedPair:
        """A person's word: use the pair again, until there is half as much evidence against it again."""
        pair = self._pairs.get((cluster, tool))
        if pair is None or pair.status != "quarantined":
            raise SelectorUsageError(
                f"tool {tool!r} is not pruned in state cluster {cluster}; trajstore pruned lists what is"
            )
        restored = replace(pair, status="restored", since=now, until=now, reason=f"restored: {pair.reason}")
        self._put(restored)
        return restored

    def records(self) -> tuple[PrunedPair, ...]:
        """Every pair that was ever quarantined, and where it stands."""
        return tuple(self._pairs.values())

    def _is_due(self, pair: PrunedPair, verdict: Verdict, now: float) -> bool:
        """Whether a pair that is (again) bad goes into (another) quarantine."""
        if pair.status == "restored":
            return verdict.counts >= 1.5 * pair.counts
        return pair.status == "active" or (now >= pair.until and verdict.counts > pair.counts + 1e-9)

    def _quarantine(self, verdict: Verdict, strikes: int, now: float) -> PrunedPair:
        seconds = min(self._config.first_seconds * 2.0**strikes, self._config.longest_seconds)
        return PrunedPair(
            verdict.cluster,
            verdict.tool,
            "quarantined",
            verdict.reason,
            verdict.successes,
            verdict.counts,
            verdict.upper,
            verdict.rival,
            verdict.rival_lower,
            now,
            now + seconds,
            strikes + 1,
        )

    def _put(self, pair: PrunedPair) -> None:
        self._pairs[pair.cluster, pair.tool] = pair
        here = self._quarantined.setdefault(pair.cluster, {})
        here.pop(pair.tool, None)
        if pair.status == "quarantined":
            here[pair.tool] = pair
