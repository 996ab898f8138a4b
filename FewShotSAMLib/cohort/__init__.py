"""Many volumes: a plan of rows, run by a pool of background processes or by Ray, and a table of what to review first.

No torch; only `ray_pool` imports Ray.
"""
