"""Traces for OpenTelemetry: a span for every request, and in it one for each read of the store and one for functions.

A span says what was asked for and how that went: names, counts, statuses. It never has a value, a key of an entity, a
header or the message of an error, which may hold one of these. OpenTelemetry is imported only when traces are wanted.
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

from tiffin import __version__
from tiffin.errors import BackendNotFoundError, ConfigError, TiffinError
from tiffin.server.forwarding import ForwardingStore, Rows

if TYPE_CHECKING:
    from opentelemetry.trace import Span, TracerProvider

    from tiffin.contracts.online import OnlineStore, ReadRequest
    from tiffin.online.response import OnlineResponse
    from tiffin.server.http import Call
    from tiffin.server.routes import Route

_EXPORTER = "OTEL_TRACES_EXPORTER"
#: Variables of which one at least is set where traces are wanted.
_WANTED = (_EXPORTER, "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")


class Traces:
    """Makes the spans of one worker.

    Args:
        provider: where the spans go.
        is_own: whether it is closed with this object.
    """

    def __init__(self, provider: TracerProvider, *, is_own: bool = False) -> None:
        from opentelemetry import propagate, trace

        self._provider = provider
        self._is_own = is_own
        self._trace = trace
        self._extract = propagate.extract
        self._tracer = provider.get_tracer("tiffin", __version__)

    @contextmanager
    def request(self, call: Call, route: Route | None) -> Iterator[Span]:
        """The span of a request; part of the client's trace where the request names one (W3C ``traceparent``)."""
        method, path = (route.method, route.path) if route is not None else ("_OTHER", "unknown")
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in call.headers.items()}
        with self._tracer.start_as_current_span(
            f"{method} {path}",
            self._extract(headers),
            self._trace.SpanKind.SERVER,
            {"http.request.method": method, "http.route": path, "tiffin.request_id": call.request_id},
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            call.notes["trace_id"] = self._trace.format_trace_id(span.get_span_context().trace_id)
            yield span

    def store(self, store: OnlineStore) -> TracedStore:
        """A store whose reads have spans."""
        return TracedStore(store, self)

    def answered(self, span: Span, call: Call, status: int) -> None:
        """A request was answered."""
        span.set_attribute("http.response.status_code", status)
        if status >= 400:
            span.set_attribute("error.type", str(call.notes.get("error", status)))
        if status >= 500:
            span.set_status(self._trace.StatusCode.ERROR)

    def note(self, **attributes: str | int | Sequence[str]) -> None:
        """Say more about the request under way; names get ``tiffin.`` before them."""
        named = {f"tiffin.{name}": value for name, value in attributes.items()}
        self._trace.get_current_span().set_attributes(named)

    def read(self, response: OnlineResponse, entities: int, service: str, fallback: str) -> None:
        """Features were read in the request under way; counting values is left out where nobody will see the counts."""
        if not self._trace.get_current_span().is_recording():
            return
        counts = Counter(status for column in response.statuses().values() for status in column)
        views = response.view_of
        self.note(features=len(views), views=list(dict.fromkeys(views.values())), entities=entities)
        self.note(**{f"values.{status.lower()}": count for status, count in counts.items()})
        self.note(**{name: text for name, text in (("service", service), ("fallback", fallback)) if text})

    def compute(self, response: OnlineResponse) -> None:
        """Run the functions of an answer, if there are some, in a span of their own.

        Raises:
            TiffinError: as ``OnlineResponse.compute``.
        """
        if response.computed_views:
            with self.part("functions", {"tiffin.views": response.computed_views}):
                response.compute()

    @contextmanager
    def part(self, name: str, attributes: Mapping[str, Any]) -> Iterator[None]:
        """The span of a part of the request under way."""
        with self._tracer.start_as_current_span(
            name, attributes=attributes, record_exception=False, set_status_on_exception=False
        ) as span:
            try:
                yield
            except (TiffinError, asyncio.CancelledError) as error:
                code = error.code if isinstance(error, TiffinError) else "cancelled"
                span.set_attribute("error.type", code)
                span.set_status(self._trace.StatusCode.ERROR)
                raise

    def close(self) -> None:
        """Send what waits to be sent."""
        if self._is_own:
            self._provider.shutdown()  # type: ignore[attr-defined]


class TracedStore(ForwardingStore):
    """Stands before an online store, and makes a span of each read."""

    def __init__(self, inner: OnlineStore, traces: Traces) -> None:
        super().__init__(inner)
        self._traces = traces

    def read(self, requests: Sequence[ReadRequest]) -> Rows:
        """As the store."""
        with self._traces.part("store read", self._described(requests)):
            return self.inner.read(requests)

    async def read_async(self, requests: Sequence[ReadRequest]) -> Rows:
        """As the store."""
        with self._traces.part("store read", self._described(requests)):
            return await self.inner.read_async(requests)

    def _described(self, requests: Sequence[ReadRequest]) -> dict[str, Any]:
        return {
            "tiffin.store": self.inner.capabilities.name,
            "tiffin.tables": [request.table for request in requests],
            "tiffin.keys": sum(len(request.keys) for request in requests),
        }


def open_traces(provider: TracerProvider | None = None) -> Traces | None:
    """Traces, where they are wanted: by a provider, or by the environment (``OTEL_*``) as OpenTelemetry defines it.

    When the environment asks for them, the provider of the process is used if a program has set one, else one is made.

    Raises:
        BackendNotFoundError: OpenTelemetry is not installed.
        ConfigError: the environment names an exporter that is not there.
    """
    if provider is not None:
        return Traces(provider)
    names = [name.strip() for name in os.environ.get(_EXPORTER, "otlp").split(",")]
    is_off = os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true" or names == ["none"]
    if is_off or not any(os.environ.get(name) for name in _WANTED):
        return None
    try:
        from opentelemetry import trace
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider as SdkProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        hint = "install what they need: pip install 'tiffin[otel]', or set OTEL_SDK_DISABLED=true"
        raise BackendNotFoundError("the environment asks for traces", subject="traces", hint=hint) from error
    known = trace.get_tracer_provider()
    if isinstance(known, SdkProvider):
        return Traces(known)
    has_name = "OTEL_SERVICE_NAME" in os.environ or "service.name" in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
    made = SdkProvider(resource=Resource.create({} if has_name else {"service.name": "tiffin"}))
    for name in names:
        made.add_span_processor(BatchSpanProcessor(_exporter(name)))
    return Traces(made, is_own=True)


def _exporter(name: str) -> Any:
    """An exporter by the name that ``OTEL_TRACES_EXPORTER`` has for it."""
    if name == "otlp":
        protocol = next((os.environ[each] for each in _PROTOCOLS if os.environ.get(each)), "http/protobuf")
        name = "otlp_proto_grpc" if protocol == "grpc" else "otlp_proto_http"
    known = {each.name: each for each in entry_points(group="opentelemetry_traces_exporter")}
    if name not in known:
        raise ConfigError(f"{_EXPORTER}: no exporter {name!r} is installed", hint=f"there are: {', '.join(known)}")
    return known[name].load()()
