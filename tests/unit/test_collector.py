"""The Collector's configuration: what is rendered for which settings, and what may never be missing from it.

Whether the Collector does with it what is meant is decided by tests/engine/test_collector_container.py.
"""

import copy
import importlib
import re
from typing import Any

import pytest
import yaml
from hypothesis import given, settings, strategies

from components.collector import keys, names, prices, privacy, receive, render, sampling
from components.collector.inputs import CollectorInputs
from components.collector.names import DURATION_BUCKETS
from components.collector.patterns import BUILTIN, DIGIT_RUNS, Part, literal_prefix, own_pattern
from components.collector.text import Expand, any_of, dump, escaped, quoted
from components.names import CONFIG_DIR, LIVE_DIR, TLS_CA, Port
from components.settings import load_settings

pytestmark = pytest.mark.unit


def inputs(**raw: Any) -> CollectorInputs:
    return CollectorInputs(stack="dev", settings=load_settings(raw), phoenix_url="https://phoenix:6006")


@pytest.fixture(scope="module")
def config() -> dict[str, Any]:
    return render.render(inputs())


@pytest.fixture(scope="module")
def parsed() -> dict[str, Any]:
    """What the Collector reads: the YAML text, parsed."""
    loaded: dict[str, Any] = yaml.safe_load(render.render_text(inputs()))
    return loaded


def every(node: Any, path: str = "") -> list[tuple[str, Any]]:
    """Every (path, leaf) of a tree."""
    if isinstance(node, dict):
        return [leaf for key, value in node.items() for leaf in every(value, f"{path}/{key}")]
    if isinstance(node, list):
        return [leaf for index, value in enumerate(node) for leaf in every(value, f"{path}/{index}")]
    return [(path, node)]


# ---- delivery: what was promised


def test_no_span_is_given_up(config: dict[str, Any]) -> None:
    phoenix = [settings for name, settings in config["exporters"].items() if name.startswith("otlp_http/")]
    assert phoenix
    for exporter in phoenix:
        assert (
            exporter["retry_on_failure"] | {"enabled": True, "max_elapsed_time": "0s"} == exporter["retry_on_failure"]
        )
        assert exporter["sending_queue"]["storage"] == "file_storage/queue"
        assert exporter["timeout"] == "30s"
    assert config["extensions"]["file_storage/queue"]["fsync"] is True
    assert config["extensions"]["file_storage/queue"]["directory"] == receive.QUEUE_DIR


def test_batches_are_1024_spans_or_five_seconds(config: dict[str, Any]) -> None:
    batch = config["exporters"]["otlp_http/phoenix"]["sending_queue"]["batch"]
    assert batch == {"flush_timeout": "5s", "sizer": "items", "min_size": 1024, "max_size": 1024}


def test_nothing_batches_before_the_queue_on_disk(config: dict[str, Any]) -> None:
    """A batch processor acknowledges at once: what it holds is lost with the process."""
    for name, pipeline in config["service"]["pipelines"].items():
        if name.startswith("traces/") and name != "traces/metrics":
            assert not [p for p in pipeline.get("processors", []) if p.startswith("batch")], name


def test_both_queues_together_stay_within_the_disk_that_the_settings_allow() -> None:
    exporters = render.render(inputs(collector={"queueMib": 100}))["exporters"]
    sizes = [e["sending_queue"]["queue_size"] for e in exporters.values() if e.get("sending_queue")]
    assert sum(sizes) == 100 * 1024 * 1024


# ---- trust


def test_everything_served_to_others_has_tls_and_a_check(config: dict[str, Any]) -> None:
    served = {**{n: e for n, e in config["exporters"].items() if n.startswith("prometheus/")}}
    served |= config["receivers"]["otlp"]["protocols"]
    for name, server in served.items():
        assert server["tls"] == receive.server_tls(), name
        assert server["auth"]["authenticator"] in {"bearertokenauth/ingest", "basicauth/scrape"}, name
    assert config["extensions"]["health_check"]["tls"] == receive.server_tls()


