"""The command `thinwire`: its subcommands, each made in a module of its own."""

from __future__ import annotations

from typing import Annotated

import typer

from thinwire.advisor.cli import scale
from thinwire.bench.cli import bench
from thinwire.counsel.cli import advise
from thinwire.demo.cli import demo
from thinwire.lab.cli import CONTEXT, lab
from thinwire.pages.cli import report
from thinwire.probing.cli import probe
from thinwire.solver.cli import solve
from thinwire.version import __version__

EXAMPLES = """\
[bold]Examples[/bold]

[cyan]thinwire demo[/cyan]
Is it worth it? A small GPT on 100 Mb/s links, dense and compressed, side by side, in about four minutes.

[cyan]thinwire lab --hosts 4 --rate 50mbit -- python train.py[/cyan]
Your own script, unchanged, on four hosts with slow links, all on this machine.

[cyan]thinwire bench step --hosts 4 --rate 1gbit[/cyan]
What a training step costs with each method, measured in turns; bench codec and bench collective measure the parts.

[cyan]torchrun --nproc-per-node 2 --no-python thinwire probe --json probe.json[/cyan]
What your links, collectives and processors really cost, measured by the workers themselves in half a minute.

[cyan]thinwire advise --params 124e6 --workers 16 --bandwidth 1gbit --backward 250ms[/cyan]
Which compression for this training on this network, or none, and why.

[cyan]thinwire scale --parameters 124e6 --bandwidth 1gbit --compute 250ms[/cyan]
What a step would take on 2 to 10,000 workers, dense and compressed, predicted.

[cyan]thinwire solve mushrooms.xz --compare "dcgd(identity)"[/cyan]
The exact optimum of a convex problem, with a certificate, and how many bytes it took.

[cyan]thinwire report dense.jsonl 1bit.jsonl[/cyan]
One page of what training logs (wire.log) and the JSON of the other commands say."""

app = typer.Typer(
    name="thinwire",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    suggest_commands=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"thinwire {__version__}")
        raise typer.Exit


@app.callback(epilog=EXAMPLES)
def thinwire(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    """Training and optimisation across machines that cannot talk much.

    Workers send few bits: the compressed difference between what they know now and what they have already said.
    """


app.command("demo")(demo)
app.command("lab", context_settings=CONTEXT)(lab)
app.command("solve")(solve)
app.command("report")(report)
app.command("probe")(probe)
app.command("advise")(advise)
app.command("scale")(scale)
app.add_typer(bench, name="bench")


def main() -> None:
    """The entry point of the console script."""
    app(prog_name="thinwire")
