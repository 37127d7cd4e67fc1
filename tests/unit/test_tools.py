"""Getting ready, driving Pulumi and mending: decided here with real files and programs, without Docker or a network."""

import hashlib
import http.server
import io
import json
import os
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools import console, docker_engine, down, driver, gobuild, heal, pulumi_cli, registry, state, up, venv, versions
from tools.console import Failure, Progress
from tools.layout import ROOT, Layout, layout, locked_version, stack_name
from tools.pytest_skips import allowed_skips, is_listed

pytestmark = pytest.mark.unit


@pytest.fixture
def here(tmp_path: Path) -> Layout:
    """A checkout and a machine of its own."""
    (tmp_path / "checkout").mkdir()
    return Layout(
        root=tmp_path / "checkout", home=tmp_path / "checkout" / ".agentstack", cache=tmp_path / "cache" / "agentstack"
    )


@pytest.fixture
def said() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def progress(said: io.StringIO) -> Progress:
    return Progress(said)


def program(path: Path, text: str) -> Path:
    """An executable shell script."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


# ---- state and passphrase


def test_state_is_private_and_complete(here: Layout) -> None:
    state.ensure_state(here, {"PULUMI_BACKEND_URL": "file:///x"})
    assert mode(here.home) == mode(here.state) == mode(here.logs) == 0o700
    assert mode(here.passphrase) == mode(here.env) == 0o600
    assert len(here.passphrase.read_text().strip()) >= 40


def test_the_passphrase_is_never_written_again(here: Layout) -> None:
    state.ensure_state(here, {})
    first = here.passphrase.read_bytes()
    here.passphrase.chmod(0o644)
    state.ensure_state(here, {"PULUMI_HOME": "/elsewhere"})
    assert here.passphrase.read_bytes() == first
    assert mode(here.passphrase) == 0o600


@pytest.mark.parametrize("empty", [True, False])
def test_state_without_its_passphrase_is_an_error_and_nothing_is_made(here: Layout, empty: bool) -> None:
    stack = here.state / ".pulumi" / "stacks" / "agentstack" / "dev.json"
    stack.parent.mkdir(parents=True)
    stack.write_text("{}")
    if empty:
        here.passphrase.write_text("")
    with pytest.raises(Failure, match=r"passphrase.*is missing.*dev") as caught:
        state.ensure_state(here, {})
    assert "backup" in caught.value.todo
    assert not here.passphrase.exists() or here.passphrase.read_text() == ""
    assert not here.env.exists()


def test_two_machines_have_different_passphrases(here: Layout, tmp_path: Path) -> None:
    other = Layout(root=tmp_path, home=tmp_path / "other", cache=here.cache)
    state.ensure_state(here, {})
    state.ensure_state(other, {})
    assert here.passphrase.read_text() != other.passphrase.read_text()


def test_a_shell_that_reads_env_has_what_our_own_commands_have(here: Layout, tmp_path: Path) -> None:
    """`. .agentstack/env` and `environment()` must agree, also with spaces and quotes in paths."""
    odd = tmp_path / "it's a place"
    state.ensure_state(here, state.variables(here, odd / "bin", odd / "home", "unix:///run/user/1/docker.sock"))
    shell = subprocess.run(
        ["/bin/sh", "-c", '. "$1"; . "$1"; env -0', "sh", str(here.env)],
        capture_output=True,
        text=True,
        check=True,
        env={"PATH": "/usr/bin:/bin", "PULUMI_CONFIG_PASSPHRASE": "left over"},
    )
    seen = dict(pair.split("=", 1) for pair in shell.stdout.split("\0") if pair)
    ours = state.environment(here)
    assert "PULUMI_CONFIG_PASSPHRASE" not in seen
    for name in ("PULUMI_BACKEND_URL", "PULUMI_CONFIG_PASSPHRASE_FILE", "PULUMI_HOME", "DOCKER_HOST"):
        assert seen[name] == ours[name]
    assert seen["PATH"] == f"{odd / 'bin'}:/usr/bin:/bin"
    assert ours["PATH"].split(":")[0] == str(odd / "bin")
    assert seen["PULUMI_BACKEND_URL"] == f"file://{here.state}"


@given(path=st.text(st.characters(blacklist_characters="\n\0", blacklist_categories=("Cs", "Cc")), min_size=1))
def test_any_path_survives_the_env_file(path: str) -> None:
    values = {"PULUMI_HOME": path, "PATH": path}
    assert state.read_env(state.render_env(values)) == values


def test_variables_that_change_what_pulumi_does_are_left_out(here: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    state.ensure_state(here, {})
    monkeypatch.setenv("PULUMI_OPTION_REFRESH", "true")
    monkeypatch.setenv("PULUMI_CONFIG_PASSPHRASE", "")
    assert not {"PULUMI_OPTION_REFRESH", "PULUMI_CONFIG_PASSPHRASE"} & set(state.environment(here))


def test_without_setup_the_next_step_is_named(here: Layout) -> None:
    with pytest.raises(Failure) as caught:
        state.environment(here)
    assert "make setup" in caught.value.todo


# ---- which stack


@pytest.mark.parametrize(
    ("given", "variable", "expected"),
    [("prod", "other", "prod"), (None, "other", "other"), (None, None, "dev"), (None, "", "dev")],
)
def test_the_stack_is_the_one_named_then_the_variable_then_dev(
    monkeypatch: pytest.MonkeyPatch, given: str | None, variable: str | None, expected: str
) -> None:
    monkeypatch.delenv("PULUMI_STACK", raising=False)
    if variable is not None:
        monkeypatch.setenv("PULUMI_STACK", variable)
    assert stack_name(given) == expected


# ---- image source


def stack_file(here: Layout, text: str) -> None:
    (here.root / "Pulumi.dev.yaml").write_text(text)


def choose(here: Layout, progress: Progress) -> str:
    return registry.choose(here, "dev", progress, ["postgres", "ghcr.io/x/y"])


@pytest.fixture
def answering(monkeypatch: pytest.MonkeyPatch) -> dict[str, bool]:
    """Registries that answer; the others don't."""
    hosts: dict[str, bool] = {}
    monkeypatch.setattr(registry, "answers", lambda host: hosts.get(host, False))
    return hosts


