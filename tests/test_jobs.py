"""What `make jobs` renders: two projects, as XML, held against their Jenkinsfiles, configuration and alerts."""

import base64
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from time import monotonic, sleep
from typing import Any, ClassVar
from urllib.request import Request, urlopen
from xml.etree import ElementTree

import pytest
import yaml

import pipeline_jobs
from bake import bake, copy_template
from conftest import run
from demo import free_port
from jenkins_cron import cron_fault

pytestmark = pytest.mark.t1

PIPELINES = ("train-model", "build-image", "deploy")
QUIET = {
    "repository": "https://git.example.com/team/odd.git",
    "branch": "release/1.x",
    "train_on_push": False,
    "environments": {"only": {}},
}
BUSY = {
    "repository": "ssh://git@git.example.com/team/busy.git",
    "branch": "main",
    "retrain": "H 3 * * 1",
    "retrain_on_drift": True,
    "environments": {"staging": {"release": "canary"}, "production": {}},
}
PARAMETER = re.compile(
    r"(string|booleanParam|choice|text|password)\(name: '(\w+)', defaultValue: '([^']*)', trim: (\w+)"
)
ONE_AT_A_TIME = "org.jenkinsci.plugins.workflow.job.properties.DisableConcurrentBuildsJobProperty"
TOKEN = "a token that only the file has"


def configure(project: Path, pipelines: dict[str, Any], **values: str) -> None:
    """Set `pipelines` in a project's config.yaml, as its owner would."""
    path = project / "config.yaml"
    config = {**yaml.safe_load(path.read_text(encoding="utf-8")), **values, "pipelines": pipelines}
    path.write_text(yaml.safe_dump(config), encoding="utf-8")


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The template, and beside it two projects that differ in all that Jenkins has to know."""
    folder = tmp_path_factory.mktemp("jobs")
    template = copy_template(folder / "template")
    for slug, pipelines in (("odd", QUIET), ("busy-model", BUSY)):
        configure(
            bake(folder, template=template, starter="blank", project_slug=slug), pipelines, description=f"{{{slug}}}"
        )
    return folder


@pytest.fixture(scope="module")
def rendered(workspace: Path) -> Path:
    """The XML of both projects' jobs."""
    command = [sys.executable, "scripts/pipeline_jobs.py", "render", "../odd", "../busy-model"]
    assert "busy-model" in run(command, workspace / "template")
    return workspace / "template/build/jenkins/jobs"


def job(rendered: Path, name: str) -> ElementTree.Element:
    return ElementTree.parse(rendered / name / "config.xml").getroot()


def texts(element: ElementTree.Element, path: str) -> list[str]:
    return [found.text or "" for found in element.iterfind(path)]


def jenkinsfile(project: Path, pipeline: str) -> str:
    """A Jenkinsfile without its comments."""
    text = (project / "jenkins" / pipeline / "Jenkinsfile").read_text(encoding="utf-8")
    return re.sub(r"/\*.*?\*/|(?<!:)//[^\n]*", "", text, flags=re.DOTALL)


def test_each_project_has_a_folder_with_its_pipelines_its_pull_requests_and_a_view(rendered: Path) -> None:
    found = {path.parent.relative_to(rendered).as_posix() for path in rendered.rglob("config.xml")}
    items = ("", "/train-model", "/build-image", "/deploy", "/pull-requests", "/pipelines")
    assert found == {f"{slug}{item}" for slug in ("odd", "busy-model") for item in items}
    for slug in ("odd", "busy-model"):
        assert job(rendered, slug).tag == "com.cloudbees.hudson.plugins.folder.Folder"
        assert texts(job(rendered, slug), "description")[0].startswith(f"{{{slug}}}")
        assert set(texts(job(rendered, f"{slug}/pipelines"), "jobNames/string")) == {*PIPELINES, "pull-requests"}


