"""A comparison as one HTML page that needs nothing else: curves as SVG, tables, notes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from rlft.comparison.comparison import Comparison
from rlft.comparison.notes import notes
from rlft.comparison.svg import COLOURS, svg
from rlft.comparison.tables import Table, legend_label, tables, title
from rlft.comparison.verdict import verdict

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #222; max-width: 1100px; margin: 2em auto; padding: 0 1em; }
h1 { font-size: 1.4em; } h2 { font-size: 1.1em; margin-top: 2em; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: 13px; font-variant-numeric: tabular-nums; }
th, td { padding: 3px 10px; text-align: right; white-space: nowrap; border-bottom: 1px solid #ddd; }
th:first-child, td:first-child { text-align: left; white-space: normal; min-width: 11em; }
th { border-bottom: 2px solid #888; vertical-align: bottom; white-space: normal; }
tbody tr:hover { background: #f3f6fa; }
svg { width: 100%; height: auto; }
svg text { font: 12px system-ui, sans-serif; fill: #444; }
.legend label { display: inline-block; margin-right: 1.5em; cursor: pointer; }
.legend i { display: inline-block; width: 1.6em; height: 0.25em; margin: 0 0.4em; vertical-align: middle; }
li { margin: 0.4em 0; font-size: 13px; }
"""
TOGGLE = "document.getElementById('arm' + {i}).style.display = this.checked ? '' : 'none'"


def page(comparison: Comparison) -> str:
    """The page."""
    labels = [legend_label(arm) for arm in comparison.arms]
    said = [f"<p>{escape(line)}</p>" for line in verdict(comparison)]
    content = [*said, svg(comparison), legend(labels), *(in_html(table) for table in tables(comparison))]
    return whole_page(title(comparison.question), content, notes(comparison))


def whole_page(heading: str, content: Iterable[str], lines: Iterable[str]) -> str:
    """A page with a heading, its content as HTML, and notes."""
    heading = escape(heading)
    parts = [
        "<!doctype html>",
        f'<html lang="en"><head><meta charset="utf-8"><title>{heading}</title><style>{STYLE}</style></head><body>',
        f"<h1>{heading}</h1>",
        *content,
        "<h2>Notes</h2>",
        "<ul>" + "".join(f"<li>{escape(line)}</li>" for line in lines) + "</ul>",
        "</body></html>",
    ]
    return "\n".join(parts) + "\n"


def legend(labels: Sequence[str]) -> str:
    """Names and colours of the curves of a picture, each with a box that hides its curve."""
    entries = [
        f'<label><input type="checkbox" checked onchange="{TOGGLE.format(i=i)}">'
        f'<i style="background: {COLOURS[i % len(COLOURS)]}"></i>{escape(label)}</label>'
        for i, label in enumerate(labels)
    ]
    return '<p class="legend">' + "\n".join(entries) + "</p>"


def in_html(table: Table) -> str:
    """A table under its title."""
    head = "".join(f"<th>{escape(name)}</th>" for name in table.columns)
    rows = ("".join(f"<td>{escape(cell)}</td>" for cell in row) for row in table.rows)
    body = "\n".join(f"<tr>{row}</tr>" for row in rows)
    return (
        f'<h2>{escape(table.title)}</h2>\n<div class="scroll"><table><thead><tr>{head}</tr></thead>\n'
        f"<tbody>{body}</tbody></table></div>"
    )
