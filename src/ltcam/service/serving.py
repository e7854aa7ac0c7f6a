"""Opens all that a service needs and runs it until it is told to stop."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import uvicorn

from ltcam.data.layouts import read_dataset
from ltcam.jobs.models import Model
from ltcam.runs.holding import hold
from ltcam.service.app import Access, create_app
from ltcam.service.batching import Budget, BusyError
from ltcam.service.guards import Asgi, Limits, is_loopback
from ltcam.service.history import Search, open_history
from ltcam.service.intake import Intake
from ltcam.service.outbox import Outbox
from ltcam.service.pictures import remove_pictures, sweep
from ltcam.service.served import Served
from ltcam.service.sinks import Sink, parse_sink
from ltcam.service.trainings import Trainings
from ltcam_runtime.errors import InputError, OutputError, SettingsError
from ltcam_runtime.folders import why_not_written

DATABASE_FILE = "history.db"
PICTURES_FOLDER = "pictures"

_HOUR = 3600.0
_EXAMPLES = 24

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ServeSettings:
    """How a service is run.

    Attributes:
        model: run folder or exported file.
        state: folder for history, pictures and what is remembered; one service at a time.
        host: address to listen at; another than loopback's asks for a token.
        port: 0 takes a free one.
        token: that every request must carry; "" asks for none.
        allow_hosts: names beside loopback's that the Host header may hold.
        database: URL of the history; "" is a SQLite file in `state`.
        budget: batches and waiting.
        limits: of a request.
        most_pixels: of an image.
        keep_days: pictures older than this are removed, records and reviews stay; None keeps all.
        sinks: where findings go besides.
        webhook_secret: that webhooks are signed with.
        data_root: folder whose sub-folders the studio may train on; None allows none.
        examples: data set of which a few images are inspected where the history is empty; None inspects none.
    """

    model: Path
    state: Path
    host: str = "127.0.0.1"
    port: int = 8000
    token: str = ""
    allow_hosts: frozenset[str] = frozenset()
    database: str = ""
    budget: Budget = field(default_factory=Budget)
    limits: Limits = field(default_factory=Limits)
    most_pixels: int = 50_000_000
    keep_days: float | None = None
    sinks: Sequence[str] = ()
    webhook_secret: str = ""
    data_root: Path | None = None
    examples: Path | None = None

    @property
    def database_url(self) -> str:
        """The history's URL."""
        return self.database or f"sqlite:///{self.state / DATABASE_FILE}"


def serve(settings: ServeSettings, load: Callable[[Path], Model], started: Callable[[str], None]) -> None:
    """Run a service until SIGINT or SIGTERM; what is in line then is finished first.

    Args:
        settings: how.
        load: path to model.
        started: called with the address once it listens.

    Raises:
        SettingsError: an address outside loopback without a token.
        OutputError: the state folder or the history cannot be used, or the address cannot be listened at.
        RunError: the model cannot be loaded.
        DataError: the examples are no data set.
    """
    with opened(settings, load) as app:
        config = uvicorn.Config(
            app,
            host=settings.host,
            port=settings.port,
            log_level="warning",
            access_log=False,
            server_header=False,
            ws="none",
            timeout_keep_alive=15,
            timeout_graceful_shutdown=30,
        )
        server = _Telling(config, started)
        try:
            server.run()
        except KeyboardInterrupt as ended:
            raise type(ended)(f"every inspection that was answered is kept in {settings.state}") from ended
        except SystemExit as error:  # how uvicorn says that it cannot listen
            raise OutputError(
                f"nothing can listen at {settings.host}:{settings.port}; is another service there? give another `port`"
            ) from error


