"""Learners of other bandit packages, each wrapped as choose and learn; benchmarks/rivals.py makes policies of them.

Traps that the wrappers avoid, found in the packages' own code: contextualbandits' LinTS is right only with
`sample_from="ci"` (its default draws from the precision in place of the covariance); MABWiser's untrained arm has a
right prior only at `l2_lambda=1`; squarecb of Vowpal Wabbit expects costs in [0, 1].
"""

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
State = NDArray[np.float32]
Offered = NDArray[np.int64]

WIDEST_UNPROJECTED = 64
PROJECTED = 32


@dataclass(frozen=True, slots=True)
class Chosen:
    """A tool's number, and what the learner needs again when the reward arrives."""

    tool: int
    kept: Any  # Any: each package keeps its own


class Learner(Protocol):
    """One package's choice and update; `Remembering` keeps what lies between the two."""

    def choose(self, state_D: State, offered: Offered) -> Chosen:
        """One of the offered tools."""
        ...

    def learn(self, chosen: Chosen, reward: float) -> None:
        """The reward in [0, 1] of an earlier choice."""
        ...


class Remembering:
    """A learner as a `Policy`: keeps each decision until its first report, and ignores every further one."""

    def __init__(self, name: str, learner: Learner) -> None:
        self.name = name
        self._learner = learner
        self._open: dict[int, Chosen] = {}

    def choose(self, decision: int, state_D: State, offered: Offered) -> int:
        """See `Policy.choose`."""
        chosen = self._learner.choose(state_D, offered)
        self._open[decision] = chosen
        return chosen.tool

    def report(self, decision: int, reward: float) -> None:
        """See `Policy.report`."""
        chosen = self._open.pop(decision, None)
        if chosen is not None:
            self._learner.learn(chosen, reward)


class Uniform:
    """Chooses by chance and learns nothing."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng

    def choose(self, state_D: State, offered: Offered) -> Chosen:
        """See `Learner.choose`."""
        return Chosen(int(self._rng.choice(offered)), None)

    def learn(self, chosen: Chosen, reward: float) -> None:
        """Nothing is learned."""


class EpsilonGreedy:
    """The tool of the best mean reward in any state, and by chance in `exploration` of all decisions."""

    def __init__(self, tools: int, exploration: float, rng: np.random.Generator) -> None:
        self._sums_K, self._counts_K = np.full(tools, 0.5), np.ones(tools)
        self._exploration, self._rng = exploration, rng

    def choose(self, state_D: State, offered: Offered) -> Chosen:
        """See `Learner.choose`."""
        if self._rng.random() < self._exploration:
            return Chosen(int(self._rng.choice(offered)), None)
        means_K = self._sums_K[offered] / self._counts_K[offered]
        return Chosen(best_of(means_K, offered, self._rng), None)

    def learn(self, chosen: Chosen, reward: float) -> None:
        """See `Learner.learn`."""
        self._sums_K[chosen.tool] += reward
        self._counts_K[chosen.tool] += 1


class MabwiserLinTS:
    """MABWiser's LinTS: a linear model for each tool; the best expectation among those offered is chosen."""

    def __init__(self, dimension: int, tools: int, seed: int, *, alpha: float) -> None:
        mab = importlib.import_module("mabwiser.mab")
        self._features = Features(dimension, seed)
        self._mab = mab.MAB(list(range(tools)), mab.LearningPolicy.LinTS(alpha=alpha, l2_lambda=1.0), seed=seed)
        self._rng = np.random.default_rng(seed)
        self._is_fitted = False

    def choose(self, state_D: State, offered: Offered) -> Chosen:
        """See `Learner.choose`; by chance until the first reward, before which the package cannot predict."""
        features_D = self._features.of(state_D)
        if not self._is_fitted:
            return Chosen(int(self._rng.choice(offered)), features_D)
        expected = self._mab.predict_expectations(features_D[None])
        return Chosen(best_of([expected[int(tool)] for tool in offered], offered, self._rng), features_D)

    def learn(self, chosen: Chosen, reward: float) -> None:
        """See `Learner.learn`."""
        self._mab.partial_fit([chosen.tool], [reward], chosen.kept[None])
        self._is_fitted = True


class ContextualbanditsLinTS:
    """contextualbandits' LinTS with draws from the interval and Sherman–Morrison updates, in the full dimension.

    Its draws have `v_sq` times the posterior's standard deviation.  It counts every reward above 0 as a success and
    leaves the prior of an untried tool only after failures, so a reward is handed on as a success with that chance.
    """

    def __init__(self, tools: int, seed: int, *, v_sq: float, ridge: float) -> None:
        online = importlib.import_module("contextualbandits.online")
        self._model = online.LinTS(
            tools,
            v_sq=v_sq,
            lambda_=ridge,
            sample_from="ci",
            method="sm",
            # Without a prior a tool never tried has the score 0 and no spread.
            beta_prior="auto",
            # The package refuses a seed of 0.
            random_state=seed + 1,
        )
        self._rng = np.random.default_rng(seed)

    def choose(self, state_D: State, offered: Offered) -> Chosen:
        """See `Learner.choose`."""
        scores_K = self._model.decision_function(state_D[None].astype(np.float64))[0]
        return Chosen(best_of(scores_K[offered], offered, self._rng), state_D)

    def learn(self, chosen: Chosen, reward: float) -> None:
        """See `Learner.learn`."""
        state_ND = chosen.kept[None].astype(np.float64)
        success = float(self._rng.random() < reward)
        self._model.partial_fit(state_ND, np.array([chosen.tool]), np.array([success]))


