"""What the applications do: errors, response times, providers, prices, silence."""

from alerts import names
from alerts.model import Alert, Firing, RuleGroup, Silencer, Story, percent, selector
from components.settings import Settings

SMOKE = "agentstack-smoke"
SHOP = {"project": "shop", "service": "shop-chat", "model": "gpt-4o", "provider": "openai"}
COLLECTOR_DOWN = Silencer("ServiceDown", when={"component": "collector"})
PROVIDER_FAILS = 0.5
"""Share of a provider's calls from which on its outage is the likelier cause."""
LEAST_REQUESTS = 10
"""Requests in five minutes from which on a share means something."""


def groups(settings: Settings) -> list[RuleGroup]:
    """Alerts about requests and LLM calls."""
    limits = settings.alerting.thresholds
    return [
        RuleGroup(
            "llm",
            (
                error_rate(limits.error_ratio),
                latency(limits.latency_p95_seconds),
                provider_failing(),
                model_unpriced(),
                usage_missing(),
                traffic_stopped(limits.silent_minutes, settings.alerting.always_sending),
            ),
        )
    ]


def spans(status: str = "ok", root: str = "false", kind: str = "LLM", cost_source: str = "table", **more: str) -> str:
    """A series of the span counter."""
    labels = {**SHOP, "span_kind": kind, "root": root, "status": status, "cost_source": cost_source, **more}
    return selector(names.SPANS, **labels)


def error_rate(ratio: float) -> Alert:
    # Per minute 1000 requests; the failing share lies halfway between the threshold and all, or just below it.
    above, below = round(1000 * (1 + ratio) / 2), round(1000 * ratio * 0.95)
    return Alert(
        name="LlmErrorRateHigh",
        expr=f"{names.ERROR_RATIO} > {ratio:g} and {names.REQUEST_RATE} * 300 >= {LEAST_REQUESTS}",
        hold="2m",
        severity="critical",
        summary="Requests of {{ $labels.service }} fail",
        description="{{ $value | humanizePercentage }} of the requests (root spans and LLM calls) of "
        f"{{{{ $labels.service }}}} failed within 5 minutes (alert above {ratio:.0%}).",
        fires=Story(
            series={
                spans("ok"): f"0+{1000 - above}x30 {(1000 - above) * 30}+1000x20",
                spans("error", cost_source="no_usage"): f"0+{above}x30 {above * 30}x20",
            },
            silent=("2m", "40m"),
            firing=(
                Firing(
                    at="15m",
                    labels={"service": "shop-chat"},
                    summary="Requests of shop-chat fail",
                    description=f"{percent(above / 1000)} of the requests (root spans and LLM calls) of shop-chat "
                    f"failed "
                    f"within 5 minutes (alert above {ratio:.0%}).",
                ),
            ),
        ),
        below=Story(
            series={
                spans("ok"): f"0+{1000 - below}x30",
                spans("error", cost_source="no_usage"): f"0+{below}x30",
                # Nine requests in five minutes, all failed: too few to wake somebody.
                spans("error", cost_source="no_usage", service="rare"): "0x10 9x20",
            },
            silent=("12m", "15m", "30m"),
        ),
        silenced_by=(Silencer("LlmProviderFailing"),),
    )


def latency(seconds: float) -> Alert:
    labels = {**SHOP, "span_kind": "LLM", "root": "false", "status": "ok"}

    def bucket(le: str) -> str:
        return selector(f"{names.DURATION}_bucket", **labels, le=le)

    return Alert(
        name="LlmLatencyHigh",
        expr=f"{names.LATENCY.format(quantile=95)} > {seconds:g} and {names.REQUEST_RATE} * 300 >= {LEAST_REQUESTS}",
        hold="2m",
        severity="critical",
        summary="Requests of {{ $labels.service }} are slow",
        description="5% of the requests (root spans and LLM calls) of {{ $labels.service }} take "
        "{{ $value | humanizeDuration }} "
        f"or longer (alert above {seconds:g}s).",
        fires=Story(
            # 90 of 100 end within the threshold, the other 10 within twice of it: the 95th is in the middle of them.
            series={
                spans("ok"): "0+100x50",
                bucket(f"{seconds:g}"): "0+90x30 2700+100x20",
                bucket(f"{2 * seconds:g}"): "0+100x50",
                bucket("+Inf"): "0+100x50",
            },
            silent=("2m", "40m"),
            firing=(
                Firing(
                    at="15m",
                    labels={"service": "shop-chat"},
                    summary="Requests of shop-chat are slow",
                    description="5% of the requests (root spans and LLM calls) of shop-chat take "
                    f"{1.5 * seconds:g}s or longer (alert above {seconds:g}s).",
                ),
            ),
        ),
        below=Story(
            # 95 of 100 end within the threshold: the 95th percentile is the threshold itself.
            series={
                spans("ok"): "0+100x50",
                bucket(f"{seconds:g}"): "0+95x50",
                bucket(f"{2 * seconds:g}"): "0+100x50",
                bucket("+Inf"): "0+100x50",
            },
            silent=("15m", "50m"),
        ),
        silenced_by=(Silencer("LlmProviderFailing"),),
    )


