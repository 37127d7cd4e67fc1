"""How the backup is configured: its settings, pgBackRest's files, the service as it is declared."""

import configparser
import json
from typing import Any

import pytest

from components.backup import render
from components.backup.component import Backup
from components.backup.container import config
from components.names import NetworkName
from components.postgres import Postgres, archive
from components.settings import Settings, SettingsError, load_settings
from components.settings.backup import BackupSettings, S3Settings
from components.workload import DataVolume, Workload
from tests.engine.database_lab import describe

TEXTFILE = DataVolume("textfile", "/textfile", mode="1777")


def ini(text: str) -> dict[str, dict[str, str]]:
    parser = configparser.ConfigParser(interpolation=None)
    parser.read_string(text)
    return {name: dict(parser[name]) for name in parser.sections()}


def s3(tmp_path: Any, **more: object) -> dict[str, object]:
    (tmp_path / "key").write_text("the-key\n")
    (tmp_path / "secret").write_text("the-secret\n")
    files = {"keyFile": str(tmp_path / "key"), "secretFile": str(tmp_path / "secret")}
    return {"endpoint": "s3.example.org", "bucket": "backups", "region": "eu-west-1", **files, **more}


def described(settings: Settings | None = None) -> dict[str, Any]:
    def build(context: Any) -> None:
        Backup("backup", context, postgres=Postgres("postgres", context), textfile=TEXTFILE)

    return describe(build, settings=settings)


def service(settings: Settings | None = None) -> Workload:
    found = described(settings)["backup"]
    assert isinstance(found, Workload)
    return found


def test_the_server_archives_asynchronously_to_the_local_repository_alone() -> None:
    found = ini(archive.server_conf(BackupSettings(), "pass"))["global"]
    assert found["archive-async"] == "y"
    assert found["repo1-path"] == archive.REPOSITORY_DIR
    assert not [name for name in found if name.startswith(("repo2", "repo1-s3"))]
    values = archive.archive_values(BackupSettings())
    assert values["archive_mode"] is True
    assert "pgbackrest" in str(values["archive_command"]), "pgBackRest's own checks look for its name"
    assert values["archive_timeout"] == "300s"


def test_repositories_are_encrypted_and_kept_by_time() -> None:
    found = ini(render.local_conf(BackupSettings(), "pass"))["global"]
    assert (found["repo1-cipher-type"], found["repo1-cipher-pass"]) == ("aes-256-cbc", "pass")
    assert (found["repo1-retention-full-type"], found["repo1-retention-full"]) == ("time", "90")


def test_the_second_repository_stands_alone(tmp_path: Any) -> None:
    settings = S3Settings.model_validate(s3(tmp_path, endpoint="minio:9000", uriStyle="path", caFile="/ca.pem"))
    found = ini(render.s3_conf(BackupSettings(), settings, "pass", "the-key\n", "the-secret\n"))["global"]
    assert found["repo1-type"] == "s3"
    assert (found["repo1-s3-endpoint"], found["repo1-storage-port"]) == ("minio", "9000")
    assert (found["repo1-s3-key"], found["repo1-s3-key-secret"]) == ("the-key", "the-secret")
    assert found["repo1-storage-verify-tls"] == "y"
    assert found["repo1-storage-ca-file"] == "/etc/agentstack/pgbackrest/s3-ca.crt"
    assert not [name for name in found if name.startswith("repo2")]
    local = ini(render.local_conf(BackupSettings(), "pass"))["global"]
    assert found["lock-path"] != local["lock-path"], "locks are named by the stanza: one would wait for the other"


def test_the_jobs_read_what_is_written_for_them(tmp_path: Any) -> None:
    settings = BackupSettings.model_validate({"timeZone": "Europe/Paris", "s3": s3(tmp_path)})
    read = config.parse(json.loads(render.jobs_settings(settings, "/textfile", "fingerprint")))
    assert [repository.name for repository in read.repositories] == ["local", "s3"]
    assert read.repository("s3").full.text == "0 3 * * *"
    assert str(read.verify.zone) == "Europe/Paris"
    assert (str(read.page), read.secrets_fingerprint) == ("/textfile", "fingerprint")
    with pytest.raises(KeyError, match="local, s3"):
        read.repository("glacier")


def test_without_s3_nothing_leaves() -> None:
    found = service()
    assert [attachment.network for attachment in found.networks] == [NetworkName.PHOENIX]
    assert render.S3_CONF not in found.files


