"""The stack file: every rule has a case, all faults are told at once, the two real files hold their promises."""

from typing import Any

import pytest

from components.settings import Settings, SettingsError, load_settings
from tests.unit.program import stack_config

pytestmark = pytest.mark.unit


def problems(raw: dict[str, Any]) -> dict[str, str]:
    with pytest.raises(SettingsError) as caught:
        load_settings(raw)
    return {problem.path: problem.message for problem in caught.value.problems}


CASES: list[tuple[str, dict[str, Any], str, str]] = [
    ("unknown key", {"fenix": 1}, "fenix", "no such setting"),
    ("unknown nested key", {"phoenix": {"cpu": 1}}, "phoenix.cpu", "no such setting"),
    ("image source", {"imageSource": "hub"}, "imageSource", "'registry' or 'local'"),
    ("mirror", {"registryMirror": "https://x/"}, "registryMirror", "pattern"),
    ("host fit", {"hostFit": "loose"}, "hostFit", "'strict' or 'clamp'"),
    ("environment", {"environment": "My Prod"}, "environment", "pattern"),
    ("bind address", {"bindAddress": "localhost"}, "bindAddress", "write an address of this host"),
    ("bind without names", {"bindAddress": "192.168.1.5"}, "", "publicNames is empty"),
    ("public name", {"publicNames": ["under_score.org"]}, "publicNames", "neither a DNS name nor an IP"),
    ("public name that looks like an address", {"publicNames": ["1.2.3"]}, "publicNames", "neither a DNS name"),
    ("source range", {"allowedSources": ["10.0.0.1/8"]}, "allowedSources", "write for example 10.1.0.0/16"),
    ("origin with a path", {"allowedOrigins": ["https://a.org/x"]}, "allowedOrigins", "not a web origin"),
    ("subnet", {"networks": {"phoenix": {"subnet": "172.22.0.0/33"}}}, "networks.phoenix.subnet", "write an IPv4"),
    ("public subnet", {"networks": {"phoenix": {"subnet": "8.8.0.0/16"}}}, "networks.phoenix.subnet", "private range"),
    ("tiny subnet", {"networks": {"ui": {"subnet": "10.0.0.0/28"}}}, "networks.ui.subnet", "too small"),
    ("overlap", {"networks": {"phoenix": {"subnet": "172.23.4.0/24"}}}, "networks", "overlaps"),
    ("port range", {"ports": {"phoenix": 70000}}, "ports.phoenix", "less than or equal to 65535"),
    ("same port twice", {"ports": {"phoenix": 3001}}, "ports", "both ask for port 3001"),
    ("project", {"defaultProject": ""}, "defaultProject", "at least 1 character"),
    ("retention", {"retentionDays": 0}, "retentionDays", "greater than or equal to 1"),
    ("application name", {"applications": {"My App": {}}}, "applications.My App.[key]", "pattern"),
    ("reserved application", {"applications": {"agentstack-smoke": {}}}, "applications", "reserved"),
    ("request limit", {"applications": {"a": {"requestsPerSecond": 0}}}, "applications.a.requestsPerSecond", "greater"),
    ("byte limit", {"applications": {"a": {"bytesPerSecond": 1}}}, "applications.a.bytesPerSecond", "greater"),
    ("capture", {"applications": {"a": {"capture": "all"}}}, "applications.a.capture", "'metadata-only'"),
    ("head sampling", {"applications": {"a": {"headSampling": 1.5}}}, "applications.a.headSampling", "less than"),
    ("cpus", {"phoenix": {"cpus": 0}}, "phoenix.cpus", "greater than 0"),
    ("memory", {"phoenix": {"memoryMib": 100}}, "phoenix.memoryMib", "greater than or equal to 768"),
    ("cpu reservation", {"grafana": {"cpus": 1, "memoryMib": 256, "cpusReserved": 2}}, "grafana", "is above cpus"),
    ("memory reservation", {"phoenix": {"memoryReservedMib": 2048}}, "phoenix", "is above memoryMib"),
    ("replicas", {"collector": {"replicas": 9}}, "collector.replicas", "less than or equal to 8"),
    ("span queue", {"phoenix": {"spanQueue": 1}}, "phoenix.spanQueue", "greater than or equal to 100"),
    ("disk queue", {"collector": {"queueMib": 1}}, "collector.queueMib", "greater than or equal to 16"),
    ("sample retention", {"prometheus": {"retentionDays": 0}}, "prometheus.retentionDays", "greater"),
    ("sample size", {"prometheus": {"retentionMib": 1}}, "prometheus.retentionMib", "greater"),
    ("memory spelling", {"postgres": {"workMem": "32 megs"}}, "postgres.workMem", "pattern"),
    ("connections", {"postgres": {"maxConnections": 5}}, "postgres.maxConnections", "greater than or equal to 20"),
    ("shared buffers", {"postgres": {"sharedBuffers": "1GB"}}, "postgres", "over half of memoryMib"),
    ("wal sizes", {"postgres": {"minWalSize": "4GB"}}, "postgres", "must be below maxWalSize"),
    ("pool", {"postgres": {"pooledConnections": 60}}, "postgres", "leave none of maxConnections"),
]