@pytest.mark.usefixtures("answering")
def test_the_stack_files_own_choice_wins(here: Layout, progress: Progress) -> None:
    here.stack("dev").mkdir(parents=True)
    (here.stack("dev") / "local.json").write_text('{"imageSource": "local"}')
    stack_file(here, "config: {'agentstack:stack': {imageSource: registry}}")
    assert choose(here, progress) == "registry"


def test_a_kept_choice_is_not_asked_again(here: Layout, progress: Progress, answering: dict[str, bool]) -> None:
    stack_file(here, "config: {'agentstack:stack': {}}")
    assert choose(here, progress) == "local"
    answering.update({"registry-1.docker.io": True, "ghcr.io": True})
    assert choose(here, progress) == "local"
    (here.stack("dev") / "local.json").unlink()
    assert choose(here, progress) == "registry"
    answering.clear()
    assert choose(here, progress) == "registry"


def test_one_silent_registry_is_enough_for_local_and_is_named(
    here: Layout, progress: Progress, said: io.StringIO, answering: dict[str, bool]
) -> None:
    answering["registry-1.docker.io"] = True
    assert choose(here, progress) == "local"
    assert "no answer from ghcr.io" in said.getvalue()
    assert json.loads((here.stack("dev") / "local.json").read_text()) == {"imageSource": "local"}


def test_a_mirror_is_asked_instead_of_the_registries(
    here: Layout, progress: Progress, answering: dict[str, bool]
) -> None:
    stack_file(here, "config: {'agentstack:stack': {registryMirror: 'mirror.example.org:5000'}}")
    answering["mirror.example.org:5000"] = True
    assert choose(here, progress) == "registry"


@pytest.mark.parametrize("text", ["{", '{"imageSource": "cloud"}', "[]"])
def test_a_damaged_choice_is_an_error_that_says_what_to_do(here: Layout, progress: Progress, text: str) -> None:
    here.stack("dev").mkdir(parents=True)
    (here.stack("dev") / "local.json").write_text(text)
    with pytest.raises(Failure) as caught:
        choose(here, progress)
    assert "remove the file" in caught.value.todo


@pytest.mark.parametrize(
    ("repository", "host"),
    [
        ("postgres", "registry-1.docker.io"),
        ("grafana/grafana", "registry-1.docker.io"),
        ("docker.io/library/haproxy", "registry-1.docker.io"),
        ("quay.io/prometheus/prometheus", "quay.io"),
        ("localhost/x", "localhost"),
        ("127.0.0.1:5000/x/y", "127.0.0.1:5000"),
    ],
)
def test_a_reference_names_its_registry(repository: str, host: str) -> None:
    assert registry.registry_of(repository) == host


class Answer(http.server.BaseHTTPRequestHandler):
    """Answers /v2/ with the server's status."""

    def do_GET(self) -> None:
        self.send_response(self.server.status)  # type: ignore[attr-defined]
        self.end_headers()

    def log_message(self, *_arguments: Any) -> None:
        pass


@contextmanager
def serving(status: int) -> Iterator[str]:
    """A plain http server on loopback."""
    server = http.server.HTTPServer(("127.0.0.1", 0), Answer)
    server.status = status  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize(("status", "expected"), [(200, True), (401, True), (403, False), (404, False), (502, False)])
def test_a_registry_answers_by_200_or_401(status: int, expected: bool) -> None:
    with serving(status) as host:
        assert registry.answers(host) is expected


# ---- locks


def lock_file(state_dir: Path, stack: str, content: object) -> Path:
    path = state_dir / ".pulumi" / "locks" / "organization" / "agentstack" / stack / "a1.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def lock(pid: int, host: str = "here") -> dict[str, object]:
    return {"pid": pid, "hostname": host, "username": "me", "timestamp": "2026-01-01T00:00:00Z"}


