"""What the demonstration shows: numbered steps, facts below them, progress bars on a terminal and
plain lines elsewhere.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

Advance = Callable[[int, str], None]
"""Takes the percentage done and a word for the state."""


class Screen:
    """Writes to the console. Nothing that comes from the gateway is taken as markup."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._steps = 0

    def step(self, title: str) -> None:
        """The heading of the next step."""
        self._steps += 1
        self._console.print(
            f"\n{self._steps}. {title}", style="bold", markup=False, highlight=False, soft_wrap=True
        )

    def say(self, text: str) -> None:
        """One fact of the current step."""
        self._console.print(f"   {text}", markup=False, highlight=False, soft_wrap=True)

    @contextmanager
    def progress(self, title: str) -> Iterator[Advance]:
        """Shows how far a task is until the block ends."""
        if not self._console.is_terminal:
            yield self._lines(title)
            return
        columns = (
            TextColumn("   {task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[state]}"),
            TimeElapsedColumn(),
        )
        with Progress(*columns, console=self._console) as bars:
            bar = bars.add_task(title, total=100, state="")
            yield lambda percent, state: bars.update(bar, completed=percent, state=state)

    def _lines(self, title: str) -> Advance:
        shown: set[str] = set()

        def advance(percent: int, state: str) -> None:
            if state not in shown:
                shown.add(state)
                self.say(f"{title}: {state}, {percent} %")

        return advance
