"""The application: routes, pages and guards around an intake, a history and the model that is served."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.requests import ClientDisconnect

from ltcam import __version__
from ltcam.service import api, studio_api
from ltcam.service.guards import Asgi, Guards, Limits
from ltcam.service.history import History
from ltcam.service.intake import Intake
from ltcam.service.outbox import Outbox
from ltcam.service.previews import Previews
from ltcam.service.readiness import why_not_ready
from ltcam.service.schemas import Ready
from ltcam.service.served import Served
from ltcam.service.studio import studio_router
from ltcam.service.trainings import Trainings
from ltcam_runtime.errors import OutputError, SettingsError


@dataclass(frozen=True)
class Access:
    """Who may talk to the service.

    Attributes:
        token: that every request carries; "" asks for none, which only a loopback address allows.
        hosts: names beside loopback's that the Host header may hold.
        limits: of each request.
    """

    token: str = ""
    hosts: frozenset[str] = frozenset()
    limits: Limits = field(default_factory=Limits)


def create_app(
    served: Served, history: History, intake: Intake, trainings: Trainings, access: Access
) -> Asgi:
    """The application, guarded.

    Args:
        served: the model in use.
        history: open; closed with the application.
        intake: running; what is in line is finished when the application ends.
        trainings: that the studio starts and shows.
        access: who may talk to it.
    """

    @asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        yield
        intake.close()
        history.database.close()

    app = FastAPI(title="ltcam", version=__version__, docs_url=None, redoc_url=None, lifespan=life)
    app.state.served, app.state.history, app.state.intake = served, history, intake
    app.state.trainings, app.state.previews = trainings, Previews(served, history.pictures)
    app.include_router(api.router)
    app.include_router(studio_api.router)
    app.include_router(studio_router(access.token))
    _add_probes(app, history, intake)
    _tell_errors(app)
    hosts = access.hosts or (frozenset({"localhost"}) if not access.token else frozenset())
    return Guards(app, token=access.token, hosts=hosts, limits=access.limits)


def _add_probes(app: FastAPI, history: History, intake: Intake) -> None:
    """What those ask who run the service."""
    registry = CollectorRegistry()
    registry.register(_Figures(history, Outbox(history.database), intake))

    @app.get("/healthz", include_in_schema=False)
    def alive() -> dict[str, str]:
        return {"status": "alive"}

    @app.get("/readyz", responses={503: {}})
    def ready() -> Ready:
        """Whether an image could be inspected and kept now."""
        if reason := why_not_ready(history, intake.batcher):
            raise HTTPException(503, reason, {"Retry-After": "1"})
        return Ready(status="ready")

    @app.get("/metrics", include_in_schema=False)
    def metrics() -> Response:
        return Response(generate_latest(registry), media_type="text/plain; version=0.0.4; charset=utf-8")


def _tell_errors(app: FastAPI) -> None:
    """Errors that no route tells become answers of one form."""

    @app.exception_handler(SettingsError)
    async def refused(_: Request, error: SettingsError) -> Response:
        return _told(400, str(error))

    @app.exception_handler(OutputError)
    async def not_kept(_: Request, error: OutputError) -> Response:
        return _told(500, str(error))

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> Response:
        """As FastAPI says it, but without repeating what was sent: that may be anything."""
        return _told(
            422, [{name: found[name] for name in ("type", "loc", "msg")} for found in error.errors()]
        )

    @app.exception_handler(ClientDisconnect)
    async def gone(_: Request, error: ClientDisconnect) -> Response:  # noqa: ARG001
        """Nobody reads this answer: the sender broke off, which is no fault of the service."""
        return _told(400, "the request was broken off")

    @app.exception_handler(Exception)
    async def fault(_: Request, error: Exception) -> Response:
        return _told(500, f"a fault of the service: {type(error).__name__}")


def _told(status: int, detail: Any) -> Response:
    """An answer in ASCII, whatever text a request brought into the detail."""
    return Response(json.dumps({"detail": detail}), status, media_type="application/json")


class _Figures(Collector):
    """What Prometheus reads, gathered when it asks."""

    def __init__(self, history: History, outbox: Outbox, intake: Intake) -> None:
        self._history, self._outbox, self._intake = history, outbox, intake

    def collect(self) -> list[Metric]:
        """The metrics now."""
        batcher = self._intake.batcher
        passes = batcher.passes
        inspections = CounterMetricFamily(
            "ltcam_inspections", "Inspections in the history", labels=["verdict"]
        )
        for verdict, count in self._history.counts().items():
            inspections.add_metric([verdict], count)
        waiting = GaugeMetricFamily("ltcam_sink_waiting", "Findings not yet delivered", labels=["sink"])
        for sink, count in self._outbox.waiting().items():
            waiting.add_metric([sink], count)
        return [
            inspections,
            waiting,
            GaugeMetricFamily("ltcam_waiting", "Images in line for the network", batcher.waiting),
            CounterMetricFamily("ltcam_network_images", "Images that the network saw", passes.images),
            CounterMetricFamily("ltcam_network_batches", "Passes of the network", passes.batches),
            CounterMetricFamily("ltcam_network_seconds", "Seconds in the network", passes.seconds),
            CounterMetricFamily(
                "ltcam_turned_away", "Images refused since too many waited", passes.turned_away
            ),
        ]