@dataclass(frozen=True, slots=True)
class VwSettings:
    """How Vowpal Wabbit explores (`squarecb` with `gamma_scale`, or `bag` of that many learners) and learns."""

    exploration: str = "squarecb"
    gamma_scale: float = 50.0
    bag: int = 8
    learning_rate: float = 0.5

    @property
    def command(self) -> str:
        """The command line: one learner for all tools, state × tool crossed (`-q sa`), 20 bits of weights."""
        settings = {"squarecb": f"--squarecb --gamma_scale {self.gamma_scale}", "bag": f"--bag {self.bag}"}
        explore = settings[self.exploration]
        return f"--cb_explore_adf {explore} -q sa -b 20 -l {self.learning_rate} --quiet"


class VowpalWabbit:
    """`--cb_explore_adf` on text examples: the state shared, each offered tool one line with its number as feature."""

    def __init__(self, settings: VwSettings, seed: int) -> None:
        pyvw = importlib.import_module("vowpalwabbit.pyvw")
        self._vw = pyvw.Workspace(f"{settings.command} --random_seed {seed}")
        self._rng = np.random.default_rng(seed)

    def choose(self, state_D: State, offered: Offered) -> Chosen:
        """See `Learner.choose`; the tool is drawn from the probabilities that the package returns."""
        lines = [shared_line(state_D), *(f"|a t{tool}" for tool in offered.tolist())]
        weights_K = np.asarray(self._vw.predict(lines), np.float64)
        place = int(self._rng.choice(len(offered), p=weights_K / weights_K.sum()))
        return Chosen(int(offered[place]), (lines, place, float(weights_K[place])))

    def learn(self, chosen: Chosen, reward: float) -> None:
        """See `Learner.learn`; the cost is 1 − reward, labelled with the probability of the choice."""
        lines, place, probability = chosen.kept
        labelled = [*lines]
        labelled[place + 1] = f"0:{1.0 - reward:.6g}:{probability:.6g} {labelled[place + 1]}"
        self._vw.learn(labelled)


def shared_line(state_D: State) -> str:
    """The state as Vowpal Wabbit text; zeros are left out.

    >>> shared_line(np.array([0.5, 0.0, -0.25], np.float32))
    'shared |s 0:0.5 2:-0.25'
    """
    filled = np.flatnonzero(state_D)
    return "shared |s " + " ".join(
        f"{place}:{value:.6g}" for place, value in zip(filled.tolist(), state_D[filled].tolist(), strict=True)
    )


class BayesianPerTool:
    """bayesianbandits: one NormalRegressor for each tool, Thompson draws among the offered ones."""

    def __init__(self, dimension: int, tools: int, seed: int, *, precision: float, noise: float) -> None:
        package = importlib.import_module("bayesianbandits")
        learners = [package.NormalRegressor(alpha=precision, beta=1.0 / noise**2) for _ in range(tools)]
        arms = [package.Arm(tool, learner=learner) for tool, learner in enumerate(learners)]
        self._agent = package.ContextualAgent(arms, package.ThompsonSampling(), random_seed=seed)
        self._features = Features(dimension, seed)

    def choose(self, state_D: State, offered: Offered) -> Chosen:
        """See `Learner.choose`; the agent's own policy is handed only the offered arms."""
        features_ND = self._features.of(state_D)[None]
        arms = [self._agent.arms[tool] for tool in offered.tolist()]
        return Chosen(int(self._agent.policy(arms, features_ND, self._agent.rng)[0].action_token), features_ND)

    def learn(self, chosen: Chosen, reward: float) -> None:
        """See `Learner.learn`."""
        self._agent.select_for_update(chosen.tool).update(chosen.kept, np.array([reward]))


