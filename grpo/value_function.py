"""A small network that foretells a return from the features of a state."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from grpo.errors import CheckpointDamaged, TrainingUsageError
from grpo.tensor_files import load_tensors, save_tensors

Floats = NDArray[np.float64]
Names = NDArray[Any]  # Any: groups are named by numbers or by texts


@dataclass(frozen=True, slots=True)
class ValueFitConfig:
    """How a value function is fitted: Adam on the squared error, or cross-entropy, in mini-batches of `batch` rows.

    `held_out` in [0, 1) is the share of groups that decide when to stop: after `patience` epochs without a better
    error there.
    """

    epochs: int = 100
    batch: int = 256
    learning_rate: float = 1e-3
    weight_decay: float = 1e-4
    held_out: float = 0.2
    patience: int = 5

    def __post_init__(self) -> None:
        for name in ("epochs", "batch", "patience", "learning_rate"):
            if not getattr(self, name) > 0:
                raise TrainingUsageError(f"{name} must be above 0, got {getattr(self, name)}")
        if not 0.0 <= self.held_out < 1.0:
            raise TrainingUsageError(f"held_out must lie in [0, 1), got {self.held_out}")


@dataclass(frozen=True, slots=True)
class ValueFit:
    """How a fit went: epochs gone through, and the least loss on the groups that were held out (NaN without any)."""

    epochs: int
    held_out_loss: float


class ValueFunction:
    """V(state) in (0, 1): a network with one hidden layer over `dimension` features, made and fitted from `seed`."""

    def __init__(self, dimension: int, hidden: int = 64, *, seed: int = 0) -> None:
        if dimension < 1 or hidden < 1:
            raise TrainingUsageError(f"dimension and hidden must be above 0, got {dimension} and {hidden}")
        self.dimension, self.hidden, self.seed = dimension, hidden, seed
        self._generator = torch.Generator().manual_seed(seed)
        self._network = torch.nn.Sequential(
            torch.nn.Linear(dimension, hidden), torch.nn.Tanh(), torch.nn.Linear(hidden, 1)
        )
        with torch.no_grad():
            for weight in self._network.parameters():
                scale = 1.0 / float(np.sqrt(weight.shape[-1])) if weight.ndim == 2 else 0.0
                weight.copy_(torch.randn(weight.shape, generator=self._generator) * scale)

    def fit(
        self, features_ND: Floats, targets_N: Floats, groups_N: Names, config: ValueFitConfig | None = None
    ) -> ValueFit:
        """Learn targets in [0, 1] by cross-entropy; the best parameters on the held-out groups are kept."""
        config = config or ValueFitConfig()
        self._check(features_ND, targets_N, groups_N)
        held_N = self._held_out(groups_N, config.held_out)
        features, targets = (torch.as_tensor(each, dtype=torch.float32) for each in (features_ND, targets_N))
        learned, asked = np.flatnonzero(~held_N), np.flatnonzero(held_N)
        optimiser = torch.optim.Adam(
            self._network.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
        )
        best, kept, since, epochs = float("inf"), self._copy(), 0, 0
        while epochs < config.epochs and since < config.patience:
            epochs += 1
            self._learn(optimiser, features[learned], targets[learned], config.batch)
            if not len(asked):
                continue
            loss = self._loss_on(features[asked], targets[asked])
            best, kept, since = (loss, self._copy(), 0) if loss < best else (best, kept, since + 1)
        if len(asked):
            self._network.load_state_dict(kept)
        return ValueFit(epochs, best if len(asked) else float("nan"))

    def predict(self, features_ND: Floats) -> Floats:
        """Values in (0, 1), shape (N,)."""
        if features_ND.ndim != 2 or features_ND.shape[1] != self.dimension:
            raise TrainingUsageError(f"features must have shape (N, {self.dimension}), got {features_ND.shape}")
        with torch.no_grad():
            logits = self._network(torch.as_tensor(features_ND, dtype=torch.float32))[:, 0]
        return torch.sigmoid(logits.double()).numpy()

    def save(self, path: Path) -> None:
        """Write the parameters to a safetensors file."""
        arrays = {name: tensor.numpy() for name, tensor in self._network.state_dict().items()}
        save_tensors(path, arrays, {"hidden": str(self.hidden), "seed": str(self.seed)})

    @classmethod
    def load(cls, path: Path) -> "ValueFunction":
        """Read what `save` wrote; raises CheckpointDamaged where the file is missing or not of a value function."""
        arrays, texts = load_tensors(path)
        try:
            made = cls(arrays["0.weight"].shape[1], int(texts["hidden"]), seed=int(texts["seed"]))
            made._network.load_state_dict({name: torch.as_tensor(array) for name, array in arrays.items()})
        except (KeyError, IndexError, ValueError, RuntimeError) as error:
            raise CheckpointDamaged(f"{path} holds no value function: name a file that `save` wrote") from error
        return made

    def _learn(self, optimiser: torch.optim.Adam, features: torch.Tensor, targets: torch.Tensor, batch: int) -> None:
        for rows in torch.split(torch.randperm(len(features), generator=self._generator), batch):
            optimiser.zero_grad()
            self._loss(features[rows], targets[rows]).backward()  # type: ignore[no-untyped-call]  # torch ships none
            optimiser.step()

    def _loss(self, features: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.binary_cross_entropy_with_logits(self._network(features)[:, 0], targets)

    def _loss_on(self, features: torch.Tensor, targets: torch.Tensor) -> float:
        with torch.no_grad():
            return float(self._loss(features, targets))

    def _copy(self) -> dict[str, torch.Tensor]:
        return {name: tensor.clone() for name, tensor in self._network.state_dict().items()}

    def _held_out(self, groups_N: Names, share: float) -> NDArray[np.bool_]:
        """Which rows are of held-out groups: at least one group is learned from."""
        names, numbers_N = np.unique(groups_N, return_inverse=True)
        order = torch.randperm(len(names), generator=self._generator).numpy()
        count = min(int(np.ceil(share * len(names))), len(names) - 1)
        return np.isin(numbers_N, order[:count])

    def _check(self, features_ND: Floats, targets_N: Floats, groups_N: Names) -> None:
        shapes = features_ND.shape[1:], targets_N.shape, np.shape(groups_N)
        if shapes != ((self.dimension,), (len(features_ND),), (len(features_ND),)) or not len(features_ND):
            raise TrainingUsageError(
                f"features must have shape (N, {self.dimension}), N > 0, targets and groups (N,), "
                f"got {features_ND.shape}, {targets_N.shape} and {np.shape(groups_N)}"
            )
        if not (np.isfinite(features_ND).all() and ((targets_N >= 0) & (targets_N <= 1)).all()):
            raise TrainingUsageError("features must be finite and targets lie in [0, 1]: scale returns first")


def explained_variance(predicted_N: Floats, targets_N: Floats) -> float:
    """1 − var(target − predicted) / var(target): 1 is perfect, 0 no better than a constant; NaN for equal targets.

    >>> explained_variance(np.array([0.0, 1.0]), np.array([0.0, 1.0]))
    1.0
    """
    spread = float(np.var(targets_N))
    return 1.0 - float(np.var(targets_N - predicted_N)) / spread if spread > 0 else float("nan")
