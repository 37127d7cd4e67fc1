"""Nothing is lost: back to a moment, back from a lost data directory, back on a new machine; the alert that says so.

Measured against lists kept outside the database: the ids that the edge acknowledged, and those that PostgreSQL held.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.stack import StackUnderTest, docker, inspect, poll
from tests.e2e.telemetry import Sender, ids, llm_span, request, send_http
from tests.engine.database_lab import Authority
from tests.engine.s3_lab import HOST, S3Server, run_server

pytestmark = [pytest.mark.e2e, pytest.mark.recovery, pytest.mark.timeout(1500)]

ESCROW_PASSPHRASE = "a passphrase that is only in this test"


def project_of(test: str) -> str:
    return f"{test}-{os.urandom(3).hex()}"


def healthy(stack: StackUnderTest, *services: str) -> bool:
    return all(inspect(stack.container(s))["State"]["Health"]["Status"] == "healthy" for s in services)


def operator(stack: StackUnderTest, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """The operator's command, with the time that a restore takes."""
    return stack.run(sys.executable, "-m", "agentstack", *words, timeout=900, check=check)


def restore(stack: StackUnderTest, *words: str) -> dict[str, Any]:
    """`agentstack restore ... --yes --json`."""
    found: dict[str, Any] = json.loads(operator(stack, "restore", *words, "--yes", "--json").stdout)
    return found


def backup(stack: StackUnderTest, *words: str) -> str:
    return operator(stack, "backup", *words).stdout


@pytest.fixture(scope="module", autouse=True)
def first_backup(stack: StackUnderTest) -> None:
    """A new stack makes its first backup by itself."""

    def sets() -> Any:
        return json.loads(backup(stack, "list", "--json"))["local"]["sets"]

    poll(sets, 240, "the first backup", every=3)


def test_back_to_a_moment_with_every_span_up_to_it_and_none_after(stack: StackUnderTest) -> None:
    project = project_of("moment")
    with Sender(stack, project, stack.token("chat"), spans_per_second=50, per_request=10) as sender:
        poll(lambda: len(sender.acknowledged) > 200, 60, "spans before the backup")
        backup(stack, "now")
        poll(lambda: len(sender.acknowledged) > 400, 60, "spans after the backup")
        # One statement: the moment, and what was committed before it.
        moment, up_to = stack.sql("SELECT clock_timestamp()"), stack.stored_ids(project)
        poll(lambda: len(sender.acknowledged) > 600, 60, "spans after the moment")
    poll(lambda: sender.acknowledged <= stack.stored_ids(project), 120, "all of them stored", every=2)
    stack.sql("DROP TABLE spans CASCADE")
    done = restore(stack, "--to", moment)
    after = stack.span_ids(project)
    late = after - up_to
    assert up_to - after == set(), "every span that was stored up to the moment is back"
    assert len(late) <= 20, "none after: but for those committed between the two statements above"
    assert len(sender.acknowledged - after) > 100
    assert done["total_seconds"] < 300
    assert "before-" in docker("exec", stack.container("backup"), "ls", "/var/lib/postgresql/data")
    backup(stack, "forget", "--yes")


def test_a_data_directory_deleted_under_load_costs_only_what_was_not_archived(stack: StackUnderTest) -> None:
    project = project_of("deleted")
    with Sender(stack, project, stack.token("chat"), spans_per_second=20, per_request=5) as sender:
        poll(lambda: len(sender.acknowledged) > 60, 60, "spans")
        stack.sql("SELECT pg_switch_wal()")
        archived = stack.stored_ids(project)
        waiting = "SELECT count(*) FROM pg_ls_archive_statusdir() WHERE name LIKE '%.ready'"
        poll(lambda: stack.sql(waiting) == "0", 60, "all archived")
        poll(lambda: len(sender.acknowledged) > 120, 60, "spans that may not be archived")
        docker("exec", stack.container("postgres"), "sh", "-c", "rm -rf /var/lib/postgresql/data/pgdata", check=False)
        gone = time.monotonic()
        poll(lambda: not healthy(stack, "postgres"), 120, "PostgreSQL is not healthy without its data")
        at_loss = set(sender.acknowledged)
        done = restore(stack, "--latest")
        poll(lambda: len(sender.acknowledged - at_loss) > 30, 120, "spans flow again")
        recovered = time.monotonic() - gone
    poll(lambda: sender.acknowledged - at_loss <= stack.span_ids(project), 180, "what came later is there", every=3)
    after = stack.span_ids(project)
    assert archived <= after, "everything that was archived is back"
    assert sender.acknowledged - after <= at_loss - archived, "lost is only what was stored and not archived"
    assert done["total_seconds"] < recovered < 420
    backup(stack, "forget", "--yes")