def dead_pid() -> int:
    with subprocess.Popen(["true"]) as process:
        process.wait()
    return process.pid


def test_a_dead_processs_lock_is_removed_and_another_stacks_stays(tmp_path: Path) -> None:
    path = lock_file(tmp_path, "dev", lock(dead_pid()))
    path.with_name(path.name + ".attrs").write_text("{}")
    other = lock_file(tmp_path, "prod", lock(dead_pid()))
    assert heal.remove_dead_locks(tmp_path, "dev", host="here") == 1
    assert list(path.parent.iterdir()) == []
    assert other.exists()


def test_a_process_id_that_is_used_again_is_no_pulumi(tmp_path: Path) -> None:
    """Our own process lives, but it is not the one that locked."""
    lock_file(tmp_path, "dev", lock(os.getpid()))
    assert heal.remove_dead_locks(tmp_path, "dev", host="here") == 1


def test_a_living_pulumis_lock_stays(tmp_path: Path) -> None:
    sleeper = program(tmp_path / "pulumi", "read _")
    with subprocess.Popen([str(sleeper)], stdin=subprocess.PIPE) as process:
        path = lock_file(tmp_path, "dev", lock(process.pid))
        dead = lock_file(tmp_path, "dev", lock(process.pid)).with_name("b2.json")
        dead.write_text(json.dumps(lock(dead_pid())))
        with pytest.raises(Failure, match=f"process {process.pid}"):
            heal.remove_dead_locks(tmp_path, "dev", host="here")
        assert path.exists()
        assert dead.exists()


def test_another_hosts_lock_stays_and_the_advice_is_to_cancel(tmp_path: Path) -> None:
    path = lock_file(tmp_path, "dev", lock(dead_pid(), host="elsewhere"))
    with pytest.raises(Failure, match="elsewhere") as caught:
        heal.remove_dead_locks(tmp_path, "dev", host="here")
    assert "pulumi cancel" in caught.value.todo
    assert path.exists()


def test_a_lock_that_was_cut_off_while_written_is_removed(tmp_path: Path) -> None:
    lock_file(tmp_path, "dev", '{"pid": 12')
    assert heal.remove_dead_locks(tmp_path, "dev", host="here") == 1


# ---- what the state does not know


def thing(name: str, role: str = "service", *, running: bool = True, networks: tuple[str, ...] = ()) -> heal.Thing:
    return heal.Thing(id=f"id-{name}", name=name, role=role, running=running, networks=frozenset(networks))


KNOWN = heal.Known(ids=frozenset({"id-net", "id-postgres", "data"}))


def test_unknown_containers_networks_and_config_volumes_go_and_data_stays() -> None:
    found = heal.Found(
        containers=(thing("postgres", networks=("id-net",)), thing("phoenix", networks=("id-net",))),
        networks=(thing("net"), thing("old")),
        volumes=tuple(
            heal.Thing(name, name, role)
            for name, role in (
                ("data", "data"),
                ("lost-data", "data"),
                ("config-1", "config"),
                ("live", "live"),
                ("unlabelled", ""),
            )
        ),
    )
    decided = heal.plan(KNOWN, found)
    assert [x.name for x in decided.containers] == ["phoenix"]
    assert [x.name for x in decided.networks] == ["old"]
    assert [x.name for x in decided.volumes] == ["config-1"]
    assert decided.foreign == ()


def test_another_checkouts_running_stack_is_seen() -> None:
    found = heal.Found(
        containers=(thing("postgres-b", networks=("id-net-b",)), thing("carrier", "config", running=False)),
        networks=(thing("net-b"),),
    )
    assert [x.name for x in heal.plan(heal.Known(), found).foreign] == ["postgres-b"]


def test_what_a_cut_off_run_was_making_is_not_foreign() -> None:
    pending = heal.Known(pending_names=frozenset({"net-b", "postgres-b"}))
    found = heal.Found(containers=(thing("postgres-b", networks=("id-net-b",)),), networks=(thing("net-b"),))
    decided = heal.plan(pending, found)
    assert decided.foreign == ()
    assert [x.name for x in decided.containers] == ["postgres-b"]


EXPORT: dict[str, Any] = {
    "version": 3,
    "deployment": {
        "secrets_providers": {"type": "passphrase", "state": {"salt": "v1:abc"}},
        "resources": [
            {"type": "pulumi:pulumi:Stack", "urn": "s"},
            {"type": heal.CONTAINER, "id": "c1", "inputs": {"name": "agentstack-dev-a"}},
            {"type": heal.VOLUME, "id": "agentstack-dev-v", "delete": True},
            {"type": "random:index/randomPassword:RandomPassword", "id": "none"},
        ],
        "pending_operations": [
            {"type": "creating", "resource": {"type": heal.CONTAINER, "inputs": {"name": "agentstack-dev-b"}}},
            {"type": "creating", "resource": {"type": "pulumi:providers:docker", "inputs": {}}},
        ],
    },
}


