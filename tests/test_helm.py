"""The Helm chart: every option renders, Kubernetes knows what that gives, and it fits the service that it runs."""

import json
import random
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from copy import deepcopy
from functools import cache, reduce
from itertools import combinations, product
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import kubernetes_validate
import pytest
import yaml
from helm_python import Chart, Config, HelmError, chart
from kubernetes_validate.utils import schema_contents

from conftest import STARTERS, make, run

pytestmark = pytest.mark.t1

Values = dict[str, Any]
Document = dict[str, Any]

VERSIONS = ("1.27", "1.30", "1.33", "1.37")
"""Of Kubernetes: the oldest that the chart admits, and some since."""
CUSTOM = {"ScaledObject", "TriggerAuthentication", "ServiceMonitor", "PodMonitor", "PrometheusRule"}
"""Kinds of operators, which kubernetes-validate has no schemas of. Of any other kind, there has to be one."""
NEEDED: Values = {
    "image": {"tag": "20261121-040523-185b39-1a2b3c4"},
    "secrets": [{"name": "my-model"}],
    "config": {"database": {"url": "postgresql+psycopg://service@db:5432/my-model"}},
}
"""What nobody can know but who deploys."""
WORKER: Values = {
    "worker": {"enabled": True},
    "config": {"jobs": {"broker": "amqp://service@rabbitmq/my-model", "storage": "s3://bucket/jobs"}},
}
KEDA: Values = {"worker": {"keda": {"enabled": True, "hostSecret": {"name": "keda"}}}}
OPTIONS: dict[str, list[Values]] = {
    "image": [{}, {"image": {"digest": "sha256:" + "0" * 64, "tag": ""}, "imagePullSecrets": ["registry"]}],
    "workers": [{}, {"worker": {"replicas": 2}}, KEDA],
    "storage": [{}, {"jobsStorage": {"create": True}}, {"jobsStorage": {"existingClaim": "files"}}],
    "claims": [{}, {"persistence": {"enabled": False}}, {"persistence": {"storageClassName": "fast"}}],
    "scaling": [
        {},
        {"api": {"autoscaling": {"enabled": True}}},
        {"api": {"autoscaling": {"enabled": True, "cpu": 0, "requestsInFlight": {"metric": "requests_in_work"}}}},
    ],
    "sinks": [{}, *({"config": {"records": {"sinks": sinks}}} for sinks in ([], ["fluentd"], ["stdout", "database"]))],
    "shipping": [{}, {"config": {"records": {"shipping": "with_service"}}}],
    "ports": [{}, {"config": {"api": {"port": 9000, "grpc_port": 9001}, "jobs": {"metrics_port": 9200}}}],
    "network": [{}, {"networkPolicy": {"enabled": False}}, {"networkPolicy": {"clients": [], "extraEgress": [{}]}}],
    "ingress": [{}, {"ingress": {"enabled": True, "host": "a.example.com", "className": "nginx", "tlsSecret": "tls"}}],
    "metrics": [
        {},
        {"metrics": {"annotations": True}},
        {"metrics": {k: {"enabled": True} for k in ("monitors", "rules")}},
    ],
    "account": [{}, {"serviceAccount": {"create": False, "name": "mine"}}],
    "secrets": [{}, {"secrets": [{"name": "a"}, {"name": "b", "keys": {"SERVICE__DATABASE__PASSWORD": "password"}}]}],
    "rest": [
        {},
        {
            "migrations": {"enabled": False},
            "disruptionBudget": {"enabled": False},
            "topologySpread": False,
            "podLabels": {"team": "data"},
            "extraEnv": [{"name": "A", "value": "b"}],
            "api": {"podAnnotations": {"a": "b"}, "nodeSelector": {"disk": "ssd"}, "tolerations": [{"key": "spot"}]},
        },
    ],
}


def merged(*layers: Mapping[str, Any]) -> Values:
    """Values as Helm lays them over one another."""

    def over(below: Values, above: Mapping[str, Any]) -> Values:
        for key, value in above.items():
            mapping = isinstance(value, Mapping) and isinstance(below.get(key), dict)
            below[key] = over(below[key], value) if mapping else deepcopy(value)
        return below

    return reduce(over, layers, {})


