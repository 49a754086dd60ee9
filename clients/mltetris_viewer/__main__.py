"""`python -m mltetris_viewer`: the window without the `mltetris` command."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from mltetris_client import ADDRESS_VARIABLE, DEFAULT_ADDRESS

from mltetris_viewer.app import main
from mltetris_viewer.layout import MIN_SIZE


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.partition("x")
    if not (width.isdecimal() and height.isdecimal()):
        raise argparse.ArgumentTypeError(f"{text!r} is not WIDTHxHEIGHT")
    size = int(width), int(height)
    if size[0] < MIN_SIZE[0] or size[1] < MIN_SIZE[1] or max(size) > 16384:
        raise argparse.ArgumentTypeError(
            f"{text} is not between {MIN_SIZE[0]}x{MIN_SIZE[1]} and 16384x16384"
        )
    return size


def _positive(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1")
    return int(text)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m mltetris_viewer",
        description="Watch the runs of an mlTetris server, and steer them.",
    )
    parser.add_argument(
        "run", nargs="?", metavar="RUN", help="the run to watch; default: the newest live one"
    )
    parser.add_argument(
        "--server",
        metavar="HOST:PORT",
        help=f"the server; default: ${ADDRESS_VARIABLE}, else {DEFAULT_ADDRESS}",
    )
    parser.add_argument("--token-file", type=Path, metavar="FILE", help="a file with your token")
    parser.add_argument(
        "--tls-ca",
        type=Path,
        metavar="FILE.pem",
        help="the CA of the server's certificate; it makes the connection use TLS",
    )
    parser.add_argument(
        "--tls-cert",
        type=Path,
        metavar="FILE.pem",
        help="a certificate of your own, for servers that ask for one",
    )
    parser.add_argument("--tls-key", type=Path, metavar="FILE.pem", help="its private key")
    parser.add_argument(
        "--size",
        type=_size,
        metavar="WxH",
        help="the window at first; default: as suits the desktop",
    )
    parser.add_argument(
        "--screenshot",
        type=Path,
        metavar="FILE.png",
        help="save a picture there and end; needs no display",
    )
    parser.add_argument(
        "--after-frames",
        type=_positive,
        default=1,
        metavar="N",
        help="boards to wait for before the picture; default: 1",
    )
    return parser.parse_args()


if __name__ == "__main__":
    given = _arguments()
    sys.exit(
        main(
            given.server,
            given.run,
            token_file=given.token_file,
            tls_ca=given.tls_ca,
            tls_cert=given.tls_cert,
            tls_key=given.tls_key,
            size=given.size,
            screenshot=given.screenshot,
            after_frames=given.after_frames,
        )
    )
