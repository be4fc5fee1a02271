"""Settings: `medal.yaml` in the working directory, overridden by MEDAL_* environment variables.

The only module that reads the environment. An unknown key in the file is an error. Nested keys use a double
underscore in the environment: `MEDAL_STORE__KIND=dynamodb`.
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
import os
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict
from pydantic_settings import SettingsError as EnvironmentError_

from jobs.errors import SettingsError


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class StoreSettings(_Section):
    """The store the PDP reads."""

    kind: Literal["sqlite", "dynamodb"] = "sqlite"
    path: Path = Path("var/store/pdp.sqlite")
    """SQLite file (kind sqlite)."""
    endpoint_url: str | None = None
    """DynamoDB endpoint; none means the AWS one of the region."""
    region: str = "eu-central-1"
    table_prefix: str = "medal"


class CatalogSettings(_Section):
    """What the plan accepts of a catalogue."""

    max_rejected_share: float = Field(0.05, ge=0, le=1)
    """More rejected rows than this stops the run (exit 4)."""
    group_id_pattern: str | None = None
    """Regular expression whose first group, found in an item_id, is the group_id where the catalogue gives none."""
    columns: dict[str, str] = {}
    """The contract's column -> the file's, for a catalogue in no known format; docs/catalog.md."""


class PreflightSettings(_Section):
    """How much of a catalogue may change since the last planned date; more stops a plan (exit 4)."""

    products: int = Field(50, ge=1)
    """A catalogue that had fewer is not judged."""
    departed: float = Field(0.3, ge=0, le=1)
    sold_out: float = Field(0.5, ge=0, le=1)
    """Of those that were in stock."""
    prices: float = Field(0.1, ge=0, le=1)
    price_factor: float = Field(5.0, gt=1)
    """A price that many times higher or lower counts."""
    images: float = Field(0.5, ge=0, le=1)


class Limit(_Section):
    """A class of failures is over its budget where it exceeds both."""

    count: int = Field(50, ge=0)
    share: float = Field(0.1, ge=0, le=1)
    """Of the images that a night has to read."""


class BudgetSettings(_Section):
    """How many images may fail on a night before the run stops."""

    passing: Limit = Limit()
    """Faults that a later try may not meet; over it: exit 5."""
    broken: Limit = Limit()
    """Images that are missing or no images; over it: exit 4."""


class ImageSettings(_Section):
    """Where images may come from, and how long their sources are waited for (docs/images.md)."""

    schemes: list[Literal["folder", "s3", "https", "http"]] = ["folder", "s3", "https", "http"]
    allow_networks: list[str] = []
    """Networks that HTTP may ask although they are private, such as 10.2.0.0/16; never a cloud's metadata service."""
    trust_updated_at: bool = True
    """An image on the web whose catalogue row gives updated_at is not asked for while that stays the same."""
    max_bytes: int = Field(52_428_800, ge=1, le=52_428_800)
    """A larger image is refused, before and after decompression."""
    per_host: int = Field(8, ge=1)
    """Requests at once to one host."""
    list_threads: int = Field(64, ge=1)
    """Requests at once while images are listed, over all hosts."""
    s3_connections: int = Field(32, ge=1)
    redirects: int = Field(5, ge=0)
    tries: int = Field(4, ge=1)
    """Of one image on one night, with full-jitter back-off between them."""
    connect_s: float = Field(5.0, gt=0)
    read_s: float = Field(10.0, gt=0)
    """Without a byte."""
    item_s: float = Field(30.0, gt=0)
    """For one image: all tries, redirects and waits between them."""
    stage_s: float = Field(14_400.0, gt=0)
    """For all images of a listing, and again of an embed stage; what is left then waits for another night."""

    @field_validator("allow_networks")
    @classmethod
    def _networks(cls, networks: list[str]) -> list[str]:
        for text in networks:
            try:
                ipaddress.ip_network(text)
            except ValueError as e:
                raise ValueError(f"{text} is no network such as 10.2.0.0/16 or fd12::/48: {e}") from e
        return networks


class EmbedSettings(_Section):
    device: Literal["auto", "cpu", "cuda"] = "auto"
    shards: int = Field(1, ge=1, le=1000)
    """Parts that the nightly DAG deals the stage into, to run at once (docs/airflow.md); only the DAG reads it."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Of the backbone. auto: bfloat16 on a GPU where the check passes, else float32."""
    compile: bool = True
    """On a GPU: the network is compiled, once a start."""
    batch_size: int | None = Field(None, ge=1)
    """Fixed shape of every batch; the last one is padded. None: 8 on a CPU, 256 on a GPU."""
    slice_size: int = Field(1024, ge=1)
    """Vectors a commit; a killed run loses at most this many."""
    fetch_threads: int = Field(16, ge=1)
    decode_threads: int = Field(2, ge=1)
    network_threads: int | None = Field(None, ge=1)
    """On a CPU: batches side by side, one core each; none means all cores."""
    ahead_mib: int = Field(256, ge=1)
    """Bytes of photos fetched before they are decoded, at most."""
    stall_s: float = Field(300.0, gt=0)
    """No image moves for this long: the run stops and names the stage (exit 5)."""
    time_box_s: float | None = Field(None, gt=0)
    """After this long no further image is taken up; what is left waits for the next night. None: no limit."""
    budget: BudgetSettings = BudgetSettings()
    cost_per_hour: float | None = Field(None, ge=0)
    """What an hour of the machine costs; gives the figure cost_per_1000."""
    retry_days: int = Field(1, ge=1)
    """First wait of a quarantined image; doubles with every attempt, to 30 days."""


