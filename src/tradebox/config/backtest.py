"""Settings of `tradebox backtest`: resources, layers, costs, risk, and the thresholds of a grade.

Rules of this file:
- what changes a result (layers, splits, costs, risk, grades) is stored with each run;
- what only changes how fast it comes (memory, workers, cores, batches, waits) never enters a hash;
- sizes are bytes: an integer, or a text such as "512MiB" or "4GiB".
"""

import re
from typing import Annotated, Final, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

UNITS: Final = {
    "": 1,
    "b": 1,
    "k": 1 << 10,
    "kib": 1 << 10,
    "kb": 1000,
    "m": 1 << 20,
    "mib": 1 << 20,
    "mb": 1000**2,
    "g": 1 << 30,
    "gib": 1 << 30,
    "gb": 1000**3,
    "t": 1 << 40,
    "tib": 1 << 40,
    "tb": 1000**4,
}
_SIZE: Final = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*")

LAYERS: Final = ("quality", "character", "search", "excursion", "sizing")
"""The smart layers in front of the engine, in their default order."""


def parse_size(text: object) -> object:
    """Return the bytes a size stands for; what is no size is left for pydantic to refuse.

    Example: >>> parse_size("1.5GiB") -> 1610612736
    """
    if not isinstance(text, str):
        return text
    found = _SIZE.fullmatch(text)
    unit = UNITS.get(found[2].lower()) if found else None
    if found is None or unit is None:
        raise ValueError('no size: write bytes, or a number with a unit such as "4GiB"')
    return int(float(found[1]) * unit)


def parse_names(text: object) -> object:
    """Return the names of a comma-separated text, as an environment variable holds them."""
    if not isinstance(text, str):
        return text
    return tuple(name for part in text.split(",") if (name := part.strip()))


Names = Annotated[tuple[str, ...], BeforeValidator(parse_names)]
Bytes = Annotated[int, BeforeValidator(parse_size), Field(gt=0)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Share = Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]
Days = Annotated[int, Field(ge=1, le=36_500)]
Letter = Literal["A", "B", "C", "D"]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


class CostSettings(_Section):
    """What trading costs. spread_*_bps is the whole spread: each side pays half of it."""

    commission_per_share_usd: NotNegative = 0.005
    commission_min_usd: NotNegative = 1.0
    commission_share_max: Share = 0.01
    liquid_usd_per_day: Positive = 50_000_000.0
    thin_usd_per_day: Positive = 2_000_000.0
    spread_liquid_bps: NotNegative = 2.0
    spread_middle_bps: NotNegative = 6.0
    spread_thin_bps: NotNegative = 20.0
    slippage_stop_bps: NotNegative = 5.0
    borrow_bps_per_year: NotNegative = 50.0


class RiskSettings(_Section):
    """How much a simulated plan risks. liquidity_share_max: of a day's median dollar volume."""

    account_usd: Positive = 100_000.0
    risk_share: Share = 0.01
    position_share_max: Share = 1.0
    liquidity_share_max: Share = 0.01


class LetterSettings(_Section):
    """What a letter asks of the out-of-sample results: every line must hold."""

    trades_min: Count = 20
    expectancy_r_min: float = 0.0
    profit_factor_min: NotNegative = 1.0
    drawdown_r_max: Positive = 40.0
    sharpe_min: float = 0.0
    psr_min: Annotated[float, Field(ge=0, le=1)] = 0.5
    dsr_min: Annotated[float, Field(ge=0, le=1)] = 0.0
    costs_doubled_expectancy_r_min: float = -1.0
    neighbour_share_min: Annotated[float, Field(ge=0, le=1)] = 0.0
    positive_splits_min: Annotated[float, Field(ge=0, le=1)] = 0.0


class GradeSettings(_Section):
    """The fixed thresholds of the letters; what reaches none of them is an F."""

    passing: Letter = "B"
    a: LetterSettings = LetterSettings(
        trades_min=40,
        expectancy_r_min=0.20,
        profit_factor_min=1.5,
        drawdown_r_max=12.0,
        sharpe_min=0.8,
        psr_min=0.99,
        dsr_min=0.95,
        costs_doubled_expectancy_r_min=0.10,
        neighbour_share_min=0.7,
        positive_splits_min=0.75,
    )
    b: LetterSettings = LetterSettings(
        trades_min=30,
        expectancy_r_min=0.12,
        profit_factor_min=1.3,
        drawdown_r_max=18.0,
        sharpe_min=0.5,
        psr_min=0.95,
        dsr_min=0.80,
        costs_doubled_expectancy_r_min=0.03,
        neighbour_share_min=0.6,
        positive_splits_min=0.6,
    )
    c: LetterSettings = LetterSettings(
        trades_min=20,
        expectancy_r_min=0.05,
        profit_factor_min=1.1,
        drawdown_r_max=25.0,
        sharpe_min=0.25,
        psr_min=0.85,
        dsr_min=0.50,
        costs_doubled_expectancy_r_min=0.0,
        neighbour_share_min=0.5,
        positive_splits_min=0.5,
    )
    d: LetterSettings = LetterSettings()


class BacktestSettings(_Section):
    """How a backtest works, and what it asks.

    memory_budget: of the whole process tree, by its proportional set size; none = a quarter of the
    machine, at most 4 GiB. workers: none = the share of the cores. cores_share: none = all, or half
    while a controller trades on this home. stock_s_max: after which a stock counts as hung.
    store_wait_s_max: how long a run waits for PostgreSQL before it stops, to be resumed.
    replay: follow each chosen setting through the plan machine too, and say whether its orders are
    the same. delisting_loss_share: of its price that a long position loses in a delisting.
    """

    memory_budget: Bytes | None = None
    workers: Annotated[int, Field(ge=1, le=512)] | None = None
    cores_share: Share | None = None
    batch_stocks_max: Annotated[int, Field(ge=1, le=1000)] = 50
    worker_tasks_max: Count = 400
    worker_private_max: Bytes = 40 << 20
    stock_s_max: Positive = 60.0
    store_wait_s_max: Positive = 300.0
    pressure_wait_share_max: Share = 0.05
    retention_days: Days = 365
    expiry_days: Days = 30
    seed: Annotated[int, Field(ge=0, lt=1 << 63)] = 1
    splits: Annotated[int, Field(ge=4, le=50)] = 5
    layers: Names = LAYERS
    replay: bool = False
    delisting_loss_share: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] = 0.3
    costs: CostSettings = CostSettings()
    risk: RiskSettings = RiskSettings()
    grades: GradeSettings = GradeSettings()

    @model_validator(mode="after")
    def _layers_known_once(self) -> Self:
        unknown = [name for name in self.layers if name not in LAYERS]
        if unknown:
            raise ValueError(
                f"backtest.layers names {unknown[0]}: unknown layer: one of {', '.join(LAYERS)}"
            )
        if len(set(self.layers)) != len(self.layers):
            raise ValueError("backtest.layers names a layer twice: name each once")
        return self
