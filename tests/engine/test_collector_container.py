"""The real Collector: who gets in, what reaches (a fake) Phoenix and in which form, and that the numbers are right."""

import contextlib
import http.client
import json
import re
import secrets
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import grpc
import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import AGGREGATION_TEMPORALITY_CUMULATIVE as CUMULATIVE
from opentelemetry.proto.metrics.v1.metrics_pb2 import AGGREGATION_TEMPORALITY_DELTA as DELTA

from components.collector import names, receive
from components.collector.privacy import pseudonym
from components.names import LIVE_DIR, Port
from tests.engine.collector_lab import (
    LOG_EXPORT,
    PSEUDONYM_KEY,
    Collector,
    CollectorLab,
    Series,
    Span,
    any_value,
    attributes,
    export,
    token_lines,
)
from tests.engine.database_lab import docker, eventually
from tests.engine.llm_spans import PROJECTS, Traffic

pytestmark = pytest.mark.engine

TOKENS = {"chat": "token-of-chat", "secretive": "token-of-secretive", "open": "token-of-open", "thin": "token-of-thin"}
TOKEN = TOKENS["chat"]
SETTINGS: dict[str, Any] = {
    "applications": {
        "chat": {},
        "secretive": {"capture": "metadata-only", "project": "search"},
        "open": {"capture": "full"},
        "thin": {"headSampling": 0.25},
    },
    "telemetry": {"projects": list(PROJECTS[1:]), "redaction": {"patterns": {"badge": r"ACME-\d{6}"}}},
}
LLM = {"openinference.span.kind": "LLM"}


@pytest.fixture(scope="module")
def lab() -> Iterator[CollectorLab]:
    made = CollectorLab()
    try:
        yield made
    finally:
        made.close()


@pytest.fixture(scope="module")
def collector(lab: CollectorLab) -> Collector:
    return lab.start("collector", TOKENS, SETTINGS)


def ids(spans: list[Span]) -> set[str]:
    return {span.id.hex() for span in spans}


def flat(span: dict[str, Any]) -> dict[str, Any]:
    """A received span's attributes as plain values."""
    return {
        item["key"]: next(iter(item["value"].values()), None) if item.get("value") else None
        for item in span["span"].get("attributes", [])
    }


def received(collector: Collector, *spans: Span, application: str = "chat", **resource: Any) -> list[dict[str, Any]]:
    """Send spans and return them as they reached Phoenix, in the order sent."""
    body = export(spans, {"service.name": "bot", **{key.replace("_", "."): v for key, v in resource.items()}})
    assert collector.send(body, TOKENS[application], application)[0] == 200
    found = collector.lab.wait_for(ids(list(spans)))
    return [found[span.id.hex()] for span in spans]


# ---- who gets in


@pytest.mark.parametrize(
    "raw",
    [
        {},
        {"production": True, "collector": {"replicas": 3}},
        {"telemetry": {"redaction": {"builtin": []}, "pseudonyms": False}},
        {
            "applications": {"a": {"capture": "full", "headSampling": 0.25}, "b": {"headSampling": 0}},
            "telemetry": {
                "tailSampling": {"enabled": True, "hotRoutes": ["/a.b"], "maxSpansPerSecond": 5},
                "routes": [{"route": "/x$", "ratio": 0.5, "application": "a"}],
                "services": ['we"ird\\'],
                "redaction": {"patterns": {"badge": r"ACME-\d{6}$"}},
                "applicationMetrics": {"names": ["my.metric"], "attributes": {"queue": ["a", "b$"]}},
            },
        },
    ],
)
def test_the_collector_accepts_what_is_rendered(lab: CollectorLab, raw: dict[str, Any]) -> None:
    lab.validate(raw)


def test_a_token_is_needed_by_http_and_grpc(collector: Collector) -> None:
    body = export([Span()])
    assert [collector.send(body, token)[0] for token in (TOKEN, None, "wrong", TOKEN[:-1])] == [200, 401, 401, 401]
    assert [collector.send_grpc(body, token) for token in (TOKEN, None, "wrong")] == [
        grpc.StatusCode.OK,
        grpc.StatusCode.UNAUTHENTICATED,
        grpc.StatusCode.UNAUTHENTICATED,
    ]


