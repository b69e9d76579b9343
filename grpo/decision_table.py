"""Encoded decisions as tensors: ragged in one table on the device, padded batch by batch without leaving it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from grpo.encoding import STANDINGS, EncodedDecision
from grpo.errors import TrainingUsageError

SIMILARITIES = slice(-6, -3)
CHUNK = 65_536


@dataclass(frozen=True, slots=True)
class DecisionBatch:
    """N decisions with up to K candidates each; `mask_NK` says which are real.

    `task_ND`, `state_ND` and `history_ND` are text vectors.  Words are ragged: `words_W`, `weights_W` and where each
    decision's begin, `first_word_N`.  `pairs_PD` and `pair_tools_P` are the text vectors and tools of the P different
    candidates, `pair_of_NK` says which of them each is, `standings_NKF` how it stands to the situation.
    """

    task_ND: Tensor
    state_ND: Tensor
    history_ND: Tensor
    words_W: Tensor
    weights_W: Tensor
    first_word_N: Tensor
    pairs_PD: Tensor
    pair_tools_P: Tensor
    pair_of_NK: Tensor
    standings_NKF: Tensor
    mask_NK: Tensor


class DecisionTable:
    """All decisions of a training run; `vectors_UD` are the rows of the encoder's text table."""

    def __init__(
        self, decisions: Sequence[EncodedDecision], vectors_UD: np.ndarray, device: torch.device | str = "cpu"
    ) -> None:
        if not decisions:
            raise TrainingUsageError("a table needs at least one decision, got none")
        candidates = np.concatenate([decision.candidates_K for decision in decisions])
        tools = np.concatenate([decision.tools_K for decision in decisions])
        pairs, pair_of = np.unique(np.stack([candidates, tools]), axis=1, return_inverse=True)
        contexts = np.array([(decision.task, decision.state, decision.history) for decision in decisions], np.int64)
        counts = np.array([len(decision.candidates_K) for decision in decisions], np.int64)
        lengths = np.array([len(decision.words_W) for decision in decisions], np.int64)
        standings = np.concatenate([decision.standings_KF for decision in decisions])
        _add_similarities(standings, vectors_UD, candidates, np.repeat(contexts, counts, axis=0))

        def put(array: np.ndarray) -> Tensor:
            return torch.from_numpy(np.ascontiguousarray(array)).to(device)

        self._vectors, self._contexts = put(vectors_UD), put(contexts)
        self._pairs, self._pair_of = put(pairs), put(pair_of.reshape(-1))
        self._counts, self._starts = put(counts), put(np.cumsum(counts) - counts)
        self._lengths, self._first_words = put(lengths), put(np.cumsum(lengths) - lengths)
        self._words = put(np.concatenate([decision.words_W for decision in decisions]))
        self._weights = put(np.concatenate([decision.weights_W for decision in decisions]))
        self._standings = put(standings)
        self.most_candidates = int(counts.max())

    def __len__(self) -> int:
        return len(self._counts)

    @property
    def device(self) -> torch.device:
        """Where the table lies."""
        return self._counts.device

    def batch(self, rows_N: Tensor) -> DecisionBatch:
        """The decisions of these rows, padded to the most candidates among them."""
        contexts, counts, lengths = self._contexts[rows_N], self._counts[rows_N], self._lengths[rows_N]
        places_K = torch.arange(int(counts.max()), device=self.device)
        mask_NK = places_K < counts[:, None]
        flat_NK = torch.where(mask_NK, self._starts[rows_N][:, None] + places_K, self._starts[rows_N][:, None])
        words = _ragged(self._first_words[rows_N], lengths)
        used_P, pair_of = torch.unique(self._pair_of[flat_NK], return_inverse=True)
        return DecisionBatch(
            task_ND=self._vectors[contexts[:, 0]],
            state_ND=self._vectors[contexts[:, 1]],
            history_ND=self._vectors[contexts[:, 2]],
            words_W=self._words[words],
            weights_W=self._weights[words],
            first_word_N=lengths.cumsum(0) - lengths,
            pairs_PD=self._vectors[self._pairs[0, used_P]],
            pair_tools_P=self._pairs[1, used_P],
            pair_of_NK=pair_of,
            standings_NKF=self._standings[flat_NK],
            mask_NK=mask_NK,
        )


def _ragged(starts_N: Tensor, lengths_N: Tensor) -> Tensor:
    """Numbers of all entries of several stretches, one stretch after the other."""
    ends = lengths_N.cumsum(0)
    within = torch.arange(int(ends[-1]), device=starts_N.device) - (ends - lengths_N).repeat_interleave(lengths_N)
    return starts_N.repeat_interleave(lengths_N) + within


def _add_similarities(
    standings_AF: np.ndarray, vectors_UD: np.ndarray, candidates_A: np.ndarray, contexts_A3: np.ndarray
) -> None:
    """Cosines of each candidate with its task, state and history; they never change, since vectors are not trained."""
    for first in range(0, len(candidates_A), CHUNK):
        part = slice(first, first + CHUNK)
        own = vectors_UD[candidates_A[part]]
        for place, column in enumerate(range(*SIMILARITIES.indices(len(STANDINGS)))):
            standings_AF[part, column] = np.einsum("ad,ad->a", own, vectors_UD[contexts_A3[part, place]])
