"""The long-lived background process that runs jobs, and the client with which other programs talk to it."""

from FewShotSAMLib.worker.client import WorkerClient, WorkerDiedError, WorkerError

__all__ = ["WorkerClient", "WorkerDiedError", "WorkerError"]