def pairwise_choices() -> Iterator[tuple[int, ...]]:
    """Choices of one value for each option, in which any two values of different options meet."""
    sizes = [len(values) for values in OPTIONS.values()]
    pairs = list(combinations(range(len(sizes)), 2))
    missing = {(a, x, b, y) for a, b in pairs for x, y in product(range(sizes[a]), range(sizes[b]))}
    chance = random.Random(0)
    while missing:
        a, x, b, y = min(missing)
        tried = [tuple(chance.randrange(size) for size in sizes) for _ in range(200)]
        tried = [tuple({a: x, b: y}.get(place, choice) for place, choice in enumerate(choices)) for choices in tried]
        best = max(tried, key=lambda choices: len(missing & met(choices, pairs)))
        missing -= met(best, pairs)
        yield best


def met(choices: tuple[int, ...], pairs: Iterable[tuple[int, int]]) -> set[tuple[int, int, int, int]]:
    """The pairs of values in some choices."""
    return {(a, choices[a], b, choices[b]) for a, b in pairs}


@pytest.fixture(scope="module")
def project(baked: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with its chart."""
    folder = tmp_path_factory.mktemp("chart") / "my-model"
    shutil.copytree(baked("blank"), folder)
    make(folder, "chart")
    return folder


@pytest.fixture(scope="module", autouse=True)
def _schemas_are_read_once() -> Iterator[None]:
    """Each validation would read a megabyte of definitions anew."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("kubernetes_validate.utils.schema_contents", cache(schema_contents))
        yield


@pytest.fixture(scope="module")
def folder(project: Path) -> Path:
    """The chart as it is deployed."""
    return project / "build/chart"


@pytest.fixture(scope="module")
def rendered(folder: Path) -> Iterator[Callable[..., list[Document]]]:
    """The objects that values give, beyond those that everybody needs."""
    with Chart.load(folder) as loaded:
        yield lambda *layers: objects(loaded, merged(NEEDED, *layers))


def objects(loaded: Chart, values: Values) -> list[Document]:
    """What a chart renders."""
    manifests = loaded.render(values, name="my-model", namespace="models")
    texts = [text for name, text in sorted(manifests.items()) if name.endswith(".yaml")]
    return [document for text in texts for document in yaml.safe_load_all(text) if document]


def named(documents: Iterable[Document], kind: str, end: str = "") -> Document:
    """The one object of a kind whose name ends so."""
    (found,) = [each for each in documents if each["kind"] == kind and each["metadata"]["name"].endswith(end)]
    return found


def pods(documents: Iterable[Document]) -> dict[str, Document]:
    """The pods, by their component."""
    found = {}
    for document in documents:
        template = (
            document if document["kind"] == "Pod" else document["spec"].get("template") if "spec" in document else None
        )
        if template:
            found[template["metadata"]["labels"]["app.kubernetes.io/component"]] = template
    return found


def containers(documents: Iterable[Document]) -> list[Document]:
    """All containers of all pods."""
    return [container for pod in pods(documents).values() for container in pod["spec"]["containers"]]


def variables(container: Document) -> dict[str, str]:
    """The environment of a container."""
    return {each["name"]: each.get("value", "") for each in container["env"]}


def everything(rendered: Callable[..., list[Document]]) -> list[Document]:
    """With all that can be switched on."""
    on = [values[-1] for name, values in OPTIONS.items() if name not in ("rest", "shipping", "account", "network")]
    return rendered(WORKER, *on, {"networkPolicy": {"enabled": True}})


def validate(documents: Iterable[Document]) -> None:
    """Hold objects against the schemas of Kubernetes."""
    for document, version in product(documents, VERSIONS):
        try:
            kubernetes_validate.validate(document, version, strict=True)
        except kubernetes_validate.SchemaNotFoundError:
            assert document["kind"] in CUSTOM, f"no schema of {document['kind']} in {version}"


@pytest.mark.parametrize("starter", STARTERS)
def test_the_chart_of_every_starter_has_nothing_to_be_said_against_it(
    starter: str, baked: Callable[[str], Path], tmp_path: Path
) -> None:
    shutil.copytree(baked(starter), tmp_path / "project")
    make(tmp_path / "project", "chart")
    for values in ({}, NEEDED, merged(NEEDED, WORKER, KEDA)):
        report = chart.lint(tmp_path / "project/build/chart", values, strict=True)
        said = [message for message in report["messages"] if message["error"] != "icon is recommended"]
        # What is missing is told by name; linting goes on with nothing in its place.
        assert report["errors"] == [] or values == {}, report
        assert said == [] or values == {}, report


@pytest.mark.parametrize("name", ["values-aks.yaml", "values-microk8s.yaml"])
def test_kubernetes_knows_what_each_values_file_gives(project: Path, name: str) -> None:
    values = yaml.safe_load((project / "helm" / name).read_text())
    with Chart.load(project / "build/chart") as loaded:
        documents = objects(loaded, merged(values, {"image": {"tag": "1"}}))
        assert chart.lint(project / "build/chart", values, strict=True)["errors"] == []
    validate(documents)
    assert {"api", "worker", "migrations", "smoke"} == set(pods(documents))


def test_staging_shares_nothing_with_production(project: Path) -> None:
    environments = yaml.safe_load((project / "config.yaml").read_text())["pipelines"]["environments"]
    seen: list[tuple[str, ...]] = []
    with Chart.load(project / "build/chart") as loaded:
        for environment in environments.values():
            files = [yaml.safe_load((project / name).read_text()) for name in environment["values"]]
            documents = objects(loaded, merged(*files, {"image": {"tag": "1"}}))
            worker = variables(pods(documents)["worker"]["spec"]["containers"][0])
            (rule,) = named(documents, "Ingress")["spec"]["rules"]
            place = (worker["SERVICE__DATABASE__URL"], worker["SERVICE__JOBS__BROKER"], rule["host"])
            seen.append((environment["namespace"], *place))
    assert len(seen) == 2
    assert not set(seen[0]) & set(seen[1])


def test_the_data_of_one_machine_is_where_its_values_look_for_it(project: Path) -> None:
    documents = yaml.safe_load((project / "helm/data-microk8s.yaml").read_text())["items"]
    validate(documents)
    config = yaml.safe_load((project / "helm/values-microk8s.yaml").read_text())["config"]
    images = (project / "compose.yaml").read_text()
    for url in (config["database"]["url"], config["jobs"]["broker"]):
        place = urlsplit(url)
        name, _, namespace = str(place.hostname).partition(".")
        (service,) = [each for each in documents if each["kind"] == "Service" and each["metadata"]["name"] == name]
        (found,) = [each for each in documents if each["kind"] == "StatefulSet" and each["metadata"]["name"] == name]
        (container,) = found["spec"]["template"]["spec"]["containers"]
        assert namespace == "data"
        assert place.port in [port["port"] for port in service["spec"]["ports"]]
        assert place.port in [port["containerPort"] for port in container["ports"]]
        assert service["spec"]["selector"].items() <= found["spec"]["template"]["metadata"]["labels"].items()
        assert f"_IMAGE:-{container['image']}}}" in images


def test_kubernetes_knows_what_any_two_options_give_together(rendered: Callable[..., list[Document]]) -> None:
    names = list(OPTIONS)
    distinct: dict[str, Document] = {}
    for choices in pairwise_choices():
        layers = [OPTIONS[name][choice] for name, choice in zip(names, choices, strict=True)]
        documents = rendered(*([WORKER] if choices[names.index("workers")] else []), *layers)
        distinct |= {repr(document): document for document in documents}
        names_of_objects = [(each["kind"], each["metadata"]["name"]) for each in documents]
        assert len(names_of_objects) == len(set(names_of_objects))
    validate(distinct.values())


def test_a_kind_that_nobody_knows_is_found_out() -> None:
    with pytest.raises(AssertionError, match="no schema of Deploiment"):
        validate([{"apiVersion": "apps/v1", "kind": "Deploiment", "metadata": {"name": "a"}}])


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"api": {"replica": 2}}, "replica"),
        ({"api": {"replicas": 0}}, "replicas"),
        ({"api": {"resources": {"limit": {"cpu": 1}}}}, "limit"),
        ({"image": {"tag": "latest"}}, "tag"),
        ({"image": {"repository": "https://registry.example.com/model"}}, "repository"),
        ({"config": {"api": {"prot": 8000}}}, "prot"),
        ({"config": {"api": {"port": "8000"}}}, "port"),
        ({"config": {"api": {"keys": "secret"}}}, "keys"),
        ({"config": {"database": {"password": "secret"}}}, "password"),
        ({"secrets": [{"name": "a", "keys": {"PASSWORD": "b"}}]}, "PASSWORD"),
        ({"secrets": [{"SERVICE__API__KEYS": "secret"}]}, "SERVICE__API__KEYS"),
        ({"extraEnv": [{"name": "SERVICE__API__KEYS", "value": "secret"}]}, "extraEnv"),
        ({"ingress": {"paths": ["/metrics"]}}, "paths"),
        ({"ingress": {"paths": ["/"]}}, "paths"),
        ({"persistence": {"size": "4 GB"}}, "size"),
        ({"metrics": {"monitors": {"apiVersion": "v1"}}}, "apiVersion"),
    ],
)
def test_the_schema_refuses_nonsense_and_says_where_it_is(folder: Path, values: Values, words: str) -> None:
    with Chart.load(folder) as loaded, pytest.raises(HelmError) as refused:
        loaded.validate_schema(merged(NEEDED, values))
    assert words in str(refused.value)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"image": {"tag": ""}}, "image.tag is missing"),
        ({"secrets": []}, "production needs SERVICE__API__KEYS"),
        ({"config": {"database": {"url": "sqlite:///var/records.db"}}}, "which pods cannot share"),
        ({"config": {"database": {"url": "postgresql://a:b@db/c"}}}, "a URL carries a password"),
        ({"config": {"records": {"directory": "records"}}}, "outside of var/"),
        ({"config": {"api": {"port": 0}}}, "api.port is 0"),
        ({"ingress": {"enabled": True}}, "ingress.host is missing"),
        ({"worker": {"enabled": True}}, "jobs.broker is a folder or nothing"),
        (merged(WORKER, {"config": {"jobs": {"storage": "var/jobs/files"}}}), "jobs.storage is a folder"),
        (merged(WORKER, {"worker": {"keda": {"enabled": True}}}), "hostSecret.name is missing"),
        (merged(WORKER, KEDA, {"config": {"jobs": {"broker": "redis://r"}}}), "KEDA looks at RabbitMQ"),
        ({"api": {"autoscaling": {"enabled": True, "cpu": 0}}}, "neither cpu nor"),
    ],
)
def test_what_does_not_fit_together_is_refused(
    rendered: Callable[..., list[Document]], values: Values, words: str
) -> None:
    with pytest.raises(HelmError, match=re.escape(words)):
        rendered(values)


