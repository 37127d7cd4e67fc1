"""What an engine must offer: refused by name before anything is made, or lowered and said."""

import ipaddress
from dataclasses import replace

import pulumi
import pytest

from components.engine import Engine
from components.hostfit import fit
from components.settings import SettingsError, load_settings
from tests.unit.program import ROOMY, run_program, stack_config

pytestmark = pytest.mark.unit

SMALL = Engine(version="20.10.24", cpus=2, memory_mib=24_000, disk_free_mib=80_000)
PROD = load_settings(stack_config("prod"))
DEV = load_settings(stack_config("dev"))


def refusal(settings: object, engine: Engine) -> str:
    with pytest.raises(SettingsError) as caught:
        fit(settings, engine)  # type: ignore[arg-type]
    return str(caught.value)


def test_dev_fits_two_cores() -> None:
    assert fit(DEV, SMALL) == (DEV, [])


def test_prod_fits_a_roomy_host() -> None:
    assert fit(PROD, ROOMY) == (PROD, [])


def test_an_old_engine_is_refused_even_with_clamp() -> None:
    old = replace(ROOMY, version="19.03.15")
    for settings in (PROD, PROD.model_copy(update={"host_fit": "clamp"})):
        assert "the Docker engine is 19.03.15; at least 20.10" in refusal(settings, old)


def test_an_occupied_subnet_is_refused_and_named() -> None:
    busy = replace(SMALL, networks={"office": ipaddress.IPv4Network("172.22.8.0/24")})
    text = refusal(DEV, busy)
    assert "networks.phoenix.subnet" in text
    assert "'office'" in text


def test_strict_names_everything_that_does_not_fit() -> None:
    text = refusal(PROD, replace(SMALL, memory_mib=4000, disk_free_mib=1000, disk_total_mib=50_000))
    for part in (
        "phoenix.cpus = 4: the host has 2 cores",
        "postgres.cpus = 3",
        "phoenix.memoryMib = 6144",
        "*.cpusReserved = 6",
        "*.memoryReservedMib = 8704",
        "production asks for 8",
        "16 GB",
        "MiB of disk are free",
        "the disk for Docker has 50000 MiB",
        "hostFit: clamp",
    ):
        assert part in text


def test_clamp_lowers_limits_and_reservations_and_says_so() -> None:
    clamped, notes = fit(PROD.model_copy(update={"host_fit": "clamp"}), SMALL)
    sizes, replicas = clamped.sizes(), clamped.service_replicas()
    assert all(size.cpus <= SMALL.cpus for size in sizes.values())
    assert sum(size.cpus_reserved * replicas[key] for key, size in sizes.items()) <= SMALL.cpus
    assert sizes["phoenix"].memory_mib == PROD.phoenix.memory_mib
    assert any("phoenix.cpus" in note for note in notes)


def test_a_refusal_comes_before_any_resource_is_registered() -> None:
    with pytest.raises(pulumi.RunError, match="nothing was changed"):
        run_program("prod", engine=SMALL)


def test_a_full_disk_refuses_a_new_stack_and_keeps_an_old_one_operable() -> None:
    full = replace(SMALL, disk_free_mib=100)
    assert "100 MiB of disk are free" in refusal(DEV, full)
    assert fit(DEV, replace(full, has_data=True)) == (DEV, [])