def test_logs_are_refused(collector: Collector) -> None:
    assert collector.send(b"", TOKEN, path="/v1/logs")[0] == 404
    assert collector.send_grpc(b"", TOKEN, LOG_EXPORT) is grpc.StatusCode.UNIMPLEMENTED


def test_an_empty_request_is_fine(collector: Collector) -> None:
    assert collector.send(b'{"resourceSpans": []}', TOKEN, kind="application/json")[0] == 200


@pytest.mark.parametrize("port", [Port.COLLECTOR_TELEMETRY, Port.COLLECTOR_METRICS, Port.COLLECTOR_APPLICATIONS])
def test_metrics_are_for_prometheus_alone(collector: Collector, port: int) -> None:
    assert [collector.page(port, password)[0] for password in (None, "wrong")] == [401, 401]
    assert collector.page(port)[0] == 200


def test_a_new_token_needs_no_restart(collector: Collector) -> None:
    started = docker("inspect", "-f", "{{.State.StartedAt}}", collector.container)
    fresh = f"token-{secrets.token_hex(8)}"
    body = export([Span()])
    assert collector.send(body, fresh)[0] == 401
    lines = token_lines({**TOKENS, "late": fresh})
    collector.probe()
    collector.lab.carry(f"{collector.called}-live", LIVE_DIR, {receive.TOKENS_FILE: lines})

    # Docker runs the health check every few seconds; the second that sees the same change asks for the reload.
    eventually(lambda: "SIGHUP" in collector.probe(), "the health check asks for a reload", 30)

    def known() -> bool:
        with contextlib.suppress(OSError, http.client.HTTPException):
            return collector.send(body, fresh)[0] == 200
        return False

    eventually(known, "the new token is known", 60)
    collector.wait()
    assert docker("inspect", "-f", "{{.State.StartedAt}}", collector.container) == started


# ---- what reaches Phoenix


def test_service_environment_and_project_are_filled_in(collector: Collector) -> None:
    [span] = received(collector, Span(), service_name="unknown_service:python")
    assert flat(span)["service.name"] == "chat"
    assert flat(span)["deployment.environment"] == "development"
    resource = {item["key"]: item["value"]["stringValue"] for item in span["resource"]["attributes"]}
    assert resource["openinference.project.name"] == "agentstack-production"


def test_the_application_is_known_by_grpc_too(collector: Collector) -> None:
    span = Span()
    assert collector.send_grpc(export([span], {}), TOKEN) is grpc.StatusCode.OK
    assert flat(collector.lab.wait_for(ids([span]))[span.id.hex()])["service.name"] == "chat"


def test_an_applications_own_project_is_used_only_where_the_span_names_none(collector: Collector) -> None:
    body = [export([Span(name=name)], resource) for name, resource in (
        ("none", {}), ("own", {"openinference.project.name": "mine"})
    )]  # fmt: skip
    for request in body:
        assert collector.send(request, TOKENS["secretive"], "secretive")[0] == 200

    def projects() -> dict[str, str]:
        return {
            span["span"]["name"]: item["value"]["stringValue"]
            for span in collector.lab.phoenix()["spans"]
            for item in span["resource"]["attributes"]
            if item["key"] == "openinference.project.name" and span["span"]["name"] in {"none", "own"}
        }

    eventually(lambda: len(projects()) == 2, "both arrive", 30)
    assert projects() == {"none": "search", "own": "mine"}


PLANTED = {
    "email": "jane.doe@example.org",
    "card": "4111 1111 1111 1111",
    "iban": "DE89 3704 0044 0532 0130 00",
    "phone": "+49 30 1234567",
    "api-key": "sk-abcdefghijklmnopqrstuvwxyz123456",
    "authorization": "Bearer abcdefghijklmnop",
    "badge": "ACME-123456",
}


def planted_span() -> Span:
    text = " and ".join(PLANTED.values())
    values: dict[str, Any] = {
        **LLM,
        "input.value": f"first {text} last",
        "list": ["a", text],
        "map": {"deep": {"deeper": text}},
        "gen_ai.input.messages": [{"role": "user", "parts": [{"type": "text", "content": text}]}],
        "http.request.header.authorization": ["Bearer xyz"],
        "my_api_key": "short",
        "llm.token_count.prompt": 7,
    }
    events = [("exception", {"exception.message": text, "exception.type": "ValueError", "more": [text]})]
    return Span(values, f"for {PLANTED['email']}", error=f"failed: {text}", events=events)


