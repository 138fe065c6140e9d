"""Settings: options, environment, `.env`, profiles, the config file, templates and stored keys.

`settings.py` is the table of settings, and `serve.py` that of `rtchat serve`. `resolve.py` finds
their values, and `destination.py` decides where a key may be sent. May import `rtchat.client` (for
endpoints) and what is below it.
"""
