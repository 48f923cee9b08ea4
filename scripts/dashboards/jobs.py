"""The dashboard of jobs: what waits, what the workers do, and what has failed."""

from dashboards.building import Board, Panel

WORKER = 'job=~"$worker"'


def _run_quantile(share: float) -> str:
    return f"histogram_quantile({share}, sum by (le) (rate(job_run_seconds_bucket{{{WORKER}}}[$__rate_interval])))"


JOBS = Board(
    name="jobs",
    title="Jobs",
    text="What waits for the workers, how fast they are, and what has failed.",
    chosen_by="jobs_chunks",
    variables={"worker": "label_values(job_chunk_attempts_total, job)"},
    rows={
        "Now": (
            Panel(
                "Waiting",
                {"chunks": 'max(jobs_chunks{job="$job",state="queued"})'},
                "Chunks of jobs that no worker has begun. KEDA scales workers by the queue of the broker.",
                "number",
                width=4,
            ),
            Panel(
                "Being worked on",
                {"chunks": 'max(jobs_chunks{job="$job",state="running"})'},
                "None, though some wait: see JobsStalled in docs/runbook.md.",
                "number",
                width=4,
            ),
            Panel(
                "Longest wait",
                {"age": 'max(jobs_oldest_queued_seconds{job="$job"})'},
                "Of a job that no worker has begun.",
                "number",
                "s",
                limits=(300, 60),
                width=4,
            ),
            Panel(
                "Failed jobs",
                {"by fault of the {{fault}}": 'max by (fault) (jobs_dead_letters{job="$job"})'},
                "`ml-service jobs dead list` says why. The caller's fault: he is told by the job.",
                "number",
                width=8,
            ),
            Panel(
                "Database of jobs",
                {"answers": 'min(jobs_database_up{job="$job"})'},
                "1 while it answers. Without it jobs are answered 503, and predictions as ever.",
                "number",
                limits=(0.5, 1),
                width=4,
            ),
        ),
        "Queue": (
            Panel(
                "Unfinished chunks",
                {"{{state}}": 'max by (state) (jobs_chunks{job="$job"})'},
                "A queue that only grows needs more workers.",
                "stacked",
            ),
            Panel(
                "Longest wait",
                {"age": 'max(jobs_oldest_queued_seconds{job="$job"})'},
                "An alarm comes at five minutes.",
                unit="s",
                limits=(300, 60),
            ),
            Panel(
                "Jobs by state",
                {"{{state}}": 'max by (state) (jobs_in_state{job="$job"})'},
                "Until they are deleted, after `jobs.result_days`.",
            ),
        ),
        "Workers": (
            Panel(
                "Rows",
                {
                    "finished": f"sum(rate(job_rows_total{{{WORKER}}}[$__rate_interval]))",
                    "answered by a problem": f"sum(rate(job_rows_failed_total{{{WORKER}}}[$__rate_interval]))",
                    "without a record": f"sum(rate(job_rows_unlogged_total{{{WORKER}}}[$__rate_interval]))",
                },
                "What the workers do.",
                unit="cps",
            ),
            Panel(
                "Time of a run",
                {"half": _run_quantile(0.5), "99 of 100": _run_quantile(0.99)},
                "Of a chunk, or of small jobs that share a call.",
                unit="s",
            ),
            Panel(
                "Runs by outcome",
                {"{{outcome}}": f"sum by (outcome) (rate(job_run_seconds_count{{{WORKER}}}[$__rate_interval]))"},
                "done, failed, retried, stopped, or returned to the queue.",
                "stacked",
                "cps",
            ),
            Panel(
                "Chunks begun anew",
                {
                    "failed or too slow": f"sum(increase(job_chunk_retries_total{{{WORKER}}}[$__rate_interval]))",
                    "given up": f"sum(increase(job_chunks_given_up_total{{{WORKER}}}[$__rate_interval]))",
                    "unfinished, begun before": 'max(jobs_retries{job="$job"})',
                },
                "Workers that die, exceed their time or fail. Given up: the job has failed.",
            ),
            Panel(
                "Chunks begun",
                {"{{instance}}": f"sum by (instance) (rate(job_chunk_attempts_total{{{WORKER}}}[$__rate_interval]))"},
                "Whether the work is spread over all workers.",
                "stacked",
                "cps",
            ),
            Panel(
                "Tidied up",
                {"{{what}}": f"sum by (what) (increase(jobs_swept_total{{{WORKER}}}[$__rate_interval]))"},
                "Messages that were sent again, and what was deleted.",
            ),
        ),
    },
)
