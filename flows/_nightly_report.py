"""What a night leaves for people: artifacts in Prefect, a picture, and one HTML file."""

import asyncio
import base64
import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from prefect.artifacts import acreate_image_artifact, acreate_markdown_artifact, acreate_table_artifact

from flows._nightly_models import NightlyPipelineSync
from plait.content.blocks import ChartBlock, TableBlock
from plait.content.charts import read_chart
from plait.content.html import block_html, folded, raw_html, text_html
from plait.content.markdown import Limits, to_markdown
from plait.content.page import page_html, write_report
from plait.content.png import charts_png
from plait.content.remark import code_span, escape_cell
from plait.content.text import counted, duration
from plait.pipelines.nights import NightSum
from plait.pipelines.play import Played

ARTIFACT_LIMIT: Final = 64 * 1024
"""Bytes of one Markdown artifact."""
PICTURE_LIMIT: Final = 256 * 1024
"""Bytes of the picture in an artifact; a larger one is a file only."""
ROW_LIMIT: Final = 200
WIDE: Final = ' class="wide"'
_UNITS: Final = ((7_200.0, 3_600.0, "hours"), (120.0, 60.0, "minutes"), (0.0, 1.0, "seconds"))


def default_report(series: str, night: str) -> Path:
    """Where the report goes when nobody says; the same night of the same series gives the same file."""
    name = hashlib.sha256(series.encode()).hexdigest()[:8]
    return Path("reports") / f"nightly-{night}-{name}.html"


async def write_files(result: NightlyPipelineSync) -> None:
    """Write picture and page whole; raises `InvalidInput` where they cannot be written."""
    charts = night_charts(result.past)
    picture = await asyncio.to_thread(_picture, charts)
    await asyncio.to_thread(write_report, result.chart, picture)
    await asyncio.to_thread(write_report, result.report, page_of(result))


async def write_artifacts(result: NightlyPipelineSync) -> None:
    """A table of the pipelines, a summary in Markdown, and the picture, all safe for Prefect's pages."""
    await acreate_table_artifact(
        [_cells(one) for one in worst_first(result)[:ROW_LIMIT]],
        key="nightly-pipeline-sync",
        description=escape_cell(result.summary, 500),
    )
    await acreate_markdown_artifact(
        markdown_of(result)[:ARTIFACT_LIMIT],
        key="nightly-pipeline-sync-report",
        description="What became of the night",
    )
    picture = await asyncio.to_thread(result.chart.read_bytes)
    if len(picture) <= PICTURE_LIMIT:
        await acreate_image_artifact(
            f"data:image/png;base64,{base64.b64encode(picture).decode()}",
            key="nightly-pipeline-sync-chart",
            description="Durations and rows of the last nights",
        )


def night_charts(past: Sequence[NightSum]) -> list[ChartBlock]:
    """Durations and rows, a bar for each night, tonight's in a colour of its own."""
    if not past:
        return []
    longest = max(night.seconds for night in past)
    part, unit = next((part, unit) for above, part, unit in _UNITS if longest >= above)
    durations = [(night, round(night.seconds / part, 2)) for night in past]
    rows: list[tuple[NightSum, float]] = [(night, night.rows) for night in past]
    return [_bars("Duration of all runs", unit, durations), _bars("Rows written", "rows", rows)]


def _bars(title: str, unit: str, values: Sequence[tuple[NightSum, float]]) -> ChartBlock:
    tonight = values[-1][0].night
    rows = [
        {
            "night": f"{night.night:%d %b}",
            unit: value,
            "when": "this night" if night.night == tonight else "earlier nights",
        }
        for night, value in values
    ]
    encoding = {
        "x": {"field": "night", "type": "nominal", "title": ""},
        "y": {"field": unit, "type": "quantitative", "title": unit},
        "color": {"field": "when", "type": "nominal"},
    }
    return ChartBlock(title=title, spec={"mark": "bar", "data": {"values": rows}, "encoding": encoding})


def _picture(charts: Sequence[ChartBlock]) -> bytes:
    return charts_png([(chart.title or "", read_chart(chart.spec)) for chart in charts])


