"""Micro-batching without waiting: rows that are ready in the same turn of the event loop share one call.

The scheduling is Triton's default for its dynamic batcher: whatever has queued goes out the moment that the model is
free, and no request ever waits for others to come. A fast model is called inline, at the end of the turn; a slow one in
a thread of its own, so that the loop goes on while rows gather for the next call.
"""

import asyncio
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from ml_microservice.inference.predictor import Prediction, Predictor, predict_each
from ml_microservice.inference.problems import caller_gone, timed_out, too_many_requests
from ml_microservice.inference.row_answers import Asked, RowAnswer
from ml_microservice.inference.served_model import ServedModel
from ml_microservice.tracing.model_call import shared_model_call

MAX_ROWS = 1024
"""Rows in one call; more would make the first of them wait for the last."""
SWITCH_SECONDS = 0.0005
"""Time that a thread keeps the interpreter while the event loop waits for it: of Python's 5 ms, a probe would wait for
several in a row while a model computes in Python."""
Result = TypeVar("Result")
Finish = Callable[[Sequence[Asked], Sequence[Prediction | Exception]], Sequence[RowAnswer | Exception]]


@dataclass(slots=True)
class _Waiting:
    asked: Asked
    future: "asyncio.Future[RowAnswer | Exception]"
    deadline: float
    is_gone: Callable[[], bool]


class MicroBatcher:
    """Calls one model, one call at a time, for the requests of one event loop.

    Args:
        served: the model.
        finish: makes the answers that are told of those that the model gave in one call, on the event loop.
        max_waiting: rows that may wait; one more is refused.
        timeout: seconds after which a row that still waits is not computed any more.
        is_traced: whether rows may come with spans of their requests.
    """

    def __init__(
        self, served: ServedModel, finish: Finish, max_waiting: int, timeout: float, is_traced: bool = False
    ) -> None:
        self._is_traced = is_traced
        self.served = served
        self._finish = finish
        self._predictor: Predictor = served.predictor
        self._max_waiting = max_waiting
        self._timeout = timeout
        self._waiting: list[_Waiting] = []
        self._busy = False
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="model")
        if not served.is_fast:
            sys.setswitchinterval(SWITCH_SECONDS)

    def submit(self, asked: Asked, is_gone: Callable[[], bool]) -> "asyncio.Future[RowAnswer | Exception]":
        """Put a row into the next call; what it raises for this row comes as the future's result.

        Args:
            asked: a row, validated by the model's own rules.
            is_gone: whether the caller has hung up; its row is not computed then.

        Raises:
            Problem: too many rows are waiting.
        """
        if len(self._waiting) >= self._max_waiting:
            raise too_many_requests(self._max_waiting)
        loop = asyncio.get_running_loop()
        future: asyncio.Future[RowAnswer | Exception] = loop.create_future()
        self._waiting.append(_Waiting(asked, future, loop.time() + self._timeout, is_gone))
        if len(self._waiting) == 1 and not self._busy:
            loop.call_soon(self._flush)
        return future

    async def run(self, call: Callable[[], Result]) -> Result:
        """Make a longer call beside the loop; a model that is called in a thread is never called twice at once."""
        if self._is_traced:
            call = partial(copy_context().run, call)
        return await asyncio.get_running_loop().run_in_executor(self._thread, call)

    def close(self) -> None:
        """Let the thread end once its work is done."""
        self._thread.shutdown(wait=False)

    def _flush(self) -> None:
        """Call the model with the rows that wait, or start doing so."""
        batch, self._waiting = self._waiting[:MAX_ROWS], self._waiting[MAX_ROWS:]
        batch = self._still_wanted(batch)
        if self.served.is_fast:
            self._settle(batch, self._answers(batch))
            self._flush_again()
        elif batch:
            self._busy = True
            done = asyncio.get_running_loop().run_in_executor(self._thread, self._answers, batch)
            done.add_done_callback(lambda finished: self._end(batch, finished.result()))

    def _end(self, batch: Sequence[_Waiting], answers: Sequence[Prediction | Exception]) -> None:
        self._busy = False
        self._settle(batch, answers)
        self._flush_again()

    def _flush_again(self) -> None:
        if self._waiting:
            asyncio.get_running_loop().call_soon(self._flush)

    def _still_wanted(self, batch: Sequence[_Waiting]) -> list[_Waiting]:
        now = asyncio.get_running_loop().time()
        wanted = []
        for item in batch:
            if item.future.done():
                continue
            if item.is_gone():
                item.future.set_result(caller_gone())
            elif now > item.deadline:
                item.future.set_result(timed_out())
            else:
                wanted.append(item)
        return wanted

    def _answers(self, batch: Sequence[_Waiting]) -> list[Prediction | Exception]:
        if not batch:
            return []
        if self._is_traced and (spans := [item.asked.span for item in batch if item.asked.span is not None]):
            with shared_model_call(spans, self.served.manifest.version, len(batch)):
                return self._predict(batch)
        return self._predict(batch)

    def _predict(self, batch: Sequence[_Waiting]) -> list[Prediction | Exception]:
        return predict_each(self._predictor, self.served.columns([item.asked.row for item in batch]))

    def _settle(self, batch: Sequence[_Waiting], answers: Sequence[Prediction | Exception]) -> None:
        if not batch:
            return
        told: Sequence[RowAnswer | Exception]
        try:
            told = self._finish([item.asked for item in batch], answers)
        except Exception as error:
            told = [error] * len(batch)
        for item, answer in zip(batch, told, strict=True):
            if not item.future.done():
                item.future.set_result(answer)