class ListSettings(_Section):
    k: int = Field(24, ge=1, le=200)
    depth: int = Field(64, ge=1)
    """Candidates kept for each product and target category, before `finish()`."""
    fallback: bool = True
    """A product without a vector asks with a variant's, its product type's or its category's."""
    per_brand: int = Field(0, ge=0)
    """At most this many of one brand in a list; 0: any number."""
    per_look: int = Field(0, ge=0)
    """At most this many that look alike in a list; 0: any number."""
    look: float = Field(0.95, gt=0.0, le=1.0)
    """Inner product of two vectors from which products look alike."""
    slot_order: Path | None = None
    """An order of the target categories, from `medal slot-order`; none means the taxonomy's."""
    explore: float = Field(0.0, ge=0.0, le=0.5)
    """Share of a list's places for products that are new, by lot; 0: none."""
    explore_days: int = Field(14, ge=1, le=365)
    """Days from the night that first gave a product a vector in which it is new."""
    explore_seed: int = Field(0, ge=0)
    """Another one draws other lots."""
    full_from_share: float = Field(0.3, ge=0.0, le=1.0)
    """A night with a larger share of new or changed products makes all lists anew."""
    compact_nights: int = Field(6, ge=0)
    """Nights in a row that write changed lists alone, before a slice is written as a whole again."""
    engine: Literal["blas", "faiss", "ivf", "hnsw"] = "blas"
    """Who proposes neighbours: `blas` and `faiss` search exactly, with the same lists; the others miss some."""
    beyond: Literal["exact", "ivf", "hnsw"] = "exact"
    """Who proposes on a night that would compare more than `exact_pairs` pairs exactly."""
    exact_pairs: int = Field(10**12, ge=0)
    exact_rows: int = Field(100_000, ge=0)
    """Target categories of up to this many possible targets are searched exactly whatever the engine."""
    effort: float = Field(1.0, gt=0.0)
    """How much of an index is looked at: more is slower and misses less."""
    query_block: int = Field(4096, ge=1)
    base_block: int = Field(65536, ge=1)

    def search_stamp(self) -> list[object]:
        """The settings that decide whether a search misses something, and what; nothing where it is exact anyway."""
        if self.engine in ("blas", "faiss") and self.beyond == "exact":
            return []
        engine = "exact" if self.engine in ("blas", "faiss") else self.engine
        return [engine, self.beyond, self.exact_pairs, self.exact_rows, self.effort]


class SparkSettings(_Section):
    master: str = "local[*]"
    driver_memory: str = "3g"
    jars_dir: Path = Path(".jars")
    """Where `make install` keeps the Delta and S3A jars."""
    partitions: int | None = None
    """Spark tasks of the search; none means by the work there is, at most four for each core."""
    archive: Path | None = None
    """A cluster's executors get this project from it (`python -m jobs.spark archive FILE.zip`); none: installed."""
    executor_python: str | None = None
    """The interpreter on the executors, with the packages of the extra `lists`; none: at the driver's path."""
    conf: dict[str, str] = {}
    """Any property of Spark, such as spark.executor.memory; wins over the job's own."""

    @field_validator("conf")
    @classmethod
    def _spark_properties(cls, conf: dict[str, str]) -> dict[str, str]:
        if other := [key for key in conf if not key.startswith("spark.")]:
            raise ValueError(f"{other[0]} is no property of Spark; they start with spark.")
        return conf


class GateSettings(_Section):
    """Thresholds of the gate; what the suites refer to by name."""

    min_coverage: float = Field(0.9, ge=0, le=1)
    """filled / feasible over all lists."""
    min_category_coverage: float = Field(0.8, ge=0, le=1)
    min_vector_share: float = Field(0.8, ge=0, le=1)
    """Eligible products that have a vector."""
    max_mean_cosine: float = Field(0.95, gt=0, le=1)
    """Mean cosine between the visual parts of two products; 1 means that all look the same to the model."""
    min_distinct_vectors: float = Field(0.5, ge=0, le=1)
    """Distinct vectors / distinct images."""
    min_effective_rank: float = Field(2.0, ge=0)
    """Directions the vectors spread over (participation ratio of their covariance)."""
    min_recall: float = Field(0.95, ge=0, le=1)
    """Of approximate proposals, in every target category: found / best k by exact search, on sampled pages."""
    recall_pages: int = Field(300, ge=1)
    """Pages of that sample."""
    suites_dir: Path | None = None
    """Where the expectation suites are; none means the ones in `schemas/suites`."""


