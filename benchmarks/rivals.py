"""Other bandit packages as policies, so that benchmarks/regret.py and benchmarks/logged_bandits.py compare them.

Every rival gets the same state vectors.  Those whose work grows with the square or cube of the dimension in Python
time (MABWiser, bayesianbandits) see an orthonormal projection to 32 entries where states are wider than 64, and the
policy's name then says so.  Settings that differ from a package's defaults are arguments of its factory; `tuned_vw`
searches a grid on whatever the caller measures, which must not be what a table reports.  A package is imported when
its policy is made; `missing` says which cannot be, and why.
"""

import importlib
from collections.abc import Callable, Iterable
from functools import partial
from itertools import product

import numpy as np
from bandit_protocol import Policy, PolicyFactory
from rival_learners import (
    PROJECTED,
    WIDEST_UNPROJECTED,
    BayesianHybrid,
    BayesianPerTool,
    ContextualbanditsLinTS,
    EpsilonGreedy,
    Gittins,
    MabwiserLinTS,
    ParetoLinUCB,
    Remembering,
    Uniform,
    VowpalWabbit,
    VwSettings,
)


def _projected(name: str, dimension: int) -> str:
    return f"{name}, {PROJECTED}-d projection" if dimension > WIDEST_UNPROJECTED else name


def uniform(_dimension: int, _tools: int, seed: int) -> Policy:
    """One of the offered tools by chance."""
    return Remembering("random", Uniform(np.random.default_rng(seed)))


def epsilon_greedy(_dimension: int, tools: int, seed: int, *, exploration: float = 0.1) -> Policy:
    """The best mean reward so far, whatever the state; by chance in a share `exploration` of decisions."""
    return Remembering("epsilon-greedy", EpsilonGreedy(tools, exploration, np.random.default_rng(seed)))


def mabwiser_lints(dimension: int, tools: int, seed: int, *, alpha: float = 0.25) -> Policy:
    """MABWiser's LinTS; `alpha` multiplies the standard deviation of its draws."""
    return Remembering(_projected("MABWiser LinTS", dimension), MabwiserLinTS(dimension, tools, seed, alpha=alpha))


def contextualbandits_lints(
    _dimension: int, tools: int, seed: int, *, v_sq: float = 0.1, ridge: float = 0.0625
) -> Policy:
    """contextualbandits' LinTS (interval draws, Sherman–Morrison); `v_sq` multiplies the standard deviation."""
    return Remembering("contextualbandits LinTS ci/sm", ContextualbanditsLinTS(tools, seed, v_sq=v_sq, ridge=ridge))


def vw(_dimension: int, _tools: int, seed: int, *, settings: VwSettings | None = None) -> Policy:
    """Vowpal Wabbit with these settings; its defaults where none are given."""
    settings = settings or VwSettings()
    return Remembering(f"VW {settings.exploration}", VowpalWabbit(settings, seed))


def bayesian_per_tool(dimension: int, tools: int, seed: int, *, precision: float = 4.0, noise: float = 0.1) -> Policy:
    """bayesianbandits, a normal linear model for each tool; `noise` is the deviation of rewards around it."""
    learner = BayesianPerTool(dimension, tools, seed, precision=precision, noise=noise)
    return Remembering(_projected("bayesianbandits per tool", dimension), learner)


def bayesian_hybrid(dimension: int, tools: int, seed: int, *, precision: float = 4.0, noise: float = 0.1) -> Policy:
    """bayesianbandits, one normal linear model for all tools with shared and own features."""
    learner = BayesianHybrid(dimension, tools, seed, precision=precision, noise=noise)
    return Remembering(_projected("bayesianbandits hybrid", dimension), learner)


def gittins(dimension: int, _tools: int, seed: int, *, epsilon: float = 0.05) -> Policy:
    """gittins with its own forgetting; entries of unit vectors are brought to order one."""
    return Remembering("gittins", Gittins(dimension, seed, scale=float(np.sqrt(dimension)), epsilon=epsilon))


def pareto_linucb(dimension: int, tools: int, seed: int, *, alpha: float = 0.2, forgetting: float = 0.997) -> Policy:
    """paretobandit's LinUCB ; `forgetting` is what the package ships, `alpha` more than its 0.05, which gets stuck."""
    learner = ParetoLinUCB(dimension, tools, seed, alpha=alpha, forgetting=forgetting)
    return Remembering("paretobandit LinUCB", learner)


RIVALS: dict[str, PolicyFactory] = {
    "random": uniform,
    "epsilon-greedy": epsilon_greedy,
    "mabwiser": mabwiser_lints,
    "contextualbandits": contextualbandits_lints,
    "vw-squarecb": vw,
    "vw-bag": partial(vw, settings=VwSettings(exploration="bag")),
    "bayesianbandits": bayesian_per_tool,
    "bayesianbandits-hybrid": bayesian_hybrid,
    "gittins": gittins,
    "paretobandit": pareto_linucb,
}
"""Every rival by a short name; the policy that a factory makes carries a readable one."""

_MODULES = {
    "mabwiser": "mabwiser.mab",
    "contextualbandits": "contextualbandits.online",
    "vw-squarecb": "vowpalwabbit.pyvw",
    "vw-bag": "vowpalwabbit.pyvw",
    "bayesianbandits": "bayesianbandits",
    "bayesianbandits-hybrid": "bayesianbandits",
    "gittins": "gittins",
    "paretobandit": "pareto_bandit.policy",
}

VW_GRID: tuple[VwSettings, ...] = (
    *(VwSettings(gamma_scale=scale, learning_rate=rate) for scale, rate in product((10, 50, 200, 1000), (0.1, 0.5, 2))),
    *(VwSettings("bag", bag=bag, learning_rate=rate) for bag, rate in product((3, 8), (0.1, 0.5, 2))),
)


def missing() -> dict[str, str]:
    """Rivals that cannot run here, each with the error of its import."""
    found = {}
    for name, module in _MODULES.items():
        try:
            importlib.import_module(module)
        except ImportError as error:
            found[name] = str(error)
    return found


def available() -> dict[str, PolicyFactory]:
    """`RIVALS` less those that are `missing`."""
    absent = missing()
    return {name: factory for name, factory in RIVALS.items() if name not in absent}


def tuned_vw(cost: Callable[[PolicyFactory], float], grid: Iterable[VwSettings] = VW_GRID) -> VwSettings:
    """The settings of the grid whose policies cost least; `cost` plays a factory on tuning seeds, say its regret.

    Use the answer as `partial(vw, settings=...)`.
    """
    return min(grid, key=lambda settings: cost(partial(vw, settings=settings)))
