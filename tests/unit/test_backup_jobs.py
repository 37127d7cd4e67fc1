"""The backup's jobs without pgBackRest and PostgreSQL: schedules, what is due, what they say about repositories."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.backup.container import carry, restore
from components.backup.container.config import Config, parse
from components.backup.container.pgbackrest import (
    BackupSet,
    Gap,
    Segment,
    gaps,
    parse_info,
    parse_segments,
    verify_faults,
)
from components.backup.container.schedule import Schedule, ScheduleError
from components.backup.container.shell import JobError, run
from components.backup.container.state import State, render
from components.backup.container.supervisor import RETRY_SECONDS, SETTLE_SECONDS, Timer, due, record, skip, timers
from components.backup.container.verify import compare
from components.backup.render import jobs_settings
from components.settings.backup import BackupSettings

NOW = datetime(2026, 11, 24, 14, 30, tzinfo=UTC)
NIGHTLY = Schedule("0 2 * * *")


def configuration() -> Config:
    return parse(json.loads(jobs_settings(BackupSettings(), "/textfile", "f")))


# ---- schedules


@pytest.mark.parametrize(
    ("text", "due_at"),
    [
        ("0 2 * * *", "2026-11-24 02:00"),
        ("20 * * * *", "2026-11-24 14:20"),
        ("*/7 * * * *", "2026-11-24 14:28"),
        ("30 14 * * *", "2026-11-24 14:30"),
        ("31 14 * * *", "2026-11-23 14:31"),
        ("0 6 * * 0", "2026-11-22 06:00"),
        ("0 6 * * 7", "2026-11-22 06:00"),
        ("0 0 31 * *", "2026-10-31 00:00"),
        ("0 12 1,15 * *", "2026-11-15 12:00"),
        ("0 9-17/4 * * *", "2026-11-24 13:00"),
        ("0 0 29 2 *", "2024-02-29 00:00"),
        ("0 0 13 * 5", "2026-11-20 00:00"),
    ],
)
def test_the_last_due_moment(text: str, due_at: str) -> None:
    """The last case is cron's own: two restricted day fields mean either (Friday the 20th, not only the 13th)."""
    found = Schedule(text).last_due(NOW)
    assert found is not None
    assert found.strftime("%Y-%m-%d %H:%M") == due_at


def test_a_schedule_holds_in_its_time_zone_over_the_change_of_the_clock() -> None:
    paris = Schedule("30 2 * * *", ZoneInfo("Europe/Paris"))
    winter = paris.last_due(datetime(2026, 1, 10, 12, tzinfo=UTC))
    summer = paris.last_due(datetime(2026, 7, 10, 12, tzinfo=UTC))
    skipped = paris.last_due(datetime(2026, 3, 29, 12, tzinfo=UTC))
    assert winter is not None
    assert summer is not None
    assert skipped is not None
    assert (winter.hour, summer.hour) == (1, 0)
    assert skipped.isoformat() == "2026-03-29T01:30:00+00:00", "02:30 is no time that day: half past, after the gap"


@given(
    minute=st.integers(0, 59), hour=st.integers(0, 23), offset=st.integers(0, 400 * 24 * 60), every=st.integers(1, 12)
)
def test_a_due_moment_is_past_and_matches(minute: int, hour: int, offset: int, every: int) -> None:
    now = NOW + timedelta(minutes=offset)
    daily = Schedule(f"{minute} {hour} * * *").last_due(now)
    assert daily is not None
    assert timedelta(0) <= now - daily < timedelta(days=1)
    assert (daily.minute, daily.hour) == (minute, hour)
    often = Schedule(f"{minute} */{every} * * *").last_due(now)
    assert often is not None
    assert daily <= now
    assert often.hour % every == 0


@pytest.mark.parametrize(
    "text", ["", "* * * *", "60 * * * *", "* 24 * * *", "* * 0 * *", "a * * * *", "5-1 * * * *", "*/0 * * * *"]
)
def test_a_text_that_is_no_schedule_is_refused(text: str) -> None:
    with pytest.raises(ScheduleError):
        Schedule(text)


