"""`config.yaml` and the environment, as one typed object.

Every field can be overridden by a variable named after its path: `SERVICE__API__PORT=9000` is `api: {port: 9000}`.
Secrets come only that way, or from a file of that name in the folder that `SERVICE_SECRETS_DIR` names.
"""

import os
import re
from base64 import b64decode
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_origin
from urllib.parse import parse_qs, urlsplit

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)

from ml_microservice.errors import ConfigError, Fault, did_you_mean
from ml_microservice.validation import config_faults
from ml_microservice.yaml_file import read_yaml

CONFIG_FILE = "config.yaml"
ENV_PREFIX = "SERVICE__"
SECRETS = (
    "api.admin_keys",
    "api.keys",
    "database.password",
    "fluentd.shared_key",
    "jobs.broker_password",
    "jobs.webhook_key",
    "records.pii_key",
)
"""Settings that may not stand in `config.yaml`, because that file is committed."""
WEBHOOK_KEY_PREFIX = "whsec_"
WEBHOOK_KEY_BYTES = range(24, 65)
"""How long the Standard Webhooks specification has keys."""
CRON = re.compile(r"@[a-z]+|[0-9H*/,()-]+( +[0-9H*/,()-]+){4}")
ADDRESS = re.compile(r"[^@\s,]+@[^@\s,]+")
DnsLabel = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$", max_length=63)]


class Section(BaseModel):
    """Base of all settings: unknown keys are errors, values never change, docstrings describe fields in the docs."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


def _thresholds_of_a_variable(value: Any) -> Any:
    """An environment variable's `accuracy=0.9,log_loss=0.4` as the file has it."""
    if not isinstance(value, str):
        return value
    pairs = (part.partition("=") for part in _split(value))
    return {name.strip(): number.strip() for name, _, number in pairs}


class TrainingSettings(Section):
    """How `ml-service train` splits and judges."""

    test_size: float = Field(0.2, gt=0, lt=1)
    """Share of the rows that is held out to evaluate on."""
    seed: int = Field(42, ge=0, lt=2**32)
    """Seed of the split, of `random` and of `numpy.random` while the hooks run."""
    golden_rows: int = Field(20, ge=1, le=1000)
    """Rows stored with their predictions, replayed whenever the model is loaded."""
    compile: bool = True
    """Whether to rewrite the model as a compiled engine, which serves only if it is proved equal."""
    compile_tolerance: float = Field(1e-9, ge=0, le=1e-3)
    """Largest difference of a probability (or of a number, relative to its size) between the two."""
    engine: Literal["local", "dask"] = "local"
    """What runs that your hooks' libraries do in parallel by joblib, as scikit-learn does: this machine, or Dask."""
    scheduler: str | None = None
    """Address of the Dask scheduler, as `tcp://host:8786`; by default, a cluster is started on this machine."""


class GateSettings(Section):
    """What `ml-service gate` asks of a model before it goes on, on the held-out rows."""

    thresholds: Annotated[
        Mapping[str, Annotated[float, Field(allow_inf_nan=False)]], BeforeValidator(_thresholds_of_a_variable)
    ] = {}
    """By metric the least that it has to be, or the most where smaller is better: `{accuracy: 0.9, log_loss: 0.4}`; in
    the environment variable `accuracy=0.9,log_loss=0.4`."""
    metric: str | None = None
    """The metric that is compared with the champion's, of the model that is in production; by default `accuracy` for
    classification, `mae` for regression."""
    tolerance: float = Field(0.02, ge=0, le=1)
    """Share of the champion's value by which it may be worse."""


class ArtefactSettings(Section):
    """Where trained models are kept and which one is served."""

    directory: Path = Path("model_bin")
    """Folder of all model versions, relative to the project."""
    version: str = "current"
    """The version to serve; `current` follows the pointer that training moves."""


