"""The suite ``/ml_suite`` that every ecFlow server with other machines has: it watches them for all other suites.

::

    /ml_suite/HOST             limit `open`, meter `minutes`, labels `state` and `behind`, event `closed`
    /ml_suite/HOST/login       whether commands run at the host; opens and closes the limit
    /ml_suite/HOST/relay       says to the server what jobs without a route left in their spool
    /ml_suite/HOST/sweep       what became of jobs that say nothing
    /ml_suite/HOST/courier     brings results beside the server
    /ml_suite/HOST/transfers   carries datasets that the catalogue's queue wants there
    /ml_suite/admin/even, odd  start again what died

A task that needs a host has ``inlimit /ml_suite/HOST:open``: while nobody is logged in it stays queued, and nothing
turns red.
"""

from __future__ import annotations

SUITE = "ml_suite"
"""Name of the suite, and of its folder below HOME/suites."""

OPEN = 1000
"""Value of the limit of a host that can be reached: more than a site runs of one person. ecFlowUI draws each."""
