"""Structured logs on standard error: standard output belongs to the `ready` line."""

from __future__ import annotations

import contextlib
import logging
import sys
from typing import Literal, TextIO, cast

import structlog

LogFormat = Literal["json", "console"]


class Forgiving:
    """A text stream that drops what cannot be written: a full disk under the log, or a terminal
    that was closed, must not end what the server is doing."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Writes `text`, if that is possible."""
        with contextlib.suppress(OSError, ValueError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Passes on what was written, if that is possible."""
        with contextlib.suppress(OSError, ValueError):
            self._stream.flush()


class OfCallers(logging.Filter):
    """Tidies gRPC's complaints about callers.

    Takes out what they have sent, for there may be a token in it, and leaves out that one of them
    was gone when it was to be answered.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether `record` is to be logged, which it may rewrite."""
        text = str(record.msg)
        if text.startswith("Invalid encoding on"):
            record.msg, record.args = "a header of a call is no text", ()
            record.exc_info = None
            record.levelno, record.levelname = logging.WARNING, "WARNING"
        return not text.startswith(
            ("ExecuteBatchError raised in core", "Failed sending error status")
        )


def configure(log_format: LogFormat, level: str) -> None:
    """Sets up structlog for the process, and what libraries log along with it.

    `level` is one of debug, info, warning and error.
    """
    number = logging.getLevelNamesMapping()[level.upper()]
    stream = cast(TextIO, Forgiving(sys.stderr))
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if log_format == "json":
        last: list[structlog.typing.Processor] = [
            # Without the values of local variables: a worker's secret may be among them.
            structlog.processors.ExceptionRenderer(
                structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
            ),
            structlog.processors.JSONRenderer(),
        ]
    else:
        last = [
            structlog.dev.ConsoleRenderer(
                colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
            )
        ]
    structlog.configure(
        processors=[*shared, *last],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(file=stream),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        )
    )
    handler.addFilter(OfCallers())
    # Libraries (alembic, SQLAlchemy, grpc) say a lot at info: their warnings are enough.
    logging.basicConfig(handlers=[handler], level=max(number, logging.WARNING), force=True)
