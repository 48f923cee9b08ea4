"""Micro-batching without waiting: rows that are ready in the same turn of the event loop share one call.

The scheduling is that of Triton's dynamic batcher by default: queued rows go out as soon as the model is free, and no
request waits for others to come. A fast model is called inline, at the end of the turn; a slow one in a thread of its
own, so that the loop goes on while rows gather for the next call.
"""

import asyncio
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from ml_microservice.inference.predictor import Prediction
from ml_microservice.inference.problems import caller_gone, timed_out, too_many_requests
from ml_microservice.inference.row_answers import RowAnswer, RowAnswerer, RowRequest

MAX_ROWS = 1024
"""Most rows of one call; with more, the first would wait for the last."""
SWITCH_SECONDS = 0.0005
"""Time that a thread may hold the interpreter while the event loop waits for it. With Python's default of 5 ms, a
health probe would wait for several such intervals while a model computes in Python."""
Result = TypeVar("Result")


@dataclass(slots=True)
class _Waiting:
    """A queued request."""

    request: RowRequest
    future: "asyncio.Future[RowAnswer | Exception]"
    deadline: float
    is_gone: Callable[[], bool]


class MicroBatcher:
    """Queues the row requests of one event loop, and answers them together, one call of the model at a time.

    Args:
        answerer: answers the rows of one micro-batch.
        max_waiting: most rows that may wait; further ones are refused.
        timeout: seconds after which a waiting row is no longer computed.
        is_traced: whether calls in the thread carry the context of their request.
    """

    def __init__(self, answerer: RowAnswerer, max_waiting: int, timeout: float, *, is_traced: bool = False) -> None:
        self._answerer = answerer
        self._served = answerer.served
        self._max_waiting = max_waiting
        self._timeout = timeout
        self._is_traced = is_traced
        self._waiting: list[_Waiting] = []
        self._busy = False
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="model")
        if not self._served.is_fast:
            sys.setswitchinterval(SWITCH_SECONDS)

    def submit(self, request: RowRequest, is_gone: Callable[[], bool]) -> "asyncio.Future[RowAnswer | Exception]":
        """Queue a row for the next call.

        Args:
            request: a row that was validated by the model's own rules.
            is_gone: whether the caller has hung up; the row is not computed then.

        Returns:
            A future of the answer, or of what was raised for this row.

        Raises:
            Problem: too many rows are waiting.
        """
        if len(self._waiting) >= self._max_waiting:
            raise too_many_requests(self._max_waiting)
        loop = asyncio.get_running_loop()
        future: asyncio.Future[RowAnswer | Exception] = loop.create_future()
        self._waiting.append(_Waiting(request, future, loop.time() + self._timeout, is_gone))
        if len(self._waiting) == 1 and not self._busy:
            loop.call_soon(self._flush)
        return future

    async def run(self, call: Callable[[], Result]) -> Result:
        """Run a longer call in the model's thread, so that a slow model is never called twice at once."""
        if self._is_traced:
            call = partial(copy_context().run, call)
        return await asyncio.get_running_loop().run_in_executor(self._thread, call)

    def close(self) -> None:
        """Let the thread end once its work is done."""
        self._thread.shutdown(wait=False)

    def _flush(self) -> None:
        """Answer the rows that wait, or start to."""
        batch, self._waiting = self._waiting[:MAX_ROWS], self._waiting[MAX_ROWS:]
        batch = self._still_wanted(batch)
        requests = [waiting.request for waiting in batch]
        if self._served.is_fast:
            if batch:
                self._settle(batch, requests, self._answerer.predict(requests))
            self._flush_again()
        elif batch:
            self._busy = True
            done = asyncio.get_running_loop().run_in_executor(self._thread, self._answerer.predict, requests)
            done.add_done_callback(lambda finished: self._end(batch, requests, finished.result()))

    def _end(
        self,
        batch: Sequence[_Waiting],
        requests: Sequence[RowRequest],
        predictions: Sequence[Prediction | Exception],
    ) -> None:
        """Continue on the event loop once the thread has predicted a batch."""
        self._busy = False
        self._settle(batch, requests, predictions)
        self._flush_again()

    def _flush_again(self) -> None:
        if self._waiting:
            asyncio.get_running_loop().call_soon(self._flush)

    def _still_wanted(self, batch: Sequence[_Waiting]) -> list[_Waiting]:
        """The requests whose caller still waits and whose time is not up."""
        now = asyncio.get_running_loop().time()
        wanted = []
        for waiting in batch:
            if waiting.future.done():
                continue
            if waiting.is_gone():
                waiting.future.set_result(caller_gone())
            elif now > waiting.deadline:
                waiting.future.set_result(timed_out())
            else:
                wanted.append(waiting)
        return wanted

    def _settle(
        self,
        batch: Sequence[_Waiting],
        requests: Sequence[RowRequest],
        predictions: Sequence[Prediction | Exception],
    ) -> None:
        """Turn predictions into answers, and give each to the request that waits for it."""
        answers: Sequence[RowAnswer | Exception]
        try:
            answers = self._answerer.answer(requests, predictions)
        except Exception as error:
            answers = [error] * len(batch)
        for waiting, answer in zip(batch, answers, strict=True):
            if not waiting.future.done():
                waiting.future.set_result(answer)
