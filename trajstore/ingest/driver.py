"""Reading into a store: what is there already is not added again, and no batch is half-written."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from trajstore.errors import InvalidRecord
from trajstore.ingest.detect import AUTO
from trajstore.ingest.reading import Progress
from trajstore.ingest.records import Rejection
from trajstore.ingest.trajectories import ReadTrajectory, read_records
from trajstore.schema import Judge
from trajstore.store import TrajectoryStore
from trajstore.trajectory_table import AddReport

BATCH_TRAJECTORIES = 200
BATCH_CHARACTERS = 32 << 20


@dataclass(frozen=True, slots=True)
class IngestReport:
    """What an ingest did: trajectories added, those that were there already, what was rejected, steps added."""

    added: int = 0
    duplicates: int = 0
    rejected: tuple[Rejection, ...] = ()
    steps: int = 0


def ingest(  # noqa: PLR0913 - all but the first two are optional, and replace what records say
    store: TrajectoryStore,
    paths: Iterable[str | Path],
    *,
    format: str = AUTO,  # noqa: A002 - the name of the command's option
    source: str | None = None,
    namespace: str | None = None,
    judge: Judge | None = None,
    trust: float | None = None,
    progress: Progress | None = None,
) -> IngestReport:
    """Add every readable record of `paths` to the store, in batches that are durable one by one.

    `source`, `namespace`, `judge` and `trust` in [0, 1] replace what the records say: give a stranger's log the judge
    "self", whatever it claims, and it counts only as far as others agree.  `progress` is called with the bytes read of
    each file.  Raises `UsageError` for a missing file and `UnknownFormat` before anything is added; doing it twice adds
    nothing.
    """
    given = {"source": source, "judge": judge, "trust": trust}
    replaced = {name: value for name, value in given.items() if value is not None}
    report = IngestReport()
    for batch in _batches(read_records(paths, format, progress)):
        readable = [_owned(found, replaced, namespace) for found in batch if isinstance(found, ReadTrajectory)]
        rejected = tuple(found for found in batch if isinstance(found, Rejection))
        report = _sum(report, _added(store, readable), IngestReport(rejected=rejected))
    return report


def _batches(found: Iterator[ReadTrajectory | Rejection]) -> Iterator[list[ReadTrajectory | Rejection]]:
    """Batches of bounded number and size, so that long observations do not pile up in memory."""
    batch: list[ReadTrajectory | Rejection] = []
    characters = 0
    for item in found:
        batch.append(item)
        characters += _characters(item)
        if len(batch) >= BATCH_TRAJECTORIES or characters >= BATCH_CHARACTERS:
            yield batch
            batch, characters = [], 0
    if batch:
        yield batch


def _characters(item: ReadTrajectory | Rejection) -> int:
    if isinstance(item, Rejection):
        return 0
    return sum(len(step.observation) + len(step.state) for step in item.trajectory.steps)


def _owned(read: ReadTrajectory, replaced: Mapping[str, Any], namespace: str | None) -> ReadTrajectory:
    """The trajectory as the options make it; one that they change is another, so it gets an id of its own."""
    trajectory = replace(read.trajectory, **replaced)
    if namespace is not None:
        trajectory = replace(trajectory, task=replace(trajectory.task, namespace=namespace))
    if trajectory != read.trajectory:
        trajectory = replace(trajectory, trajectory_id="")
    return replace(read, trajectory=trajectory)


def _added(store: TrajectoryStore, reads: Sequence[ReadTrajectory]) -> IngestReport:
    """Add a batch in one transaction; where the store refuses a trajectory, one by one, so that only it is left out."""
    if not reads:
        return IngestReport()
    try:
        return _counted(store.add_batch([read.trajectory for read in reads]))
    except InvalidRecord as error:
        if len(reads) == 1:
            return IngestReport(rejected=(Rejection.because(reads[0].record, error),))
    return _sum(*(_added(store, [read]) for read in reads))


def _counted(added: AddReport) -> IngestReport:
    return IngestReport(added=added.added, duplicates=added.duplicates, steps=added.steps)


def _sum(*reports: IngestReport) -> IngestReport:
    return IngestReport(
        added=sum(report.added for report in reports),
        duplicates=sum(report.duplicates for report in reports),
        rejected=tuple(rejection for report in reports for rejection in report.rejected),
        steps=sum(report.steps for report in reports),
    )
