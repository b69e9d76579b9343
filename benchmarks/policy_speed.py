"""How fast the tool policy scores 50 candidates, and how fast it is trained, beside two plain PyTorch loops.

    python benchmarks/policy_speed.py [--quick] [--json] [--device cuda] [--precision bfloat16] [--compile]

Scoring: one situation after the other on one core, texts seen before; milliseconds by the clock and of the processor,
median and 99th percentile, of `ToolPolicy` (NumPy) and of `ToolNetwork` (torch) on the same input; logits agree.

Training: the same 2,048 decisions of 50 candidates each, by 256 rollouts, 384 entries a vector, once through.
"decision by decision" scores one decision at a time and changes the parameters after every rollout, as the naive loop
does; "plain batches" pads candidates to (N, K, D) and reads each of them anew; `Updater` is the trainer's own.  The
first two run in float32 without compilation.  Decisions are synthetic: 400 texts, 200 candidates, 12 words each.
"""

import argparse
import json
import platform
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from grpo.config import GRPOConfig
from grpo.decision_table import DecisionTable
from grpo.encoding import STANDINGS, TOOL_ROWS, EncodedDecision
from grpo.losses import clipped_surrogate
from grpo.tool_network import ToolNetwork
from grpo.tool_policy import PolicyShape, ToolPolicy, initial_weights
from grpo.updating import TrainingBatch, Updater
from selector.features import HASHED
from selector.situation import Situation
from trajstore.embedding import make_embedder
from trajstore.render import PastStep
from trajstore.schema import Candidate

CANDIDATES, ENTRIES, TEXTS, PAIRS, WORDS, PER_ROLLOUT = 50, 384, 400, 200, 12, 8
DECISIONS, MINIBATCH = 2048, 1024


@dataclass(frozen=True, slots=True)
class Latency:
    """Milliseconds of one call: by the clock, and of the processor alone (what others on the machine do left out)."""

    name: str
    p50: float
    p99: float
    processor_p50: float
    processor_p99: float


@dataclass(frozen=True, slots=True)
class Throughput:
    """How much one way trains in a second; an update is one pass over the batch, `steps` changes of the parameters."""

    name: str
    decisions_per_second: float
    updates_per_second: float
    steps: int


def main() -> None:
    """Measure both and print them."""
    options = parse()
    torch.set_num_threads(1)
    latencies = scoring(100 if options.quick else 2000)
    throughputs = training(options)
    settings = {"device": device_name(options.device), "precision": options.precision, "compiled": options.compile}
    if options.json:
        rows = {"scoring": [asdict(one) for one in latencies], "training": [asdict(one) for one in throughputs]}
        print(json.dumps(settings | rows))
        return
    print(f"scoring {CANDIDATES} candidates on one core of {device_name('cpu')}")
    for latency in latencies:
        print(
            f"{latency.name:46} p50 {latency.p50:.3f} ms, p99 {latency.p99:.3f} ms; "
            f"processor p50 {latency.processor_p50:.3f} ms, p99 {latency.processor_p99:.3f} ms"
        )
    print(f"\ntraining on {settings['device']}; Updater in {options.precision}, compiled: {options.compile}")
    for one in throughputs:
        print(
            f"{one.name:46} {one.decisions_per_second:9,.0f} decisions/s, {one.updates_per_second:7.2f} updates/s "
            f"of {one.steps} steps"
        )


def device_name(device: str) -> str:
    """The device in words."""
    if device != "cpu" and torch.cuda.is_available():
        return str(torch.cuda.get_device_name(torch.device(device)))
    return f"{platform.machine()} CPU, {torch.get_num_threads()} thread"


def scoring(calls: int) -> list[Latency]:
    """Each part of a decision, on situations whose texts were seen before."""
    policy = trained_policy()
    seen = [situation(number) for number in range(20)]
    encoded = [policy.encoder.encode(one) for one in seen]
    network = ToolNetwork(policy.shape, policy.weights)
    table = DecisionTable(encoded, policy.encoder.table.vectors)
    batches = [table.batch(torch.tensor([row])) for row in range(len(seen))]
    with torch.inference_mode():
        apart = max(
            float(np.abs(policy.logits(one) - network(batch)[0].numpy()).max())
            for one, batch in zip(encoded, batches, strict=True)
        )
        if apart > 1e-3:
            raise SystemExit(f"NumPy and torch differ by {apart}")
        parts: dict[str, Callable[[int], object]] = {
            "ToolPolicy: encode": lambda call: policy.encoder.encode(seen[call]),
            "ToolPolicy: logits": lambda call: policy.logits(encoded[call]),
            "ToolPolicy: log_probabilities, both of them": lambda call: policy.log_probabilities(seen[call]),
            "ToolNetwork: logits of a ready batch": lambda call: network(batches[call]),
            "ToolNetwork: logits, batch from the table": lambda call: network(table.batch(torch.tensor([call]))),
        }
        return [timed(name, part, calls, len(seen)) for name, part in parts.items()]


