"""The report of a run: one self-contained page, a pure function of what the lake holds about the run.

Reads everything, changes nothing but `runs/<run_id>/report.html`; no clock, no network, no model.
"""