def test_whatever_has_no_tls_listens_on_loopback_alone(config: dict[str, Any]) -> None:
    readers = config["service"]["telemetry"]["metrics"]["readers"]
    assert [reader["pull"]["exporter"]["prometheus"]["host"] for reader in readers] == ["127.0.0.1"]
    listening = [path for path, value in every(config) if str(value).startswith("0.0.0.0:")]
    guarded = [
        *(f"/exporters/{name}/endpoint" for name in config["exporters"] if name.startswith("prometheus/")),
        *(f"/receivers/otlp/protocols/{name}/endpoint" for name in config["receivers"]["otlp"]["protocols"]),
        "/extensions/health_check/endpoint",
    ]
    assert sorted(listening) == sorted(guarded)


def test_no_certificate_goes_unverified(config: dict[str, Any]) -> None:
    text = dump(config)
    assert "insecure" not in text
    for name in ("otlp_http/phoenix", "otlp_http/phoenix-large"):
        assert config["exporters"][name]["tls"]["ca_file"] == TLS_CA
        assert config["exporters"][name]["endpoint"] == "https://phoenix:6006"
        assert config["exporters"][name]["auth"] == {"authenticator": "bearertokenauth/phoenix"}


def test_secrets_are_read_from_files(config: dict[str, Any]) -> None:
    extensions = config["extensions"]
    assert extensions["bearertokenauth/ingest"] == {"filename": f"{LIVE_DIR}/tokens"}
    assert extensions["bearertokenauth/phoenix"] == {"filename": f"{CONFIG_DIR}/phoenix/admin-secret"}
    assert extensions["basicauth/scrape"] == {"htpasswd": {"file": f"{CONFIG_DIR}/scrape/htpasswd"}}
    assert config["processors"]["redaction/pseudonyms"]["hmac_key"] == f"${{file:{CONFIG_DIR}/secrets/pseudonym-key}}"


def test_logs_have_no_way_in(config: dict[str, Any]) -> None:
    assert {name.partition("/")[0] for name in config["service"]["pipelines"]} == {"traces", "metrics"}


# ---- the pipelines hang together


def test_every_reference_exists_and_everything_defined_is_used(config: dict[str, Any]) -> None:
    pipelines = config["service"]["pipelines"].values()
    receivers = {str(name) for pipeline in pipelines for name in pipeline["receivers"]}
    exporters = {name for pipeline in pipelines for name in pipeline["exporters"]}
    processors = {name for pipeline in pipelines for name in pipeline.get("processors", [])}
    connectors = set(config["connectors"])
    from_replica = {str(receive.container_receiver())}
    assert receivers - connectors - from_replica == set(config["receivers"]) - {"nop", "docker_stats"}
    assert connectors <= receivers
    assert connectors <= exporters
    assert exporters - connectors == set(config["exporters"])
    assert processors == set(config["processors"])
    assert set(config["service"]["extensions"]) == set(config["extensions"])


def test_every_way_in_from_outside_begins_with_the_memory_limit(config: dict[str, Any]) -> None:
    for name, pipeline in config["service"]["pipelines"].items():
        if "otlp" in pipeline["receivers"]:
            assert pipeline["processors"][0] == "memory_limiter", name


def test_metrics_are_taken_before_anything_is_sampled_or_masked() -> None:
    rendered = render.render(inputs(applications={"a": {"headSampling": 0.1, "capture": "metadata-only"}}))
    before = rendered["service"]["pipelines"]["traces/in"]
    assert "forward/metrics" in before["exporters"]
    assert before["processors"] == ["memory_limiter", "transform/identity"]
    assert rendered["service"]["pipelines"]["traces/phoenix"]["processors"][:2] == ["filter/head", "transform/privacy"]


