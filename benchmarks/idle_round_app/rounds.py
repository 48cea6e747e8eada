"""A stock Flower app whose rounds do nothing: the app of benchmarks/idle_round.py."""

import json
import time
from pathlib import Path

from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp

server = ServerApp()
client = ClientApp()


@client.query()
def answer(message: Message, context: Context) -> Message:
    """Send back what came."""
    return Message(message.content, reply_to=message)


@server.main()
def main(grid: Grid, context: Context) -> None:
    """Time rounds with all sites."""
    sites, rounds = int(context.run_config["sites"]), int(context.run_config["rounds"])
    while len(nodes := list(grid.get_node_ids())) < sites:
        time.sleep(0.5)
    seconds = []
    for number in range(rounds):
        content = RecordDict({"hello": ConfigRecord({"round": number})})
        messages = [Message(content, node, "query", group_id=str(number)) for node in nodes]
        began = time.perf_counter()
        replies = list(grid.send_and_receive(messages, timeout=120))
        seconds.append(round(time.perf_counter() - began, 3))
        if len(replies) < sites or any(reply.has_error() for reply in replies):
            raise RuntimeError("a site did not answer")
    Path(str(context.run_config["out"])).write_text(json.dumps(seconds))
