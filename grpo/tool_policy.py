"""`ToolPolicy`: a small network that scores each candidate of a situation, so that tools may come and go.

Everything here is NumPy: a decision needs no torch.  `grpo.tool_network` is the same function for training.

    c = mean-free, unit-variance (W_task e_task + W_state e_state + W_history e_history + Σ words + b)
    q = W_q silu(c) + b_q          k_K likewise from the candidate's text and its tool
    logit_K = w · silu(W_j [q ⊙ k_K ; standings_K] + b_j)

Weights of the last layer begin at 0: an untrained policy is uniform.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, log_softmax

from grpo.encoding import STANDINGS, TOOL_ROWS, EncodedDecision, Encoder
from grpo.errors import CheckpointDamaged, TrainingUsageError
from grpo.protocols import Action
from grpo.tensor_files import load_tensors, save_tensors
from selector.features import HASHED
from selector.situation import Situation
from trajstore.embedding import Embedder, make_embedder

if TYPE_CHECKING:
    from collections.abc import Callable

    from trajstore.store import TrajectoryStore

Floats = NDArray[np.float32]
Weights = Mapping[str, Floats]

FORMAT = "trajstore tool policy"
FORMAT_VERSION = 1
STABLE = 1e-5


@dataclass(frozen=True, slots=True)
class PolicyShape:
    """Sizes: entries of an embedding D, of a hidden layer H, of the joint layer J."""

    dimension: int
    hidden: int = 64
    joint: int = 32

    def __post_init__(self) -> None:
        for name in ("dimension", "hidden", "joint"):
            if getattr(self, name) < 1:
                raise TrainingUsageError(f"{name} must be 1 or more, got {getattr(self, name)}")

    @property
    def arrays(self) -> dict[str, tuple[int, ...]]:
        """Shape of each array of weights, by name."""
        d, h, j = self.dimension, self.hidden, self.joint
        return {
            "task_DH": (d, h),
            "state_DH": (d, h),
            "history_DH": (d, h),
            "words_VH": (HASHED, h),
            "situation_H": (h,),
            "query_HH": (h, h),
            "query_H": (h,),
            "candidate_DH": (d, h),
            "tools_UH": (TOOL_ROWS, h),
            "candidate_H": (h,),
            "key_HH": (h, h),
            "key_H": (h,),
            "joint_MJ": (h + len(STANDINGS), j),
            "joint_J": (j,),
            "out_J": (j,),
        }


def initial_weights(shape: PolicyShape, rng: np.random.Generator) -> dict[str, Floats]:
    """Gaussians scaled by 1/√fan-in, words and tools small, biases and the last layer 0.

    Most standings of a candidate are 0, so that the joint layer counts the hidden entries alone as its fan-in.
    """
    weights = {}
    for name, sizes in shape.arrays.items():
        fan_in = shape.hidden if name == "joint_MJ" else sizes[0]
        scale = 0.0 if len(sizes) == 1 else 0.3 if name in ("words_VH", "tools_UH") else fan_in**-0.5
        weights[name] = (scale * rng.standard_normal(sizes)).astype(np.float32)
    weights["out_J"][:] = 0.0
    return weights


class ToolPolicy:
    """Scores candidates by `weights`; `version` counts the updates that made them.

    `descriptions` are what tools say about themselves.  Raises TrainingUsageError where weights do not fit the shape.
    """

    def __init__(
        self,
        shape: PolicyShape,
        weights: Weights,
        embedder: Embedder,
        *,
        version: int = 0,
        descriptions: Mapping[str, str] | None = None,
    ) -> None:
        if shape.dimension != embedder.identity.dimension:
            raise TrainingUsageError(
                f"the policy reads vectors of {shape.dimension} entries, those of its embedder have "
                f"{embedder.identity.dimension}: hand in the embedder that it was made for"
            )
        for name, sizes in shape.arrays.items():
            found = weights[name].shape if name in weights else None
            if found != sizes:
                raise TrainingUsageError(f"weights {name} must have shape {sizes}, got {found}")
        self.shape, self.version = shape, version
        self.weights = {name: np.ascontiguousarray(weights[name], np.float32) for name in shape.arrays}
        self.encoder = Encoder(embedder, descriptions)
        self._keys = _CandidateKeys(self)

    @classmethod
    def untrained(
        cls,
        embedder: Embedder | None = None,
        *,
        hidden: int = 64,
        seed: int = 0,
        descriptions: Mapping[str, str] | None = None,
    ) -> "ToolPolicy":
        """A uniform policy; `embedder` defaults to the hashed one."""
        embedder = embedder or make_embedder()
        shape = PolicyShape(embedder.identity.dimension, hidden)
        return cls(shape, initial_weights(shape, np.random.default_rng(seed)), embedder, descriptions=descriptions)

    @classmethod
    def from_store(
        cls,
        store: "TrajectoryStore",
        *,
        namespace: str = "default",
        seed: int = 0,
        on_progress: "Callable[[str, int, int], None] | None" = None,
    ) -> "ToolPolicy":
        """Clone what worked in a store, so that training begins with it.

        Taken are the trajectories of its training panel (`grpo.rollouts.panels_of`): what training brings is measured
        on the other two.
        """
        from grpo.cloning import clone_store  # noqa: PLC0415 - torch is loaded only to train

        return clone_store(store, namespace=namespace, seed=seed, on_progress=on_progress)

    @property
    def is_untrained(self) -> bool:
        """Whether it is still uniform."""
        return not self.weights["out_J"].any()

    def with_weights(self, weights: Weights, *, version: int) -> "ToolPolicy":
        """The same policy after an update."""
        return ToolPolicy(
            self.shape, weights, self.encoder.embedder, version=version, descriptions=self.encoder.descriptions
        )

    def logits(self, encoded: EncodedDecision) -> Floats:
        """One number for each candidate, shape (K,); `encoded` must come from this policy's encoder."""
        w, vectors = self.weights, self.encoder.table.vectors
        task, state, history = vectors[encoded.task], vectors[encoded.state], vectors[encoded.history]
        words = encoded.weights_W @ w["words_VH"][encoded.words_W]
        read = task @ w["task_DH"] + state @ w["state_DH"] + history @ w["history_DH"] + words + w["situation_H"]
        query = _silu(_standardised(read)) @ w["query_HH"] + w["query_H"]
        keys, own = self._keys.of(encoded)
        standings = encoded.standings_KF.copy()
        standings[:, -6:-3] = own @ np.stack([task, state, history], axis=1)
        joint = np.concatenate([keys * query, standings], axis=1) @ w["joint_MJ"] + w["joint_J"]
        return np.asarray(_silu(joint) @ w["out_J"], np.float32)

    def log_probabilities(self, situation: Situation, *, temperature: float = 1.0) -> NDArray[np.float64]:
        """ln softmax(logits / temperature), shape (K,); raises TrainingUsageError without candidates."""
        return self._log_probabilities(self._encode(situation), temperature)

    def act_with_exploration(
        self, situation: Situation, rng: np.random.Generator, *, temperature: float = 1.0
    ) -> Action:
        """Sample a candidate from softmax(logits / temperature); temperature 0 takes the most probable."""
        encoded = self._encode(situation)
        if temperature == 0.0:
            return Action(int(np.argmax(self.logits(encoded))), 0.0, encoded)
        log_probabilities = self._log_probabilities(encoded, temperature)
        place = int(np.searchsorted(np.exp(log_probabilities).cumsum(), rng.random()))
        place = min(place, len(log_probabilities) - 1)
        return Action(place, float(log_probabilities[place]), encoded)

    def _encode(self, situation: Situation) -> EncodedDecision:
        if not situation.candidates:
            raise TrainingUsageError("a policy chooses among candidates, got none: offer at least one")
        return self.encoder.encode(situation)

    def _log_probabilities(self, encoded: EncodedDecision, temperature: float) -> NDArray[np.float64]:
        if not temperature > 0.0:
            raise TrainingUsageError(f"temperature must be above 0, got {temperature}")
        return np.asarray(log_softmax(self.logits(encoded).astype(np.float64) / temperature), np.float64)

    def save(self, path: str | Path) -> None:
        """Write a safetensors file; it is whole, or not there at all."""
        identity = self.encoder.embedder.identity
        header = {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "hidden": self.shape.hidden,
            "joint": self.shape.joint,
            "version": self.version,
            "embedder": {"name": identity.name, "dimension": identity.dimension, "fingerprint": identity.fingerprint},
            "descriptions": self.encoder.descriptions,
        }
        save_tensors(Path(path), self.weights, {"policy": json.dumps(header)})

    @classmethod
    def load(cls, path: str | Path, *, embedder: Embedder | None = None) -> "ToolPolicy":
        """Read what `save` wrote; `embedder` defaults to that which the policy was trained with.

        Raises CheckpointDamaged where the file is not whole or not a policy, TrainingUsageError where the embedder is
        another one.
        """
        weights, texts = load_tensors(Path(path))
        try:
            header = json.loads(texts["policy"])
            made_by = header["embedder"]
            shape = PolicyShape(int(made_by["dimension"]), int(header["hidden"]), int(header["joint"]))
            version, descriptions = int(header["version"]), dict[str, str](header.get("descriptions", {}))
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointDamaged(f"{path} is no tool policy: its header does not read as one ({error!r})") from error
        if header.get("format") != FORMAT or header.get("format_version") != FORMAT_VERSION:
            raise CheckpointDamaged(f"{path} is not a tool policy of format {FORMAT_VERSION}: train it anew")
        embedder = embedder or make_embedder(made_by["name"], dimension=shape.dimension)
        if embedder.identity.fingerprint != made_by["fingerprint"]:
            raise TrainingUsageError(
                f"{path} was trained with embedder {made_by['fingerprint']}, got {embedder.identity.fingerprint}: "
                "hand in the same embedder"
            )
        if {name: array.shape for name, array in weights.items()} != shape.arrays:
            raise CheckpointDamaged(f"{path} does not hold the weights of the policy that it describes: train it anew")
        return cls(shape, weights, embedder, version=version, descriptions=descriptions)