def test_tail_sampling_comes_after_masking_and_sees_the_cost() -> None:
    rendered = render.render(inputs(telemetry={"tailSampling": {"enabled": True}}))
    assert "transform/normalise" in rendered["service"]["pipelines"]["traces/in"]["processors"]
    assert "transform/normalise" not in rendered["service"]["pipelines"]["traces/metrics"]["processors"]
    way = rendered["service"]["pipelines"]["traces/phoenix"]["processors"]
    assert way.index("transform/privacy") < way.index("tail_sampling") < way.index("transform/strip")


def test_only_the_first_replica_asks_docker() -> None:
    assert receive.replica_files(3) == {"replica/1": "docker_stats", "replica/2": "nop", "replica/3": "nop"}


def test_own_telemetry_carries_the_replica(config: dict[str, Any]) -> None:
    attributes = config["service"]["telemetry"]["resource"]["attributes"]
    assert attributes == [{"name": "service.name", "value": "agentstack-otel-collector-${env:AGENTSTACK_REPLICA}"}]


def test_one_more_application_with_default_settings_changes_nothing() -> None:
    """Its token is a live file; no Collector is restarted for it."""
    one = render.render_text(inputs(applications={"a": {}}))
    two = render.render_text(inputs(applications={"a": {}, "b": {"requestsPerSecond": 7}}))
    assert one == two


def test_container_metrics_are_of_this_stack_alone(config: dict[str, Any]) -> None:
    assert config["processors"]["filter/containers"]["metric_conditions"] == ['resource.attributes["stack"] != "dev"']


def test_ten_seconds_is_an_edge_of_the_latency_buckets() -> None:
    assert 10 in DURATION_BUCKETS
    assert list(DURATION_BUCKETS) == sorted(DURATION_BUCKETS)


# ---- text


def test_dollars_are_doubled_except_where_the_collector_expands() -> None:
    assert escaped({"a": ["x$", Expand("${env:B}")]}) == {"a": ["x$$", "${env:B}"]}


def test_the_file_expands_nothing_that_was_not_meant_to(parsed: dict[str, Any]) -> None:
    expansions = {m for _, v in every(parsed) for m in re.findall(r"(?<!\$)(?:\$\$)*(\$\{[^}]*\})", str(v))}
    assert expansions == {
        "${env:AGENTSTACK_REPLICA}",
        "${file:/etc/agentstack/replica/${env:AGENTSTACK_REPLICA}",
        "${file:/etc/agentstack/prices.json}",
        "${file:/etc/agentstack/secrets/pseudonym-key}",
    }


def test_texts_of_the_settings_are_literals_in_regular_expressions_and_in_ottl() -> None:
    project = 'a.b"c\\d$'
    pattern = any_of([project])
    assert re.fullmatch(pattern, project)
    assert not re.fullmatch(pattern, 'aXb"c\\d$')
    assert quoted(project) == '"a.b\\"c\\\\d$"'


# ---- keys that the Collector would ignore


@pytest.mark.parametrize(
    ("path", "misspelt", "meant"),
    [
        (("exporters", "otlp_http/phoenix"), "sending_queuee", "sending_queue"),
        (("exporters", "otlp_http/phoenix"), "compressionn", "compression"),
        (("exporters", "otlp_http/phoenix-large"), "retry_on_failures", "retry_on_failure"),
        (("exporters", "otlp_http/phoenix", "retry_on_failure"), "max_elapsed_timee", "max_elapsed_time"),
        (("exporters", "otlp_http/phoenix", "sending_queue"), "storagee", "storage"),
        (("exporters", "otlp_http/phoenix", "sending_queue", "batch"), "min_sizee", "min_size"),
        (("exporters", "otlp_http/phoenix", "tls"), "ca_filee", "ca_file"),
        (("exporters", "otlp_http/phoenix", "auth"), "authenticatorr", "authenticator"),
        (("exporters", "prometheus/spans"), "metric_expirationn", "metric_expiration"),
        (("exporters", "prometheus/spans"), "auht", "auth"),
        (("extensions", "health_check"), "endpointt", "endpoint"),
        (("receivers", "otlp", "protocols", "http"), "include_metadataa", "include_metadata"),
        (("receivers", "otlp", "protocols", "http"), "max_request_body_sizee", "max_request_body_size"),
    ],
)
def test_a_misspelt_key_is_refused(config: dict[str, Any], path: tuple[str, ...], misspelt: str, meant: str) -> None:
    broken = copy.deepcopy(config)
    node = broken
    for part in path:
        node = node[part]
    node[misspelt] = node.pop(meant, "x")
    with pytest.raises(keys.UnknownKeyError, match=f"{'::'.join(path)}::{misspelt}.*'{meant}' was likely meant"):
        keys.check(broken)


