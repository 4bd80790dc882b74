"""The commands that measure networks as they are: measure, compare, spectrum."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from poolscope._options import (
    Batch,
    Channels,
    Classes,
    Count,
    Cutoff,
    Data,
    Device,
    Displacement,
    Displacements,
    Draws,
    Layers,
    Memory,
    Noise,
    NoiseKind,
    Norm,
    Normalize,
    Out,
    Precision,
    Protocol,
    Remarks,
    Root,
    Seed,
    Size,
    Split,
    Trust,
    Weights,
    command_line,
    loaded,
    made_folder,
    measure_options,
    numbers,
    opened,
    print_table,
    processes,
    single_moves,
)

if TYPE_CHECKING:
    from poolscope.studies.findings import Findings


def show_findings(found: Findings, title: str) -> None:
    """Print what the network and, if channels were shuffled, its shuffled copies do, and what follows."""
    table = found.results[~found.results["variant"].isin(["shuffled", "gaussian_filters"])]
    columns = ["layer", "D", "D_se", "G", "G_se", "R", "R_low", "R_high"]
    more = [name for name in ("displacement", "variant") if name in table and table[name].nunique() > 1]
    print_table(table, title, [*more, *columns, "note"])
    if found.shares is not None:
        columns = ["layer", "R", "R_shuffled", "spatial_share", "spatial_share_low", "spatial_share_high", "note"]
        more = ["displacement"] if found.shares["displacement"].nunique() > 1 else []
        print_table(found.shares, "share of the fall of R that shuffling channels leaves", [*more, *columns])
    for line in found.summary():
        print(line)


def measure(
    model: Annotated[str, typer.Argument(help="poolscope:NAME, torchvision:NAME, timm:NAME or module.path:factory.")],
    data: Data = "digits",
    split: Split = None,
    count: Count = None,
    size: Size = None,
    normalize: Normalize = "auto",
    root: Root = None,
    weights: Weights = None,
    num_classes: Classes = None,
    in_channels: Channels = None,
    trust_code: Trust = False,
    displacement: Displacements = None,
    cutoff: Cutoff = 3,
    moves: Annotated[
        str | None,
        typer.Option(
            help="Move single pixels instead: left-right, neighbour-or-stay or rounded-direction (default for "
            "scale-detection tasks: neighbour-or-stay)."
        ),
    ] = None,
    noise: Noise = NoiseKind.matched,
    layers: Layers = "auto",
    draws: Draws = 1,
    batch_size: Batch = "auto",
    precision: Precision = "float32",
    memory_format: Memory = "contiguous",
    bn: Norm = "eval",
    protocol: Protocol = "text",
    initial: Annotated[str | None, typer.Option(help="Weights file from before training, measured beside.")] = None,
    shuffle: Annotated[int, typer.Option(min=0, help="Copies with shuffled channels, to tell spatial pooling.")] = 0,
    shuffle_mode: Annotated[
        str, typer.Option(help="independent, shared, published or published-outputs: who shares a permutation.")
    ] = "independent",
    shuffle_layers: Annotated[
        str, typer.Option(help="Convolutions to shuffle: all, a regular expression, or names with commas.")
    ] = "all",
    keep_colours: Annotated[bool, typer.Option(help="Leave the first convolution, which reads the image.")] = False,
    recalibrate: Annotated[bool, typer.Option(help="Estimate batch norms of shuffled copies anew.")] = False,
    controls: Annotated[
        str, typer.Option(help="More variants, with commas: mean_channel, mean_filters, gaussian_filters.")
    ] = "",
    remark: Remarks = None,
    out: Out = None,
    seed: Seed = 0,
    device: Device = "auto",
) -> None:
    """Measure D, G and R of one model, layer by layer; with --out also its filters, as tables, pictures and a page.

    Under torchrun the processes share the images (without --shuffle, --initial and --controls).

    Example: poolscope measure torchvision:resnet18 --weights DEFAULT --data imagefolder:photos --shuffle 8 --out r18
    """
    folder = made_folder(out)
    sizes = numbers(displacement, "--displacement")
    several = sizes is not None and len(sizes) > 1
    options = measure_options(
        sizes[0] if sizes else None,
        cutoff,
        noise,
        layers,
        draws,
        seed,
        batch_size,
        device,
        precision,
        memory_format,
        bn,
        protocol,
    )
    shift = single_moves(data, moves, sizes)
    if shift is not None:
        options["deformation"] = shift
    import poolscope as ps
    from poolscope.studies.findings import Findings
    from poolscope.studies.measure import run, samples_of, spectrum_of

    with processes(device) as (group, rank):
        network = loaded(model, weights, num_classes, in_channels, trust_code, seed)
        images = opened(data, split, count, size, normalize, root, network)
        if group is not None:
            if shuffle or initial or controls or several:
                raise ValueError(
                    "under torchrun --shuffle, --initial, --controls and several displacements must be left out: they "
                    "run in one process; got at least one of them"
                )
            result = ps.measure(network, images, **options, process_group=group)
            if rank:
                return
            samples = samples_of(network, images, options["deformation"], options["noise"], seed)
            found = Findings(result.table, result.record, spectrum=spectrum_of(network, None, model), samples=samples)
        else:
            options["perturbations"] = options.pop("draws")
            if several:
                options |= {"deformation": None, "displacement": sizes, "cutoff": cutoff}
            found = run(
                network,
                images,
                initial=loaded(model, initial, num_classes, in_channels, trust_code, seed) if initial else None,
                draws=shuffle,
                mode=shuffle_mode,
                convolutions=shuffle_layers.split(",") if "," in shuffle_layers else shuffle_layers,
                image_channels=not keep_colours,
                recalibrate=recalibrate,
                controls=[each.strip() for each in controls.split(",") if each.strip()],
                **options,
            )
        found.record |= {"command": command_line(), "weights": weights, "initial": initial}
        found.remarks = remark or []
        show_findings(found, f"{model} on {found.results['images'].iloc[0]} images of {data}")
        if folder is not None:
            found.save(folder, f"Where {model} loses spatial information")
            print(f"open {folder / 'report.html'}")


def compare(
    first: Annotated[str, typer.Argument(help="Model, or weights file where --model says which network.")],
    second: Annotated[str, typer.Argument(help="The same, of the second model.")],
    model: Annotated[str | None, typer.Option(help="Network whose two weights files are compared.")] = None,
    data: Data = "digits",
    split: Split = None,
    count: Count = None,
    size: Size = None,
    normalize: Normalize = "auto",
    root: Root = None,
    weights: Annotated[str | None, typer.Option(help="Pretrained name for both models.")] = None,
    num_classes: Classes = None,
    in_channels: Channels = None,
    trust_code: Trust = False,
    displacement: Displacement = None,
    cutoff: Cutoff = 3,
    noise: Noise = NoiseKind.matched,
    layers: Layers = "auto",
    draws: Draws = 1,
    batch_size: Batch = "auto",
    precision: Precision = "float32",
    memory_format: Memory = "contiguous",
    bn: Norm = "eval",
    protocol: Protocol = "text",
    out: Out = None,
    seed: Seed = 0,
    device: Device = "auto",
) -> None:
    """Compare two models under the same deformations and noise, with paired intervals on log R.

    Example: poolscope compare initial.safetensors trained.safetensors --model poolscope:minivgg --in-channels 1
    """
    folder = made_folder(out)
    options = measure_options(
        displacement, cutoff, noise, layers, draws, seed, batch_size, device, precision, memory_format, bn, protocol
    )
    import poolscope as ps

    if first == second:
        raise ValueError(f"two different models are needed for a comparison; got {first} twice")
    names = [first, second]
    if model and Path(first).stem != Path(second).stem:
        names = [Path(first).stem, Path(second).stem]  # whole paths would drown the page
    named = {
        name: loaded(model or file, file if model else weights, num_classes, in_channels, trust_code, seed)
        for name, file in zip(names, (first, second), strict=True)
    }
    images = opened(data, split, count, size, normalize, root, named[names[0]])
    comparison = ps.compare(named, images=images, **options)
    columns = ["layer", "R_first", "R_second", "log_ratio", "low", "high", "note"]
    print_table(comparison.table, f"R of {names[0]} (first) and {names[1]} (second), paired over images", columns)
    if folder is not None:
        import pandas as pd

        from poolscope.studies.findings import Findings
        from poolscope.studies.measure import samples_of, spectrum_of

        spectra = [table for key, each in named.items() if (table := spectrum_of(each, None, key)) is not None]
        found = Findings(
            comparison.result.table,
            {**comparison.record, "command": command_line(), "weights": [first, second] if model else weights},
            contrasts=comparison.table,
            spectrum=pd.concat(spectra, ignore_index=True) if spectra else None,
            samples=samples_of(named[names[0]], images, options["deformation"], options["noise"], seed),
        )
        found.save(folder, f"{names[0]} and {names[1]}")
        print(f"open {folder / 'report.html'}")


def spectrum(
    model: Annotated[str, typer.Argument(help="poolscope:NAME, torchvision:NAME, timm:NAME or module.path:factory.")],
    weights: Weights = None,
    initial: Annotated[str | None, typer.Option(help="Weights file from before training.")] = None,
    num_classes: Classes = None,
    in_channels: Channels = None,
    trust_code: Trust = False,
    out: Out = None,
    seed: Seed = 0,
) -> None:
    """Show how smooth each convolution's filters are: their power by spatial frequency, against white filters.

    Example: poolscope spectrum torchvision:vgg16 --weights DEFAULT --out vgg16-filters
    """
    folder = made_folder(out)
    from poolscope.pooling import filter_spectrum, frequency_content

    network = loaded(model, weights, num_classes, in_channels, trust_code, seed)
    before = loaded(model, initial, num_classes, in_channels, trust_code, seed) if initial else None
    table = filter_spectrum(network, initial=before, name=model)
    if table.empty:
        raise ValueError(f"the model must have a convolution, to have filters; {model} has none")
    constant = table[table["level"] == 0].drop(columns=["frequency_se", "position", "model"])
    shown = frequency_content(table).merge(constant, on="layer", how="right")
    columns = ["layer", "kernel", "frequency", "frequency_se", "init_frequency"]
    columns += ["share", "share_se", "white_share", "note"]
    print_table(shown, f"filters of {model}: mean frequency (white: 1), share of the constant mode", columns)
    if folder is not None:
        from poolscope.studies.spectrum import write

        write(folder, model, table, {"model": model, "weights": weights, "initial": initial, "command": command_line()})
        print(f"open {folder / 'report.html'}")