def test_personal_data_and_credentials_are_masked_wherever_they_stand(collector: Collector) -> None:
    [span] = received(collector, planted_span())
    told = json.dumps(span, ensure_ascii=False)
    assert {name: secret for name, secret in PLANTED.items() if secret in told} == {}
    assert {name for name in PLANTED if f"[{name}]" not in told} == set()
    values = flat(span)
    assert "Bearer xyz" not in told
    assert "my_api_key" not in values
    assert values["llm.token_count.prompt"] == "7"
    assert values["input.value"].startswith("first [email]")


def test_full_capture_masks_nothing(collector: Collector) -> None:
    [span] = received(collector, planted_span(), application="open")
    told = json.dumps(span, ensure_ascii=False)
    assert all(secret in told for secret in PLANTED.values())


def test_metadata_only_keeps_what_happened_and_not_what_was_said(collector: Collector) -> None:
    [span] = received(collector, planted_span(), application="secretive")
    assert set(flat(span)) == {
        "openinference.span.kind",
        "llm.token_count.prompt",
        "service.name",
        "deployment.environment",
        "agentstack.capture",
    }
    assert flat(span)["agentstack.capture"] == "metadata-only"
    assert "[email]" in span["span"]["name"]
    assert "message" not in span["span"]["status"]
    assert [item["key"] for item in span["span"]["events"][0]["attributes"]] == ["exception.type"]


def test_without_consent_only_metadata_is_kept(lab: CollectorLab) -> None:
    careful = lab.start("careful", TOKENS, {"applications": {"chat": {}}, "telemetry": {"consent": {"required": True}}})
    content = {**LLM, "input.value": "what was said"}
    [silent] = received(careful, Span(content))
    [agreed] = received(careful, Span({**content, "agentstack.consent": True}))
    [all_agreed] = received(careful, Span(content), agentstack_consent="true")
    assert "input.value" not in flat(silent)
    assert flat(silent)["agentstack.capture"] == "metadata-only"
    assert [flat(span)["input.value"] for span in (agreed, all_agreed)] == ["what was said"] * 2


def test_tail_sampling_keeps_the_traces_that_matter_whole(lab: CollectorLab) -> None:
    policies = {
        "enabled": True,
        "decisionWaitSeconds": 2,
        "ratio": 0.0,
        "costlierThanUsd": 0.01,
        "slowerThanSeconds": 9,
    }
    picky = lab.start("picky", TOKENS, {"applications": {"chat": {}}, "telemetry": {"tailSampling": policies}})
    cheap = {**LLM, "llm.model_name": "gpt-4o", "llm.token_count.prompt": 10}
    traces = {
        "failed": [Span(), Span(root=False, error="no")],
        "slow": [Span(seconds=10), Span(root=False)],
        "expensive": [Span(), Span({**cheap, "llm.token_count.prompt": 100_000}, root=False)],
        "ordinary": [Span(), Span(cheap, root=False)],
    }
    for name, spans in traces.items():
        trace = secrets.token_bytes(16)
        traces[name] = [replace(span, trace=trace, name=name) for span in spans]
    everything = [span for spans in traces.values() for span in spans]
    assert picky.send(export(everything), TOKEN)[0] == 200
    wanted_ids = ids([span for name, spans in traces.items() if name != "ordinary" for span in spans])
    found = lab.wait_for(wanted_ids)
    assert not [key for span in found.values() for key in flat(span) if key.startswith("agentstack.")]
    eventually(lambda: picky.series().total(names.SPANS) == len(everything), "all are counted", 30)
    dropped = "otelcol_processor_tail_sampling_sampling_traces_on_memory"
    eventually(lambda: picky.series(Port.COLLECTOR_TELEMETRY).total(dropped) == 0, "all traces are decided", 40)
    assert set(lab.stored(ids(everything))) == wanted_ids


def test_user_ids_become_pseudonyms_that_can_be_computed(collector: Collector) -> None:
    spans = received(collector, Span({"user.id": "u-17"}), Span({"user.id": 42}), Span({"enduser.id": "u-17"}))
    assert flat(spans[0])["user.id"] == pseudonym(PSEUDONYM_KEY, "u-17")
    assert flat(spans[1])["user.id"] == pseudonym(PSEUDONYM_KEY, "42")
    assert flat(spans[2])["enduser.id"] == pseudonym(PSEUDONYM_KEY, "u-17")


