"""`config.yaml` and the environment become one typed object, or a list of what is wrong and where."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from ml_microservice.delivery.settings import DeliverySettings, load_delivery_settings
from ml_microservice.doctor import examine
from ml_microservice.errors import ConfigError, Fault
from ml_microservice.settings import DELIVERY_SECTIONS, Settings, load_settings

PLACES = "name: penguins\npipelines:\n  environments:\n"


def load(tmp_path: Path, text: str, environ: Mapping[str, str] | None = None) -> DeliverySettings:
    """All settings, which are at least as strict as those of a service."""
    (tmp_path / "config.yaml").write_text(text, encoding="utf-8")
    return load_delivery_settings(tmp_path, environ or {})


def load_service(tmp_path: Path, text: str, environ: Mapping[str, str] | None = None) -> Settings:
    (tmp_path / "config.yaml").write_text(text, encoding="utf-8")
    return load_settings(tmp_path, environ or {})


def faults(tmp_path: Path, text: str, environ: Mapping[str, str] | None = None) -> tuple[Fault, ...]:
    with pytest.raises(ConfigError) as refused:
        load(tmp_path, text, environ)
    return refused.value.faults


def fault(tmp_path: Path, text: str, environ: Mapping[str, str] | None = None) -> Fault:
    (found,) = faults(tmp_path, text, environ)
    return found


def test_a_name_is_enough_on_a_laptop(tmp_path: Path) -> None:
    settings = load(tmp_path, "name: penguins\n")
    assert (settings.environment, settings.api.keys, settings.api.host) == ("development", (), "127.0.0.1")
    assert settings.model_directory == tmp_path / "model_bin"
    assert settings.features_file == tmp_path / "src" / "model" / "features.yaml"


def test_the_environment_overrides_the_file(tmp_path: Path) -> None:
    environ = {"SERVICE__API__PORT": "9000", "SERVICE__API__CORS_ORIGINS": "https://a.example, https://b.example"}
    settings = load(tmp_path, "name: penguins\napi: {port: 8080, workers: 2}\n", environ)
    assert (settings.api.port, settings.api.workers) == (9000, 2)
    assert settings.api.cors_origins == ("https://a.example", "https://b.example")


def test_the_environment_fills_a_section_that_is_commented_out(tmp_path: Path) -> None:
    settings = load(tmp_path, "name: penguins\napi:\n  # port: 8080\ntraining:\n", {"SERVICE__API__PORT": "9000"})
    assert (settings.api.port, settings.training.seed) == (9000, 42)


def test_an_empty_variable_is_a_service_without_jobs(tmp_path: Path) -> None:
    assert load(tmp_path, "name: penguins\n", {"SERVICE__JOBS__BROKER": ""}).jobs.broker is None


def test_the_project_may_be_named_by_the_environment(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("name: penguins\n")
    assert load_settings(environ={"SERVICE_ROOT": str(tmp_path)}).root == tmp_path


def test_a_service_starts_whatever_only_delivery_reads(tmp_path: Path) -> None:
    text = "name: penguins\nimage: 5\npipelines: {retrain: hourly, brunch: main}\n"
    environ = {"SERVICE__IMAGE__REGISTY": "a", "SERVICE__PIPELINES__TRAIN_ON_PUSH": "perhaps"}
    assert load_service(tmp_path, text, environ).name == "penguins"
    assert len(faults(tmp_path, text, environ)) == 5


def test_delivery_reads_all_that_a_service_reads_and_the_sections_that_it_leaves_alone(tmp_path: Path) -> None:
    text = "name: penguins\nimage: {registry: a}\npipelines:\n  environments:\n    staging: {namespace: b}\n"
    settings = load(tmp_path, text, {"SERVICE__IMAGE__REGISTRY": "c.example/d", "SERVICE__API__PORT": "9000"})
    assert settings.image_name("20260101-000000-abcdef", None) == (
        "c.example/d/penguins:20260101-000000-abcdef-nocommit"
    )
    assert settings.pipelines.environments["staging"].namespace == "b"
    assert settings.api.port == 9000
    assert set(DeliverySettings.model_fields) - set(Settings.model_fields) == set(DELIVERY_SECTIONS)


def test_doctor_looks_at_what_only_delivery_reads(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("name: penguins\npipelines: {retrain: hourly}\n", encoding="utf-8")
    (found,) = (fault for finding in examine(tmp_path) for fault in finding.faults)
    assert (found.file, found.line) == ("config.yaml", 2)
    assert "'hourly' is no time as Jenkins writes it" in found.message


def test_a_service_refuses_a_key_that_nobody_reads(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as refused:
        load_service(tmp_path, "name: penguins\npipeline: {retrain: '@daily'}\n")
    (found,) = refused.value.faults
    assert (found.line, found.advice) == (2, "did you mean 'pipelines'?")


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("name: penguins\napi:\n  prot: 1\n", 3, ["unknown key 'api.prot'", "did you mean 'port'?"]),
        ("name: penguins\nlogings: {}\n", 2, ["unknown key 'logings'", "did you mean 'logging'?"]),
        (f"{PLACES}    staging: {{namespace: a, ulr: b}}\n", 4, ["'pipelines.environments.staging.ulr'", "'url'?"]),
        (f"{PLACES}    Staging: {{namespace: a}}\n", 4, ["the name pipelines.environments.Staging must match"]),
        (f"{PLACES}    staging: {{}}\n", 4, ["pipelines.environments.staging.namespace is missing"]),
        (f"{PLACES}    s: {{namespace: a, url: a.example}}\n", 4, ["'a.example' is no URL"]),
        ("name: penguins\npipelines: {retrain: hourly}\n", 2, ["such as H 3 * * 1, or @daily"]),
        ("name: penguins\npipelines: {repository: 'https://a:b@c/d'}\n", 2, ["the URL carries a password"]),
        ("api: {port: 1}\n", None, ["name is missing"]),
        ("name: Not A Slug\n", 1, ["name must match"]),
        ("name: penguins\napi:\n  port: 70000\n", 3, ["api.port must be at most 65535"]),
        ("name: penguins\napi:\n  port: many\n", 3, ["api.port must be a whole number"]),
        ("name: penguins\napi: 5\n", 2, ["api must be keys and values"]),
        ("name: penguins\nlogging: {level: loud}\n", 2, ["logging.level must be one of"]),
        ("name: penguins\nid_name: 5\n", 2, ["id_name must be text"]),
        ("name: penguins\nid_name: ''\n", 2, ["id_name must not be empty"]),
        ("name: a-b\napi: {port: 1}\nname: c-d\n", 3, ["duplicate key", "keep one of the two"]),
        ("name: [penguins\n", 2, ["check the indentation"]),
        ("- name\n", None, ["expected keys and values"]),
        ("", None, ["expected keys and values"]),
    ],
)
def test_a_mistake_in_the_file_is_told_with_its_line(
    tmp_path: Path, text: str, line: int | None, words: list[str]
) -> None:
    found = fault(tmp_path, text)
    assert (found.file, found.line) == ("config.yaml", line)
    assert [word for word in words if word not in str(found)] == []


def test_norway_is_a_name_and_not_a_boolean(tmp_path: Path) -> None:
    settings = load(tmp_path, "name: penguins\ntitle: NO\nid_name: on\ndescription: yes\n")
    assert (settings.title, settings.id_name, settings.description) == ("NO", "on", "yes")


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({"SERVICE__API__PROT": "1"}, ["SERVICE__API__PROT names no setting", "did you mean 'SERVICE__API__PORT'?"]),
        ({"SERVICE__API": "1"}, ["SERVICE__API names no setting"]),
        ({"SERVICE__API__PORT": "many"}, ["SERVICE__API__PORT", "must be a whole number"]),
        ({"SERVICE__ENVIRONMENT": "prod"}, ["SERVICE__ENVIRONMENT", "'production'"]),
    ],
)
def test_a_mistake_in_the_environment_is_told_by_its_variable(
    tmp_path: Path, environ: dict[str, str], words: list[str]
) -> None:
    found = fault(tmp_path, "name: penguins\n", environ)
    assert found.file is None
    assert [word for word in words if word not in str(found)] == []


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    text = "nam: penguins\napi: 5\nlogging: {level: loud}\n"
    found = faults(tmp_path, text, {"SERVICE__API__PORT": "9000", "SERVICE__TYPO": "1"})
    assert {part.line for part in found} == {None, 1, 2, 3}


def test_a_secret_in_the_file_is_refused_without_being_repeated(tmp_path: Path) -> None:
    found = fault(tmp_path, "name: penguins\napi:\n  keys: [hunter2]\n")
    assert found.line == 3
    assert "SERVICE__API__KEYS" in str(found)
    assert "hunter2" not in str(found)


@pytest.mark.parametrize("url", ["postgresql://user:s3cret@host/name", "postgresql://user@host/name?password=s3cret"])
def test_a_password_in_the_database_s_url_is_refused_without_being_repeated(tmp_path: Path, url: str) -> None:
    (tmp_path / "config.yaml").write_text(f"name: houses\ndatabase:\n  url: {url}\n")
    with pytest.raises(ConfigError, match="SERVICE__DATABASE__PASSWORD") as error:
        load_settings(tmp_path, {})
    assert "s3cret" not in str(error.value)
    assert error.value.faults[0].line == 3


def test_production_without_keys_is_refused(tmp_path: Path) -> None:
    for environ in ({}, {"SERVICE__API__KEYS": " , "}):
        assert "SERVICE__API__KEYS" in str(fault(tmp_path, "name: penguins\nenvironment: production\n", environ))


def test_keys_come_from_the_environment_and_are_not_printed(tmp_path: Path) -> None:
    environ = {"SERVICE__API__KEYS": "hunter2, hunter3", "SERVICE__ENVIRONMENT": "production"}
    settings = load(tmp_path, "name: penguins\n", environ)
    assert [key.get_secret_value() for key in settings.api.keys] == ["hunter2", "hunter3"]
    assert "hunter" not in repr(settings)


def test_keys_come_from_secret_files_unless_the_environment_has_them(tmp_path: Path) -> None:
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    (secrets / "SERVICE__API__KEYS").write_text("from-file\n")
    (secrets / "..data").mkdir()
    environ = {"SERVICE_SECRETS_DIR": str(secrets)}
    assert load(tmp_path, "name: penguins\n", environ).api.keys[0].get_secret_value() == "from-file"
    environ["SERVICE__API__KEYS"] = "from-variable"
    assert load(tmp_path, "name: penguins\n", environ).api.keys[0].get_secret_value() == "from-variable"


def test_settings_never_change(tmp_path: Path) -> None:
    settings = load(tmp_path, "name: penguins\n")
    with pytest.raises(ValueError, match="frozen"):
        settings.api.port = 1  # type: ignore[misc]
