"""Who tries to come in, who may, and how long the certificates last."""

from alerts import names
from alerts.model import Alert, Firing, RuleGroup, Silencer, Story, selector
from components.settings import Settings

EDGE = {"job": "edge-otlp-applications", "component": "edge-otlp", "instance": "edge-otlp:8405"}
UI = {"job": "edge-ui", "component": "edge-ui", "instance": "edge-ui:8405", "proxy": "phoenix"}
INTERFACES = "phoenix|grafana|prometheus|alertmanager"
"""HAProxy's backends of the user interfaces (components/edge/templates/ui.cfg.j2)."""
DATABASE = {"job": "postgres", "component": "postgres-exporter", "instance": "postgres-exporter:9187"}
PROBE = {
    "job": "blackbox-https",
    "component": "phoenix",
    "instance": "https://edge-ui:6006/health",
    "probed": "edge-ui",
}
DAY = 86_400
LAST_DAYS = 3


def groups(settings: Settings) -> list[RuleGroup]:
    """Alerts about tokens, logins, roles and certificates."""
    limits = settings.alerting.thresholds
    return [
        RuleGroup(
            "security",
            (
                tokens_refused(limits.refused_tokens_per_minute),
                logins_refused(limits.failed_logins_per_minute),
                role_changed(),
            ),
        ),
        RuleGroup(
            "certificates",
            (
                certificate("CertificateExpiresSoon", limits.certificate_days, "warning"),
                certificate("CertificateExpiresNow", LAST_DAYS, "critical"),
            ),
        ),
    ]


def tokens_refused(per_minute: float) -> Alert:
    metric = "edge_unknown_token_requests_total"
    series = selector(metric, **EDGE)
    return Alert(
        name="TokensRefused",
        expr=f"sum by (component) (rate({metric}[5m])) * 60 > {per_minute:g}",
        hold="5m",
        severity="warning",
        summary="{{ $labels.component }} refuses tokens",
        description='{{ $value | printf "%.0f" }} requests per minute come without a known token (alert above '
        f"{per_minute:g}): an application with an old token, or somebody who tries.",
        fires=Story(
            series={series: f"0x4 0+{2 * per_minute:g}x20 {40 * per_minute:g}x20"},
            silent=("4m", "8m", "35m"),
            firing=(
                Firing(
                    at="18m",
                    labels={"component": "edge-otlp"},
                    summary="edge-otlp refuses tokens",
                    description=f"{2 * per_minute:.0f} requests per minute come without a known token (alert above "
                    f"{per_minute:g}): an application with an old token, or somebody who tries.",
                ),
            ),
        ),
        below=Story(series={series: f"0+{per_minute * 0.99:g}x40"}, silent=("18m", "40m")),
    )


def logins_refused(per_minute: float) -> Alert:
    metric = "haproxy_backend_requests_denied_total"
    series = selector(metric, **UI)
    other = selector(metric, **{**UI, "component": "edge-otlp", "proxy": "otlp_http"})
    return Alert(
        name="LoginsRefused",
        expr=f'sum by (component, proxy) (rate({metric}{{component="edge-ui", proxy=~"{INTERFACES}"}}[5m])) * 60'
        f" > {per_minute:g}",
        hold="3m",
        severity="warning",
        summary="The edge refuses logins to {{ $labels.proxy }}",
        description='{{ $value | printf "%.0f" }} requests to {{ $labels.proxy }} per minute are refused at the edge '
        "(alert above "
        f"{per_minute:g}): too many logins from one address or wrong passwords in a row, or pages of a foreign origin.",
        fires=Story(
            series={series: f"0x4 0+{2 * per_minute:g}x20 {40 * per_minute:g}x20"},
            silent=("4m", "6m", "35m"),
            firing=(
                Firing(
                    at="18m",
                    labels={"component": "edge-ui", "proxy": "phoenix"},
                    summary="The edge refuses logins to phoenix",
                    description=f"{2 * per_minute:.0f} requests to phoenix per minute are refused at the edge (alert "
                    f"above "
                    f"{per_minute:g}): too many logins from one address or wrong passwords in a row, or pages of a "
                    f"foreign "
                    "origin.",
                ),
            ),
        ),
        # What is refused on the way of the spans has alerts of its own.
        below=Story(series={series: f"0+{per_minute * 0.99:g}x40", other: "0+1000x40"}, silent=("18m", "40m")),
    )


