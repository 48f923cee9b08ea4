"""Write Grafana's dashboards of a generated project from code.

Usage: python scripts/render_dashboards.py [--check]

Nothing in them is of one project: features, classes, routes and sinks are labels of the metrics, so that a dashboard
follows `features.yaml` by itself. With --check nothing is written, and the exit code is 1 if a file is stale.
"""

import json
import sys
from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from dashboards.building import Board
from dashboards.jobs import JOBS
from dashboards.quality import QUALITY
from dashboards.records import RECORDS
from dashboards.service import SERVICE

TEMPLATE = Path(__file__).resolve().parents[1]
FOLDER = TEMPLATE / "{{cookiecutter.project_slug}}/monitoring/grafana/dashboards"
BOARDS: tuple[Board, ...] = (SERVICE, QUALITY, RECORDS, JOBS)


def rendered() -> dict[str, str]:
    """The text of each file, by its name."""
    return {
        f"{board.name}.json": json.dumps(board.build(), cls=JSONEncoder, indent=1, sort_keys=True) + "\n"
        for board in BOARDS
    }


def main() -> None:
    """Write, or check, every file."""
    there = {path.name: path.read_text(encoding="utf-8") for path in FOLDER.glob("*.json")}
    wanted = rendered()
    stale = sorted(name for name in there.keys() | wanted if there.get(name) != wanted.get(name))
    for name in stale:
        print(f"{'stale' if '--check' in sys.argv else 'wrote'}: {name}")
        if "--check" in sys.argv:
            continue
        if name in wanted:
            FOLDER.mkdir(parents=True, exist_ok=True)
            (FOLDER / name).write_text(wanted[name], encoding="utf-8")
        else:
            (FOLDER / name).unlink()
    if stale and "--check" in sys.argv:
        sys.exit("run: python scripts/render_dashboards.py")


if __name__ == "__main__":
    main()
