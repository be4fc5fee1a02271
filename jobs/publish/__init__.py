"""Publishing: the PDP store (interface and two implementations) and the stage that fills and announces a release.

No reading of pages here (that is `jobs.pdp`), and no computing of lists.
"""
