"""The public Python API: `rtchat.connect` and its connection.

`connection` yields a server's events and reconnects, `text_replies` runs the conversation core for
`Connection.text`, and `listeners` holds the callbacks. It imports `client`, `wire` and `core`.
Start reading at `connection.py`.
"""
