"""Loss and gradient of `grpo` beside those of TRL 1.16, on random ragged batches, for every loss that both have.

    python benchmarks/trl_parity.py [--seeds 20] [--quick] [--json] [--figure parity.png]

`GRPOTrainer._compute_loss` of TRL is called on a trainer built without `__init__`, its forward pass replaced by a leaf
tensor of log-probabilities: no model, no GPU, no network.  Batches are float64 with ragged rows, tool outputs in the
middle of some, and ratios between about 0.3 and 3.  A row of the table is the largest difference over all seeds.
Needs `pip install trl==1.16.0`; without it the table says so.
"""

import argparse
import json
import os
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from grpo.aggregation import Aggregation, aggregate
from grpo.divergences import KlGradient, kl_penalty
from grpo.losses import cispo, clipped_surrogate, gspo, sapo

LONGEST = 16.0  # what dr_grpo divides by, a row


@dataclass(frozen=True, slots=True)
class Batch:
    """A random batch, shape (N, T) each; `advantages_N` has one number a row."""

    log_probs_NT: Tensor
    behaviour_NT: Tensor
    reference_NT: Tensor
    advantages_N: Tensor
    completion_NT: Tensor
    tool_NT: Tensor
    engine_ratios_NT: Tensor

    @property
    def mask(self) -> Tensor:
        """Entries that the policy chose."""
        return self.completion_NT * self.tool_NT


@dataclass(frozen=True, slots=True)
class Setting:
    """One configuration: TRL's loss type and options, and our loss; `divisor_of_row` is what "constant" divides by."""

    name: str
    loss_type: str
    loss: Callable[[Batch, Tensor], Tensor]
    how: Aggregation
    theirs: Mapping[str, Any] = field(default_factory=dict)
    divisor_of_row: float | None = None


@dataclass(frozen=True, slots=True)
class Difference:
    """Largest absolute differences of one configuration over all seeds; `on_tools` is our gradient where mask is 0."""

    name: str
    loss: float
    gradient: float
    on_tools: float


def clipped(low: float = 0.2, high: float = 0.2, delta: float | None = None) -> Callable[[Batch, Tensor], Tensor]:
    """Our clipped surrogate with these epsilons."""

    def loss(batch: Batch, new_NT: Tensor) -> Tensor:
        return clipped_surrogate(
            new_NT,
            batch.behaviour_NT,
            batch.advantages_N,
            batch.mask,
            epsilon_low=low,
            epsilon_high=high,
            dual_clip=delta,
        )

    return loss


def capped(cap: float) -> Callable[[Batch, Tensor], Tensor]:
    """Our CISPO with this cap."""
    return lambda batch, new_NT: cispo(new_NT, batch.behaviour_NT, batch.advantages_N, batch.mask, cap=cap)


def with_kl(beta: float, gradient: KlGradient) -> Callable[[Batch, Tensor], Tensor]:
    """The clipped surrogate and a k3 penalty."""

    def loss(batch: Batch, new_NT: Tensor) -> Tensor:
        penalty_NT = kl_penalty(
            new_NT, batch.reference_NT, batch.mask, gradient=gradient, behaviour_NT=batch.behaviour_NT
        )
        return clipped()(batch, new_NT) + beta * penalty_NT

    return loss


def sequence_level(batch: Batch, new_NT: Tensor) -> Tensor:
    """GSPO with TRL's epsilons for it."""
    return gspo(new_NT, batch.behaviour_NT, batch.advantages_N, batch.mask, epsilons=(3e-4, 4e-4))


def soft_gated(batch: Batch, new_NT: Tensor) -> Tensor:
    """SAPO with TRL's temperatures."""
    return sapo(new_NT, batch.behaviour_NT, batch.advantages_N, batch.mask)


def corrected(batch: Batch, new_NT: Tensor) -> Tensor:
    """The clipped surrogate under the ratio of training to sampling engine."""
    return clipped(high=0.28)(batch, new_NT) * batch.engine_ratios_NT


