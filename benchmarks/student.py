"""What a student costs and brings: fit seconds, recall, table size, and microseconds a text beside the full model.

    python benchmarks/student.py DATA_FOLDER [--set NAME ...] [--texts 1200] [--embedder all-MiniLM-L6-v2]
                                             [--vectors FOLDER] [--next-tool SET] [--quick] [--json]

Recall@k is the share of the full model's k nearest stored texts that the student finds too, for texts of tasks hidden
from it.  `--next-tool` predicts the next tool on families that no setting was chosen on, live texts embedded by the
full model, by the student of the training texts, and by students of ever fewer of their tasks: what recall is worth.
The full model takes minutes; its vectors are kept as stores in the folder `--vectors`, where one is given.
`--quick` takes 600 texts of one set, and the hashed embedder in place of the slow one.
"""

import argparse
import json
import random
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from next_tool import SETS, is_held_out
from numpy.typing import NDArray

from selector.clusters import find_clusters
from selector.engine import Engine
from selector.knowledge import Knowledge
from selector.learning import Learned, LearningConfig, fit_model, known_tools
from selector.live import Pruned
from selector.metrics import difference_interval
from selector.records import SelectorConfig
from selector.situation import Situation, situation_at
from trajstore.embedding import HASHED, Embedder, make_embedder
from trajstore.experience import Embed, Experience, embedded_texts, play_back
from trajstore.ingest import Rejection, read_trajectories
from trajstore.recollection import stored_embedder
from trajstore.retriever import Retriever
from trajstore.schema import Trajectory
from trajstore.store import TrajectoryStore
from trajstore.student import Student, to_bytes, words_of
from trajstore.student_corpus import read_corpus
from trajstore.student_fit import Recall, fit_student, fit_table, recall
from trajstore.vector_cache import VectorCache

STUDENT_SETS = ("tau2 retail", "BFCL", "InterCode SQL")
SHARES = (1.0, 0.5, 0.25, 0.1)
LENGTHS = (20, 120)
ROUNDS = 20


@dataclass(frozen=True, slots=True)
class Measured:
    """One set's student; microseconds are medians of single texts with that many words, by name of the embedder."""

    set: str
    texts: int
    hidden: int
    fit_seconds: float
    recalls: tuple[Recall, ...]
    penalty: float
    reach: int
    table_bytes: int
    kept_bytes: int
    microseconds: dict[str, dict[int, float]]


@dataclass(frozen=True, slots=True)
class Predicted:
    """Next-tool accuracy with live texts embedded in one way, and its lead over the full model with a 95 % interval."""

    live: str
    recall: Recall | None
    at1: float
    at3: float
    lead_at1: tuple[float, float, float]
    lead_at3: tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Hits:
    """Whether each decision was right at 1 and at 3, and the family that it belongs to."""

    at1: NDArray[np.float64]
    at3: NDArray[np.float64]
    families: NDArray[np.int64]


def main() -> None:
    """Measure the sets asked for, or what recall is worth, and print lines or JSON lines."""
    options = parse()
    if options.next_tool:
        for one in predict_all(options.next_tool, options):
            print(json.dumps(asdict(one)) if options.json else line_of_prediction(one), flush=True)
        return
    for name in options.set or STUDENT_SETS[-1 if options.quick else 0 :]:
        one = measure(name, options)
        print(json.dumps(asdict(one)) if options.json else line(one), flush=True)


def measure(name: str, options: argparse.Namespace) -> Measured:
    """Fit the student of one set, and time it beside its full model."""
    with embedded(name, options, options.texts) as (store, full):
        corpus = read_corpus(store, full.identity)
        began = time.process_time()
        fitting = fit_student(corpus, (1, 5, 10))
        seconds = time.process_time() - began
        table = fitting.student.table
        size = table.rows_RD.nbytes + table.scales_R.nbytes + table.mean_D.nbytes
        settings, kept = fitting.settings, len(to_bytes(table))
        times = microseconds({"student": fitting.student, full.identity.name: full}, corpus.texts)
        found = len(corpus), fitting.queries, seconds, fitting.recalls
        return Measured(name, *found, settings.penalty, settings.reach, size, kept, times)


