"""Backfill: several dates, oldest first, a dry run unless told otherwise, the lake only unless told to publish."""
