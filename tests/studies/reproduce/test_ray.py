"""A Ray cluster on this machine: the same tables as with processes, and a worker killed in the middle is replaced."""

import os
import re
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from poolscope.studies.reproduce.execute import execute, missing
from poolscope.studies.reproduce.executors import Executor, make_executor
from poolscope.studies.reproduce.job import Job
from poolscope.studies.reproduce.store import Store
from studies.reproduce.light_work import die
from studies.reproduce.made_up_work import attempts, job
from studies.reproduce.runner import fig7
from studies.reproduce.runners import is_alive, runners, same_tables, soon


def test_without_ray_one_line_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ImportError, match=r"^the executor ray needs Ray: pip install 'poolscope\[ray\]'; "):
        make_executor("ray", tmp_path)
    with pytest.raises(ValueError, match=r"^cores must be 1 or more; got 0$"):
        make_executor("ray", tmp_path, cores=0)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of figure 7's runs, done by local processes."""
    pytest.importorskip("sklearn", reason="the digits come with scikit-learn, an extra")
    folder = tmp_path_factory.mktemp("whole")
    with runners(tmp_path_factory.mktemp("runners") / "errors") as runner:
        runner.start("fig7", folder)
        assert runner.ended() == 0
    return folder


def make(folder: Path) -> Executor:
    """Return the executor, on a cluster of two CPUs of its own."""
    pytest.importorskip("ray", reason="Ray is an extra")
    return make_executor("ray", folder, cores=2)


def begun(store: Path, name: str) -> int | None:
    """Return the process that began the last attempt of a run, if any did."""
    log = store / "runs" / name / "log.txt"
    found = re.findall(r"begun by process (\d+)", log.read_text() if log.is_file() else "")
    return int(found[-1]) if found else None


@pytest.mark.slow
def test_a_worker_killed_in_the_middle_is_replaced_and_the_tables_are_those_of_local(
    undisturbed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    jobs, store, said = fig7(), Store(tmp_path), []
    killed: list[str] = []

    def kill() -> None:
        """Kill one worker while it trains, and one while it measures."""
        for work in ("simple-", "simple_measured-"):
            names = [each.key for each in jobs if each.key.startswith(work)]
            soon(lambda: any(begun(tmp_path, name) and not store.is_done(name) for name in names), within=300)  # noqa: B023
            name = next(each for each in names if begun(tmp_path, each) and not store.is_done(each))
            time.sleep(0.3)
            process = begun(tmp_path, name)
            assert process is not None
            os.kill(process, signal.SIGKILL)
            killed.append(name)

    began = time.monotonic()
    killer = threading.Thread(target=kill)
    executor = make(tmp_path)
    assert executor.slots == 2
    killer.start()
    failures = execute(missing(jobs, store), store, executor, seconds=lambda each: 1.0, say=said.append)
    killer.join()
    assert not failures
    assert len(killed) == 2
    numbers = attempts(tmp_path)
    assert all(numbers[name] == 2 for name in killed), "each was tried again"
    assert set(attempts(tmp_path, "ended").values()) == {1}, "none twice"
    same_tables(tmp_path, undisturbed)
    assert not list((tmp_path / "locks").glob("ray-*"))
    with capsys.disabled():
        print(f"\n{time.monotonic() - began:.0f} s with Ray, killed: {', '.join(killed)}")


@pytest.mark.slow
def test_what_cannot_be_done_is_said(tmp_path: Path) -> None:
    """No GPU; an error of the work, which is not tried again."""
    on_gpu, bad = job(1, device="cuda"), Job("nothing", 1, {})
    store = Store(tmp_path)
    failures = execute(missing([on_gpu, bad], store), store, make(tmp_path), seconds=lambda each: 1.0)
    reasons = {each.key: each.reason for each in failures}
    assert reasons == {
        on_gpu.key: "a job on cuda needs a node with a GPU; the cluster has none",
        bad.key: "KeyError: 'nothing'",
    }
    assert attempts(tmp_path) == {bad.key: 1}


@pytest.mark.slow
def test_a_worker_that_dies_at_every_try_fails_its_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from poolscope.studies.reproduce.executors import on_ray

    monkeypatch.setattr(on_ray, "_perform", die)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))  # where the cluster's processes find it
    store = Store(tmp_path)
    (failure,) = execute(missing([job(1)], store), store, make(tmp_path), seconds=lambda each: 1.0)
    assert failure.key == job(1).key
    assert failure.reason.startswith("its worker died, 4 times: WorkerCrashedError: ")
    assert "\n" not in failure.reason


@pytest.mark.slow
def test_a_node_without_this_code_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from poolscope.studies.reproduce.executors import on_ray

    monkeypatch.setattr(on_ray, "_perform", die)  # of a module that the cluster's processes do not find
    monkeypatch.delenv("PYTHONPATH", raising=False)
    store = Store(tmp_path)
    (failure,) = execute(missing([job(1)], store), store, make(tmp_path), seconds=lambda each: 1.0)
    assert failure.reason.startswith("its node cannot do it: ")
    assert "No module named 'studies'" in failure.reason


@pytest.mark.slow
def test_a_node_that_does_not_see_the_store_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from poolscope.studies.reproduce.executors.on_ray import OnRay

    ray = pytest.importorskip("ray", reason="Ray is an extra")
    Store(tmp_path)
    monkeypatch.setattr(Path, "touch", lambda path: None)  # what is not there no node sees
    with pytest.raises(ValueError, match=rf"must reach the store.*got {tmp_path} and node .*: it does not see the fol"):
        OnRay(tmp_path, cores=1)
    assert not ray.is_initialized()


@pytest.mark.slow
def test_a_killed_runner_leaves_nothing_at_work(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    pytest.importorskip("ray", reason="Ray is an extra")
    with runners(tmp_path_factory.mktemp("runners") / "errors") as runner:
        child = runner.start("ray", tmp_path)
        keys = [each.key for each in fig7()]
        assert soon(lambda: any(begun(tmp_path, key) for key in keys), within=60)
        processes = {begun(tmp_path, key) for key in keys} - {None}
        os.kill(child, signal.SIGKILL)
        assert runner.ended() == -signal.SIGKILL
        assert soon(lambda: not any(is_alive(each) for each in processes if each), within=30)
