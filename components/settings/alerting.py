"""When to alert, whom to tell, and who may look: thresholds, budgets, receivers, maintenance, Grafana's users.

The dashboards draw their thresholds from the same values. Credentials never stand in a stack file: a receiver names
a file on this machine (below the checkout's ``.agentstack/`` is a good place), which goes encrypted into the state and
as a file of mode 0400 into Alertmanager's container.
"""

import json
from pathlib import Path
from typing import Annotated, Final, Literal, Self

import yaml
from pydantic import AfterValidator, Field, StringConstraints, model_validator

from components.settings.base import Model, Ratio
from components.settings.sizing import Size

ROOT: Final = Path(__file__).resolve().parents[2]
MAX_FILE_BYTES: Final = 512 * 1024

Usd = Annotated[float, Field(gt=0, le=100_000_000)]
Seconds = Annotated[float, Field(gt=0, le=86_400)]
Minutes = Annotated[int, Field(ge=1, le=10_080)]
Severity = Literal["critical", "warning", "info"]
ClockTime = Annotated[str, StringConstraints(pattern=r"^(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)$")]
Weekday = Literal["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
MailAddress = Annotated[str, StringConstraints(pattern=r"^[^@\s]+@[^@\s]+$", max_length=254)]
Login = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9._-]{0,39}$")]


def _readable(value: str) -> str:
    """A path of this machine, relative to the checkout or absolute, to a small file that is not empty."""
    path = ROOT / value
    try:
        text = path.read_bytes()
    except OSError as error:
        raise ValueError(
            f"{path} can't be read ({error.strerror}); write that file (a credential: on one line, mode 0600)"
        ) from error
    if not text.strip() or len(text) > MAX_FILE_BYTES:
        raise ValueError(f"{path} is empty or larger than {MAX_FILE_BYTES} bytes")
    return value


MachineFile = Annotated[str, StringConstraints(min_length=1, max_length=4096), AfterValidator(_readable)]


def read_machine_file(value: str) -> str:
    """The text of a :data:`MachineFile`, without the newline at its end."""
    return (ROOT / value).read_text(encoding="utf-8").strip()


def _rule_file(value: str) -> str:
    """YAML with a list ``groups``, each with a name and rules; Prometheus itself checks the expressions."""
    try:
        content = yaml.safe_load(read_machine_file(value))
    except yaml.YAMLError as error:
        raise ValueError(f"{value} is no YAML: {error}") from error
    groups = content.get("groups") if isinstance(content, dict) else None
    if not isinstance(groups, list) or not all(
        isinstance(one, dict) and one.keys() >= {"name", "rules"} for one in groups
    ):
        raise ValueError(f"{value} is no rule file: it needs a list `groups`, each with `name` and `rules`")
    return value


def _dashboard_file(value: str) -> str:
    """JSON in Grafana's classic schema: the newer one can't be provisioned from files."""
    try:
        content = json.loads(read_machine_file(value))
    except json.JSONDecodeError as error:
        raise ValueError(f"{value} is no JSON: {error}") from error
    if not isinstance(content, dict) or not {"title", "uid", "panels"} <= content.keys():
        raise ValueError(f"{value} is no dashboard in the classic schema: it needs `title`, `uid` and `panels`")
    return value


RuleFile = Annotated[MachineFile, AfterValidator(_rule_file)]
DashboardFile = Annotated[MachineFile, AfterValidator(_dashboard_file)]


class Thresholds(Model):
    """The values above (or below) which an alert fires."""

    error_ratio: Ratio = 0.10
    """Share of failed requests (root and LLM spans), per service, over 5 minutes."""
    latency_p95_seconds: Seconds = 10.0
    """95th percentile of the duration of requests (root and LLM spans), per service, over 5 minutes."""
    memory_ratio: Ratio = 0.85
    """A container's memory as a share of its limit."""
    cpu_throttled_ratio: Ratio = 0.25
    """Share of the scheduling periods in which a container was held back by its CPU limit."""
    host_memory_ratio: Ratio = 0.92
    """The host's memory in use as a share of all."""
    disk_free_ratio: Ratio = 0.10
    """Free space of a file system as a share of its size."""
    disk_full_hours: Annotated[int, Field(ge=1, le=720)] = 24
    """Alert when a file system would be full within this many hours at its present pace."""
    certificate_days: Annotated[int, Field(ge=1, le=365)] = 21
    """Alert when a certificate ends within this many days (any `up` renews our own in their last 30)."""
    collector_queue_ratio: Ratio = 0.60
    """Fill of the Collector's disk queue towards Phoenix."""
    phoenix_queue_ratio: Ratio = 0.50
    """Fill of Phoenix's queue of spans in memory (``phoenix.spanQueue``)."""
    connections_ratio: Ratio = 0.80
    """PostgreSQL connections as a share of those that are allowed."""
    transaction_minutes: Minutes = 30
    """Age of the oldest transaction."""
    dead_tuple_ratio: Ratio = 0.20
    """Share of dead rows in a table of more than 10 000 rows."""
    wraparound_ratio: Ratio = 0.50
    """Age of the oldest transaction id as a share of what PostgreSQL can bear."""
    statement_milliseconds: Annotated[float, Field(gt=0, le=600_000)] = 500.0
    """Mean duration of the SQL statements of one role."""
    refused_tokens_per_minute: Annotated[float, Field(gt=0, le=1_000_000)] = 6.0
    """Requests with an unknown token at the edges."""
    failed_logins_per_minute: Annotated[float, Field(gt=0, le=1_000_000)] = 5.0
    """Requests to one user interface that the edge refuses: too many logins, wrong passwords in a row."""
    silent_minutes: Annotated[int, Field(ge=5, le=1440)] = 15
    """How long a service that always sends may be silent."""