def test_verification_can_not_be_switched_off(config: dict[str, Any]) -> None:
    broken = copy.deepcopy(config)
    broken["exporters"]["otlp_http/phoenix"]["tls"]["insecure_skip_verify"] = True
    with pytest.raises(keys.UnknownKeyError):
        keys.check(broken)


# ---- prices


def test_every_default_model_has_a_price() -> None:
    telemetry = inputs().telemetry
    table = prices.price_table(telemetry)
    missing = [model for model in telemetry.models if table[prices.label_of(model)].rates is None]
    assert missing == []


def test_a_model_without_a_price_has_a_label_and_no_rates() -> None:
    table = prices.price_table(inputs(telemetry={"extraModels": ["acme-7b"]}).telemetry)
    assert table["acme-7b"] == prices.Row("acme-7b")
    assert prices.ottl_map(table)["acme-7b"] == {"m": "acme-7b"}


def test_own_prices_win_and_what_they_leave_out_costs_as_much_as_input() -> None:
    telemetry = inputs(
        telemetry={"prices": {"gpt-4o": {"input": 7, "output": 9}, "acme": {"input": 1, "cacheRead": 0.5}}}
    ).telemetry
    table = prices.price_table(telemetry)
    assert table["gpt-4o"].rates == prices.Rates(input=7, cached=7, write=7, output=9)
    assert table["acme"].rates == prices.Rates(input=1, cached=0.5, write=1, output=0)


def test_rates_are_floats_for_ottl() -> None:
    """OTTL refuses to add integers and floats."""
    for entry in prices.ottl_map(prices.price_table(inputs().telemetry)).values():
        for key, value in entry.items():
            assert isinstance(value, {"m": str, "t": int}.get(key, float)), (key, value)


@pytest.mark.parametrize(
    ("spelling", "plain"),
    [
        ("openai/GPT-4o", "gpt-4o"),
        ("gpt-4o-2024-08-06", "gpt-4o"),
        ("claude-sonnet-4-5-20250929", "claude-sonnet-4-5"),
        ("us.anthropic.claude-sonnet-4-5-20250929-v1:0", "claude-sonnet-4-5"),
        ("claude-sonnet-4-5@20250929", "claude-sonnet-4-5"),
        ("models/gemini-2.5-pro", "gemini-2.5-pro"),
        ("gpt-4.1", "gpt-4.1"),
    ],
)
def test_names_lose_path_vendor_version_and_date(spelling: str, plain: str) -> None:
    assert prices.plain_name(spelling) == plain


def test_a_dated_release_with_a_price_of_its_own_keeps_it() -> None:
    table = prices.price_table(inputs().telemetry)
    assert table["gpt-4o-2024-05-13"].label == table["gpt-4o"].label == "gpt-4o"
    assert table["gpt-4o-2024-05-13"].rates != table["gpt-4o"].rates


def test_long_prompts_have_their_threshold() -> None:
    row = prices.price_table(inputs().telemetry)["gemini-2.5-pro"]
    assert row.threshold == 200_000
    assert row.rates is not None
    assert row.above is not None
    assert row.above.input > row.rates.input


