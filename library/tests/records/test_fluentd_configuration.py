"""`logging/fluentd.conf`, read as Fluentd reads it: it takes what the sink sends, keeps it, and files it by its id.

There is no Fluentd here. The parser below knows the part of the syntax that the file uses and nothing else, and the
parameters are held against those that the plugins document.
"""

import re
from dataclasses import dataclass, field
from datetime import datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest

from ml_microservice.records.documents import document
from ml_microservice.records.elasticsearch.index import index_objects
from ml_microservice.records.record import FeedbackRecord, PredictionRecord, Record
from ml_microservice.records.sinks.fluentd import TAGS
from tests.records.elasticsearch.test_index import SPEC, settings

FILE = Path(__file__).parents[3] / "{{cookiecutter.project_slug}}/logging/fluentd.conf"
ENVIRON = {"FLUENTD_SHARED_KEY": "a key"}
SECTION = re.compile(r"<(\w+)(?:\s+(\"(?:[^\"\\]|\\.)*\"|[^\s\">]+))?>")
PARAMETER = re.compile(r"(@?\w+)\s+(\"(?:[^\"\\]|\\.)*\"|\[\]|[^\s\"#][^\"#]*)")
RUBY = re.compile(r"#\{([^}]*)\}")
KNOWN = {
    "source forward": "@id bind port",
    "security": "self_hostname shared_key",
    "transport": "cert_path private_key_path",
    "match elasticsearch": """
        @id host port scheme user password ca_file logstash_format logstash_prefix logstash_dateformat utc_index id_key
        write_operation emit_error_for_missing_id suppress_type_name verify_es_version_at_startup
        default_elasticsearch_version unrecoverable_error_types reconnect_on_error reload_connections reload_on_failure
        request_timeout log_es_400_reason
    """,
    "match file": "@id path append",
    "buffer file": """
        path chunk_limit_size total_limit_size overflow_action flush_mode flush_interval flush_thread_count
        retry_forever retry_max_interval timekey timekey_use_utc
    """,
    "format json": "",
    "label": "",
    "": "",
}
"""Parameters by section and type of plugin, as their documentation has them."""


@dataclass
class Section:
    """A section with its values worked out; None is Ruby's nil, a parameter that is not set."""

    name: str
    argument: str | None
    parameters: dict[str, str | None] = field(default_factory=dict)
    sections: list["Section"] = field(default_factory=list)

    def all(self, name: str) -> list["Section"]:
        return [one for one in self.sections if one.name == name]

    def one(self, name: str) -> "Section":
        (only,) = self.all(name)
        return only

    def __getitem__(self, name: str) -> str | None:
        return self.parameters[name]


def parse(text: str, environ: dict[str, str]) -> Section:
    """The file as sections; anything that is not understood is an error."""
    open_sections = [Section("", None)]
    for number, line in enumerate(map(str.strip, text.splitlines()), start=1):
        current = open_sections[-1]
        if not line or line.startswith("#"):
            continue
        if line.startswith("</"):
            assert line == f"</{current.name}>", f"line {number} does not close <{current.name}>"
            check_parameters(open_sections.pop())
        elif opened := SECTION.fullmatch(line):
            section = Section(opened[1], value_of(opened[2], environ) if opened[2] else None)
            current.sections.append(section)
            open_sections.append(section)
        else:
            parameter = PARAMETER.fullmatch(line)
            assert parameter, f"line {number} is neither a section nor a parameter: {line}"
            assert parameter[1] not in current.parameters, f"line {number} sets {parameter[1]} again"
            current.parameters[parameter[1]] = value_of(parameter[2], environ)
    assert len(open_sections) == 1, f"<{open_sections[-1].name}> is not closed"
    return open_sections[0]


def value_of(text: str, environ: dict[str, str]) -> str | None:
    """A literal; Ruby is worked out only between double quotes, as Fluentd does."""
    if not text.startswith('"'):
        assert "#{" not in text
        return text.strip()
    inner = text[1:-1]
    whole = RUBY.fullmatch(inner)
    if whole and ruby(whole[1], environ) is None:
        return None
    return RUBY.sub(lambda found: str(ruby(found[1], environ)), inner)


def ruby(code: str, environ: dict[str, str]) -> str | None:
    """The three expressions that the file uses."""
    if code == "Socket.gethostname":
        return "here"
    if fetched := re.fullmatch(r"ENV\.fetch\('(\w+)'\)", code):
        return environ[fetched[1]]
    optional = re.fullmatch(r"ENV\['(\w+)'\] \|\| (?:'([^']*)'|(use_nil|Socket\.gethostname))", code)
    assert optional, f"unknown Ruby: {code}"
    default = optional[2] if optional[3] is None else None if optional[3] == "use_nil" else "here"
    return environ.get(optional[1], default)


def check_parameters(section: Section) -> None:
    kind = section.parameters.get("@type")
    known = KNOWN[f"{section.name} {kind}" if kind else section.name].split()
    unknown = set(section.parameters) - {*known, "@type"}
    assert not unknown, f"<{section.name}> has no {', '.join(unknown)}"


def matches(pattern: str | None, tag: str) -> bool:
    """Fluentd's patterns: `*` is one part of a tag, `**` any number of them."""
    assert pattern
    expression = re.escape(pattern).replace(r"\*\*", ".*").replace(r"\*", "[^.]+")
    return re.fullmatch(expression, tag) is not None


@pytest.fixture
def configuration() -> Section:
    return parse(FILE.read_text(encoding="utf-8"), ENVIRON)


