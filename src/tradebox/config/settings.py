"""One typed, frozen Settings: every field with its bounds and its unit in its name.

Rules of this file:
- an unknown key, a wrong type or an impossible combination is refused;
- the default of every field is safe; secrets are SecretStr and never printed;
- the message of a combination names the field, the value and the fix.
"""

import re
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, model_validator

from tradebox.config.backtest import BacktestSettings, Letter

Profile = Literal["sim", "paper", "live"]

FORBIDDEN_SIM_PORTS = frozenset({4001, 4002, 7496, 7497})
"""Ports of real gateways: profile sim refuses them."""

WINDOW_PATTERN = re.compile(r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun) ([01]\d|2[0-3]):[0-5]\d [1-9]\d{0,3}")
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Share = Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)]
Port = Annotated[int, Field(ge=1, le=65535)]


class Section(BaseModel):
    """A frozen group of settings that refuses unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


class LogSettings(Section):
    """Log files under the home."""

    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    file_mb_max: Positive = 20
    files_max: Annotated[int, Field(ge=1, le=1000)] = 10


class PostgresSettings(Section):
    """PostgreSQL: embedded where no URL is given. The URL is the owner's; roles are ours."""

    url: SecretStr | None = None
    memory_mb: Annotated[int, Field(ge=16)] | None = None
    connect_timeout_s: Positive = 5.0


class RedisSettings(Section):
    """Redis or Valkey: embedded where no URL is given. console_url: a read-only login of it."""

    url: SecretStr | None = None
    console_url: SecretStr | None = None
    memory_mb: Annotated[int, Field(ge=8)] = 256


class SimSettings(Section):
    """The stand-in world of profile sim."""

    demo_plans: bool = True
    speed: Annotated[float, Field(ge=0.1, le=200, allow_inf_nan=False)] = 20.0
    seed: int = 1


class FinnhubSettings(Section):
    """Finnhub access. URLs are set by the sim in profile sim.

    key_second: another key's socket beside the first: twice the symbols. rotating: so many places
    of a connection go round among the symbols that find none, each for rotate_s.
    """

    key: SecretStr | None = None
    rest_url: str = "https://finnhub.io/api/v1"
    ws_url: str = "wss://ws.finnhub.io"
    symbols_max: Annotated[int, Field(ge=1, le=2000)] = 45
    silent_s_max: Positive = 150.0
    key_second: SecretStr | None = None
    rotating: Annotated[int, Field(ge=0, le=2000)] = 5
    rotate_s: Positive = 60.0


class AlphaVantageSettings(Section):
    """Alpha Vantage access. plan: what the key was bought for; free sees closed days only.

    calls_per_day: of a free key, calls_reserved of them for held positions. No key: not used.
    """

    key: SecretStr | None = None
    url: str = "https://www.alphavantage.co"
    plan: Literal["free", "delayed", "realtime"] = "free"
    calls_per_day: Annotated[int, Field(ge=1, le=100_000)] = 25
    calls_reserved: Annotated[int, Field(ge=0, le=100_000)] = 10
    poll_s: Positive = 60.0

    @model_validator(mode="after")
    def _reserve_fits(self) -> Self:
        if self.calls_reserved > self.calls_per_day:
            raise ValueError(
                f"alphavantage.calls_reserved={self.calls_reserved} is more than"
                f" calls_per_day={self.calls_per_day}: lower it"
            )
        return self


class YahooSettings(Section):
    """Yahoo by yfinance, in a process of its own. answer_s_max: then that process is replaced.

    history_kept_h: how long fetched history may be used again.
    """

    enabled: bool = True
    poll_s: Positive = 20.0
    symbols_max: Annotated[int, Field(ge=1, le=500)] = 50
    answer_s_max: Positive = 10.0
    history_kept_h: Positive = 6.0


VendorName = Literal["finnhub", "alphavantage", "yahoo", "ib"]