# ---- what leaves for Phoenix


def test_pseudonyms_are_keyed_and_equal_for_equal_users() -> None:
    assert privacy.pseudonym("key", "u-1") == privacy.pseudonym("key", "u-1")
    assert privacy.pseudonym("key", "u-1") != privacy.pseudonym("other", "u-1")
    assert re.fullmatch("[0-9a-f]{64}", privacy.pseudonym("key", "u-1"))


SAMPLES = {
    "email": ["mail jane.doe@example.org now", "x <a+b@sub.example.co.uk>"],
    "card": ["4111 1111 1111 1111", "5500-0000-0000-0004", "378282246310005", "6011000990139424"],
    "iban": ["DE89 3704 0044 0532 0130 00", "NL91ABNA0417164300", "GB29 NWBK 6016 1331 9268 19"],
    "phone": [
        "+49 (0) 30 1234567",
        "0049 30 1234567",
        "(415) 555-2671",
        "415-555-2671",
        "+14155552671",
        "0171 1234567",
    ],
    "api-key": [
        "sk-abcdefghijklmnopqrstuvwxyz123456",
        "sk-proj-abcdefghijklmnopqrstuvwx",
        "sk-ant-api03-abcdefghijklmnopqrstu",
        "ghp_" + "a" * 36,
        "github_pat_" + "a1" * 20,
        "AKIAIOSFODNN7EXAMPLE",
        "xoxb-1234567890-abcdef",
        "AIza" + "b" * 35,
        "hf_" + "c" * 30,
        "eyJhbGciOiJIUzI1.eyJzdWIiOiIxMjM0.abc",
        "-----BEGIN RSA PRIVATE KEY-----\nMIIEow\n-----END RSA PRIVATE KEY-----",
    ],
    "authorization": [
        "Bearer abcdefghij",
        "authorization: Basic dXNlcjpwYXNz",
        '"x-api-key": "abcd1234"',
        "BEARER ABCDEFGHIJ",
    ],
}
HARMLESS = [
    "at 2024-11-24T10:30:00Z the order 12345 went to Berlin, 3.14159 of 100 %",
    "trace 4bf92f3577b34da6a3ce929d0e0e4736 took 1732456789012345678 ns",
    "the task-based approach; risk-averse; ask_me_anything_about_everything_here",
    "version 1.2.3-4, ratio 0.8234567891234, uuid 123e4567-e89b-12d3-a456-426614174000",
    "a basic idea, a bearer of news, token count 1234, llm.token_count.prompt=1234567",
]


@pytest.mark.parametrize(("name", "text"), [(n, t) for n, texts in SAMPLES.items() for t in texts])
def test_patterns_find_what_they_are_for(name: str, text: str) -> None:
    assert any(re.search(part.regex, text) for part in BUILTIN[name].parts)


@pytest.mark.parametrize("text", HARMLESS)
def test_patterns_leave_the_harmless_alone(text: str) -> None:
    hits = {name: part.regex for name, p in BUILTIN.items() for part in p.parts if re.search(part.regex, text)}
    assert hits == {}


def triggered(part: Part, text: str) -> bool:
    """What the Collector finds out before it runs the pattern itself."""
    found = [t in text for t in part.texts] + [bool(re.search(probe, text)) for probe in part.probes]
    digits = not part.digits or any(re.search(run, text) for run in DIGIT_RUNS)
    return digits and (any(found) or not found)


FREE_TEXT = [part for name, pattern in BUILTIN.items() if name != "iban" for part in pattern.parts]


@pytest.mark.parametrize("part", FREE_TEXT, ids=lambda part: part.regex[:30])
def test_whatever_a_pattern_matches_its_triggers_find(part: Part) -> None:
    """The pattern runs only where a trigger was found: a match without one would never be masked."""

    @settings(max_examples=60, deadline=None, database=None, derandomize=True)
    @given(strategies.from_regex(re.compile(part.regex, re.ASCII)))
    def check(text: str) -> None:
        assert triggered(part, text)

    check()