def test_helm_would_install_the_packed_chart(folder: Path, tmp_path: Path) -> None:
    with Chart.load(folder) as loaded:
        packed = loaded.save(tmp_path)
    with Config(kube_apiserver="http://127.0.0.1:9", storage_driver="memory", namespace="models") as helm:
        release = helm.install(packed, "my-model", values=merged(NEEDED, WORKER), dry_run="client")
    kinds = [each["kind"] for each in yaml.safe_load_all(release["manifest"]) if each]
    # In the order in which Helm makes them; hooks are apart.
    assert kinds.index("ConfigMap") < kinds.index("Service") < kinds.index("StatefulSet")
    assert "Job" not in kinds
    assert "helm -n models test my-model" in release["notes"]


def test_a_chart_without_config_yaml_says_how_to_get_it(project: Path) -> None:
    with Chart.load(project / "helm") as loaded, pytest.raises(HelmError, match="make chart"):
        objects(loaded, NEEDED)


def test_a_change_of_the_configuration_replaces_the_pods_and_nothing_else_does(
    project: Path, rendered: Callable[..., list[Document]], tmp_path: Path
) -> None:
    def checksum(documents: list[Document]) -> str:
        found = {pods(documents)[name]["metadata"]["annotations"]["checksum/config"] for name in ("api", "worker")}
        (value,) = found
        return str(value)

    before = checksum(rendered(WORKER))
    assert checksum(rendered(WORKER, {"api": {"replicas": 5}})) == before
    assert checksum(rendered(WORKER, {"config": {"logging": {"level": "debug"}}})) != before
    shutil.copytree(project, tmp_path / "project")
    with (tmp_path / "project/config.yaml").open("a") as file:
        file.write("# Another line\n")
    make(tmp_path / "project", "chart")
    with Chart.load(tmp_path / "project/build/chart") as loaded:
        documents = objects(loaded, merged(NEEDED, WORKER))
    assert checksum(documents) != before
    assert named(documents, "ConfigMap", "my-model")["data"]["config.yaml"].strip().endswith("# Another line")


