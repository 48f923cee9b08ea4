"""The command line of Helm, as far as it is known here; any other command or option is refused, as Helm refuses it."""

import json
import os
import re
import signal
import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import Any, Never

import helm_python

from cluster.charts import Failure, dumped, lint, render, values_of
from cluster.releases import Cancelled, Release, every

UNITS = {"h": 3600, "m": 60, "s": 1}


class Parser(ArgumentParser):
    """Ends as Helm does."""

    def error(self, message: str) -> Never:
        """Say what is wrong, and end."""
        sys.exit(f"Error: {message}")


def main(arguments: list[str]) -> None:
    """Do what a command line says."""
    options = parser(major()).parse_args(arguments)
    signal.signal(signal.SIGTERM, _cancel)
    try:
        print(COMMANDS[options.command](options))
    except (Failure, helm_python.HelmError) as error:
        sys.exit(f"Error: {error}")


def major() -> int:
    """Of Helm's version."""
    return int(version().removeprefix("v").partition(".")[0])


def version() -> str:
    """As Helm says it."""
    return os.environ.get("HELM_DOUBLE_VERSION", "v4.0.0")


def parser(helm: int) -> Parser:
    """What Helm 3 or 4 understands."""
    all_commands = Parser(prog="helm", allow_abbrev=False)
    commands = all_commands.add_subparsers(dest="command", required=True, parser_class=Parser)

    def command(name: str, *positional: str, flags: tuple[str, ...] = (), takes: tuple[str, ...] = ()) -> Parser:
        added: Parser = commands.add_parser(name, allow_abbrev=False)
        for each in positional:
            added.add_argument(each)
        for each in flags:
            added.add_argument(f"--{each}", action="store_true")
        if "values" in takes:
            added.add_argument("-f", "--values", action="append", default=[])
            added.add_argument("--set", action="append", default=[])
            added.add_argument("--set-string", action="append", default=[])
        if "namespace" in takes:
            added.add_argument("-n", "--namespace", default="default")
        if "timeout" in takes:
            added.add_argument("--timeout", type=seconds, default=300.0)
        if "server-side" in takes:
            added.add_argument("--server-side", choices=["true", "false", "auto"], default="auto")
            added.add_argument("--force-conflicts", action="store_true")
        if "output" in takes:
            added.add_argument("-o", "--output", choices=["json"], required=True)
        return added

    goes_back = ("atomic",) if helm < 4 else ("atomic", "rollback-on-failure")
    applied = ("values", "namespace", "timeout", *(("server-side",) if helm > 3 else ()))
    command("version", flags=("short",))
    command("lint", "chart", flags=("strict",), takes=("values", "namespace"))
    command("template", "name", "chart", takes=("values", "namespace"))
    command("upgrade", "name", "chart", flags=("install", "wait", *goes_back), takes=applied)
    command("test", "name", takes=("namespace", "timeout"))
    rollback = command("rollback", "name", flags=("wait", "cleanup-on-fail"), takes=applied[1:])
    rollback.add_argument("revision", type=int)
    command("uninstall", "name", flags=("wait",), takes=("namespace", "timeout"))
    command("status", "name", takes=("namespace", "output"))
    command("history", "name", takes=("namespace", "output"))
    command("list", takes=("namespace", "output"))
    return all_commands


def seconds(text: str) -> float:
    """A time as Go writes it: `15m`, `1m30s`."""
    parts = re.findall(r"(\d+(?:\.\d+)?)([hms])", text)
    if not parts or "".join(map("".join, parts)) != text:
        raise ValueError(text)
    return sum(float(number) * UNITS[unit] for number, unit in parts)


def _version(options: Namespace) -> str:
    return f"{version()}+gdouble" if options.short else f'version.BuildInfo{{Version:"{version()}"}}'


def _lint(options: Namespace) -> str:
    return lint(options.chart, values_of(options), options.strict)


def _template(options: Namespace) -> str:
    return dumped(render(options.chart, values_of(options), options.name, options.namespace))


def _upgrade(options: Namespace) -> str:
    helm_python.validate_release_name(options.name)
    goes_back = options.atomic or getattr(options, "rollback_on_failure", False)
    if options.atomic and major() > 3:
        print("Flag --atomic has been deprecated, use --rollback-on-failure instead", file=sys.stderr)
    release = _release(options)
    revisions = release.revisions()
    if not revisions and not options.install:
        raise Failure(f'UPGRADE FAILED: "{options.name}" has no deployed releases')
    number = revisions[-1].revision + 1 if revisions else 1
    documents = render(options.chart, values_of(options), options.name, options.namespace, number)
    release.upgrade(documents, options.chart, goes_back, options.timeout)
    return f'Release "{options.name}" has been upgraded. Happy Helming!\nREVISION: {release.last().revision}'


def _test(options: Namespace) -> str:
    _release(options).test()
    return f"NAME: {options.name}\nTEST SUITE: Succeeded"


def _rollback(options: Namespace) -> str:
    release = _release(options)
    release.last()
    release.rollback(options.revision, options.timeout)
    return "Rollback was a success! Happy Helming!"


def _uninstall(options: Namespace) -> str:
    _release(options).uninstall()
    return f'release "{options.name}" uninstalled'


def _status(options: Namespace) -> str:
    last = _release(options).last()
    info = {"last_deployed": last.updated, "description": last.description, "status": last.status}
    return json.dumps({"name": options.name, "info": info, "version": last.revision, "namespace": options.namespace})


def _history(options: Namespace) -> str:
    release = _release(options)
    release.last()
    keys = ("revision", "updated", "status", "chart", "description")
    return json.dumps([{key: getattr(one, key) for key in keys} for one in release.revisions()])


def _list(options: Namespace) -> str:
    found: list[dict[str, Any]] = []
    for release in every(_state(), options.namespace):
        last = release.last()
        shared = {"name": release.name, "namespace": options.namespace, "chart": last.chart}
        found.append({**shared, "revision": str(last.revision), "updated": last.updated, "status": last.status})
    return json.dumps(found)


def _release(options: Namespace) -> Release:
    return Release(_state(), options.namespace, options.name)


def _state() -> Path:
    return Path(os.environ["HELM_DOUBLE_STATE"])


def _cancel(*_: Any) -> Never:
    # Once: what is done about it is done to its end.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise Cancelled


COMMANDS = {
    "version": _version,
    "lint": _lint,
    "template": _template,
    "upgrade": _upgrade,
    "test": _test,
    "rollback": _rollback,
    "uninstall": _uninstall,
    "status": _status,
    "history": _history,
    "list": _list,
}