def test_spans_that_could_not_be_stored_are_mended_and_counted(collector: Collector) -> None:
    before = collector.series()
    nul = Span({"a\x00": "b\x00c", "nested": ["x\x00y"], "metadata": '{"a": "\\u0000"}'}, "nul\x00")
    session = Span({"session.id": "s" * 4000})
    unnamed = Span({"mark": "without ids"}, trace=b"", id=b"")
    broken = Span({"bad": "AAAAbad", "nested": ["AAAAbad"], "good": "héé 😀"})
    first, second = received(collector, nul, session)
    assert "\\u0000" not in json.dumps(first)
    assert re.fullmatch("[0-9a-f]{64}", flat(second)["session.id"])
    body = export([broken]).replace(b"AAAAbad", b"AA\xff\xfebad")
    assert collector.send(body, TOKEN)[0] == 200
    mended = collector.lab.wait_for(ids([broken]))[broken.id.hex()]
    assert flat(mended)["bad"] == "AA\ufffd\ufffdbad"
    assert flat(mended)["good"] == "héé 😀"
    assert collector.send(export([unnamed]), TOKEN)[0] == 200
    eventually(lambda: "without ids" in json.dumps(collector.lab.phoenix()), "the span without ids arrives", 30)
    [named] = [span for span in collector.lab.phoenix()["spans"] if flat(span).get("mark") == "without ids"]
    assert len(bytes.fromhex(named["trace"])) == 16
    assert len(bytes.fromhex(named["id"])) == 8
    assert collector.lab.phoenix()["undecodable"] == 0

    def counted() -> dict[str, float]:
        now = collector.series()
        reasons = ("nul", "session", "id", "utf8")
        return {r: now.total(names.MENDED, reason=r) - before.total(names.MENDED, reason=r) for r in reasons}

    eventually(lambda: counted() == dict.fromkeys(("nul", "session", "id", "utf8"), 1), f"all counted: {counted()}", 30)


def test_a_span_with_much_text_arrives_cut_to_size(collector: Collector) -> None:
    limit = 65_536
    large = Span({f"text.{number}": "x" * 200_000 for number in range(10)} | {"n": 1})
    [span] = received(collector, large)
    lengths = {len(value) for key, value in flat(span).items() if key.startswith("text.")}
    assert max(lengths) <= limit
    assert flat(span)["n"] == "1"


def test_head_sampling_keeps_whole_traces_and_metrics_keep_everything(collector: Collector) -> None:
    before = collector.series().total(names.SPANS, service="thin")
    traces = [secrets.token_bytes(16) for _ in range(400)]
    spans = [Span(trace=trace, root=root) for trace in traces for root in (True, False)]
    assert collector.send(export(spans), TOKENS["thin"], "thin")[0] == 200
    kept_traces = {t.hex() for t in traces if int(t.hex()[18:], 16) >= 0.75 * 2**56}
    collector.lab.wait_for({span.id.hex() for span in spans if span.trace.hex() in kept_traces})
    assert {s["trace"] for s in collector.lab.stored(ids(spans)).values()} == kept_traces
    assert 60 < len(kept_traces) < 140
    eventually(lambda: collector.series().total(names.SPANS, service="thin") - before == 800, "all are counted", 30)


# ---- nothing is lost


def test_what_was_acknowledged_survives_kill_9_and_an_outage_of_phoenix(lab: CollectorLab) -> None:
    collector = lab.start("unlucky", TOKENS, SETTINGS)
    spans: list[Span] = []
    lab.phoenix_answers(503)
    try:
        for _ in range(3):
            for _ in range(5):
                batch = [Span({"input.value": "x" * size}) for size in (100, 100, 30_000)]
                assert collector.send(export(batch), TOKEN)[0] == 200
                spans += batch
            collector.kill()
        assert lab.stored(ids(spans)) == {}
    finally:
        lab.phoenix_answers(200)
    lab.wait_for(ids(spans), 90)
    assert lab.phoenix()["unauthorized"] == 0
    docker("stop", "--time", "30", collector.container)
    assert docker("inspect", "-f", "{{.State.ExitCode}}", collector.container) == "0"