def test_every_container_has_what_keeps_it_in_its_bounds(rendered: Callable[..., list[Document]]) -> None:
    documents = everything(rendered)
    assert set(pods(documents)) == {"api", "worker", "migrations", "smoke"}
    for pod in pods(documents).values():
        spec = pod["spec"]
        assert spec["automountServiceAccountToken"] is False
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["runAsUser"] == 10001
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not any(spec.get(shared) for shared in ("hostNetwork", "hostPID", "hostIPC"))
        assert {next(iter(set(volume) - {"name"})) for volume in spec["volumes"]} <= {
            "configMap", "emptyDir", "persistentVolumeClaim", "projected",
        }  # fmt: skip
    for container in containers(documents):
        context = container["securityContext"]
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert (context["allowPrivilegeEscalation"], context["readOnlyRootFilesystem"]) == (False, True)
        assert set(container["resources"]["requests"]) == {"cpu", "memory", "ephemeral-storage"}
        assert "memory" in container["resources"]["limits"]
        # A shipper's end is its container's, and how far it is, is in the metrics of its neighbour; the rest end.
        if container["name"] in ("api", "worker"):
            assert {"startupProbe", "livenessProbe", "readinessProbe"} <= set(container), container["name"]
        else:
            assert container["name"] in ("shipper", "migrations", "smoke")


