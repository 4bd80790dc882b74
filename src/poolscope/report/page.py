"""One self-contained HTML page: words, figures and tables."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from poolscope._files import written_whole

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

_TEMPLATE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ title }}</title>
<style>
:root { color-scheme: light dark; --line: #8884; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
figure { margin: 1.5rem 0; } figure img { max-width: 100%; background: #fff; border-radius: 4px; }
figcaption, .small { font-size: .875rem; opacity: .8; }
.wide { overflow-x: auto; } table { border-collapse: collapse; font-size: .875rem; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .6rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; } pre { overflow-x: auto; font-size: .8rem; }
</style></head><body>
<h1>{{ title }}</h1>
{% for line in summary %}<p>{{ line }}</p>{% endfor %}
{% for figure in figures %}<figure><img alt="{{ figure.caption }}" src="data:image/png;base64,{{ figure.data }}">
<figcaption>{{ figure.caption }}</figcaption></figure>{% endfor %}
{% for table in tables %}<h2>{{ table.title }}</h2><div class="wide"><table><thead><tr>
{% for name in table.columns %}<th>{{ name }}</th>{% endfor %}</tr></thead><tbody>
{% for row in table.rows %}<tr>{% for cell in row %}<td>{{ cell }}</td>{% endfor %}</tr>{% endfor %}
</tbody></table></div>{% endfor %}
<details><summary>How this was made</summary><pre>{{ record }}</pre></details>
</body></html>
"""


def write_page(
    path: Path,
    title: str,
    *,
    summary: list[str],
    figures: list[tuple[Figure, str]],
    tables: list[tuple[str, pd.DataFrame]],
    record: dict[str, Any],
) -> Path:
    """Write one HTML file that needs no network, whole or not at all.

    Args:
        path: where to.
        title: of the page.
        summary: paragraphs of plain text.
        figures: figures with their captions.
        tables: titles and tables; numbers are shown to four digits.
        record: how it was made, shown at the end.
    """
    import jinja2

    def cell(value: Any) -> str:
        return f"{value:.4g}" if isinstance(value, float) else str(value)

    pictures = []
    for figure, caption in figures:
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=160)
        pictures.append({"data": base64.b64encode(buffer.getvalue()).decode(), "caption": caption})
    page = jinja2.Environment(autoescape=True).from_string(_TEMPLATE)
    html = page.render(
        title=title,
        summary=summary,
        figures=pictures,
        tables=[
            {
                "title": name,
                "columns": list(table.columns),
                "rows": [[cell(v) for v in row] for row in table.to_numpy()],
            }
            for name, table in tables
        ],
        record=json.dumps(record, indent=2, sort_keys=True, default=str),
    )
    with written_whole(path) as temporary:
        temporary.write_text(html, encoding="utf-8")
    return path
