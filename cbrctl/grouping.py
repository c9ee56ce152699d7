"""A group of commands that says of one that is not there which there are."""

from typing import Final

import click

_SHOWN: Final = 12


class Group(click.Group):
    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if not name.startswith("-") and self.get_command(ctx, name) is None:
            ctx.fail(f"No such command {name!r}. {self._meant(ctx, args)}")
        return super().resolve_command(ctx, args)

    def _meant(self, ctx: click.Context, args: list[str]) -> str:
        import difflib

        known = self.list_commands(ctx)
        name, *more = args
        if more and more[0] in known:
            return f"Do you mean {ctx.command_path} {more[0]} {name}?"
        if near := difflib.get_close_matches(name, known, 3, 0.5):
            return f"Do you mean {' or '.join(near)}?"
        some = ", ".join(known[:_SHOWN]) + (", ..." if len(known) > _SHOWN else "")
        return f"There is: {some}."