IBANS = (  # noqa: SIM905 - 67 quoted words would be harder to read
    "AD12 0001 2030 2003 5910 0100;AE07 0331 2345 6789 0123 456;AL47 2121 1009 0000 0002 3569 8741;"
    "AT61 1904 3002 3457 3201;AZ21 NABZ 0000 0000 1370 1000 1944;BA39 1290 0794 0102 8494;BE68 5390 0754 7034;"
    "BG80 BNBG 9661 1020 3456 78;BH67 BMAG 0000 1299 1234 56;BR18 0036 0305 0000 1000 9795 493C 1;"
    "CH93 0076 2011 6238 5295 7;CR05 0152 0200 1026 2840 66;CY17 0020 0128 0000 0012 0052 7600;"
    "CZ65 0800 0000 1920 0014 5399;DE89 3704 0044 0532 0130 00;DK50 0040 0440 1162 43;"
    "DO28 BAGR 0000 0001 2124 5361 1324;EE38 2200 2210 2014 5685;ES91 2100 0418 4502 0005 1332;"
    "FI21 1234 5600 0007 85;FO62 6460 0001 6316 34;FR14 2004 1010 0505 0001 3M02 606;GB29 NWBK 6016 1331 9268 19;"
    "GE29 NB00 0000 0101 9049 17;GI75 NWBK 0000 0000 7099 453;GL89 6471 0001 0002 06;"
    "GR16 0110 1250 0000 0001 2300 695;GT82 TRAJ 0102 0000 0012 1002 9690;HR12 1001 0051 8630 0016 0;"
    "HU42 1177 3016 1111 1018 0000 0000;IE29 AIBK 9311 5212 3456 78;IL62 0108 0000 0009 9999 999;"
    "IS14 0159 2600 7654 5510 7303 39;IT60 X054 2811 1010 0000 0123 456;JO94 CBJO 0010 0000 0000 0131 0003 02;"
    "KW81 CBKU 0000 0000 0000 1234 5601 01;KZ86 125K ZT50 0410 0100;LB62 0999 0000 0001 0019 0122 9114;"
    "LI21 0881 0000 2324 013A A;LT12 1000 0111 0100 1000;LU28 0019 4006 4475 0000;LV80 BANK 0000 4351 9500 1;"
    "MC58 1122 2000 0101 2345 6789 030;MD24 AG00 0225 1000 1310 4168;ME25 5050 0001 2345 6789 51;"
    "MK07 2501 2000 0058 984;MT84 MALT 0110 0001 2345 MTLC AST0 01S;MU17 BOMM 0101 1010 3030 0200 000M UR;"
    "NL91 ABNA 0417 1643 00;NO93 8601 1117 947;PK36 SCBL 0000 0011 2345 6702;PL61 1090 1014 0000 0712 1981 2874;"
    "PS92 PALS 0000 0000 0400 1234 5670 2;PT50 0002 0123 1234 5678 9015 4;QA58 DOHB 0000 1234 5678 90AB CDEF G;"
    "RO49 AAAA 1B31 0075 9384 0000;RS35 2600 0560 1001 6113 79;SA03 8000 0000 6080 1016 7519;"
    "SE45 5000 0000 0583 9825 7466;SI56 2633 0001 2039 086;SK31 1200 0000 1987 4263 7541;"
    "SM86 U032 2509 8000 0000 0270 100;TN59 1000 6035 1835 9847 8831;TR33 0006 1005 1978 6457 8413 26;"
    "UA21 3996 2200 0002 6007 2335 6600 1;VA59 0011 2300 0012 3456 78;VG96 VPVG 0000 0123 4567 8901;"
    "XK05 1212 0123 4567 8906"
).split(";")
"""One per country, as the registry of the format prints them."""


