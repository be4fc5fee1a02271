"""`medal serve`."""

from __future__ import annotations

from typing import Annotated

import typer

Host = Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 opens it to the network.")]
Port = Annotated[int | None, typer.Option(help="Port; default: the one in public_url.", min=1, max=65535)]


def register(app: typer.Typer) -> None:
    @app.command()
    def serve(host: Host = "127.0.0.1", port: Port = None) -> None:
        """Serve the public answer and the preview pages until Ctrl-C."""
        from urllib.parse import urlsplit

        import uvicorn

        from jobs.errors import SettingsError
        from jobs.pdp.app import create_app
        from jobs.publish.stores import open_store
        from jobs.settings import load_settings
        from jobs.stage import log

        settings = load_settings()
        try:
            port = port or urlsplit(settings.public_url).port or 8765
        except ValueError as e:
            raise SettingsError(f"public_url: {e}; write it like http://127.0.0.1:8765") from e
        store = open_store(settings)
        log(f"serve: {store.where}")
        log(f"serve: open http://{'127.0.0.1' if host == '0.0.0.0' else host}:{port}/ (Ctrl-C stops)")
        uvicorn.run(create_app(settings, store), host=host, port=port, log_level="warning")
