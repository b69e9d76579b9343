"""The same function as `ToolPolicy`, in torch, on padded batches: what is trained."""

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from grpo.decision_table import DecisionBatch
from grpo.tool_policy import STABLE, PolicyShape

FORBIDDEN = -1e9


class ToolNetwork(nn.Module):
    """Scores the candidates of a batch; its parameters have the names and shapes of `PolicyShape.arrays`."""

    def __init__(self, shape: PolicyShape, weights: Mapping[str, NDArray[np.float32]]) -> None:
        super().__init__()
        self.shape = shape
        for name in shape.arrays:
            self.register_parameter(name, nn.Parameter(torch.from_numpy(np.array(weights[name], np.float32))))

    def forward(self, batch: DecisionBatch) -> Tensor:
        """Logits (N, K), float32; −1e9 where there is no candidate."""
        words = functional.embedding_bag(
            batch.words_W,
            self.get_parameter("words_VH"),
            batch.first_word_N,
            mode="sum",
            per_sample_weights=batch.weights_W,
        )
        read = batch.task_ND @ self.get_parameter("task_DH") + batch.state_ND @ self.get_parameter("state_DH")
        read = read + batch.history_ND @ self.get_parameter("history_DH") + words + self.get_parameter("situation_H")
        query_NH = self._two_layers(read, "query")
        own = batch.pairs_PD @ self.get_parameter("candidate_DH") + self.get_parameter("tools_UH")[batch.pair_tools_P]
        keys_PH = self._two_layers(own + self.get_parameter("candidate_H"), "key")
        # [q ⊙ k ; standings] W in two products: no array as wide as both has to be made and taken apart again.
        of_keys_HJ, of_standings_FJ = self.get_parameter("joint_MJ").split_with_sizes(
            [self.shape.hidden, batch.standings_NKF.shape[2]]
        )
        stands_NKJ = batch.standings_NKF @ of_standings_FJ + self.get_parameter("joint_J")
        joint = functional.silu((keys_PH[batch.pair_of_NK] * query_NH[:, None]) @ of_keys_HJ + stands_NKJ)
        return (joint @ self.get_parameter("out_J")).float().masked_fill(~batch.mask_NK, FORBIDDEN)

    def log_probabilities(self, batch: DecisionBatch, temperature: float = 1.0) -> Tensor:
        """ln softmax(logits / temperature), shape (N, K), float32."""
        return functional.log_softmax(self(batch) / temperature, dim=1)

    def to_weights(self) -> dict[str, NDArray[np.float32]]:
        """The parameters as arrays of their own."""
        return {name: value.detach().float().cpu().numpy().copy() for name, value in self.named_parameters()}

    def _two_layers(self, read: Tensor, name: str) -> Tensor:
        standardised = functional.layer_norm(read.float(), (self.shape.hidden,), eps=STABLE)
        return functional.silu(standardised) @ self.get_parameter(f"{name}_HH") + self.get_parameter(f"{name}_H")
