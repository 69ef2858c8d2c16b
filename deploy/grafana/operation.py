"""For those who operate the detector: does it keep up, is all kept, what goes wrong?"""

from grafana_foundation_sdk.builders import dashboard
from panels import (
    BAD,
    CALM,
    WARN,
    Panel,
    bars,
    board,
    choice,
    lines,
    listing,
    logarithmic,
    number,
    stacked,
)

JOB = 'job="$job"'
ME = 'job="$job", instance=~"$instance"'
RATE = "[$__rate_interval]"


def operation() -> dashboard.Dashboard:
    """Return the dashboard."""
    made = board(
        "Detector: operation",
        "detector-operation",
        "Throughput, lag, delay, state, commits, restores and errors.",
        "now-1h",
    ).with_variable(
        choice("instance", "Replica", f"label_values(detector_build_info{{{JOB}}}, instance)",
               several=True)
    )  # fmt: skip
    for panel in _numbers():
        made.with_panel(panel)
    for title, panels in (
        ("Does it keep up?", _pace()),
        ("Is all kept?", _kept()),
        ("Starts and moves", _moves()),
        ("The models", _models()),
        ("Alerts handed on", _relayed()),
        ("What goes wrong", _errors()),
    ):
        made.with_row(dashboard.Row(title))
        for panel in panels:
            made.with_panel(panel)
    return made


def _numbers() -> list[Panel]:
    firing = 'count(ALERTS{alertname=~"Detector.+", alertstate="firing"}) or vector(0)'
    seen = f"detector_progress_timestamp_seconds{{{JOB}}}"
    standing = f"max(timestamp({seen}) - {seen})"
    return [
        number("Alerts firing", "Of deploy/prometheus/rules.yml, that fire now.", firing,
               steps=[(None, CALM), (1, BAD)]),
        number("Replicas", "That answer to Prometheus.", f"sum(up{{{JOB}}})",
               steps=[(None, BAD), (1, CALM)]),
        number("Lag", "Records not read yet, over all partitions.",
               f"sum(detector_lag_records{{{JOB}}})"),
        number("Catches up in", "What waits, at the pace of the last five minutes.",
               'job:detector_lag_seconds:ratio{job="$job"}', unit="s",
               steps=[(None, CALM), (60, WARN), (600, BAD)]),
        number("Delay, 99 %", "From a reading's own time until all it caused was "
               "delivered.", _quantile(0.99, "detector_delay_seconds"), unit="s",
               steps=[(None, CALM), (60, WARN), (600, BAD)]),
        number("Loop idle for", "The longest of all replicas; the watchdog ends one "
               "at delivery.watchdog_s.", standing, unit="s",
               steps=[(None, CALM), (30, WARN), (150, BAD)]),
    ]  # fmt: skip


def _pace() -> list[Panel]:
    busy = f'detector_stage_seconds_sum{{{ME}, stage!="poll"}}'
    stages = f"avg by (stage) (rate({busy}{RATE}))"
    mean = "sum(rate({0}_sum{{{1}}}{2})) / sum(rate({0}_count{{{1}}}{2}))".format
    return [
        lines("Readings a second", "Scored, by replica.",
              {"{{instance}}": f"sum by (instance) (rate(detector_readings_total{{{ME}}}{RATE}))"}),
        stacked(lines("Where the loop's time goes", "Share of a replica's time. What is missing "
                      "to 100 % it waits for records.", {"{{stage}}": stages},
                      unit="percentunit")),
        lines("Lag by partition", "Records not read yet.",
              {"partition {{partition}}": f"sum by (partition) (detector_lag_records{{{ME}}})"},
              width=8),
        logarithmic(lines("Delay", "From a reading's own time until all it caused was delivered.",
              {"half of them": _quantile(0.5, "detector_delay_seconds"),
               "95 %": _quantile(0.95, "detector_delay_seconds"),
               "99 %": _quantile(0.99, "detector_delay_seconds")}, unit="s", width=8,
              least=None)),
        lines("Batches", "Records that a poll brings of a partition, and streams a step of the "
              "model: the larger, the cheaper each is.",
              {"records a poll": mean("detector_poll_records", ME, RATE),
               "streams a step": mean("detector_tick_streams", ME, RATE)}, width=8),
    ]  # fmt: skip


def _kept() -> list[Panel]:
    def behind(position: str) -> str:
        ahead = f'detector_position_offset{{{ME}, position="read"}}'
        kept = f'detector_position_offset{{{ME}, position="{position}"}}'
        return f"sum({ahead}) - sum({kept})"

    return [
        lines("Not kept yet", "Records read and not committed: read again after a crash. "
                  "Records whose state is not written: replayed, in silence.",
              {"to commit": behind("committed"), "to checkpoint": behind("checkpointed")},
              width=8),
        lines("Commits a second", "deliveries said something or kept state; dropped were of "
              "nothing said, while partitions moved.",
              {"commits": _rate("detector_commits_total"),
               "deliveries": _rate("detector_deliveries_total"),
               "dropped": _rate("detector_dropped_commits_total")}, width=8),
        lines("State written", "Checkpoints to the state topic.",
              {"bytes": _rate("detector_checkpoint_written_bytes_total")}, unit="Bps", width=8),
        lines("Streams", "Held, how many may be, and forgotten: idle, or too many.",
              {"held": f"sum(detector_streams{{{ME}}})",
               "forgotten a minute": "60 * " + _rate("detector_evicted_streams_total")}, width=8),
        lines("Memory", "Of the process, and what of it is streams' state.",
              {"process {{instance}}": f"process_resident_memory_bytes{{{ME}}}",
               "state {{instance}}": f"detector_state_bytes{{{ME}}}"}, unit="bytes", width=8),
        lines("Processor", "Cores in use.",
              {"{{instance}}": f"rate(process_cpu_seconds_total{{{ME}}}{RATE})"}, width=8),
    ]  # fmt: skip