class ApiSettings(Section):
    """The HTTP service."""

    host: str = "127.0.0.1"
    """Address to listen on; `0.0.0.0` in a container."""
    port: int = Field(8000, ge=0, le=65535)
    """Port to listen on; 0 takes any free one."""
    grpc_port: int | None = Field(None, ge=1, le=65535)
    """Port for the Open Inference Protocol over gRPC, off by default; all workers share it. Needs the extra `grpc`."""
    workers: int = Field(1, ge=1, le=256)
    """Processes that answer; one that dies is replaced."""
    preload: bool = True
    """Whether several workers are forked from a process with the model, whose memory they share; `false` where a
    library does not survive that, as CUDA does not: each then reads its own copy."""
    keys: Annotated[tuple[SecretStr, ...], Field(json_schema_extra={"secret": True})] = ()
    """API keys, separated by commas, of which a caller sends one as `X-API-Key`. Without any, the API is open, which
    `environment: production` refuses. A secret: set `SERVICE__API__KEYS`, never this file."""
    admin_keys: Annotated[tuple[SecretStr, ...], Field(json_schema_extra={"secret": True})] = ()
    """Keys of those who run the service, separated by commas: sent as `X-API-Key`, they open what an ordinary key does,
    and the list of all jobs. A secret: set `SERVICE__API__ADMIN_KEYS`, never this file."""
    max_body_bytes: int = Field(16 * 2**20, ge=1024)
    """Largest request body in bytes, but for jobs; a larger one is answered 413."""
    max_batch_rows: int = Field(10_000, ge=1)
    """Most rows in one request to `/predict/batch`; more are answered 413."""
    max_concurrency: int = Field(256, ge=1)
    """Requests in work per process; one more is answered 429 with `Retry-After`. Health and metrics are exempt."""
    timeout_seconds: float = Field(30, gt=0)
    """Time that a request may wait for the model; after it, the answer is 503 and nothing is computed."""
    cors_origins: tuple[str, ...] = ()
    """Origins whose web pages may call this service; none by default."""
    shutdown_seconds: int = Field(30, ge=1)
    """Time that requests in work have to finish after SIGTERM."""

    @property
    def opening_keys(self) -> tuple[str, ...]:
        """What callers may send as `X-API-Key`, those who run the service included; none if the API is open."""
        return tuple(key.get_secret_value() for key in (*self.keys, *self.admin_keys)) if self.keys else ()


class RecordsSettings(Section):
    """The record of every prediction: kept in local files before the answer leaves, then shipped to the sinks."""

    sinks: tuple[Literal["database", "fluentd", "stdout"], ...] = ("database",)
    """Where records are shipped to; with none, nothing is recorded."""
    directory: Path = Path("var/records")
    """Folder of the local files, relative to the project; on a disk that survives the process."""
    durability: Literal["group", "strict"] = "group"
    """`group` syncs the disk every `sync_milliseconds`: a power loss can cost that much. `strict` answers after it."""
    sync_milliseconds: int = Field(100, ge=1, le=10_000)
    """Time between two syncs of the disk."""
    segment_bytes: int = Field(16 * 2**20, ge=4096)
    """A local file is closed beyond this size and another begun."""
    segment_seconds: int = Field(60, ge=1)
    """A local file is closed beyond this age and another begun."""
    max_bytes: int = Field(2**30, ge=2**20)
    """Most bytes that wait in local files, of all processes; beyond, as when the disk is full, `when_full` holds."""
    when_full: Literal["refuse", "serve_unlogged"] = "refuse"
    """`refuse` answers 503; `serve_unlogged` answers with `"logged": false` and counts it."""
    pii: Literal["omit", "hash"] = "omit"
    """What is recorded of features that are `pii`: nothing, or a keyed hash, by which equal values can be told."""
    pii_key: Annotated[SecretStr | None, Field(json_schema_extra={"secret": True})] = None
    """Key of that hash. A secret: set `SERVICE__RECORDS__PII_KEY`, never this file."""
    n_best: int = Field(5, ge=1)
    """How many of the likeliest classes are recorded with their probabilities."""
    shipping: Literal["with_service", "separate"] = "with_service"
    """Whether the service ships its records itself, or `ml-service records ship` does, as a process of its own."""
    retention_days: int | None = Field(None, ge=1)
    """Age at which records are deleted, in the database and in Elasticsearch; none are by default."""

    @model_validator(mode="after")
    def _a_hash_needs_its_key(self) -> Self:
        if self.pii == "hash" and self.pii_key is None:
            raise ValueError("records.pii is 'hash' but there is no key: set SERVICE__RECORDS__PII_KEY")
        return self