class BayesianHybrid:
    """bayesianbandits' shared learner: the state's features for all tools, and a bias and 8 projected ones per tool."""

    OWN = 8

    def __init__(self, dimension: int, tools: int, seed: int, *, precision: float, noise: float) -> None:
        package = importlib.import_module("bayesianbandits")
        featurizers = importlib.import_module("bayesianbandits.featurizers")
        self._features, self._tools = Features(dimension, seed), tools
        width = dimension if dimension <= WIDEST_UNPROJECTED else PROJECTED
        self._own = Features(width, seed, widest=self.OWN, projected=self.OWN)
        self._agent = package.LipschitzContextualAgent(
            [package.Arm(tool) for tool in range(tools)],
            package.ThompsonSampling(),
            arm_featurizer=featurizers.FunctionArmFeaturizer(self._crossed),
            learner=package.NormalRegressor(alpha=precision, beta=1.0 / noise**2),
            random_seed=seed,
        )

    def _crossed(self, features_ND: Floats, tools: Sequence[int]) -> Floats:
        """Shape (N, shared + own · tools, K): a tool's own block holds the bias and a smaller projection."""
        features_ND = np.asarray(features_ND)
        own_ND = np.stack([self._own.of(features_D[1:]) for features_D in features_ND])
        shared, own = features_ND.shape[1], own_ND.shape[1]
        crossed = np.zeros((len(features_ND), shared + own * self._tools, len(tools)))
        crossed[:, :shared, :] = features_ND[:, :, None]
        for place, tool in enumerate(tools):
            crossed[:, shared + own * tool : shared + own * (tool + 1), place] = own_ND
        return crossed

    def choose(self, state_D: State, offered: Offered) -> Chosen:
        """See `Learner.choose`: the agent ranks all tools by one draw and the first that is offered is chosen."""
        features_ND = self._features.of(state_D)[None]
        ranked = self._agent.pull(features_ND, top_k=self._tools)[0]
        open_tools = set(offered.tolist())
        return Chosen(next(tool for tool in ranked if tool in open_tools), features_ND)

    def learn(self, chosen: Chosen, reward: float) -> None:
        """See `Learner.learn`."""
        self._agent.select_for_update(chosen.tool).update(chosen.kept, np.array([reward]))


class Gittins:
    """gittins: candidates named on each call, every state entry times `scale` a numeric feature, its own decision ids.

    It learns from entries of order one; those of a wide unit vector are far below that.
    """

    def __init__(self, dimension: int, seed: int, *, scale: float, epsilon: float) -> None:
        self._gittins = importlib.import_module("gittins")
        self._state = self._gittins.create(bits=20, horizon=1e9, epsilon=epsilon)
        self._scale = scale
        self._names = [f"x{place}" for place in range(dimension)]
        self._salt, self._time = f"seed-{seed}", 0.0

    def choose(self, state_D: State, offered: Offered) -> Chosen:
        """See `Learner.choose`."""
        self._time += 1.0
        filled = np.flatnonzero(state_D).tolist()
        state = {self._names[place]: self._scale * float(state_D[place]) for place in filled}
        tools = offered.tolist()
        record = self._gittins.decide(self._state, state, [(f"t{tool}", {}) for tool in tools], self._time, self._salt)
        return Chosen(tools[record.chosen], record.decision_id)

    def learn(self, chosen: Chosen, reward: float) -> None:
        """See `Learner.learn`."""
        self._gittins.learn(self._state, chosen.kept, reward, self._time)


class ParetoLinUCB:
    """paretobandit's DisjointLinUCBPolicy, the learner inside its router, with its clock moved at each choice."""

    def __init__(self, dimension: int, tools: int, seed: int, *, alpha: float, forgetting: float) -> None:
        package = importlib.import_module("pareto_bandit.policy")
        self._policy = package.DisjointLinUCBPolicy(
            [str(tool) for tool in range(tools)], dimension + 1, alpha, forgetting_factor=forgetting, seed=seed
        )

    def choose(self, state_D: State, offered: Offered) -> Chosen:
        """See `Learner.choose`."""
        features_D = np.append(state_D.astype(np.float64), 1.0)
        tool, _ = self._policy.select_arm(features_D, [str(tool) for tool in offered.tolist()])
        self._policy.mark_selected(tool)
        return Chosen(int(tool), features_D)

    def learn(self, chosen: Chosen, reward: float) -> None:
        """See `Learner.learn`."""
        self._policy.update(str(chosen.tool), chosen.kept, reward, advance_time=False)


class Features:
    """A bias and the state, projected to `projected` entries where it is wider than `widest`.

    The projection has orthonormal rows scaled so that a unit vector keeps its length on average.
    """

    def __init__(
        self, dimension: int, seed: int, *, widest: int = WIDEST_UNPROJECTED, projected: int = PROJECTED
    ) -> None:
        self._rows: Floats | None = None
        if dimension > widest:
            gaussian = np.random.default_rng([seed, 384]).normal(size=(dimension, projected))
            self._rows = np.linalg.qr(gaussian)[0].T * np.sqrt(dimension / projected)

    def of(self, state_D: State | Floats) -> Floats:
        """Shape (1 + D or 1 + `projected`,), the bias first."""
        wide_D = state_D.astype(np.float64)
        return np.concatenate([[1.0], wide_D if self._rows is None else self._rows @ wide_D])


def best_of(scores_K: Floats | Sequence[float], offered: Offered, rng: np.random.Generator) -> int:
    """The offered tool of the highest score, ties by chance.

    >>> best_of([0.1, 0.7], np.array([4, 9]), np.random.default_rng(0))
    9
    """
    scores_K = np.asarray(scores_K)
    return int(rng.choice(offered[scores_K == scores_K.max()]))
