"""The dashboard of the model: drift, answers, and how right they are."""

from dashboards.building import Board, Panel

QUALITY = Board(
    name="quality",
    title="Model quality and drift",
    text="Whether the model is asked what it was trained on, what it answers, and how right that is.",
    chosen_by="model_info",
    variables={
        "feature": 'label_values(drift_psi{job="$job",role="feature"}, feature)',
        "metric": 'label_values(model_live_metric{job="$job"}, metric)',
    },
    rows={
        "Now": (
            Panel(
                "Features that have drifted",
                {"drifted": 'sum(max by (feature) (drift_alert{job="$job",role="feature"}))'},
                "Far enough off, in enough rows, for long enough: docs/monitoring.md.",
                "number",
                limits=(2, 1),
                width=4,
            ),
            Panel(
                "Answers have drifted",
                {"drifted": 'sum(max by (role) (drift_alert{job="$job",role=~"prediction|confidence"}))'},
                "Predictions or how sure they are, beside those on training's held-out rows.",
                "number",
                limits=(2, 1),
                width=4,
            ),
            Panel(
                "Predictions compared",
                {"rows": 'max(drift_rows{job="$job"})'},
                "Of the window. Too few of them raise no alarm.",
                "number",
                width=4,
            ),
            Panel(
                "Last compared",
                {"{{name}}": 'min by (name) (monitoring_age_seconds{job="$job"})'},
                "Infinite, or growing beyond an hour: see DriftNotComputed in docs/runbook.md.",
                "number",
                "s",
                limits=(3600, 1800),
                width=4,
            ),
            Panel(
                "Predictions with feedback",
                {"{{model_version}}": 'max by (model_version) (model_feedback_coverage{job="$job"})'},
                "How right the model is, is known of this share.",
                "number",
                "percentunit",
                width=4,
            ),
            Panel(
                "Calibration error",
                {"{{model_version}}": 'max by (model_version) (model_live_calibration_error{job="$job"})'},
                "How far probabilities are from the share that was right; classifiers only.",
                "number",
                "percentunit",
                limits=(0.2, 0.1),
                width=4,
            ),
        ),
        "Drift": (
            Panel(
                "Change of each feature",
                {"{{feature}}": 'max by (feature) (drift_psi{job="$job",role="feature",feature=~"$feature"})'},
                "Population stability index since training: 0 is the same, from 0.2 on it matters.",
                limits=(0.2, 0.1),
                width=12,
            ),
            Panel(
                "Alarms",
                {
                    "{{feature}}": 'max by (feature) (drift_alert{job="$job",role="feature",feature=~"$feature"})',
                    "answers: {{role}}": 'max by (role) (drift_alert{job="$job",role=~"prediction|confidence"})',
                },
                "1 is an alarm. `ml-service drift --html` shows the distributions.",
                "states",
                limits=(2, 1),
                width=12,
            ),
            Panel(
                "Change of the answers",
                {"{{role}}": 'max by (role) (drift_psi{job="$job",role=~"prediction|confidence"})'},
                "Beside the answers to training's held-out rows.",
                limits=(0.2, 0.1),
                width=12,
            ),
            Panel(
                "Predictions compared",
                {"rows": 'max(drift_rows{job="$job"})'},
                "Of the window that is compared.",
                width=12,
            ),
        ),
        "Answers": (
            Panel(
                "Predictions by class",
                {"{{prediction}}": 'sum by (prediction) (rate(predictions_total{job="$job"}[$__rate_interval]))'},
                "All rows, of batches too. A regression has no classes, but one line.",
                "stacked",
                "cps",
                width=12,
            ),
            Panel(
                "Share of each class",
                {
                    "{{prediction}}": 'sum by (prediction) (rate(predictions_total{job="$job"}[1h]))'
                    ' / ignoring (prediction) group_left () sum(rate(predictions_total{job="$job"}[1h]))'
                },
                "Over an hour.",
                "stacked",
                "percentunit",
                most=1,
                width=12,
            ),
        ),
        "How right they are": (
            Panel(
                "$metric",
                {
                    "live {{model_version}}": (
                        'max by (model_version) (model_live_metric{job="$job",metric=~"$metric"})'
                    ),
                    "in training {{model_version}}": (
                        'max by (model_version) (model_training_metric{job="$job",metric=~"$metric"})'
                    ),
                },
                "On predictions that have feedback, beside training's held-out rows.",
                repeat="metric",
            ),
        ),
        "Feedback": (
            Panel(
                "Predictions, and those with feedback",
                {
                    "predictions of {{model_version}}": 'max by (model_version) (model_live_predictions{job="$job"})',
                    "with feedback, of {{model_version}}": (
                        'max by (model_version) (model_live_predictions{job="$job"})'
                        ' * max by (model_version) (model_feedback_coverage{job="$job"})'
                    ),
                },
                "Of the window of monitoring.",
                width=12,
            ),
            Panel(
                "Delay of feedback",
                {"{{quantile}}": ('max by (quantile, model_version) (model_feedback_delay_seconds{job="$job"})')},
                "From prediction to feedback. A window that is shorter knows little.",
                unit="s",
                width=12,
            ),
        ),
    },
)
