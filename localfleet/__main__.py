"""The Makefile's commands of the demo:

python -m localfleet demo [--port N] [--seed big] [--root FOLDER]
python -m localfleet break [--seed big] [--root FOLDER] instance|repair|…
python -m localfleet code [--seed big] [--root FOLDER]
python -m localfleet manage [--seed big] [--root FOLDER] WORDS… (or --line-from VARIABLE)
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from localfleet.demo import breaking, terminal
from localfleet.demo.lifecycle import Demo
from localfleet.demo.lock import alone, manage
from localfleet.demo.manage_command import words_of
from localfleet.demo.state import BIG, State
from localfleet.errors import FleetError
from localfleet.folders import local_root
from localfleet.processes import stop_signals
from localfleet.processes.stop_signals import Stopped


def main(arguments: Sequence[str]) -> int:
    given = _parser().parse_args(arguments)
    try:
        root = _root(given.root, given.seed)
        if given.word == "manage":
            manage(root, words_of(os.environ.get(given.line_from, "")) or given.words)
        if given.word == "break":
            terminal.note(breaking.WAYS[given.what](root))
            return 0
        if given.word == "code":
            print(State.load(root).code or "The demo has no code yet: start it with `make demo`.")
            return 0
        return _demo(root, given.port, given.seed)
    except FleetError as error:
        print(error, file=sys.stderr)
        return 1


def _demo(root: Path, port: int, seed: str) -> int:
    stop_signals.listen()
    os.umask(0o077)
    try:
        with alone(root):
            Demo(root, port, seed).run()
    except Stopped:
        terminal.note("Stopped; no process is left.")
    return 0


def _root(chosen: Path | None, seed: str) -> Path:
    root = (chosen or local_root() / "-".join(filter(None, ("demo", seed)))).resolve()
    root.mkdir(mode=0o711, exist_ok=True)
    return root


def _port(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or not 1 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is no port: give a number from 1 to 65535")
    return int(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m localfleet")
    words = parser.add_subparsers(dest="word", required=True)
    demo = words.add_parser("demo", help="start servers, RAINBO and its workers")
    demo.add_argument("--port", type=_port, default=8000)
    broken = words.add_parser("break", help="break the running demo, or repair it")
    broken.add_argument("what", choices=list(breaking.WAYS))
    manage = words.add_parser("manage", help="run a management command against the running demo")
    code = words.add_parser("code", help="print the present code of the user support")
    for word in (demo, broken, code, manage):
        word.add_argument("--seed", choices=("", BIG), default="", help="of what size its data is")
        word.add_argument("--root", type=Path, help="the folder to keep everything in")
    manage.add_argument("--line-from", metavar="VARIABLE", default="", help="holds the words")
    # Options among the words are the management command's own.
    manage.add_argument("words", nargs=argparse.REMAINDER)
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
