"""The Jenkins controller: its image, plugins, configuration as code and compose file. No controller can be had here."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft7Validator

import jenkins_secrets
from bake import TEMPLATE
from conftest import run
from test_compose import needs, needs_compose

pytestmark = pytest.mark.t1

JENKINS = TEMPLATE / "jenkins"
CASC = sorted(path for path in (JENKINS / "casc").rglob("*.yaml") if path.parent.name != "projects")
SCHEMA = json.loads(Path(__file__).with_name("jcasc.schema.json").read_text(encoding="utf-8"))
DOCUMENT = TEMPLATE / "docs/pipelines.md"
CHOICES = [(realm, agents) for realm in ("local", "ldap", "oidc") for agents in ("inbound", "ssh")]
VARIABLE = re.compile(r"\$\{([A-Z_]+)\}")

STEPS = {
    # What Jenkinsfiles use, and the plugin that has it. A step of a plugin that is pulled in by another is the other's.
    "archiveArtifacts": None,  # of Jenkins itself, as are buildDiscarder, logRotator and lastSuccessful
    "build": "workflow-aggregator",
    "buildDiscarder": None,
    "checkout": "workflow-aggregator",
    "cleanWs": "ws-cleanup",
    "copyArtifactPermission": "copyartifact",
    "copyArtifacts": "copyartifact",
    "disableConcurrentBuilds": "workflow-aggregator",
    "docker": "docker-workflow",
    "error": "workflow-aggregator",
    "file": "plain-credentials",
    "input": "workflow-aggregator",
    "junit": "junit",
    "lastSuccessful": "copyartifact",
    "lock": "lockable-resources",
    "logRotator": None,
    "mail": "mailer",
    "publishHTML": "htmlpublisher",
    "readFile": "workflow-aggregator",
    "readJSON": "pipeline-utility-steps",
    "readYaml": "pipeline-utility-steps",
    "recordCoverage": "coverage",
    "scmGit": "git",
    "sh": "workflow-aggregator",
    "skipDefaultCheckout": "workflow-aggregator",
    "specific": "copyartifact",
    "stash": "workflow-aggregator",
    "string": "plain-credentials",  # a parameter too, of Jenkins itself
    "timeout": "workflow-aggregator",
    "timestamps": "timestamper",
    "unstash": "workflow-aggregator",
    "usernamePassword": "credentials-binding",
    "withCredentials": "credentials-binding",
}
SECTIONS = {
    "agent", "always", "changed", "cleanup", "environment", "expression", "failure", "fixed", "label", "options",
    "parallel", "parameters", "pipeline", "post", "regression", "script", "stage", "stages", "steps", "success",
    "unstable", "unsuccessful", "when",
}  # fmt: skip
GROOVY = {"catch", "else", "finally", "for", "if", "return", "switch", "try", "while"}
PROPERTIES = {
    # What the rendered jobs and the configuration have, by the name that their plugin gives it.
    "com.cloudbees.hudson.plugins.folder": "cloudbees-folder",
    "hudson.plugins.copyartifact": "copyartifact",
    "hudson.plugins.git": "git",
    "jenkins.branch": "branch-api",
    "jenkins.plugins.git": "git",
    "org.jenkinsci.plugins.gwt": "generic-webhook-trigger",
    "org.jenkinsci.plugins.workflow.cps": "workflow-aggregator",
    "org.jenkinsci.plugins.workflow.multibranch": "workflow-multibranch",
}
CONFIGURED = {
    "basicSSHUserPrivateKey": "ssh-credentials",
    "file": "plain-credentials",
    "gitHostKeyVerificationConfiguration": "git",
    "globalMatrix": "matrix-auth",
    "ldap": "ldap",
    "mailer": "mailer",
    "oic": "oic-auth",
    "scriptApproval": "script-security",
    "ssh": "ssh-slaves",
    "string": "plain-credentials",
    "usernamePassword": "credentials",
}


def plugins() -> dict[str, str]:
    lines = [line for line in (JENKINS / "plugins.txt").read_text().splitlines() if line and not line.startswith("#")]
    pairs = [line.split(":") for line in lines]
    assert len(dict(pairs)) == len(pairs), "a plugin is there twice"
    return dict(pairs)


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def keys(value: object) -> Iterator[str]:
    """Every key of a document, at any depth, but for what only gives others their values."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if not str(key).startswith("x-"):
                yield str(key)
                yield from keys(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from keys(inner)


# Plugins -----------------------------------------------------------------------------------------------------------


def test_every_plugin_has_one_version() -> None:
    for name, version in plugins().items():
        assert re.fullmatch(r"[a-z0-9-]+", name)
        assert re.fullmatch(r"\d+(\.[\w-]+)+", version), f"{name} is not pinned: {version}"
    assert list(plugins()) == sorted(plugins())


def test_the_documentation_says_why_each_is_there() -> None:
    section = DOCUMENT.read_text(encoding="utf-8").partition("### Plugins\n")[2].partition("\n## ")[0]
    table = re.findall(r"^\| `([a-z0-9-]+)` \| ([^|]+) \|$", section, re.MULTILINE)
    assert [name for name, _ in table] == list(plugins())
    assert all(len(reason.split()) > 2 for _, reason in table)


def used_in(jenkinsfile: str) -> set[str]:
    """The names that a Jenkinsfile calls: with arguments, a text or a block after them, and not as another's method."""
    code = re.sub(r"/\*.*?\*/|(?<!:)//[^\n]*", "", jenkinsfile, flags=re.DOTALL)
    own = set(re.findall(r"^\w+ (\w+)\([^)]*\) \{", code, re.MULTILINE))
    code = re.sub(r"'[^'\n]*'|\"[^\"\n]*\"", "''", code)
    called = set(re.findall(r"(?<![.\w$])([a-z]\w*)(?=\(| \(| ''| \{| scm\b)", code)) | set(
        re.findall(r"(?<![.\w$])(docker)\.", code)
    )
    return called - own - SECTIONS - GROOVY - {"steps"}


def test_every_step_of_the_jenkinsfiles_has_its_plugin(baked: Callable[[str], Path]) -> None:
    project = baked("penguins")
    files = [project / "Jenkinsfile", *project.glob("jenkins/*/Jenkinsfile")]
    assert len(files) == 4
    used = {step for path in files for step in used_in(path.read_text(encoding="utf-8"))}
    assert {"sh", "withCredentials", "copyArtifacts", "build"} <= used
    assert used - STEPS.keys() == set(), "say in STEPS which plugin has it"
    assert {STEPS[step] for step in used} - {None} <= plugins().keys()


def test_what_is_configured_and_rendered_has_its_plugin() -> None:
    needed = {CONFIGURED[key] for path in CASC for key in keys(load(path)) if key in CONFIGURED}
    assert needed | set(PROPERTIES.values()) | {"configuration-as-code"} <= plugins().keys()


def test_no_plugin_is_there_for_nothing() -> None:
    # What shows pipelines, what binds credentials, and secret texts and files, which projects have.
    shown = {"configuration-as-code", "pipeline-graph-view", "plain-credentials"}
    configured = {CONFIGURED[key] for path in CASC for key in keys(load(path)) if key in CONFIGURED}
    assert plugins().keys() <= {*STEPS.values(), *PROPERTIES.values(), *configured, *shown}


# Configuration as code ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", CASC, ids=lambda path: path.relative_to(JENKINS).as_posix())
def test_the_configuration_is_of_the_form_that_plugins_document(path: Path) -> None:
    faults = [
        f"{'/'.join(map(str, fault.path))}: {fault.message}"
        for fault in Draft7Validator(SCHEMA).iter_errors(load(path))
    ]
    assert faults == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("numExecutors: 0", "numExecutors: 2"),
        ("slaveAgentPort: -1", "slaveAgentPort: 50000"),
        ("approvedSignatures: []", 'approvedSignatures: ["*"]'),
        ("crumbIssuer:", "crumbIsuer:"),
        ("markupFormatter: plainText", "markupFormatter: rawHtml"),
    ],
)
def test_the_form_has_no_room_for_what_is_not_safe(old: str, new: str) -> None:
    text = (JENKINS / "casc/controller.yaml").read_text(encoding="utf-8")
    assert old in text
    assert list(Draft7Validator(SCHEMA).iter_errors(yaml.safe_load(text.replace(old, new))))


