"""A transcript as one HTML file that needs nothing else and runs nothing (see `plait.content.page`).

`render_report` is pure; `write_report` puts the page in place whole.
"""

from datetime import UTC, datetime
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field

from plait.content.blocks import Citation, ContentBlock
from plait.content.html import TurnHtml, lines_html, scroll_box, text_html
from plait.content.page import page_html, write_report
from plait.content.text import counted, duration

__all__ = ["Report", "ReportDocument", "ReportFacts", "ReportTurn", "render_report", "write_report"]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ReportFacts(_Part):
    """How the transcript came about; what is None is not shown, save credits."""

    run_key: str | None = None
    workspace: str | None = None
    servers: list[str] = Field(default_factory=list)
    """Addresses; user names, passwords, queries and fragments are cut off."""
    duration: float | None = None
    """Seconds."""
    credits: float | None = None
    """Credits consumed by all turns; None is shown as unknown, never as zero."""


class ReportDocument(_Part):
    """A document the answers may rest on."""

    name: str
    digest: str | None = None
    """SHA-256 in hexadecimal; its beginning is shown."""
    status: str = "ok"
    """`ok`, `failed`, `unknown`, or the vendor's own word."""
    reason: str | None = None
    grounding: str | None = None
    """How the answers see it: `document`, `inline`, or nothing."""


class ReportTurn(_Part):
    """A question and what came back."""

    question: str
    blocks: list[ContentBlock] = Field(default_factory=list)
    citations: list[Citation] = Field(default_factory=list)
    """Sources of the whole answer, beside those its text blocks carry."""
    credits: float | None = None
    status: str = "ok"
    problem: str | None = None
    """Why there is no answer, or why it is not known whether there is one."""


class Report(_Part):
    """Everything one page shows."""

    title: str
    generated_at: datetime
    facts: ReportFacts = Field(default_factory=ReportFacts)
    documents: list[ReportDocument] = Field(default_factory=list)
    turns: list[ReportTurn] = Field(default_factory=list)


def render_report(report: Report) -> str:
    """The page as text. Whatever the blocks hold, it runs no script and loads nothing."""
    body = f"{_contents(report.turns)}\n{_documents(report.documents)}\n{_turns(report.turns)}"
    return page_html(
        report.title or "Transcript",
        header=_facts(report),
        body=body,
        skip=("answers", "Skip to the answers"),
        footer="Made by Plait. The answers are a model's: check what matters against the sources.",
    )


def _facts(report: Report) -> str:
    facts = report.facts
    moment = report.generated_at.astimezone(UTC)
    servers = "".join(f"<li><code>{text_html(_public(one), 200)}</code></li>" for one in facts.servers)
    rows = {
        "Workspace": text_html(facts.workspace, 200),
        "Credits": _credits(facts.credits),
        "Duration": duration(facts.duration) if facts.duration is not None else "",
        "Generated": f'<time datetime="{moment.isoformat()}">{moment:%d %b %Y, %H:%M} UTC</time>',
        "Run": f"<code>{text_html(facts.run_key, 120)}</code>" if facts.run_key else "",
        "Servers": f"<ul>{servers}</ul>" if servers else "",
    }
    wide = {"Run": ' class="wide"', "Servers": ' class="wide"'}
    shown = (
        f"<div{wide.get(name, '')}><dt>{name}</dt><dd>{fact}</dd></div>"
        for name, fact in rows.items()
        if fact
    )
    return f'<dl class="facts">{"".join(shown)}</dl>'


def _credits(amount: float | None) -> str:
    return "unknown" if amount is None else f"{amount:,.6g}"


def _public(address: str) -> str:
    try:
        parts = urlsplit(address)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return "(unreadable address)"
    return (
        f"{parts.scheme}://{parts.hostname}{port}{parts.path}" if parts.hostname else "(unreadable address)"
    )


def _contents(turns: list[ReportTurn]) -> str:
    if len(turns) < 2:  # noqa: PLR2004 - one question needs no table of contents
        return ""
    links = (
        f'<li><a href="#t{number}">{text_html(turn.question, 140)}</a> {_badge(turn.status)}</li>'
        for number, turn in enumerate(turns, 1)
    )
    return f'<nav aria-label="Questions"><h2>Questions</h2><ol>{"".join(links)}</ol></nav>'


def _documents(documents: list[ReportDocument]) -> str:
    if not documents:
        return ""
    head = "".join(f'<th scope="col">{name}</th>' for name in ("Name", "Status", "Grounding", "SHA-256"))
    counts = _counts([one.status for one in documents])
    rows = "".join(map(_document, documents))
    table = f'<table class="documents"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>'
    return (
        '<section aria-labelledby="documents"><details open><summary><h2 id="documents">Documents</h2> '
        f'<span class="count">{counts}</span></summary>'
        f"{scroll_box(table, label='Documents', rows=len(documents))}</details></section>"
    )


def _document(one: ReportDocument) -> str:
    reason = f'<p class="reason">{text_html(one.reason, 500)}</p>' if one.reason else ""
    digest = one.digest or ""
    short = f'<code title="{text_html(digest)}">{text_html(digest[:12])}</code>' if digest else ""
    return (
        f'<tr><th scope="row">{text_html(one.name, 300)}{reason}</th>'
        f"<td>{_badge(one.status, always=True)}</td><td>{text_html(one.grounding, 60)}</td>"
        f"<td>{short}</td></tr>"
    )


def _counts(statuses: list[str]) -> str:
    parts = (f"{statuses.count(word):,} {text_html(word, 30)}" for word in dict.fromkeys(statuses))
    return ", ".join(parts)


def _badge(status: str, *, always: bool = False) -> str:
    if status == "ok" and not always:
        return ""
    return f'<span class="badge {_kind(status)}">{text_html(status, 30)}</span>'


def _kind(status: str) -> str:
    return status if status in {"ok", "failed", "unknown"} else "other"


def _turns(turns: list[ReportTurn]) -> str:
    articles = "\n".join(_turn(number, turn) for number, turn in enumerate(turns, 1))
    empty = '<p class="note">No question was asked.</p>'
    return (
        '<section id="answers" aria-labelledby="conversation"><h2 id="conversation">Conversation '
        f'<span class="count">{counted(len(turns), "question")}</span></h2>{articles or empty}</section>'
    )


def _turn(number: int, turn: ReportTurn) -> str:
    html = TurnHtml(number)
    body = html.blocks(turn.blocks) + html.chips(turn.citations)
    kind = _kind(turn.status)
    problem = f'<p class="problem {kind}">{text_html(turn.problem, 2_000)}</p>' if turn.problem else ""
    empty = "" if body or problem else '<p class="note">The answer had no content.</p>'
    return (
        f'<article id="t{number}"><details open><summary><h3><span class="number">{number}</span> '
        f"<span>{lines_html(turn.question, 5_000)}</span>{_badge(turn.status)}</h3></summary>"
        f'<div class="answer">{problem}{empty}{body}{html.sources()}'
        f'<p class="spent">Credits: {_credits(turn.credits)}</p></div></details></article>'
    )