def _moves() -> list[Panel]:
    restored = f"detector_restore_seconds_bucket{{{ME}}}"
    return [
        lines("Partitions", "Held, and of these still being restored.",
              {"held {{instance}}": f"detector_assigned_partitions{{{ME}}}",
               "restoring {{instance}}": f"detector_restoring_partitions{{{ME}}}"}, width=8),
        bars(lines("Partitions begun", "restored and new are good; all others warm up afresh.",
                   {"{{outcome}}": "sum by (outcome) "
                    f"(increase(detector_restores_total{{{ME}}}[$__interval]))"},
                   width=8)),
        lines("The slowest restore", "Since the replicas started: from a partition's assignment "
              "to its state.",
              {"seconds": f"histogram_quantile(1, sum by (le) ({restored}))"}, unit="s", width=8),
    ]  # fmt: skip


def _models() -> list[Panel]:
    changes = f"increase(detector_reloads_total{{{ME}}}[$__interval])"
    beside = f'detector_shadow_readings_total{{{ME}, alerting!="none"}}'
    return [
        lines("Drift of scores", "How far recent scores are from those that a model was "
              "calibrated on: above 0.25 it wants newer history; below 0 scores fell.",
              {"{{model}} {{kind}}": f"avg by (model, kind) (detector_score_drift{{{ME}}})"},
              width=8, least=None),
        bars(lines("Changed while it runs", "Models, candidates and settings: taken, refused, or "
                   "in need of a restart.",
                   {"{{what}} {{outcome}}": f"sum by (what, outcome) ({changes})"}, width=8)),
        lines("A candidate beside", "Readings a second with an alert open: under both models, "
              "under the one that judges alone, under the candidate alone.",
              {"{{alerting}}": f"sum by (alerting) (rate({beside}{RATE}))"}, width=8),
    ]  # fmt: skip


def _relayed() -> list[Panel]:
    done = "increase(detector_relay_alerts_total[$__interval])"
    return [
        bars(lines("Handed on", "Messages about alerts that relays are done with, by receiver and "
                   "by what came of them; refused and unreadable ones are lost to it.",
                   {"{{sink}} {{outcome}}": f"sum by (sink, outcome) ({done})"}, width=8)),
        lines("Alerts that wait", "Messages not handed on yet; a receiver that is away holds its "
              "own relay alone.",
              {"{{job}} {{instance}}": "sum by (job, instance) (detector_relay_lag_records)"},
              width=8),
        lines("The oldest of them", "For how long the oldest message that a relay has read waits.",
              {"{{job}} {{instance}}": "max by (job, instance) (detector_relay_oldest_seconds)"},
              unit="s", width=8),
    ]  # fmt: skip


def _errors() -> list[Panel]:
    def by(label: str, name: str) -> dict[str, str]:
        increase = f"increase({name}{{{ME}}}[$__interval])"
        return {f"{{{{{label}}}}}": f"sum by ({label}) ({increase})"}

    return [
        bars(lines("What the broker did not answer", "Attempts, by what was asked; each is tried "
                   "again.", by("operation", "detector_broker_errors_total"),
                   width=8)),
        bars(lines("Dead letters", "Records set aside, by what is wrong with them.",
                   by("reason", "detector_dead_letters_total"), width=8)),
        bars(lines("Moves of the group", "Polls that moved partitions; partitions that were "
                   "taken unasked.",
                   {"rebalances": f"sum(increase(detector_rebalances_total{{{ME}}}[$__interval]))",
                    "lost": f"sum(increase(detector_lost_partitions_total{{{ME}}}[$__interval]))"},
                   width=8)),
        listing("What runs", "Every replica: model, settings (their hash) and release. They "
                "should agree.",
                {"model": f"max by (instance, name, version) (detector_model_info{{{ME}}})",
                 "config": f"max by (instance, hash) (detector_config_info{{{ME}}})",
                 "build": f"max by (instance, release) (label_replace(detector_build_info{{{ME}}}, "
                          "'release', '$1', 'version', '(.*)'))"},
                {"instance": "replica", "name": "model", "version": "version",
                 "hash": "settings", "release": "release"}, width=24, height=6),
    ]  # fmt: skip


def _rate(name: str) -> str:
    return f"sum(rate({name}{{{ME}}}{RATE}))"


def _quantile(share: float, name: str) -> str:
    return f"histogram_quantile({share}, sum by (le) (rate({name}_bucket{{{ME}}}{RATE})))"
