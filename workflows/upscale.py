"""One image in, one or several out: the story of a job, from top to bottom.

(being written)

Public surface that others rely on:

    prepare(job) -> Prepared        everything decided; raises, or can be shown as a dry run
    upscale(job, on_event=None) -> Report

Events (frozen dataclasses) given to `on_event` in the caller's thread:
    Started(plan: Plan, tiles: int, resumed: int, workers: int, threads: int)
    Progress(done: int, tiles: int, resumed: int, megapixels: float, seconds: float)   # fine Mpx x bands made in this run
    Publishing(target: str)
    Published(target: str, bytes: int)
"""