def timed(name: str, part: Callable[[int], object], calls: int, different: int) -> Latency:
    """Call it on one situation after the other, first once each without a clock."""
    for number in range(different):
        part(number)
    took = []
    for call in range(calls):
        started, worked = time.perf_counter(), time.thread_time()
        part(call % different)
        took.append((1000.0 * (time.perf_counter() - started), 1000.0 * (time.thread_time() - worked)))
    return Latency(name, *np.quantile(took, [0.5, 0.99], axis=0).T.reshape(-1).tolist())


def trained_policy() -> ToolPolicy:
    """A policy whose last layer is not 0."""
    policy, rng = ToolPolicy.untrained(make_embedder(dimension=ENTRIES)), np.random.default_rng(0)
    last = rng.standard_normal(policy.shape.joint).astype(np.float32)
    return policy.with_weights({**policy.weights, "out_J": last}, version=1)


def situation(number: int) -> Situation:
    """Step four of a service dialogue, with 50 tools to choose from."""
    rng = np.random.default_rng(number)
    offered = rng.permutation(PAIRS)[:CANDIDATES]
    history = tuple(PastStep(f"tool {offered[step]}", f"order W{step}", f"found {step} items") for step in range(3))
    tools = tuple(
        Candidate(f"tool {tool}", text=f"tool {tool} looks up part {tool % 7} of an order") for tool in offered
    )
    return Situation(f"return order W{number} and refund the customer", f"order W{number} is open", history, tools)