GSPO = {"importance_sampling_level": "sequence", "epsilon_low": 3e-4, "epsilon_high": 4e-4}
SETTINGS = (
    Setting("grpo", "grpo", clipped(), "sequence_mean"),
    Setting("grpo, KL with bias correction", "grpo", with_kl(0.04, "importance"), "sequence_mean", {"beta": 0.04}),
    Setting(
        "grpo, KL without",
        "grpo",
        with_kl(0.04, "plain"),
        "sequence_mean",
        {"beta": 0.04, "use_bias_correction_kl": False},
    ),
    Setting("grpo, GSPO level", "grpo", sequence_level, "sequence_mean", GSPO),
    Setting("bnpo", "bnpo", clipped(), "token_mean"),
    Setting("dapo", "dapo", clipped(high=0.28), "token_mean", {"epsilon_high": 0.28}),
    Setting("dapo, delta", "dapo", clipped(high=0.28, delta=1.5), "token_mean", {"epsilon_high": 0.28, "delta": 1.5}),
    Setting("dapo, engine ratio", "dapo", corrected, "token_mean", {"epsilon_high": 0.28, "use_vllm": True}),
    Setting("dr_grpo", "dr_grpo", clipped(), "constant", divisor_of_row=LONGEST),
    Setting("dr_grpo, delta", "dr_grpo", clipped(delta=1.5), "constant", {"delta": 1.5}, LONGEST),
    Setting("cispo, cap 5", "cispo", capped(5.0), "token_mean", {"epsilon_high": 5.0}),
    Setting("cispo, cap 0.2", "cispo", capped(0.2), "token_mean"),
    Setting("sapo", "sapo", soft_gated, "sequence_mean"),
    Setting("luspo", "luspo", sequence_level, "constant", GSPO, 1.0),
)


def main() -> None:
    """Compare and print a table, or JSON lines."""
    options = parse()
    try:
        trl_version()
    except ImportError as error:
        print(f"TRL is skipped: {error}")
        return
    torch.set_num_threads(1)
    seeds = range(3 if options.quick else options.seeds)
    found = [compared(setting, seeds) for setting in SETTINGS]
    for one in found:
        line = f"{one.name:32} |Δloss| {one.loss:.1e}  |Δgradient| {one.gradient:.1e}  on tools {one.on_tools:.1e}"
        print(json.dumps({"trl": trl_version(), "seeds": len(seeds), **asdict(one)}) if options.json else line)
    if options.figure:
        draw(found, options.figure)


def trl_version() -> str:
    """The version of TRL; raises ImportError where its trainer cannot be imported."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import trl  # noqa: PLC0415 - a rival, for the benchmark alone
        from trl.trainer.grpo_trainer import GRPOTrainer  # noqa: F401, PLC0415 - as above

    return str(trl.__version__)


def compared(setting: Setting, seeds: range) -> Difference:
    """The largest differences of one configuration."""
    rows = [tuple(_differences(setting, random_batch(seed))) for seed in seeds]
    return Difference(setting.name, *(max(column) for column in zip(*rows, strict=True)))


def _differences(setting: Setting, batch: Batch) -> Iterator[float]:
    (our_loss, our_gradient), (their_loss, their_gradient) = ours(setting, batch), theirs(setting, batch)
    yield abs(float(our_loss - their_loss))
    yield float((our_gradient - their_gradient).abs().max())
    yield float((our_gradient * (1 - batch.mask)).abs().max())


def random_batch(seed: int, rows: int = 8, columns: int = 7) -> Batch:
    """A ragged batch in float64, with tool outputs inside and engine ratios in [0, 1.5]."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    def uniform(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator, dtype=torch.float64)

    lengths_N = torch.randint(1, columns + 1, (rows,), generator=generator)
    tool_NT = (uniform(rows, columns) > 0.25).long()
    tool_NT[:, 0] = 1
    behaviour_NT = -3.0 * uniform(rows, columns)
    return Batch(
        log_probs_NT=behaviour_NT + 0.4 * normal(rows, columns),
        behaviour_NT=behaviour_NT,
        reference_NT=behaviour_NT + 0.3 * normal(rows, columns),
        advantages_N=normal(rows),
        completion_NT=(torch.arange(columns)[None] < lengths_N[:, None]).long(),
        tool_NT=tool_NT,
        engine_ratios_NT=1.5 * uniform(rows, columns),
    )


def ours(setting: Setting, batch: Batch) -> tuple[Tensor, Tensor]:
    """Our loss and its gradient by the log-probabilities."""
    new_NT = batch.log_probs_NT.clone().requires_grad_()
    divisor = None if setting.divisor_of_row is None else len(new_NT) * setting.divisor_of_row
    loss = aggregate(setting.loss(batch, new_NT), batch.mask, setting.how, divisor=divisor)
    loss.backward()
    assert new_NT.grad is not None  # noqa: S101 - for the type checker
    return loss.detach(), new_NT.grad


