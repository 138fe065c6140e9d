"""A Realtime server: what `rtchat serve` runs by itself and `--local` within the program.

    dialogue.py     one client's conversation: frames in, frames out; touches nothing
    items.py        its items
    growing.py      one reply of it, while it is written and spoken
    speaking.py     what is said aloud of that: sentence by sentence
    listening.py    what the user says aloud in it
    hearing.py      when that begins and ends
    realtime.py     the same over WebSockets: handshake, keys, origins, a task for what takes time
    engine.py       what answers: the protocol between a dialogue and those below
    voice.py        what hears and speaks: the protocol, too
    script.py       answers from a file, faults too; and `echo`
    tone.py         a voice for these, without a model
    llama.py        the embedded model
    upstream.py     another server's model, by chat completions; chat.py knows that API
    engines.py      which of them, by the name on the command line
    weights.py      the embedded model's file: find it, install it, remove it

Not here: the shapes on the wire (`rtchat.wire`), and the commands that start all this (`cli`).
"""
