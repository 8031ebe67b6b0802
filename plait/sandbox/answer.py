"""Answers questions from documents by retrieval: the words of the answer are the documents' own.

There is no language model here. The best passages are found by BM25, quoted, and cited with
document, section and page; a passage in a table brings the whole table along.
"""

import re
import uuid
from collections.abc import Mapping, Sequence
from typing import Final

from plait.sandbox.answer_blocks import STAND_IN, Citation, Reply, TableBlock, TextBlock, ToolUseBlock
from plait.sandbox.answer_passages import Passage, SourceText, passages, sentences
from plait.sandbox.answer_search import Hit, Index, terms

_POINTING_WORDS: Final = "he her his it its same she that their them then there these they this those"
_POINTING: Final = frozenset(_POINTING_WORDS.split())
_NEXT_QUESTION: Final = re.compile(
    r"\?\s+|,?\s+and\s+(?=(?:what|when|where|which|who|whose|why|how)\b)", re.IGNORECASE
)
_MIN_TERMS: Final = 2
_FOLLOW_UP_WEIGHT: Final = 0.5
_SHORT_WEIGHT: Final = 0.9
"""What borrowed terms count, beside enough terms of the question's own, and beside too few."""
_ENOUGH: Final = 0.4
"""Part of the question's weight that an answer must share with it."""
_OPEN: Final = 0.3
_OTHER_DOCUMENT: Final = 0.75
_MOST: Final = 3
_TABLE_ROWS: Final = 50
_NAMESPACE: Final = uuid.UUID("7d0c1c55-3f53-4f0e-9d83-6c7a2f0b6f3e")


def answer(question: str, documents: Sequence[SourceText], earlier: Sequence[str] = ()) -> Reply:
    """The documents' answer to `question`; `earlier` are the questions before it, oldest first.

    Pure and busy for large documents: call it in a thread.
    """
    index = Index([passage for document in documents for passage in passages(document)])
    query, hits = _answers(index, question, earlier)
    note = ToolUseBlock(
        id=str(uuid.uuid5(_NAMESPACE, question)),
        name="search_documents",
        input={
            "terms": sorted(query),
            "documents": [document.name for document in documents],
            "note": STAND_IN.format(method="text search"),
        },
    )
    if not hits:
        return Reply(blocks=(note, TextBlock(text=_nothing(documents))))
    statements = [_statement(hit, query, index) for hit in hits]
    text = TextBlock(
        text="\n\n".join(statement for statement, _ in statements),
        citations=tuple(citation for _, citation in statements),
    )
    return Reply(blocks=(note, text, *_tables(hits)))


def _answers(index: Index, question: str, earlier: Sequence[str]) -> tuple[dict[str, float], list[Hit]]:
    """The terms and hits of a message, part by part where it asks several things."""
    query: dict[str, float] = {}
    hits: list[Hit] = []
    before = list(earlier)
    for part in _NEXT_QUESTION.split(question):
        asked = query_of(part, before)
        hits += [hit for hit in _choose(index, asked) if all(hit.passage is not old.passage for old in hits)]
        query = asked | query
        before.append(part)
    return query, hits[: 2 * _MOST]


def query_of(question: str, earlier: Sequence[str] = ()) -> dict[str, float]:
    """Weighted terms; a question that leans on the one before it borrows that one's terms."""
    query = dict.fromkeys(terms(question), 1.0)
    words = {word.strip("?.,!'\"").lower() for word in question.split()}
    short = len(query) < _MIN_TERMS
    if earlier and (short or words & _POINTING):
        for term in query_of(earlier[-1], earlier[:-1]):
            query.setdefault(term, _SHORT_WEIGHT if short else _FOLLOW_UP_WEIGHT)
    return query


def _choose(index: Index, query: Mapping[str, float]) -> list[Hit]:
    """The best passage, those that answer what it leaves open, and equals in other documents."""
    total = index.total(query)
    ranked = index.search(query)
    if not ranked or _share(index, query, ranked[0].matched) < _ENOUGH * total:
        return []
    chosen = [ranked[0]]
    _add_other_documents(chosen, ranked)
    while len(chosen) < _MOST:
        covered = frozenset[str]().union(*(hit.matched for hit in chosen))
        left = {term: boost for term, boost in query.items() if term not in covered}
        more = index.search(left)
        if index.total(left) < _OPEN * total or not more:
            break
        if _share(index, left, more[0].matched) < _ENOUGH * index.total(left):
            break
        chosen.append(more[0])
    return chosen


def _add_other_documents(chosen: list[Hit], ranked: Sequence[Hit]) -> None:
    best = ranked[0].score
    for hit in ranked[1:]:
        if hit.score < _OTHER_DOCUMENT * best or len(chosen) == _MOST:
            return
        if all(hit.passage.source is not known.passage.source for known in chosen):
            chosen.append(hit)


def _share(index: Index, query: Mapping[str, float], matched: frozenset[str]) -> float:
    return index.total({term: boost for term, boost in query.items() if term in matched})


def _nothing(documents: Sequence[SourceText]) -> str:
    if not documents:
        return "I found nothing: the question names no document, and the workspace has none that is ready."
    names = ", ".join(document.name for document in documents)
    return f"I found nothing that answers this in {names}."


def _statement(hit: Hit, query: Mapping[str, float], index: Index) -> tuple[str, Citation]:
    """What the passage says, with its place in brackets."""
    passage = hit.passage
    quote = passage.text if passage.table else _best_sentences(passage, query, index)
    citation = Citation(
        document_id=passage.source.id,
        document_name=passage.source.name,
        section=passage.section or None,
        page=passage.page,
        quote=quote,
    )
    said = _row(passage, query) if passage.table else quote
    return f"{said} ({_place(citation)})", citation


def _place(citation: Citation) -> str:
    parts = [citation.document_name]
    parts += [citation.section] if citation.section else []
    parts += [f"page {citation.page}"] if citation.page else []
    return ", ".join(parts)


def _best_sentences(passage: Passage, query: Mapping[str, float], index: Index) -> str:
    """The sentence that shares most with the question, and others that share nearly as much."""
    found = list(sentences(passage.text))
    shares = [_share(index, query, frozenset(terms(sentence)) & query.keys()) for sentence in found]
    best = max(shares)
    kept = [sentence for sentence, share in zip(found, shares, strict=True) if share >= best * _ENOUGH]
    return " ".join(kept) or passage.text


def _row(passage: Passage, query: Mapping[str, float]) -> str:
    """A table row as a sentence; the cells asked for come first."""
    if passage.table is None or passage.row is None:
        return passage.text
    label, *cells = passage.table.rows[passage.row]
    named = [
        (column, cell) for column, cell in zip(passage.table.columns[1:], cells, strict=True) if cell.strip()
    ]
    named.sort(key=lambda pair: -sum(query.get(term, 0.0) for term in terms(pair[0])))
    stated = ", ".join(f"{column} {cell}" for column, cell in named)
    return f"{label}: {stated}." if label else f"{stated}."


def _tables(hits: Sequence[Hit]) -> list[TableBlock]:
    blocks: list[TableBlock] = []
    for hit in hits:
        table = hit.passage.table
        if table is None:
            continue
        title = hit.passage.section or hit.passage.source.name
        block = TableBlock(title=title, columns=table.columns, rows=table.rows[:_TABLE_ROWS])
        if block not in blocks:
            blocks.append(block)
    return blocks