@pytest.mark.parametrize("realm", ["local", "ldap", "oidc"])
def test_nobody_has_rights_who_has_no_name(realm: str) -> None:
    configured = load(JENKINS / f"casc/realm/{realm}.yaml")["jenkins"]
    entries = configured["authorizationStrategy"]["globalMatrix"]["entries"]
    rights = {entry["name"]: set(entry["permissions"]) for each in entries for entry in each.values()}
    administrators = [name for name, given in rights.items() if "Overall/Administer" in given]
    assert len(administrators) == 1
    assert administrators[0].startswith("admin")
    assert set(rights) == {*administrators, "jobs", "developers", "deployers"}
    # Who starts pipelines changes no job; who changes jobs starts none.
    assert all(not {"Job/Configure", "Job/Create"} & rights[name] for name in ("developers", "deployers"))
    assert "Job/Build" not in rights["jobs"]
    if realm == "local":
        assert [user["id"] for user in configured["securityRealm"]["local"]["users"]] == list(rights)


def test_there_is_an_agent_for_every_label_of_the_jenkinsfiles(baked: Callable[[str], Path]) -> None:
    project = baked("penguins")
    files = [project / "Jenkinsfile", *project.glob("jenkins/*/Jenkinsfile")]
    labels = {label for path in files for label in re.findall(r"label '(\w+)'", path.read_text(encoding="utf-8"))}
    assert labels == {"python", "docker", "deploy"}
    for kind in ("inbound", "ssh"):
        nodes = load(JENKINS / f"casc/agents/{kind}.yaml")["jenkins"]["nodes"]
        assert {node["permanent"]["labelString"] for node in nodes} == labels


