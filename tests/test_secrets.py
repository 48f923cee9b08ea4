"""No secret is in this repository, nor in any project that is made of it."""

import base64
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from detect_secrets.core.scan import scan_file
from detect_secrets.settings import default_settings

from conftest import STARTERS

pytestmark = pytest.mark.t1

NOT_TEXT = {".png", ".gz", ".parquet", ".arrow"}
MOVED = re.compile(r"^(\{\{cookiecutter\.project_slug\}\}|library|vendor/ml-microservice)/")
"""Where the template has what is elsewhere in a project."""
TESTS = r"(.+/)?tests/.+"
ALLOWED = (
    # Files, what is found in them, and why it is no secret. What is not found any more has to go: a test sees to it.
    (TESTS, r"guest", "RabbitMQ's own user, which it lets in from the loopback alone: brokers that tests start"),
    (r"benchmarks/jobs\.py", r"guest", "the same, for a broker that the benchmark starts"),
    (
        TESTS,
        r"s3cret|secret|p(@|%40)ss|password|not in any file|from the environment|Ada Lovelace ",
        "made up by a test",
    ),
    (TESTS, r"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "the example of the Standard Webhooks specification"),
    (TESTS, r"4bf92f3577b34da6a3ce929d0e0e4736", "the example of the Trace Context specification"),
    (TESTS, r"credentialsId! passwordVariable! usernameVariable!", "names of arguments of a step"),
    (r"(.+/)?helm/values-\w+\.yaml", r"(tlsSecret: \")?[\w-]+-tls\"?", "the name of a Secret of Kubernetes"),
    (TESTS, r"1a2b3c4d5e6f", "a commit that a test made up"),
    (r"ansible/roles/common/.+", r"ALL\s*", "NOPASSWD: ALL of sudo, for operators who log in by a key"),
    (r"tests/test_helm\.py", r"tls", "the name of a Secret of Kubernetes"),
    (r"(.+/)?docs/deployment\.md", r"password", "a URL that shows where a password does not belong"),
    (r"hooks/pre_gen_project\.py", r"password", "the same"),
    (r"(.+/)?config\.yaml", r"a secret, so never here: set \w+", "a comment that says so"),
    (r"(.+/)?helm/templates/checks\.yaml", r"take it out, and name the Secret .+", "a message that says so"),
    (r"(.+/)?jenkins/build-image/Jenkinsfile", r"REGISTRY_PASSWORD", "the name of a variable that Jenkins fills"),
    (r"(.+/)?ml_microservice/records/elasticsearch/install\.py", r"ELASTICSEARCH_USER", "the name of a variable"),
    (r"scripts/jenkins_secrets\.py", r"its password, .+|the \w+ of \w+", "words that say what is to be brought"),
    (r"tests/test_jenkins_controller\.py", r"(\w+-)?credentials(-binding)?", "names of plugins"),
)
REFERENCE = r"(['\"]?(\$|\{\{|\{%|!vault|!ENV|&|\*|<|>|\||\[|\{|/)|['\"]{2}$|null$|~$|none$|true$|false$|\d+$)"
"""What is no literal: a variable, a template, an anchor, a block, a path, nothing, or a number."""
KEY = r"[\w.-]*(password|passwd|passphrase|secret|token|api_*keys?|private_?key|access_?key)"
OWN = {
    "A literal under a secret's key in YAML": (
        r"\.ya?ml(\.j2)?$",
        rf"(?im)^[ \t-]*['\"]?{KEY}['\"]?:[ \t]+(?!{REFERENCE})(['\"]?[^\s#'\"][^#\n]*)",
    ),
    "A key of a kubeconfig": (r".*", r"client-key-data:\s*['\"]?[A-Za-z0-9+/]{40,}"),
    "A login of a Docker registry": (r".*", r"\"auth\":\s*\"[A-Za-z0-9+/]{12,}={0,2}\""),
    "A value of a secret in an environment": (r"(^|/)\.env[^/]*$", rf"(?im)^{KEY}=\S+"),
    "A vault that is not encrypted": (
        r"(^|/)(vault|(group|host)_vars/(.+/)?secrets)\.ya?ml$",
        r"\A(?!\$ANSIBLE_VAULT;)(?=[\s\S]*\S)",
    ),
    "A key with its body": (r".*", r"-----BEGIN [A-Z ]*PRIVATE KEY-----\s+[A-Za-z0-9+/=\s]{20,}"),
}
"""What detect-secrets does not see, or not everywhere: where it is looked for, and what it looks like."""


@dataclass(frozen=True)
class Finding:
    """Something that looks like a secret."""

    file: str
    kind: str
    text: str


def findings(root: Path, name: str) -> Iterator[Finding]:
    """What looks like a secret in a file, allowed or not."""
    path = root / name
    for found in scan_file(str(path)):
        yield Finding(name, found.type, found.secret_value or "")
    text = path.read_text(encoding="utf-8", errors="replace")
    for kind, (where, pattern) in OWN.items():
        if re.search(where, name):
            yield from (Finding(name, kind, match[0].strip()) for match in re.finditer(pattern, text))


def is_allowed(finding: Finding, rules: tuple[tuple[str, str, str], ...] = ALLOWED) -> bool:
    return any(
        re.fullmatch(files, finding.file) and re.fullmatch(text, finding.text, re.DOTALL) for files, text, _ in rules
    )


@pytest.fixture(scope="module")
def found(template: Path, baked: Callable[[str], Path]) -> list[Finding]:
    """All findings in the template and in a project of each starter; what is the same in several is read once."""
    seen: set[tuple[str, bytes]] = set()
    all_found: list[Finding] = []
    with default_settings():
        for root in (template, *map(baked, STARTERS)):
            for path in sorted(each for each in root.rglob("*") if each.is_file() and each.suffix not in NOT_TEXT):
                name = path.relative_to(root).as_posix()
                place = name.removeprefix("{{cookiecutter.project_slug}}/").replace(
                    "vendor/ml-microservice/", "library/"
                )
                key = (place, path.read_bytes())
                if key not in seen:
                    seen.add(key)
                    all_found += findings(root, name)
    return all_found


def test_nothing_here_is_a_secret(found: list[Finding]) -> None:
    assert sorted({finding for finding in found if not is_allowed(finding)}, key=lambda each: each.file) == []


def test_nothing_is_allowed_that_is_not_there(found: list[Finding]) -> None:
    assert [rule for rule in ALLOWED if not any(is_allowed(finding, (rule,)) for finding in found)] == []


def planted() -> dict[str, tuple[str, str]]:
    """A secret of each kind, in pieces here, so that this file has none: where it would be, and what it looks like."""
    letters, digits = "AbCdEfGhIjKlMnOpQrStUvWxYz", "0123456789"
    body = base64.b64encode(bytes(range(90))).decode()
    word = "hunter" + "2-and-more"
    header, claims = (
        base64.urlsafe_b64encode(part).decode().rstrip("=") for part in (b'{"alg":"HS256"}', b'{"sub":"1"}')
    )
    return {
        "private key": ("deploy/id_ed25519", f"-----BEGIN OPENSSH PRIVATE {'KEY'}-----\n{body}\n"),
        "private key in YAML": ("casc/x.yaml", f"privateKey: |\n  -----BEGIN RSA PRIVATE {'KEY'}-----\n  {body}\n"),
        "AWS key": ("notes.md", f"aws_access_key_id = AKIA{digits}ABCDEF\n"),
        "GitHub token": ("ci.sh", f"export T=ghp_{letters}{digits}\n"),
        "Slack token": ("ci.py", f'T = "xoxb-{digits}12-{digits}34-{letters}"\n'),
        "JSON web token": ("a.txt", f"{header}.{claims}.{letters}{letters}\n"),
        "password in a URL": ("config.yaml", f"url: amqp://service:{word}@rabbitmq:5672/\n"),
        "password in a remote": ("Jenkinsfile", f"sh 'git push https://me:{word}@git.example.com/x.git'\n"),
        "password in YAML": ("group_vars/all.yml", f"jenkins_admin_password: {word}\n"),
        "quoted password in YAML": ("casc/y.yaml", f'- id: admin\n  password: "{word}"\n'),
        "token in YAML of a template": ("templates/z.yaml.j2", f"api_token: {word}\n"),
        "password in Groovy": ("jenkins/deploy/Jenkinsfile", f"def password = '{word}'\n"),
        "password in Python": ("settings.py", f'PASSWORD = "{word}"\n'),
        "kubeconfig": ("kubeconfig", f"users:\n- user:\n    client-key-data: {body}\n"),
        "Docker login": (".docker/config.json", f'{{"auths": {{"r": {{"auth": "{body[:24]}"}}}}}}\n'),
        "vault in plain text": ("inventories/team/group_vars/all/vault.yml", "registry: example\n"),
        "environment": (".env", f"SERVICE__API__KEYS={word}\n"),
    }


@pytest.mark.parametrize("kind", planted())
def test_a_planted_secret_is_found(kind: str, tmp_path: Path) -> None:
    name, text = planted()[kind]
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_text(text, encoding="utf-8")
    with default_settings():
        found = list(findings(tmp_path, name))
    assert found
    assert not any(map(is_allowed, found))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("casc/x.yaml", 'password: "${admin-password}"\nsecret: "${readFile:/run/secrets/x}"\n'),
        ("compose.yaml", "SERVICE__API__KEYS: ${SERVICE__API__KEYS:?run make env}\nPOSTGRES_PASSWORD:\n"),
        ("templates/x.yaml.j2", "password: {{ vault_password }}\ntoken: ''\n"),
        ("vault.yml", "$ANSIBLE_VAULT;1.1;AES256\n6162636465\n"),
        ("alertmanager.yml", "# auth_password_file: /etc/alertmanager/smtp_password\ncredentials_file: /etc/token\n"),
        (".env.example", "SERVICE__API__KEYS=\n"),
    ],
)
def test_a_reference_to_a_secret_is_none(name: str, text: str, tmp_path: Path) -> None:
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_text(text, encoding="utf-8")
    with default_settings():
        assert list(findings(tmp_path, name)) == []