class DatabaseSettings(Section):
    """The database of records and feedback."""

    url: str = "sqlite:///var/records.db"
    """SQLAlchemy URL without a password; a SQLite file is relative to the project. PostgreSQL in production:
    `postgresql+psycopg://user@host:5432/name`."""
    password: Annotated[SecretStr | None, Field(json_schema_extra={"secret": True})] = None
    """A secret: set `SERVICE__DATABASE__PASSWORD`, never this file."""
    migrate: bool = True
    """Whether whoever writes first brings the tables up to date; otherwise run `ml-service records migrate`."""

    @field_validator("url")
    @classmethod
    def _the_password_stands_elsewhere(cls, url: str) -> str:
        parts = urlsplit(url)
        if parts.password is not None or "password" in parse_qs(parts.query, keep_blank_values=True):
            raise ValueError(
                "database.url carries a password, which ends up in git and in logs: "
                "take it out and set SERVICE__DATABASE__PASSWORD"
            )
        return url


class JobsSettings(Section):
    """Asynchronous predictions: each job is a row of the database first, and a message to the workers second."""

    broker: str | None = "filesystem://var/jobs/messages"
    """What carries messages to the workers: `amqp://user@host:5672/vhost` (RabbitMQ) in production,
    `redis://host:6379/0`, or a folder on this machine; `null`, or an empty variable, for a service without jobs.
    Without a password."""
    broker_password: Annotated[SecretStr | None, Field(json_schema_extra={"secret": True})] = None
    """A secret: set `SERVICE__JOBS__BROKER_PASSWORD`, never this file."""
    storage: str = "var/jobs/files"
    """Folder or fsspec URL (`s3://bucket/jobs`) of bodies and results; all services and workers see the same."""
    inline_bytes: int = Field(64 * 2**10, ge=0, le=2**20)
    """Bodies and results up to this size are kept in the database instead."""
    max_body_bytes: int = Field(2**30, ge=1024)
    """Largest body of a job in bytes; a larger one is answered 413."""
    chunk_rows: int = Field(5_000, ge=1, le=100_000)
    """Rows of a chunk: a larger job is cut into several, which the workers share."""
    max_queued: int = Field(100_000, ge=1)
    """Most chunks that wait; beyond, a job is answered 429 with `Retry-After`."""
    max_attempts: int = Field(3, ge=1, le=100)
    """How often a chunk is tried whose worker dies or exceeds its time, before its job has failed."""
    timeout_seconds: float = Field(600, gt=0, le=1500)
    """Time that a chunk may take. RabbitMQ takes a message back after 30 minutes."""
    lease_seconds: float = Field(30, ge=2)
    """Time after which a chunk whose worker gives no sign of life is given to another."""
    result_days: float = Field(7, gt=0)
    """Age at which a finished job is deleted, with its result."""
    concurrency: int | None = Field(None, ge=1, le=256)
    """Processes of a worker; one for each core by default."""
    shutdown_seconds: int = Field(30, ge=1)
    """Time that chunks in work have to finish after SIGTERM; what has not, is returned to the queue."""
    result_backend: str | None = None
    """Where Celery keeps the states of its tasks for tools that ask for them, such as `redis://host:6379/1`; by
    default nowhere, since jobs and results are in the database."""
    metrics_port: int | None = Field(None, ge=1, le=65535)
    """Port of a worker's own metrics; none by default."""
    webhook_key: Annotated[SecretStr | None, Field(json_schema_extra={"secret": True})] = None
    """Key that webhooks are signed with, `whsec_` and 24 to 64 bytes as base64; without it, none are taken. A secret:
    set `SERVICE__JOBS__WEBHOOK_KEY`, never this file."""
    webhook_attempts: int = Field(8, ge=1, le=50)
    """How often a webhook is tried, at growing intervals."""
    private_webhooks: bool = False
    """Whether webhooks may go to loopback, private and link-local addresses."""

    @field_validator("webhook_key")
    @classmethod
    def _receivers_can_use_the_webhook_key(cls, key: SecretStr | None) -> SecretStr | None:
        if key is None:
            return None
        text = key.get_secret_value()
        try:
            secret = b64decode(text.removeprefix(WEBHOOK_KEY_PREFIX), validate=True)
        except ValueError:
            secret = b""
        if not text.startswith(WEBHOOK_KEY_PREFIX) or len(secret) not in WEBHOOK_KEY_BYTES:
            raise ValueError(
                f"it has to be {WEBHOOK_KEY_PREFIX} and {WEBHOOK_KEY_BYTES.start} to {WEBHOOK_KEY_BYTES.stop - 1} "
                "bytes as base64: echo whsec_$(openssl rand -base64 32) makes one"
            )
        return key

    @field_validator("broker", mode="before")
    @classmethod
    def _an_empty_variable_is_none(cls, url: object) -> object:
        return None if url == "" else url

    @field_validator("broker", "result_backend")
    @classmethod
    def _the_password_stands_elsewhere(cls, url: str | None) -> str | None:
        if url is not None and urlsplit(url).password is not None:
            raise ValueError("the URL carries a password: take it out and set SERVICE__JOBS__BROKER_PASSWORD")
        return url

    @field_validator("broker")
    @classmethod
    def _it_is_one_that_carries_messages(cls, url: str | None) -> str | None:
        if url is not None and urlsplit(url).scheme not in ("amqp", "amqps", "redis", "rediss", "filesystem"):
            raise ValueError(f"{url!r} is none of amqp://, amqps://, redis://, rediss:// and filesystem://")
        return url