def test_a_state_is_read() -> None:
    known = heal.known_of(EXPORT)
    assert known == heal.Known(frozenset({"c1", "agentstack-dev-v"}), frozenset({"agentstack-dev-b"}), 2)
    assert driver.salt_of(EXPORT) == "v1:abc"


def test_pending_operations_are_given_up_and_nothing_else() -> None:
    mended = heal.without_pending(EXPORT)
    assert heal.known_of(mended).pending == 0
    assert mended["deployment"]["resources"] == EXPORT["deployment"]["resources"]
    assert mended["version"] == 3
    assert len(EXPORT["deployment"]["pending_operations"]) == 2


def test_a_new_stacks_empty_state_is_read() -> None:
    assert heal.known_of({"version": 3, "deployment": {"resources": None}}) == heal.Known()


def test_a_removed_stack_leaves_no_state_and_another_stays(tmp_path: Path) -> None:
    kept = tmp_path / ".pulumi" / "stacks" / "agentstack" / "dev2.json"
    gone = [kept.with_name("dev.json.bak"), tmp_path / ".pulumi" / "history" / "agentstack" / "dev" / "x.json"]
    for path in (kept, *gone):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")
    down.forget_state(tmp_path, "dev")
    assert kept.exists()
    assert not any(path.exists() for path in gone)
    assert state.stacks_in_state(tmp_path) == ["dev2"]


# ---- the committed stack file

COMMITTED = b"# why\nconfig:\n  agentstack:stack: {cpus: 4.0}\n"
SALTED = b"# why\nconfig:\n  agentstack:stack: {cpus: 4}\nencryptionsalt: v1:abc\n"


def test_the_salt_that_pulumi_writes_is_taken_out_again_byte_for_byte(tmp_path: Path) -> None:
    file = tmp_path / "Pulumi.dev.yaml"
    file.write_bytes(COMMITTED)

    def failing_operation() -> None:
        with driver.untouched(file):
            file.write_bytes(SALTED)
            raise KeyError("also when the operation fails")

    with pytest.raises(KeyError):
        failing_operation()
    assert file.read_bytes() == COMMITTED


def test_what_a_person_wrote_meanwhile_stays(tmp_path: Path) -> None:
    file = tmp_path / "Pulumi.dev.yaml"
    file.write_bytes(COMMITTED)
    edited = SALTED.replace(b"4}", b"8}")
    with driver.untouched(file):
        file.write_bytes(edited)
    assert file.read_bytes() == edited


def test_a_file_with_secrets_of_its_own_keeps_its_salt(tmp_path: Path) -> None:
    file = tmp_path / "Pulumi.dev.yaml"
    secret = COMMITTED + b"  agentstack:key:\n    secure: v1:x\n"
    file.write_bytes(secret)
    with driver.untouched(file):
        file.write_bytes(secret + b"encryptionsalt: v1:abc\n")
    assert b"encryptionsalt" in file.read_bytes()
    driver.forget_salt(file, "v1:abc")
    assert b"encryptionsalt" in file.read_bytes()


def test_only_this_machines_own_salt_is_forgotten(tmp_path: Path) -> None:
    file = tmp_path / "Pulumi.dev.yaml"
    file.write_bytes(SALTED)
    driver.forget_salt(file, "v1:other")
    driver.forget_salt(file, None)
    assert file.read_bytes() == SALTED
    driver.forget_salt(file, "v1:abc")
    assert file.read_bytes() == SALTED.replace(b"encryptionsalt: v1:abc\n", b"")


# ---- Pulumi's output

FAILED = """Updating (dev):
 +  pulumi:pulumi:Stack agentstack-dev creating (0s)
 +  agentstack:observability:Networks networks creating (0s)
 +  docker:index:Network phoenix-network creating (0s)
 +  docker:index:Network phoenix-network created (2s)
 +  docker:index:Container postgres creating (0s)
@ updating......
 +  docker:index:Container postgres creating (60s) error: container failed to be in healthy state
Diagnostics:
  docker:index:Container (postgres):
    error: container failed to be in healthy state

Resources:
    + 1 created

Duration: 1m2s
"""


def test_an_operations_output_tells_what_is_waited_for_and_what_went_wrong() -> None:
    watch = driver.Watch()
    lines = FAILED.splitlines()
    for line in lines[:6]:
        watch.line(line)
    assert watch.waiting_for().startswith("waiting for postgres (")
    assert "," not in watch.waiting_for()
    for line in lines[6:]:
        watch.line(line)
    assert (
        watch.diagnostics()
        == "  docker:index:Container (postgres):\n    error: container failed to be in healthy state"
    )
    assert watch.summary() == "+ 1 created"
    assert "make logs" in driver.advice(watch.diagnostics(), "dev")


def test_a_failure_shows_the_end_of_the_sick_containers_log(here: Layout, progress: Progress, machine: Path) -> None:
    program(machine / "bin" / "docker", 'echo "$*: permission denied on /data"')
    state.ensure_state(here, {})
    words = driver.Stack(here, "dev", progress).last_words("  docker:index:Container (postgres):\n    error: x")
    said = "    logs --tail 12 agentstack-dev-postgres: permission denied on /data"
    assert words == f"the end of agentstack-dev-postgres's log:\n{said}\n"


