"""The long-lived background process that computes, and the client that other programs talk to it with."""

from FewShotSAMLib.worker.client import WorkerClient, WorkerDiedError, WorkerError

__all__ = ["WorkerClient", "WorkerDiedError", "WorkerError"]