class FluentdSettings(Section):
    """The Fluentd, or another receiver of its Forward protocol, that the sink `fluentd` sends to."""

    host: str = "127.0.0.1"
    """Host name or address."""
    port: int = Field(24224, ge=1, le=65535)
    """Port of its `forward` source."""
    tag: Annotated[str, Field(pattern=r"^([a-z][a-z0-9_-]*)?$", max_length=100)] = ""
    """Start of the tags, before `.predict` and `.feedback`, and of indices; the project's name by default."""
    timeout_seconds: float = Field(10, gt=0)
    """Time that a connection and an acknowledgement may take."""
    tls: bool = False
    """Whether to connect by TLS."""
    ca_file: Path | None = None
    """Certificates that the receiver's must be signed by; the system's by default."""
    shared_key: Annotated[SecretStr | None, Field(json_schema_extra={"secret": True})] = None
    """The key of the receiver's `<security>` section. A secret: set `SERVICE__FLUENTD__SHARED_KEY`, never this file."""


class MonitoringSettings(Section):
    """How recorded predictions are watched: how right they were, and how far they have drifted."""

    refresh_seconds: int = Field(300, ge=10)
    """Age at which the service computes anew what it answers below `/monitoring` and shows as metrics."""
    window_hours: float = Field(24, gt=0)
    """Age up to which predictions are looked at."""
    directory: Path = Path("var/monitoring")
    """Folder of what was computed last, relative to the project; all worker processes read it."""
    max_rows: int = Field(20_000, ge=1000)
    """Most predictions of a window that are compared."""
    min_rows: int = Field(100, ge=50)
    """With fewer predictions in the window, nothing is said."""
    parts: int = Field(3, ge=1, le=24)
    """Parts of equal time that a window is cut into, to tell what lasts from what passes."""
    persistent_parts: int = Field(2, ge=1, le=24)
    """Parts in which a drift has to show for an alarm."""
    false_alarm_rate: float = Field(0.01, gt=0, le=0.5)
    """Share of windows without any drift that may raise an alarm: all limits together are set to stay below it."""
    psi: float = Field(0.2, gt=0)
    """Population stability index from which a change matters; the noise of so few rows as there are comes on top, as
    in all that follows."""
    missing: float = Field(0.05, gt=0, lt=1)
    """Change of the share of missing values, and of empty texts, from which it matters."""
    unseen: float = Field(0.01, gt=0, lt=1)
    """Share of values from which it matters that training had none like them: a new category, a number out of range."""
    words: float = Field(0.15, gt=0, lt=1)
    """Change of the share of unknown words, and of the texts that have a certain word, from which it matters."""
    shift: float = Field(0.5, gt=0)
    """Change of the mean of a vector's element from which it matters, in standard deviations."""
    ignore: tuple[str, ...] = ()
    """Features that raise no alarm, such as the date of the request, which is never what it was."""

    @model_validator(mode="after")
    def _there_are_enough_parts(self) -> Self:
        if self.persistent_parts > self.parts:
            raise ValueError(f"persistent_parts ({self.persistent_parts}) is more than parts ({self.parts})")
        return self


