"""The gate: aggregates of a run's tables, expectation suites over them, one verdict.

Nothing here mends data or publishes; Great Expectations is imported inside functions (it takes seconds).
"""