def test_paths_and_ports_are_those_of_the_service(rendered: Callable[..., list[Document]]) -> None:
    from fastapi import FastAPI
    from fastapi.routing import APIRoute
    from ml_microservice.api.docs import add_docs
    from ml_microservice.api.traffic import KEYED, PROBES

    documents = everything(rendered)
    api = next(each for each in containers(documents) if each["name"] == "api")
    probes = {api[f"{name}Probe"]["httpGet"]["path"] for name in ("startup", "liveness", "readiness")}
    scraped = {each["path"] for each in named(documents, "ServiceMonitor")["spec"]["endpoints"]}
    assert probes | scraped <= PROBES
    pages = FastAPI()
    add_docs(pages)
    known = {
        *KEYED,
        *(route.path for route in pages.routes if isinstance(route, APIRoute)),
        "/openapi.json",
        "/v2/health/live",
    }
    paths = {each["path"] for each in named(documents, "Ingress")["spec"]["rules"][0]["http"]["paths"]}
    served = {path for path in paths if any(route == path or route.startswith(f"{path}/") for route in known)}
    # Below these two, keys are asked for by what the path begins with.
    assert paths - served <= {"/monitoring", "/jobs"}
    assert not paths & PROBES
    ports = {each["name"]: each["containerPort"] for each in api["ports"]}
    assert ports == {"http": 9000, "grpc": 9001}
    assert variables(api)["SERVICE__API__PORT"] == "9000"
    policy = named(documents, "NetworkPolicy", "-api")["spec"]["ingress"]
    assert {port["port"] for rule in policy for port in rule["ports"]} == {9000, 9001}
    worker = next(each for each in containers(documents) if each["name"] == "worker")
    assert worker["ports"] == [{"name": "metrics", "containerPort": 9200}]
    assert variables(worker)["SERVICE__JOBS__METRICS_PORT"] == "9200"


def test_commands_exist(rendered: Callable[..., list[Document]]) -> None:
    from ml_microservice.cli import app
    from typer.main import get_command

    for container in containers(everything(rendered)):
        words = [word for word in container["args"] if re.fullmatch("[a-z]+", word)]
        command: Any = get_command(app)
        for word in words:
            command = command.commands[word]
        options = {option for parameter in command.params for option in parameter.opts}
        assert {word for word in container["args"] if word.startswith("--")} <= options