class TracingSettings(Section):
    """Traces of requests and jobs by OpenTelemetry; off, and nothing of its SDK loaded, until there is an endpoint."""

    endpoint: str | None = None
    """The collector to send spans to by OTLP over HTTP, `http://collector:4318`; none by default. Needs the extra
    `tracing`. Headers that it asks for are secrets: set `OTEL_EXPORTER_OTLP_HEADERS`, never this file."""
    sample_ratio: float = Field(1.0, ge=0, le=1)
    """Share of the traces that begin here which are sampled; of one that a caller began, the caller says whether."""
    timeout_seconds: float = Field(5, gt=0, le=30)
    """Time that a sending may take, and at the end the last one; no request waits for it."""

    @field_validator("endpoint", mode="before")
    @classmethod
    def _an_empty_variable_is_none(cls, url: object) -> object:
        return None if url == "" else url

    @field_validator("endpoint")
    @classmethod
    def _it_is_an_open_http_url(cls, url: str | None) -> str | None:
        parts = urlsplit(url or "http://none")
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{url!r} is no URL of http:// or https://")
        if parts.password is not None:
            raise ValueError("the URL carries a password: take it out and set OTEL_EXPORTER_OTLP_HEADERS")
        return url


class LoggingSettings(Section):
    """What the service prints about itself."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """Least severe level that is printed."""
    format: Literal["text", "json"] = "text"
    """`text` for people, `json` (one object per line) for log shippers."""


class ImageSettings(Section):
    """The container image of this project."""

    registry: str = ""
    """Registry and namespace of the image, without its name."""
    base: str | None = None
    """What the image is built on, best with its digest: `python:3.11-slim@sha256:...`; by default the slim image of the
    Python that trained the model."""
    extras: tuple[str, ...] = ("model", "onnx", "jobs", "redis", "postgres", "fluentd")
    """Extras of `pyproject.toml` that the image has; run `make lock` after a change."""
    packages: tuple[Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.+-]+$")], ...] = ()
    """Debian packages that the libraries need, such as `libgomp1` for LightGBM."""
    max_megabytes: int = Field(650, ge=1)
    """Size of the image, uncompressed, beyond which `make image` fails."""
    scan: str = (
        "trivy image --scanners vuln --severity HIGH,CRITICAL --ignore-unfixed --exit-code 1 --quiet "
        "--format json --output build/scan.json"
    )
    """What `make scan` runs, with the image's name after it; it writes build/scan.json. Empty for no scan."""


class DeploymentSettings(Section):
    """A place that `make deploy` deploys to."""

    values: tuple[str, ...] = ()
    """Files of values for the chart, relative to the project; a later one wins."""
    namespace: DnsLabel
    """Of the cluster; it is there already."""
    release: Annotated[str, Field(pattern=r"^([a-z0-9]([a-z0-9-]*[a-z0-9])?)?$", max_length=53)] = ""
    """What Helm calls it; the project's name by default."""
    url: str = ""
    """Address of the service there, which the smoke prediction is sent to after a deployment; none by default."""
    approvers: str = ""
    """Group or user in Jenkins, one of whom has to approve a deployment; none by default."""

    @field_validator("url")
    @classmethod
    def _it_is_an_open_http_url(cls, url: str) -> str:
        parts = urlsplit(url or "http://none")
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{url!r} is no URL of http:// or https://")
        if parts.password is not None:
            raise ValueError("the URL carries a password: take it out")
        return url


