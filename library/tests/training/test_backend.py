"""Training with Dask as joblib's backend: the model is the one that this machine alone would have made."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import GridSearchCV

from ml_microservice.artefact.reader import read_artefact
from ml_microservice.settings import load_settings
from ml_microservice.training.hooks import Hooks
from ml_microservice.training.pipeline import train


def search(features: Any, target: Any) -> Any:
    """A search over forests, which joblib runs in parallel."""
    forest = RandomForestClassifier(10, random_state=0)
    return GridSearchCV(forest, {"max_depth": [2, 4]}, cv=3).fit(features, target)


@pytest.mark.slow
def test_a_model_trained_on_dask_is_the_one_trained_here(project: Path, house_hooks: Hooks) -> None:
    distributed = pytest.importorskip("distributed")
    hooks = Hooks(house_hooks.data_loader, house_hooks.preprocessor, search, house_hooks.get_classes, project)
    models = []
    with distributed.LocalCluster(2, threads_per_worker=1, host="127.0.0.1", dashboard_address=None) as cluster:
        for engine in ("local", "dask"):
            environment = {"SERVICE__TRAINING__ENGINE": engine, "SERVICE__TRAINING__COMPILE": "false"}
            if engine == "dask":
                environment["SERVICE__TRAINING__SCHEDULER"] = cluster.scheduler_address
            trained = train(load_settings(project, environment), hooks)
            found = read_artefact(trained.folder, "houses").model
            rows = np.random.default_rng(0).normal(size=(500, found.n_features_in_))
            models.append((found.best_params_, found.predict_proba(rows).tolist()))
        with distributed.Client(cluster) as client:
            assert any("fit" in key for keys in client.run(tasks_done).values() for key in keys)
    assert models[0] == models[1]


def tasks_done(dask_worker: Any) -> list[str]:
    """What a worker of Dask remembers to have done."""
    return [str(entry[0]) for entry in dask_worker.state.log]