def test_pipelines_come_from_the_projects_own_repository(rendered: Path) -> None:
    for slug, settings, credentials in (("odd", QUIET, ""), ("busy-model", BUSY, "git")):
        for pipeline in PIPELINES:
            scm = job(rendered, f"{slug}/{pipeline}").find("definition/scm")
            assert scm is not None
            assert texts(scm, ".//url") == [settings["repository"]]
            assert texts(scm, ".//branches//name") == [f"*/{settings['branch']}"]
            assert texts(scm, ".//credentialsId") == [credentials]
        source = job(rendered, f"{slug}/pull-requests").find("sources//source")
        assert source is not None
        assert (texts(source, "remote"), texts(source, "credentialsId")) == ([settings["repository"]], [credentials])
        [branches] = texts(source, ".//regex")
        assert not re.fullmatch(branches, str(settings["branch"]))
        assert re.fullmatch(branches, "release/1-x")
        assert re.fullmatch(branches, "maintenance")


def test_every_script_is_in_a_bake(rendered: Path, workspace: Path) -> None:
    for slug in ("odd", "busy-model"):
        for name in (*PIPELINES, "pull-requests"):
            [script] = texts(job(rendered, f"{slug}/{name}"), ".//scriptPath")
            assert (workspace / slug / script).is_file(), script


@pytest.mark.parametrize("pipeline", PIPELINES)
def test_parameters_and_options_are_those_of_the_jenkinsfile(rendered: Path, workspace: Path, pipeline: str) -> None:
    text = jenkinsfile(workspace / "odd", pipeline)
    element = job(rendered, f"odd/{pipeline}")
    declared = [(kind, name, default, trim) for kind, name, default, trim in PARAMETER.findall(text)]
    assert len(declared) == text.count("defaultValue:")
    definitions = element.find("properties/hudson.model.ParametersDefinitionProperty/parameterDefinitions")
    assert definitions is not None
    assert declared == [
        (
            {"hudson.model.StringParameterDefinition": "string"}[found.tag],
            *(found.findtext(field) or "" for field in ("name", "defaultValue", "trim")),
        )
        for found in definitions
    ]
    assert (element.find(f"properties/{ONE_AT_A_TIME}") is not None) == ("disableConcurrentBuilds()" in text)
    assert texts(element, ".//numToKeep") == re.findall(r"numToKeepStr: '(\d+)'", text)
    assert texts(element, ".//projectNameList/string") == re.findall(r"copyArtifactPermission\('([^']+)'\)", text)


def test_a_job_may_be_copied_from_by_whoever_does(rendered: Path, workspace: Path) -> None:
    for pipeline in PIPELINES:
        for source in re.findall(r"copyArtifacts\(projectName: '([^']+)'", jenkinsfile(workspace / "odd", pipeline)):
            assert pipeline in texts(job(rendered, f"odd/{source}"), ".//projectNameList/string"), (pipeline, source)


def test_only_what_config_yaml_asks_for_starts_a_training(rendered: Path) -> None:
    for name in ("odd/train-model", "odd/build-image", "odd/deploy", "busy-model/build-image", "busy-model/deploy"):
        assert job(rendered, name).find(".//triggers") is None, name
    triggers = job(rendered, "busy-model/train-model").find(".//triggers")
    assert triggers is not None
    assert texts(triggers, "hudson.triggers.SCMTrigger/spec") == ["H/5 * * * *"]
    assert texts(triggers, "hudson.triggers.TimerTrigger/spec") == ["H 3 * * 1"]
    webhook = "org.jenkinsci.plugins.gwt.GenericTrigger"
    assert texts(triggers, f"{webhook}/tokenCredentialId") == ["busy-model-retrain-token"]
    assert texts(triggers, f"{webhook}/token") == [""]


