"""Bayesian optimisation with scikit-optimize: a Gaussian process of the objective, asked by expected improvement.

The only file that knows scikit-optimize.  Of it, only `Optimizer` with a Gaussian process is used, by ask and tell, and
it sees the unit cube alone: scales, whole numbers and native types are the matter of `selector.tuning`.
"""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selector.errors import SelectorUsageError
from selector.tuning import Measurement, RandomTuner, Setting, Tuner, places_of, require_settings, settings_at

Floats = NDArray[np.float64]

INITIAL_POINTS = 8
MOST_SETTINGS = 8
ACQUISITION_POINTS = 2000
SEEDS = 2**31 - 1


@dataclass(frozen=True, slots=True)
class TunerChoice:
    """A tuner, and why it is random search where it is (empty: it is a Gaussian process)."""

    tuner: Tuner
    reason: str = ""


class GpTuner:
    """Gaussian process with a Matérn 5/2 kernel, expected improvement, and noise.

    Each trial's noise is its own standard error, on top of a common part that is fitted.  The first
    `initial_points` trials are a Latin hypercube; trials that were told without being asked count among them.
    """

    def __init__(
        self, settings: Sequence[Setting], rng: np.random.Generator, *, initial_points: int = INITIAL_POINTS
    ) -> None:
        """For 1 to 8 settings; raises ImportError where scikit-optimize cannot be imported."""
        require_settings(settings)
        if len(settings) > MOST_SETTINGS:
            raise SelectorUsageError(
                f"a Gaussian process tunes at most {MOST_SETTINGS} settings, got {len(settings)}: leave the least "
                "important ones fixed"
            )
        if initial_points < 2:
            raise SelectorUsageError(f"initial_points must be 2 or more, got {initial_points}: 8 is usual")
        import skopt  # noqa: F401, PLC0415 - takes a second to import, and fails here if it must fail

        self._settings = tuple(settings)
        self._rng = rng
        from scipy.stats import qmc  # noqa: PLC0415 - a quarter of a second, and only tuning needs it

        self._initial_ND = qmc.LatinHypercube(len(settings), rng=rng).random(initial_points)
        self._places: list[list[float]] = []
        self._measurements: list[Measurement] = []

    def ask(self) -> dict[str, float]:
        """The next point of the Latin hypercube, then the point of greatest expected improvement."""
        done = len(self._places)
        if done < len(self._initial_ND):
            return settings_at(self._settings, self._initial_ND[done].tolist())
        return settings_at(self._settings, self._most_promising())

    def tell(self, settings: Mapping[str, float], measurement: Measurement) -> None:
        """Remember a measurement."""
        self._places.append(places_of(self._settings, settings))
        self._measurements.append(measurement)

    def _most_promising(self) -> list[float]:
        """A model is fitted to all trials at each ask, so that a tuner is no more than its trials and its generator."""
        values_N = np.array([measurement.value for measurement in self._measurements])
        errors_N = np.array([measurement.standard_error for measurement in self._measurements])
        seed = int(self._rng.integers(SEEDS))
        with warnings.catch_warnings():
            # Bounds of kernels and repeated points are no news to whoever tunes.
            warnings.simplefilter("ignore")
            model = _model(len(self._settings), _noise(values_N, errors_N), seed)
            lowest = _lowest_belief(model, np.array(self._places), values_N)
            optimizer = _optimizer(len(self._settings), model, float(values_N.min()) - lowest, seed)
            optimizer.tell(self._places, values_N.tolist())
            places: list[float] = np.clip(np.asarray(optimizer.ask(), np.float64), 0.0, 1.0).tolist()
        return places


def gp_or_random(settings: Sequence[Setting], rng: np.random.Generator) -> TunerChoice:
    """A Gaussian process, or random search with the reason why.

    Reasons are a scikit-optimize that cannot be imported, and more than 8 settings.
    """
    require_settings(settings)
    if len(settings) > MOST_SETTINGS:
        reason = (
            f"random search: {len(settings)} settings are more than the {MOST_SETTINGS} a Gaussian process can tune"
        )
        return TunerChoice(RandomTuner(settings, rng), reason)
    try:
        return TunerChoice(GpTuner(settings, rng))
    except (ImportError, AttributeError) as error:
        # AttributeError: it looks for what newer versions of numpy and scikit-learn have removed.
        reason = f"random search: scikit-optimize cannot be imported ({error}); install scikit-optimize>=0.10"
        return TunerChoice(RandomTuner(settings, rng), reason)


def _noise(values_N: Floats, errors_N: Floats) -> Floats:
    """Variance of the noise of each trial by the variance of all values, as the model wants it; shape (N,)."""
    spread = float(values_N.std()) or 1.0
    return np.asarray((errors_N / spread) ** 2 + 1e-10, np.float64)


def _model(dimensions: int, noise_N: Floats, seed: int) -> Any:  # Any: scikit-optimize has no types
    from skopt.utils import cook_estimator  # noqa: PLC0415 - takes a second to import

    return cook_estimator("GP", space=[(0.0, 1.0)] * dimensions, random_state=seed, noise="gaussian", alpha=noise_N)


def _lowest_belief(model: Any, places_ND: Floats, values_N: Floats) -> float:
    """The lowest of what the model believes of the points tried: what a new point has to improve on.

    The lowest value measured is mostly luck where there is noise (Picheny, Wagner and Ginsbourger 2013, plug-in).
    """
    from sklearn.base import clone  # noqa: PLC0415 - scikit-optimize brings it

    return float(clone(model).fit(places_ND, values_N).predict(places_ND).min())


def _optimizer(dimensions: int, model: Any, luck: float, seed: int) -> Any:
    """`luck` (lowest value less lowest belief) is given as xi, which the optimizer subtracts from the lowest value."""
    from skopt import Optimizer  # noqa: PLC0415 - takes a second to import

    return Optimizer(
        [(0.0, 1.0)] * dimensions,
        base_estimator=model,
        n_initial_points=0,
        acq_func="EI",
        acq_func_kwargs={"xi": luck},
        acq_optimizer_kwargs={"n_points": ACQUISITION_POINTS},
        random_state=seed,
    )