def test_the_environment_names_settings_and_gives_them_what_they_take(
    folder: Path, rendered: Callable[..., list[Document]], tmp_path: Path
) -> None:
    from ml_microservice.settings import load_settings

    many: Values = {
        "config": {
            "api": {"max_body_bytes": 2**24, "cors_origins": ["https://a.example", "https://b.example"]},
            "training": {"compile_tolerance": 1e-7},
            "jobs": {"max_body_bytes": 2**31},
        }
    }
    for documents in (everything(rendered), rendered(many), rendered(WORKER, many)):
        for container in containers(documents):
            given = variables(container)
            shutil.copy(folder / "files/config.yaml", tmp_path)
            settings = load_settings(tmp_path, {**given, "SERVICE__API__KEYS": "key", "SERVICE_SECRETS_DIR": ""})
            assert settings.environment == "production"
            assert settings.api.host == "0.0.0.0"
    assert settings.api.max_body_bytes == 2**24
    assert settings.api.cors_origins == ("https://a.example", "https://b.example")
    assert (settings.training.compile_tolerance, settings.jobs.max_body_bytes) == (1e-7, 2**31)
    assert settings.jobs.broker == "amqp://service@rabbitmq/my-model"


def test_the_defaults_that_the_templates_know_are_those_of_the_settings(folder: Path) -> None:
    from ml_microservice.settings import Settings

    texts = "\n".join(path.read_text() for path in (folder / "templates").glob("*.*"))
    found = re.findall(r'\(list [.$] "(\w*)" "(\w+)" (\(list [^)]*\)|[^)]*)\)', texts)
    assert len(found) > 20
    for section, key, default in found:
        fields = Settings.model_fields[section].default if section else None
        if fields is not None:
            value = getattr(fields, key)
            words = " ".join(f'"{each}"' for each in value) if isinstance(value, tuple) else value
            expected = f"(list {words})" if isinstance(value, tuple) else "nil" if value is None else str(value)
            assert default in (expected, f'"{expected}"'), (section, key)


def test_without_workers_no_job_is_taken(rendered: Callable[..., list[Document]]) -> None:
    without, with_them = ({each["name"]: each for each in containers(rendered(*layers))} for layers in ([], [WORKER]))
    assert variables(without["api"])["SERVICE__JOBS__BROKER"] == ""
    assert variables(with_them["api"])["SERVICE__JOBS__BROKER"] == WORKER["config"]["jobs"]["broker"]


def test_secrets_are_mounted_and_never_said(rendered: Callable[..., list[Document]]) -> None:
    from ml_microservice.settings import ENV_PREFIX, SECRETS

    names = {f"{ENV_PREFIX}{key.upper().replace('.', '__')}" for key in SECRETS}
    documents = everything(rendered)
    assert not any(document["kind"] == "Secret" for document in documents)
    for pod in pods(documents).values():
        for container in pod["spec"]["containers"]:
            assert not names & set(variables(container))
            assert variables(container)["SERVICE_SECRETS_DIR"] in {
                each["mountPath"] for each in container["volumeMounts"]
            }
        (volume,) = [each for each in pod["spec"]["volumes"] if each["name"] == "secrets"]
        first, second = (source["secret"] for source in volume["projected"]["sources"])
        assert first == {"name": "a"}
        assert second["items"] == [{"key": "password", "path": "SERVICE__DATABASE__PASSWORD"}]


