"""What the data benches say of what they measured."""

from bench import bench_data, data_hour
from bench.data_vendor import Stopwatch


def test_a_window_is_compared_with_the_peace_of_its_own_round():
    def window(us):
        return {"controller": [us] * 100, "reader": [2 * us] * 100}

    rounds = [
        {
            bench_data.PEACE: window(peace_us),
            bench_data.CONTROL: window(peace_us * 1.1),
            bench_data.CONTROLLER: window(peace_us * 0.5),
            bench_data.READER: window(peace_us * 3),
        }
        for peace_us in (100.0, 1000.0, 10.0)
    ]
    found = bench_data.told(rounds, "reader")
    assert found["control_ratio_p99"] == 1.1
    assert found["controller_stopped_ratio_p50"] == 0.5
    assert found["reader_stopped_ratios_p99"] == [3.0, 3.0, 3.0]
    assert found["peace_us"]["count"] == 300
    assert found["peace_us"]["max"] == 2000.0


def test_a_reader_times_prices_by_the_markets_own_clock_and_only_where_it_is_told():
    watch = Stopwatch({"mono_ns": 0, "market_ns": 0})
    blob = {"s": "A", "e": 0, "n": 1}
    watch.see(blob)
    watch.see({**blob, "q": "stale"})
    (took_us,) = watch.taken()
    assert took_us > 0
    assert watch.taken() == []
    watch.see({**blob, "n": 2})
    assert len(watch.taken()) == 1
    idle = Stopwatch({})
    idle.see(blob)
    assert idle.taken() == []


def test_the_tenths_of_an_hour_begin_with_its_first_sample_and_end_with_its_last():
    samples = [data_hour.Sample(float(second), 1.0, second, {}) for second in range(1, 101)]
    found = [one.market_s for one in data_hour._tenths(samples)]
    assert found == [1, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100]
    few = samples[:3]
    assert data_hour._tenths(few) == few
