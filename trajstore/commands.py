"""The commands of the store: ingest, export, stats, search, forget, doctor, backup and recover."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, cast

import typer

from trajstore.addresses import is_on_server
from trajstore.backup import backup as back_up
from trajstore.backup import restore as restore_from
from trajstore.command_output import (
    complain,
    print_copied,
    print_counts,
    print_embedder,
    print_exported,
    print_findings,
    print_hits,
    print_report,
)
from trajstore.doctor import examine, repair
from trajstore.embedding import make_embedder
from trajstore.errors import DamagedStore, StoreUnavailable, UsageError
from trajstore.exporting import FORMATS as EXPORT_FORMATS
from trajstore.exporting import STDOUT
from trajstore.exporting import export as export_from
from trajstore.filters import TrajectoryFilter, Wanted
from trajstore.index_cache import index_status
from trajstore.ingest import FORMATS, FileProgress
from trajstore.ingest import ingest as ingest_into
from trajstore.live_embedder import embedder_status, refresh_student
from trajstore.opening import is_database_there, public_path
from trajstore.output import Tell, print_json, print_table, progress_bars
from trajstore.recalled import Recollection
from trajstore.recollection import recollect, stored_embedder
from trajstore.redact import Redactor
from trajstore.redaction_rules import DEFAULT_RULES, load_rules
from trajstore.render import PastStep
from trajstore.schema import JUDGES, Judge
from trajstore.searching import search as search_in
from trajstore.server_search import Situation, recollect_near, refresh
from trajstore.store import DEFAULT_REDACTOR, TrajectoryStore

DatabaseOption = Annotated[
    str,
    typer.Option(
        "--db", metavar="DB", help="Path of the database file, or postgresql://user@host/database.", show_default=False
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for scripts instead of tables.")]
NamespaceOption = Annotated[str | None, typer.Option("--namespace", metavar="N", help="Whose experience.")]
SourceOption = Annotated[str | None, typer.Option("--source", metavar="S", help="Who supplied the trajectories.")]
ForceOption = Annotated[bool, typer.Option("--force", help="Replace what is there.")]
JudgeOption = Annotated[
    str | None, typer.Option("--judge", metavar="J", help=f"Who judged success: {', '.join(sorted(JUDGES))}.")
]
TrustOption = Annotated[
    float | None, typer.Option("--trust", min=0.0, max=1.0, help="How far the labels are believed, 0 to 1.")
]
RedactOption = Annotated[bool, typer.Option("--redact/--no-redact", help="Hide secrets and personal data.")]
RulesOption = Annotated[
    str | None, typer.Option("--redact-rules", metavar="FILE", help="TOML file that changes what is hidden.")
]

app = typer.Typer()


@app.command()
def ingest(  # noqa: PLR0913 - one argument for one option
    paths: Annotated[list[str], typer.Argument(metavar="PATH...", help="Files (.gz too), folders, or - for stdin.")],
    *,
    db: DatabaseOption,
    format_name: Annotated[str, typer.Option("--format", metavar="F", help=f"One of {', '.join(FORMATS)}.")] = "auto",
    source: SourceOption = None,
    namespace: NamespaceOption = None,
    judge: JudgeOption = None,
    trust: TrustOption = None,
    is_embedding: Annotated[bool, typer.Option("--embed/--no-embed", help="Embed and index at once.")] = True,
    is_redacting: RedactOption = True,
    rules: RulesOption = None,
    as_json: JsonOption = False,
) -> None:
    """Read agents' logs into the store, secrets and personal data hidden.

    What is there already is not added again; a record that cannot be read is reported, and the rest is kept.
    --source, --namespace, --judge and --trust replace what the records say of themselves: with --judge self a
    stranger's log counts only as far as others agree with it.
    """
    given: dict[str, Any] = {"source": source, "namespace": namespace, "judge": _as_judge(judge), "trust": trust}
    with open_store(db, redactor=_redactor(rules, is_redacting=is_redacting)) as store, progress_bars() as tell:

        def progress(read: FileProgress) -> None:
            tell(read.name, read.read_bytes, read.total_bytes or read.read_bytes)

        report = ingest_into(store, paths, format=format_name, progress=progress, **given)
        if is_embedding:
            _embed(store, tell)
    if as_json:
        print_json(asdict(report))
    else:
        print_report(report)
    complain(report)


@app.command()
def export(  # noqa: PLR0913 - one argument for one option
    place: Annotated[
        str, typer.Argument(metavar="OUT", help="A file (.gz is packed, .parquet for verl), or - for stdout.")
    ],
    *,
    db: DatabaseOption,
    format_name: Annotated[
        str, typer.Option("--format", metavar="F", help=f"One of {', '.join(EXPORT_FORMATS)}.")
    ] = "native",
    source: SourceOption = None,
    namespace: NamespaceOption = None,
    success: Annotated[bool | None, typer.Option("--success/--failure", help="Only what ended so.")] = None,
    is_forced: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Write trajectories for other tools, or with --format native for another store, without loss.

    The file appears once all of it is on disk.  What was hidden stays hidden; what was learned is not written.
    """
    if as_json and place == STDOUT:
        raise UsageError(f"--json and {STDOUT} would both write to stdout: give a file, or leave --json out")
    where = TrajectoryFilter(namespace=namespace, source=source, success=success)
    with open_existing_store(db) as store, progress_bars() as tell:

        def progress(seen: int, total: int) -> None:
            tell("exporting", seen, total)

        report = export_from(store, place, format=format_name, where=where, overwriting=is_forced, progress=progress)
    print_exported(report, place, as_json=as_json)


