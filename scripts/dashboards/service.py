"""The dashboard of the service: what is asked, how it is answered, and what it promises."""

from dashboards.building import Board, Panel

PREDICTIONS = 'route=~"/predict|/v2/models/.*/infer"'
NO_PROBES = 'route!~"/health/.*|/v2/health/.*|/metrics|unmatched"'


def _quantile(share: float) -> str:
    http = f'rate(http_request_duration_seconds_bucket{{job="$job",{PREDICTIONS}}}[$__rate_interval])'
    grpc = 'rate(grpc_request_duration_seconds_bucket{job="$job",method="ModelInfer"}[$__rate_interval])'
    return f"histogram_quantile({share}, sum by (le) ({http} or {grpc}))"


HTTP_REQUESTS = f'rate(http_requests_total{{job="$job",{NO_PROBES}}}[$__rate_interval])'
REQUESTS = f'{HTTP_REQUESTS} or rate(grpc_requests_total{{job="$job",method!~"Server.*"}}[$__rate_interval])'

SERVICE = Board(
    name="service",
    title="Service",
    text="What the service is asked, how it answers, and whether it keeps its promises.",
    chosen_by="model_info",
    variables={},
    rows={
        "Now": (
            Panel(
                "Instances that answer",
                {"answer": 'sum(up{job="$job"})'},
                "Those that Prometheus reaches.",
                "number",
                limits=(0.5, 1),
                width=3,
            ),
            Panel(
                "Workers not ready",
                {"not ready": 'sum(service_workers{job="$job"} - service_workers_ready{job="$job"})'},
                "Processes that run and refuse predictions, since their records cannot be stored.",
                "number",
                limits=(2, 1),
                width=3,
            ),
            Panel("Requests", {"requests": f"sum({REQUESTS})"}, "Without probes.", "number", "reqps", width=3),
            Panel(
                "Failures",
                {
                    "failures": 'sum(job_slo:bad_requests:rate5m{job="$job",slo="availability"})'
                    ' / sum(job_slo:requests:rate5m{job="$job",slo="availability"})'
                },
                "Share of the answers of five minutes that are the service's fault.",
                "number",
                "percentunit",
                limits=(0.01, 0.001),
                width=3,
            ),
            Panel(
                "Slowest of a hundred",
                {"p99": _quantile(0.99)},
                "99 of 100 single predictions are answered within this time.",
                "number",
                "s",
                limits=(0.1, 0.05),
                width=3,
            ),
            Panel(
                "Model",
                {"{{version}}": 'count by (version) (model_info{job="$job"})'},
                "The versions that are served: several at once only while one replaces the other.",
                "names",
                width=5,
            ),
            Panel(
                "Age of the model",
                {"age": 'time() - max(model_created_timestamp_seconds{job="$job"})'},
                "Since it was trained.",
                "number",
                "s",
                limits=(90 * 86400, 60 * 86400),
                width=4,
            ),
        ),
        "Promises": (
            Panel(
                "Error budget that is left",
                {
                    "{{slo}}": '1 - avg_over_time(job_slo:bad_requests:rate5m{job="$job"}[30d])'
                    ' / avg_over_time(job_slo:requests:rate5m{job="$job"}[30d])'
                    " / on (slo) group_left () (1 - slo:objective)"
                },
                "Of 30 days, or as far back as Prometheus remembers. Below 0 the promise is broken.",
                "number",
                "percentunit",
                limits=(0, 0.25),
                width=6,
            ),
            Panel(
                "How fast it is used, over an hour",
                {"{{slo}}": 'job_slo:burn_rate:1h{job="$job"}'},
                "1 uses the budget up in 30 days; an alarm comes at 14.4.",
                limits=(14.4, 6),
                width=9,
            ),
            Panel(
                "Alerts",
                {"{{alertname}} ({{alertstate}})": ('count by (alertname, alertstate) (ALERTS{job="$job"})')},
                "Pending: the condition holds, though not for long enough. docs/runbook.md says what to do.",
                "states",
                width=9,
            ),
        ),
        "Requests": (
            Panel(
                "Requests by route",
                {
                    "{{route}}": f"sum by (route) ({HTTP_REQUESTS})",
                    "gRPC {{method}}": 'sum by (method) (rate(grpc_requests_total{job="$job"}[$__rate_interval]))',
                },
                "Probes, metrics and unknown paths are left out.",
                "stacked",
                "reqps",
            ),
            Panel(
                "Answers by status",
                {
                    "{{status}}": f"sum by (status) ({HTTP_REQUESTS})",
                    "gRPC {{code}}": 'sum by (code) (rate(grpc_requests_total{job="$job"}[$__rate_interval]))',
                },
                "422: the request breaks a rule. 429: too many at once. 5xx: the service's fault.",
                "stacked",
                "reqps",
            ),
            Panel(
                "Requests by instance",
                {"{{instance}}": f"sum by (instance) ({REQUESTS})"},
                "Whether the load is spread evenly.",
                "stacked",
                "reqps",
            ),
            Panel(
                "Time to answer a prediction",
                {"half": _quantile(0.5), "90 of 100": _quantile(0.9), "99 of 100": _quantile(0.99)},
                "Single predictions, over HTTP and gRPC.",
                unit="s",
                limits=(0.1, 0.05),
            ),
            Panel(
                "All times to answer",
                {
                    "{{le}}": (
                        "sum by (le) (increase(http_request_duration_seconds_bucket"
                        f'{{job="$job",{PREDICTIONS}}}[$__rate_interval]))'
                    )
                },
                "Two bands mean two kinds of requests, or two models.",
                "heatmap",
                "s",
            ),
            Panel(
                "Median time by route",
                {
                    "{{route}}": (
                        "histogram_quantile(0.5, sum by (le, route) (rate(http_request_duration_seconds_bucket"
                        f'{{job="$job",{NO_PROBES}}}[$__rate_interval])))'
                    )
                },
                "Batches take longer the more rows they have.",
                unit="s",
            ),
        ),
        "Load": (
            Panel(
                "Requests in work",
                {"{{instance}}": 'requests_in_work{job="$job"}'},
                "At the last second of each look. Autoscaling may go by it.",
            ),
            Panel(
                "Busiest moment, of the limit",
                {"{{instance}}": 'requests_in_work_peak{job="$job"} / requests_in_work_limit{job="$job"}'},
                "Of the busiest process of each instance. Beyond 1, requests are refused with 429.",
                unit="percentunit",
                limits=(1, 0.8),
            ),
            Panel(
                "Model served, by instance",
                {"{{instance}}: {{version}}": 'max by (instance, version) (model_info{job="$job"})'},
                "When a version came and went, and who stays behind.",
                "states",
            ),
        ),
    },
)