def test_credentials_are_named_and_not_told(rendered: Path, workspace: Path) -> None:
    folder = workspace / "template/jenkins/casc/projects"
    found = {}
    for path in folder.glob("*.yaml"):
        [domain] = yaml.safe_load(path.read_text())["credentials"]["system"]["domainCredentials"]
        assert domain["domain"]["name"] == path.stem
        for entry in domain["credentials"]:
            [(kind, fields)] = entry.items()
            secret = fields.get("secret") or fields.get("secretBytes")
            assert secret in (f"${{{fields['id']}}}", f"${{readFileBase64:/run/secrets/{fields['id']}}}")
            found[fields["id"]] = kind
    assert found == {
        "odd-kubeconfig-only": "file",
        "odd-api-key-only": "string",
        "busy-model-kubeconfig-staging": "file",
        "busy-model-api-key-staging": "string",
        "busy-model-kubeconfig-production": "file",
        "busy-model-api-key-production": "string",
        "busy-model-retrain-token": "string",
    }
    assert rendered.is_dir()


# The webhook -------------------------------------------------------------------------------------------------------


def receiver_uncommented(project: Path, url: str, token: Path) -> str:
    """alertmanager.yml as its owner leaves it: the route and the receiver of retraining uncommented, and filled in."""
    text = (project / "monitoring/alertmanager.yml").read_text(encoding="utf-8")
    for start in ("# - matchers: ['alertname =~ \"FeatureDrift", "# - name: retrain"):
        head, found, tail = text.partition(start)
        assert found, f"{start} is not there"
        block, gap, rest = tail.partition("\n\n")
        text = head + re.sub(r"^( *)# ", r"\1", found + block, flags=re.MULTILINE) + gap + rest
    text = text.replace("https://jenkins.example.com/generic-webhook-trigger/invoke", url)
    return text.replace("/etc/alertmanager/retrain_token", str(token)).replace("group_wait: 30s", "group_wait: 1s")


class Receiver(BaseHTTPRequestHandler):
    """Takes what Alertmanager sends."""

    received: ClassVar[list[tuple[str, dict[str, Any]]]] = []

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.received.append((self.headers.get("Authorization", ""), json.loads(body)))
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@contextmanager
def alertmanager(configuration: Path, port: int) -> Iterator[str]:
    """A real Alertmanager; its address."""
    program = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")
    assert program is not None
    address = f"127.0.0.1:{port}"
    command = [program, f"--config.file={configuration}", f"--storage.path={configuration.parent / 'data'}"]
    process = subprocess.Popen([*command, f"--web.listen-address={address}", "--cluster.listen-address="])
    try:
        yield f"http://{address}"
    finally:
        process.terminate()
        process.wait(20)


def send(url: str, alerts: list[dict[str, Any]]) -> None:
    deadline = monotonic() + 20
    while True:
        try:
            body = json.dumps(alerts).encode()
            urlopen(Request(f"{url}/api/v2/alerts", body, {"Content-Type": "application/json"}), timeout=5).close()
            return
        except OSError:
            assert monotonic() < deadline, "Alertmanager does not start"
            sleep(0.1)


def starts_training(trigger: ElementTree.Element, message: dict[str, Any]) -> bool:
    """What the trigger's plugin decides: variables from JSONPath, put into a text, in which it looks for a pattern."""
    text = trigger.findtext("regexpFilterText") or ""
    for variable in trigger.iterfind("genericVariables/org.jenkinsci.plugins.gwt.GenericVariable"):
        value: Any = message
        for step in re.findall(r"\.(\w+)|\[(\d+)\]", variable.findtext("value") or ""):
            value = value.get(step[0], "") if step[0] else value[int(step[1])]
        text = text.replace(f"${variable.findtext('key')}", value)
    return bool(re.search(trigger.findtext("regexpFilterExpression") or "", text))


