"""``xqueue completion``."""

from __future__ import annotations

import click

from xqueue_core.cli.caller import json_option
from xqueue_core.cli.output import Output

#: Where the shells look for it, as advice.
_WHERE = {
    "bash": "xqueue completion bash > ~/.local/share/bash-completion/completions/xqueue",
    "zsh": "xqueue completion zsh > ~/.zfunc/_xqueue  # in a folder of $fpath",
    "fish": "xqueue completion fish > ~/.config/fish/completions/xqueue.fish",
}


@click.command()
@click.argument("shell", type=click.Choice(list(_WHERE)))
@json_option
def completion(shell: str, as_json: bool) -> None:
    """Print the completion for a shell.

    For this session: `eval "$(xqueue completion bash)"`, the same with zsh, or
    `xqueue completion fish | source`. Lanes, ids, workers and schedules are asked of the broker,
    which has two seconds to answer, or _XQUEUE_COMPLETE_SECONDS.
    """
    from xqueue_core.cli.completing import VARIABLE, script

    text = script(shell)
    data = {"shell": shell, "variable": VARIABLE, "install": _WHERE[shell], "script": text}
    Output(as_json).show(data, text)
