"""A Realtime server: what `rtchat serve` runs by itself and `--local` within the program.

    dialogue.py     one client's conversation: frames in, frames out; touches nothing
    growing.py      one reply of it, while it is written
    realtime.py     the same over WebSockets: handshake, keys, origins, one task a reply
    engine.py       what answers: the protocol between a dialogue and those below
    script.py       answers from a file, faults too; and `echo`
    llama.py        the embedded model
    upstream.py     another server's model, by chat completions; chat.py knows that API
    engines.py      which of them, by the name on the command line
    weights.py      the embedded model's file: find it, install it, remove it

Not here: the shapes on the wire (`rtchat.wire`), and the commands that start all this (`cli`).
"""
