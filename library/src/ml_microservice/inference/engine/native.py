"""LightGBM and XGBoost by their own libraries' C interfaces.

Their Python packages import pandas and scikit-learn where they are installed; the shared libraries inside them need
neither. The interfaces are `LightGBM/include/LightGBM/c_api.h` and `xgboost/include/xgboost/c_api.h`.
"""

import ctypes
import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from ml_microservice.inference.engine.checks import Matrix
from ml_microservice.inference.engine.heads import Answer, Head

LIGHTGBM_FILE, XGBOOST_FILE = "engine.lightgbm.txt", "engine.xgboost.ubj"
FLOAT64, ROW_MAJOR, NORMAL = 1, 1, 0
"""`C_API_DTYPE_FLOAT64`, row-major order and `C_API_PREDICT_NORMAL` of LightGBM."""


@dataclass(frozen=True)
class LightGBMBooster:
    """A LightGBM model, whose library applies the link itself."""

    outputs: int
    head: Head

    def bound(self, files: Mapping[str, bytes]) -> Callable[[Matrix], Answer]:
        """See `Estimator`."""
        return _BoundLightGBM(self, files[LIGHTGBM_FILE])


@dataclass(frozen=True)
class XGBoostBooster:
    """An XGBoost model, whose library applies the link itself."""

    iterations: tuple[int, int]
    """The first round of boosting that counts, and the one after the last; (0, 0) is all."""
    missing: float | None
    """The number that stands for a missing value; None is NaN."""
    head: Head

    def bound(self, files: Mapping[str, bytes]) -> Callable[[Matrix], Answer]:
        """See `Estimator`."""
        return _BoundXGBoost(self, files[XGBOOST_FILE])


class _BoundLightGBM:
    """A model loaded into LightGBM's library, for as long as this object lives."""

    def __init__(self, booster: LightGBMBooster, model: bytes) -> None:
        self._handle = ctypes.c_void_p()
        self._library = _library("lightgbm", "lib_lightgbm")
        self._booster = booster
        rounds = ctypes.c_int()
        made = ctypes.byref(self._handle)
        self._check(self._library.LGBM_BoosterLoadModelFromString(model, ctypes.byref(rounds), made))

    def __call__(self, matrix: Matrix) -> Answer:
        """The answer to rows of shape (rows, k); LightGBM refuses nothing."""
        rows = np.ascontiguousarray(matrix)
        result = np.empty((len(rows), self._booster.outputs))
        length = ctypes.c_int64()
        self._check(
            self._library.LGBM_BoosterPredictForMat(
                self._handle,
                ctypes.c_void_p(rows.ctypes.data),
                FLOAT64,
                ctypes.c_int32(rows.shape[0]),
                ctypes.c_int32(rows.shape[1]),
                ROW_MAJOR,
                NORMAL,
                0,
                -1,
                b"num_threads=1",
                ctypes.byref(length),
                ctypes.c_void_p(result.ctypes.data),
            )
        )
        return _read(result, self._booster.head)

    def __del__(self) -> None:
        if self._handle:
            self._library.LGBM_BoosterFree(self._handle)

    def _check(self, status: int) -> None:
        if status:
            raise RuntimeError(f"LightGBM: {self._library.LGBM_GetLastError().decode(errors='replace')}")


class _BoundXGBoost:
    """A model loaded into XGBoost's library, for as long as this object lives."""

    def __init__(self, booster: XGBoostBooster, model: bytes) -> None:
        self._handle = ctypes.c_void_p()
        self._library = _library("xgboost", "libxgboost")
        self._head = booster.head
        self._check(self._library.XGBoosterCreate(None, ctypes.c_uint64(0), ctypes.byref(self._handle)))
        self._check(self._library.XGBoosterLoadModelFromBuffer(self._handle, model, ctypes.c_uint64(len(model))))
        self._check(self._library.XGBoosterSetParam(self._handle, b"nthread", b"1"))
        begin, end = booster.iterations
        self._options = json.dumps(
            {
                "type": 0,
                "training": False,
                "iteration_begin": begin,
                "iteration_end": end,
                "missing": float("nan") if booster.missing is None else booster.missing,
                "strict_shape": True,
                "cache_id": 0,
            }
        ).encode()

    def __call__(self, matrix: Matrix) -> Answer:
        """The answer to rows of shape (rows, k).

        Raises:
            ValueError: XGBoost refuses them.
        """
        rows = np.ascontiguousarray(matrix)
        place = {"data": [rows.ctypes.data, True], "shape": list(rows.shape), "typestr": rows.dtype.str, "version": 3}
        shape, dimensions = ctypes.POINTER(ctypes.c_uint64)(), ctypes.c_uint64()
        found = ctypes.POINTER(ctypes.c_float)()
        outcome = (ctypes.byref(shape), ctypes.byref(dimensions), ctypes.byref(found))
        arguments = (self._handle, json.dumps(place).encode(), self._options, None, *outcome)
        self._check(self._library.XGBoosterPredictFromDense(*arguments))
        # The memory is the library's, and the next call of this thread overwrites it.
        result = np.ctypeslib.as_array(found, shape=tuple(shape[: dimensions.value])).copy()
        return _read(result.reshape(len(rows), -1), self._head)

    def __del__(self) -> None:
        if self._handle:
            self._library.XGBoosterFree(self._handle)

    def _check(self, status: int) -> None:
        if status:
            # XGBoost's own XGBoostError is a ValueError.
            raise ValueError(f"XGBoost: {self._library.XGBGetLastError().decode(errors='replace')}")


def _read(result: Any, head: Head) -> Answer:
    """Numbers or probabilities as the library gives them; of two classes it gives the second one's only."""
    if head.kind == "probabilities" and result.shape[1] == 1:
        result = np.concatenate([result.dtype.type(1) - result, result], axis=1)
    return head(result.astype(np.float64, copy=False))


@cache
def _library(package: str, name: str) -> Any:
    """The shared library inside a package, which is not imported.

    Raises:
        ModuleNotFoundError: it is not installed.
    """
    spec = find_spec(package)
    suffix = {"win32": ".dll", "darwin": ".dylib"}.get(sys.platform, ".so")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        for path in Path(folder).glob(f"*/{name}{suffix}"):
            library = ctypes.CDLL(str(path))
            for function in ("LGBM_GetLastError", "XGBGetLastError"):
                if hasattr(library, function):
                    getattr(library, function).restype = ctypes.c_char_p
            return library
    raise ModuleNotFoundError(f"No module named {package!r} with its library {name}", name=package)
