"""The ClientApp that the thin bundle names, for a stock SuperNode.

A stock SuperNode starts a process a message, which loses what a site holds between phases. It can
say hello; a study needs ``motet site start``.
"""

from __future__ import annotations

from flwr.app import Context, Message
from flwr.clientapp import ClientApp

from motet.flower.parcels import unparcel
from motet.flower.records import Body, decode, encode, refusal
from motet.version import __version__

app = ClientApp()


@app.query("hello")
def hello(message: Message, context: Context) -> Message:
    """Say who this is."""
    envelope, _ = decode(unparcel(message.content))
    name = str(context.node_config.get("site", "site"))
    return Message(
        encode(envelope, Body(document={"site": name, "motet": __version__})), reply_to=message
    )


def refuse(message: Message, context: Context) -> Message:
    """Refuse everything else."""
    return Message(refusal(decode(unparcel(message.content))[0], "stock-node"), reply_to=message)


for name in ("agree", "prepare", "release", "reveal", "conclude", "finish", "close", "ping"):
    app.query(name)(refuse)
app.train("phase")(refuse)