class FilterSettings(Section):
    """Limits of the sanity checks; ages and spans in market seconds.

    spike_share_max: what the first price of a day or after a pause may be away from the last one;
    step_share_max: what any other may be at most; first_share_max: what a first price may be away
    without a second one that agrees. increment_micros: the smallest price step of the asset class;
    a hundredth of it below 1. luld_tier: which bands are assumed for every stock: 2 is 10 % above
    3 USD, 1 (S&P 500, Russell 1000) is 5 %. conditions_*: sale conditions by source; nothing is
    assumed of codes whose meaning a vendor does not publish. flag_days, refusal_days: how long the
    database keeps what was flagged, and what was refused.
    """

    future_s_max: Positive = 2.0
    future_coarse_s_max: Positive = 5.0
    late_s_max: Positive = 1.0
    stale_s_max: Positive = 15.0
    duplicate_window_s: Positive = 2.0
    spike_share_max: Share = 0.03
    step_share_max: Share = 0.015
    first_share_max: Share = 0.01
    confirm_ticks: Annotated[int, Field(ge=2, le=8)] = 3
    confirm_span_s: Positive = 2.0
    confirm_band_bps: Positive = 30.0
    hold_s_max: Positive = 30.0
    increment_micros: Annotated[int, Field(ge=1, le=1_000_000)] = 10_000
    crossed_s_max: Positive = 1.0
    spread_median_multiple: Annotated[int, Field(ge=2, le=1000)] = 50
    spread_share_max: Share = 0.05
    quote_s_max: Positive = 5.0
    luld_tier: Literal[1, 2] = 2
    split_tolerance_share: Share = 0.02
    frozen_s: Positive = 300.0
    dispute_band_bps: Positive = 50.0
    dispute_s: Positive = 3.0
    conditions_ineligible: dict[VendorName, tuple[str, ...]] = {}
    conditions_auction: dict[VendorName, tuple[str, ...]] = {}
    flag_days: Annotated[int, Field(ge=1, le=3650)] = 2
    refusal_days: Annotated[int, Field(ge=1, le=3650)] = 30


class IbQuoteSettings(Section):
    """Quotes of the broker, by the paper account's gateway, under a client id of their own.

    lines_max: market data lines that we may use; the login's other programs share them.
    """

    enabled: bool = True
    client_id: Annotated[int, Field(ge=1, le=31)] = 21
    lines_max: Annotated[int, Field(ge=1, le=2000)] = 100


class FeedSettings(Section):
    """Feed pair, publisher and filter. swap_period_s: between planned swaps of the pair."""

    filter: FilterSettings = FilterSettings()
    publish_period_ms: Annotated[int, Field(ge=5, le=1000)] = 20
    price_ttl_ms: Annotated[int, Field(ge=100)] = 15_000
    hang_ms_max: Positive = 1000.0
    swap_period_s: Positive = 86_400.0


class TierSettings(Section):
    """Which vendor serves, and when it changes; times in real seconds, ages by source.

    order: best first; a vendor that is not named is not used. grace_s: how long the serving one
    may be silent. failback_s: how long a better one must be well again. agree_bps: how far the
    two may then be apart. switches_per_hour: of one symbol; then it stays where it is.
    pause_s: how long a provider that fails is let alone, doubled up to pause_s_max.
    *_s_max: the oldest price that is live; quiet_s_max: of a symbol that trades rarely.
    probe_symbol: liquid, asked of a vendor that comes back.
    """

    order: tuple[Literal["finnhub", "alphavantage", "yahoo"], ...] = (
        "finnhub",
        "alphavantage",
        "yahoo",
    )
    grace_s: Positive = 5.0
    failback_s: Positive = 60.0
    dwell_s: Positive = 120.0
    switches_per_hour: Annotated[int, Field(ge=1, le=60)] = 4
    agree_bps: Positive = 50.0
    answer_s_max: Positive = 10.0
    pause_s: Positive = 15.0
    pause_s_max: Positive = 300.0
    ib_s_max: Positive = 5.0
    ib_quiet_s_max: Positive = 60.0
    quiet_s_max: Positive = 120.0
    alphavantage_s_max: Positive = 130.0
    yahoo_s_max: Positive = 90.0
    probe_symbol: str = "SPY"

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if not self.order or len(set(self.order)) != len(self.order):
            raise ValueError(
                f"tiers.order={','.join(self.order)!r}: name each vendor once, at least one"
            )
        if self.pause_s_max < self.pause_s:
            raise ValueError(
                f"tiers.pause_s_max={self.pause_s_max:g}: at least pause_s={self.pause_s:g}"
            )
        return self


