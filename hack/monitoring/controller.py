"""The operator's dashboard."""

from __future__ import annotations

from typing import Final

from monitoring.panels import Dashboard, Query, Row, layers, panel
from monitoring.queries import OPERATOR

WORKS: Final = Row(
    "Does it work?",
    (
        panel(
            "Who leads?",
            Query("rlvr_operator_leader{$operator}", "{{instance}}"),
            unit="none",
            description="1 for the one replica that acts.  Another takes over within 15 seconds.",
        ),
        layers(
            "What phase are jobs in?",
            OPERATOR.newest("rlvr_operator_jobs", "phase"),
            unit="none",
            description="RLVRJobs that the operator watches.",
        ),
        panel(
            "Does it hear of changes?",
            OPERATOR.newest("rlvr_operator_watch_age_seconds", "resource"),
            unit="s",
            description="Seconds since each watch was last heard.  A watch ends after 40 seconds and begins anew; "
            "above 75 the replica is not ready.",
        ),
    ),
)
SPEED: Final = Row(
    "Does it keep up?",
    (
        panel(
            "How soon is an event looked at?",
            OPERATOR.quantiles("rlvr_operator_event_to_reconcile_seconds", percents=(50, 99)),
            unit="s",
            description="From the first event about a job to the look at it.  A second is normal: a burst of events "
            "is one look.",
        ),
        panel(
            "How long does a look take?",
            OPERATOR.quantiles("rlvr_operator_reconcile_seconds", percents=(50, 99)),
            unit="s",
            description="One look at one job, its writes included.",
        ),
        panel(
            "Is there a backlog?",
            OPERATOR.newest("rlvr_operator_queue_keys", words="jobs that wait"),
            unit="none",
            description="Jobs that could be looked at now and wait for a worker.",
        ),
    ),
)
TROUBLE: Final = Row(
    "What troubles it?",
    (
        panel(
            "Which looks fail?",
            OPERATOR.rate("rlvr_operator_reconcile_errors_total", "kind"),
            unit="none",
            description="Looks a second that ended in an error, each tried again.  Conflict, Missing and "
            "LeadershipLost are part of normal life.",
        ),
        panel(
            "What does the API server refuse?",
            OPERATOR.rate("rlvr_operator_refusals_total", "code"),
            unit="none",
            description="Objects a second: 403 is a quota, a policy or a missing right; 409 somebody else's object; "
            "422 an object that is not valid.",
        ),
        panel(
            "How does the API server answer?",
            OPERATOR.rate("rlvr_operator_api_requests_total", "code"),
            unit="none",
            description="Requests a second by code; 0 is no answer.",
        ),
        panel(
            "What does it write?",
            OPERATOR.rate("rlvr_operator_api_requests_total", "resource", matchers='verb!~"GET|WATCH"'),
            unit="none",
            description="Requests a second that change something, by resource.  At rest it is the Lease alone.",
        ),
        panel(
            "Do coordinators tell how far they are?",
            OPERATOR.rate("rlvr_operator_progress_requests_total", "outcome"),
            unit="none",
            description="Questions a second, one every 15 to 30 seconds and job.  `unknown` is no answer.",
        ),
    ),
)
OPERATOR_DASHBOARD: Final = Dashboard(
    name="operator",
    title="RLVR / Operator",
    description="Does the operator work, does it keep up, and what troubles it?",
    rows=(WORKS, SPEED, TROUBLE),
    about_jobs=False,
)
