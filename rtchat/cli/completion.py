"""`completion`."""

import typer

app = typer.Typer(help="Manage shell completion: install, show, uninstall.")


@app.command("install")
def completion_install() -> int:
    """Install."""
    return 0