# ---- versions and what is there already


@pytest.mark.parametrize(
    ("text", "minimum", "expected"),
    [
        ("v3.259.0", "3.259.0", True),
        ("v3.272.1-dev", "3.259.0", True),
        ("v3.99.0", "3.259.0", False),
        ("v4.0.0", "3.259.0", False),
        ("go version go1.26.8 linux/amd64", "1.26.0", True),
        ("go version go1.9 linux/amd64", "1.26.0", False),
        ("nothing", "1.0.0", False),
    ],
)
def test_versions_are_compared_as_numbers(text: str, minimum: str, expected: bool) -> None:
    assert versions.at_least(text, minimum) is expected


def test_the_plugins_have_the_versions_that_the_locked_packages_ask_for() -> None:
    for name, package in versions.PLUGINS.items():
        described = json.loads((site_packages() / package.replace("-", "_") / "pulumi-plugin.json").read_text())
        assert described["name"] == name
        assert described["version"].lstrip("v") == versions.plugin_versions(layout())[name]


def site_packages() -> Path:
    import pulumi_docker

    return Path(pulumi_docker.__file__).parent.parent


def test_pulumi_and_bootstrap_agree_about_the_oldest_version() -> None:
    assert f'">={versions.MINIMUM_PULUMI} ' in (ROOT / "Pulumi.yaml").read_text()


WANTED = {"docker": "5.2.0", "tls": "5.6.2"}