def test_with_s3_the_backup_alone_has_a_route_out(tmp_path: Any) -> None:
    settings = load_settings({"backup": {"s3": s3(tmp_path)}})
    all_described = described(settings)
    found = all_described["backup"]
    assert {attachment.network for attachment in found.networks} == {NetworkName.PHOENIX, NetworkName.EGRESS}
    assert found.files[render.S3_CONF].mode == "0400"
    assert "the-secret" in str(found.files[render.S3_CONF].content)
    for file in all_described["postgres"].files.values():
        assert "the-secret" not in str(file.content)
    assert not any("the-secret" in str(value) for value in found.env.values())


def test_a_credential_file_that_is_missing_is_named(tmp_path: Any) -> None:
    settings = load_settings({"backup": {"s3": {**s3(tmp_path), "keyFile": str(tmp_path / "none")}}})
    with pytest.raises(ValueError, match=r"backup\.s3\.keyFile = .*/none: No such file"):
        described(settings)


def test_the_passphrase_is_in_one_file_that_only_its_user_reads() -> None:
    found = service()
    holders = [path for path, file in found.files.items() if "backup-cipher-local-password" in str(file.content)]
    assert holders == [archive.LOCAL_CONF]
    assert found.files[archive.LOCAL_CONF].mode == "0400"
    assert not any("password" in str(value) for value in found.env.values())


def test_a_path_of_the_host_is_a_listed_exception() -> None:
    settings = load_settings({"backup": {"repositoryPath": "/srv/backups"}})
    for name in ("postgres", "backup"):
        found = described(settings)[name]
        assert [path.source for path in found.host_paths] == ["/srv/backups"]
        assert set(found.exceptions) == {"host-path"}
        assert archive.REPOSITORY_VOLUME not in {volume.name for volume in found.volumes}
    assert service().exceptions == {}


def test_the_code_in_the_container_is_the_code_here() -> None:
    found = {path for path in service().files if path.startswith(f"{render.CODE_DIR}/")}
    assert f"{render.CODE_DIR}/components/backup/container/main.py" in found
    texts = render.code_files()
    imported = {
        line.split()[1] for text in texts.values() for line in text.splitlines() if line.startswith("from components.")
    }
    assert {module.rsplit(".", 1)[0] for module in imported} <= {
        "components.backup",
        "components.backup.container",
    }, "the container has no other package of ours"


def test_the_fingerprint_changes_with_any_secret() -> None:
    one = render.fingerprint({"a": "1", "b": "2"})
    assert one == render.fingerprint({"b": "2", "a": "1"})
    assert len({one, render.fingerprint({"a": "1", "b": "3"}), render.fingerprint({"a": "1"})}) == 3


@pytest.mark.parametrize(
    ("changed", "path", "allowed"),
    [
        ({"fullSchedule": "0 2 * *"}, "backup.fullSchedule", "5"),
        ({"differentialSchedule": "61 * * * *"}, "backup.differentialSchedule", "0-59"),
        ({"verifySchedule": "@daily"}, "backup.verifySchedule", "5"),
        ({"timeZone": "Middle-earth"}, "backup.timeZone", "Europe/Paris"),
        ({"retentionDays": 0}, "backup.retentionDays", "1"),
        ({"archiveTimeoutSeconds": 1000}, "backup.archiveTimeoutSeconds", "900"),
        ({"repositoryPath": "relative"}, "backup.repositoryPath", "match"),
        ({"memoryMib": 64}, "backup.memoryMib", "128"),
        ({"s3": {"endpoint": "https://x", "bucket": "b-b", "keyFile": "k", "secretFile": "s"}}, "endpoint", "https"),
        ({"s3": {"endpoint": "x", "bucket": "B", "keyFile": "k", "secretFile": "s"}}, "bucket", "lower case"),
        ({"s3": {"endpoint": "10.0.0.1", "bucket": "b-b", "keyFile": "k", "secretFile": "s"}}, "s3", "path"),
        ({"s3": {"endpoint": "x", "bucket": "b-b", "keyFile": "k"}}, "secretFile", "required"),
    ],
)
def test_a_bad_setting_is_refused_with_what_is_allowed(changed: dict[str, Any], path: str, allowed: str) -> None:
    with pytest.raises(SettingsError) as refused:
        load_settings({"backup": changed})
    assert len(refused.value.problems) == 1
    assert path in refused.value.problems[0].path
    assert allowed in str(refused.value)