def training(options: argparse.Namespace) -> list[Throughput]:
    """The three loops on the same decisions."""
    decisions, repeats = (256, 2) if options.quick else (DECISIONS, options.repeats)
    batch = synthetic_batch(decisions, options.device)
    shape = PolicyShape(ENTRIES)
    weights = initial_weights(shape, np.random.default_rng(1))

    def network() -> ToolNetwork:
        return ToolNetwork(shape, weights).to(options.device)

    config = GRPOConfig(minibatch=MINIBATCH, precision=options.precision, kl=0.0, cloning=0.0, loss="clipped", epochs=1)
    ours = network()
    if options.compile:
        ours.compile(dynamic=True)
    updater = Updater(ours, config)
    steps = -(-decisions // MINIBATCH)
    return [
        passed("decision by decision", decision_by_decision(network(), batch), batch, 1, decisions // PER_ROLLOUT),
        passed("plain batches", plain_batches(network(), batch), batch, repeats, steps),
        passed("Updater", lambda: updater.update([batch], 0), batch, repeats, steps),
    ]


def passed(name: str, one_pass: Callable[[], object], batch: TrainingBatch, repeats: int, steps: int) -> Throughput:
    """The fastest of some passes, after one without a clock where there are several."""
    if repeats > 1:
        one_pass()
    took = []
    for _ in range(repeats):
        waited()
        started = time.perf_counter()
        one_pass()
        waited()
        took.append(time.perf_counter() - started)
    return Throughput(name, len(batch) / min(took), 1.0 / min(took), steps)


def waited() -> None:
    """Let the device finish what it was asked."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def synthetic_batch(decisions: int, device: str) -> TrainingBatch:
    """Decisions of random vectors, with the probabilities of a uniform policy and random advantages."""
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((TEXTS, ENTRIES)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    table = DecisionTable([synthetic_decision(rng) for _ in range(decisions)], vectors, device)
    numbers = torch.arange(decisions, device=device)
    return TrainingBatch(
        table,
        numbers,
        torch.from_numpy(rng.integers(CANDIDATES, size=decisions)).to(device),
        torch.full((decisions,), -float(np.log(CANDIDATES)), device=device),
        torch.from_numpy(rng.standard_normal(decisions).astype(np.float32)).to(device),
        numbers // PER_ROLLOUT,
        torch.zeros(decisions, device=device),
        "clipped",
    )


def synthetic_decision(rng: np.random.Generator) -> EncodedDecision:
    """50 of 200 candidates, a task, a state and a history of 400 texts."""
    offered_K = rng.permutation(PAIRS)[:CANDIDATES]
    task, state, history = (int(row) for row in rng.integers(TEXTS, size=3))
    return EncodedDecision(
        task,
        state,
        history,
        rng.integers(HASHED, size=WORDS),
        rng.random(WORDS).astype(np.float32),
        offered_K,
        offered_K % TOOL_ROWS,
        rng.random((CANDIDATES, len(STANDINGS))).astype(np.float32),
    )


def decision_by_decision(network: ToolNetwork, batch: TrainingBatch) -> Callable[[], object]:
    """One forward pass a decision, one step of the optimizer a rollout."""
    optimizer = torch.optim.AdamW(network.parameters(), 1e-3)

    def one_pass() -> None:
        for first in range(0, len(batch), PER_ROLLOUT):
            rows = range(first, min(first + PER_ROLLOUT, len(batch)))
            losses = [
                loss_of(
                    network.log_probabilities(batch.table.batch(batch.rows_N[row : row + 1])),
                    batch.part(batch.rows_N[row : row + 1]),
                )
                for row in rows
            ]
            descend(torch.stack(losses).mean(), network, optimizer)

    return one_pass


def plain_batches(network: ToolNetwork, batch: TrainingBatch) -> Callable[[], object]:
    """Padded batches whose candidates are each read anew."""
    optimizer = torch.optim.AdamW(network.parameters(), 1e-3)

    def one_pass() -> None:
        for rows in shuffled(batch):
            part = batch.part(rows)
            descend(loss_of(plain_log_probabilities(network, part), part), network, optimizer)

    return one_pass


def shuffled(batch: TrainingBatch) -> Iterator[Tensor]:
    """The numbers of all decisions, a minibatch at a time."""
    yield from torch.randperm(len(batch), device=batch.rows_N.device).split(MINIBATCH)  # type: ignore[no-untyped-call]  # torch's own


def plain_log_probabilities(network: ToolNetwork, part: TrainingBatch) -> Tensor:
    """What `ToolNetwork.log_probabilities` gives, without telling candidates that come up twice."""
    decisions, weights = part.table.batch(part.rows_N), dict(network.named_parameters())
    words = functional.embedding_bag(
        decisions.words_W,
        weights["words_VH"],
        decisions.first_word_N,
        mode="sum",
        per_sample_weights=decisions.weights_W,
    )
    read = decisions.task_ND @ weights["task_DH"] + decisions.state_ND @ weights["state_DH"]
    read = read + decisions.history_ND @ weights["history_DH"] + words + weights["situation_H"]
    own = decisions.pairs_PD[decisions.pair_of_NK] @ weights["candidate_DH"]
    own = own + weights["tools_UH"][decisions.pair_tools_P[decisions.pair_of_NK]] + weights["candidate_H"]
    query_NH, keys_NKH = (
        functional.silu(functional.layer_norm(each, each.shape[-1:])) @ weights[f"{name}_HH"] + weights[f"{name}_H"]
        for name, each in (("query", read), ("key", own))
    )
    joint = torch.cat([keys_NKH * query_NH[:, None], decisions.standings_NKF], dim=2)
    logits = functional.silu(joint @ weights["joint_MJ"] + weights["joint_J"]) @ weights["out_J"]
    return logits.masked_fill(~decisions.mask_NK, -1e9).log_softmax(1)


def loss_of(log_probs_NK: Tensor, part: TrainingBatch) -> Tensor:
    """The mean clipped surrogate of what was chosen."""
    log_probs_N = log_probs_NK.gather(1, part.chosen_N[:, None])[:, 0]
    mask_N = torch.ones_like(part.chosen_N, dtype=torch.bool)
    return clipped_surrogate(log_probs_N, part.behaviour_N, part.advantages_N, mask_N).mean()


def descend(loss: Tensor, network: ToolNetwork, optimizer: torch.optim.Optimizer) -> None:
    """One change of the parameters."""
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]  # torch's own
    torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
    optimizer.step()


def parse() -> argparse.Namespace:
    """The command's options."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="256 decisions, twice")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--compile", action="store_true", help="compile the network that Updater trains")
    parser.add_argument("--repeats", type=int, default=5, help="timed passes; the fastest counts")
    return parser.parse_args()


if __name__ == "__main__":
    main()