def make_pulumi(binary: Path, home: Path, version: str = "v3.300.0") -> None:
    program(binary / "pulumi", f"echo {version}")
    program(binary / "pulumi-language-python", "")
    for name, plugin in WANTED.items():
        program(home / "plugins" / f"resource-{name}-v{plugin}" / f"pulumi-resource-{name}", "")


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PATH with the shell's own commands and `<tmp>/bin`, a home of its own."""
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    monkeypatch.setenv("HOME", str(tmp_path / "me"))
    for name in ("PULUMI_HOME", "DOCKER_HOST", "DOCKER_CONTEXT"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def test_a_users_complete_pulumi_is_used_as_it_is(machine: Path) -> None:
    make_pulumi(machine / "bin", machine / "me" / ".pulumi")
    assert pulumi_cli.of_the_user(WANTED) == pulumi_cli.Pulumi(bin=None, home=None)


def test_a_users_pulumi_home_off_the_path_is_found(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = machine / "elsewhere"
    make_pulumi(home / "bin", home)
    monkeypatch.setenv("PULUMI_HOME", str(home))
    assert pulumi_cli.of_the_user(WANTED) == pulumi_cli.Pulumi(bin=home / "bin", home=home)


@pytest.mark.parametrize("lacks", ["version", "plugin", "half a plugin", "language host"])
def test_a_users_incomplete_pulumi_is_left_alone(machine: Path, lacks: str) -> None:
    home = machine / "me" / ".pulumi"
    make_pulumi(machine / "bin", home, "v3.100.0" if lacks == "version" else "v3.300.0")
    plugin = home / "plugins" / "resource-tls-v5.6.2"
    if lacks == "plugin":
        (plugin / "pulumi-resource-tls").unlink()
    elif lacks == "half a plugin":
        plugin.with_name(f"{plugin.name}.partial").touch()
    elif lacks == "language host":
        (machine / "bin" / "pulumi-language-python").unlink()
    assert pulumi_cli.of_the_user(WANTED) is None


def test_the_cache_is_trusted_only_with_its_stamp(tmp_path: Path) -> None:
    make_pulumi(tmp_path / "bin", tmp_path / "home")
    assert pulumi_cli.in_cache(tmp_path, WANTED) is None
    (tmp_path / "complete").touch()
    assert pulumi_cli.in_cache(tmp_path, WANTED) == pulumi_cli.Pulumi(tmp_path / "bin", tmp_path / "home")


def test_an_installer_that_does_not_answer_is_given_up_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        began = time.monotonic()
        assert pulumi_cli.fetch_installer(f"http://127.0.0.1:{silent.getsockname()[1]}/", seconds=0.2) is None
        assert time.monotonic() - began < 5


INSTALLER = """
while [ $# -gt 0 ]; do case $1 in --install-root) root=$2; shift;; --version) version=$2; shift;; esac; shift; done
mkdir -p "$root/bin"
cat > "$root/bin/pulumi" <<'END'
#!/bin/sh
[ "$1" = plugin ] || { echo v3.300.0; exit; }
d=$PULUMI_HOME/plugins/resource-$4-$5
mkdir -p "$d" && echo '#!/bin/sh' > "$d/pulumi-resource-$4" && [ ! -f "$PULUMI_HOME/../../fail" ]
END
chmod 755 "$root/bin/pulumi"
"""


@pytest.fixture
def official(here: Layout, monkeypatch: pytest.MonkeyPatch) -> Path:
    (here.root / "requirements.lock").write_text("pulumi==3.300.0 \\\n")
    monkeypatch.setattr(pulumi_cli, "fetch_installer", lambda _url: INSTALLER.encode())
    return here.cache / "engine" / "official"


def test_the_official_installer_fills_the_cache(here: Layout, progress: Progress, official: Path) -> None:
    assert pulumi_cli.install_officially(here, progress, official, WANTED)
    assert pulumi_cli.in_cache(official, WANTED) == pulumi_cli.Pulumi(official / "bin", official / "home")
    assert [path.name for path in official.parent.iterdir()] == ["official"]


def test_an_installation_that_fails_half_way_leaves_nothing(here: Layout, progress: Progress, official: Path) -> None:
    official.parent.mkdir(parents=True)
    (official.parent / "fail").touch()
    assert not pulumi_cli.install_officially(here, progress, official, WANTED)
    assert [path.name for path in official.parent.iterdir()] == ["fail"]


# ---- the build from modules


def test_the_builds_key_follows_sources_and_plugin_versions(tmp_path: Path) -> None:
    (tmp_path / "cli").mkdir()
    (tmp_path / "cli" / "go.mod").write_text("go 1.26.0\n")
    first = gobuild.key(tmp_path, WANTED)
    assert gobuild.key(tmp_path, WANTED) == first
    assert gobuild.key(tmp_path, {**WANTED, "tls": "5.6.3"}) != first
    (tmp_path / "cli" / "go.mod").write_text("go 1.27.0\n")
    assert gobuild.key(tmp_path, WANTED) != first
    assert gobuild.required_go(tmp_path) == "1.27.0"


def test_a_go_on_the_path_that_is_new_enough_is_used(here: Layout, progress: Progress, machine: Path) -> None:
    go_mod = here.root / "tools" / "engine" / "cli" / "go.mod"
    go_mod.parent.mkdir(parents=True)
    go_mod.write_text("module x\n\ngo 1.26.0\n")
    go = program(machine / "bin" / "go", "echo go version go1.26.1 linux/amd64")
    assert gobuild.ensure_go(here, progress) == go


def test_a_build_takes_modules_from_the_proxy_alone(machine: Path) -> None:
    go = program(machine / "bin" / "go", "echo 'https://proxy.example.org,direct'")
    env = gobuild.go_environment(go)
    assert env["GOPROXY"] == "https://proxy.example.org"
    assert env["CGO_ENABLED"] == "0"


def test_a_staged_folder_that_fails_leaves_nothing_and_old_ones_go(tmp_path: Path) -> None:
    folder = tmp_path / "engine" / "k"
    (folder.parent / ".k.killed").mkdir(parents=True)
    with pytest.raises(KeyError), gobuild.staged(folder):
        raise KeyError
    assert list(folder.parent.iterdir()) == []
    with gobuild.staged(folder) as stage:
        (stage / "x").touch()
        gobuild.finish(stage, folder)
    assert sorted(path.name for path in folder.iterdir()) == ["complete", "x"]


# ---- the engine


def test_an_engine_that_answers_is_used_as_it_is(here: Layout, progress: Progress, machine: Path) -> None:
    program(machine / "bin" / "docker", "echo 20.10.24")
    docker_engine.ensure_engine(here, progress, runs=lambda: pytest.fail("nothing more to ask"))


def test_a_dockerd_that_somebody_else_started_is_not_touched(
    here: Layout, progress: Progress, machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(machine / "bin" / "docker", "exit 1")
    program(machine / "bin" / "dockerd", f"touch {machine}/started")
    monkeypatch.setattr(docker_engine, "START_SECONDS", 0.1)
    with pytest.raises(Failure, match="does not answer this user"):
        docker_engine.ensure_engine(here, progress, runs=lambda: True)
    assert not (machine / "started").exists()


def test_an_engine_that_was_asked_for_by_name_is_not_replaced(
    here: Layout, progress: Progress, machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(machine / "bin" / "docker", "exit 1")
    monkeypatch.setenv("DOCKER_HOST", "tcp://elsewhere:2376")
    with pytest.raises(Failure, match="tcp://elsewhere:2376"):
        docker_engine.ensure_engine(here, progress, runs=lambda: False)


@pytest.fixture
def no_systemd(monkeypatch: pytest.MonkeyPatch) -> None:
    is_dir = Path.is_dir
    monkeypatch.setattr(Path, "is_dir", lambda self: str(self) != "/run/systemd/system" and is_dir(self))


@pytest.mark.usefixtures("no_systemd")
def test_an_engine_is_started_where_there_is_none(
    here: Layout, progress: Progress, machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    program(machine / "bin" / "docker", f"[ -f {machine}/up ]")
    program(machine / "bin" / "dockerd", f"ulimit -n > {machine}/limit; touch {machine}/up; echo ready")
    docker_engine.ensure_engine(here, progress, runs=lambda: False)
    assert (here.home / "dockerd.pid").read_text().strip().isdigit()
    assert int((machine / "limit").read_text()) <= docker_engine.NOFILE


@pytest.mark.usefixtures("no_systemd")
def test_an_engine_that_ends_while_starting_is_told_with_its_log(
    here: Layout, progress: Progress, machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    program(machine / "bin" / "docker", "exit 1")
    program(machine / "bin" / "dockerd", "echo 'no cgroups here' >&2; exit 1")
    with pytest.raises(Failure, match="no cgroups here"):
        docker_engine.ensure_engine(here, progress, runs=lambda: False)


def test_installing_without_root_says_so(
    here: Layout, progress: Progress, machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    program(machine / "bin" / "apt-get", f"touch {machine}/called")
    with pytest.raises(Failure, match="needs root") as caught:
        docker_engine.apt_install(here, progress, "docker.io")
    assert "sudo make" in caught.value.todo
    assert not (machine / "called").exists()


def test_dockerd_is_found_among_the_processes(tmp_path: Path) -> None:
    (tmp_path / "7").mkdir()
    (tmp_path / "7" / "comm").write_text("bash\n")
    assert not docker_engine.dockerd_runs(tmp_path)
    (tmp_path / "8").mkdir()
    (tmp_path / "8" / "comm").write_text("dockerd\n")
    assert docker_engine.dockerd_runs(tmp_path)


# ---- the virtual environment


def test_the_environment_is_stale_when_the_lock_changes(here: Layout) -> None:
    here.lock.write_text("a==1\n")
    program(here.venv / "bin" / "python", "")
    assert not venv.is_current(here)
    (here.venv / venv.KEY_FILE).write_text(venv.key(here))
    assert venv.is_current(here)
    here.lock.write_text("a==2\n")
    assert not venv.is_current(here)


def test_the_lock_has_a_hash_for_everything_and_no_address() -> None:
    from tools.lock import addresses

    text = (ROOT / "requirements.lock").read_text()
    assert addresses(text) == []
    blocks = text.replace("\\\n", "").splitlines()
    assert all("--hash=sha256:" in block for block in blocks if "==" in block)
    assert locked_version(ROOT / "requirements.lock", "pulumi-docker") == "5.2.0"


def test_the_bootstrap_needs_nothing_but_the_standard_library() -> None:
    """It runs before there is a virtual environment: an isolated Python must be able to import all of it."""
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r}); import tools.bootstrap"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


# ---- what a person sees


def test_a_failure_says_what_and_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    def work() -> int:
        raise Failure("the disk is full", "free some", code=2)

    assert console.main(work) == 2
    assert capsys.readouterr().err == "\nerror: the disk is full\nwhat to do: free some\n"


def test_a_commands_output_is_kept_and_its_code_returned(tmp_path: Path) -> None:
    seen: list[str] = []
    log = tmp_path / "logs" / "x.log"
    assert console.run(["sh", "-c", "echo a; echo b >&2; exit 3"], log, on_line=seen.append) == 3
    assert sorted(seen) == ["a", "b"]
    assert "a\n" in log.read_text()


def test_a_command_that_hangs_is_ended_with_its_children(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    with pytest.raises(Failure, match="did not end within"):
        console.run(["sh", "-c", f"sleep 600 & echo $! > {pid_file}; wait"], tmp_path / "x.log", timeout_seconds=0.3)
    child = int(pid_file.read_text())
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline and runs(child):
        time.sleep(0.02)
    assert not runs(child)


def runs(pid: int) -> bool:
    try:
        return (Path("/proc") / str(pid) / "stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def test_the_table_names_commands_and_never_a_value() -> None:
    outputs = {
        "endpoints": {"phoenix": "https://localhost:6006", "grafana": "https://localhost:3001"},
        "stand_ins": ["grafana"],
    }
    table = up.table(outputs, "prod")
    cells = [list(column.cells) for column in table.columns]
    assert cells[0] == ["https://localhost:6006", "https://localhost:3001"]
    assert str(cells[1][1]).endswith("(a stand-in)")
    assert all("agentstack outputs --show-secrets --stack prod" in str(cell) for cell in cells[2])


def test_the_ca_is_written_for_everybody_to_read(here: Layout) -> None:
    certificate = "-----BEGIN CERTIFICATE-----\nabc\n-----END CERTIFICATE-----\n"
    path = up.write_ca(here, "dev", {"ca_certificate": certificate})
    assert path == here.root / ".agentstack" / "dev" / "ca.crt"
    assert path.read_text() == certificate
    with pytest.raises(Failure, match="ca_certificate"):
        up.write_ca(here, "dev", {})


# ---- make and .ci/run


def test_every_target_of_the_makefile_says_what_it_does() -> None:
    text = (ROOT / "Makefile").read_text()
    phony = {line.split()[1] for line in text.splitlines() if line.startswith(".PHONY:")}
    shown = subprocess.run(
        ["make", "--no-print-directory"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert phony == {line.split()[0] for line in shown.splitlines()[1:]}


def run_ci(tmp_path: Path, make: str) -> subprocess.CompletedProcess[str]:
    """`.ci/run` in a checkout whose `make` is a script."""
    ci = tmp_path / "checkout" / ".ci" / "run"
    ci.parent.mkdir(parents=True)
    ci.write_bytes((ROOT / ".ci" / "run").read_bytes())
    (tmp_path / "checkout" / ".agentstack" / "logs").mkdir(parents=True)
    program(tmp_path / "bin" / "make", make)
    env = {**os.environ, "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"}
    return subprocess.run(["sh", str(ci)], capture_output=True, text=True, check=False, env=env)


@pytest.mark.parametrize(("code", "closing"), [(0, "3 passed in 1.2s"), (1, "1 failed"), (5, "no tests ran in 0.1s")])
def test_ci_ends_with_pytests_code_and_closing_line(tmp_path: Path, code: int, closing: str) -> None:
    done = run_ci(tmp_path, f"printf '{code}\\n=== {closing} ===\\n' > .agentstack/logs/test-result; exit 2")
    assert done.returncode == code
    assert done.stdout.splitlines()[-1] == f"=== {closing} ==="


def test_ci_fails_when_the_tests_did_not_run(tmp_path: Path) -> None:
    (tmp_path / "checkout" / ".agentstack" / "logs").mkdir(parents=True)
    (tmp_path / "checkout" / ".agentstack" / "logs" / "test-result").write_text("0\nan old run\n")
    assert run_ci_again(tmp_path).returncode == 1


def run_ci_again(tmp_path: Path) -> subprocess.CompletedProcess[str]:
    for path in sorted((tmp_path / "checkout").rglob("*"), reverse=True):
        if path.is_dir():
            path.rmdir() if not any(path.iterdir()) else None
    ci = tmp_path / "checkout" / ".ci" / "run"
    ci.parent.mkdir(parents=True, exist_ok=True)
    ci.write_bytes((ROOT / ".ci" / "run").read_bytes())
    program(tmp_path / "bin" / "make", "exit 2")
    env = {**os.environ, "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"}
    return subprocess.run(["sh", str(ci)], capture_output=True, text=True, check=False, env=env)


# ---- skipped tests

README = """# Tests

| `tests/unit/test_a.py::test_b` | above the heading: not a listing |

## Skipped tests

| test | reason |
| --- | --- |
| `tests/e2e/test_x.py::test_y` | needs a registry |
| `tests/e2e/test_z.py` | needs two hosts |
| `tests/unit/test_a.py::test_c` |  |

## More
| `tests/unit/test_a.py::test_d` | below |
"""


def test_a_listing_needs_its_heading_and_a_reason() -> None:
    assert allowed_skips(README) == {
        "tests/e2e/test_x.py::test_y": "needs a registry",
        "tests/e2e/test_z.py": "needs two hosts",
    }


@pytest.mark.parametrize(
    ("node", "expected"),
    [
        ("tests/e2e/test_x.py::test_y", True),
        ("tests/e2e/test_x.py::test_y[a-b]", True),
        ("tests/e2e/test_x.py::test_yy", False),
        ("tests/e2e/test_z.py::test_any", True),
    ],
)
def test_a_test_is_listed_by_its_id_or_its_file(node: str, expected: bool) -> None:
    assert is_listed(node, allowed_skips(README)) is expected


@pytest.mark.parametrize(("listed", "code"), [(True, 0), (False, 1)])
def test_a_skipped_test_that_is_not_listed_fails_the_run(tmp_path: Path, listed: bool, code: int) -> None:
    (tmp_path / "tests").mkdir()
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    (tmp_path / "conftest.py").write_text('pytest_plugins = ("tools.pytest_skips",)\n')
    (tmp_path / "tests" / "test_s.py").write_text(
        "import pytest\n\n\n@pytest.mark.skip(reason='x')\ndef test_s():\n    pass\n\n\ndef test_t():\n    pass\n"
    )
    row = "| `tests/test_s.py::test_s` | because |\n" if listed else ""
    (tmp_path / "tests" / "README.md").write_text(f"## Skipped tests\n{row}")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == code, done.stdout
    assert ("does not list" in done.stdout) is not listed


def test_the_key_of_an_environment_is_a_digest(here: Layout) -> None:
    here.lock.write_text("a==1\n")
    assert len(venv.key(here)) == len(hashlib.sha256().hexdigest())


@pytest.mark.parametrize(
    ("stat", "runs"),
    [
        ("42 (pulumi) S 1 42 42", True),
        ("42 (pulumi-language-) R 1 42 42", True),
        ("42 (pulumi) Z 1 42 42", False),
        ("42 (bash) S 1 42 42", False),
        ("42 (a ) pulumi (b) S 1 42 42", False),
    ],
)
def test_a_zombie_or_another_program_is_no_running_pulumi(tmp_path: Path, stat: str, runs: bool) -> None:
    (tmp_path / "42").mkdir()
    (tmp_path / "42" / "stat").write_text(stat)
    assert heal.runs_pulumi(42, tmp_path) is runs
    assert not heal.runs_pulumi(43, tmp_path)
