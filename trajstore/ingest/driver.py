"""Reading into a store: what is there already is not added again, and no batch is half-written."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from trajstore.errors import InvalidRecord
from trajstore.ingest.detect import AUTO
from trajstore.ingest.reading import Progress
from trajstore.ingest.records import Rejection
from trajstore.ingest.trajectories import ReadTrajectory, read_records
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


def ingest(
    store: TrajectoryStore,
    paths: Iterable[str | Path],
    *,
    format: str = AUTO,  # noqa: A002 - the name of the command's option
    source: str | None = None,
    namespace: str | None = None,
    progress: Progress | None = None,
) -> IngestReport:
    """Add every readable record of `paths` to the store, in batches that are durable one by one.

    `source` and `namespace` replace what the records say.  `progress` is called with the bytes read of each file.
    Raises `UsageError` for a missing file and `UnknownFormat` before anything is added; doing it twice adds nothing.
    """
    report = IngestReport()
    for batch in _batches(read_records(paths, format, progress)):
        readable = [_owned(found, source, namespace) for found in batch if isinstance(found, ReadTrajectory)]
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


def _owned(read: ReadTrajectory, source: str | None, namespace: str | None) -> ReadTrajectory:
    trajectory = read.trajectory
    if source is not None:
        trajectory = replace(trajectory, source=source)
    if namespace is not None:
        trajectory = replace(trajectory, task=replace(trajectory.task, namespace=namespace))
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
