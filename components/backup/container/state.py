"""What the jobs remember: one JSON file, and the metrics page that is made from it.

The page is read by the node exporter (textfile collector) from a volume that it mounts read-only, so the backup needs
no port. A number that a failed job did not learn keeps its last value; times tell how old it is.
"""

import fcntl
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PREFIX = "agentstack_backup"
PAGE = "agentstack_backup.prom"
Store = dict[str, Any]

HELP: Mapping[str, str] = {
    "created_timestamp_seconds": "When the backup service first ran for this stack",
    "supervisor_timestamp_seconds": "When the supervisor last wrote this page",
    "job_last_start_timestamp_seconds": "When a job last began",
    "job_last_success_timestamp_seconds": "When a job last ended well",
    "job_last_exit_code": "Exit code of a job's last run",
    "job_duration_seconds": "Duration of a job's last run",
    "job_skipped_total": "Due moments at which the job was still running",
    "newest_timestamp_seconds": "When the newest usable backup of a kind ended",
    "sets": "Backups in the repository",
    "database_bytes": "Size of the database in the newest backup",
    "repository_bytes": "Size of all backups in the repository, without WAL",
    "repository_up": "1 when the repository answered",
    "wal_newest_timestamp_seconds": "When the newest WAL segment reached the repository",
    "wal_segments": "WAL segments in the repository",
    "wal_missing_segments": "WAL segments missing since the oldest kept backup",
    "wal_ready_files": "WAL segments waiting to be archived",
    "wal_archiving_failing": "1 when the newest attempt to archive failed",
    "verify_success": "1 when the last restore verification passed",
    "verify_last_run_timestamp_seconds": "When the last restore verification ended",
    "verify_last_success_timestamp_seconds": "When a restore verification last passed",
    "verify_phase_seconds": "Duration of each phase of the last verification",
    "verify_restored_bytes": "Bytes restored by the last verification",
    "verify_tables_mismatched": "Tables whose row count differed from the source beyond the drift of writers",
    "verify_drift_rows": "Rows by which the counts differed in all",
    "verify_canary_bad_rows": "Canary rows whose hash is wrong",
    "check_faults": "Faults that reading the whole repository found",
    "restore_bytes_per_second": "Measured speed of a restore",
    "projected_rto_seconds": "How long a restore of the present size would take",
    "escrow_timestamp_seconds": "When the escrow file was last written",
    "escrow_stale": "1 when secrets changed since the escrow file was written, or it was never written",
    "escrow_maximum_age_seconds": "How old the escrow file may become",
    "drill_timestamp_seconds": "When the last drill ended",
    "drill_rto_seconds": "Time to recover in the last drill",
    "drill_rpo_seconds": "Data lost in the last drill, in seconds",
}


class State:
    """The store in ``directory``; every change is written whole, under a lock, with the page in ``page``."""

    def __init__(self, directory: Path, page: Path, fingerprint: str = "", escrow_maximum_days: int = 0) -> None:
        self.directory = directory
        self.page = page
        self.fingerprint = fingerprint
        self.escrow_maximum_days = escrow_maximum_days

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self.directory.mkdir(parents=True, exist_ok=True)
        with (self.directory / ".lock").open("a") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield

    def read(self) -> Store:
        """The present content."""
        try:
            found: Store = json.loads((self.directory / "state.json").read_text())
        except FileNotFoundError:
            return {"created": int(time.time())}
        except ValueError:
            # A torn file can't come from `_write`; whatever made it, the backups themselves know more than it did.
            return {"created": int(time.time())}
        return found

    def update(self, change: Callable[[Store], None]) -> None:
        """Apply a change and write the page anew."""
        with self._locked():
            store = self.read()
            change(store)
            _replace(self.directory / "state.json", json.dumps(store, indent=1, sort_keys=True) + "\n")
            _replace(self.page / PAGE, render(store, self.fingerprint, self.escrow_maximum_days))


