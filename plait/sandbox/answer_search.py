"""Words, weights and BM25: which passages speak of what a question asks."""

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from plait.sandbox.answer_passages import Passage

_WORD: Final = re.compile(r"\d+(?:[.,:]\d+)*|[^\W\d_]+", re.UNICODE)
_QUARTER: Final = re.compile(r"\bq([1-4])\b", re.IGNORECASE)
_STOP_WORDS: Final = """
    a about all also am an and any are as at be been but by can could did do does for from get give gives
    has have how i if in into is it its me much many may more must my no not of off on one or our out please
    say says shall should so tell than that the their them then there these they this those to under up us
    was we were what when where which who whom whose why will with would you your long document documents
    according again big exactly high state states stated
"""
_STOP: Final = frozenset(_STOP_WORDS.split())
_ORDINALS: Final = {
    word: str(number)
    for number, words in enumerate(
        (
            ("first",),
            ("second", "two"),
            ("third", "three"),
            ("fourth", "four"),
            ("fifth", "five"),
            ("sixth", "six"),
            ("seventh", "seven"),
            ("eighth", "eight"),
            ("ninth", "nine"),
            ("tenth", "ten"),
        ),
        start=1,
    )
    for word in words
}
_SUFFIXES: Final = ("ments", "ment", "ingly", "ings", "ing", "edly", "ed", "ly")
_IRREGULAR: Final = {"paid": "pay", "began": "begin", "sold": "sell", "sale": "sell", "sales": "sell"}
_STEM: Final = 3
_SMALLEST: Final = 20
_K1: Final = 1.4
_B: Final = 0.4
_HEADING_WEIGHT: Final = 0.7
_NAME_WEIGHT: Final = 0.3
_NAMED_ROW: Final = 1.5
"""How much better a table row fits whose label the question spells out."""


def terms(text: str) -> list[str]:
    """Stemmed content words and numbers; `Q3` and `third quarter` give the same terms."""
    text = _QUARTER.sub(r"quarter \1", text)
    words = (word.lower() for word in _WORD.findall(text))
    return [stem(word) for word in words if word not in _STOP]


def stem(word: str) -> str:
    """A word without its usual English endings; numbers lose their grouping commas."""
    if word[0].isdigit():
        return word.replace(",", "")
    word = _ORDINALS.get(word, word)
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    if word.endswith("ies") and len(word) > _STEM + 1:
        return f"{word[:-3]}y"
    if word.endswith("s") and not word.endswith(("ss", "us", "is")) and len(word) > _STEM:
        word = word[:-1]
    for suffix in _SUFFIXES:
        if word.endswith(suffix) and len(word) - len(suffix) > _STEM - 1:
            word = word.removesuffix(suffix)
            break
    return word.removesuffix("e") if len(word) > _STEM else word


@dataclass(frozen=True, slots=True)
class Hit:
    """A passage and how well it fits."""

    passage: Passage
    score: float
    matched: frozenset[str]


class Index:
    """Passages of some documents, ready to be searched."""

    def __init__(self, passages: Sequence[Passage]) -> None:
        self._passages = passages
        self._counts = [_weighted(passage) for passage in passages]
        self._labels = [_label(passage) for passage in passages]
        self._lengths = [sum(counts.values()) for counts in self._counts]
        self._mean = sum(self._lengths) / len(self._lengths) if self._lengths else 1.0
        self._frequency = Counter(term for counts in self._counts for term in counts)

    def weight(self, term: str) -> float:
        """How telling a term is: its idf, for short documents as if they were longer."""
        seen = max(1, self._frequency[term])
        size = max(_SMALLEST, len(self._passages))
        return math.log(1 + (size - seen + 0.5) / (seen + 0.5))

    def total(self, query: Mapping[str, float]) -> float:
        """The weight of all terms of a query."""
        return sum(boost * self.weight(term) for term, boost in query.items())

    def search(self, query: Mapping[str, float]) -> list[Hit]:
        """Passages that share a term with the query, best first."""
        hits = (self._hit(number, query) for number in range(len(self._passages)))
        return sorted((hit for hit in hits if hit.matched), key=lambda hit: -hit.score)

    def _hit(self, number: int, query: Mapping[str, float]) -> Hit:
        counts = self._counts[number]
        norm = _K1 * (1 - _B + _B * self._lengths[number] / self._mean)
        matched = frozenset(term for term in query if term in counts)
        score = sum(
            query[term] * self.weight(term) * counts[term] * (_K1 + 1) / (counts[term] + norm)
            for term in matched
        )
        label = self._labels[number]
        return Hit(self._passages[number], score * (_NAMED_ROW if label and label <= matched else 1), matched)


def _weighted(passage: Passage) -> dict[str, float]:
    """Term counts of a passage; its headings and its document's name count a little."""
    counts: dict[str, float] = dict(Counter(terms(passage.text)))
    _raise(counts, terms(f"{passage.chapter} {passage.section}"), _HEADING_WEIGHT)
    _raise(counts, terms(re.sub(r"[._-]", " ", passage.source.name)), _NAME_WEIGHT)
    return counts


def _label(passage: Passage) -> frozenset[str]:
    """The terms of a table row's first cell; none for prose."""
    if passage.table is None or passage.row is None:
        return frozenset()
    return frozenset(terms(passage.table.rows[passage.row][0]))


def _raise(counts: dict[str, float], words: Iterable[str], weight: float) -> None:
    for word in set(words):
        counts[word] = counts.get(word, 0.0) + weight