def provider_failing() -> Alert:
    return Alert(
        name="LlmProviderFailing",
        expr=f"{names.PROVIDER_ERROR_RATIO} > {PROVIDER_FAILS} and on (provider) "
        f'sum by (provider) (increase({names.SPANS}{{span_kind="LLM"}}[5m])) >= {LEAST_REQUESTS}',
        hold="2m",
        severity="warning",
        summary="The provider {{ $labels.provider }} fails",
        description="{{ $value | humanizePercentage }} of the LLM calls to {{ $labels.provider }}, from all "
        "services, failed "
        "within 5 minutes.",
        fires=Story(
            series={spans("ok"): "0+2x30 60+10x20", spans("error", cost_source="no_usage"): "0+8x30 240x20"},
            silent=("2m", "40m"),
            firing=(
                Firing(
                    at="15m",
                    labels={"provider": "openai"},
                    summary="The provider openai fails",
                    description="80% of the LLM calls to openai, from all services, failed within 5 minutes.",
                ),
            ),
        ),
        below=Story(
            series={spans("ok"): "0+5x30", spans("error", cost_source="no_usage"): "0+5x30"}, silent=("15m", "30m")
        ),
    )


def model_unpriced() -> Alert:
    return Alert(
        name="LlmModelUnpriced",
        expr=f'sum by (model, provider, project) (increase({names.SPANS}{{cost_source="unpriced"}}[15m])) > 0.5',
        hold="5m",
        severity="warning",
        summary="The model {{ $labels.model }} has no price",
        description='{{ $value | printf "%.0f" }} LLM calls of project {{ $labels.project }} to {{ $labels.model }} '
        "({{ $labels.provider }}) within 15 minutes have no price: they are missing in every cost and budget.",
        fires=Story(
            series={spans(cost_source="unpriced", model="acme-7b", provider="acme"): "0x4 0+1x20 20x40"},
            silent=("4m", "8m", "60m"),
            firing=(
                Firing(
                    at="20m",
                    labels={"model": "acme-7b", "provider": "acme", "project": "shop"},
                    summary="The model acme-7b has no price",
                    description="15 LLM calls of project shop to acme-7b (acme) within 15 minutes have no price: "
                    "they are "
                    "missing in every cost and budget.",
                ),
            ),
        ),
        # Calls with a price, and one that was long ago.
        below=Story(
            series={spans(): "0+10x60", spans(cost_source="unpriced", model="acme-7b"): "5x60"}, silent=("20m", "60m")
        ),
    )


def usage_missing() -> Alert:
    matchers = 'cost_source="no_usage", status="ok", span_kind="LLM"'
    return Alert(
        name="LlmUsageMissing",
        expr=f"sum by (service, provider) (increase({names.SPANS}{{{matchers}}}[15m])) > 0.5",
        hold="15m",
        severity="info",
        summary="LLM calls of {{ $labels.service }} report no token usage",
        description='{{ $value | printf "%.0f" }} successful LLM calls of {{ $labels.service }} to '
        "{{ $labels.provider }} within "
        "15 minutes say nothing about tokens: they are missing in every cost and budget.",
        fires=Story(
            series={spans(cost_source="no_usage"): "0x4 0+2x40 80x40"},
            silent=("10m", "18m", "70m"),
            firing=(
                Firing(
                    at="30m",
                    labels={"service": "shop-chat", "provider": "openai"},
                    summary="LLM calls of shop-chat report no token usage",
                    description="30 successful LLM calls of shop-chat to openai within 15 minutes say nothing about "
                    "tokens: "
                    "they are missing in every cost and budget.",
                ),
            ),
        ),
        # A call that failed has used nothing.
        below=Story(series={spans("error", cost_source="no_usage"): "0+2x80"}, silent=("30m", "80m")),
    )


def traffic_stopped(minutes: int, always: tuple[str, ...]) -> Alert:
    """Silent now, although the last day (without its last hour) was never silent, or the settings say so."""
    silence = f'sum by (service) (increase({names.SPANS}{{service!="{SMOKE}"}}[{minutes}m])) == 0'
    used_to = f"avg_over_time(({names.SPAN_RATE} > bool 0)[1d:5m] offset 1h) > 0.98"
    known = f"{names.SPAN_RATE} offset 1d > 0"
    listed = ""
    if always:
        anyone = "|".join(always)
        listed = f' or ({silence} and on (service) {names.SPANS}{{service=~"{anyone}"}})'
    return Alert(
        name="LlmTrafficStopped",
        expr=f"({silence} and on (service) ({used_to}) and on (service) ({known})){listed}",
        hold="1m",
        severity="warning",
        summary="{{ $labels.service }} sends no spans any more",
        description=f"{{{{ $labels.service }}}} has sent no span for {minutes} minutes, and it was never silent for "
        f"the day "
        "before that.",
        fires=Story(
            series={spans(): "0+10x300 3000x24 3000+10x20"},
            interval="5m",
            silent=("24h", "25h10m", "27h40m"),
            firing=(
                Firing(
                    at=f"{25 * 60 + minutes + 10}m",
                    labels={"service": "shop-chat"},
                    summary="shop-chat sends no spans any more",
                    description=f"shop-chat has sent no span for {minutes} minutes, and it was never silent for the "
                    f"day before "
                    "that.",
                ),
            ),
        ),
        # Silent for an hour each night; and the stack's own checks come and go.
        below=Story(
            series={
                spans(service="night-job"): "0+10x100 1000x12 1000+10x188 2880x24",
                spans(service=SMOKE): "0+10x300 3000x24",
            },
            interval="5m",
            silent=("25h20m", "26h"),
        ),
        silenced_by=(
            COLLECTOR_DOWN,
            Silencer("ServiceDown", when={"component": "edge-otlp"}),
            Silencer("EdgeBackendDown"),
        ),
    )
