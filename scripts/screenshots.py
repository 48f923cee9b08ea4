# /// script
# requires-python = ">=3.11"
# dependencies = ["cookiecutter>=2.7", "pillow>=12.0", "playwright>=1.56"]
# ///
"""Take the pictures in docs/images from a penguins project that was just generated, trained and served.

Usage: uv run scripts/screenshots.py

Needs git, make and Debian's `chromium`.
"""

import csv
import io
import json
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from urllib.error import URLError
from urllib.request import Request, urlopen

from PIL import Image
from playwright.sync_api import Page, sync_playwright  # type: ignore[import-not-found, unused-ignore]

from bake import TEMPLATE, bake, copy_template

IMAGES = TEMPLATE / "docs" / "images"
WIDTH, HEIGHT = 1120, 1440
"""Of the pictures in CSS pixels: they stand side by side."""
SCALE = 1.5
START_SECONDS = 60
FOLDED = """
.curl-command, .request-url, .live-responses-table .response-col_description > div:last-child {
  display: none !important
}
textarea.body-param__text { min-height: 0 !important; height: 165px !important }
"""
"""What makes the page too long for a picture: the curl command, the address, the empty rest of the text field."""


def main() -> None:
    """Generate, train, serve, and take all pictures."""
    with tempfile.TemporaryDirectory() as temporary:
        template = copy_template(Path(temporary) / "template")
        project = bake(Path(temporary), template=template, starter="penguins")
        subprocess.run(["make", "setup", "train"], cwd=project, check=True)
        report = next(project.glob("model_bin/*/report.html"))
        IMAGES.mkdir(parents=True, exist_ok=True)
        with serving(project) as base, browsing() as page:
            save(docs_page(page, base), IMAGES / "docs-page.png")
            save(report_page(page, report), IMAGES / "report.png")
            save(report_page(page, drift_report(project, base)), IMAGES / "drift.png")


@contextmanager
def serving(project: Path) -> Iterator[str]:
    """The project's service, ready, at the address that is yielded."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen([project / ".venv/bin/ml-service", "serve", "--port", str(port)], cwd=project)
    try:
        wait_until_ready(f"http://127.0.0.1:{port}")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def wait_until_ready(base: str) -> None:
    """Return once the service answers that it is ready."""
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            urlopen(f"{base}/health/ready", timeout=5).close()
            return
        except URLError:
            if time.monotonic() > deadline:
                sys.exit(f"the service was not ready within {START_SECONDS} seconds")
            time.sleep(0.2)


@contextmanager
def browsing() -> Iterator[Page]:
    """A page in Chromium, which reaches nothing but this machine."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT}, device_scale_factor=SCALE)
        page.route("**/*", lambda route: route.continue_() if is_local(route.request.url) else route.abort())
        yield page
        browser.close()


def is_local(url: str) -> bool:
    """Whether an address is of the service or of a file."""
    return url.startswith(("http://127.0.0.1:", "file:", "data:"))


def docs_page(page: Page, base: str) -> bytes:
    """The prediction operation at work: its example, sent and answered."""
    page.goto(f"{base}/docs#/prediction/predict_predict_post", wait_until="networkidle")
    page.add_style_tag(content=FOLDED)
    page.get_by_role("button", name="Execute").click()
    page.wait_for_selector(".live-responses-table .response-col_description pre")
    return picture(page)


def drift_report(project: Path, base: str) -> Path:
    """The report on penguins of which many come from another island, with longer bills and their sex unknown."""
    random = Random(5)
    lines = (project / "src/model/data/penguins.csv").read_text().splitlines()
    penguins = list(csv.DictReader([lines[0], *lines[1:] * 4]))
    for penguin in penguins:
        del penguin["species"]
        if random.random() < 0.22:
            penguin["sex"] = ""
        if penguin["island"] == "Biscoe" and random.random() < 0.6:
            penguin["island"] = "Torgersen"
        if penguin["bill_length_mm"]:
            penguin["bill_length_mm"] = f"{float(penguin['bill_length_mm']) * 1.09:.1f}"
    rows = io.StringIO()
    writer = csv.DictWriter(rows, penguins[0])
    writer.writeheader()
    writer.writerows(penguins)
    request = Request(f"{base}/predict/batch", rows.getvalue().encode(), {"Content-Type": "text/csv"})
    urlopen(request, timeout=60).close()
    report = project / "drift.html"
    deadline = time.monotonic() + START_SECONDS
    while True:
        command = [str(project / ".venv/bin/ml-service"), "drift", "--json", "--html", str(report)]
        found = json.loads(subprocess.run(command, cwd=project, check=True, capture_output=True).stdout)
        if found["rows"] == len(penguins):
            return report
        if time.monotonic() > deadline:
            sys.exit(f"{found['rows']} of {len(penguins)} records were in the database within {START_SECONDS} seconds")
        time.sleep(1)


def report_page(page: Page, report: Path) -> bytes:
    """The verdict and the first plots."""
    page.goto(report.as_uri(), wait_until="networkidle")
    return picture(page)


def picture(page: Page) -> bytes:
    """The page's beginning."""
    page.evaluate("window.scrollTo(0, 0)")
    page.wait_for_timeout(500)  # for what fades in
    content: bytes = page.screenshot(clip={"x": 0, "y": 0, "width": WIDTH, "height": HEIGHT})
    return content


def save(content: bytes, path: Path) -> None:
    """Write a picture with no more colours than it needs."""
    image = Image.open(io.BytesIO(content)).convert("RGB")
    image.quantize(128, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(path, optimize=True)
    print(f"{path.relative_to(TEMPLATE)}: {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
