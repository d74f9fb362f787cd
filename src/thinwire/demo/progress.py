"""The demo in a terminal: a bar for every run while it goes, a line for each that ended, the table at the end."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.progress import TaskID
from rich.table import Table

from thinwire.demo.plan import Plan, Run
from thinwire.report.html import bytes_text, factor_text
from thinwire.report.metrics import Record, Results, Transport
from thinwire.report.terminal import bars, show_failure


class Screen:
    """A `thinwire.demo.run.Listener` that shows what it hears on a rich console; used in a `with`."""

    def __init__(self, console: Console, plan: Plan) -> None:
        self._console, self._plan = console, plan
        self._transport: Transport | None = None
        self._task: TaskID | None = None
        self._bars = bars(console)

    def __enter__(self) -> Screen:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def opened(self, transport: Transport) -> None:
        """Say where the runs go."""
        self._transport = transport
        if transport.modelled:
            self._console.print(f"[yellow]No lab:[/] {escape(transport.why)}")
            self._console.print(f"[yellow]The runs go over loopback; times at {self._plan.rate} are modelled.[/]")

    def started(self, run: Run, seed: int) -> None:
        """Put up a bar for this run."""
        if self._task is not None:
            self._bars.remove_task(self._task)
        name = _name(run.label, seed, self._plan)
        self._task = self._bars.add_task(name, total=self._plan.training.steps, said="starting the workers")

    def stepped(self, step: int, seconds: float, sent: float, loss: float | None) -> None:
        """Move the bar."""
        if self._task is None or self._transport is None:
            return
        shown = "" if loss is None else f"loss {loss:.3f}  "
        time = self._transport.seconds(seconds, sent)
        said = f"{shown}{time:.1f} {self._transport.unit}  {bytes_text(sent)} sent"
        self._bars.update(self._task, completed=step, said=said)

    def finished(self, record: Record) -> None:
        """Leave a line that says how the run ended, with the end of its log if it failed."""
        if self._task is not None:
            self._bars.remove_task(self._task)
            self._task = None
        if record.failure is None and self._transport is not None:
            last = record.points[-1]
            time = self._transport.seconds(last.seconds, last.sent)
            said = f"loss {last.loss:.3f}  {time:6.1f} {self._transport.unit}  {bytes_text(last.sent)} sent"
            name = escape(_name(record.label, record.seed, self._plan))
            self._console.print(f"[green]✓[/] {name:<30} {said}", highlight=False)
            return
        show_failure(self._console, f"{_name(record.label, record.seed, self._plan)}: {record.failure}", record.log)


def final_table(results: Results, names: Sequence[str]) -> Table:
    """The table at the end, one line a row of the comparison; the loss is the held-out one after the last step."""
    unit = results.transport.unit
    table = Table(box=SIMPLE_HEAD, header_style="bold")
    table.add_column("", no_wrap=True)
    heads = ("loss", f"step ({unit})", "sent a step", "faster", "fewer bytes")
    for head in heads:
        table.add_column(head, justify="right")
    for row in results.summaries(names):
        table.add_row(
            escape(row.label),
            f"{row.loss:.3f}",
            f"{row.seconds:.3f}",
            bytes_text(row.sent.mean),
            factor_text(row.speed_up),
            factor_text(row.fewer_bytes),
            style="cyan" if row.ours else None,
        )
    return table


def _name(label: str, seed: int, plan: Plan) -> str:
    return label if plan.seeds == 1 else f"{label}, seed {seed}"