class Budget(Model):
    """What may be spent, in US dollars."""

    per_hour_usd: Usd | None = None
    """In any 60 minutes; none for no limit."""
    per_day_usd: Usd | None = None
    """In any 24 hours, and by the forecast of the day's end (UTC); none for no limit."""


class StackBudget(Budget):
    """The budget of the whole stack."""

    per_hour_usd: Usd | None = 100.0
    """In any 60 minutes, all projects together; none for no limit."""
    per_day_usd: Usd | None = 1000.0
    """In any 24 hours, and by the forecast of the day's end (UTC), all projects together; none for no limit."""


Availability = Annotated[float, Field(ge=0.5, le=0.99999)]


class Objectives(Model):
    """Service level objectives over 30 days. The alerts watch how fast the rest, the error budget, is used up."""

    ingest: Availability = 0.999
    """Share of the accepted OTLP requests that are answered without an error of ours."""
    services: Annotated[dict[str, Availability], Field(max_length=100)] = Field(default_factory=dict)
    """Share of the requests (root and LLM spans) of a service (label ``service``) that succeed."""


class _Receiver(Model):
    severities: Annotated[tuple[Severity, ...], Field(min_length=1)] = ("critical", "warning")
    """Which alerts it is told."""
    resolved: bool = True
    """Also tell when an alert is over."""


class WebhookReceiver(_Receiver):
    """Alertmanager's JSON by POST to a URL."""

    type: Literal["webhook"]
    """Alertmanager's JSON by POST."""
    url_file: MachineFile
    """File with the URL."""
    bearer_token_file: MachineFile | None = None
    """File with a token that is sent along."""
    ca_file: MachineFile | None = None
    """PEM file of the certificate authority of the URL's host, where it is not a public one."""


class SlackReceiver(_Receiver):
    """A message in a Slack channel."""

    type: Literal["slack"]
    """A message in a Slack channel."""
    api_url_file: MachineFile
    """File with the incoming webhook's URL."""
    channel: Annotated[str, StringConstraints(min_length=1, max_length=80)]
    """Channel or user, such as #alerts."""


class EmailReceiver(_Receiver):
    """An e-mail by SMTP; TLS is required."""

    type: Literal["email"]
    """An e-mail by SMTP; TLS is required."""
    to: Annotated[tuple[MailAddress, ...], Field(min_length=1)]
    """Addressees."""
    sender: MailAddress
    """Address in From."""
    server: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9.-]+:[0-9]{1,5}$")]
    """``host:port`` of the mail server (587 with STARTTLS, or 465)."""
    username: Annotated[str, StringConstraints(min_length=1, max_length=254)] | None = None
    """Login at the mail server."""
    password_file: MachineFile | None = None
    """File with the password of that login."""
    ca_file: MachineFile | None = None
    """PEM file of the certificate authority of the mail server, where it is not a public one."""

    @model_validator(mode="after")
    def _login_is_whole(self) -> Self:
        if (self.username is None) != (self.password_file is None):
            raise ValueError("username and passwordFile belong together; set both or none")
        return self


class PagerDutyReceiver(_Receiver):
    """An event at PagerDuty (Events API v2)."""

    type: Literal["pagerduty"]
    """An event at PagerDuty (Events API v2)."""
    severities: Annotated[tuple[Severity, ...], Field(min_length=1)] = ("critical",)
    """Which alerts it is told."""
    routing_key_file: MachineFile
    """File with the integration's routing key."""


Receiver = Annotated[WebhookReceiver | SlackReceiver | EmailReceiver | PagerDutyReceiver, Field(discriminator="type")]


class DeadMansSwitch(Model):
    """A service outside that alarms when it hears nothing: it is told all the time that alerting works."""

    url_file: MachineFile
    """File with the URL that is posted to."""
    interval_seconds: Annotated[int, Field(ge=10, le=3600)] = 60
    """How often."""
    ca_file: MachineFile | None = None
    """PEM file of the certificate authority of the URL's host, where it is not a public one."""


