"""Settings of a training run, and how they are read from a TOML file."""

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

from grpo.advantages import Baseline, ScaleBy
from grpo.errors import TrainingUsageError

Loss = Literal["clipped", "gspo", "cispo", "truncated", "reinforce", "positive_only"]
Credit = Literal["discounted", "equal_states", "near_states", "value"]
Precision = Literal["float32", "bfloat16"]

T = TypeVar("T")

COUNTS = (
    "updates",
    "groups",
    "group_size",
    "minibatch",
    "epochs",
    "max_steps",
    "validate_every",
    "patience",
    "decisions",
)
SHARES = ("discount",)
NOT_NEGATIVE = (
    *("kl", "entropy", "cloning", "weight_decay", "warmup", "step_weight"),
    *("epsilon_low", "epsilon_high", "seed"),
)
MAY_BE_NONE = ("loss", "baseline", "kl", "cloning", "dual_clip", "minibatch", "epochs", "learning_rate")
FOR_LOGS: Mapping[str, Any] = {
    "loss": "truncated",
    "baseline": "policy_adjusted",
    "kl": 0.1,
    "cloning": 0.3,
    "minibatch": 1024,
    "epochs": 1,
    "learning_rate": 1e-3,
}
FOR_ROLLOUTS: Mapping[str, Any] = {
    "loss": "clipped",
    "baseline": "leave_one_out",
    "kl": 0.0,
    "cloning": 0.0,
    "minibatch": 256,
    "epochs": 4,
    "learning_rate": 3e-3,
}
POSITIVE = ("learning_rate", "clip_norm", "cap", "temperature")
KINDS: Mapping[str, type] = {"loss": str, "baseline": str, "minibatch": int, "epochs": int}
KNOWN: Mapping[str, tuple[Any, ...]] = {
    "loss": (None, *get_args(Loss)),
    "baseline": (None, *get_args(Baseline)),
    "scale": get_args(ScaleBy),
    "precision": get_args(Precision),
    "credit": get_args(Credit),
}


