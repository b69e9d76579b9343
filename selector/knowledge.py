"""What experience says of each candidate in one situation: several experts, each a log-probability over the candidates.

The experts are the order of tools (variable-order Markov), the evidence near in all three keys (path), the evidence
near in goal and state (content) or in the state of this moment alone, how tools fared here, how like what is asked for
they describe themselves (meaning), and the same three for whole actions among the candidates of one tool.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, partial

import numpy as np
from numpy.typing import NDArray

from selector.clusters import StateClusters
from selector.corroboration import Claims, CorroborationConfig, vouched
from selector.decisive_words import NONE_DECISIVE
from selector.follow import Nearby, Paths, find_paths
from selector.offer import MOST_OFFERS, Offer
from selector.outcomes import Outcomes, RewardOf, Stored, claims_of, success_of
from selector.posteriors import BetaPosterior, beta_from_evidence
from selector.reading import NO_WORDS
from selector.situation import CandidateSet, Situation, number_candidates
from selector.stored_paths import StoredPaths
from selector.values import ValueConfig
from selector.word_weights import WordWeights
from trajstore.allowed import Allowed, all_but
from trajstore.experience import Experience
from trajstore.nearness import sums_by_number
from trajstore.order import OrderModel
from trajstore.retriever import Evidence, Retriever
from trajstore.schema import Trajectory
from trajstore.sorted_counts import START

Floats = NDArray[np.float64]

TOOL_EXPERTS = ("order", "path", "content", "moment", "success", "meaning")
ACTION_EXPERTS = ("action path", "action moment", "action order", "siblings")
EXPERTS = TOOL_EXPERTS + ACTION_EXPERTS
ORDER_FLOOR = 0.02
MEANING_SCALE = 10.0
VOTE_PRIOR = 0.5
ORDER_DEPTH = 4
ORDER_COLUMNS = ("token", "called", "counts")
CORROBORATION = CorroborationConfig()


@dataclass(frozen=True, slots=True)
class Left:
    """What to leave out: trajectories by mark (trajectories,), and their counts in the two order models.

    `allowed` are the rows of all others.
    """

    excluded: NDArray[np.bool_]
    allowed: Allowed
    tools: OrderModel
    actions: OrderModel


@dataclass(frozen=True, slots=True)
class Assessment:
    """What experience says: `experts` (K, len(EXPERTS)), the evidence, and success of each offered tool (M,) here.

    `tool_evidence` and `tool_examples` (M,) are the weights of judged steps and of examples near here, `path_weight`
    that of all examples.  `support` adds those with the same order of steps: 0 means that nothing like this was ever
    stored.  `paths` may be followed from here; `cluster` is the kind of state (−1: none known), `nearest_task` the
    cosine of the most similar stored task.
    """

    candidates: CandidateSet
    experts: Floats
    evidence: Evidence
    tool_success: BetaPosterior
    tool_evidence: Floats
    tool_examples: Floats
    path_weight: float
    support: float
    paths: Paths
    cluster: int
    nearest_task: float


class Knowledge:
    """Experience, its retriever, the two order models that go with it, and what came of each step.

    `reward_of` gives a trajectory's final reward in [0, 1]; `values` how steps are valued, None by that reward alone;
    `corroboration` when evidence counts in full, None always.  `decisive` are the words on which the next tool depends,
    `usual` (U,) the numbers of words that most tasks have: none until they are fitted, or read.
    """

    def __init__(
        self,
        experience: Experience,
        retriever: Retriever,
        *,
        reward_of: RewardOf = success_of,
        values: ValueConfig | None = None,
        corroboration: CorroborationConfig | None = CORROBORATION,
    ) -> None:
        self.experience = experience
        self._corroboration = corroboration
        self.retriever = retriever
        self.tool_order = OrderModel(ORDER_DEPTH)
        self.action_order = OrderModel(1)
        self.outcomes = Outcomes(experience, reward_of, values, corroboration)
        self._stored_paths = StoredPaths(experience)
        self.decisive = NONE_DECISIVE
        self.usual = NO_WORDS
        self._number = lru_cache(MOST_OFFERS)(partial(_numbered, experience))
        self._descriptions = lru_cache(MOST_OFFERS)(partial(_described, experience))

    def learn(self, trajectories: Sequence[Trajectory], first: int) -> None:
        """Learn trajectories that the experience numbers from `first` on."""
        self.retriever.refresh()
        self._count(range(first, first + len(trajectories)), self.tool_order, self.action_order)
        self.outcomes.learn(trajectories, self.retriever.states)

    def learn_all(self, about: Stored) -> None:
        """Learn all trajectories of the experience at once, before any other."""
        experience = self.experience
        tokens, called = experience.order_column("token"), experience.order_column("called")
        ends, weights = experience.trajectory_column("order_end"), experience.trajectory_column("weight")
        if len(tokens):
            counted = np.repeat(weights.astype(np.float64), np.diff(ends, prepend=0)) * experience.order_column(
                "counts"
            )
            self.tool_order.add_all(tokens, tokens // 2, counted, ends)
            self.action_order.add_all(called, called, counted, ends)
        self.outcomes.learn_all(about, self.retriever.states)

    def use_clusters(self, clusters: StateClusters) -> None:
        """Tell states apart by these clusters from now on."""
        self.outcomes.use_clusters(clusters, self.retriever.states)

    def use_words(self, words: WordWeights) -> None:
        """Take it from now on that words of tasks matter as much as this when paths are compared with."""
        self._stored_paths.use_words(words)

    def weigh_words(self, seed: int = 0) -> WordWeights:
        """How much the words of tasks matter, by the paths that are known."""
        return self._stored_paths.weigh_words(seed)

    def cluster_label(self, cluster: int) -> str:
        """The state nearest to a cluster's centre, in words; "" where there is no such cluster."""
        centres = self.outcomes.clusters.centres_CD
        if not 0 <= cluster < len(centres) or not len(self.experience):
            return ""
        return self.experience.moment_text(int(np.argmax(self.retriever.states @ centres[cluster])))

    def _count(self, numbers: Sequence[int], tools: OrderModel, actions: OrderModel) -> None:
        """Add the order of trajectories to two models; failures and unknown successes weigh less, down to nothing."""
        experience = self.experience
        ends, weights = (experience.trajectory_column(name) for name in ("order_end", "weight"))
        for number in numbers:
            own, weight = slice(ends[number - 1] if number else 0, ends[number]), float(weights[number])
            if weight > 0.0:
                tokens, called, counts = (experience.order_column(name)[own].tolist() for name in ORDER_COLUMNS)
                counted = [weight * one for one in counts]
                tools.add(tokens, [token // 2 for token in tokens], counted)
                actions.add(called, called, counted)

    def left_out(self, numbers: Sequence[int]) -> Left:
        """What to leave out so that trajectories do not answer for themselves, by their numbers."""
        excluded = np.zeros(len(self.experience.trajectory_ids), np.bool_)
        excluded[list(numbers)] = True
        allowed = all_but(numbers, self.experience.trajectory_column("end"))
        left = Left(excluded, allowed, OrderModel(ORDER_DEPTH), OrderModel(1))
        self._count(numbers, left.tools, left.actions)
        return left

    def goal_similarities(self, situation: Situation) -> NDArray[np.float32]:
        """Cosine of the situation's task with every stored one: the same for a whole episode."""
        return self.retriever.goal_similarities(self.experience.embed(situation.task))

    def path_relations(self, situation: Situation, goals: NDArray[np.float32], left: Left | None = None) -> Floats:
        """How each candidate stands to stored paths of like tasks; shape (K, len(PATH_RELATIONS))."""
        return self._stored_paths.relations(situation, goals, left.excluded if left else None)

    def danger(self, situation: Situation, goals: NDArray[np.float32], left: Left | None = None) -> Floats:
        """How often wrong calls of each known tool lost all in tasks like this; shape (tools + 1,)."""
        excluded, has_arguments = left.excluded if left else None, situation.is_grounded
        return self.outcomes.dangers.near(situation.task, goals, excluded, with_endings=has_arguments)

    def assess(
        self,
        situation: Situation,
        goals: NDArray[np.float32],
        *,
        left: Left | None = None,
        log_health_T: Floats | None = None,
    ) -> Assessment:
        """Ask every expert; `goals` comes from `goal_similarities`.

        `log_health_T` ≤ 0 is the ln of each known tool's health, shape (T,); None where all are well.
        """
        candidates = self._number(situation.offer, len(self.experience.tools), len(self.experience.actions))
        tokens = self.experience.tokens(situation.history)
        texts = self.experience.embed(situation.state_text), self.experience.embed(situation.moment_text)
        query = self.retriever.query(texts, goals, tokens, allowed=left.allowed if left else None)
        evidence = self.retriever.evidence(query)
        examples = self._examples(evidence, is_grounded=situation.is_grounded)
        votes = _Votes(self.experience, evidence.rows, examples, candidates)
        cluster = self.outcomes.clusters.nearest(query.state)
        success, tool_evidence = self._success(evidence, candidates, cluster)
        order = self._order(tokens, candidates, left)
        tool_experts = np.log(np.stack([order, *votes.shares_3M, success.mean, self._meaning(situation)]))
        keys = self.retriever.config.keys
        if not keys.order:
            tool_experts[TOOL_EXPERTS.index("order")] = 0.0
        if not keys.state:
            tool_experts[TOOL_EXPERTS.index("moment")] = 0.0
        experts = np.zeros((len(candidates.tool_of), len(EXPERTS)))
        experts[:, : len(TOOL_EXPERTS)] = tool_experts.T[candidates.tool_of]
        if situation.is_grounded:
            experts[:, len(TOOL_EXPERTS) :] = self._action_experts(situation, candidates, votes, left)
        support = float(votes.path_weight + self.tool_order.support(tokens[-2:]))
        nearby = self._nearby(situation, candidates, evidence, examples[0], log_health_T)
        paths = find_paths(nearby, self.outcomes.records)
        return Assessment(
            candidates,
            experts,
            evidence,
            success,
            tool_evidence,
            votes.tool_examples,
            votes.path_weight,
            support,
            paths,
            cluster,
            self._nearest_task(goals, left),
        )

    def _examples(self, evidence: Evidence, *, is_grounded: bool) -> Floats:
        """Weights of the evidence as examples, by path, content and moment, as far as sources vouch for it; (3, N)."""
        experience, rows = self.experience, evidence.rows
        weights = evidence.kernels.astype(np.float64) * experience.example_weights(rows)
        if self._corroboration is None or not experience.is_contested:
            return np.asarray(weights, np.float64)
        arms, ratio = experience.column("action" if is_grounded else "tool")[rows], experience.unbelieved_ratio
        claims = (self._claims(rows, one, arms) for one in weights)
        return np.stack([vouched(claim, ratio, self._corroboration) for claim in claims])

    def example_trust(self) -> Floats:
        """How far the examples of each known tool count by who vouches for it: not believed, believed; shape (T, 2)."""
        experience, rows = self.experience, np.arange(len(self.experience))
        tools, cells = len(experience.tools), experience.column("tool")
        if self._corroboration is None or not experience.is_contested:
            return np.ones((tools, 2))
        claims = self._claims(rows, experience.example_weights(rows).astype(np.float64), cells)
        places = 2 * claims.arms_N + claims.believed_N
        kept = vouched(claims, experience.unbelieved_ratio, self._corroboration)
        before, after = (np.bincount(places, weights, 2 * tools) for weights in (claims.weights_N, kept))
        return np.asarray(np.where(before > 0, after / np.maximum(before, 1e-12), 1.0).reshape(tools, 2), np.float64)

    def _claims(self, rows: NDArray[np.int64], weights: Floats, arms: NDArray[np.integer]) -> Claims:
        """Evidence with who vouches for it."""
        return claims_of(self.experience, self.experience.column("trajectory")[rows], weights, arms)

    def _nearest_task(self, goals: NDArray[np.float32], left: Left | None) -> float:
        answering = goals if left is None else goals[self.experience.trajectory_column("goal")[~left.excluded]]
        return float(answering.max(initial=0.0))

    def _order(self, tokens: tuple[int, ...], candidates: CandidateSet, left: Left | None) -> Floats:
        known = self.tool_order.predict(tokens, len(self.experience.tools), without=left.tools if left else None)
        offered = np.where(candidates.is_known, known[candidates.tools] if len(known) else 0.0, 0.0)
        floored = offered / max(offered.sum(), 1e-12) + ORDER_FLOOR / len(offered)
        return np.asarray(floored / floored.sum(), np.float64)

    def _meaning(self, situation: Situation) -> Floats:
        """Share of each offered tool by the likeness of its description to what is asked for, softmax(10 cos); (M,)."""
        tools = len(situation.tools.texts)
        if situation.is_grounded or not situation.is_described:
            return np.full(tools, 1.0 / tools)
        asked_D = self.experience.embed(situation.request_text)
        odds = np.exp(MEANING_SCALE * (self._descriptions(situation.offer) @ asked_D))
        return np.asarray(odds / odds.sum(), np.float64)

    def _success(self, evidence: Evidence, candidates: CandidateSet, cluster: int) -> tuple[BetaPosterior, Floats]:
        """Success of each offered tool here, on a hierarchy: all tools → family → tool → state cluster → here."""
        experience, rows = self.experience, evidence.rows
        owners, tools = evidence.owners, experience.column("tool").take(rows)
        trust = experience.trajectory_column("trust").take(owners)
        trusted = self.outcomes.corroborated(owners, evidence.weights * trust, tools)
        credit, known = self.outcomes.credit, candidates.tools
        count = len(experience.tools) + 1  # nothing adds to the last, which −1 reads
        here, tried = (
            np.asarray(np.bincount(tools, trusted * values.take(rows), count).take(known), np.float64)
            for values in (credit.successes_N, credit.weights_N)
        )
        hierarchy = self.outcomes.hierarchy
        prior, weight = hierarchy.prior(cluster, known), hierarchy.weight(known)
        return beta_from_evidence(prior, weight, here, np.maximum(tried - here, 0.0)), tried

    def _nearby(
        self,
        situation: Situation,
        candidates: CandidateSet,
        evidence: Evidence,
        weights: Floats,
        log_health_T: Floats | None,
    ) -> Nearby:
        """The evidence as steps of paths; what they do next is an action where actions are offered, else a tool."""
        experience, rows, owners = self.experience, evidence.rows, evidence.owners
        if situation.is_grounded:
            places = _places(candidates.actions, experience.column("action")[rows])
        else:
            places = candidates.first[experience.column("tool")[rows]]
        health = np.zeros(len(rows))
        if log_health_T is not None:
            summed = np.concatenate([[0.0], np.cumsum(log_health_T[experience.column("tool")])])
            health = summed[experience.trajectory_column("end")[owners]] - summed[rows]
        return Nearby(rows, weights, experience.trajectory_column("template")[owners], places, health)

    def _action_experts(
        self, situation: Situation, candidates: CandidateSet, votes: "_Votes", left: Left | None
    ) -> Floats:
        """The experts for whole actions: how each stands among the candidates of its tool."""
        last = situation.last
        action = self.experience.actions.known(last.action) if last else START
        followers = self.action_order.followers((action,), without=left.actions if left else None)
        after = followers.weight_of(candidates.actions)
        columns = [*votes.of_actions(), after]
        shares = [_log_share(column, candidates) for column in columns]
        return np.stack([*shares, -np.log(candidates.siblings)], axis=1)


def _numbered(experience: Experience, offer: Offer, _tools: int, _actions: int) -> CandidateSet:
    """The numbers of an offer's candidates, to remember: they hold while no tool or action comes to be known."""
    return number_candidates(offer, experience)


def _described(experience: Experience, offer: Offer) -> NDArray[np.float32]:
    """Vectors of what each offered tool says of itself, its name where it says nothing; shape (M, D)."""
    said = {one.tool: one.text or one.tool for one in reversed(offer.candidates)}
    return np.stack([experience.embed(said[tool]) for tool in offer.tools.texts])


class _Votes:
    """Share of the weighted examples, by path, content and moment, that did each offered tool (3, M).

    And how much they weigh that did each action (K,).
    """

    def __init__(
        self, experience: Experience, rows: NDArray[np.int64], weights_3N: Floats, candidates: CandidateSet
    ) -> None:
        self._experience, self._rows = experience, rows
        self._weights_3N = weights_3N
        self._candidates = candidates
        self.path_weight = float(weights_3N[0].sum())
        tools = experience.column("tool").take(rows)
        sums_3T = sums_by_number(tools, weights_3N, len(experience.tools) + 1)
        counted_3M = sums_3T.take(candidates.tools, axis=1)  # nothing adds to the last number, which −1 reads
        self.tool_examples = counted_3M[0]
        smoothed_3M = counted_3M + VOTE_PRIOR / counted_3M.shape[1]
        self.shares_3M = smoothed_3M / smoothed_3M.sum(axis=1, keepdims=True)

    def of_actions(self) -> tuple[Floats, Floats]:
        """Weight by path, and by moment, that did each candidate's action; shape (K,) each."""
        actions, (path, _, moment) = self._experience.column("action")[self._rows], self._weights_3N
        return self._action_weights(actions, path), self._action_weights(actions, moment)

    def _action_weights(self, actions: NDArray[np.integer], weights: Floats) -> Floats:
        numbers, member = np.unique(actions, return_inverse=True)
        if not len(numbers):
            return np.zeros(len(self._candidates.actions))
        totals = np.bincount(member, weights)
        places = np.minimum(np.searchsorted(numbers, self._candidates.actions), len(numbers) - 1)
        return np.where(numbers[places] == self._candidates.actions, totals[places], 0.0)


def _log_share(weights: Floats, candidates: CandidateSet) -> Floats:
    """ln of a candidate's smoothed share among its tool's candidates, times their number: 0 where nothing is known."""
    totals = np.bincount(candidates.tool_of, weights)[candidates.tool_of]
    shares = (weights + VOTE_PRIOR / candidates.siblings) / (totals + VOTE_PRIOR)
    return np.asarray(np.log(shares * candidates.siblings), np.float64)


def _places(numbers: NDArray[np.int64], wanted: NDArray[np.integer]) -> NDArray[np.int64]:
    """Where each wanted number stands in `numbers`; −1 where it is not there, or is −1 itself."""
    order = np.argsort(numbers, kind="stable")
    found = np.minimum(np.searchsorted(numbers, wanted, sorter=order), len(numbers) - 1)
    places = order[found]
    return np.where((numbers[places] == wanted) & (wanted >= 0), places, -1)