class LeaseSettings(_Section):
    ttl_s: float = Field(60.0, gt=0)
    """A lease not renewed for this long may be taken over."""


class Settings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="MEDAL_", env_nested_delimiter="__", extra="forbid", frozen=True)

    lake: str = "var/lake"
    """The lake's root: a folder or s3://bucket/prefix."""
    s3_endpoint_url: str | None = None
    time_zone: str = "Europe/Berlin"
    """The shop's; `run_date` is a date in it."""
    taxonomy: Path | None = None
    """A taxonomy of the shop's own; none means `schemas/taxonomy.yaml`."""
    rules: Path | None = None
    """The shop's merchandising rules (rules.yaml, docs/rules.md); none means no rules."""
    public_url: str = "http://127.0.0.1:8765"
    """Where `medal serve` is reached; printed in summaries."""
    fault: str | None = None
    """Name of a fault point at which the process kills itself; for crash tests only."""
    store: StoreSettings = StoreSettings()
    catalog: CatalogSettings = CatalogSettings()
    images: ImageSettings = ImageSettings()
    preflight: PreflightSettings = PreflightSettings()
    embed: EmbedSettings = EmbedSettings()
    lists: ListSettings = ListSettings()
    spark: SparkSettings = SparkSettings()
    gate: GateSettings = GateSettings()
    lease: LeaseSettings = LeaseSettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return env_settings, init_settings  # the environment wins over medal.yaml

    def fingerprint(self) -> str:
        """Hash of the settings that can change a result; the rest may change between runs freely."""
        relevant = {
            "k": self.lists.k,
            "depth": self.lists.depth,
            "fallback": self.lists.fallback,
            "caps": [self.lists.per_brand, self.lists.per_look, self.lists.look],
            "search": self.lists.search_stamp(),
            "explore": [self.lists.explore, self.lists.explore_days, self.lists.explore_seed],
            "gate": self.gate.model_dump(mode="json"),
            "retry_days": self.embed.retry_days,
            "max_rejected_share": self.catalog.max_rejected_share,
        }
        return hashlib.sha256(json.dumps(relevant, sort_keys=True).encode()).hexdigest()[:16]


class Launch(_Section):
    """This process' place among those that torchrun started; see torch's documentation of torchrun."""

    rank: int = Field(ge=0)
    local_rank: int = Field(ge=0)
    """Its number on this machine: its GPU."""
    world_size: int = Field(ge=1)
    master_addr: str
    master_port: int = Field(ge=1, le=65535)
    agent_store: bool = False
    """The launcher, and not the first process, serves the store that all meet at."""
    restart_count: int = Field(0, ge=0)


def read_launch() -> Launch | None:
    """Where torchrun put this process; None where it did not start it. Raises SettingsError naming the variable."""
    if not {"RANK", "WORLD_SIZE"} <= set(os.environ):
        return None
    names = {
        "rank": "RANK", "local_rank": "LOCAL_RANK", "world_size": "WORLD_SIZE", "master_addr": "MASTER_ADDR",
        "master_port": "MASTER_PORT", "agent_store": "TORCHELASTIC_USE_AGENT_STORE",
        "restart_count": "TORCHELASTIC_RESTART_COUNT",
    }  # fmt: skip
    try:
        launch = Launch(**{key: os.environ[name] for key, name in names.items() if name in os.environ})
    except ValidationError as e:
        first = e.errors()[0]
        raise SettingsError(
            f"{names[str(first['loc'][0])]}: {first['msg']}; start several processes by torchrun (docs/training.md), "
            "or unset RANK and WORLD_SIZE"
        ) from e
    if launch.rank >= launch.world_size:
        raise SettingsError(f"RANK={launch.rank} is not below WORLD_SIZE={launch.world_size}; start them by torchrun")
    return launch


def load_settings(path: Path | None = None) -> Settings:
    """Settings from `medal.yaml` (or `path`, or $MEDAL_CONFIG) and the environment.

    Raises SettingsError naming file and key.
    """
    given = path or (Path(os.environ["MEDAL_CONFIG"]) if os.environ.get("MEDAL_CONFIG") else None)
    file = given or Path("medal.yaml")
    raw: dict[str, Any] = {}
    if file.exists():
        try:
            raw = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
        except (OSError, yaml.YAMLError) as e:
            raise SettingsError(f"{file}: cannot be read as YAML: {e}") from e
        if not isinstance(raw, dict):
            raise SettingsError(f"{file}: must be a mapping of settings; see docs/settings.md")
    elif given is not None:
        raise SettingsError(f"{file}: no such settings file; unset MEDAL_CONFIG or create it")
    try:
        return Settings(**raw)
    except EnvironmentError_ as e:
        raise SettingsError(
            f"MEDAL_* environment: {e}; a section takes its keys one by one, like MEDAL_STORE__KIND=sqlite"
        ) from e
    except ValidationError as e:
        first = e.errors()[0]
        key = ".".join(str(p) for p in first["loc"])
        raise SettingsError(f"{file} or MEDAL_* environment: {key}: {first['msg']}; see docs/settings.md") from e
