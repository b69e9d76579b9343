"""The choice on two levels: let the agent go on alone, follow a proven path, or choose a tool; then which one.

Every draw is Gaussian, so that the probability of each outcome is exact.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from selector.follow import Paths
from selector.posteriors import BetaPosterior
from selector.propensity import winning_probabilities

Floats = NDArray[np.float64]

SMALLEST_DEVIATION = 1e-4
SMALLEST_PROPENSITY = 1e-9


@dataclass(frozen=True, slots=True)
class Normal:
    """A Gaussian belief: mean, and standard deviation above 0."""

    mean: float
    deviation: float


@dataclass(frozen=True, slots=True)
class Guidance:
    """What episodes are worth with and without guidance, in a state cluster: expected reward in [0, 1]."""

    guided: Normal
    unaided: Normal


@dataclass(frozen=True, slots=True)
class Arms:
    """What may be chosen: K candidates, of which some are `allowed`, P paths that name one each, and guidance at all.

    `guidance` is None where nothing is known of unaided episodes: then the agent is not left alone.
    """

    candidates: BetaPosterior
    allowed: NDArray[np.bool_]
    paths: Paths
    path_posterior: BetaPosterior
    guidance: Guidance | None = None


@dataclass(frozen=True, slots=True)
class Choice:
    """What was chosen: a candidate's place (None: the agent goes on alone), and the path followed (None: none).

    `probabilities` (K,) and `defer` sum to 1: how probable each outcome was.
    """

    place: int | None
    path: int | None
    probabilities: Floats
    defer: float

    @property
    def propensity(self) -> float:
        """Probability of what was chosen; in (0, 1] even where the integral is within its own error of an end."""
        chosen = self.defer if self.place is None else float(self.probabilities[self.place])
        return min(max(chosen, SMALLEST_PROPENSITY), 1.0)


def choose(arms: Arms, rng: np.random.Generator, *, sharpening: float = 1.0, exploration: float = 0.0) -> Choice:
    """Thompson sampling (1933) on two levels; with probability `exploration` ε any allowed candidate, uniformly.

    p(defer) = (1 − ε) d and p(a) = (1 − ε)(1 − d)((1 − f) p_tool(a) + f p_path(a)) + ε / K, with d the probability
    that an unaided episode's draw beats a guided one's, and f that the best path's draw beats the best tool's.
    `sharpening` divides every variance.  At least one candidate must be allowed.
    """
    open_places = np.flatnonzero(arms.allowed)
    usable = np.flatnonzero(arms.allowed[arms.paths.places]) if len(arms.paths) else np.zeros(0, np.int64)
    tools, paths = _normals(arms.candidates, open_places, sharpening), _normals(arms.path_posterior, usable, sharpening)
    defer = 0.0 if arms.guidance is None else _wins(arms.guidance.unaided, arms.guidance.guided, sharpening)
    follow = _wins(paths.best, tools.best, 1.0) if len(usable) else 0.0
    levels, uniform = rng.random(3), int(rng.integers(len(open_places)))
    tool, path = tools.draw(rng), paths.draw(rng) if len(usable) else 0

    probabilities = np.zeros(len(arms.allowed))
    guided = (1.0 - exploration) * (1.0 - defer)
    probabilities[open_places] = guided * (1.0 - follow) * tools.probabilities() + exploration / len(open_places)
    if follow > 0.0:
        for place, probability in zip(arms.paths.places[usable], guided * follow * paths.probabilities(), strict=True):
            probabilities[place] += probability

    left_alone = (1.0 - exploration) * defer
    if levels[0] < exploration:
        return Choice(int(open_places[uniform]), None, probabilities, left_alone)
    if levels[1] < defer:
        return Choice(None, None, probabilities, left_alone)
    if levels[2] < follow:
        return Choice(int(arms.paths.places[usable[path]]), int(usable[path]), probabilities, left_alone)
    return Choice(int(open_places[tool]), None, probabilities, left_alone)


@dataclass(frozen=True, slots=True)
class _Normals:
    """Independent Gaussians, one for each of several arms."""

    means: Floats
    deviations: Floats

    @property
    def best(self) -> Normal:
        place = int(np.argmax(self.means))
        return Normal(float(self.means[place]), float(self.deviations[place]))

    def draw(self, rng: np.random.Generator) -> int:
        return int(np.argmax(self.means + self.deviations * rng.standard_normal(len(self.means))))

    def probabilities(self) -> Floats:
        return winning_probabilities(self.means, self.deviations)


def _normals(posterior: BetaPosterior, places: NDArray[np.integer], sharpening: float) -> _Normals:
    means, weights = posterior.mean[places], posterior.weight[places]
    deviations = np.sqrt(means * (1.0 - means) / (sharpening * weights + 1.0))
    return _Normals(means, np.maximum(deviations, SMALLEST_DEVIATION))


def _wins(one: Normal, other: Normal, sharpening: float) -> float:
    """P(a draw of one is larger than a draw of the other) = Φ((m₁ − m₂) / √((v₁ + v₂) / η))."""
    spread = np.sqrt((one.deviation**2 + other.deviation**2) / sharpening)
    return float(ndtr((one.mean - other.mean) / spread))