# ---- what is due

BORN = NOW.timestamp()


def store(**jobs: dict[str, Any]) -> dict[str, Any]:
    return {"created": BORN - 86400 * 10, "jobs": {name.replace("_", "-"): job for name, job in jobs.items()}}


def test_a_missed_backup_is_made_up_for() -> None:
    timer = Timer("full-local", schedule=NIGHTLY)
    yesterday = BORN - 86400
    assert due(timer, store(full_local={"started": yesterday, "ended": yesterday, "exit_code": 0}), BORN, BORN)


def test_what_ran_since_it_was_due_is_not_due_again() -> None:
    timer = Timer("full-local", schedule=NIGHTLY)
    at_two = datetime(2026, 11, 24, 2, 0, 1, tzinfo=UTC).timestamp()
    assert not due(timer, store(full_local={"started": at_two, "ended": at_two + 60, "exit_code": 0}), BORN, BORN)


def test_a_failed_job_is_tried_again_before_the_next_day() -> None:
    timer = Timer("full-local", schedule=NIGHTLY)
    at_two = datetime(2026, 11, 24, 2, 0, 1, tzinfo=UTC).timestamp()
    failed = store(full_local={"started": at_two, "ended": at_two + 60, "exit_code": 1})
    assert not due(timer, failed, at_two + 60 + RETRY_SECONDS - 1, at_two - 999)
    assert due(timer, failed, at_two + 60 + RETRY_SECONDS, at_two - 999)


def test_a_new_stack_gets_its_first_backup_soon_but_not_at_once() -> None:
    timer = Timer("full-local", schedule=NIGHTLY, at_first=True)
    new = {"created": BORN, "jobs": {}}
    assert not due(timer, new, BORN + SETTLE_SECONDS - 1, BORN)
    assert due(timer, new, BORN + SETTLE_SECONDS, BORN)
    assert not due(Timer("verify-local", schedule=NIGHTLY), new, BORN + SETTLE_SECONDS, BORN), "that waits for its time"


def test_no_backup_before_its_repository_is_prepared_in_this_life_of_the_container() -> None:
    timer = Timer("full-local", schedule=NIGHTLY, after=("prepare-local",), at_first=True)
    late = BORN + SETTLE_SECONDS
    assert not due(timer, store(), late, BORN)
    assert not due(timer, store(prepare_local={"success": BORN - 1}), late, BORN)
    assert due(timer, store(prepare_local={"success": BORN + 1}), late, BORN)


def test_preparing_ends_with_its_success() -> None:
    timer = Timer("prepare-local", every_seconds=10, until_success=True)
    assert due(timer, store(), BORN, BORN)
    assert due(timer, store(prepare_local={"started": BORN, "ended": BORN, "exit_code": 1}), BORN + 10, BORN)
    assert not due(timer, store(prepare_local={"started": BORN, "success": BORN}), BORN + 10, BORN)


def test_every_timer_has_its_job_and_every_job_but_collect_its_timer(tmp_path: Path) -> None:
    from components.backup.container.jobs import Jobs

    configured = configuration()
    jobs = set(Jobs(configured, State(tmp_path, tmp_path)).named())
    assert {timer.job for timer in timers(configured)} == jobs


# ---- what is remembered, and the page


def test_outcomes_are_kept_and_told(tmp_path: Path) -> None:
    state = State(tmp_path / "state", tmp_path, fingerprint="now", escrow_maximum_days=90)
    record(state, "full-local", BORN, 0)
    record(state, "full-local", BORN + 5, 1)
    state.update(lambda kept: skip(kept, "full-local", BORN + 9))
    kept = state.read()["jobs"]["full-local"]
    assert (kept["exit_code"], kept["skipped"]) == (1, 1)
    assert kept["success"] >= BORN - 86400, "the last success stays known after a failure"
    page = (tmp_path / "agentstack_backup.prom").read_text()
    assert 'agentstack_backup_job_last_exit_code{job="full-local"} 1' in page
    assert "agentstack_backup_escrow_stale 1" in page
    assert oct((tmp_path / "agentstack_backup.prom").stat().st_mode & 0o777) == "0o644", "the exporter is another user"


