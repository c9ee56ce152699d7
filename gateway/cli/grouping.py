"""A group of commands that says of a command or an option that is not there which is meant."""

import click


class Group(click.Group):
    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click has it, which knows of no other package's commands and is silent where none is
        near.
        """
        try:
            return super().resolve_command(ctx, args)
        except click.NoSuchCommand as error:
            known = self.list_commands(ctx)
            meant = click.NoSuchCommand(error.command_name, possibilities=known, ctx=ctx)
            if meant.possibilities:
                raise meant from None
            text = f"{meant.message} There is: {', '.join(known)}."
            raise click.NoSuchCommand(error.command_name, text, ctx=ctx) from None

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """An option that a command has stands behind that command."""
        given = list(args)
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            name = error.option_name
            owners = [each for each, command in self.commands.items() if _has(command, name)]
            if not owners:
                raise
            owner = next((each for each in given if each in owners), owners[0])
            shown = f"`{ctx.command_path} {owner} {name}`"
            text = f"{error.message} It stands behind its command: {shown}."
            raise click.NoSuchOption(name, text, ctx=ctx) from None


def _has(command: click.Command, option: str) -> bool:
    return any(option in parameter.opts for parameter in command.params)
