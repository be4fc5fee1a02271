"""`medal doctor`: is all there that a night needs? A line for each part, with the mend.

Looks and never changes anything but a probe file of its own. Imports the heavy parts it asks about only inside a check.
"""