class PipelinesSettings(Section):
    """What Jenkins and `make deploy` know of this project. The service that runs has no use for it."""

    repository: str = ""
    """URL that Jenkins checks the project out from; needed by Jenkins alone."""
    branch: Annotated[str, Field(min_length=1)] = "main"
    """The branch that is trained, built and deployed."""
    train_on_push: bool = True
    """Whether a commit to that branch starts a training."""
    retrain: str = ""
    """When to train without a push, as Jenkins writes cron: `H 3 * * 1`; never by default."""
    retrain_on_drift: bool = False
    """Whether an alert of drift starts a training."""
    notify: tuple[str, ...] = ()
    """E-mail addresses that are told of failures, and of their end."""
    environments: dict[DnsLabel, DeploymentSettings] = {}
    """Where `make deploy ENV=...` deploys to, by name; the keys of each stand below."""

    @field_validator("repository")
    @classmethod
    def _the_password_stands_elsewhere(cls, url: str) -> str:
        if urlsplit(url).password is not None:
            raise ValueError("the URL carries a password: take it out, and let Jenkins have it as the credential 'git'")
        return url

    @field_validator("retrain")
    @classmethod
    def _it_is_written_as_cron(cls, retrain: str) -> str:
        if retrain and not CRON.fullmatch(retrain):
            raise ValueError(f"{retrain!r} is no time as Jenkins writes it: five fields, such as H 3 * * 1, or @daily")
        return retrain

    @field_validator("notify")
    @classmethod
    def _they_are_addresses(cls, notify: tuple[str, ...]) -> tuple[str, ...]:
        for address in notify:
            if not ADDRESS.fullmatch(address):
                raise ValueError(f"{address!r} is no e-mail address")
        return notify


class Settings(Section):
    """Everything about this project that is neither code nor features."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]*[a-z0-9]$", max_length=50)]
    """The project's slug: names the image and marks its models."""
    title: str = ""
    """The project's name as people say it; heads the API documentation and the report."""
    description: str = ""
    """One sentence that says what the service predicts."""
    environment: Literal["development", "production"] = "development"
    """`production` refuses to start without what production needs, API keys first."""
    id_name: Annotated[str, Field(min_length=1)] | None = None
    """Name of the entity id that requests may carry: echoed and recorded, never a feature."""
    training: TrainingSettings = TrainingSettings()
    gate: GateSettings = GateSettings()
    artefacts: ArtefactSettings = ArtefactSettings()
    api: ApiSettings = ApiSettings()
    records: RecordsSettings = RecordsSettings()
    database: DatabaseSettings = DatabaseSettings()
    jobs: JobsSettings = JobsSettings()
    fluentd: FluentdSettings = FluentdSettings()
    monitoring: MonitoringSettings = MonitoringSettings()
    tracing: TracingSettings = TracingSettings()
    logging: LoggingSettings = LoggingSettings()
    image: ImageSettings = ImageSettings()
    pipelines: PipelinesSettings = PipelinesSettings()
    _root: Path = PrivateAttr(default=Path())

    @model_validator(mode="after")
    def _production_needs_its_secrets(self) -> Self:
        if self.environment == "production" and not self.api.keys:
            raise ValueError(
                "environment is 'production' but no API key is set: "
                "set SERVICE__API__KEYS (several are separated by commas)"
            )
        return self

    def with_training(self, training: TrainingSettings) -> "Settings":
        """The same settings with others for training."""
        return self.model_copy(update={"training": training})

    def image_name(self, version: str, commit: str | None) -> str:
        """Name and tag of the image that has a version of the model.

        Args:
            version: of the model.
            commit: of the code, with `-dirty` when files differ from it; None outside of git.
        """
        revision, _, dirty = (commit or "nocommit").partition("-")
        tag = "-".join(filter(None, (version, revision[:12], dirty)))
        return f"{'/'.join(filter(None, (self.image.registry, self.name)))}:{tag}"

    @property
    def root(self) -> Path:
        """The project's folder."""
        return self._root

    @property
    def model_directory(self) -> Path:
        """The folder of all model versions."""
        return self.root / self.artefacts.directory

    @property
    def records_directory(self) -> Path:
        """The folder of records that are not shipped yet."""
        return self.root / self.records.directory

    @property
    def records_base(self) -> str:
        """How the tags, the indices and all that belongs to them begin."""
        return self.fluentd.tag or self.name

    @property
    def monitoring_directory(self) -> Path:
        """The folder of what was computed last from records."""
        return self.root / self.monitoring.directory

    @property
    def features_file(self) -> Path:
        """The project's `features.yaml`."""
        return self.root / "src" / "model" / "features.yaml"