def microseconds(embedders: dict[str, Embedder], texts: Sequence[str]) -> dict[str, dict[int, float]]:
    """Median time of a text of each length, each text once, after one that warms the embedder up."""
    words = [word for text in texts for word in words_of(text, max(LENGTHS))]
    found: dict[str, dict[int, float]] = {name: {} for name in embedders}
    for length in LENGTHS:
        several = [" ".join(words[at * length : (at + 1) * length]) for at in range(ROUNDS + 1)]
        for name, embedder in embedders.items():
            taken = [seconds_of(embedder, text) for text in several]
            found[name][length] = 1e6 * float(np.median(taken[1:]))
    return found


def seconds_of(embedder: Embedder, text: str) -> float:
    """How long one text takes."""
    began = time.perf_counter()
    embedder.embed([text])
    return time.perf_counter() - began


def predict_all(name: str, options: argparse.Namespace) -> Iterator[Predicted]:
    """The next tool by the full model's live vectors, and by those of students of ever fewer tasks."""
    with embedded(name, options, None) as (store, full):
        cache, found = VectorCache(store, full), list(store.trajectories())
        train = [one for one in found if not is_held_out(one)]
        test = [one for one in found if is_held_out(one) and one.success]
        best = predict(train, test, cache.embed, cache.embed)
        yield compared("full model", None, best, best)
        stored, asked = (read_corpus(store, full.identity, part) for part in (train, test))
        settings = fit_student(stored).settings
        tasks = np.random.default_rng(0).permutation(np.unique(stored.units_N))
        for share in SHARES:
            part = stored.part(np.isin(stored.units_N, tasks[: max(2, int(share * len(tasks)))]))
            student = Student(fit_table(part, settings))
            hits = predict(train, test, cache.embed, student.embed)
            yield compared(f"student of {len(part):,} texts", recall(student, asked, stored, 10), hits, best)


def predict(train: Sequence[Trajectory], test: Sequence[Trajectory], embed: Embed, embed_live: Embed) -> Hits:
    """The engine's choice at every decision of the test trajectories, every known tool offered."""
    experience = Experience(embed, embed([""]).shape[1], embed_live=embed_live)
    experience.extend(train)
    knowledge = Knowledge(experience, Retriever(experience))
    knowledge.learn(train, first=0)
    knowledge.use_clusters(find_clusters(knowledge.retriever.states))
    config = replace(SelectorConfig(), hold_out="family")
    fitted = fit_model(knowledge, train, LearningConfig("family", config.decisions, config.penalties))
    learned = Learned(knowledge, fitted.model, fitted.paths, fitted.familiar)
    engine = Engine(learned, config, np.random.default_rng(0), feedback=Pruned(knowledge, config))
    rows = [(*hit, one.task.family) for one in test for hit in hits_of(engine, one)]
    at1, at3, families = zip(*rows, strict=True)
    return Hits(np.array(at1, float), np.array(at3, float), np.unique(families, return_inverse=True)[1])


def hits_of(engine: Engine, trajectory: Trajectory) -> Iterator[tuple[bool, bool]]:
    """Whether each call of a trajectory was the first choice, and among the first three."""
    knowledge, playback = engine.learned.knowledge, play_back(trajectory)
    tools = known_tools(knowledge.experience)
    goals = knowledge.goal_similarities(Situation(trajectory.task.text, "", (), ()))
    for at, step in enumerate(trajectory.steps):
        if step.kind == "tool":
            situation = replace(situation_at(playback, at, tools), candidates=tools)
            order = np.argsort(-engine.consider(situation, goals).posterior.mean, kind="stable")[:3]
            names = [tools[place].tool for place in order.tolist()]
            yield names[0] == step.tool, step.tool in names


def compared(live: str, found: Recall | None, hits: Hits, best: Hits) -> Predicted:
    """One way to embed live texts beside the full model's."""
    leads = [
        (float((ours - theirs).mean()), *difference_interval(ours, theirs, best.families))
        for ours, theirs in ((hits.at1, best.at1), (hits.at3, best.at3))
    ]
    return Predicted(live, found, float(hits.at1.mean()), float(hits.at3.mean()), *leads)


