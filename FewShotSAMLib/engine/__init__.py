"""Learns from exemplars, predicts volumes and estimates its own confidence.

Public interface: `jobs.JOBS`, the jobs of the background process, and `context.JobContext`, through which a job
communicates. Nothing is imported here, so that the context can be imported without torch.
"""
