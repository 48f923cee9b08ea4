"""The hooks: what they refuse, what they propose, and that no answer is ever executed."""

import importlib.util
import json
import re
import tomllib
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from types import ModuleType

import pytest
import yaml
from cookiecutter.exceptions import FailedHookException
from cookiecutter.utils import create_env_with_context

from bake import TEMPLATE, bake

pytestmark = pytest.mark.t0

GOOD = {
    "project_name": "Penguin Species",
    "project_slug": "penguin-species",
    "description": "Predicts a penguin's species.",
    "owner_name": "Data Science Team",
    "owner_email": "data-science@example.com",
    "image_registry": "registry.example.com/data-science",
    "__package_index": "https://packages.example.com/simple/",
}
BAD = {
    "project_name": "",
    "project_slug": "Penguin_Species",
    "description": "Predicts\nspecies",
    "owner_name": 'Team "Rocket"',
    "owner_email": "nobody",
    "image_registry": "https://Registry.example.com/Team/images:1.0",
    "__package_index": "https://user:password@packages.example.com/simple/",
}
CREATE_FILE = "__import__('pathlib').Path('EXECUTED').touch()"
ODD = ["O'Neill & Söhne 100% #1: [x] - *y* _z_ !a 🐧 企鹅", f"''' + {CREATE_FILE}", "null", "- a: b", "%TAG ! x"]
"""Strange, but accepted: between double quotes it means nothing but itself."""
HOSTILE = [
    f'"); {CREATE_FILE} #',
    f'""" + {CREATE_FILE} + r"""',
    "ends with a backslash \\",
    "a\\\"b\\'c",
    "two\nlines",
    "name\r\nenvironment: production",
    "tab\there",
    "nul\0byte",
    "bell\a",
    "escape\x1b[31m",
    "next line\x85",
    "line separator\u2028",
    "right to left\u202e",
    "lone surrogate \ud800",
    "{{ cookiecutter.__class__.__mro__ }}",
    "{% raw %}",
    "{# comment",
    "{{ '{{' }}",
    "$(touch EXECUTED)",
    "`touch EXECUTED`",
    "${HOME}",
    "<script>alert(1)</script>",
    "<!-- End Example -->",
    " ",
    "x" * 10_000,
]


def load_hook(name: str, folder: Path, answers: dict[str, str]) -> ModuleType:
    """A hook as cookiecutter renders it, as a module."""
    text = (TEMPLATE / "hooks" / f"{name}.py").read_text(encoding="utf-8")
    rendered = create_env_with_context({}).from_string(text).render(cookiecutter=answers)
    (folder / f"{name}.py").write_text(rendered, encoding="utf-8")
    spec = importlib.util.spec_from_file_location(name, folder / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def pre_gen(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    return load_hook("pre_gen_project", tmp_path_factory.mktemp("hook"), GOOD)


def test_good_answers_pass_in_silence(pre_gen: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    pre_gen.main()
    assert capsys.readouterr() == ("", "")


def test_all_bad_answers_are_refused_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as refused:
        load_hook("pre_gen_project", tmp_path, BAD).main()
    report = capsys.readouterr().err
    assert refused.value.code == 1
    assert "7 answers cannot be used" in report
    assert all(name in report for name in BAD)


@pytest.mark.parametrize("answer", [*BAD.values(), "True", "2 Fast", "pandas", "class", *HOSTILE], ids=ascii)
def test_every_proposal_would_be_accepted(pre_gen: ModuleType, answer: str) -> None:
    for name, (check, propose) in pre_gen.CHECKS.items():
        assert check(propose(answer)) is None, name


def test_the_examples_in_the_docstrings_are_true(pre_gen: ModuleType) -> None:
    for name, (check, _) in pre_gen.CHECKS.items():
        valid, invalid = check.__doc__.partition("\n\n")[2].split("Invalid:")
        assert [check(answer) for answer in re.findall("`(.+?)`", valid)] == [None] * (valid.count("`") // 2), name
        assert all(check(answer) for answer in re.findall("`(.+?)`", invalid)), name


def test_no_project_may_be_called_like_what_it_depends_on(pre_gen: ModuleType, baked: Callable[[str], Path]) -> None:
    """A literal list, because a hook knows nothing of the template that it belongs to: held to be all, and no more."""
    installed = set()
    library, project = TEMPLATE / "library", baked("penguins")
    for folder in (library, project):
        document = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))
        groups = [document["build-system"]["requires"], document["project"]["dependencies"]]
        groups += document["project"]["optional-dependencies"].values()
        groups += [document["dependency-groups"]["dev"]] if folder == project else []
        installed |= {re.split(r"[\[><=;]", requirement)[0].replace(".", "-") for requirement in chain(*groups)}
    assert set(pre_gen.LIBRARIES.split()) == installed - {"ml-microservice"}
    for name in (*installed, *pre_gen.OWN_NAMES):
        assert pre_gen.check_project_slug(name) == "is a reserved name", name


@pytest.mark.parametrize("hook", ["pre_gen_project", "post_gen_project"])
@pytest.mark.parametrize("answer", HOSTILE, ids=lambda answer: ascii(answer)[:30])
def test_hostile_answers_reach_a_hook_as_they_are(
    hook: str, answer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    answers = dict.fromkeys(GOOD, answer)
    assert json.loads(load_hook(hook, tmp_path, answers).ANSWERS) == answers
    assert [path.name for path in tmp_path.iterdir() if path.suffix != ".py"] in ([], ["__pycache__"])


@pytest.mark.parametrize("answer", HOSTILE, ids=lambda answer: ascii(answer)[:30])
def test_hostile_answers_are_refused(pre_gen: ModuleType, answer: str) -> None:
    assert len(pre_gen.faults(dict.fromkeys(GOOD, answer))) == len(GOOD)


@pytest.mark.parametrize("option", GOOD)
def test_a_bake_with_a_hostile_answer_leaves_nothing_behind(option: str, template: Path, tmp_path: Path) -> None:
    with pytest.raises(FailedHookException):
        bake(tmp_path, template=template, **{**GOOD, "project_slug": "x-y", option: HOSTILE[0]})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("answer", ODD, ids=ascii)
def test_odd_but_harmless_answers_come_out_as_they_went_in(answer: str, template: Path, tmp_path: Path) -> None:
    answers = {**GOOD, "project_name": answer, "description": answer, "owner_name": answer}
    project = bake(tmp_path, template=template, **answers)
    config = yaml.safe_load((project / "config.yaml").read_text(encoding="utf-8"))
    package = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert (config["title"], config["description"], package["description"]) == (answer, answer, answer)
    assert package["authors"] == [{"name": answer, "email": GOOD["owner_email"]}]
    assert not list(tmp_path.rglob("EXECUTED"))


@pytest.mark.parametrize("slug", ["true", "null"])
def test_a_slug_that_is_a_word_of_yaml_stays_text(slug: str, template: Path, tmp_path: Path) -> None:
    project = bake(tmp_path, template=template, **{**GOOD, "project_slug": slug})
    assert yaml.safe_load((project / "config.yaml").read_text(encoding="utf-8"))["name"] == slug
