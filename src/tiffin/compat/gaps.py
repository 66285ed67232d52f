"""What Feast's objects have and tiffin's do not: using it says so, and what to use instead."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from tiffin.errors import MissingAttributeError, UnsupportedError, nearest

_SERVER = "`tiffin serve` answers requests for features; its routes are shown at /docs"
_OTHER_SERVERS = "`tiffin serve` serves features only: training sets and definitions are read in your own process"
_VECTORS = "vectors are not searched yet: get_online_features() reads them, and your program compares them"
_PROJECT = "a store has one project: open another one with the folder, or the configuration, of the other project"
_RUNS = "store.materialization_runs(view=...) tells what was loaded, and when"
_HISTORY = "store.history() tells when the definitions were applied"
_TENSOR = "make it of to_arrow() or to_df(), such as torch.tensor(frame[name].to_numpy())"

FEATURE_STORE = {
    **dict.fromkeys(("get_feature_server_endpoint", "serve"), _SERVER),
    **dict.fromkeys(("serve_offline", "serve_registry"), _OTHER_SERVERS),
    "serve_transformations": "functions run in the process that reads: get_online_features() computes them",
    "serve_ui": "there is no web page yet: `tiffin feature-views list` and its like show what is applied",
    **dict.fromkeys(("embedding_provider", "openai_search", "retrieve_online_documents"), _VECTORS),
    "retrieve_online_documents_v2": _VECTORS,
    "update_online_store": "write_to_online_store() writes whole values",
    "validate_logged_features": "verify() compares what was logged with what training sees",
    "set_feature_view_state": "enable_feature_view() and disable_feature_view() say whether a view is served",
    "delete_project": "teardown() removes the project of a store; open the store of the project first",
    **dict.fromkeys(("set_current_project", "reset_current_project"), _PROJECT),
    "provider": "stores are chosen one by one: see config.online_store and config.offline_store",
    "mlflow": "there is no link to MLflow yet: job.features and store.history() tell what a model was trained on",
    "openlineage_emitter": "there is no link to OpenLineage yet: store.history() tells what was applied",
}
DEFINITION = {
    **dict.fromkeys(("to_proto", "proto_class"), "to_spec() gives it as plain data"),
    **dict.fromkeys(("created_timestamp", "last_updated_timestamp"), _HISTORY),
    "ensure_valid": "leave it out: a definition is checked when it is built",
}
DATASET = {
    **DEFINITION,
    **dict.fromkeys(
        ("get_profile", "profile"),
        "expectations are made when a training set is validated: job.to_df(validation_reference=...)",
    ),
}
FEATURE_VIEW = {
    **DEFINITION,
    **dict.fromkeys(("materialization_intervals", "most_recent_end_time", "update_materialization_intervals"), _RUNS),
    "get_ttl_duration": "use ttl",
    "set_projection": "with_projection() gives the view with another projection",
    "state": "`enabled` says whether it is served, and store.materialization_runs(view=...) what was loaded",
}
ONLINE_RESPONSE = {
    "proto": "use to_dict(), statuses() and event_timestamps()",
    "to_tensor": _TENSOR,
}
RETRIEVAL_JOB = {
    "on_demand_feature_views": "`features` lists what is computed as well",
    "to_feast_df": "use to_df(), to_arrow() or to_polars()",
    "to_ray_dataset": "use ray.data.from_arrow(job.to_arrow())",
    "to_remote_storage": "persist() writes a Parquet file",
    "to_tensor": _TENSOR,
}


class WithGaps:
    """An object of which Feast's has more. What it does not have is refused with what to use instead."""

    __slots__ = ()
    _gaps: ClassVar[Mapping[str, str]] = {}

    if not TYPE_CHECKING:  # A type checker would take every mistyped name for an attribute.

        def __getattr__(self, name: str) -> Any:
            cls = type(self)
            if hasattr(cls, name):
                # A property ended in an AttributeError of its own, which is the one to see.
                return object.__getattribute__(self, name)
            if name.startswith("_"):
                raise AttributeError(f"{cls.__name__!r} object has no attribute {name!r}")
            subject = f"{cls.__name__}.{name}"
            if name in self._gaps:
                raise MissingAttributeError(f"{subject} is not supported yet", subject=subject, hint=self._gaps[name])
            names = [each for each in dir(self) if not each.startswith("_")]
            raise MissingAttributeError(
                f"there is no {subject}", subject=subject, hint=nearest(name, names, list_known=False)
            )


def refuse_argument(call: str, argument: str, value: object, hint: str) -> None:
    """Raise when an argument is given that Feast's function has and tiffin's cannot do.

    Raises:
        UnsupportedError: the value is true; a default never is.
    """
    if value:
        raise UnsupportedError(f"{call}: {argument} is not supported yet", subject=call, hint=hint)