class _CandidateKeys:
    """Keys of candidates by text and tool: the same few come up in every decision of an agent."""

    def __init__(self, policy: ToolPolicy) -> None:
        self._policy = policy
        self._table: object = None
        self._places: dict[tuple[int, int], int] = {}
        self._keys = np.zeros((0, policy.shape.hidden), np.float32)

    def of(self, encoded: EncodedDecision) -> tuple[Floats, Floats]:
        """Keys (K, H) and text vectors (K, D) of a decision's candidates."""
        table = self._policy.encoder.table
        if table is not self._table:
            self._table, self._places, self._keys = table, {}, self._keys[:0]
        pairs = list(zip(encoded.candidates_K.tolist(), encoded.tools_K.tolist(), strict=True))
        new = [pair for pair in dict.fromkeys(pairs) if pair not in self._places]
        if new:
            self._places |= {pair: len(self._keys) + place for place, pair in enumerate(new)}
            rows = np.array(new, np.int64)
            self._keys = np.concatenate([self._keys, self._made(table.vectors[rows[:, 0]], rows[:, 1])])
        return self._keys[[self._places[pair] for pair in pairs]], table.vectors[encoded.candidates_K]

    def _made(self, vectors_KD: Floats, tools_K: NDArray[np.int64]) -> Floats:
        w = self._policy.weights
        read = vectors_KD @ w["candidate_DH"] + w["tools_UH"][tools_K] + w["candidate_H"]
        return np.asarray(_silu(_standardised(read)) @ w["key_HH"] + w["key_H"], np.float32)


def _silu(x: Floats) -> Floats:
    return np.asarray(x * expit(x), np.float32)


def _standardised(x: Floats) -> Floats:
    """Mean 0 and variance 1 along the last axis (layer normalisation without weights)."""
    centered = x - x.mean(axis=-1, keepdims=True)
    return np.asarray(centered / np.sqrt((centered * centered).mean(axis=-1, keepdims=True) + STABLE), np.float32)
