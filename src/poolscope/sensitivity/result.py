"""What a measurement found: the table, the record of how it was made, its picture, and its file."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import matplotlib.axes
    import pandas as pd

#: Columns of a result's table, in order.
COLUMNS = [
    "layer", "kind", "position", "depth", "features", "images", "draws", "D", "D_se", "G", "G_se", "R", "R_se", "R_low",
    "R_high", "deformation_power", "noise_power", "spread", "model", "variant", "draw", "note",
]

_RECORD_KEY = b"poolscope"
_DIGEST_KEY = b"poolscope sha256"


@dataclass
class Result:
    """A measurement.

    Attributes:
        table: one row a layer, the input first; columns as in ``COLUMNS``. D, G, R without unit; powers and spread in
            units of the representation squared; ``depth`` = position / number of measured layers.
        record: how it was made: model, data, perturbations, seed, precision, device, versions.
    """

    table: pd.DataFrame
    record: dict[str, Any] = field(default_factory=dict)

    def plot(self, quantity: str = "R", *, ax: matplotlib.axes.Axes | None = None) -> matplotlib.axes.Axes:
        """Draw D, G or R against depth, with a 95 % band, one line for each model and variant.

        Args:
            quantity: "D", "G" or "R".
            ax: where to draw (default: a new figure).

        Returns:
            The axes drawn on.

        Raises:
            ValueError: another quantity.
        """
        from poolscope.report.curves import plot_quantity

        return plot_quantity(self.table, quantity, ax=ax)

    def save(self, path: str | Path) -> Path:
        """Write table and record to one Parquet file, whole or not at all.

        Raises:
            OSError: the folder does not exist or cannot be written to.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        from poolscope._files import written_whole

        table = pa.Table.from_pandas(self.table, preserve_index=False)
        record = json.dumps(self.record, sort_keys=True, default=str).encode()
        table = table.replace_schema_metadata({**(table.schema.metadata or {}), _RECORD_KEY: record})
        table = table.replace_schema_metadata({**table.schema.metadata, _DIGEST_KEY: _digest(table)})
        with written_whole(Path(path)) as temporary:
            pq.write_table(table, temporary)
        return Path(path)

    def _repr_html_(self) -> str:
        return self.table.to_html(index=False, float_format="{:.4g}".format)

    def __str__(self) -> str:
        return self.table.to_string(
            index=False,
            float_format="{:.4g}".format,
            columns=["layer", "D", "D_se", "G", "G_se", "R", "R_low", "R_high"],
        )


def read_result(path: str | Path) -> Result:
    """Read what ``Result.save`` wrote.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not a result, cut short, or altered since it was written.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"a saved result must be a file; {path} is not there")
    try:
        table = pq.read_table(path)
        metadata = table.schema.metadata or {}
        digest = _digest(table)
    except (pa.ArrowException, OSError, ValueError, MemoryError) as error:
        reason = str(error).splitlines() or [type(error).__name__]
        raise ValueError(f"{path} must be a whole Parquet file; {reason[0]}") from None
    if _RECORD_KEY not in metadata:
        raise ValueError(f"{path} must hold a poolscope result; its metadata has no record of one")
    if metadata.get(_DIGEST_KEY) != digest:
        raise ValueError(f"{path} must be as it was written; its content does not match its checksum")
    return Result(table.to_pandas(), json.loads(metadata[_RECORD_KEY]))


def _digest(table: Any) -> bytes:
    """Return the SHA-256 of names, types, content and metadata, in hexadecimal, whatever the table's chunks."""
    metadata = {key: value for key, value in (table.schema.metadata or {}).items() if key != _DIGEST_KEY}
    digest = hashlib.sha256(repr(sorted(metadata.items())).encode())
    for column in table.schema:
        digest.update(repr((column.name, str(column.type))).encode())
        digest.update(json.dumps(table.column(column.name).to_pylist()).encode())
    return digest.hexdigest().encode()