def test_an_unknown_number_is_left_out_rather_than_zero() -> None:
    page = render({"created": 1, "repositories": {"local": {"up": 0}}}, "", 90)
    assert 'agentstack_backup_repository_up{repository="local"} 0' in page
    assert "database_bytes" not in page
    assert "projected_rto" not in page


def test_escrow_is_fresh_only_for_the_secrets_it_holds() -> None:
    assert "escrow_stale 0" in render({"escrow": {"time": 5, "fingerprint": "a"}}, "a", 90)
    assert "escrow_stale 1" in render({"escrow": {"time": 5, "fingerprint": "a"}}, "b", 90)


def test_the_projected_rto_follows_the_size() -> None:
    known = {
        "repositories": {"local": {"restore_rate": 1e6, "database_bytes": 600e6}},
        "verify": {"local": {"phases": {"recovery": 40}}},
    }
    assert 'agentstack_backup_projected_rto_seconds{repository="local"} 700' in render(known, "", 90)


def test_every_metric_explains_itself() -> None:
    everything = {
        "created": 1,
        "supervisor": 2,
        "jobs": {"j": {"started": 1, "success": 1, "exit_code": 0, "duration": 1}},
        "repositories": {"local": {"up": 1, "newest": {"any": 1}, "sets": 1, "check_faults": 0, "wal_newest": 1}},
        "archive": {"ready": 0, "failing": 0},
        "verify": {"local": {"success": 1, "run": 1, "last_success": 1, "phases": {"restore": 1}, "bytes": 1}},
        "drill": {"timestamp": 1, "rto": 1, "rpo": 1},
    }
    lines = render(everything, "", 90).splitlines()
    names = {line.split("{")[0].split(" ")[0] for line in lines if not line.startswith("#")}
    helped = {line.split()[2] for line in lines if line.startswith("# HELP")}
    typed = {line.split()[2] for line in lines if line.startswith("# TYPE")}
    assert names == helped == typed


# ---- repositories


def segment(name: str, stored: int = 0) -> Segment:
    return Segment("17-1", name, stored)


def line(*positions: int, timeline: int = 1) -> tuple[Segment, ...]:
    return tuple(segment(f"{timeline:08X}{p // 256:08X}{p % 256:08X}", p) for p in positions)


def test_a_missing_segment_is_found_across_a_log_file_boundary() -> None:
    assert gaps(line(254, 255, 256, 257)) == []
    assert gaps(line(254, 255, 257)) == [Gap("0000000100000000000000FF", "000000010000000100000001", 1)]


def test_what_is_before_the_oldest_backup_may_be_gone() -> None:
    segments = line(1, 2, 7, 8, 9)
    assert [gap.missing for gap in gaps(segments)] == [4]
    assert gaps(segments, since=segments[2].name) == []


def test_a_new_timeline_that_begins_before_the_old_end_is_no_gap() -> None:
    assert gaps((*line(5, 6, 7, 8), *line(7, 8, 9, timeline=2))) == []
    assert [gap.missing for gap in gaps((*line(5, 6), *line(9, 10, timeline=2)))] == [2]


def test_segments_are_read_from_the_listing_and_nothing_else_is() -> None:
    sha = "0" * 40
    listing = {
        "archive.info": {"type": "file", "time": 1},
        "17-1/00000002.history": {"type": "file", "time": 1},
        f"17-1/0000000100000000/000000010000000000000002-{sha}.zst": {"type": "file", "time": 7},
        f"17-1/0000000100000000/000000010000000000000001-{sha}.zst": {"type": "file", "time": 5},
        "17-1/0000000100000000/000000010000000000000002.00000028.backup": {"type": "file", "time": 8},
    }
    found = parse_segments(json.dumps(listing))
    assert [(s.archive, s.name[-2:], s.stored) for s in found] == [("17-1", "01", 5), ("17-1", "02", 7)]


