"""Backups: made, kept, restorable, and soon enough. The figures are the page that the backup service writes."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Final
from zoneinfo import ZoneInfo

from alerts.model import Alert, Firing, RuleGroup, Severity, Silencer, Story, selector
from components.backup.container.schedule import Schedule
from components.settings import Settings

PREFIX: Final = "agentstack_backup"
RPO_SECONDS: Final = 15 * 60
RTO_SECONDS: Final = 4 * 3600
GRACE_SECONDS: Final = 30 * 60
"""On top of two periods: a backup takes its time, and a failed one is tried again."""
WAITING_SEGMENTS: Final = 6
_DRY: Final = timedelta(minutes=1)


def groups(settings: Settings) -> list[RuleGroup]:
    """Alerts about backups and recovery."""
    backup = settings.backup
    zone = ZoneInfo(backup.time_zone)
    schedules = {"local": Schedule(backup.differential_schedule, zone)}
    if backup.s3:
        schedules["s3"] = Schedule(backup.s3.differential_schedule, zone)
    limits = {name: 2 * period_seconds(schedule) + GRACE_SECONDS for name, schedule in schedules.items()}
    stale = 2 * period_seconds(Schedule(backup.verify_schedule, zone)) + GRACE_SECONDS
    return [
        RuleGroup("backup", (missed(limits), none_yet(), unreachable(), damaged(), silent())),
        RuleGroup("archive", (archive_stuck(), rpo_at_risk(), log_missing())),
        RuleGroup(
            "recovery",
            (
                verification_failed(),
                verification_stale(stale),
                rto_high(),
                escrow_stale(backup.escrow_maximum_days, "warning" if settings.production else "info"),
            ),
        ),
    ]


def period_seconds(schedule: Schedule) -> int:
    """The longest time between two due moments of a schedule, over its last eight."""
    moments: list[datetime] = []
    moment = schedule.last_due(datetime(2026, 1, 31, 12, tzinfo=UTC))
    while moment is not None and len(moments) < 9:
        moments.append(moment)
        moment = schedule.last_due(moment - _DRY)
    gaps = [newer - older for newer, older in pairwise(moments)]
    return int(max(gaps, default=timedelta(days=365)).total_seconds())


def spoken(seconds: int) -> str:
    """As Prometheus' humanizeDuration writes whole seconds."""
    minutes, second = divmod(seconds, 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    parts = [(days, "d"), (hour, "h"), (minute, "m"), (second, "s")]
    while len(parts) > 1 and not parts[0][0]:
        parts.pop(0)
    return " ".join(f"{count}{unit}" for count, unit in parts)


def _metric(name: str, **labels: str) -> str:
    return selector(f"{PREFIX}_{name}", **labels)


def _age(name: str, by: str = "repository", matchers: str = "") -> str:
    """How long ago a moment was. The exporter's own labels are dropped: they tell of the exporter."""
    series = f"{PREFIX}_{name}{{{matchers}}}" if matchers else f"{PREFIX}_{name}"
    return f"time() - max by ({by}) ({series})" if by else f"time() - max({series})"


def _at(seconds: int) -> str:
    return f"{seconds}s"


def _aged(
    alert: Alert, series: Sequence[str], limit: int, words: tuple[str, str], labels: dict[str, str] | None = None
) -> Alert:
    """Stories of an alert about an age: silent at its limit, firing a minute later, over when the moment is new.

    ``words``: summary and description with ``{age}``.
    """
    # Stories of days are told in steps of five minutes.
    step = 60 if limit < 6 * 3600 else 300
    within = limit - limit % step
    fires_at = within + 2 * step
    firing = Firing(
        at=_at(fires_at), labels=labels or {}, summary=words[0], description=words[1].format(age=spoken(fires_at))
    )
    old = f"0x{fires_at // step}"
    return Alert(
        **{
            **vars(alert),
            "fires": Story(
                series=dict.fromkeys(series, f"{old} {fires_at}x30"),
                silent=(_at(within), _at(fires_at + 2 * step)),
                firing=(firing,),
                interval=f"{step // 60}m",
            ),
            "below": Story(series=dict.fromkeys(series, old), silent=(_at(within),), interval=f"{step // 60}m"),
        }
    )


def missed(limits: dict[str, int]) -> Alert:
    """Neither the last backup nor the one before it was made."""
    matchers = {name: f'repository="{name}", type="any"' for name in limits}
    expr = " or ".join(
        f"({_age('newest_timestamp_seconds', matchers=matchers[name])} > {limit})" for name, limit in limits.items()
    )
    limit = limits["local"]
    alert = Alert(
        name="BackupMissed",
        expr=expr,
        severity="critical",
        summary="two backups to repository {{ $labels.repository }} were missed",
        description="The newest backup in repository {{ $labels.repository }} is {{ $value | humanizeDuration }} old: "
        "the last two due were not made. A restore replays all the log since then.",
        silenced_by=(Silencer("BackupRepositoryUnreachable", equal=("repository",)), Silencer("BackupSilent")),
    )
    words = (
        "two backups to repository local were missed",
        "The newest backup in repository local is {age} old: the last two due were not made. A restore replays all "
        "the log since then.",
    )
    series = [_metric("newest_timestamp_seconds", repository="local", type="any")]
    return _aged(alert, series, limit, words, {"repository": "local"})


def none_yet() -> Alert:
    sets = _metric("sets", repository="local")
    created = _metric("created_timestamp_seconds")
    return Alert(
        name="BackupNone",
        expr=f"(max by (repository) ({PREFIX}_sets) == 0) and on () ({_age('created_timestamp_seconds', by='')} > "
        f"3600)",
        severity="critical",
        summary="repository {{ $labels.repository }} holds no backup",
        description="An hour after the backup service first ran, repository {{ $labels.repository }} holds no usable "
        "backup: nothing can be restored from it.",
        silenced_by=(Silencer("BackupSilent"),),
        fires=Story(
            series={sets: "0x70 1x30", created: "0x100"},
            silent=("60m", "72m"),
            firing=(
                Firing(
                    at="62m",
                    labels={"repository": "local"},
                    summary="repository local holds no backup",
                    description="An hour after the backup service first ran, repository local holds no usable backup: "
                    "nothing can be restored from it.",
                ),
            ),
        ),
        below=Story(series={sets: "1x100", created: "0x100"}, silent=("62m", "90m")),
    )


def _flag(
    alert: Alert, series: str, values: tuple[str, str], told: tuple[str, str], labels: dict[str, str] | None = None
) -> Alert:
    """Stories of an alert about a number: ``values`` are a good and a bad one, ``told`` what it says."""
    good, bad = values
    hold = int(alert.hold.removesuffix("m") or 0)
    fires_at = 5 + hold + 1
    where = {"repository": "local"} if labels is None else labels
    return Alert(
        **{
            **vars(alert),
            "fires": Story(
                series={series: f"{good}x4 {bad}x{hold + 3} {good}x10"},
                silent=("4m", f"{fires_at + 6}m"),
                firing=(Firing(at=f"{fires_at}m", labels=where, summary=told[0], description=told[1]),),
            ),
            "below": Story(series={series: f"{good}x30"}, silent=("6m", f"{fires_at}m", "29m")),
        }
    )


def unreachable() -> Alert:
    text = "For 5 minutes nothing could be read from repository {}: no backup goes there and none comes back."
    alert = Alert(
        name="BackupRepositoryUnreachable",
        expr=f"max by (repository) ({PREFIX}_repository_up) == 0",
        hold="5m",
        severity="critical",
        summary="backup repository {{ $labels.repository }} does not answer",
        description=text.format("{{ $labels.repository }}"),
        silenced_by=(Silencer("BackupSilent"),),
    )
    told = ("backup repository local does not answer", text.format("local"))
    return _flag(alert, _metric("repository_up", repository="local"), ("1", "0"), told)


def damaged() -> Alert:
    text = "Reading all of repository {} found {} faults: some backups can't be restored whole."
    alert = Alert(
        name="BackupRepositoryDamaged",
        expr=f"max by (repository) ({PREFIX}_check_faults) > 0",
        severity="critical",
        summary="backup repository {{ $labels.repository }} is damaged",
        description=text.format("{{ $labels.repository }}", "{{ $value }}"),
    )
    told = ("backup repository local is damaged", text.format("local", 2))
    return _flag(alert, _metric("check_faults", repository="local"), ("0", "2"), told)


def silent() -> Alert:
    series = _metric("supervisor_timestamp_seconds")
    alert = Alert(
        name="BackupSilent",
        expr=f"({_age('supervisor_timestamp_seconds', by='')} > 300) or absent({series}) * 300",
        hold="5m",
        severity="critical",
        summary="the backup service is silent",
        description="The backup service has not written its figures for at least {{ $value | humanizeDuration }}: "
        "whether backups are made is not known.",
        silenced_by=(Silencer("ServiceDown", when={"component": "node-exporter"}),),
    )
    told = "The backup service has not written its figures for at least {}: whether backups are made is not known."
    return Alert(
        **{
            **vars(alert),
            "fires": Story(
                series={series: "0x11 720x30"},
                silent=("5m", "9m", "14m"),
                firing=(
                    Firing(at="11m", summary="the backup service is silent", description=told.format(spoken(660))),
                ),
            ),
            "below": Story(series={series: "0+60x30"}, silent=("10m", "20m", "30m")),
        }
    )


def archive_stuck() -> Alert:
    text = "{} WAL segments wait to be archived (alert above " + f"{WAITING_SEGMENTS}) for 10 minutes: what is stored "
    text += "now is in no repository, and the log fills the disk of the database."
    ready, failing = f"max({PREFIX}_wal_ready_files)", f"max({PREFIX}_wal_archiving_failing)"
    alert = Alert(
        name="WalArchiveStuck",
        expr=f"{ready} > {WAITING_SEGMENTS} or ({ready} > 0 and {failing} == 1)",
        hold="10m",
        severity="critical",
        summary="PostgreSQL can't archive its log",
        description=text.format("{{ $value }}"),
    )
    told = ("PostgreSQL can't archive its log", text.format(WAITING_SEGMENTS + 1))
    values = (str(WAITING_SEGMENTS), str(WAITING_SEGMENTS + 1))
    return _flag(alert, _metric("wal_ready_files"), values, told, {})


def rpo_at_risk() -> Alert:
    alert = Alert(
        name="RpoAtRisk",
        expr=f"{_age('wal_newest_timestamp_seconds')} > {RPO_SECONDS}",
        severity="critical",
        summary="what is stored now would be lost ({{ $labels.repository }})",
        description="The newest log in repository {{ $labels.repository }} is {{ $value | humanizeDuration }} old, the "
        "aim is 15 minutes: a loss of the database now would cost all that was stored since.",
        silenced_by=(Silencer("BackupSilent"),),
    )
    words = (
        "what is stored now would be lost (local)",
        "The newest log in repository local is {age} old, the aim is 15 minutes: a loss of the database now would cost "
        "all that was stored since.",
    )
    series = [_metric("wal_newest_timestamp_seconds", repository="local")]
    return _aged(alert, series, RPO_SECONDS, words, {"repository": "local"})


def log_missing() -> Alert:
    text = "{} WAL segments are missing in repository {} since its oldest backup: no restore gets past that hole."
    alert = Alert(
        name="WalSegmentsMissing",
        expr=f"max by (repository) ({PREFIX}_wal_missing_segments) > 0",
        hold="5m",
        severity="critical",
        summary="repository {{ $labels.repository }} has a hole in its log",
        description=text.format("{{ $value }}", "{{ $labels.repository }}"),
    )
    told = ("repository local has a hole in its log", text.format(3, "local"))
    return _flag(alert, _metric("wal_missing_segments", repository="local"), ("0", "3"), told)


def verification_failed() -> Alert:
    text = (
        "The last restore of repository {} to a throw-away copy did not make the same database again: do not count on "
    )
    text += "its backups until the cause is known."
    alert = Alert(
        name="RestoreVerificationFailed",
        expr=f"max by (repository) ({PREFIX}_verify_success) == 0",
        severity="critical",
        summary="the restore verification of repository {{ $labels.repository }} failed",
        description=text.format("{{ $labels.repository }}"),
    )
    told = ("the restore verification of repository local failed", text.format("local"))
    return _flag(alert, _metric("verify_success", repository="local"), ("1", "0"), told)


def verification_stale(limit: int) -> Alert:
    last = f"{PREFIX}_verify_last_success_timestamp_seconds"
    alert = Alert(
        name="RestoreVerificationStale",
        expr=f"(time() - max by (repository) ({last} or {PREFIX}_repository_up * 0 "
        f"+ on () group_left () max({PREFIX}_created_timestamp_seconds))) > {limit}",
        severity="warning",
        summary="repository {{ $labels.repository }} was not proved by a restore",
        description="The last restore that passed is {{ $value | humanizeDuration }} ago: whether today's backups of "
        "repository {{ $labels.repository }} can be restored is not known.",
        silenced_by=(
            Silencer("RestoreVerificationFailed", equal=("repository",)),
            Silencer("BackupRepositoryUnreachable", equal=("repository",)),
            Silencer("BackupSilent"),
        ),
    )
    words = (
        "repository local was not proved by a restore",
        "The last restore that passed is {age} ago: whether today's backups of repository local can be restored is not "
        "known.",
    )
    series = [_metric("verify_last_success_timestamp_seconds", repository="local")]
    return _aged(alert, series, limit, words, {"repository": "local"})


def rto_high() -> Alert:
    text = (
        "A restore of the present size from repository {} would take {} (by the last verification), the aim is 4 hours."
    )
    alert = Alert(
        name="ProjectedRtoHigh",
        expr=f"max by (repository) ({PREFIX}_projected_rto_seconds) > {RTO_SECONDS}",
        hold="15m",
        severity="warning",
        summary="a restore from repository {{ $labels.repository }} would take too long",
        description=text.format("{{ $labels.repository }}", "{{ $value | humanizeDuration }}"),
    )
    over = RTO_SECONDS + 60
    told = ("a restore from repository local would take too long", text.format("local", spoken(over)))
    return _flag(alert, _metric("projected_rto_seconds", repository="local"), (str(RTO_SECONDS), str(over)), told)


def escrow_stale(days: int, severity: Severity) -> Alert:
    text = (
        "The escrow file was never written, is older than " + f"{days} days, or secrets have changed since: with this "
    )
    text += "machine its backups would be lost too. Write it with `agentstack escrow FILE`."
    escrow = f"{PREFIX}_escrow"
    alert = Alert(
        name="EscrowStale",
        expr=f"max({escrow}_stale) == 1 or max(time() - {escrow}_timestamp_seconds > {escrow}_maximum_age_seconds) > 0",
        hold="60m",
        severity=severity,
        summary="the escrow file is missing or out of date",
        description=text,
    )
    return _flag(alert, _metric("escrow_stale"), ("0", "1"), (alert.summary, text), {})