def role_changed() -> Alert:
    """A role that was not there ten minutes ago, or is no more; the first look at a new database compares nothing."""
    metric = "pg_roles_connection_limit"
    before = f"max by (component, rolname) (last_over_time({metric}[30m] offset 10m))"
    now = f"max by (component, rolname) (last_over_time({metric}[10m]))"
    added = f"({now} unless {before}) and on () count({before}) > 0"
    gone = f"{before} unless {now}"
    owner = selector(metric, **DATABASE, rolname="phoenix")
    intruder = selector(metric, **DATABASE, rolname="mallory")
    words = "The role mallory of PostgreSQL was {}"
    return Alert(
        name="DatabaseRoleChanged",
        expr=f'label_replace({added}, "change", "added", "", "") or label_replace({gone}, "change", "removed", "", "")',
        severity="warning",
        summary="The role {{ $labels.rolname }} of PostgreSQL was {{ $labels.change }}",
        description="The role {{ $labels.rolname }} was {{ $labels.change }} a short while ago. The stack "
        "changes roles "
        "only when its settings change; PostgreSQL's audit log says who did it.",
        fires=Story(
            series={owner: "-1x80", intruder: "_x20 -1x10 stale"},
            silent=("15m", "19m", "33m", "75m"),
            firing=(
                Firing(
                    at="25m",
                    labels={"component": "postgres-exporter", "rolname": "mallory", "change": "added"},
                    summary=words.format("added"),
                    description="The role mallory was added a short while ago. The stack changes roles only "
                    "when its "
                    "settings change; PostgreSQL's audit log says who did it.",
                ),
                Firing(
                    at="45m",
                    labels={"component": "postgres-exporter", "rolname": "mallory", "change": "removed"},
                    summary=words.format("removed"),
                    description="The role mallory was removed a short while ago. The stack changes roles "
                    "only when its "
                    "settings change; PostgreSQL's audit log says who did it.",
                ),
            ),
        ),
        # A new database; and an exporter that was away for a few minutes.
        below=Story(series={owner: "_x3 -1x20 stale _x6 -1x40"}, silent=("3m", "10m", "28m", "35m", "60m")),
        silenced_by=(Silencer("PostgresDown"), Silencer("ServiceDown", when={"component": "postgres-exporter"})),
    )


def certificate(name: str, days: int, severity: str) -> Alert:
    probed = 'label_replace(probe_ssl_earliest_cert_expiry, "component", "$1", "probed", "(.+)")'
    ends = f"min by (component) ({probed} or {names.CERTIFICATE_END})"
    seen = selector("probe_ssl_earliest_cert_expiry", **PROBE)
    declared = selector(names.CERTIFICATE_END, component="postgres")
    urgent = severity == "critical"
    summary = "The certificate of {} ends"
    description = "The certificate of {} ends in {}; its clients will then refuse it. Any `up` renews it."
    # The stories begin at the epoch: a certificate that ends `days` days and some hours later.
    late = days * DAY + 3600 * 4
    return Alert(
        name=name,
        expr=f"{ends} - time() < {days * DAY}",
        hold="1m",
        severity="critical" if urgent else "warning",
        summary=summary.format("{{ $labels.component }}"),
        description=description.format("{{ $labels.component }}", "{{ $value | humanizeDuration }}"),
        fires=Story(
            # After six hours both are under the limit; after seven a new one is in place.
            series={
                seen: f"{late}x84 {late * 10}x30",
                declared: f"{late}x84 {late * 10}x30",
            },
            interval="5m",
            silent=("3h55m", "4h", "8h"),
            firing=tuple(
                Firing(
                    at="6h",
                    labels={"component": service},
                    summary=summary.format(service),
                    description=description.format(service, f"{days - 1}d 22h 0m 0s"),
                )
                for service in ("edge-ui", "postgres")
            ),
        ),
        below=Story(series={seen: f"{late}x50", declared: f"{late}x50"}, interval="5m", silent=("3h", "4h")),
        silenced_by=() if urgent else (Silencer("CertificateExpiresNow", equal=("component",)),),
    )
