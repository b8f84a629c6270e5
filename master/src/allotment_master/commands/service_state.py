# SPDX-License-Identifier: Apache-2.0
"""``allot service start|stop|destroy``: the state that is wanted of an instance."""

from pathlib import Path

import click

from allotment.messages.instance import InstanceState
from allotment_master.cli import connect, json_option, master_options, show
from allotment_master.commands.request import refuse_failed, wait_settled


def _command(word: str, state: InstanceState, text: str) -> click.Command:
    @click.command(word, help=text)
    @click.argument("name")
    @click.option("--wait", is_flag=True, help="Wait until it is so.")
    @click.option("--timeout", type=click.FloatRange(0), default=300.0, show_default=True, help="Seconds to wait.")
    @master_options
    @json_option
    def command(
        name: str, wait: bool, timeout: float, master: str | None, token_file: Path | None, as_json: bool
    ) -> None:
        with connect(master, token_file) as client:
            info = client.set_state(name, state)
            if not as_json:
                click.echo(f"{info.name}: {info.state} is wanted; it is {info.status}")
            if wait:
                info = wait_settled(client, info, timeout, say=not as_json)
        if as_json:
            show(info)
        if wait:
            refuse_failed(info)

    return command


start = _command("start", InstanceState.STARTED, "Start the instance NAME.")
stop = _command("stop", InstanceState.STOPPED, "Stop the instance NAME; its data stays.")
destroy = _command("destroy", InstanceState.DESTROYED, "Destroy the instance NAME, its children and their data.")