# ---- the numbers


def test_metrics_say_exactly_what_was_sent(lab: CollectorLab) -> None:
    """At least 5,000 spans of all dialects, hostile ones among them, against genai_prices and a sum in Python."""
    collector = lab.start("counted", {"chat": TOKEN}, SETTINGS | {"applications": {"chat": {}}})
    traffic = Traffic(seed=20)
    for project, spans in traffic.requests(25, 200):
        body = export(spans, {"openinference.project.name": project, "service.name": "evil"})
        assert collector.send(body, TOKEN)[0] == 200
    assert traffic.spans >= 5000
    eventually(lambda: collector.series().total(names.SPANS) == traffic.spans, "every span is counted", 60)
    series = collector.series()
    expected = traffic.expected
    assert wanted(series, names.SPANS, names.SPAN_LABELS) == relabelled(
        expected.spans, ("project", "span_kind", "model", "provider", "root", "status", "cost_source")
    )
    assert wanted(series, names.TRACES, names.TRACE_LABELS) == relabelled(expected.traces, ("project", "status"))
    assert wanted(series, names.TOKENS, names.TOKEN_LABELS) == relabelled(
        expected.tokens, ("project", "model", "provider", "token_type")
    )
    costs = relabelled(expected.cost, ("project", "model", "provider", "cost_source"))
    assert wanted(series, names.COST, names.COST_LABELS) == pytest.approx(costs, rel=1e-9, abs=1e-12)
    seconds = relabelled(expected.seconds, ("project", "span_kind", "model", "provider", "root", "status"))
    assert wanted(series, f"{names.DURATION}_sum", names.DURATION_LABELS) == pytest.approx(seconds, rel=1e-9)
    for series_name in (names.COST, names.TOKENS):
        assert {dict(labels)["project"] for n, labels in series if n == series_name} <= {*PROJECTS, "other"}


def wanted(series: Series, name: str, labels: tuple[str, ...]) -> dict[frozenset[tuple[str, str]], float]:
    """One metric's values; every series has exactly these labels."""
    found = {have: value for (n, have), value in series.items() if n == name}
    assert {frozenset(key for key, _ in have) for have in found} == {frozenset(labels)}
    return found


def relabelled(sums: dict[tuple[str, ...], Any], labels: tuple[str, ...]) -> dict[frozenset[tuple[str, str]], float]:
    """Expected sums by labels; the service is the application, whatever the spans say."""
    return {
        frozenset({("service", "chat"), *zip(labels, key, strict=True)}): float(value) for key, value in sums.items()
    }


def test_the_first_value_of_a_series_counts(lab: CollectorLab, collector: Collector) -> None:
    """A series that is born with the value 5 has grown by 5: the first dollar of a new model is in the budget."""
    with_zero = lab.prometheus(collector, names.ZERO_FEATURE)
    without = lab.prometheus(collector)
    for prometheus in (with_zero, without):
        eventually(lambda p=prometheus: p.query("up") == 1, "Prometheus scrapes the Collector", 60)  # type: ignore[misc]
    model = {**LLM, "llm.model_name": "o3-mini", "llm.token_count.prompt": 1000}
    assert collector.send(export([Span(model) for _ in range(5)]), TOKEN)[0] == 200
    born = f'{names.TOKENS}{{model="o3-mini"}}'
    for prometheus in (with_zero, without):
        eventually(
            lambda p=prometheus: (p.query(f"count_over_time({born}[1m])") or 0) >= 3,  # type: ignore[misc]
            "the new series is scraped a few times",
            60,
        )
    # `increase` extrapolates to the ends of its window: upwards.
    grown = with_zero.query(f"increase({born}[5m])")
    assert grown is not None
    assert 5000 <= grown <= 10_000
    assert with_zero.query(f"min_over_time({born}[5m])") == 0
    assert without.query(f"increase({born}[5m])") == 0
    restarted = f'{names.TOKENS}{{model="o3"}}'
    before = {**LLM, "llm.model_name": "o3", "llm.token_count.prompt": 100}
    assert collector.send(export([Span(before)]), TOKEN)[0] == 200
    eventually(lambda: (with_zero.query(f"count_over_time({restarted}[1m])") or 0) >= 3, "scraped before", 60)
    collector.kill()
    # More than before, so that no value goes down: only the zero in between tells that it is a new life.
    assert collector.send(export([Span(before) for _ in range(3)]), TOKEN)[0] == 200
    eventually(lambda: with_zero.query(restarted) == 300, "scraped after", 60)
    eventually(lambda: (with_zero.query(f"increase({restarted}[5m])") or 0) >= 390, "both lives are counted", 30)