class BarsSettings(Section):
    """Minute bars of admitted prices in PostgreSQL; whole months older than that are dropped."""

    enabled: bool = True
    retention_days: Annotated[int, Field(ge=31, le=36_500)] = 400


class TapeSettings(Section):
    """The recorder: each day's admitted trades as a file under the home; days_max files stay."""

    enabled: bool = False
    days_max: Annotated[int, Field(ge=1, le=3650)] = 20


class ManagerSettings(Section):
    """The redundancy managers' probe periods."""

    probe_live_s: Positive = 5.0
    probe_s: Positive = 30.0
    beat_s: Positive = 1.0
    lease_s: Positive = 3.0


class LimitSettings(Section):
    """Limits of the order gate, per account."""

    order_quantity_max: Annotated[int, Field(ge=1)] = 10_000
    order_notional_usd_max: Positive = 100_000.0
    position_notional_usd_max: Positive = 100_000.0
    gross_notional_usd_max: Positive = 500_000.0
    open_risk_nlv_share_max: Share = 0.05
    day_loss_nlv_share_max: Share = 0.03
    orders_per_s_max: Annotated[int, Field(ge=1, le=45)] = 10
    orders_per_min_max: Annotated[int, Field(ge=1)] = 120
    orders_per_day_max: Annotated[int, Field(ge=1)] = 2000
    price_collar_share_max: Share = 0.05
    stop_distance_share_max: Share = 0.25
    spread_share_max: Share = 0.02
    tick_age_s_max: Positive = 15.0
    rejects_per_symbol_max: Annotated[int, Field(ge=1)] = 3
    rejects_max: Annotated[int, Field(ge=1)] = 5
    drawdown_nlv_share_max: Share = 0.10
    stops_in_row_max: Annotated[int, Field(ge=1)] = 8
    initial_margin_share: Share = 0.5
    volume_share_max: Share | None = 0.02
    close_collar_share_max: Share | None = 0.3
    clock_skew_s_max: Positive = 2.0
    repeat_s_min: Positive = 1.0
    entries_per_symbol_min_max: Annotated[int, Field(ge=1)] = 20
    rate_latch_max: Annotated[int, Field(ge=5)] = 50


NIGHTLY_WINDOWS = (
    *(f"{day} 00:15 90" for day in ("Mon", "Tue", "Wed", "Thu", "Fri", "Sun")),
    "Fri 23:00 240",
    "Sun 01:00 60",
)
"""IB's published resets of its North American servers, and the weekly login; New York time."""


def _window(text: str) -> str:
    if not WINDOW_PATTERN.fullmatch(text):
        raise ValueError(f"{text!r} is no window: write day, start and minutes: Mon 00:15 90")
    return text


Window = Annotated[str, AfterValidator(_window)]