@app.command()
def stats(*, db: DatabaseOption, as_json: JsonOption = False) -> None:
    """Say how much is in the store: trajectories, steps and successes, which tools, sources and namespaces.

    And how live texts are embedded: by the embedder of the stored vectors, or by a student of it.
    """
    with open_existing_store(db) as store:
        counts = asdict(store.stats()) | {"index": index_status(store), "embedder": embedder_status(store)}
    if as_json:
        print_json(counts)
        return
    index = counts["index"]
    print_table(
        ["trajectories", "steps", "successes", "index", "vectors", "fresh"],
        [
            [
                counts["trajectories"],
                counts["steps"],
                counts["successes"],
                index["kind"],
                index["vectors"],
                index["fresh"],
            ]
        ],
    )
    print_embedder(counts["embedder"])
    print_counts("tools", "steps", counts["tools"])
    print_counts("sources", "trajectories", counts["sources"])
    print_counts("namespaces", "trajectories", counts["namespaces"])


@app.command()
def search(  # noqa: PLR0913 - one argument for one option
    *,
    db: DatabaseOption,
    task: Annotated[str, typer.Option(help="What the agent is asked to do.", show_default=False)],
    state: Annotated[str, typer.Option(help="What it knows now.")] = "",
    history: Annotated[str, typer.Option(help="Tools called so far, by comma.")] = "",
    k: Annotated[int, typer.Option("-k", min=1, max=1000, help="How many steps.")] = 5,
    namespace: NamespaceOption = None,
    sources: Annotated[list[str] | None, typer.Option("--source", metavar="S", help="Only of this source.")] = None,
    tools: Annotated[list[str] | None, typer.Option("--tool", metavar="T", help="Only calls of this tool.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Show the nearest stored steps, and how near they are in goal, state and order.

    --source and --tool may be given several times: a step is shown where one source and one tool of those fit.
    """
    past = tuple(PastStep(name) for name in split_names(history))
    wanted = Wanted(tuple(sources or ()), tuple(tools or ()))
    with open_existing_store(db) as store, progress_bars() as tell:
        loaded = _recollect(store, Situation(task, state, past, namespace or "default", wanted), tell)
        hits = search_in(loaded, task, state, past, k=k, wanted=wanted)
    if as_json:
        print_json({"hits": [asdict(hit) for hit in hits]})
    else:
        print_hits(hits)


@app.command()
def forget(
    *,
    db: DatabaseOption,
    source: SourceOption = None,
    trajectory_id: Annotated[str | None, typer.Option("--id", metavar="ID", help="One trajectory.")] = None,
    namespace: NamespaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Erase a source, a namespace or one trajectory, with everything learned from it."""
    if [source, trajectory_id, namespace].count(None) != 2:
        raise UsageError("forget takes one of --source, --id and --namespace, and only one")
    with open_existing_store(db) as store:
        if trajectory_id is None:
            removed = store.forget(source=source, namespace=namespace)
        else:
            store.remove(trajectory_id)
            removed = 1
    if as_json:
        print_json({"removed": removed})
    else:
        print_table(["removed"], [[removed]])


@app.command()
def doctor(
    *,
    db: DatabaseOption,
    is_repair: Annotated[bool, typer.Option("--repair", help="Mend what can be mended.")] = False,
    embedder: Annotated[
        str | None, typer.Option(metavar="NAME", help="With --repair: embed everything with this one instead.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Check the file, the vectors and the index; exit code 3 where something is broken."""
    if embedder is not None and not is_repair:
        raise UsageError("--embedder changes the store, so it needs --repair")
    with open_existing_store(db) as store, progress_bars() as tell:
        if is_repair:
            chosen = None if embedder is None else make_embedder(embedder)
            repair(store, chosen, lambda done, to_do: tell("embedding", done, to_do))
        findings = examine(store)
    broken = [finding for finding in findings if finding.severity == "error"]
    if as_json:
        print_json({"ok": not broken, "findings": [asdict(finding) for finding in findings]})
    else:
        print_findings(findings)
    if broken:
        raise DamagedStore(f"{len(broken)} of {len(findings)} findings are errors, the first is: {broken[0].what}")


@app.command()
def backup(
    place: Annotated[Path, typer.Argument(metavar="OUT", help="Path of the copy.", show_default=False)],
    *,
    db: DatabaseOption,
    is_forced: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Copy the store to one file while others write to it; every record of the copy is checked before it counts."""
    with open_existing_store(db) as store:
        print_copied(back_up(store, place, overwriting=is_forced), as_json=as_json)


@app.command()
def recover(
    backup_file: Annotated[Path, typer.Argument(metavar="BACKUP", help="What trajstore backup wrote.")],
    *,
    db: DatabaseOption,
    is_forced: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Make the store what a backup holds: in one step, wholly or not at all; a damaged file is moved aside first."""
    require_file(db)
    print_copied(restore_from(backup_file, Path(db), overwriting=is_forced), as_json=as_json)


def require_file(db: str) -> None:
    """Refuse what is no path of a file."""
    if is_on_server(db):
        raise UsageError(
            f"--db must be the path of a file, got {public_path(db)}: restore what lies on a server with pg_restore"
        )


def open_store(db: str, *, redactor: Redactor | None = DEFAULT_REDACTOR) -> TrajectoryStore:
    """Open the store at `db`, making it where there is none."""
    return TrajectoryStore(db, redactor=redactor)


def open_existing_store(db: str) -> TrajectoryStore:
    """Open the store at `db`, which must be there: a path with a slip in it makes no empty store."""
    if not is_database_there(db):
        shown = public_path(db)
        raise StoreUnavailable(f"there is no database {shown!r}; trajstore ingest PATH --db {shown} makes one")
    return open_store(db)


def _embed(store: TrajectoryStore, tell: Tell) -> None:
    """Embed and index what is new, on the server or beside the file."""
    if store.is_on_server:
        refresh(store, stored_embedder(store), tell)
    elif not index_status(store)["fresh"]:
        for name in store.stats().namespaces:
            recollect(store, stored_embedder(store), name, on_progress=tell)
        refresh_student(store)


def _recollect(store: TrajectoryStore, situation: Situation, tell: Tell) -> Recollection:
    """What a search ranks: the namespace, or of a store on a server what is near."""
    embedder = stored_embedder(store)
    if not store.is_on_server:
        return recollect(store, embedder, situation.namespace, on_progress=tell)
    refresh(store, embedder, tell)
    return recollect_near(store, embedder, situation)


def split_names(text: str) -> tuple[str, ...]:
    """Names by comma, without blanks.

    >>> split_names("search, book,")
    ('search', 'book')
    """
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _as_judge(name: str | None) -> Judge | None:
    if name is not None and name not in JUDGES:
        raise UsageError(f"--judge must be one of {', '.join(sorted(JUDGES))}, got {name!r}")
    return cast(Judge | None, name)


def _redactor(rules: str | None, *, is_redacting: bool) -> Redactor | None:
    if rules is not None and not is_redacting:
        raise UsageError("--redact-rules says what to hide, and --no-redact that nothing is: give one of them")
    return Redactor(DEFAULT_RULES if rules is None else load_rules(rules)) if is_redacting else None
