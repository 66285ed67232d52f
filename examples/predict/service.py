"""A model behind HTTP that reads its features from tiffin, in one file.

    python examples/predict/service.py                                   # features read in this process
    FEATURES=http://127.0.0.1:6566 python examples/predict/service.py    # features read through `tiffin serve`

The first start makes a small repository in ``output/``, trains a model on what was known at the time, and loads the
online store. Nothing else differs between the two ways: ``FEATURES`` becomes the ``online_store`` setting.
"""

from __future__ import annotations

import os
import sys
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from fastapi import FastAPI, HTTPException
from pydantic import BaseModel
from sklearn.linear_model import LogisticRegression

from tiffin import (
    Entity,
    FeatureService,
    FeatureStore,
    FeatureView,
    Field,
    FileSource,
    RepoConfig,
    TiffinError,
    ValueType,
)
from tiffin.types import Float64, Int64

FOLDER = Path(__file__).parent / "output"
DRIVERS, DAYS, SEED = 500, 30, 7
SETTINGS = (
    "project: predict\nregistry: registry.db\nonline_store: {type: sqlite, path: online.db}\npoint_in_time: known\n"
)


def definitions() -> list[Any]:
    """What the model needs: a view of drivers, and the service that names its features."""
    driver = Entity(name="driver", join_keys=["driver_id"], value_type=ValueType.INT64)
    source = FileSource(path="drivers.parquet", timestamp_field="event_timestamp", created_timestamp_column="created")
    drivers = FeatureView(
        name="drivers",
        entities=[driver],
        source=source,
        schema=[
            Field(name="accepted", dtype=Float64),
            Field(name="rating", dtype=Float64),
            Field(name="trips", dtype=Int64),
        ],
        ttl=timedelta(days=7),
    )
    return [driver, drivers, FeatureService(name="completes_v1", features=[drivers])]


def write_facts(now: datetime) -> tuple[pa.Table, pa.Table]:
    """A fact a driver and day, and labelled trips: whether a driver completed the trip that was offered."""
    random = np.random.default_rng(SEED)
    ids = np.repeat(np.arange(DRIVERS), DAYS)
    skill = np.repeat(random.uniform(0, 1, DRIVERS), DAYS)
    days = np.tile(np.arange(DAYS), DRIVERS)
    times = [now - timedelta(days=int(day), hours=1) for day in days]
    facts = {
        "driver_id": ids,
        "event_timestamp": pa.array(times, pa.timestamp("us", "UTC")),
        "created": pa.array([time + timedelta(minutes=30) for time in times], pa.timestamp("us", "UTC")),
        "accepted": np.clip(skill + random.normal(0, 0.1, len(ids)), 0, 1),
        "rating": 1 + 4 * np.clip(skill + random.normal(0, 0.2, len(ids)), 0, 1),
        "trips": random.poisson(10, len(ids)),
    }
    asked = [now - timedelta(hours=float(hours)) for hours in random.uniform(2, 24 * (DAYS - 1), 5_000)]
    who = random.integers(0, DRIVERS, 5_000)
    done = (skill.reshape(DRIVERS, DAYS)[who, 0] + random.normal(0, 0.3, 5_000)) > 0.5
    labels = {"driver_id": who, "event_timestamp": pa.array(asked, pa.timestamp("us", "UTC")), "completed": done}
    return pa.table(facts), pa.table(labels)


def prepare(folder: Path) -> None:
    """Make the repository, train the model and load the online store; does nothing when that was done."""
    if (folder / "model.npz").exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    now = datetime.now(UTC)
    facts, labels = write_facts(now)
    pq.write_table(facts, folder / "drivers.parquet")
    (folder / "feature_store.yaml").write_text(SETTINGS)
    with FeatureStore(repo_path=folder) as store:
        store.apply(definitions())
        service = store.get_feature_service("completes_v1")
        training = store.get_historical_features(labels, service).to_df().dropna()
        model = LogisticRegression(max_iter=1000).fit(
            training[["accepted", "rating", "trips"]].to_numpy(float), training["completed"]
        )
        store.materialize_incremental(now)
    np.savez(folder / "model.npz", weights=model.coef_[0], bias=model.intercept_)


def open_store(folder: Path, features: str) -> FeatureStore:
    """The store of the repository, or the same through a server."""
    if not features:
        return FeatureStore(repo_path=folder)
    online = {"type": "remote", "path": features}
    return FeatureStore(
        config=RepoConfig(project="predict", repo_path=folder, registry="registry.db", online_store=online)
    )


class Request(BaseModel):
    """Who is to be offered a trip."""

    driver_id: int


class Prediction(BaseModel):
    """How likely it is that the driver completes it, and from what that was computed."""

    driver_id: int
    completes: float
    features: dict[str, float | None]


def create_app(folder: Path = FOLDER, features: str = os.environ.get("FEATURES", "")) -> FastAPI:
    """The service."""

    @asynccontextmanager
    async def open_and_close(app: FastAPI) -> Any:
        prepare(folder)
        model = np.load(folder / "model.npz")
        app.state.weights, app.state.bias = model["weights"], float(model["bias"][0])
        app.state.store = open_store(folder, features)
        app.state.service = app.state.store.get_feature_service("completes_v1")
        await app.state.store.initialize()
        yield
        await app.state.store.close()

    app = FastAPI(title="completes", lifespan=open_and_close)

    @app.post("/predict")
    async def predict(request: Request) -> Prediction:
        try:
            response = await app.state.store.get_online_features_async(
                app.state.service, [{"driver_id": request.driver_id}]
            )
        except TiffinError as error:
            raise HTTPException(status_code=error.http_status, detail=error.message) from error
        row = {name: values[0] for name, values in response.to_dict().items() if name != "driver_id"}
        if None in row.values():
            raise HTTPException(status_code=404, detail=f"driver {request.driver_id} is not known, or not seen lately")
        score = app.state.bias + float(np.dot(app.state.weights, list(row.values())))
        return Prediction(driver_id=request.driver_id, completes=1 / (1 + float(np.exp(-score))), features=row)

    return app


if __name__ == "__main__":
    import uvicorn

    uvicorn.run(create_app(), port=int(sys.argv[1]) if len(sys.argv) > 1 else 8000, log_level="warning")