def load_settings(root: Path | None = None, environ: Mapping[str, str] | None = None) -> Settings:
    """Read `config.yaml` in `root` (the current folder by default) and lay the environment over it.

    Raises:
        ConfigError: with one fault per mistake, each with its line or variable.
    """
    environ = os.environ if environ is None else environ
    root = (root or Path(environ.get("SERVICE_ROOT", "."))).resolve()
    document = read_yaml(root / CONFIG_FILE, CONFIG_FILE)
    if not isinstance(document.data, dict):
        raise ConfigError(Fault("expected keys and values", file=CONFIG_FILE, advice="start with 'name: my-project'"))
    secrets_in_file = [
        Fault(
            f"{key} is a secret and may not stand in a committed file",
            file=CONFIG_FILE,
            line=document.line(tuple(key.split("."))),
            advice=f"remove it here and set {ENV_PREFIX}{key.upper().replace('.', '__')}",
        )
        for key in SECRETS
        if _lookup(document.data, key.split(".")) is not None
    ]
    values, variables, faults = _overlay(document.data, {**_secret_files(environ), **environ})
    faults = secrets_in_file + faults
    try:
        settings = Settings.model_validate(values)
    except ValidationError as error:
        faults += config_faults(error, Settings, document, variables)
    if faults:
        raise ConfigError(*faults)
    settings._root = root
    return settings


def _lookup(data: Any, path: list[str]) -> Any:
    for key in path:
        data = data.get(key) if isinstance(data, dict) else None
    return data


def _secret_files(environ: Mapping[str, str]) -> dict[str, str]:
    """Variables from files, as Docker and Kubernetes mount secrets: one file per variable, named after it."""
    folder = environ.get("SERVICE_SECRETS_DIR")
    if not folder:
        return {}
    return {path.name: path.read_text().strip() for path in Path(folder).glob(f"{ENV_PREFIX}*") if path.is_file()}


def _overlay(data: dict[str, Any], environ: Mapping[str, str]) -> tuple[dict[str, Any], dict[str, str], list[Fault]]:
    """The file's values with the environment's laid over them, and which variable each of those came from."""
    # A section of which every key is commented out reads as null.
    values = {key: dict(value or {}) if _is_section(key, value) else value for key, value in data.items()}
    variables: dict[str, str] = {}
    faults: list[Fault] = []
    for variable in sorted(name for name in environ if name.startswith(ENV_PREFIX)):
        path = variable.removeprefix(ENV_PREFIX).lower().split("__")
        known = _variable_names(Settings)
        if variable not in known:
            advice = did_you_mean(variable, known, "see docs/configuration.md for the names")
            faults.append(Fault(f"environment variable {variable} names no setting", advice=advice))
            continue
        target = values
        for key in path[:-1]:
            target = target.setdefault(key, {})
        if not isinstance(target, dict):  # told by the validation of the file
            continue
        is_list = known[variable]
        target[path[-1]] = _split(environ[variable]) if is_list else environ[variable]
        variables[".".join(path)] = variable
    return values, variables, faults


def _is_section(key: str, value: Any) -> bool:
    field = Settings.model_fields.get(key)
    is_model = field is not None and isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)
    return isinstance(value, dict) or (value is None and is_model)


def _split(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _variable_names(section: type[BaseModel], prefix: str = ENV_PREFIX) -> dict[str, bool]:
    """Every variable that names a setting, and whether it takes a list; keys of one's own choice have none."""
    names: dict[str, bool] = {}
    for name, field in section.model_fields.items():
        annotation = field.annotation
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            names |= _variable_names(annotation, f"{prefix}{name.upper()}__")
        elif get_origin(annotation) is not dict:
            names[f"{prefix}{name.upper()}"] = "tuple" in str(annotation)
    return names