def test_a_pod_that_ends_has_time_for_its_work_and_its_records(rendered: Callable[..., list[Document]]) -> None:
    from ml_microservice.api.server import DRAIN_SECONDS
    from ml_microservice.jobs.worker.main_process import EXIT_SECONDS
    from ml_microservice.jobs.worker.watchdog import STOP_SECONDS
    from ml_microservice.processes.companion import GRACE_SECONDS as CHILD_GRACE
    from ml_microservice.processes.workers import GRACE_SECONDS
    from ml_microservice.records.shipping_child import DRAIN_SECONDS as CHILD_SECONDS

    times: Values = {"preStopSeconds": 7, "config": {n: {"shutdown_seconds": 40} for n in ("api", "jobs")}}
    child = CHILD_SECONDS + CHILD_GRACE
    needs = {
        "api": 7 + 40 + DRAIN_SECONDS + GRACE_SECONDS + child,
        "worker": 40 + STOP_SECONDS + EXIT_SECONDS + 2 + CHILD_GRACE + child,
    }
    for shipping, (name, needed) in product(("separate", "with_service"), needs.items()):
        spec = pods(rendered(WORKER, times, {"config": {"records": {"shipping": shipping}}}))[name]["spec"]
        assert spec["terminationGracePeriodSeconds"] >= needed, name
        assert [each["name"] for each in spec["containers"]] == [name, "shipper"][: 1 + (shipping == "separate")]
        if shipping == "separate":
            # It is told to end when the service is: it waits for the service's last record, and ships what is left.
            drain = int(spec["containers"][1]["args"][-1])
            assert needed + 60 <= drain < spec["terminationGracePeriodSeconds"]
        if name == "api":
            assert spec["containers"][0]["lifecycle"]["preStop"]["exec"]["command"] == ["sleep", "7"]


@pytest.mark.parametrize(("keeps", "kind"), [(True, "StatefulSet"), (False, "Deployment")])
def test_records_outlive_pods_where_claims_are_kept(
    rendered: Callable[..., list[Document]], keeps: bool, kind: str
) -> None:
    documents = rendered(WORKER, KEDA, {"api": {"autoscaling": {"enabled": True}}, "persistence": {"enabled": keeps}})
    for name in ("api", "worker"):
        workload = named(documents, kind, f"-{name}")
        volumes = {each["name"]: each for each in workload["spec"]["template"]["spec"]["volumes"]}
        claims = workload["spec"].get("volumeClaimTemplates", [])
        assert [each["metadata"]["name"] for each in claims] == (["var"] if keeps else [])
        assert ("var" in volumes) is not keeps
        assert "replicas" not in workload["spec"]
        if keeps:
            assert set(workload["spec"]["persistentVolumeClaimRetentionPolicy"].values()) == {"Retain"}
            governing = named(documents, "Service", workload["spec"]["serviceName"])
            assert governing["spec"]["clusterIP"] == "None"
    for target in (named(documents, "HorizontalPodAutoscaler"), named(documents, "ScaledObject")):
        assert target["spec"]["scaleTargetRef"]["kind"] == kind


def test_keda_looks_at_the_queues_of_the_service(rendered: Callable[..., list[Document]]) -> None:
    from ml_microservice.jobs.queue.celery_app import work_queues
    from ml_microservice.settings import Settings

    documents = rendered(WORKER, KEDA, {"config": {"jobs": {"timeout_seconds": 900}}})
    spec = named(documents, "ScaledObject")["spec"]
    queues = [each["metadata"]["queueName"] for each in spec["triggers"] if each["type"] == "rabbitmq"]
    assert queues == list(work_queues(Settings(name="my-model")))
    assert spec["minReplicaCount"] == 0
    # A worker is not stopped while its chunk, which AMQP does not show, may still be at work.
    assert spec["cooldownPeriod"] > 900
    assert (
        spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]["scaleDown"]["stabilizationWindowSeconds"] > 900
    )
    (reference,) = named(documents, "TriggerAuthentication")["spec"]["secretTargetRef"]
    assert reference == {"parameter": "host", "name": "keda", "key": "host"}


def test_only_what_is_needed_may_be_called(rendered: Callable[..., list[Document]]) -> None:
    def called(*layers: Values) -> set[Any]:
        policy = named(rendered(*layers), "NetworkPolicy", "my-model")["spec"]
        assert policy["policyTypes"] == ["Ingress", "Egress"]
        assert "ingress" not in policy
        return {port["port"] for rule in policy["egress"] for port in rule["ports"]}

    assert called() == {53, 8000, 5432}
    assert called(WORKER) == {53, 8000, 5432, 5672, 443}
    assert called({"config": {"records": {"sinks": ["fluentd"]}, "fluentd": {"port": 24225}}}) == {53, 8000, 24225}
    assert called({"config": {"records": {"sinks": []}}}) == {53, 8000}


def test_the_alerts_are_those_of_the_project(project: Path, rendered: Callable[..., list[Document]]) -> None:
    groups = named(rendered({"metrics": {"rules": {"enabled": True}}}), "PrometheusRule")["spec"]["groups"]
    files = sorted((project / "monitoring/alerts").glob("*.yml"))
    assert groups == [group for path in files for group in yaml.safe_load(path.read_text())["groups"]]


