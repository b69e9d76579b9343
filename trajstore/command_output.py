"""What the commands of the store print for a person, or for scripts."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from trajstore.backup import BackupReport
from trajstore.doctor import Finding
from trajstore.errors import DamagedInput, DamagedStore
from trajstore.exporting import STDOUT, ExportReport
from trajstore.ingest import IngestReport, Rejection
from trajstore.output import print_json, print_table
from trajstore.searching import Hit

ROWS_SHOWN = 20


def print_copied(report: BackupReport, *, as_json: bool) -> None:
    """What a backup or a recovered store holds."""
    if as_json:
        print_json(asdict(report))
    else:
        aside = [] if report.set_aside is None else ["the damaged file is now"]
        columns = ["trajectories", "steps", *aside]
        print_table(columns, [[report.trajectories, report.steps, *([report.set_aside] if aside else [])]])


def print_exported(report: ExportReport, place: str, *, as_json: bool) -> None:
    """How many trajectories were written; `DamagedStore` where some were left out."""
    if as_json:
        print_json({"written": report.written})
    elif place != STDOUT:
        print_table(["written"], [[report.written]])
    if report.damaged:
        raise DamagedStore(
            f"{len(report.damaged):,} of {report.written + len(report.damaged):,} trajectories were left out, "
            f"the first because {report.damaged[0]}"
        )


def print_report(report: IngestReport) -> None:
    """What an ingest added, and what it rejected."""
    columns = ["added", "duplicates", "rejected", "steps"]
    print_table(columns, [[report.added, report.duplicates, len(report.rejected), report.steps]])
    if report.rejected:
        print_rejected(report.rejected)


def print_rejected(rejected: tuple[Rejection, ...]) -> None:
    """Records that could not be read, with their reasons."""
    rows = [[rejection.record, rejection.reason] for rejection in rejected[:ROWS_SHOWN]]
    if len(rejected) > ROWS_SHOWN:
        rows.append([f"and {len(rejected) - ROWS_SHOWN:,} more", "--json lists all"])
    print_table(["record", "reason"], rows, title="rejected")


def complain(report: IngestReport) -> None:
    """End with exit code 3 where something was damaged, so that no script takes a part for the whole."""
    if not report.rejected:
        return
    first = report.rejected[0]
    read = report.added + report.duplicates
    raise DamagedInput(
        f"{len(report.rejected):,} of {len(report.rejected) + read:,} records cannot be read and were left out, "
        f"the first is {first.record}: {first.reason}"
    )


def print_embedder(told: Mapping[str, Any]) -> None:
    """Which embedder live texts go through, and how good the student is."""
    student = told["student"]
    recall = "unknown"
    if student["recall_at_10"] is not None:
        recall = f"{student['recall_at_10']:.2f} ({student['low']:.2f} to {student['high']:.2f})"
    columns = ["embedder", "student used", "recall@10 (95 %)", "texts", "reason"]
    print_table(columns, [[told["name"], student["used"], recall, student["texts"], student["reason"]]])


def print_counts(title: str, counted: str, counts: Mapping[str, int]) -> None:
    """Names by how often they come, the most frequent first."""
    rows: list[list[object]] = [[name or "(none)", count] for name, count in list(counts.items())[:ROWS_SHOWN]]
    if len(counts) > ROWS_SHOWN:
        rows.append([f"and {len(counts) - ROWS_SHOWN:,} more", sum(list(counts.values())[ROWS_SHOWN:])])
    print_table([title, counted], rows)


def print_hits(hits: tuple[Hit, ...]) -> None:
    """Nearest steps, with the similarity in each key."""
    columns = ["trajectory", "step", "tool", "similarity", "goal", "state", "order", "success"]
    rows = [
        [
            hit.trajectory,
            hit.step,
            hit.tool,
            *(f"{value:.3f}" for value in (hit.similarity, hit.goal, hit.state, hit.order)),
            "unknown" if hit.success is None else hit.success,
        ]
        for hit in hits
    ]
    print_table(columns, rows)


def print_findings(findings: tuple[Finding, ...]) -> None:
    """What the doctor found, how bad it is, and what helps."""
    if findings:
        print_table(["severity", "what", "remedy"], [[one.severity, one.what, one.remedy] for one in findings])
    else:
        print_table(["findings"], [["none: the file, the vectors and the index are sound"]])