def info(code: int, *sets: dict[str, Any]) -> str:
    return json.dumps([{"status": {"code": code, "message": "no"}, "backup": list(sets)}])


def test_a_repository_that_is_not_in_order_is_an_error_and_an_empty_one_is_not() -> None:
    assert parse_info(info(2)) == ()
    with pytest.raises(JobError, match="not in order"):
        parse_info(info(99))
    with pytest.raises(JobError, match="no stanza"):
        parse_info("[]")


@pytest.mark.parametrize(
    ("text", "faults"),
    [
        ("stanza: phoenix\nstatus: ok\n  archiveId: 17-1, total WAL checked: 3\n", 0),
        ("stanza: phoenix\nstatus: error\n  missing: 0, checksum invalid: 1, size invalid: 0, other: 0\n", 2),
        ("stanza: phoenix\nstatus: ok\n  missing: 0, checksum invalid: 0, size invalid: 0, other: 0\n", 0),
        ("", 1),
    ],
)
def test_the_text_of_pgbackrest_verify_decides_not_its_exit_code(text: str, faults: int) -> None:
    assert len(verify_faults(text)) == faults


# ---- carrying to the second repository


def test_only_what_is_missing_is_carried_oldest_first() -> None:
    local, remote = line(3, 4, 5, 6, 7), line(4, 6)
    assert [s.position for s in carry.missing(local, remote)] == [5, 7]


def test_a_new_second_repository_begins_with_the_newest_segment() -> None:
    assert [s.position for s in carry.missing(line(3, 4, 5), ())] == [5]
    assert carry.missing((), ()) == []


def test_only_the_folders_in_which_the_two_may_differ_are_read() -> None:
    local = tuple(f"17-1/00000001000000{n:02X}" for n in range(9))
    assert carry.recent(local, local[:6]) == (list(local[4:]), list(local[4:6]))
    assert carry.recent(local, local[:1]) == (list(local), [local[0]])
    assert carry.recent(local, ()) == ([local[-1]], [])


# ---- restore


def backup_set(label: str, stopped: int, *, failed: bool = False) -> BackupSet:
    return BackupSet(label, "full", stopped - 10, stopped, "0" * 24, "0" * 24, 100, 10, failed)


SETS = (backup_set("a", 1000), backup_set("b", 2000), backup_set("c", 3000, failed=True))


@pytest.mark.parametrize(
    ("target", "label"),
    [
        (restore.Target("latest"), "b"),
        (restore.Target("time", moment=2500), "b"),
        (restore.Target("time", moment=1999), "a"),
        (restore.Target("backup", label="a"), "a"),
    ],
)
def test_the_backup_to_start_from(target: restore.Target, label: str) -> None:
    assert restore.choose(SETS, target).label == label


@pytest.mark.parametrize("target", [restore.Target("time", moment=999), restore.Target("backup", label="c")])
def test_no_backup_to_start_from_is_said(target: restore.Target) -> None:
    with pytest.raises(JobError, match="backup"):
        restore.choose(SETS, target)


def test_no_restore_goes_through_a_hole_in_the_log() -> None:
    segments = line(10, 11, 14, 15)
    chosen = BackupSet("b", "full", 0, 1, segments[0].name, segments[0].name, 1, 1, failed=False)
    with pytest.raises(JobError, match="2 WAL segments are missing after 00000001000000000000000B"):
        restore.refuse_holes(segments, chosen, restore.Target("latest"))
    # Each segment of `line` was stored at the second of its place.
    restore.refuse_holes(segments, chosen, restore.Target("time", moment=10.5))
    with pytest.raises(JobError):
        restore.refuse_holes(segments, chosen, restore.Target("time", moment=14.5))
    restore.refuse_holes(segments, chosen, restore.Target("backup", label="b"))


