"""The HTTP application: the public answer, photos, and the preview pages that read only the public answer."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse
from fastapi.staticfiles import StaticFiles
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from jobs.errors import MedalError
from jobs.pdp.media import photo_of
from jobs.pdp.reader import LOOK, POINTER_TTL_S, NothingAnnounced, Reader, UnknownItem
from jobs.publish.store import PdpStore
from jobs.settings import Settings
from jobs.stage import log
from schemas.pdp import Categories, Complements, Listing, Problem
from schemas.taxonomy import load_taxonomy

STATIC = Path(__file__).with_name("static")
ANSWER_AGE_S = 60  # stock and prices change; lists do so once a night
MEDIA_AGE_S = 3600
CSP = (
    "default-src 'none'; img-src 'self' https: data:; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

_ERRORS: dict[int | str, dict[str, Any]] = {
    404: {"model": Problem, "description": "No such product"},
    422: {"model": Problem, "description": "A parameter is wrong"},
    503: {"model": Problem, "description": "Nothing is announced yet, or the store does not answer"},
}


def create_app(settings: Settings, store: PdpStore, *, pointer_ttl_s: float = POINTER_TTL_S) -> FastAPI:
    """The application over a store. Opens nothing until the first request."""
    reader = Reader(store, load_taxonomy(settings.taxonomy).titles, pointer_ttl_s=pointer_ttl_s)
    app = FastAPI(
        title="MEDAL complements",
        description="What looks right beside a product. Answers come from the announced release; see docs/serving.md.",
        version="1",
        docs_url=None,
        redoc_url=None,
    )
    _add_errors(app)
    _add_answers(app, reader)
    _add_pages(app, store)
    return app


def _add_answers(app: FastAPI, reader: Reader) -> None:
    @app.get("/v1/items/{item_id:path}/complements", response_model=Complements, responses=_ERRORS, tags=["public"])
    def complements(
        request: Request,
        item_id: str,
        slots: Annotated[str | None, Query(max_length=500, description="Only these categories, with commas.")] = None,
        limit: Annotated[int, Query(ge=1, le=200, description="Items a slot, at most.")] = 12,
        look: Annotated[int, Query(ge=0, le=50, description="Items of `complete_the_look`, at most.")] = LOOK,
    ) -> Response:
        """The product, its complements by slot, and one list made of all slots; sold-out ones are left out."""
        wanted = [s.strip() for s in slots.split(",") if s.strip()] if slots is not None else None
        return _answer(request, reader.complements(item_id, slots=wanted, limit=limit, look=look))

    @app.get("/v1/items", response_model=Listing, responses=_ERRORS, tags=["public"])
    def items(
        request: Request,
        limit: Annotated[int, Query(ge=1, le=100)] = 24,
        after: Annotated[str | None, Query(max_length=1000, description="`next` of the page before.")] = None,
        category: Annotated[str | None, Query(max_length=100)] = None,
    ) -> Response:
        """A page of products, in the store's own stable order."""
        return _answer(request, reader.listing(category=category or None, after=after or None, limit=limit))

    @app.get("/v1/categories", response_model=Categories, responses=_ERRORS, tags=["public"])
    def categories(request: Request) -> Response:
        """The categories that have products."""
        return _answer(request, reader.categories())

    @app.get("/healthz", responses=_ERRORS, tags=["operations"])
    def healthz() -> dict[str, str | int]:
        """200 while a release is announced and the store answers."""
        release = reader.announced()
        return {"status": "ok", "release": release.number, "run_date": release.run_date}


def _answer(request: Request, body: BaseModel) -> Response:
    """JSON with an ETag of its bytes; 304 where the reader has them."""
    data = body.model_dump_json().encode()
    etag = f'"{hashlib.sha256(data).hexdigest()[:20]}"'
    headers = {"ETag": etag, "Cache-Control": f"public, max-age={ANSWER_AGE_S}"}
    if _has(request, etag):
        return Response(status_code=304, headers=headers)
    return Response(data, media_type="application/json", headers=headers)


def _has(request: Request, etag: str) -> bool:
    given = [t.strip().removeprefix("W/") for t in request.headers.get("if-none-match", "").split(",")]
    return etag in given or "*" in given


def _add_pages(app: FastAPI, store: PdpStore) -> None:
    @app.get("/media/{item_id:path}", responses=_ERRORS, tags=["public"], response_class=FileResponse)
    def media(request: Request, item_id: str) -> Response:
        """The product's photo, where it is a file of this machine."""
        row = store.get_products([item_id]).get(item_id)
        photo = photo_of(row) if row else None
        if photo is None:
            raise HTTPException(404, f"item {item_id}: no photo here")
        headers = {"ETag": photo.etag, "Cache-Control": f"public, max-age={MEDIA_AGE_S}"}
        if _has(request, photo.etag):
            return Response(status_code=304, headers=headers)
        return FileResponse(photo.path, media_type=photo.media_type, headers=headers)

    @app.get("/items/{item_id:path}", include_in_schema=False)
    def item_page(item_id: str) -> FileResponse:
        return FileResponse(STATIC / "item.html", headers={"Cache-Control": "no-cache"})

    @app.get("/", include_in_schema=False)
    def browse_page() -> FileResponse:
        return FileResponse(STATIC / "index.html", headers={"Cache-Control": "no-cache"})

    app.mount("/static", StaticFiles(directory=STATIC), name="static")

    @app.middleware("http")
    async def headers(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        response = await call_next(request)
        response.headers["Content-Security-Policy"] = CSP
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Referrer-Policy"] = "same-origin"
        if request.url.path.startswith("/static/"):
            response.headers["Cache-Control"] = "no-cache"  # asked again by ETag, so a new version shows at once
        return response


def _problem(status: int, title: str, detail: str, **headers: str) -> Response:
    body = Problem(title=title, status=status, detail=detail).model_dump_json()
    return Response(body, status_code=status, media_type="application/problem+json", headers=headers)


def _add_errors(app: FastAPI) -> None:
    @app.exception_handler(UnknownItem)
    def unknown(_: Request, error: UnknownItem) -> Response:
        return _problem(404, "Unknown product", f"item {error}: not in the catalogue")

    @app.exception_handler(NothingAnnounced)
    def nothing(_: Request, __: NothingAnnounced) -> Response:
        detail = "no release is announced yet; `medal nightly` or `medal publish` announces one"
        return _problem(503, "Nothing announced", detail, **{"Retry-After": "60"})

    @app.exception_handler(MedalError)
    def failed(request: Request, error: MedalError) -> Response:
        log(f"serve: {request.url.path}: {error}")  # names files and hosts, so it is not for the public
        detail = "the store does not answer; the server's log says why"
        return _problem(503, "Store unavailable", detail, **{"Retry-After": "10"})

    @app.exception_handler(RequestValidationError)
    def invalid(_: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        return _problem(422, "Wrong parameter", f"{first['loc'][-1]}: {first['msg']}")

    @app.exception_handler(HTTPException)
    def http(_: Request, error: HTTPException) -> Response:
        titles = {404: "Not found", 405: "Method not allowed"}
        return _problem(error.status_code, titles.get(error.status_code, "Error"), str(error.detail))