class AccountSettings(Section):
    """One broker account and its gateway. In profile sim the sim fills account and port."""

    account: str | None = None
    host: str = "127.0.0.1"
    port: Port | None = None
    client_id: Annotated[int, Field(ge=1, le=31)] = 11
    limits: LimitSettings = LimitSettings()
    entry_partial_wait_s: Positive = 10.0
    """For the rest of an entry whose filled part its stop covers; a bare part has 2 s."""
    exit_collar_share: Share = 0.01
    heartbeat_s: Positive = 10.0
    heartbeat_deadline_s: Positive = 5.0
    snapshot_deadline_s: Positive = 10.0
    absence_gap_s: Positive = 3.0
    shorts_allowed: bool = False
    windows: tuple[Window, ...] = NIGHTLY_WINDOWS
    window_freeze_min: Annotated[int, Field(ge=0, le=120)] = 5
    reconcile_period_s: Positive = 3600.0


class PaperSettings(AccountSettings):
    """The paper account. auto_arm: `tradebox scan` arms what it proposes, without an approval.

    grade_min: the worst grade that is proposed. shorts_allowed: whether plans may sell short.
    """

    shorts_allowed: bool = True

    auto_arm: bool = False
    grade_min: Letter = "C"


class LiveSettings(AccountSettings):
    """The live account: also needs `enabled` and, at start, two more yes's.

    grade_min: the worst grade that may be approved; a plan added by hand (manual) needs none.
    shorts_allowed: whether plans may sell short.
    """

    enabled: bool = False
    grade_min: Letter = "B"
    client_id: Annotated[int, Field(ge=1, le=31)] = 12
    first_day_notional_usd_max: Positive = 1_000.0
    first_day_cap_waived: bool = False


class LauncherSettings(Section):
    """The launcher's leash and budgets."""

    leash_ms: Annotated[int, Field(ge=50, le=60_000)] = 1000
    deaths_max: Annotated[int, Field(ge=1)] = 5
    deaths_period_s: Positive = 30.0
    stop_s_max: Positive = 5.0


class Settings(Section):
    """All settings of one run."""

    profile: Profile = "sim"
    log: LogSettings = LogSettings()
    postgres: PostgresSettings = PostgresSettings()
    redis: RedisSettings = RedisSettings()
    sim: SimSettings = SimSettings()
    finnhub: FinnhubSettings = FinnhubSettings()
    alphavantage: AlphaVantageSettings = AlphaVantageSettings()
    yahoo: YahooSettings = YahooSettings()
    ibquotes: IbQuoteSettings = IbQuoteSettings()
    feed: FeedSettings = FeedSettings()
    tiers: TierSettings = TierSettings()
    bars: BarsSettings = BarsSettings()
    tape: TapeSettings = TapeSettings()
    managers: ManagerSettings = ManagerSettings()
    paper: PaperSettings = PaperSettings()
    live: LiveSettings = LiveSettings()
    launcher: LauncherSettings = LauncherSettings()
    backtest: BacktestSettings = BacktestSettings()

    @model_validator(mode="after")
    def _possible_together(self) -> Self:
        if self.profile == "sim":
            for name, account in (("paper", self.paper), ("live", self.live)):
                if account.port in FORBIDDEN_SIM_PORTS:
                    raise ValueError(
                        f"{name}.port={account.port} belongs to a real gateway and profile sim"
                        " never talks to one: remove it or choose --profile paper"
                    )
        if self.profile in ("paper", "live"):
            if self.paper.account is None:
                raise ValueError(f"profile {self.profile} needs paper.account (DU…): set it")
            if self.finnhub.key is None:
                raise ValueError(f"profile {self.profile} needs finnhub.key: set it")
        if self.profile == "live" and not (self.live.enabled and self.live.account):
            raise ValueError("profile live needs live.enabled=true and live.account (U…): set both")
        owners: dict[int, str] = {}
        for name, client_id in (
            ("paper.client_id", self.paper.client_id),
            ("live.client_id", self.live.client_id),
            ("ibquotes.client_id", self.ibquotes.client_id),
        ):
            if client_id in owners:
                raise ValueError(
                    f"{owners[client_id]} and {name} are both {client_id}: give each its own"
                )
            owners[client_id] = name
        return self
