"""Settings: options, environment, `.env`, profiles, the config file and the key store.

Decides what wins and which source is trusted with what. May import `rtchat.client` (for endpoints)
and what is below it. Start at `settings.py`.
"""