def test_every_value_is_explained(project: Path) -> None:
    def leaves(value: Any, path: str) -> Iterator[str]:
        # What the user's keys are in is one value.
        if isinstance(value, dict) and value and path not in ("config", "api.resources", "worker.resources"):
            for key, below in value.items():
                yield from leaves(below, f"{path}.{key}".lstrip("."))
        else:
            yield path

    explained = set(re.findall(r"`([\w.]+)`", (project / "docs/deployment.md").read_text().split("## Values")[1]))
    values = yaml.safe_load((project / "helm/values.yaml").read_text())
    values["shipper"]["resources"] = {}
    assert set(leaves(values, "")) - explained == set()


def test_names_are_short_enough_however_long_the_project_s_is(folder: Path) -> None:
    with Chart.load(folder) as loaded:
        values = merged(NEEDED, WORKER, KEDA, {"jobsStorage": {"create": True}})
        texts = loaded.render(values, name="a" * 53, namespace="models")
    documents = [each for name, text in texts.items() if name.endswith(".yaml") for each in yaml.safe_load_all(text)]
    for document in filter(None, documents):
        # Kubernetes labels the pods of a StatefulSet with its name and a hash of ten letters.
        longest = 52 if document["kind"] == "StatefulSet" else 63
        assert len(document["metadata"]["name"]) <= longest, document["metadata"]["name"]


def test_services_find_their_pods(rendered: Callable[..., list[Document]]) -> None:
    documents = everything(rendered)
    labels = {name: pod["metadata"]["labels"] for name, pod in pods(documents).items()}
    for document in documents:
        spec = document.get("spec", {})
        selector = (
            spec.get("selector", spec.get("podSelector", {})) if document["kind"] != "PersistentVolumeClaim" else {}
        )
        selector = selector.get("matchLabels", selector)
        if document["kind"] == "ServiceMonitor":
            found = [
                each
                for each in documents
                if each["kind"] == "Service" and selector.items() <= each["metadata"]["labels"].items()
            ]
            assert [each["metadata"]["name"] for each in found] == ["my-model"]
        elif selector:
            assert any(selector.items() <= each.items() for each in labels.values()), document["metadata"]["name"]


POLICY_SKIPS = {
    "CKV_K8S_8": "liveness: the shipper's end is its container's; migrations and the smoke test end by themselves",
    "CKV_K8S_9": "readiness: nobody calls these three",
    "CKV_K8S_11": "no limit of CPU: throttling adds latency while the node idles",
    "CKV_K8S_15": "IfNotPresent: an image is called by a tag that never moves, or by its digest",
    "CKV_K8S_43": "a digest may be given instead of the tag; not everybody's registry shows one before the push",
}
"""What checkov would have otherwise, and why it is not so."""


@pytest.mark.slow
def test_checkov_finds_nothing_but_what_is_meant(rendered: Callable[..., list[Document]], tmp_path: Path) -> None:
    # In an environment of its own, for it pins old versions of half of what is installed here.
    environment = Path(__file__).parents[1] / "build/checkov"
    checkov = environment / "bin/checkov"
    uv = shutil.which("uv") or str(Path(sys.executable).with_name("uv"))
    if not checkov.exists():
        run([uv, "venv", "--quiet", "--allow-existing", str(environment)], tmp_path)
        run([uv, "pip", "install", "--quiet", "--python", str(checkov.with_name("python")), "checkov"], tmp_path)
    documents = [*everything(rendered), *rendered(WORKER, {"persistence": {"enabled": False}})]
    for document in documents:
        document["metadata"].setdefault("namespace", "models")
    (tmp_path / "chart.yaml").write_text(yaml.safe_dump_all(documents))
    command = [str(checkov), "--file", "chart.yaml", "--framework", "kubernetes", "--skip-download", "--output", "json"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    failed = json.loads(done.stdout)["results"]["failed_checks"]
    said = {f"{check['check_id']} {check['check_name']}: {check['resource']}" for check in failed}
    assert {check["check_id"] for check in failed} == set(POLICY_SKIPS), said
