"""The service with jobs, called in this process, and a worker that works when it is told to."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fastapi.testclient import TestClient

from ml_microservice.api.app import create_app
from ml_microservice.inference.served_model import ServedModel
from ml_microservice.settings import load_settings
from tests.bodies import encode
from tests.jobs.hand_worker import HandWorker


class JobsClient:
    """A client and a worker of the same jobs."""

    def __init__(self, client: TestClient, worker: HandWorker) -> None:
        self.http = client
        self.worker = worker

    def submit(self, rows: Any, media_type: str = "application/json", query: str = "", **headers: str) -> Any:
        """The response to a submission."""
        body = rows if isinstance(rows, bytes) else encode(rows, media_type)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.http.post(f"/jobs{query}", content=body, headers={"content-type": media_type, **named})

    def done(self, rows: Any, media_type: str = "application/json") -> str:
        """The path of a job that is done."""
        response = self.submit(rows, media_type)
        assert response.status_code == 202, response.text
        self.worker.work()
        return str(response.headers["location"])


@contextmanager
def jobs_client(project: Path, served: ServedModel, **variables: str) -> Iterator[JobsClient]:
    """The service of a project, as long as the block lasts; its variables without the prefix."""
    settings = load_settings(project, {f"SERVICE__{name}": value for name, value in variables.items()})
    worker = HandWorker(settings, served)
    try:
        with TestClient(create_app(settings), raise_server_exceptions=False) as client:
            yield JobsClient(client, worker)
    finally:
        worker.close()


@contextmanager
def meanwhile(work: Callable[[], Any]) -> Iterator[None]:
    """Something that another thread does during the block."""
    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        thread.join()