def test_the_credentials_are_those_that_the_jenkinsfiles_ask_for(baked: Callable[[str], Path]) -> None:
    project = baked("penguins")
    texts = [path.read_text(encoding="utf-8") for path in project.glob("jenkins/*/Jenkinsfile")]
    named = {name for text in texts for name in re.findall(r"credentialsId: ['\"]([^'\"]+)['\"]", text)}
    shared = {
        fields["id"]
        for domain in load(JENKINS / "casc/credentials.yaml")["credentials"]["system"]["domainCredentials"]
        for entry in domain["credentials"]
        for fields in entry.values()
    }
    own = {name for name in named if name.startswith("my-model-")}
    assert own == {"my-model-kubeconfig-${params.ENVIRONMENT}", "my-model-api-key-${params.ENVIRONMENT}"}
    assert named - own == shared - {"git"}  # with which Jenkins itself checks out


# Compose -----------------------------------------------------------------------------------------------------------


def composed(folder: Path, **variables: str) -> dict[str, Any]:
    command = ["docker", "compose", "--profile", "*", "config", "--format", "json"]
    found: dict[str, Any] = json.loads(run(command, folder, **variables))
    return found


@pytest.fixture
def controller(tmp_path: Path) -> Path:
    """The template as far as the controller goes, in which secrets can be made."""
    folder = tmp_path / "template"
    ignored = shutil.ignore_patterns("secrets", ".env", "__pycache__")
    shutil.copytree(JENKINS, folder / "jenkins", ignore=ignored)
    (folder / "scripts").mkdir()
    shutil.copy(TEMPLATE / "scripts/jenkins_secrets.py", folder / "scripts")
    return folder