@contextmanager
def embedded(name: str, options: argparse.Namespace, most: int | None) -> Iterator[tuple[TrajectoryStore, Embedder]]:
    """A store of a set's trajectories, drawn until they have `most` texts, with their vectors."""
    path = options.vectors / f"{name.replace(' ', '-')}-{most or 'all'}.db" if options.vectors else ":memory:"
    with TrajectoryStore(path) as store:
        if not store.stats().trajectories:
            store.add_many(drawn(name, options.data, most))
        full = stored_embedder(store) if store.embedder_identity() else make_embedder(options.embedder, dimension=384)
        VectorCache(store, full, show).embed(
            sorted({text for one in store.trajectories() for text in embedded_texts(one)})
        )
        yield store, full


def drawn(name: str, data: Path, most: int | None) -> list[Trajectory]:
    """Trajectories of a set at random, until they have that many texts; all of them in their order for None."""
    files, keep = SETS[name]
    read = read_trajectories([str(data / f"{file}.jsonl.gz") for file in files])
    found = [one for one in read if not isinstance(one, Rejection) and keep(one)]
    if most is None:
        return found
    random.Random(0).shuffle(found)  # noqa: S311 - a sample, no secret
    texts: set[str] = set()
    for count, one in enumerate(found, start=1):
        texts |= embedded_texts(one)
        if len(texts) >= most:
            return found[:count]
    return found


def line(one: Measured) -> str:
    """One set in words."""
    recalls = ", ".join(f"@{r.k} {r.value:.2f} ({r.low:.2f} to {r.high:.2f})" for r in one.recalls)
    times = "; ".join(
        f"{name} {' / '.join(f'{several[length]:,.0f}' for length in LENGTHS)} µs"
        for name, several in one.microseconds.items()
    )
    return (
        f"{one.set}: {one.texts:,} texts, fitted in {one.fit_seconds:.1f} s (λ {one.penalty}, reach {one.reach}); "
        f"recall on {one.hidden} hidden texts {recalls}, neighbours' similarity {one.recalls[-1].similarity:.2f}; "
        f"table {one.table_bytes / 1e6:.1f} MB, kept in {one.kept_bytes / 1e6:.1f}; {LENGTHS} words: {times}"
    )


def line_of_prediction(one: Predicted) -> str:
    """One way to embed live texts in words."""
    seen = (
        ""
        if one.recall is None
        else f"recall@10 {one.recall.value:.2f} ({one.recall.low:.2f} to {one.recall.high:.2f}), "
    )
    leads = [
        f"{100 * lead:+.1f} ({100 * low:+.1f} to {100 * high:+.1f})" for lead, low, high in (one.lead_at1, one.lead_at3)
    ]
    return f"{one.live}: {seen}@1 {100 * one.at1:.1f}, {leads[0]}; @3 {100 * one.at3:.1f}, {leads[1]}"


def show(done: int, total: int) -> None:
    """Progress on stderr: the full model is slow."""
    sys.stderr.write(f"embedded {done:,} of {total:,}\n")


def parse() -> argparse.Namespace:
    """The command's options."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path, help="folder with tau2.jsonl.gz and the rest")
    parser.add_argument("--set", action="append", choices=list(SETS), help="only this set; may be given several times")
    parser.add_argument("--texts", type=int, default=1200, help="about how many texts of a set")
    parser.add_argument("--embedder", default="all-MiniLM-L6-v2")
    parser.add_argument("--vectors", type=Path, help="folder where stores with the full model's vectors are kept")
    parser.add_argument("--next-tool", choices=list(SETS), help="measure what recall is worth on this set instead")
    parser.add_argument("--quick", action="store_true", help="600 texts of one set, hashed")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    options = parser.parse_args()
    if options.quick:
        options.texts, options.embedder = 600, HASHED
    return options


if __name__ == "__main__":
    main()
