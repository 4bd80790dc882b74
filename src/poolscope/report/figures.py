"""Which figures a report has: what its tables hold decides."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from torch import Tensor

from poolscope.report.bars import plot_shares, shares_size
from poolscope.report.choose import amplitudes, beyond_input, in_pixels, is_control, models, number, variants, varying
from poolscope.report.curves import TITLES, lines, plot_amplitudes, plot_quantity
from poolscope.report.panel import Panel, file_name
from poolscope.report.pictures import perturbed_size, plot_perturbed
from poolscope.report.spectra import Frequency, frequencies, plot_frequency, plot_spectra, plot_spectrum, spectrum_size
from poolscope.report.style import legend_height, short

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

#: Headings of the page that figures stand under, in order.
SAMPLES = "The images and what is done to them"
DEPTH = "Layer by layer"
AMPLITUDES = "From small to large displacements"
SHARES = "Spatial or channel pooling"
SPECTRA = "The filters"

_MEANING = {
    "D": "how far a deformation moves the representation, against the distance of two images",
    "G": "how far noise of the same size moves it",
    "R": "deformation against noise; below 1 the layer reacts less to deformations",
}


def panels(
    results: pd.DataFrame,
    *,
    shares: pd.DataFrame | None = None,
    spectrum: pd.DataFrame | None = None,
    samples: Sequence[Tensor] | None = None,
) -> list[Panel]:
    """Return the figures that the tables allow, for ``write_report`` and ``save_panels``.

    Args:
        results: tables of results below each other.
        shares: the spatial share of each layer.
        spectrum: filter spectra, one row a level of a convolution.
        samples: images, deformed and noisy ones, each ``[n, C, H, W]``; the first three are shown.

    Returns:
        Samples; D, G and R against depth for every amplitude (and every model, if there are several with several
        variants each); R at the output against the displacement, if there are several; shares; spectra.
    """
    found = [_samples(samples)] if samples is not None and len(samples[0]) else []
    found += _depth(results)
    found += _amplitudes(results)
    if shares is not None:
        found += _shares(shares)
    if spectrum is not None and len(spectrum):
        found += spectrum_panels(spectrum)
    return found


def _samples(samples: Sequence[Tensor]) -> Panel:
    images, moved, noisy = (each[:3] for each in samples)
    return Panel(
        "samples",
        "From the left: image x, deformed image τx, image with noise x + η, and the two differences, which have the "
        "same norm in every row when the noise is matched. Grey is no difference; both differences of a row share one "
        "scale.",
        perturbed_size(images),
        lambda ax: plot_perturbed(images, moved, noisy, ax=ax),
        alt=f"{len(images)} images, each beside its deformed copy, its noisy copy, and the two differences.",
        section=SAMPLES,
        layout="wide",
        photographs=True,
    )


def _depth(results: pd.DataFrame) -> list[Panel]:
    found = []
    names = models(results)
    several = len(names) > 1
    if several and len(variants(results)) > 1:
        # All models with all their controls would be a thicket: the networks themselves first, then each with its own.
        plain = results[~results["variant"].map(is_control)]
        groups = [("all models", plain)] if plain["model"].nunique() > 1 else []
        groups += [(name, results[results["model"] == name]) for name in names]
    else:
        groups = [("", results)]
    for name, rows in groups:
        for amplitude in amplitudes(rows):
            chosen = rows
            for column, value in amplitude.items():
                chosen = chosen[chosen[column] == value]
            found += [_curve(chosen, quantity, name, amplitude, varying(results, amplitude)) for quantity in TITLES]
    return found


def _curve(
    rows: pd.DataFrame, quantity: str, name: str, amplitude: dict[str, Any], varied: dict[str, Any]
) -> Panel:
    """Return the panel of one quantity for one amplitude, of which ``varied`` tells it apart from the other panels."""
    found = lines(rows)
    several = any("draws)" in label for label, _, _ in found)
    ends = []
    for label, _, own in found:
        last = own.sort_values("position")[quantity].iloc[-1]
        ends.append(f"{label}: {number(last)}" if last == last else f"{label}: not defined")
    where = ", ".join(part for part in (name, in_pixels(amplitude)) if part)
    drawn = "thin lines: single draws under their geometric mean; " if several else ""
    return Panel(
        file_name(quantity, name, in_pixels(varied)),
        f"{quantity}{f' ({where})' if where else ''}: {_MEANING[quantity]}. Bands: 95 % over images; {drawn}log scale.",
        (4.4, 3.3 + legend_height([label for label, _, _ in found])),
        partial(_draw_curve, rows, quantity, ", ".join(part for part in (name, in_pixels(varied)) if part)),
        alt=f"Line chart of {quantity} against depth{f' at {where}' if where else ''}. At the last layer, "
        f"{'; '.join(ends)}.",
        section=DEPTH,
    )


def _draw_curve(rows: pd.DataFrame, quantity: str, where: str, ax: Axes) -> None:
    plot_quantity(rows, quantity, ax=ax)
    if where:  # one of several panels of this quantity
        ax.set_title(f"{quantity}: {short(where, 34)}", loc="left")


def _amplitudes(results: pd.DataFrame) -> list[Panel]:
    if "displacement" not in results or results["displacement"].nunique() < 2:
        return []
    last = results[results["position"] == results["position"].max()]
    last = results[results["kind"] == "output"] if "kind" in results and (results["kind"] == "output").any() else last
    layer = str(last["layer"].iloc[0])
    labels = [label for label, _, _ in lines(last, *(["cutoff"] if "cutoff" in last else []))]
    return [
        Panel(
            "R-amplitude",
            f"R at {layer} against the size of the deformation. R is no property of a network alone: where lines "
            "cross, which network is the more invariant depends on the displacement. Bands: 95 % over images.",
            (5.2, 3.5 + legend_height(labels)),
            lambda ax: plot_amplitudes(results, layer, ax=ax),
            alt=f"Line chart of R at {layer} against the displacement in pixels.",
            section=AMPLITUDES,
        )
    ]


def _shares(shares: pd.DataFrame) -> list[Panel]:
    rows = beyond_input(shares)
    if rows.empty:
        return []
    known, count = int(rows["spatial_share"].notna().sum()), rows["layer"].nunique()
    return [
        Panel(
            "shares",
            "Spatial share by layer, the input on top. Bars: estimate; lines: 95 % over images and shuffles; cross: "
            "nothing can be said.",
            shares_size(rows),
            lambda ax: plot_shares(rows, ax=ax),
            alt=f"Bar chart of the spatial share of {count} layers; {known} of {len(rows)} bars have a value.",
            section=SHARES,
        )
    ]


def spectrum_panels(spectrum: pd.DataFrame) -> list[Panel]:
    """Return the figures of filter spectra: a map and a spectrum for each model, and the mean frequency by layer."""
    names = models(spectrum)
    layers = frequencies(spectrum)
    maps = [panel for name in names for panel in _of_model(spectrum, layers, name, len(names) > 1)]
    if not layers:
        return maps
    least, most = min(layers, key=lambda layer: layer.value), max(layers, key=lambda layer: layer.value)
    frequency = Panel(
        "frequency",
        "Mean frequency of each layer's filters: 1 for white filters, below for low-pass ones, above for filters that "
        "take differences. Bands: 95 % over filters.",
        (4.4, 3.4 + (0.4 if len(names) == 1 and len(layers) <= 20 else 0.2 * (len(names) // 2))),
        lambda ax: plot_frequency(spectrum, ax=ax),
        alt=f"Line chart of mean filter frequency by layer, from {number(least.value)} at {least.layer} to "
        f"{number(most.value)} at {most.layer}.",
        section=SPECTRA,
    )
    return [frequency, *maps] if len(names) > 1 else [*maps, frequency]


def _of_model(spectrum: pd.DataFrame, layers: list[Frequency], name: str, several: bool) -> list[Panel]:
    """Return one model's map, and the spectrum of its layer of lowest mean frequency."""
    rows = spectrum[spectrum["model"] == name] if name else spectrum
    of = f" of {name}" if several else ""
    found = [
        Panel(
            file_name("spectrum", name if several else ""),
            f"Filter spectra{of}: a row a convolution, its levels from the constant one to the highest frequency, each "
            "as wide as its part of the kernel's frequencies, so that kernels of all sizes share the axis. Orange: "
            "more power than white filters have, blue: less (log scale). Hatched: no spectrum.",
            spectrum_size(rows),
            partial(_draw_spectrum, rows, name if several else ""),
            layout="tall",
            alt=f"Heat map of filter power against white filters for {rows['layer'].nunique()} convolutions{of}.",
            section=SPECTRA,
        )
    ]
    own = [layer for layer in layers if layer.model == name]
    if own:
        lowest = min(own, key=lambda layer: layer.value).layer
        found.append(
            Panel(
                file_name("levels", name if several else ""),
                f"The convolution of the lowest mean frequency{of}, {lowest}: share of its filters' power in each "
                "level. Error bars: 95 % over filters.",
                (4.4, 3.4),
                partial(_draw_levels, rows, lowest, name if several else ""),
                alt=f"Line chart of the share of power by level of {lowest}, with white filters for comparison.",
                section=SPECTRA,
            )
        )
    return found


def _draw_spectrum(rows: pd.DataFrame, name: str, ax: Axes) -> None:
    plot_spectrum(rows, ax=ax)
    if name:  # one of several models
        ax.set_title(f"Filters of {short(name, 24)}", loc="left")


def _draw_levels(rows: pd.DataFrame, layer: str, name: str, ax: Axes) -> None:
    plot_spectra(rows, layer, ax=ax)
    if name:
        ax.set_title(f"{short(layer, 18)} of {short(name, 20)}", loc="left")
