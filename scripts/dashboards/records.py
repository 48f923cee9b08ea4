"""The dashboard of records: are all predictions kept, and do they reach their sinks?"""

from dashboards.building import Board, Panel

RECORDS = Board(
    name="records",
    title="Records",
    text="Whether every prediction is recorded, and how far the records are shipped to each sink.",
    chosen_by="records_lag_records",
    variables={"sink": 'label_values(records_lag_records{job="$job"}, sink)'},
    rows={
        "Now": (
            Panel(
                "Predictions without a record",
                {"unlogged": 'sum(increase(predictions_unlogged_total{job="$job"}[$__range]))'},
                "In the time that is shown: given, and lost to monitoring and feedback.",
                "number",
                limits=(1, 0.5),
                width=5,
            ),
            Panel(
                "Instances without room",
                {"full": 'sum(records_full{job="$job"})'},
                "They refuse predictions, or give them without a record.",
                "number",
                limits=(1, 0.5),
                width=5,
            ),
            Panel(
                "Refused for good",
                {"{{sink}}": 'sum by (sink) (records_dead_letters{job="$job",sink=~"$sink"})'},
                "Dead letters: kept with their reason, and sent again by `ml-service records replay`.",
                "number",
                limits=(1, 0.5),
                width=5,
            ),
            Panel(
                "Set aside",
                {
                    "lines that are no records": 'sum(records_quarantined{job="$job"})',
                    "segments of another format": 'sum(records_foreign_segments{job="$job"})',
                },
                "For somebody to look at.",
                "number",
                limits=(1, 0.5),
                width=9,
            ),
        ),
        "Recording": (
            Panel(
                "Records written",
                {"{{instance}}": 'sum by (instance) (rate(records_appended_total{job="$job"}[$__rate_interval]))'},
                "To local files, of predictions and of feedback.",
                "stacked",
                "cps",
            ),
            Panel(
                "Local files",
                {"{{instance}}": 'max by (instance) (records_waiting_bytes{job="$job"})'},
                "What waits for sinks. No more is taken beyond `records.max_bytes`, 1 GiB by default.",
                unit="bytes",
            ),
            Panel(
                "Faults of the disk",
                {
                    "failed syncs, {{instance}}": (
                        'sum by (instance) (increase(records_failed_syncs_total{job="$job"}[$__rate_interval]))'
                    ),
                    "torn bytes, {{instance}}": (
                        'sum by (instance) (increase(records_torn_bytes_total{job="$job"}[$__rate_interval]))'
                    ),
                },
                "Torn ends of files are left behind by power losses and killed processes.",
            ),
        ),
        "Shipping": (
            Panel(
                "How far behind, in time",
                {"{{sink}}, {{instance}}": ('max by (sink, instance) (records_lag_seconds{job="$job",sink=~"$sink"})')},
                "Age of the oldest record that a sink has not taken. Nothing is lost by it.",
                unit="s",
                limits=(6 * 3600, 300),
                width=12,
            ),
            Panel(
                "How far behind, in records",
                {"{{sink}}, {{instance}}": ('max by (sink, instance) (records_lag_records{job="$job",sink=~"$sink"})')},
                "While a sink catches up, this falls.",
                width=12,
            ),
        ),
    },
)