@dataclass(frozen=True, slots=True)
class GRPOConfig:
    """How a policy is trained.

    An update takes `groups` groups (online: `group_size` rollouts each of at most `max_steps` steps), refines their
    rewards by `baseline` and `scale` (`grpo.advantages`), credits each step as `credit` says (`grpo.crediting`:
    "discounted" by `discount` for each step left, "equal_states" and "near_states" with step groups times
    `step_weight`, "value"), and makes `epochs` passes in minibatches of `minibatch` decisions.

    Seven settings are None until they are `resolved`, because logs ask for others than live rollouts: `learning_rate`
    (0.001; live 0.003), `epochs` and `minibatch` (1 and 1024; live 4 and 256), `loss`
    (`grpo.losses`: "truncated", importance weights up to `cap`; live "clipped"), `baseline` ("policy_adjusted", since
    logs mix agents of unlike skill; live "leave_one_out"), `kl`, the weight of KL(π ‖ the first policy) (0.1; live 0),
    and `cloning`, that of the log-likelihood of what successful trajectories did (0.3; live 0).  `epsilon_low`,
    `epsilon_high` and `dual_clip` are those of the clipped losses, `entropy` weighs a bonus.

    `replay` in [0, 1) is the share of groups that an online update takes from the store.  `temperature` divides the
    logits wherever the policy samples or learns.  Validation comes every `validate_every` updates; training stops once
    `patience` of them brought nothing better.  `device` is "auto", or a name that torch knows.
    Of a log with more than `decisions` decisions a sample of whole groups is used, and of more than `most_candidates`
    tools that may have been offered a sample.
    """

    updates: int = 200
    groups: int = 32
    group_size: int = 8
    minibatch: int | None = None
    epochs: int | None = None
    max_steps: int = 50
    loss: Loss | None = None
    baseline: Baseline | None = None
    scale: ScaleBy = "none"
    credit: Credit = "discounted"
    step_weight: float = 1.0
    discount: float = 0.99
    epsilon_low: float = 0.2
    epsilon_high: float = 0.28
    dual_clip: float | None = 3.0
    cap: float = 5.0
    kl: float | None = None
    entropy: float = 0.0
    cloning: float | None = None
    replay: float = 0.0
    temperature: float = 1.0
    learning_rate: float | None = None
    weight_decay: float = 0.0
    clip_norm: float = 1.0
    warmup: int = 5
    validate_every: int = 10
    patience: int = 5
    decisions: int = 20_000
    most_candidates: int = 64
    seed: int = 0
    device: str = "auto"
    precision: Precision = "float32"

    def __post_init__(self) -> None:
        self._require(COUNTS, lambda value: value >= 1, "be 1 or more")
        self._require(SHARES, lambda value: 0.0 <= value <= 1.0, "lie in [0, 1]")
        self._require(("replay",), lambda value: 0.0 <= value < 1.0, "lie in [0, 1)")
        self._require(NOT_NEGATIVE, lambda value: value >= 0.0, "be 0 or more")
        self._require(POSITIVE, lambda value: value > 0.0, "be above 0")
        self._require(("dual_clip",), lambda value: value > 1.0 + self.epsilon_high, "be above 1 + epsilon_high")
        for name, known in KNOWN.items():
            if getattr(self, name) not in known:
                raise TrainingUsageError(f"{name} must be one of {known}, got {getattr(self, name)!r}")
        if self.most_candidates < 2:
            raise TrainingUsageError(f"most_candidates must be 2 or more, got {self.most_candidates}")

    def replaced(self, settings: Mapping[str, Any]) -> "GRPOConfig":  # Any: a setting's own type
        """With other values of some settings, checked again."""
        return replace(self, **settings)

    def resolved(self, *, is_logged: bool) -> "GRPOConfig":
        """With nothing left None: what suits logged data, or live rollouts.

        >>> GRPOConfig(kl=0.5).resolved(is_logged=True).kl, GRPOConfig().resolved(is_logged=False).loss
        (0.5, 'clipped')
        """
        usual = FOR_LOGS if is_logged else FOR_ROLLOUTS
        return replace(self, **{name: value for name, value in usual.items() if getattr(self, name) is None})

    @classmethod
    def from_mapping(cls, settings: Mapping[str, Any]) -> "GRPOConfig":
        """Settings by name, as JSON or TOML gives them; raises TrainingUsageError for an unknown name or type."""
        known = {field.name: field for field in fields(cls)}
        for name in settings:
            if name not in known:
                raise TrainingUsageError(f"there is no setting {name!r}; there are {', '.join(sorted(known))}")
        plain = asdict(cls())
        for name, value in settings.items():
            if not _fits(value, plain[name], name):
                raise TrainingUsageError(f"{name} must be like {plain[name]!r}, got {value!r}")
        return cls(**{name: _as(value, plain[name]) for name, value in settings.items()})

    @classmethod
    def from_toml(cls, path: str | Path) -> "GRPOConfig":
        """Settings of a TOML file; raises TrainingUsageError where it cannot be read."""
        try:
            settings = tomllib.loads(Path(path).read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise TrainingUsageError(f"{path} does not read as TOML: {error}") from error
        return cls.from_mapping(settings)

    def _require(self, names: tuple[str, ...], holds: Callable[[float], bool], rule: str) -> None:
        for name in names:
            value = getattr(self, name)
            if value is not None and not holds(value):
                raise TrainingUsageError(f"{name} must {rule}, got {value}")


def settled(value: T | None) -> T:
    """A setting of a resolved config; raises TrainingUsageError where it is None still."""
    if value is None:
        raise TrainingUsageError("a setting is None: ask GRPOConfig.resolved for one that is not")
    return value


def _fits(value: object, usual: object, name: str) -> bool:
    if isinstance(value, bool):
        return False
    if name in MAY_BE_NONE:
        return value is None or isinstance(value, KINDS.get(name, (int, float)))
    return isinstance(value, (int, float) if isinstance(usual, float) else type(usual))


def _as(value: Any, usual: object) -> Any:  # Any: one of a setting's own types
    return float(value) if isinstance(usual, float) and isinstance(value, int) else value