def theirs(setting: Setting, batch: Batch) -> tuple[Tensor, Tensor]:
    """The same of TRL."""
    from trl.trainer.grpo_trainer import GRPOTrainer  # noqa: PLC0415 - as above

    new_NT = batch.log_probs_NT.clone().requires_grad_()
    trainer = bare_trainer(setting.loss_type, setting.theirs)
    trainer._get_per_token_logps_and_entropies = lambda *_, **__: (new_NT, torch.zeros_like(new_NT).detach(), None)
    prompt = torch.zeros(len(new_NT), 3, dtype=torch.long)
    inputs = {
        "prompt_ids": prompt,
        "prompt_mask": prompt + 1,
        "completion_ids": torch.zeros_like(batch.completion_NT),
        "completion_mask": batch.completion_NT,
        "tool_mask": batch.tool_NT,
        "advantages": batch.advantages_N,
        "old_per_token_logps": batch.behaviour_NT,
        "ref_per_token_logps": batch.reference_NT,
        "num_items_in_batch": batch.mask.sum().double(),
        "importance_sampling_ratio": batch.engine_ratios_NT,
    }
    with in_float64():
        loss = GRPOTrainer._compute_loss(trainer, None, inputs)
    loss.backward()
    assert new_NT.grad is not None  # noqa: S101 - for the type checker
    return loss.detach(), new_NT.grad


@contextmanager
def in_float64() -> Iterator[None]:
    """Numbers become tensors in float64: TRL makes the temperatures of SAPO anew, in whatever is the default."""
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


class OneProcess:
    """An accelerator of one process."""

    num_processes = 1
    sync_gradients = True

    def gather(self, tensor: Tensor) -> Tensor:
        """The tensor itself."""
        return tensor

    def reduce(self, tensor: Tensor, reduction: str = "sum") -> Tensor:
        """The tensor itself."""
        return tensor


def bare_trainer(loss_type: str, changes: Mapping[str, Any]) -> Any:
    """A trainer of TRL with only what its loss reads; `changes` are TRL's names."""
    from trl.trainer.grpo_trainer import GRPOTrainer  # noqa: PLC0415 - as above

    arguments = {
        "delta": None,
        "use_bias_correction_kl": True,
        "sapo_temperature_pos": 1.0,
        "sapo_temperature_neg": 1.05,
        "steps_per_generation": 1,
    }
    attributes = {
        "loss_type": loss_type,
        "beta": 0.0,
        "epsilon_low": 0.2,
        "epsilon_high": 0.2,
        "importance_sampling_level": "token",
        "off_policy_mask_threshold": None,
        "top_entropy_quantile": 1.0,
        "use_vllm": False,
        "max_completion_length": LONGEST,
        "current_gradient_accumulation_steps": 1,
        "_entropy_bonus_enabled": False,
        "use_adaptive_entropy": False,
        "aux_loss_enabled": False,
        "accelerator": OneProcess(),
        "model": SimpleNamespace(training=True),
        "_metrics": {"train": defaultdict(list), "eval": defaultdict(list)},
    }
    trainer = object.__new__(GRPOTrainer)
    trainer.args = SimpleNamespace(**arguments | {key: changes[key] for key in changes if key in arguments})
    for name, value in (attributes | {key: changes[key] for key in changes if key in attributes}).items():
        setattr(trainer, name, value)
    trainer.vllm_importance_sampling_correction = trainer.use_vllm
    return trainer


def draw(found: list[Difference], path: Path) -> None:
    """Differences of each configuration on a logarithmic axis; what is exactly 0 stands at 1e-18."""
    import matplotlib as mpl  # noqa: PLC0415 - only where a figure is asked for

    mpl.use("Agg")
    import matplotlib.pyplot as plt  # noqa: PLC0415 - as above

    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    for name in ("loss", "gradient"):
        axes.plot([max(getattr(one, name), 1e-18) for one in found], range(len(found)), "o", label=f"|Δ{name}|")
    axes.set_yticks(range(len(found)), [one.name for one in found])
    axes.set_xscale("log")
    axes.legend()
    figure.savefig(path, dpi=150)


def parse() -> argparse.Namespace:
    """The command's options."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--quick", action="store_true", help="three seeds")
    parser.add_argument("--json", action="store_true", help="one JSON object a configuration")
    parser.add_argument("--figure", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    main()
