"""Where the time of a request goes: the share of each stage in what py-spy sampled of a service under load.

Usage: py-spy record --nonblocking -r 400 -d 10 -f raw -o stacks.txt -p PID && python -m benchmarks.stages stacks.txt
"""

import sys
from collections import Counter
from pathlib import Path

STAGES = {
    "RequestResponseCycle.send": "answer: head, and writing to the socket",
    "RouteMetrics.answered": "metrics",
    "Core._observe": "metrics",
    "CompiledPredictor.predict": "engine",
    "MicroBatcher.": "batching",
    "ServedModel.row": "validation",
    "Core.predict": "rendering",
    "HotRoute.": "hot route",
    "HttpToolsProtocol.": "request: reading and parsing",
    "RequestResponseCycle.run_asgi": "uvicorn's call of the application",
    "asyncio_run": "event loop",
}
"""Stage by a function's name; a sample belongs to the innermost function that is named here."""


def main(stacks: str) -> None:
    """Print the shares, largest first."""
    counts: Counter[str] = Counter()
    for line in stacks.splitlines():
        frames, _, count = line.rpartition(" ")
        found = (stage for frame in reversed(frames.split(";")) for name, stage in STAGES.items() if name in frame)
        stage = next(found, None)
        if stage is not None:
            counts[stage] += int(count)
    for stage, samples in counts.most_common():
        print(f"{samples / counts.total():6.1%}  {stage}")


if __name__ == "__main__":
    main(Path(sys.argv[1]).read_text())
