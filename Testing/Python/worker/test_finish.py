"""The message that the current answer will do."""

from worker.conftest import next_event

from FewShotSAMLib.worker import WorkerClient


def test_a_job_ends_with_its_answer_when_that_is_enough(client: WorkerClient) -> None:
    client.finish("never existed")
    running, waiting = client.request("until_enough"), client.request("until_enough")
    next_event(client, "progress")
    client.finish(running)
    assert client.wait(running)["steps"] > 0
    client.finish(running)
    next_event(client, "progress")
    client.finish(waiting)
    assert client.wait(waiting)["steps"] > 0, "the one before said nothing of this one"
