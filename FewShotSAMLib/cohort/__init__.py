"""Many volumes: a plan of rows, run by a pool of background processes or by Ray, and a table that says what to look at.

No torch; Ray is imported by `ray_pool` alone.
"""