@needs_compose
@pytest.mark.parametrize(("realm", "agents"), CHOICES)
def test_every_reference_is_a_variable_of_compose_or_a_secret_that_is_asked_for(realm: str, agents: str) -> None:
    service = composed(JENKINS, REALM=realm, AGENTS=agents)["services"]["controller"]
    files = jenkins_secrets.configuration({"REALM": realm, "AGENTS": agents})
    mounted = {Path(volume["source"]) for volume in service["volumes"] if volume["type"] == "bind"}
    assert {path for path in files if path.parent.name != "projects"} <= mounted
    assert JENKINS / "casc/projects" in mounted
    assert JENKINS / "secrets/controller" in mounted
    for path in files:
        text = "".join(line for line in path.read_text().splitlines(keepends=True) if not line.lstrip().startswith("#"))
        variables = set(VARIABLE.findall(text))
        assert variables <= service["environment"].keys(), path
        assert text.count("${") == len(VARIABLE.findall(text)) + len(jenkins_secrets.REFERENCE.findall(text)), path
    for name in jenkins_secrets.needed(files):
        assert jenkins_secrets.MADE.fullmatch(name) or jenkins_secrets.what(name) != "see docs/pipelines.md", name


@needs_compose
def test_the_controller_is_bounded_and_open_to_this_machine_alone() -> None:
    services = composed(JENKINS)["services"]
    for name, service in services.items():
        assert service["read_only"], name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert set(service["deploy"]["resources"]["limits"]) == {"cpus", "memory", "pids"}, name
        assert {port["host_ip"] for port in service.get("ports", ())} <= {"127.0.0.1"}, name
        assert not any("docker.sock" in volume["source"] for volume in service["volumes"]), name
        assert all(volume.get("read_only") for volume in service["volumes"] if volume["type"] == "bind"), name
    kept = [volume["target"] for volume in services["controller"]["volumes"] if volume["type"] == "volume"]
    assert kept == ["/var/jenkins_home"]
    assert services["agent"]["profiles"] == ["agent"]


@needs_compose
def test_the_example_of_settings_has_the_defaults_of_compose(controller: Path) -> None:
    without = composed(controller / "jenkins")
    (controller / "jenkins/.env").write_text((JENKINS / ".env.example").read_text())
    assert composed(controller / "jenkins") == without
    example = set(re.findall(r"^([A-Z_]+)=", (JENKINS / ".env.example").read_text(), re.MULTILINE))
    known = set(re.findall(r"\$\{([A-Z_]+):-", (JENKINS / "compose.yaml").read_text()))
    assert known - example == {"CONTROLLER_IMAGE", "CONTROLLER_CPUS", "AGENT_IMAGE", "AGENT_CPUS", "AGENT_MEMORY"}
    assert example <= known


@pytest.mark.parametrize("image", ["", "agent/"])
def test_a_dockerfile_is_clean_under_hadolint(image: str) -> None:
    hadolint = shutil.which("hadolint") or str(Path(sys.executable).with_name("hadolint"))
    run([hadolint, "--failure-threshold=style", f"{image}Dockerfile"], JENKINS)
    text = (JENKINS / f"{image}Dockerfile").read_text()
    assert re.search(r"^ARG \w+=\d[\w.-]+-jdk21$", text, re.MULTILINE)
    assert re.findall(r"^USER (\d+)$", text, re.MULTILINE)[-1] == "1000"
    assert "HEALTHCHECK" in text


def test_the_agent_in_a_container_has_the_helm_of_agents_on_machines() -> None:
    arguments = dict(re.findall(r"^ARG (\w+)=(\S+)$", (JENKINS / "agent/Dockerfile").read_text(), re.MULTILINE))
    role = load(TEMPLATE / "ansible/roles/jenkins/defaults/main.yml")
    assert arguments["HELM"] == role["jenkins_agent_helm"]
    checksums = {"x86_64": f"sha256:{arguments['HELM_AMD64']}", "aarch64": f"sha256:{arguments['HELM_ARM64']}"}
    assert checksums == role["jenkins_agent_helm_checksums"]


