"""Learns from exemplars, predicts volumes, and says how sure it is.

Public face: `jobs.JOBS`, what the background process can be asked to do, and `context.JobContext`, through which a job
speaks. Nothing is imported here, so that the context comes without torch.
"""