@contextmanager
def opened(settings: ServeSettings, load: Callable[[Path], Model]) -> Iterator[Asgi]:
    """The application with everything behind it; closed when the block is left."""
    check_address(settings.host, settings.token)
    if settings.data_root is not None and not settings.data_root.is_dir():
        raise SettingsError(f"`data_root` {settings.data_root}: there is no such folder")
    with ExitStack() as stack:
        stack.enter_context(_held(settings.state))
        history = open_history(settings.database_url, settings.state / PICTURES_FOLDER)
        stack.callback(history.database.close)
        served = Served(load, settings.state / "models.json", settings.model)
        if served.earlier:
            _log.warning(
                "inspecting with %s, which was promoted, and not with %s; a rollback leads back to it",
                served.model.name,
                served.earlier[-1].name,
            )
        sweep(history.database, history.pictures)
        outbox = Outbox(history.database)
        sinks: dict[str, Sink] = {}
        for text in settings.sinks:
            name, destination = parse_sink(text, settings.webhook_secret)
            sinks[name] = Sink(name, outbox, destination)
            stack.callback(sinks[name].close)
        intake = Intake(served, history, sinks, settings.budget, settings.most_pixels)
        stack.callback(intake.close)
        if settings.keep_days is not None:
            remove = partial(remove_pictures, history.database, history.pictures)
            stack.enter_context(forgetting(remove, timedelta(days=settings.keep_days)))
        if settings.examples is not None and not history.search(Search(limit=1)):
            _inspect_examples(intake, settings.examples)
        access = Access(settings.token, settings.allow_hosts, settings.limits)
        trainings = Trainings(settings.state, settings.data_root)
        yield create_app(served, history, intake, trainings, access)


def _inspect_examples(intake: Intake, folder: Path) -> None:
    """A few images of a data set, evenly over all of it, so that there is something to look at."""
    known = read_dataset(folder).samples
    samples = [sample for sample in known if sample.split == "test"] or list(known)
    answers = []
    for sample in samples[:: max(1, len(samples) // _EXAMPLES)][:_EXAMPLES]:
        try:
            answers.append(intake.submit(intake.receive(sample.path.read_bytes(), sample.id, sample.group)))
        except (InputError, OSError, BusyError):
            continue
    for answer in answers:
        answer.result()


def check_address(host: str, token: str) -> None:
    """Refuse to listen to others without a token.

    Raises:
        SettingsError: an address that is not loopback's, and no token or a short one.
    """
    if is_loopback(host):
        return
    if not token:
        raise SettingsError(
            f"`host` {host}: others could reach the service there; give a token (environment variable LTCAM_TOKEN)"
        )
    if len(token) < 16:
        raise SettingsError(
            "LTCAM_TOKEN has fewer than 16 characters; a token for others must not be guessable"
        )


class _Telling(uvicorn.Server):
    """A server that says where it listens, once it does."""

    def __init__(self, config: uvicorn.Config, started: Callable[[str], None]) -> None:
        super().__init__(config)
        self._tell = started

    async def startup(self, sockets: list[object] | None = None) -> None:  # type: ignore[override]
        await super().startup(sockets)  # type: ignore[arg-type]
        for server in getattr(self, "servers", []):
            for listening in server.sockets:
                host, port = listening.getsockname()[:2]
                self._tell(f"http://{f'[{host}]' if ':' in host else host}:{port}/")
                return


def _held(state: Path) -> AbstractContextManager[object]:
    """The state folder, for this service only."""
    try:
        return hold(state / ".lock")
    except BlockingIOError:
        raise OutputError(f"{state}: another service uses this folder; give another `state`") from None
    except OSError as error:
        raise OutputError(
            f"{state} cannot be used as `state`, the folder for the history: {why_not_written(error)}"
        ) from error


@contextmanager
def forgetting(remove: Callable[[datetime], object], age: timedelta, pause: float = _HOUR) -> Iterator[None]:
    """Remove what is older than `age` now and again after every pause, in seconds; what fails is tried again then."""
    stop = threading.Event()

    def work() -> None:
        while True:
            try:
                remove(datetime.now(UTC) - age)
            except (OutputError, OSError) as problem:
                _log.warning("old pictures could not be removed: %s; trying again in %.0f s", problem, pause)
            if stop.wait(pause):
                return

    thread = threading.Thread(target=work, name="ltcam-retention", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