@pytest.mark.skipif(
    not (shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")) and not os.environ.get("CI"),
    reason="Alertmanager is not installed: apt-get install prometheus-alertmanager",
)
def test_drift_of_this_service_starts_its_training_and_nothing_else_does(
    rendered: Path, workspace: Path, tmp_path: Path
) -> None:
    alerts = yaml.safe_load((workspace / "busy-model/monitoring/alerts/drift.yml").read_text())["groups"][0]["rules"]
    assert {"FeatureDrift", "PredictionDrift"} <= {rule["alert"] for rule in alerts}
    trigger = job(rendered, "busy-model/train-model").find(".//org.jenkinsci.plugins.gwt.GenericTrigger")
    assert trigger is not None
    server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    Thread(target=server.serve_forever, daemon=True).start()
    (tmp_path / "token").write_text(TOKEN)
    url = f"http://127.0.0.1:{server.server_port}/generic-webhook-trigger/invoke"
    configuration = tmp_path / "alertmanager.yml"
    configuration.write_text(receiver_uncommented(workspace / "busy-model", url, tmp_path / "token"))
    assert "SUCCESS" in run(["amtool", "check-config", str(configuration)], tmp_path)
    named = [
        {"alertname": "FeatureDrift", "job": "api", "feature": "a", "severity": "warning"},
        {"alertname": "PredictionDrift", "job": "api", "role": "confidence", "severity": "warning"},
        {"alertname": "FeatureDrift", "job": "busy-model", "feature": "b", "severity": "warning"},
        {"alertname": "FeatureDrift", "job": "canary-busy-model", "feature": "b", "severity": "warning"},
        {"alertname": "FeatureDrift", "job": "other-model", "feature": "b", "severity": "warning"},
        {"alertname": "DriftNotComputed", "job": "api", "severity": "warning"},
    ]
    try:
        with alertmanager(configuration, free_port()) as address:
            send(address, [{"labels": labels} for labels in named])
            deadline = monotonic() + 30
            while len(Receiver.received) < 4 and monotonic() < deadline:
                sleep(0.1)
    finally:
        server.shutdown()
    assert {authorization for authorization, _ in Receiver.received} == {f"Bearer {TOKEN}"}
    # One message for all that drifts in a service, so one training.
    started = {message["commonLabels"]["job"]: starts_training(trigger, message) for _, message in Receiver.received}
    assert started == {"api": True, "busy-model": True, "canary-busy-model": True, "other-model": False}
    message = next(message for _, message in Receiver.received if message["commonLabels"]["job"] == "api")
    assert len(message["alerts"]) == 2
    assert not starts_training(trigger, {**message, "status": "resolved"})


# What is wrong -----------------------------------------------------------------------------------------------------


def broken(tmp_path: Path, name: str = "my-model", **pipelines: Any) -> Path:
    settings = {"repository": "https://git.example.com/team/x.git", **pipelines}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({"name": name, "pipelines": settings}))
    return tmp_path


@pytest.mark.parametrize(
    ("pipelines", "said"),
    [
        ({"repository": ""}, "pipelines.repository: is not set: the URL that Jenkins checks the project out from"),
        ({"repository": "https://me:secret@git.example.com/x.git"}, "has a password in it"),
        ({"repository": "git.example.com/x"}, "is no URL of a repository"),
        ({"branch": "a b"}, "'a b' is no name of a branch"),
        ({"retrain": "every monday"}, "has 2 fields instead of 5"),
        ({"environments": {"Test 1": {}}}, "pipelines.environments: 'Test 1'"),
    ],
)
def test_what_cannot_work_is_said_with_its_key(tmp_path: Path, pipelines: dict[str, Any], said: str) -> None:
    with pytest.raises(pipeline_jobs.Faults, match=re.escape(said)):
        pipeline_jobs.read_project(broken(tmp_path, **pipelines))


def test_all_faults_of_all_projects_are_said_at_once(tmp_path: Path) -> None:
    (tmp_path / "broken").mkdir()
    folders = [tmp_path / "nowhere", tmp_path, broken(tmp_path / "broken", retrain="61 * * * *", branch="")]
    with pytest.raises(pipeline_jobs.Faults) as caught:
        pipeline_jobs.read_projects(folders)
    assert [text.rpartition("/")[2] for text in caught.value.args] == [
        "nowhere: there is no such folder",
        f"{tmp_path.name}: is no generated project: it has no config.yaml",
        "config.yaml: pipelines.retrain: '61' is no minute in '61 * * * *', which is from 0 to 59",
    ]