def test_a_hole_in_the_log_is_an_alert_and_its_end_is_too(stack: StackUnderTest) -> None:
    archive = "/var/lib/pgbackrest/archive/phoenix"
    for _ in range(2):
        stack.sql("SELECT agentstack.beat(); SELECT pg_switch_wal()")
    count = f"find {archive} -name '0*-*.zst' | wc -l"
    before = int(docker("exec", stack.container("backup"), "sh", "-c", count))
    poll(lambda: int(docker("exec", stack.container("backup"), "sh", "-c", count)) >= before, 60, "archived")
    newest_but_one = f"rm $(find {archive} -name '0*-*.zst' | sort | tail -n 2 | head -n 1)"
    docker("exec", stack.container("backup"), "sh", "-c", newest_but_one)
    assert operator(stack, "backup", "verify", check=False).returncode == 1

    def firing() -> set[str]:
        answer = stack.alertmanager.get("/api/v2/alerts", params={"active": "true"})
        answer.raise_for_status()
        return {alert["labels"]["alertname"] for alert in answer.json()}

    poll(lambda: "RestoreVerificationFailed" in firing(), 180, "the alert in Alertmanager", every=3)
    backup(stack, "now", "--full")
    backup(stack, "verify")
    poll(lambda: "RestoreVerificationFailed" not in firing(), 420, "its end", every=5)


def test_a_drill_measures_and_changes_nothing(stack: StackUnderTest, tmp_path: Path) -> None:
    before = inspect(stack.container("postgres"))["State"]["StartedAt"]
    operator(stack, "drill", "--out", str(tmp_path / "report.md"))
    text = (tmp_path / "report.md").read_text()
    assert "Passed" in text
    assert "| restore |" in text
    assert inspect(stack.container("postgres"))["State"]["StartedAt"] == before
    assert stack.query("agentstack_backup_drill_rto_seconds") or poll(
        lambda: stack.query("agentstack_backup_drill_rto_seconds"), 60, "the drill's figures in Prometheus"
    )


@pytest.fixture
def s3(stack: StackUnderTest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, object]]:
    """A real S3 server on egress-network; the stack's settings name it while the test runs."""
    folder = tmp_path_factory.mktemp("s3")
    authority = Authority()
    name = f"agentstack-{stack.name}-test-s3"
    network = f"agentstack-{stack.name}-egress-network"
    image = inspect(stack.container("postgres"))["Image"]
    run_server(name, network, image, authority)
    try:
        yield {**S3Server.settings(folder, authority), "endpoint": f"{HOST}:9000"}
    finally:
        docker("rm", "--force", "--volumes", name)
        stack.settings.pop("backup", None)
        stack.write_settings()
        stack.up()


def test_a_new_machine_from_the_escrow_file_and_the_second_repository(
    stack: StackUnderTest, s3: dict[str, object], tmp_path: Path
) -> None:
    project = project_of("machine")
    stack.write_settings({"backup": {"s3": s3}})
    stack.up()
    token, password = stack.token("chat"), stack.outputs["credentials"]["grafana"]["password"]
    spans = [llm_span() for _ in range(20)]
    assert send_http(stack, request(project, spans), token).status_code == 200
    poll(lambda: ids(spans) <= stack.span_ids(project), 60, "stored")
    poll(lambda: json.loads(backup(stack, "list", "--json"))["s3"]["sets"], 300, "a backup in S3", every=3)
    backup(stack, "now", "--repository", "2")
    stack.sql("SELECT agentstack.beat(); SELECT pg_switch_wal()")
    escrow, secret = tmp_path / "stack.escrow", tmp_path / "passphrase"
    secret.write_text(ESCROW_PASSPHRASE + "\n")
    operator(stack, "escrow", str(escrow), "--passphrase-file", str(secret))
    backup(stack, "verify", "--repository", "2")

    text = stack.file.read_text()
    server = f"agentstack-{stack.name}-test-s3"
    network = f"agentstack-{stack.name}-egress-network"
    docker("network", "disconnect", network, server)
    stack.down(volumes=True)
    stack.clear()
    stack.file.write_text(text)
    operator(stack, "escrow", str(escrow), "--open", "--passphrase-file", str(secret))
    # The network comes with `up`, the backup asks for its repository again and again.
    stack.up()
    docker("network", "connect", "--alias", HOST, network, server)
    assert (stack.token("chat"), stack.outputs["credentials"]["grafana"]["password"]) == (token, password)
    assert not stack.span_ids(project)
    poll(
        lambda: "error" not in json.loads(backup(stack, "list", "--json"))["s3"], 120, "the repository answers", every=3
    )
    restore(stack, "--latest", "--repository", "2")
    stack.__dict__.pop("phoenix", None)
    assert ids(spans) <= stack.span_ids(project)
    assert send_http(stack, request(project, [llm_span()]), token).status_code == 200