class MaintenanceWindow(Model):
    """A regular time in which nobody is told (the dead man's switch goes on)."""

    start: ClockTime
    """HH:MM."""
    end: ClockTime
    """HH:MM, later on the same day; 24:00 for its end."""
    weekdays: tuple[Weekday, ...] = ()
    """Empty for every day."""
    days_of_month: Annotated[tuple[Annotated[int, Field(ge=-31, le=31)], ...], Field(max_length=31)] = ()
    """1 to 31, or -1 for the last day; empty for every day."""
    time_zone: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_+/-]{1,64}$")] = "UTC"
    """Name in the tz database, such as Europe/Berlin."""
    severities: Annotated[tuple[Severity, ...], Field(min_length=1)] = ("critical", "warning", "info")
    """Which alerts are held back."""

    @model_validator(mode="after")
    def _start_comes_first(self) -> Self:
        if self.start >= self.end:
            raise ValueError(f"start {self.start} is not before end {self.end}; split a window that crosses midnight")
        if 0 in self.days_of_month:
            raise ValueError("daysOfMonth holds 0; days count from 1, or from -1 backwards")
        return self


class AlertingSettings(Model):
    """Rules, budgets and who is told."""

    thresholds: Thresholds = Thresholds()
    budget: StackBudget = StackBudget()
    project_budgets: Annotated[dict[str, Budget], Field(max_length=200)] = Field(default_factory=dict)
    """Budgets of single projects, by the project's name."""
    objectives: Objectives = Objectives()
    always_sending: Annotated[tuple[str, ...], Field(max_length=200)] = ()
    """Services (label ``service``) that must never be silent; others are only missed when they always had traffic."""
    disabled: Annotated[tuple[str, ...], Field(max_length=100)] = ()
    """Names of alerts that are left out."""

    runbooks: Annotated[str, StringConstraints(pattern=r"^[^\s]+$", max_length=500)] = "docs/runbooks"
    """Where the runbooks are served, for the links in notifications, such as a URL of this checkout's docs/runbooks."""
    rule_files: Annotated[tuple[RuleFile, ...], Field(max_length=50)] = ()
    """Rule files of your own, relative to the checkout: loaded beside ours."""
    dashboard_files: Annotated[tuple[DashboardFile, ...], Field(max_length=50)] = ()
    """Grafana dashboards of your own (JSON, classic schema), relative to the checkout: shown in the folder Own."""

    receivers: Annotated[dict[str, Receiver], Field(max_length=50)] = Field(default_factory=dict)
    """Whom Alertmanager tells, by a name of your own; without any, alerts are seen in the user interfaces only."""
    dead_mans_switch: DeadMansSwitch | None = None
    maintenance: Annotated[dict[str, MaintenanceWindow], Field(max_length=50)] = Field(default_factory=dict)
    group_wait_seconds: Annotated[int, Field(ge=0, le=600)] = 30
    """How long the first notification of a group waits for more of it (critical alerts: a third of it)."""
    group_interval_seconds: Annotated[int, Field(ge=1, le=86_400)] = 300
    """How long news about a group that was notified wait."""
    repeat_critical_hours: Annotated[int, Field(ge=1, le=168)] = 1
    """When a critical alert that goes on is told again."""
    repeat_hours: Annotated[int, Field(ge=1, le=720)] = 12
    """When any other alert that goes on is told again."""

    @model_validator(mode="after")
    def _own_files_differ(self) -> Self:
        for field, paths in (("ruleFiles", self.rule_files), ("dashboardFiles", self.dashboard_files)):
            names = [Path(path).name for path in paths]
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice:
                raise ValueError(f"{field} holds several files called {', '.join(twice)}; give each a name of its own")
        return self

    @model_validator(mode="after")
    def _projects_spend_something(self) -> Self:
        empty = sorted(
            name
            for name, budget in self.project_budgets.items()
            if budget.per_hour_usd is None and budget.per_day_usd is None
        )
        if empty:
            raise ValueError(f"projectBudgets without a limit: {', '.join(empty)}; set perHourUsd or perDayUsd")
        return self

    def own_rules(self) -> dict[str, str]:
        """File name -> text of the rule files of one's own."""
        return {Path(path).name: read_machine_file(path) + "\n" for path in self.rule_files}

    def own_dashboards(self) -> dict[str, str]:
        """File name -> text of the dashboards of one's own."""
        return {Path(path).name: read_machine_file(path) + "\n" for path in self.dashboard_files}

    @property
    def calls_out(self) -> bool:
        """Whether Alertmanager needs a way to the outside."""
        return bool(self.receivers) or self.dead_mans_switch is not None


class GrafanaUser(Model):
    """One login besides the administrator's; its password is generated."""

    role: Literal["Viewer", "Editor", "Admin"]
    """Role in the organisation: a Viewer can't change anything."""


class GrafanaSettings(Size):
    """Grafana."""

    cpus: Annotated[float, Field(gt=0, le=256)] = 1.0
    memory_mib: Annotated[int, Field(ge=64, le=4_194_304)] = 256
    users: Annotated[dict[Login, GrafanaUser], Field(max_length=200)] = Field(
        default_factory=lambda: {
            "editor": GrafanaUser.model_validate({"role": "Editor"}),
            "viewer": GrafanaUser.model_validate({"role": "Viewer"}),
        }
    )
    """Logins by name. One that is removed here is removed from Grafana; those made in Grafana itself are left alone."""

    @model_validator(mode="after")
    def _admin_is_ours(self) -> Self:
        if "admin" in self.users:
            raise ValueError("users names `admin`, which is the administrator that always exists; choose another name")
        return self
