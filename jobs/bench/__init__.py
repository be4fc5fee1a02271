"""The commands `medal bench …`: figures of speed, each with what it was measured against.

No measuring here that a test of results depends on; torch is imported inside the commands only.
"""
