"""For people who watch machines: are they themselves, and how much may that answer be trusted?"""

from grafana_foundation_sdk.builders import dashboard
from panels import (
    BAD,
    CALM,
    WARN,
    Panel,
    bars,
    board,
    choice,
    coloured,
    heat,
    lines,
    listing,
    logarithmic,
    number,
    stacked,
    words,
)

ME = 'job="$job"'
RARE = "detector_score_rarity_decades"

WHICH = """No figure here names a machine: there may be a hundred thousand. Each alert does, on \
the topic `alerts`; the worst that are open now, most unusual first:

```sh
kafka-console-consumer.sh --bootstrap-server BROKER --topic alerts \\
    --from-beginning --isolation-level read_committed --timeout-ms 5000 |
  jq -rs 'group_by(.id) | map(last) | map(select(.status != "close"))
    | sort_by(.probability, -.score)[:20][]
    | [.severity, .stream, .kind, .opened_at, .channels[0].name] | @tsv'
```

`detector state ls` lists all machines, and which of them are in alert.
"""


def machines() -> dashboard.Dashboard:
    """Return the dashboard."""
    made = board(
        "Detector: machines",
        "detector-machines",
        "Alerts open and told, how unusual readings are, and which model judges them.",
        "now-6h",
    ).with_variable(choice("kind", "Evidence", f"label_values({RARE}_count{{{ME}}}, kind)",
                           several=True))  # fmt: skip
    for panel in (*_numbers(), *_alerts(), *_scores(), *_trust()):
        made.with_panel(panel)
    return made


def _numbers() -> list[Panel]:
    opened = f'sum(increase(detector_alerts_total{{{ME}, status="open"}}[$__range]))'
    return [
        number("Machines", "Streams whose state is held.",
               f"sum(detector_streams{{{ME}}})"),
        number("In alert", "Machines with at least one open alert.",
               f"sum(detector_alerting_streams{{{ME}}})", steps=[(None, CALM), (1, WARN)]),
        number("Critical", "Open alerts that a normal machine would not reach in a "
               "hundred times the time.",
               f'sum(detector_open_alerts{{{ME}, severity="critical"}})',
               steps=[(None, CALM), (1, BAD)]),
        number("New alerts", "In the time that is shown.", opened, decimals=0),
        number("Readings/min", "That were scored.",
               f"60 * sum(rate(detector_readings_total{{{ME}}}[$__rate_interval]))"),
        number("Delay", "From a reading's own time until all it caused was told: the "
               "middle one of all readings.", _delay(0.5), unit="s",
               steps=[(None, CALM), (60, WARN), (600, BAD)]),
    ]  # fmt: skip


def _alerts() -> list[Panel]:
    by_severity = f"sum by (severity) (detector_open_alerts{{{ME}}})"
    told = f'sum by (kind) (increase(detector_alerts_total{{{ME}, status="open"}}[$__interval]))'
    return [
        coloured(
            stacked(lines("Open alerts", "By severity.", {"{{severity}}": by_severity})),
            {"info": CALM, "warning": WARN, "critical": BAD},
        ).decimals(0),
        bars(
            lines(
                "Alerts opened, by evidence",
                "state: a machine is away from itself, and stays so. onset: something new began. "
                "silent: no readings come. group: many machines at once, told as one.",
                {"{{kind}}": told},
            )
        ),
    ]


def _scores() -> list[Panel]:
    decade = '"[0-9]+[.]0|[+]Inf"'
    buckets = (
        f'sum by (le) (rate({RARE}_bucket{{{ME}, kind="$kind", le=~{decade}}}[$__rate_interval]))'
        f' / scalar(sum(rate({RARE}_count{{{ME}, kind="$kind"}}[$__rate_interval])))'
    )
    total = f"sum(rate({RARE}_count{{{ME}}}[$__rate_interval]))"
    shares = {
        f"rarer than 1 in {10**decades:,}": (
            f"1 - sum(rate({RARE}_bucket{{{ME}, "
            f'le="{float(decades)}"}}[$__rate_interval])) / {total}'
        )
        for decades in (1, 2, 3, 4)
    }
    return [
        heat("How unusual readings are: $kind",
             "Each reading's score, as how rare it is among normal readings: one normal reading "
             "in 10, in 100, in 1,000 scores as high. The darker, the more readings; from one "
             "in 30 on as dark as can be. Alerts open far up.",
             buckets, axis="1 in 10^", most=0.03, width=24).repeat("kind").repeat_direction("h"),
        coloured(logarithmic(
            lines("Share of unusual readings",
                  "While all is normal each line stays near its name: a tenth of the readings is "
                  "rarer than 1 in 10, a hundredth rarer than 1 in 100. If all lines rise for "
                  "hours, the model no longer fits; if the lowest jump, something happened.",
                  shares, unit="percentunit", least=1e-4)),
            dict(zip(shares, (CALM, "yellow", WARN, BAD), strict=True))),
    ]  # fmt: skip


def _trust() -> list[Panel]:
    def a_minute(name: str) -> str:
        return f"60 * sum(rate(detector_{name}_total{{{ME}}}[$__rate_interval]))"

    return [
        lines("Readings that were not judged, a minute",
              "warming up: too few seen of that machine yet. late: older than one already seen. "
              "unreadable: set aside on the topic of dead letters.",
              {"warming up": a_minute("warming_readings"), "late": a_minute("late_readings"),
               "unreadable": a_minute("dead_letters")}),
        words("Which machine is it?", WHICH),
        listing("What judges them", "Every replica, with its model and release.",
                {"model": f"max by (instance, name, version) (detector_model_info{{{ME}}})",
                 "build": f"max by (instance, release) (label_replace(detector_build_info{{{ME}}}, "
                          "'release', '$1', 'version', '(.*)'))"},
                {"instance": "replica", "name": "model", "version": "version",
                 "release": "release"}),
    ]  # fmt: skip


def _delay(share: float) -> str:
    rates = f"sum by (le) (rate(detector_delay_seconds_bucket{{{ME}}}[$__rate_interval]))"
    return f"histogram_quantile({share}, {rates})"