def page_of(result: NightlyPipelineSync) -> str:
    """The HTML report."""
    rows = worst_first(result)
    failures = "".join(_failure_html(one) for one in rows if one.became != "succeeded")
    charts = "".join(map(block_html, night_charts(result.past))) + _uncounted(result.past)
    answer = result.answer
    parts = {
        "Against the last nights": charts,
        "Pipelines": block_html(_table(rows)) if rows else "<p>Nothing was due.</p>",
        "What did not succeed": failures,
        answer.question if answer else "": "".join(map(block_html, answer.blocks)) if answer else "",
    }
    sections = (
        f"<section><h2>{text_html(title, 300)}</h2>{content}</section>"
        for title, content in parts.items()
        if content
    )
    return page_html(
        f"Pipelines of the night of {result.tonight.night:%d %B %Y}",
        header=_facts(result),
        body=f'<div id="content">{"".join(sections)}</div>',
        skip=("content", "Skip to the content"),
        footer="Made by Plait. Times, rows and errors are the vendor's.",
    )


def markdown_of(result: NightlyPipelineSync) -> str:
    """The same for a Markdown artifact, without the charts."""
    rows = worst_first(result)
    failed = [one for one in rows if one.became != "succeeded"][:ROW_LIMIT]
    reasons = [f"{one.name}: {one.became}. {one.error or 'No reason was given.'}" for one in failed]
    parts = [
        "\n".join(f"- {escape_cell(line, 500)}" for line in [*_lines(result), *result.problems, *reasons]),
        f"Report: {code_span(str(result.report))}, chart: {code_span(str(result.chart))}",
        to_markdown([_table(rows)], Limits(rows=ROW_LIMIT, total=ARTIFACT_LIMIT // 2)),
        f"**{escape_cell(result.answer.question, 300)}**" if result.answer else "",
        to_markdown(result.answer.blocks, Limits(total=ARTIFACT_LIMIT // 4)) if result.answer else "",
    ]
    return "\n\n".join(part for part in parts if part)


def worst_first(result: NightlyPipelineSync) -> list[Played]:
    """Every outcome; what did not succeed first, and of that what is critical."""
    played = [one for night in result.nights for one in night.played]
    return sorted(played, key=lambda one: (one.became == "succeeded", not one.critical, one.name))


def _lines(result: NightlyPipelineSync) -> list[str]:
    return [night.summary for night in result.nights]


def _table(played: Sequence[Played]) -> TableBlock:
    rows = [
        {
            "Pipeline": one.name,
            "Became": one.became + (" (critical)" if one.critical else ""),
            "Runs": one.tries,
            "Duration": duration(one.seconds) if one.seconds is not None else "",
            "Rows": one.rows,
            "Run": one.run_id or "",
        }
        for one in played
    ]
    return TableBlock.of_rows(rows)


def _cells(one: Played) -> dict[str, str]:
    return {
        "pipeline": escape_cell(one.name, 200),
        "became": one.became,
        "critical": "yes" if one.critical else "",
        "runs": str(one.tries),
        "duration": duration(one.seconds) if one.seconds is not None else "",
        "rows": "" if one.rows is None else f"{one.rows:,}",
        "run": escape_cell(one.run_id or ""),
        "error": escape_cell(one.error or "", 300),
    }


def _failure_html(one: Played) -> str:
    kind = "unknown" if one.became == "unknown" else "failed"
    words = text_html(f"{one.name}: {one.became}. {one.error or 'No reason was given.'}", 2_000)
    tail = folded("End of the log", raw_html(one.log_tail)) if one.log_tail else ""
    return f'<p class="problem {kind}">{words}</p>{tail}'


def _uncounted(past: Sequence[NightSum]) -> str:
    missing = sum(night.uncounted for night in past)
    words = f"Rows of {counted(missing, 'run')} of earlier nights are not known and not in the chart."
    return f'<p class="note">{words}</p>' if missing else ""


def _facts(result: NightlyPipelineSync) -> str:
    night = result.tonight
    now = datetime.now(UTC)
    facts: dict[str, Any] = {
        "Due": f"{len(night.played):,} of {night.chosen:,} chosen",
        "Succeeded": f"{len(night.played) - len(night.failures):,}",
        "Not succeeded": f"{len(night.failures):,}",
        "Started now": f"{night.started:,}",
        "Rows": f"{sum(one.rows or 0 for one in night.played):,}",
        "Written": f"{now:%d %b %Y, %H:%M} UTC",
        "Run key": night.run_key,
        "Nights": "; ".join(_lines(result)) if len(result.nights) > 1 else "",
        "Problems": "; ".join(result.problems),
    }
    shown = (
        f"<div{WIDE if name in {'Run key', 'Nights', 'Problems'} else ''}>"
        f"<dt>{name}</dt><dd>{text_html(fact, 500)}</dd></div>"
        for name, fact in facts.items()
        if fact
    )
    return f'<dl class="facts">{"".join(shown)}</dl>'