def _replace(path: Path, text: str) -> None:
    """In one step: who reads it (the exporter is another user) never sees half of it."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_text(text)
    draft.chmod(0o644)
    draft.replace(path)


def _line(name: str, labels: Mapping[str, str], value: float) -> str:
    inside = ",".join(f'{key}="{text}"' for key, text in sorted(labels.items()))
    return f"{PREFIX}_{name}{{{inside}}} {value:.15g}" if inside else f"{PREFIX}_{name} {value:.15g}"


class _Page:
    def __init__(self) -> None:
        self._lines: dict[str, list[str]] = {}

    def add(self, name: str, value: Any, **labels: str) -> None:
        """Leave out what is not known: a missing number is honest, a zero is not."""
        if value is not None:
            self._lines.setdefault(name, []).append(_line(name, labels, float(value)))

    def text(self) -> str:
        out: list[str] = []
        for name, lines in self._lines.items():
            kind = "counter" if name.endswith("_total") else "gauge"
            out += [f"# HELP {PREFIX}_{name} {HELP[name]}", f"# TYPE {PREFIX}_{name} {kind}", *lines]
        return "\n".join(out) + "\n"


def render(store: Store, fingerprint: str, escrow_maximum_days: int) -> str:
    """The metrics page."""
    page = _Page()
    page.add("created_timestamp_seconds", store.get("created"))
    page.add("supervisor_timestamp_seconds", store.get("supervisor"))
    for name, job in sorted(store.get("jobs", {}).items()):
        page.add("job_last_start_timestamp_seconds", job.get("started"), job=name)
        page.add("job_last_success_timestamp_seconds", job.get("success"), job=name)
        page.add("job_last_exit_code", job.get("exit_code"), job=name)
        page.add("job_duration_seconds", job.get("duration"), job=name)
        page.add("job_skipped_total", job.get("skipped", 0), job=name)
    for name, repository in sorted(store.get("repositories", {}).items()):
        page.add("repository_up", repository.get("up"), repository=name)
        for kind, when in sorted(repository.get("newest", {}).items()):
            page.add("newest_timestamp_seconds", when, repository=name, type=kind)
        for key in ("sets", "database_bytes", "repository_bytes", "wal_segments", "wal_missing_segments"):
            page.add(key, repository.get(key), repository=name)
        page.add("wal_newest_timestamp_seconds", repository.get("wal_newest"), repository=name)
        page.add("restore_bytes_per_second", repository.get("restore_rate"), repository=name)
        page.add("projected_rto_seconds", projected_rto(store, name), repository=name)
        page.add("check_faults", repository.get("check_faults"), repository=name)
    archive = store.get("archive", {})
    page.add("wal_ready_files", archive.get("ready"))
    page.add("wal_archiving_failing", archive.get("failing"))
    for name, verify in sorted(store.get("verify", {}).items()):
        _verification(page, name, verify)
    escrow = store.get("escrow", {})
    page.add("escrow_timestamp_seconds", escrow.get("time"))
    page.add("escrow_stale", int(not escrow or escrow.get("fingerprint") != fingerprint))
    page.add("escrow_maximum_age_seconds", escrow_maximum_days * 86400)
    drill = store.get("drill", {})
    for key in ("timestamp", "rto", "rpo"):
        page.add(f"drill_{key}_seconds", drill.get(key))
    return page.text()


def _verification(page: _Page, repository: str, verify: Store) -> None:
    page.add("verify_success", verify.get("success"), repository=repository)
    page.add("verify_last_run_timestamp_seconds", verify.get("run"), repository=repository)
    page.add("verify_last_success_timestamp_seconds", verify.get("last_success"), repository=repository)
    page.add("verify_restored_bytes", verify.get("bytes"), repository=repository)
    page.add("verify_tables_mismatched", verify.get("mismatched"), repository=repository)
    page.add("verify_drift_rows", verify.get("drift"), repository=repository)
    page.add("verify_canary_bad_rows", verify.get("bad_canaries"), repository=repository)
    for phase, seconds in sorted(verify.get("phases", {}).items()):
        page.add("verify_phase_seconds", seconds, repository=repository, phase=phase)


def projected_rto(store: Store, repository: str) -> float | None:
    """Seconds that a restore of the present size would take, by the last verification; None when there was none.

    Copying grows with the size; replay is taken as measured, because the newest differential bounds it; a minute is
    for people and restarts.
    """
    found = store.get("repositories", {}).get(repository, {})
    phases = store.get("verify", {}).get(repository, {}).get("phases", {})
    rate, size = found.get("restore_rate"), found.get("database_bytes")
    if not rate or size is None:
        return None
    return float(size / rate + phases.get("recovery", 0) + 60)