def test_ten_thousand_invented_names_make_a_handful_of_series(collector: Collector) -> None:
    before = len(collector.series())
    for start in range(0, 10_000, 1000):
        spans = [
            Span(
                {
                    "openinference.span.kind": f"KIND{n}" if n % 2 else "LLM",
                    "llm.model_name": f"model-{n}",
                    "llm.provider": f"provider-{n}",
                    "llm.token_count.prompt": 1,
                }
            )
            for n in range(start, start + 1000)
        ]
        resource = {
            "service.name": f"service-{start}",
            "openinference.project.name": f"project-{start}",
            f"r{start}": 1,
        }
        assert collector.send(export(spans, resource), TOKEN)[0] == 200
    eventually(
        lambda: collector.series().total(names.TOKENS, model="other", provider="other") >= 5000, "all are counted", 60
    )
    assert len(collector.series()) - before < 80


def metric(name: str, points: list[tuple[dict[str, Any], int]], *, delta: bool, instance: str = "") -> bytes:
    """A request with one sum."""
    request = ExportMetricsServiceRequest()
    group = request.resource_metrics.add()
    values = {"service.name": "bot", **({"service.instance.id": instance} if instance else {})}
    group.resource.attributes.extend(attributes(values))
    out = group.scope_metrics.add().metrics.add(name=name, unit="{token}")
    out.sum.is_monotonic = True
    out.sum.aggregation_temporality = DELTA if delta else CUMULATIVE
    for labels, value in points:
        point = out.sum.data_points.add(as_int=value, time_unix_nano=time.time_ns())
        point.attributes.extend(attributes(labels))
    return request.SerializeToString()


def test_applications_own_metrics_arrive_within_bounds(collector: Collector) -> None:
    name, page = "gen_ai.client.token.usage", Port.COLLECTOR_APPLICATIONS
    invented: list[tuple[dict[str, Any], int]] = [
        ({"gen_ai.token.type": f"t{n}", "user": f"u{n}"}, 1) for n in range(2000)
    ]
    known: tuple[dict[str, Any], int] = ({"gen_ai.token.type": "input", "gen_ai.request.model": "GPT-4o"}, 5)
    assert collector.send(metric(name, [*invented, known], delta=True), TOKEN, path="/v1/metrics")[0] == 200
    assert collector.send(metric(name, [known], delta=True, instance="b"), TOKEN, path="/v1/metrics")[0] == 200
    assert collector.send(metric("invented.name", [known], delta=True), TOKEN, path="/v1/metrics")[0] == 200
    labels = {"application": "chat", "gen_ai_token_type": "input", "gen_ai_request_model": "gpt-4o"}
    eventually(
        lambda: collector.series(page).total("gen_ai_client_token_usage_total", **labels) == 10, "both are summed", 30
    )
    series = collector.series(page)
    assert series.total("gen_ai_client_token_usage_total", gen_ai_token_type="other") == 2000
    assert series.count("gen_ai_client_token_usage_total") == 2
    assert not [n for n, _ in series if "invented" in n]


def test_own_telemetry_is_on_its_page(collector: Collector) -> None:
    wanted_names = {"otelcol_exporter_queue_size", "otelcol_exporter_queue_capacity", "otelcol_receiver_accepted_spans"}

    def found() -> set[str]:
        page = collector.series(Port.COLLECTOR_TELEMETRY)
        return {n for n, labels in page if ("service_name", f"{names.TELEMETRY_SERVICE}-1") in labels} & wanted_names

    eventually(lambda: found() == wanted_names, "the Collector's own metrics are served", 40)


def test_values_survive_their_trip_through_the_test_helpers() -> None:
    """The lab's own encoding, on which everything above rests."""
    assert any_value(True).bool_value is True
    assert any_value(1).int_value == 1
    assert any_value([1]).array_value.values[0].int_value == 1