@pytest.mark.parametrize(("raw", "path", "message"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_a_bad_value_is_refused_with_its_path_and_what_is_allowed(raw: dict[str, Any], path: str, message: str) -> None:
    found = problems(raw)
    assert path in found
    assert message in found[path]


def test_all_faults_are_told_at_once_with_their_values() -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings({"retentionDays": -1, "ports": {"phoenix": 0}, "colour": "red"})
    text = str(caught.value)
    assert len(caught.value.problems) == 3
    assert "nothing was changed" in text
    assert "agentstack:stack.retentionDays = -1" in text
    assert "agentstack:stack.ports.phoenix = 0" in text


def test_dev_fits_a_laptop() -> None:
    settings = load_settings(stack_config("dev"))
    replicas = settings.service_replicas()
    assert sum(size.memory_mib * replicas[key] for key, size in settings.sizes().items()) <= 3 * 1024


GUIDE_TABLE = {
    # service: cpu limit, memory limit MiB, cpu reservation, memory reservation MiB
    "phoenix": (4.0, 6 * 1024, 2.0, 3 * 1024),
    "postgres": (3.0, 4 * 1024, 1.5, 2 * 1024),
    "collector": (2.0, 2 * 1024, 1.0, 1024),
    "prometheus": (2.0, 4 * 1024, 1.0, 2 * 1024),
    "grafana": (1.0, 1024, 0.5, 512),
}


def test_prod_carries_the_guides_resource_table() -> None:
    sizes = load_settings(stack_config("prod")).sizes()
    found = {
        name: (sizes[name].cpus, sizes[name].memory_mib, sizes[name].cpus_reserved, sizes[name].memory_reserved_mib)
        for name in GUIDE_TABLE
    }
    assert found == GUIDE_TABLE


def test_prod_reserves_six_cores_and_eight_and_a_half_gibibytes() -> None:
    sizes = load_settings(stack_config("prod")).sizes().values()
    assert sum(size.cpus_reserved for size in sizes) == 6.0
    assert sum(size.memory_reserved_mib for size in sizes) == 8.5 * 1024


def test_prod_carries_the_guides_database_tuning() -> None:
    postgres = load_settings(stack_config("prod")).postgres
    assert postgres.max_connections == 300
    assert postgres.superuser_reserved_connections == 5
    assert (postgres.work_mem, postgres.maintenance_work_mem) == ("32MB", "256MB")
    assert (postgres.effective_cache_size, postgres.wal_buffers) == ("2GB", "32MB")
    assert (postgres.max_wal_size, postgres.min_wal_size) == ("2GB", "160MB")


@pytest.mark.parametrize("stack", ["dev", "prod"])
def test_stack_files_hold_only_what_differs_from_the_defaults(stack: str) -> None:
    defaults = load_settings({}).model_dump(by_alias=True)

    def same_as_default(given: dict[str, Any], default: dict[str, Any], path: str) -> list[str]:
        found = []
        for key, value in given.items():
            if isinstance(value, dict) and isinstance(default.get(key), dict):
                found += same_as_default(value, default[key], f"{path}{key}.")
            elif default.get(key) == value and path not in {f"{name}." for name in GUIDE_TABLE}:
                found.append(f"{path}{key}")
        return found

    repeated = same_as_default(stack_config(stack), defaults, "")
    # A size is given whole: cpu and memory belong together.
    assert [path for path in repeated if "." not in path and path != "environment"] == []


def test_settings_are_frozen() -> None:
    settings: Settings = load_settings({})
    with pytest.raises(ValueError, match="frozen"):
        settings.retention_days = 1  # type: ignore[misc]