def test_the_options_of_java_are_what_they_should_be_once_the_image_has_split_them() -> None:
    """As `jenkins.sh` of the image does it: by xargs, which knows quotes."""
    text = (JENKINS / "Dockerfile").read_text(encoding="utf-8")
    values = dict(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"$', text, re.MULTILINE))
    options = values["JAVA_OPTS"].replace('\\"', '"').replace("${REPORTS}", values["REPORTS"])
    done = subprocess.run(["xargs", "printf", "%s\\n"], input=options, capture_output=True, text=True, check=True)
    given = done.stdout.splitlines()
    assert "-Djenkins.install.runSetupWizard=false" in given
    [policy] = [option for option in given if "CSP" in option]
    rules = [rule.split() for rule in policy.partition("CSP=")[2].split(";")]
    assert ["default-src", "'none'"] in rules
    assert not any(rule[0].startswith("script") for rule in rules)


# Secrets -----------------------------------------------------------------------------------------------------------


def script(controller: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(controller / "scripts/jenkins_secrets.py"), *options]
    return subprocess.run(command, capture_output=True, text=True, env={"PATH": "/usr/bin:/bin"})


def test_secrets_are_made_once_and_closed_to_others(controller: Path) -> None:
    folder = controller / "jenkins/secrets/controller"
    first = script(controller)
    assert first.returncode == 0
    made = {path.name: path.read_text() for path in folder.iterdir()}
    assert set(made) == {"admin-password", "jobs-password", "developers-password", "deployers-password"}
    assert len(set(made.values())) == 4
    assert all(len(secret) >= 48 for secret in made.values())
    assert not any(secret in first.stdout + first.stderr for secret in made.values())
    assert folder.parent.stat().st_mode & 0o777 == 0o700
    (folder / "admin-password").write_text("mine")
    script(controller)
    assert (folder / "admin-password").read_text() == "mine"


def test_the_controller_does_not_start_with_an_empty_secret(controller: Path) -> None:
    folder = controller / "jenkins/secrets/controller"
    assert "admin-password: run make jenkins-secrets" in script(controller, "--check").stderr
    script(controller)
    said = script(controller, "--check")
    assert said.returncode == 1
    lacking = ("registry-user", "registry-password", "git-key", "git-known-hosts")
    assert re.findall(r"^  ([a-z-]+): ", said.stderr, re.MULTILINE) == ["git-known-hosts", *lacking[:3]]
    for name in lacking:
        (folder / name).write_text("brought")
    assert script(controller, "--check").returncode == 0
    (folder / "git-key").write_text("\n")
    assert script(controller, "--check").returncode == 1


@pytest.mark.skipif(os.getuid() == 1000, reason="the container's user may read what is this user's")
def test_a_secret_that_jenkins_may_not_read_is_opened_or_named(controller: Path) -> None:
    folder = controller / "jenkins/secrets/controller"
    script(controller)
    for name in ("registry-user", "registry-password", "git-key", "git-known-hosts"):
        (folder / name).write_text("brought")
    (folder / "git-key").chmod(0o600)
    said = script(controller, "--check")
    assert said.returncode == 1
    assert re.findall(r"^  ([a-z-]+): ", said.stderr, re.MULTILINE) == ["git-key"]
    script(controller)
    assert script(controller, "--check").returncode == 0


@needs("ssh-keygen")
def test_agents_by_ssh_need_a_key_and_their_host_keys(controller: Path) -> None:
    (controller / "jenkins/.env").write_text("AGENTS=ssh\n")
    script(controller)
    assert (controller / "jenkins/secrets/agent-key.pub").read_text().startswith("ssh-ed25519 ")
    said = script(controller, "--check").stderr
    assert len(re.findall(r"^  agent-\w+-host-key: ", said, re.MULTILINE)) == 3
    assert "  agent-key:" not in said
    (controller / "jenkins/.env").write_text("AGENTS=pigeon\n")
    assert "there is no jenkins/casc/agents/pigeon.yaml; take inbound or ssh" in script(controller).stderr


def test_secrets_and_settings_of_a_team_are_no_part_of_the_repository() -> None:
    for name in ("jenkins/secrets/controller/admin-password", "jenkins/.env"):
        assert run(["git", "-c", "safe.directory=*", "check-ignore", name], TEMPLATE).strip() == name
    assert (JENKINS / ".dockerignore").read_text().splitlines()[-2:] == ["*", "!plugins.txt"]