@pytest.mark.parametrize("iban", IBANS)
def test_every_countrys_iban_is_found_with_and_without_spaces(iban: str) -> None:
    part = next(part for part in BUILTIN["iban"].parts if re.search(part.regex, iban))
    for text in (f"to {iban}, please", iban.replace(" ", "")):
        found = re.search(part.regex, text)
        assert found is not None
        assert found.group().replace(" ", "") == iban.replace(" ", "")
        assert triggered(part, text)


@pytest.mark.parametrize(
    ("regex", "prefix"),
    [
        (r"ACME-\d{6}", "ACME-"),
        (r"\bcase #\d+", "case #"),
        (r"a+b", ""),
        (r"abc?", "ab"),
        (r"foo|bar", ""),
        (r"(foo|bar)-x", ""),
        (r"x\.y\d", "x.y"),
        (r"[A-Z]{3}", ""),
        (r"(?i)acme", ""),
    ],
)
def test_the_trigger_of_an_own_pattern_is_its_fixed_beginning(regex: str, prefix: str) -> None:
    assert literal_prefix(regex) == prefix
    assert own_pattern("p", regex).parts[0].texts == ((prefix,) if prefix else ())


def test_consent_is_required_in_production_unless_said_otherwise() -> None:
    assert not inputs().consent_required
    assert inputs(production=True).consent_required
    assert not inputs(production=True, telemetry={"consent": {"required": False}}).consent_required


# ---- sampling


@pytest.mark.parametrize("ratio", [0.1, 0.25, 0.5, 0.9])
def test_head_sampling_keeps_the_share_it_is_told(ratio: float) -> None:
    condition = sampling.drop_condition(ratio)
    found = re.search(r'< "([0-9a-f]{14})"', condition)
    assert found is not None
    assert int(found.group(1), 16) / 2**56 == pytest.approx(1 - ratio)


def test_head_sampling_of_nothing_drops_everything() -> None:
    assert sampling.drop_condition(0) == "true"


def test_without_rates_there_is_no_sampling() -> None:
    assert sampling.head_processors(inputs()) == {}
    assert sampling.tail_processors(inputs()) == {}


def test_sampling_rules_are_by_application_and_route() -> None:
    conditions = sampling.head_conditions(
        inputs(
            applications={"chat": {"headSampling": 0.5}, "calm": {}},
            telemetry={"routes": [{"application": "chat", "route": "/hot", "ratio": 0.1}, {"route": "/x", "ratio": 1}]},
        )
    )
    assert len(conditions) == 2
    assert '"agentstack.application"] == "chat"' in conditions[0]
    assert 'span.attributes["agentstack.route"] == "/hot"' in conditions[1]


def test_tail_policies_follow_the_settings() -> None:
    raw = {"enabled": True, "hotRoutes": ["/a"], "maxSpansPerSecond": 9, "slowerThanSeconds": 2, "costlierThanUsd": 0.5}
    policies = {p["name"]: p for p in sampling.policies(inputs(telemetry={"tailSampling": raw}))}
    assert set(policies) == {"errors", "slow", "expensive", "hot", "rest", "rootless"}
    assert policies["slow"]["latency"] == {"threshold_ms": 2000}
    assert policies["expensive"]["numeric_attribute"]["min_value"] == 500_000
    assert [sub["type"] for sub in policies["rest"]["and"]["and_sub_policy"]] == [
        "string_attribute",
        "probabilistic",
        "rate_limiting",
    ]


def test_prometheus_runs_with_what_the_counters_need() -> None:
    importlib.import_module("components.grafana")  # first: the two import each other
    assert names.ZERO_FEATURE in importlib.import_module("components.prometheus.render").FEATURES


def test_ports_of_the_three_pages_differ() -> None:
    assert len({Port.COLLECTOR_TELEMETRY, Port.COLLECTOR_METRICS, Port.COLLECTOR_APPLICATIONS}) == 3
