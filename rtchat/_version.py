"""The version. It is a literal, so that `rtchat --version` imports nothing else."""

__version__ = "0.1.0"