def test_targets_as_pgbackrest_takes_them() -> None:
    chosen = SETS[1]
    latest = restore.target_words(restore.Target("latest"), chosen, None)
    assert latest == ("--type=default", "--set=b")
    named = restore.target_words(restore.Target("latest"), chosen, "end")
    assert {"--type=name", "--target=end", "--set=b"} <= set(named), "a point that is never reached is an error"
    moment = restore.target_words(restore.Target("time", moment=0.5), chosen, None)
    assert "--target=1970-01-01 00:00:00.500000+00" in moment
    assert "--type=immediate" in restore.target_words(restore.Target("backup", label="b"), chosen, None)


@pytest.mark.parametrize(
    "text",
    ["2026-11-24 14:30:00+00", "2026-11-24T14:30:00Z", "2026-11-24 15:30:00+01:00", "2026-11-24 14:30:00.000+00"],
)
def test_moments_with_their_zone(text: str) -> None:
    assert restore.parse_moment(text) == NOW.timestamp()


@pytest.mark.parametrize("text", ["2026-11-24 14:30:00", "yesterday", ""])
def test_a_moment_without_a_zone_is_refused(text: str) -> None:
    with pytest.raises(JobError, match=r"2026|zone"):
        restore.parse_moment(text)


def work(tmp_path: Path) -> restore.Restore:
    raw = json.loads(jobs_settings(BackupSettings(), str(tmp_path), "f"))
    for name in ("volume", "socket", "scratch", "state"):
        raw[name] = str(tmp_path / name)
        (tmp_path / name).mkdir()
    raw["pgdata"] = str(tmp_path / "volume" / "pgdata")
    configured = parse(raw)
    return restore.Restore(configured, configured.repository("local"), State(tmp_path / "state", tmp_path))


NAME = "20261124T143000Z"


def test_the_swap_keeps_the_old_data_and_can_be_undone(tmp_path: Path) -> None:
    restored = work(tmp_path)
    for name, text in (("pgdata", "old"), (f"restored-{NAME}", "new")):
        (restored.config.volume / name).mkdir()
        (restored.config.volume / name / "PG_VERSION").write_text(text)
    restored.swap(NAME)
    assert (restored.config.pgdata / "PG_VERSION").read_text() == "new"
    assert [Path(item["path"]).name for item in restored.leftovers()] == [f"before-{NAME}"]
    restored.swap_back(NAME)
    assert (restored.config.pgdata / "PG_VERSION").read_text() == "old"


def test_the_swap_works_where_the_data_directory_is_gone(tmp_path: Path) -> None:
    restored = work(tmp_path)
    new = restored.config.volume / f"restored-{NAME}"
    new.mkdir()
    (new / "PG_VERSION").write_text("new")
    assert restored.swap(NAME)["aside"] == ""
    assert (restored.config.pgdata / "PG_VERSION").read_text() == "new"


@pytest.mark.parametrize("name", ["../../etc", "", NAME])
def test_nothing_is_swapped_for_what_is_not_there(tmp_path: Path, name: str) -> None:
    with pytest.raises(JobError):
        work(tmp_path).swap(name)


# ---- verification


def test_counts_may_drift_by_what_writers_add_and_no_more() -> None:
    wrong, drift = compare({"spans": 2_000_000, "traces": 10}, {"spans": 2_001_500, "traces": 10})
    assert (wrong, drift) == ([], 1500)
    wrong, _ = compare({"spans": 2_000_000, "traces": 10}, {"spans": 1_990_000})
    assert len(wrong) == 2


# ---- running commands


def test_a_failing_command_says_why() -> None:
    with pytest.raises(JobError, match="sh ended with 3: because"):
        run(["sh", "-c", "echo because >&2; exit 3"])
    with pytest.raises(JobError, match="within"):
        run(["sleep", "5"], seconds=0.1)
    with pytest.raises(JobError, match="can't be run"):
        run(["no-such-program-here"])