def records() -> list[tuple[Record, str]]:
    """One of each kind, with the alias that it has to be found by."""
    shared: dict[str, Any] = {"route": "predict", "model_version": "v", "model_id": "m", "latency_ms": 1.5}
    time = "2026-11-21T23:59:59.999Z"
    prediction = PredictionRecord(
        prediction_id="p1", time=time, entity_id=None, inputs={}, prediction="yes", probabilities=None, **shared
    )
    return [(prediction, "houses"), (FeedbackRecord("f1", "p1", "no", None, None, time), "houses.feedback")]


@pytest.mark.parametrize(("record", "alias"), records(), ids=lambda one: getattr(one, "kind", ""))
def test_what_the_sink_sends_is_filed_under_its_own_id_in_the_index_of_its_own_day(
    configuration: Section, record: Record, alias: str
) -> None:
    tag = f"houses.{TAGS[record.kind]}"
    (out,) = (one for one in configuration.all("match") if matches(one.argument, tag))
    assert (out["@type"], out["write_operation"]) == ("elasticsearch", "create")
    sent = document(record)
    assert sent[str(out["id_key"])] == record.id
    assert out["emit_error_for_missing_id"] == "true"

    assert out["logstash_format"] == out["utc_index"] == "true"
    assert out.one("buffer").argument == "tag", "a placeholder for the tag needs it as a key of the buffer"
    prefix = str(out["logstash_prefix"]).replace("${tag[0]}", tag.split(".")[0])
    day = datetime.fromisoformat(sent["@timestamp"]).strftime(str(out["logstash_dateformat"]))
    index = f"{prefix}-{day}"
    assert index == f"{alias}-2026.11.21"
    template = index_objects(SPEC, settings())[f"_index_template/{alias}"]
    assert fnmatchcase(index, template["index_patterns"][0])
    assert template["template"]["aliases"] == {alias: {}}


def test_what_is_acknowledged_is_in_a_file_and_is_tried_for_ever(configuration: Section) -> None:
    outputs = [*configuration.all("match"), *configuration.one("label").all("match")]
    buffers = [out.one("buffer") for out in outputs]
    assert len(buffers) == 3
    for buffer in buffers:
        assert (buffer["@type"], buffer["retry_forever"]) == ("file", "true")
        assert buffer.parameters.get("overflow_action", "throw_exception") == "throw_exception"
    paths = [str(buffer["path"]) for buffer in buffers]
    assert all(path.startswith("/fluentd/buffer/") for path in paths)
    assert not any(a != b and b.startswith(a) for a in paths for b in paths), "one folder may not begin another's name"
    assert len(set(paths)) == 3
    for out in configuration.all("match"):
        assert out["unrecoverable_error_types"] == "[]"
        assert out["verify_es_version_at_startup"] == "false"
    identities = [one["@id"] for one in [*configuration.all("source"), *outputs]]
    assert len(set(identities)) == 4


def test_what_elasticsearch_refuses_is_kept(configuration: Section) -> None:
    errors = configuration.one("label")
    assert errors.argument == "@ERROR"
    (kept,) = errors.all("match")
    assert matches(kept.argument, "houses.predict")
    assert kept["@type"] == "file"
    assert set(str(kept.one("buffer").argument).split(",")) == {"tag", "time"}


def test_a_sender_has_to_know_the_key_and_no_secret_is_in_the_file(configuration: Section) -> None:
    source = configuration.one("source")
    assert (source["@type"], source["port"]) == ("forward", "24224")
    assert source.one("security")["shared_key"] == "a key"
    assert source.one("transport").argument == "tcp"
    for out in configuration.all("match"):
        assert out["user"] is None
        assert out["password"] is None
    with pytest.raises(KeyError, match="FLUENTD_SHARED_KEY"):
        parse(FILE.read_text(encoding="utf-8"), {})


def test_the_environment_says_where_things_are() -> None:
    environ = {
        **ENVIRON,
        "FLUENTD_TRANSPORT": "tls",
        "FLUENTD_CERT_PATH": "/certs/tls.crt",
        "FLUENTD_KEY_PATH": "/certs/tls.key",
        "FLUENTD_BUFFER_PATH": "/data",
        "ELASTICSEARCH_HOST": "search",
        "ELASTICSEARCH_SCHEME": "https",
        "ELASTICSEARCH_USER": "fluentd",
        "ELASTICSEARCH_PASSWORD": "from the environment",
    }
    made = parse(FILE.read_text(encoding="utf-8"), environ)
    transport = made.one("source").one("transport")
    assert (transport.argument, transport["cert_path"]) == ("tls", "/certs/tls.crt")
    for out in made.all("match"):
        assert (out["host"], out["scheme"], out["user"]) == ("search", "https", "fluentd")
        assert out["password"] == "from the environment"
        assert str(out.one("buffer")["path"]).startswith("/data/")


def test_every_variable_that_the_file_reads_is_explained_at_its_head() -> None:
    text = FILE.read_text(encoding="utf-8")
    head = text.split("<source>")[0]
    explained = set(re.findall(r"\b[A-Z]+_[A-Z_]*[A-Z]\b", head))
    explained |= {f"ELASTICSEARCH{end}" for end in re.findall(r"(?<= )_[A-Z_]*[A-Z]\b", head)}
    used = set(re.findall(r"ENV(?:\[|\.fetch\()'(\w+)'", text))
    assert not used - explained


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("<source>\n  @type forward\n  prot 24224\n</source>", "has no prot"),
        ("<match a>\n</source>", "does not close"),
        ("<label @ERROR>", "is not closed"),
        ('<label @ERROR>\n  path "#{`id`}"\n</label>', "unknown Ruby"),
    ],
)
def test_the_parser_takes_nothing_that_it_does_not_know(fault: str, words: str) -> None:
    with pytest.raises(AssertionError, match=words):
        parse(fault, ENVIRON)
