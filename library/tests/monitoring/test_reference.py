"""The reference is small, is in the artefact, and tells nothing of a person."""

import json
from pathlib import Path

import numpy as np
import pytest

from ml_microservice.artefact.reader import read_artefact
from ml_microservice.artefact.reference import (
    REFERENCE,
    CategoryReference,
    NumberReference,
    Reference,
    TextReference,
    read_reference,
)
from ml_microservice.artefact.store import ArtefactStore
from ml_microservice.errors import ArtefactError
from ml_microservice.monitoring.description import describe_feature
from ml_microservice.settings import Settings, load_settings
from tests.monitoring.conftest import answers, customers, training_reference


def test_training_puts_it_into_the_artefact(settings: Settings) -> None:
    artefact = read_artefact(ArtefactStore(settings.model_directory).path("current"), settings.name)
    reference = read_reference(artefact.files, artefact.manifest.version)
    assert set(reference.features) == {"floor area", "class", "garden[ha]", "colour", "lift", "built", "view"}
    assert reference.personal == ("owner",)
    assert reference.rows == artefact.manifest.rows
    assert reference.predictions.count == artefact.manifest.test_rows
    assert reference.confidence is not None
    assert reference.features["garden[ha]"].missing > 0


def test_nothing_of_personal_data_is_in_it(settings: Settings) -> None:
    folder = ArtefactStore(settings.model_directory).path("current")
    text = (folder / REFERENCE).read_text()
    assert "Ada" not in text
    assert "Bob" not in text
    assert json.loads(text)["personal"] == ["owner"]


def test_words_that_few_texts_have_are_not_in_it() -> None:
    texts = ["parcel arrived late"] * 60 + [f"parcel for Lovelace{letter} lost" for letter in "abcd"]
    described = describe_feature("string", texts).values
    assert isinstance(described, TextReference)
    assert set(described.words) == {"parcel", "arrived", "late"}


def test_it_comes_back_as_it_was(reference: Reference) -> None:
    assert read_reference({REFERENCE: reference.to_bytes()}, "v") == reference


def test_its_size_does_not_grow_with_the_frame() -> None:
    rng = np.random.default_rng(12)
    small, large = (
        len(training_reference(customers(rows, rng), answers(rows, rng)).to_bytes()) for rows in (1000, 10_000)
    )
    assert large < 1.2 * small
    assert large < 40_000


def test_many_categories_are_bounded() -> None:
    names = [f"shop {number}" for number in range(5000)]
    described = describe_feature("category", names + names[:100] * 9).values
    assert isinstance(described, CategoryReference)
    assert (len(described.counts), described.others, described.is_complete) == (100, 4900, False)


def test_a_model_from_before_is_told_clearly(project: Path) -> None:
    settings = load_settings(project, {})
    folder = ArtefactStore(settings.model_directory).path("current")
    manifest = json.loads((folder / "manifest.json").read_text())
    del manifest["files"][REFERENCE]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    (folder / REFERENCE).unlink()
    artefact = read_artefact(folder, settings.name)
    with pytest.raises(ArtefactError, match=r"has no reference to compare records with.*train again"):
        read_reference(artefact.files, artefact.manifest.version)


@pytest.mark.parametrize("content", [b"{}", b"no json", b'{"format": 2}'])
def test_a_reference_of_another_format_is_told_clearly(content: bytes) -> None:
    with pytest.raises(ArtefactError, match="not a reference of format 1"):
        read_reference({REFERENCE: content}, "v")


def test_columns_without_values_have_no_description() -> None:
    described = describe_feature("float", [None, None])
    assert (described.missing, described.values) == (2, None)


def test_whole_numbers_are_categories_as_requests_write_them() -> None:
    described = describe_feature("category", [2007.0, 2008.0, 2008.0, None]).values
    assert isinstance(described, CategoryReference)
    assert described.counts == {"2008": 2, "2007": 1}


def test_extreme_numbers_are_described() -> None:
    for values in ([-1e308, 0.0, 5e-324, 1e308], [2**62] * 40, [1e308, 1e308]):
        described = describe_feature("float", values).values
        assert isinstance(described, NumberReference)
        assert np.isfinite([described.std, *described.histogram.edges]).all()
        assert sum(described.histogram.counts) == sum(described.counts) == len(values)
