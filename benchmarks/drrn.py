"""DRRN, the deep reinforcement relevance network (He et al. 2016, arXiv 1511.04636): the environment papers' baseline.

Q(task, state, action) = w · relu(W [t; s; a; t ∘ a; s ∘ a] + b), with t, s and a the mean embeddings of hashed words,
each text kind with a table of its own.  The papers read texts with GRUs; means of words are many times quicker and
forget word order.  The rest is as in Hausknecht et al. 2020 (arXiv 1909.05398), which ScienceWorld's authors use:
Q-learning with replay, half of each batch from transitions that were rewarded, actions sampled from softmax(Q), no
target network; with twice their updates for a step.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import smooth_l1_loss

from selector.demo.collect import rng_for
from selector.errors import SelectorUsageError
from trajstore.embedding import word_hash
from trajstore.environment import Environment, Observation, Transition
from trajstore.schema import Candidate, Task

Seen = Observation | Transition
Ids = NDArray[np.int64]
Tokens = NDArray[np.int32]
OnSteps = Callable[[int, int], None]

REWARD_SCALE = 10.0  # scores in [0, 1] would leave softmax(Q) all but uniform; games pay about ten points


@dataclass(frozen=True, slots=True)
class DrrnConfig:
    """How much is learned: environment `steps` in all, an update of `batch` transitions every `update_every` of them.

    Of the candidates after a transition a sample of `most_candidates` stands for all.  `memory` transitions are kept.
    """

    steps: int = 20_000
    max_steps: int = 50
    update_every: int = 4
    batch: int = 64
    memory: int = 50_000
    most_candidates: int = 64
    entries: int = 64
    hidden: int = 128
    vocabulary: int = 4096
    longest_state: int = 256
    longest_action: int = 16
    discount: float = 0.9
    learning_rate: float = 1e-3
    clip_norm: float = 5.0

    def __post_init__(self) -> None:
        for name in ("steps", "max_steps", "update_every", "batch", "memory", "most_candidates"):
            if getattr(self, name) < 1:
                raise SelectorUsageError(f"{name} must be 1 or more, got {getattr(self, name)}")


class TokenTable:
    """Texts as rows of at most `longest` hashed words in [1, vocabulary), padded with 0; each text is read once."""

    def __init__(self, longest: int, vocabulary: int) -> None:
        self._rows: dict[str, int] = {}
        self._tokens = np.zeros((1024, longest), np.int32)
        self._vocabulary = vocabulary

    def rows(self, texts: Sequence[str]) -> Ids:
        """The row of each text, shape (len(texts),)."""
        for text in texts:
            if text not in self._rows:
                self._append(text)
        return np.array([self._rows[text] for text in texts], np.int64)

    def tokens(self, rows: Ids) -> Tokens:
        """The words of each row, shape (len(rows), longest), without columns that are all padding."""
        found = self._tokens[rows]
        return found[:, : max(1, int((found != 0).any(axis=0).sum()))]

    def _append(self, text: str) -> None:
        place = len(self._rows)
        if place == len(self._tokens):
            self._tokens = np.concatenate([self._tokens, np.zeros_like(self._tokens)])
        words = text.lower().split()[: self._tokens.shape[1]]
        self._tokens[place, : len(words)] = [1 + word_hash(word) % (self._vocabulary - 1) for word in words]
        self._rows[text] = place


@dataclass(frozen=True, slots=True)
class Moment:
    """What is seen before an action as rows of the token tables: the task, the state and K candidates."""

    task: int
    state: int
    actions: Ids


@dataclass(frozen=True, slots=True)
class Memorised:
    """A transition: a moment, the row of the action taken, its scaled reward, and what came after (None: the end)."""

    before: Moment
    action: int
    reward: float
    after: Moment | None


class QNetwork(torch.nn.Module):
    """Q of each pair of a situation and an action, from token rows."""

    def __init__(self, config: DrrnConfig) -> None:
        super().__init__()
        self.tables = torch.nn.ModuleList(
            torch.nn.EmbeddingBag(config.vocabulary, config.entries, mode="mean", padding_idx=0) for _ in range(3)
        )
        self.joint = torch.nn.Linear(5 * config.entries, config.hidden)
        self.out = torch.nn.Linear(config.hidden, 1)

    def forward(self, tasks: Tokens, states: Tokens, actions: Tokens, owners: Ids) -> torch.Tensor:
        """Q of A actions, shape (A,); `owners` (A,) says which of the situations each belongs to."""
        task_table, state_table, action_table = self.tables
        own = torch.from_numpy(owners)
        task, state = task_table(torch.from_numpy(tasks))[own], state_table(torch.from_numpy(states))[own]
        action = action_table(torch.from_numpy(actions))
        read = torch.cat([task, state, action, task * action, state * action], dim=1)
        values: torch.Tensor = self.out(torch.relu(self.joint(read)))
        return values[:, 0]


class Drrn:
    """The network with its token tables, replay memory and optimizer."""

    def __init__(self, config: DrrnConfig, seed: int) -> None:
        torch.manual_seed(seed)
        self.config = config
        self._rng = np.random.default_rng(seed)
        self._situations = TokenTable(config.longest_state, config.vocabulary)
        self._actions = TokenTable(config.longest_action, config.vocabulary)
        self._network = QNetwork(config)
        self._optimizer = torch.optim.Adam(self._network.parameters(), config.learning_rate, fused=True)
        self._memory: list[Memorised] = []
        self._rewarded: list[int] = []
        self._added = 0

    def moment(self, task: Task, seen: Seen) -> Moment:
        """What is seen as rows."""
        task_row, state_row = self._situations.rows([task.text, seen.state]).tolist()
        return Moment(task_row, state_row, self._actions.rows([one.text for one in seen.candidates]))

    def draw(self, moment: Moment, rng: np.random.Generator) -> int:
        """The place of a candidate, sampled from softmax(Q)."""
        with torch.no_grad():
            values_K = self._values([moment], [moment.actions]).numpy().astype(np.float64)
        weights_K = np.exp(values_K - values_K.max())
        return int(rng.choice(len(weights_K), p=weights_K / weights_K.sum()))

    def remember(self, transition: Memorised) -> None:
        """Keep a transition, in the place of the oldest where the memory is full."""
        place = self._added % self.config.memory
        if place < len(self._memory):
            self._rewarded = [one for one in self._rewarded if one != place]
            self._memory[place] = transition
        else:
            self._memory.append(transition)
        if transition.reward > 0.0:
            self._rewarded.append(place)
        self._added += 1

    def thinned(self, moment: Moment) -> Moment:
        """The moment with a sample of its candidates where there are many."""
        most = self.config.most_candidates
        if len(moment.actions) <= most:
            return moment
        return Moment(moment.task, moment.state, self._rng.choice(moment.actions, most, replace=False))

    def update(self) -> float:
        """One step on the smooth L1 of Q(s, a) to r + γ max Q(next state, ·); returns the loss."""
        batch = self._sample()
        chosen = self._values([one.before for one in batch], [np.array([one.action]) for one in batch])
        targets = torch.tensor([one.reward for one in batch]) + self.config.discount * self._best_after(batch)
        loss = smooth_l1_loss(chosen, targets)
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        torch.nn.utils.clip_grad_norm_(self._network.parameters(), self.config.clip_norm)
        self._optimizer.step()
        return float(loss.detach())

    def _best_after(self, batch: Sequence[Memorised]) -> torch.Tensor:
        """max Q(next state, ·) of each transition, 0 at an end; shape (batch,)."""
        best = torch.zeros(len(batch))
        places = [place for place, one in enumerate(batch) if one.after is not None and len(one.after.actions)]
        moments = [batch[place].after for place in places]
        if not places:
            return best
        found = [moment for moment in moments if moment is not None]
        with torch.no_grad():
            values = self._values(found, [moment.actions for moment in found])
        owners = torch.from_numpy(np.repeat(places, [len(moment.actions) for moment in found]))
        return best.scatter_reduce(0, owners, values, "amax", include_self=False)

    def _values(self, moments: Sequence[Moment], actions: Sequence[Ids]) -> torch.Tensor:
        owners = np.repeat(np.arange(len(moments)), [len(one) for one in actions])
        tasks = self._situations.tokens(np.array([moment.task for moment in moments]))
        states = self._situations.tokens(np.array([moment.state for moment in moments]))
        values: torch.Tensor = self._network(tasks, states, self._actions.tokens(np.concatenate(actions)), owners)
        return values

    def _sample(self) -> list[Memorised]:
        """Half of a batch from what was rewarded, where anything was."""
        half = self.config.batch // 2 if self._rewarded else 0
        places = self._rng.integers(len(self._memory), size=self.config.batch - half).tolist()
        if half:
            places += self._rng.choice(self._rewarded, half).tolist()
        return [self._memory[place] for place in places]


class DrrnAgent:
    """A trained DRRN; acts by softmax(Q), as it did while it learned."""

    name = "DRRN"

    def __init__(self, drrn: Drrn, seed: int = 0) -> None:
        self._drrn, self._seed = drrn, seed
        self._task, self._rng = Task(""), np.random.default_rng(seed)

    def begin(self, task: Task) -> None:
        """Start an episode."""
        self._task, self._rng = task, rng_for(self._seed, task.task_id)

    def choose(self, seen: Seen) -> Candidate:
        """What softmax(Q) draws."""
        return seen.candidates[self._drrn.draw(self._drrn.moment(self._task, seen), self._rng)]

    def observe(self, after: Transition) -> None:
        """Nothing is learned once it is trained."""

    def end(self, *, success: bool, reward: float) -> None:
        """Nothing is kept."""


class CountingEnvironment:
    """Another environment that counts the `steps` taken in it: what an agent that learns live has used."""

    def __init__(self, environment: Environment) -> None:
        self.steps = 0
        self._environment = environment

    def reset(self, task: Task) -> Observation:
        """Begin an episode."""
        return self._environment.reset(task)

    def step(self, candidate: Candidate) -> Transition:
        """Carry out one candidate, and count it."""
        self.steps += 1
        return self._environment.step(candidate)


def train_drrn(
    environment: Environment,
    tasks: Sequence[Task],
    config: DrrnConfig,
    *,
    seed: int = 0,
    on_steps: OnSteps | None = None,
) -> DrrnAgent:
    """Learn in the environment on tasks drawn at random; `on_steps` hears (steps taken, to take) after each episode."""
    if not tasks:
        raise SelectorUsageError("DRRN learns by acting and got no task: hand in at least one")
    drrn, rng, taken = Drrn(config, seed), np.random.default_rng([seed, 1]), 0
    while taken < config.steps:
        task = tasks[int(rng.integers(len(tasks)))]
        taken += _episode(drrn, environment, task, rng, min(config.max_steps, config.steps - taken))
        if on_steps is not None:
            on_steps(taken, config.steps)
    return DrrnAgent(drrn, seed)


def _episode(drrn: Drrn, environment: Environment, task: Task, rng: np.random.Generator, most: int) -> int:
    """One episode, learned from as it goes; returns its steps, at least 1."""
    seen: Seen = environment.reset(task)
    moment, taken = drrn.moment(task, seen), 0
    while taken < most and len(moment.actions):
        place = drrn.draw(moment, rng)
        after = environment.step(seen.candidates[place])
        taken += 1
        seen, following = after, drrn.moment(task, after)
        is_over = after.done or not after.candidates
        kept = None if is_over else drrn.thinned(following)
        drrn.remember(Memorised(moment, int(moment.actions[place]), REWARD_SCALE * after.reward, kept))
        if taken % drrn.config.update_every == 0:
            drrn.update()
        if is_over:
            break
        moment = following
    return max(1, taken)