def test_two_projects_of_one_name_are_refused(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        broken(tmp_path / name)
    with pytest.raises(pipeline_jobs.Faults, match="another of these projects is called 'my-model'"):
        pipeline_jobs.read_projects([tmp_path / "a", tmp_path / "b"])


@pytest.mark.parametrize(
    "text", ["H 3 * * 1", "@daily", "H H(0-6) 1-7 */2 *", "TZ=Europe/Vienna\n0,30 4 * * 1-5", "H/15 * * * *"]
)
def test_a_schedule_as_jenkins_writes_it_is_taken(text: str) -> None:
    assert cron_fault(text) is None


@pytest.mark.parametrize(
    "text", ["TZ=UTC", "@noon", "* * * *", "60 * * * *", "H(9-3) * * * *", "0 0 0 * *", "0 3 * * mon"]
)
def test_what_is_no_schedule_is_refused(text: str) -> None:
    assert cron_fault(text)


# The controller ----------------------------------------------------------------------------------------------------


class Controller(BaseHTTPRequestHandler):
    """As much of Jenkins' API as Job Builder uses: it has nothing at first, and keeps what it is sent."""

    created: ClassVar[list[str]] = []
    authorized: ClassVar[set[str]] = set()

    def answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.authorized.add(self.headers.get("Authorization", ""))
        path, _, query = self.path.partition("?")
        name = "/".join(re.findall(r"/(?:job|view)/([^/]+)", path))
        known: dict[str, Any] | None = {"jobs": [], "views": []} if not name else None
        if self.command == "POST" and path.endswith(("/createItem", "/createView")):
            self.created.append(f"{name}/{query.removeprefix('name=')}".lstrip("/"))
            known = {}
        elif name in self.created:
            known = {"name": name.rpartition("/")[2], "jobs": [], "views": []}
        body = json.dumps(known).encode() if known is not None else b""
        self.send_response(404 if known is None or path.endswith("/crumbIssuer/api/json") else 200)
        self.send_header("X-Jenkins", "2.568.2")
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = answer

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


def test_jobs_are_sent_with_a_password_that_comes_from_a_file(workspace: Path, tmp_path: Path) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Controller)
    Thread(target=server.serve_forever, daemon=True).start()
    (tmp_path / "password").write_text(f"{TOKEN}\n")
    url = f"http://127.0.0.1:{server.server_port}/"
    command = [sys.executable, "scripts/pipeline_jobs.py", "update", "../odd"]
    try:
        run(command, workspace / "template", JENKINS_URL=url, JENKINS_TOKEN_FILE=str(tmp_path / "password"))
    finally:
        server.shutdown()
    # Folders come before what is in them.
    assert Controller.created[0] == "odd"
    assert set(Controller.created) == {"odd", *(f"odd/{name}" for name in (*PIPELINES, "pull-requests", "pipelines"))}
    assert f"Basic {base64.b64encode(f'jobs:{TOKEN}'.encode()).decode()}" in Controller.authorized


def test_a_password_is_not_sent_where_others_can_read_it(tmp_path: Path) -> None:
    (tmp_path / "password").write_text(TOKEN)
    environment = {"JENKINS_URL": "http://jenkins.example.com/", "JENKINS_TOKEN_FILE": str(tmp_path / "password")}
    with pytest.raises(pipeline_jobs.Faults, match="use https"):
        pipeline_jobs.update([], environment)
    with pytest.raises(pipeline_jobs.Faults, match="is not there or empty"):
        pipeline_jobs.update([], {"JENKINS_TOKEN_FILE": str(tmp_path / "none")})


def test_make_says_which_projects_it_wants(baked: Callable[[str], Path]) -> None:
    done = subprocess.run(
        [sys.executable, pipeline_jobs.__file__, "render"], capture_output=True, text=True, cwd=baked("blank")
    )
    assert done.returncode == 1
    assert "which projects? make jobs PROJECT=" in done.stderr
