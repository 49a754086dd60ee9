"""The legend: what each colour is, and what bands, triangles and dotted lines mean."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

from matplotlib.artist import Artist
from matplotlib.figure import Figure

# Of an entry at a legend's size of letters; generous.
_HANDLE_INCHES, _LETTER_INCHES = 0.6, 0.078


def write_legend(figure: Figure, entries: Sequence[tuple[Artist, str]]) -> None:
    """Writes the legend below the axes, where it hides nothing."""
    words = [text for _, text in entries]
    figure.legend(
        [handle for handle, _ in entries],
        words,
        loc="outside lower center",
        ncols=columns_for(words, figure.get_figwidth()),
        frameon=False,
        fontsize=9,
    )


def columns_for(words: Sequence[str], width: float) -> int:
    """In how many columns the entries fit into so many inches.

    Matplotlib fills a column before the next; the first ones get what is left over.

    Args:
        words: what the entries say.
        width: inches.
    """
    for columns in range(len(words), 1, -1):
        rows, fuller = divmod(len(words), columns)
        rest = iter(words)
        widest = (
            max(map(len, islice(rest, rows + (column < fuller)))) for column in range(columns)
        )
        if sum(_HANDLE_INCHES + _LETTER_INCHES * letters for letters in widest) <= width:
            return columns
    return 1
