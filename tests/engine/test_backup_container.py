"""Backups and restores in real containers, with a real S3 server beside them; damage done for real.

Decides: backups and the log reach both repositories and make the same database again; a dead S3 holds up nothing; lost,
flipped and missing bytes and a full disk are found; a lost data directory is never replaced by an empty one; the way
back works in place and on a new machine from the second repository alone. The tests follow one another.
"""

import json
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from components.backup.component import COMMAND, Backup
from components.names import Service
from components.postgres import RECONCILE_JOB, Postgres
from components.workload import DataVolume
from tests.engine.database_lab import BUILT, Authority, Lab, describe, docker, eventually, settings_for
from tests.engine.s3_lab import S3Server

pytestmark = [pytest.mark.engine, pytest.mark.timeout(600)]

TEXTFILE = DataVolume("textfile", "/textfile", mode="1777")
REPOSITORY = "/var/lib/pgbackrest"
NEVER = "0 0 29 2 *"
"""The tests decide when a backup is made."""


@dataclass
class Machine:
    """A server, its backup and their second repository, on one lab's network."""

    lab: Lab
    authority: Authority
    s3: S3Server
    described: dict[str, Any]

    @classmethod
    def make(cls, lab: Lab, authority: Authority, folder: Path) -> "Machine":
        server = S3Server(lab, authority)
        quiet = {"differentialSchedule": NEVER, "verifySchedule": NEVER, "checkSchedule": NEVER, "fullSchedule": NEVER}
        s3 = {**S3Server.settings(folder, authority), "fullSchedule": NEVER, "differentialSchedule": NEVER}
        settings = settings_for(lab.subnet, {**quiet, "memoryMib": 256, "archiveTimeoutSeconds": 60, "s3": s3})

        def build(context: Any) -> None:
            Backup("backup", context, postgres=Postgres("postgres", context), textfile=TEXTFILE)

        described = describe(build, settings=settings, authority=authority, images=lab.images)
        return cls(lab, authority, server, described)

    def up(self) -> None:
        """Server, roles, backup; and both repositories prepared where they can be."""
        self.lab.run(self.described["postgres"])
        self.lab.run_job(self.described[RECONCILE_JOB])
        self.lab.run(self.described["backup"])

    @property
    def server(self) -> str:
        return self.lab.container(Service.POSTGRES.value)

    @property
    def backup(self) -> str:
        return self.lab.container(Service.BACKUP.value)

    def sql(self, text: str, database: str = "phoenix", user: str = "postgres") -> str:
        return docker("exec", self.server, "psql", "-XAtq", "-U", user, "-d", database, "-c", text)

    def _run(self, *words: str) -> subprocess.CompletedProcess[str]:
        command = ["docker", "exec", self.backup, *COMMAND, *words]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=400)

    def ask(self, *words: str) -> dict[str, Any]:
        """The answer of the backup's command."""
        done = self._run(*words)
        assert done.returncode == 0, f"{words}: {done.stderr}"
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def refused(self, *words: str) -> str:
        """What it says when it fails."""
        done = self._run(*words)
        assert done.returncode == 1, f"{words} did not fail: {done.stdout}"
        return done.stderr

    def sets(self, repository: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.ask("list")[repository]["sets"]
        return found

    def page(self) -> dict[str, float]:
        """The metrics page: series -> value."""
        text = docker("exec", self.backup, "cat", "/textfile/agentstack_backup.prom")
        lines = (line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
        return {series.removeprefix("agentstack_backup_"): float(value) for series, value in lines}

    def await_prepared(self, *repositories: str) -> None:
        """Wait for the stanzas."""
        wanted = [f'job_last_exit_code{{job="prepare-{name}"}}' for name in repositories]
        eventually(lambda: all(self.page().get(series) == 0 for series in wanted), "the repositories are prepared", 90)

    def write(self, count: int) -> int:
        """Store rows; how many there are then."""
        rows = f"generate_series(1, {count})"
        self.sql(f"INSERT INTO spans SELECT g, md5(g::text) FROM {rows} AS g", user="phoenix")  # noqa: S608
        return int(self.sql("SELECT count(*) FROM spans"))

    def root(self, script: str) -> str:
        """A shell as root over the machine's volumes: the one that breaks things."""
        words = ["run", "--rm", "--user", "0:0", "--network", "none", "--volumes-from", self.backup]
        return docker(*words, "--entrypoint", "/bin/sh", self.lab.images["postgres"], "-ec", script)

    def put_in_place(self, name: str) -> None:
        """What the operator's command does around the swap."""
        docker("stop", "-t", "60", self.server)
        self.ask("swap", name)
        docker("start", self.server)
        self.lab.await_healthy(self.server)
        self.lab.run_job(self.described[RECONCILE_JOB])


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    if not BUILT.is_file():
        pytest.fail("the images are not built: run `make images`")
    lab = Lab("agentstack-bklab")
    try:
        # A disk of its own for the local repository, small enough to be filled.
        lab.volume("backup-repository", "type=tmpfs", "device=tmpfs", "o=size=200m,uid=999,gid=999,mode=0700")
        made = Machine.make(lab, Authority(), tmp_path_factory.mktemp("s3"))
        made.up()
        made.sql("CREATE TABLE spans (id bigint, attributes text)", user="phoenix")
        yield made
    finally:
        lab.close()


def test_both_repositories_get_backups_and_the_log(machine: Machine) -> None:
    machine.write(50_000)
    eventually(lambda: all(map(machine.sets, ("local", "s3"))), "a new stack's first backups come by themselves", 180)
    for job in ("diff-local", "diff-s3"):
        machine.ask("now", job)
    for repository in ("local", "s3"):
        assert [item["kind"] for item in machine.sets(repository)] == ["full", "diff"]
    machine.ask("now", "collect-s3")
    page = machine.page()
    for repository in ("local", "s3"):
        assert page[f'repository_up{{repository="{repository}"}}'] == 1
        assert page[f'wal_missing_segments{{repository="{repository}"}}'] == 0
        assert time.time() - page[f'wal_newest_timestamp_seconds{{repository="{repository}"}}'] < 120


def test_nothing_in_a_repository_can_be_read_without_its_passphrase(machine: Machine) -> None:
    machine.sql("INSERT INTO spans VALUES (0, 'a-prompt-nobody-may-read-in-a-backup')", user="phoenix")
    machine.ask("now", "diff-local")
    found = machine.root(
        f"grep -rla a-prompt-nobody-may-read {REPOSITORY} || true; head -c 8 {REPOSITORY}/backup/*/backup.info"
    )
    assert found == "Salted__"


@pytest.mark.parametrize("repository", ["local", "s3"])
def test_a_real_restore_proves_each_repository(machine: Machine, repository: str) -> None:
    machine.ask("now", f"verify-{repository}")
    page = machine.page()
    assert page[f'verify_success{{repository="{repository}"}}'] == 1
    assert page[f'verify_tables_mismatched{{repository="{repository}"}}'] == 0
    assert page[f'verify_canary_bad_rows{{repository="{repository}"}}'] == 0
    assert page[f'restore_bytes_per_second{{repository="{repository}"}}'] > 0
    assert machine.root("ls /var/lib/agentstack-scratch") == "state", "the copy is gone"


def test_a_dead_s3_holds_up_nothing_and_catches_up(machine: Machine) -> None:
    machine.s3.stop()
    archived = int(machine.sql("SELECT archived_count FROM pg_stat_archiver"))
    machine.write(10)
    machine.sql("SELECT pg_switch_wal()")
    eventually(
        lambda: int(machine.sql("SELECT archived_count FROM pg_stat_archiver")) > archived, "the log is archived", 30
    )
    machine.ask("now", "diff-local")
    assert "s3" in machine.refused("now", "collect-s3") or machine.page()['repository_up{repository="s3"}'] == 0
    assert machine.page()['repository_up{repository="s3"}'] == 0
    assert machine.page()['repository_up{repository="local"}'] == 1
    machine.s3.start()
    machine.ask("now", "carry-s3")
    machine.ask("now", "collect-s3")
    page = machine.page()
    assert page['repository_up{repository="s3"}'] == 1
    assert page['wal_missing_segments{repository="s3"}'] == 0


def test_back_to_a_moment_before_a_table_was_dropped(machine: Machine) -> None:
    count = machine.write(1000)
    moment = machine.sql("SELECT clock_timestamp()")
    machine.write(7)
    machine.sql("DROP TABLE spans", user="phoenix")
    machine.ask("close-log")
    plan = machine.ask("plan", "--to", moment)
    assert plan["reaches"][:16] == moment[:16]
    made = machine.ask("make", "--to", moment)
    assert made["inside"]["spans"] == count
    assert "still runs" in machine.refused("swap", made["name"])
    assert "spans" not in machine.sql("SELECT relname FROM pg_class"), "until the swap nothing has changed"
    machine.put_in_place(made["name"])
    assert int(machine.sql("SELECT count(*) FROM spans")) == count
    assert [item["bytes"] > 0 for item in machine.ask("leftovers")["leftovers"]] == [True]
    machine.ask("forget")
    assert machine.ask("leftovers")["leftovers"] == []
    machine.ask("now", "full-local")
    machine.ask("now", "verify-local")


def test_a_restore_that_fails_leaves_everything_as_it_was(machine: Machine) -> None:
    before = machine.sql("SELECT count(*) FROM spans")
    assert "no backup ended before" in machine.refused("make", "--to", "2020-01-01 00:00:00+00")
    assert "recovery failed" in machine.refused("make", "--latest", "--point", "a_point_that_was_never_made")
    assert machine.sql("SELECT count(*) FROM spans") == before
    assert machine.ask("leftovers")["leftovers"] == []


def test_a_lost_data_directory_is_not_replaced_by_an_empty_one_and_comes_back(machine: Machine) -> None:
    count = machine.write(500)
    machine.ask("close-log")
    docker("stop", "-t", "60", machine.server)
    machine.root("rm -rf /var/lib/postgresql/data/pgdata")
    docker("start", machine.server)
    eventually(lambda: "agentstack restore" in docker("logs", "--tail", "3", machine.server), "it says what to do")
    assert "pgdata" not in machine.root("ls /var/lib/postgresql/data").split()
    assert machine.ask("close-log") == {"point": None}
    made = machine.ask("make", "--latest")
    machine.put_in_place(made["name"])
    assert int(machine.sql("SELECT count(*) FROM spans")) == count


def test_a_full_disk_stops_archiving_which_is_told_and_drains_afterwards(machine: Machine) -> None:
    machine.ask("now", "full-local")
    machine.root(f"dd if=/dev/zero of={REPOSITORY}/filler bs=1M 2>/dev/null || true")
    machine.write(10)
    machine.sql("SELECT pg_switch_wal()")

    def told() -> bool:
        machine.ask("now", "collect")
        page = machine.page()
        return page["wal_ready_files"] > 0 and page["wal_archiving_failing"] == 1

    eventually(told, "the page tells that archiving fails", 90)
    machine.root(f"rm {REPOSITORY}/filler")
    eventually(lambda: not told(), "what waited is archived", 120)


def test_a_lost_segment_of_the_log_is_found(machine: Machine) -> None:
    machine.ask("now", "full-local")
    for _ in range(3):
        machine.write(10)
        machine.ask("close-log")
    archive = f"{REPOSITORY}/archive/phoenix/17-*/*"
    machine.root(f"rm $(ls -t {archive}/0*-*.zst | sed -n 2p)")
    machine.ask("now", "collect")
    assert machine.page()['wal_missing_segments{repository="local"}'] == 1
    assert "phase recovery" in machine.refused("now", "verify-local")
    page = machine.page()
    assert page['verify_success{repository="local"}'] == 0
    assert page['verify_last_success_timestamp_seconds{repository="local"}'] > 0, "the last success stays known"
    for command in ("plan", "make"):
        assert "1 WAL segments are missing" in machine.refused(command, "--latest")
    machine.ask("now", "full-local")
    machine.ask("now", "verify-local")
    assert machine.page()['verify_success{repository="local"}'] == 1


def test_a_flipped_bit_in_a_backup_is_found(machine: Machine) -> None:
    newest = machine.sets("local")[-1]["label"]
    folder = f"{REPOSITORY}/backup/phoenix/{newest}"
    flip = (
        f"file=$(find {folder}/bundle {folder}/pg_data -type f -size +100k 2>/dev/null | head -n 1); "
        'at=$(($(stat -c %s "$file") / 2)); byte=$(od -An -tu1 -j $at -N 1 "$file" | tr -d " "); '
        'printf "$(printf "\\\\%03o" $((byte ^ 1)))" | dd of="$file" bs=1 seek=$at conv=notrunc 2>/dev/null'
    )
    machine.root(flip)
    assert "damaged" in machine.refused("now", "check-local")
    assert machine.page()['check_faults{repository="local"}'] > 0
    assert "phase restore" in machine.refused("now", "verify-local")
    machine.ask("now", "full-local")
    machine.ask("now", "verify-local")


def test_a_new_machine_comes_back_from_the_second_repository_alone(machine: Machine) -> None:
    # The segment that was lost above had perhaps not been carried: a backup closes that chapter there too.
    machine.ask("now", "full-s3")
    count = machine.write(300)
    machine.ask("close-log")
    machine.ask("now", "carry-s3")
    for name in (machine.server, machine.backup):
        docker("rm", "-f", "-v", name)
    lab = machine.lab
    lab.forget("postgres-data", "postgres-socket", "backup-repository", "backup-scratch", "textfile")
    machine.up()
    assert machine.sql("SELECT to_regclass('spans') IS NULL") == "t", "an empty database, as on any new machine"
    made = machine.ask("make", "--latest", "--repository", "s3")
    docker("stop", "-t", "60", machine.server)
    machine.ask("swap", made["name"])
    machine.ask("adopt")
    docker("start", machine.server)
    lab.await_healthy(machine.server)
    lab.run_job(machine.described[RECONCILE_JOB])
    assert int(machine.sql("SELECT count(*) FROM spans")) == count
    machine.ask("now", "full-local")
    machine.ask("now", "verify-local")
    machine.await_prepared("s3")
    machine.ask("now", "full-s3")
    machine.ask("now", "verify-s3")
