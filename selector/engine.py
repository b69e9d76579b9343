"""One decision: assess, prune, abstain or choose, explain."""

import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from selector.choice import Arms, Choice, choose
from selector.choice_model import action_features, softmax
from selector.danger import dangerous_here
from selector.explaining import ranked, supporting
from selector.features import state_features
from selector.follow import NO_PATHS
from selector.knowledge import Assessment, Left
from selector.learning import Learned
from selector.live import NO_FEEDBACK, Feedback
from selector.loops import Loop, find_loop, should_defer
from selector.posteriors import BetaPosterior
from selector.prior_policy import PriorPolicy, pooled_logits
from selector.pruning import Reasons, prune, pruned_candidates
from selector.records import Decision, SelectorConfig, Source
from selector.repetition import likeness_of_states, times_lost, tries_here
from selector.rules import Rule, apply_rules
from selector.shown_repeats import is_shown, times_shown
from selector.situation import Situation, hidden
from trajstore.redact import KeyedRedactor

ALONE = "the agent does better alone here"


@dataclass(frozen=True, slots=True)
class Considered:
    """One decision before the choice: what experience says, what is believed, what is pruned, and the loop it is in.

    `situation` is what was asked of experience, `offered` the same with the values that are hidden there.  `feared` are
    the places of candidates that can lose more than they are likely to bring.
    """

    situation: Situation
    assessment: Assessment
    posterior: BetaPosterior
    reasons: Reasons
    arms: Arms
    loop: Loop | None
    offered: Situation
    feared: tuple[int, ...]


