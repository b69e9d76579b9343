"""The different states of an experience without what came before them: each is numbered, and embedded once."""

import numpy as np
from numpy.typing import NDArray

from trajstore.columns import Column, Vocabulary
from trajstore.contents import HASH_BYTES, hex_names
from trajstore.embedding import text_hash


class Moments:
    """States numbered in order of first use, known by the hashes of their texts, shape (N, HASH_BYTES).

    Texts are kept of those alone that were numbered here, not of the `hashes` that it began with.
    """

    def __init__(self, hashes: Column | None = None) -> None:
        self.hashes = hashes if hashes is not None else Column(np.uint8, HASH_BYTES)
        self._begun = len(self.hashes)
        self._texts: list[str] = []
        self._numbers: Vocabulary | None = None  # of a million states only once another one comes

    def __len__(self) -> int:
        return len(self.hashes)

    def number(self, text: str) -> int:
        """The text's number, a new one where it is new."""
        if self._numbers is None:
            self._numbers = Vocabulary(hex_names(self.hashes.values))
        key, known = text_hash(text), len(self._numbers)
        number = self._numbers.number(key.hex())
        if number == known:
            self._texts.append(text)
            self.hashes.extend(_row(key))
        return number

    def texts(self, first: int) -> list[str]:
        """The texts from a number on, none of which were there at the beginning.

        >>> moments = Moments()
        >>> [moments.number(text) for text in ("red", "blue", "red")], moments.texts(1)
        ([0, 1, 0], ['blue'])
        """
        return self._texts[first - self._begun :]

    def text(self, number: int) -> str | None:
        """One text; None where it was there at the beginning."""
        return self._texts[number - self._begun] if number >= self._begun else None


def _row(key: bytes) -> NDArray[np.uint8]:
    return np.frombuffer(key, np.uint8)[None]