class Engine:
    """Decides from what was learned and from live feedback; holds no state of its own but the random generator.

    `rules` are the user's own: each returns why a candidate must not be chosen, or "".  `policy`, where there is one,
    is the prior: its opinion is pooled with that of experience (`SelectorConfig.policy_weight`).  `redactor` hides in a
    live situation what is hidden in the stored ones; rules see it as it is, and what is chosen is what was offered.
    """

    def __init__(
        self,
        learned: Learned,
        config: SelectorConfig,
        rng: np.random.Generator,
        *,
        feedback: Feedback = NO_FEEDBACK,
        rules: Sequence[Rule] = (),
        policy: PriorPolicy | None = None,
        redactor: KeyedRedactor | None = None,
    ) -> None:
        self._policy = policy
        self._redactor = redactor
        self.learned = learned
        self.config = config
        self._rng = rng
        self._feedback = feedback
        self._rules = tuple(rules)

    def decide(self, situation: Situation, goals: NDArray[np.float32]) -> Decision:
        """Choose among the situation's candidates; `goals` comes from `Knowledge.goal_similarities`."""
        seen = self.consider(situation, goals)
        why_not = self._reason_to_abstain(seen)
        if why_not:
            return self._explain(seen, reason=why_not)
        sharpening, exploration = self.config.sharpening, self.config.exploration
        return self._explain(seen, choose(seen.arms, self._rng, sharpening=sharpening, exploration=exploration))

    def consider(self, situation: Situation, goals: NDArray[np.float32], left: Left | None = None) -> Considered:
        """Everything that is known before the choice; `left` is left out of what answers."""
        offered, situation = situation, situation if self._redactor is None else hidden(situation, self._redactor)
        knowledge = self.learned.knowledge
        if len(goals) != len(knowledge.experience.goals):  # tasks were learned since the episode began
            goals = knowledge.goal_similarities(situation)
        log_health = self._feedback.log_health(knowledge.experience.tools.names)
        assessment = knowledge.assess(situation, goals, left=left, log_health_T=log_health)
        likeness = likeness_of_states(situation, knowledge.experience.embed)
        paths = knowledge.path_relations(situation, goals, left) if self.learned.model.uses_paths else None
        posterior = self.posterior(situation, assessment, likeness, paths)
        loop = self._loop(situation, assessment, likeness)
        reasons = self._pruned(situation, assessment, loop)
        forbidden = apply_rules(self._rules, offered)
        reasons = _with_rules(reasons, forbidden, len(situation.candidates))
        danger = knowledge.danger(situation, goals, left)
        feared = dangerous_here(posterior.mean, assessment.candidates, danger, self.config.loss_aversion).tolist()
        left_out = {*reasons, *feared}
        arms = self.arms(assessment, posterior, left_out if len(left_out) < len(situation.candidates) else reasons)
        return Considered(situation, assessment, posterior, reasons, arms, loop, offered, tuple(feared))

    def _pruned(self, situation: Situation, assessment: Assessment, loop: Loop | None) -> Reasons:
        """What fails here or goes on with a loop; what successes near here repeated as often does not."""
        experience = self.learned.knowledge.experience
        times = cache(lambda tool: times_shown(tool, assessment.evidence, experience))

        def is_usual(tool: str, done: int) -> bool:
            return times(tool) >= done

        return prune(situation, assessment, self.config, feedback=self._feedback, loop=loop, is_shown=is_usual)

    def _loop(self, situation: Situation, assessment: Assessment, likeness_T: NDArray[np.float64]) -> Loop | None:
        """The loop that the newest steps stand in, unless successes near here repeated as much."""
        loop = find_loop(situation.history, self.config.loops, likeness_T)
        if loop and is_shown(loop, assessment.evidence, self.learned.knowledge.experience):
            return None
        return loop

    def probabilities(
        self, situation: Situation, goals: NDArray[np.float32], left: Left | None = None
    ) -> NDArray[np.float64]:
        """P(candidate) (K,), were it asked now; the rest to 1 is that it leaves the agent alone."""
        seen = self.consider(situation, goals, left)
        if self._reason_to_abstain(seen):
            return np.zeros(len(situation.candidates))
        rng = np.random.default_rng(0)  # what is drawn does not matter here
        return choose(
            seen.arms, rng, sharpening=self.config.sharpening, exploration=self.config.exploration
        ).probabilities

    def posterior(
        self,
        situation: Situation,
        assessment: Assessment,
        likeness_T: NDArray[np.float64],
        paths: NDArray[np.float64] | None = None,
    ) -> BetaPosterior:
        """Posterior that each candidate (K,) is what a successful trajectory does here.

        `likeness_T` is the cosine of the state before each past step to the present one, `paths` how each
        candidate stands to stored paths, where the model asks for it.  The mean is the choice
        model's probability, less where a tool is not well or a grounded action was tried here before in this episode;
        its weight is that of the examples near in all three keys.
        """
        tools = assessment.candidates.tools[assessment.candidates.tool_of]
        known = self.learned.knowledge
        features = state_features(situation, self.config.retrieval.keys, known.decisive)
        actions = action_features(situation, paths, known.usual, with_said=self.learned.model.uses_said)
        logits = self.learned.model.logits(assessment.experts, features, tools, actions)
        if self._policy is not None:
            logits = pooled_logits(logits, self._policy.log_probabilities(situation), self.config.policy_weight)
        if situation.is_grounded:
            logits -= self.config.repeat_discount * np.log1p(tries_here(situation, likeness_T))
            logits -= self.config.loss_discount * np.log1p(times_lost(situation))
        log_health = self._feedback.log_health(assessment.candidates.tool_names)
        if log_health is not None:
            logits += log_health[assessment.candidates.tool_of]
        means = np.minimum(np.maximum(softmax(logits), 1e-9), 1.0 - 1e-9)
        weight = self.config.prior_strength + assessment.path_weight
        return BetaPosterior(means * weight, (1.0 - means) * weight)

    def arms(self, assessment: Assessment, posterior: BetaPosterior, left_out: Collection[int]) -> Arms:
        """What may be chosen, and what is believed of each; `left_out` are places."""
        allowed = np.ones(len(posterior.mean), np.bool_)
        if left_out:
            allowed[list(left_out)] = False
        paths = assessment.paths if self.config.following else NO_PATHS
        path_posterior = self.learned.paths.posterior(paths, posterior.mean)
        return Arms(posterior, allowed, paths, path_posterior, self._feedback.guidance(assessment.cluster))

    def _reason_to_abstain(self, seen: Considered) -> str:
        assessment, loop = seen.assessment, seen.loop
        if len(seen.reasons) == len(seen.situation.candidates):
            return f"every candidate is forbidden by a rule, the first because: {seen.reasons[0]}"
        if assessment.support < self.config.minimum_support:
            return f"too little experience: support {assessment.support:.2f} is below {self.config.minimum_support:g}"
        if not assessment.candidates.is_known.any():
            return "none of the offered tools was ever seen"
        nearest, familiar = assessment.evidence.nearest, self.learned.familiar
        if familiar.is_strange(nearest, assessment.nearest_task, self.config.strangeness):
            return f"like nothing stored: the nearest step has similarity {nearest:.2f}, most have {familiar.step:.2f}"
        return loop.reason if loop and should_defer(seen.situation, loop, self.config.loops) else ""

    def _explain(self, seen: Considered, choice: Choice | None = None, *, reason: str = ALONE) -> Decision:
        place, experience = choice.place if choice else None, self.learned.knowledge.experience
        path = None if choice is None or choice.path is None else int(seen.assessment.paths.rows[choice.path])
        return Decision(
            decision_id=uuid.uuid4().hex,
            candidate=None if place is None else seen.offered.candidates[place],
            source=_source(seen, place, path),
            propensity=choice.propensity if choice else 1.0,
            ranked=ranked(seen.offered, seen.assessment, seen.posterior),
            pruned=pruned_candidates(seen.offered, seen.reasons),
            evidence=supporting(experience, seen.assessment.evidence),
            reason=reason if place is None else "",
            path=None if path is None else experience.describe(path)[0],
            probabilities=tuple(choice.probabilities.tolist()) if choice else (),
            cluster=seen.assessment.cluster,
            feared=tuple(seen.offered.candidates[each] for each in seen.feared),
        )


def _source(seen: Considered, place: int | None, path: int | None) -> Source:
    """Following is what is most probable, or a stored path; anything else explores."""
    if place is None:
        return "defer"
    open_means = np.where(seen.arms.allowed, seen.posterior.mean, -1.0)
    return "follow" if path is not None or place == int(np.argmax(open_means)) else "explore"


def _with_rules(reasons: Reasons, forbidden: Reasons, candidates: int) -> Reasons:
    """Rules are the user's word: they hold also where they leave too little for what was pruned to stay so."""
    together = reasons | forbidden
    return together if len(together) < candidates else forbidden
