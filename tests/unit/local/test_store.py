"""The resource store: one transaction per call, times, threads, what is there after a reopening."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest

from sagespark.local.store import Conflict, Missing, Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "deep" / "r.sqlite")


def test_put_get_and_list_keep_kind_region_name_and_order(store: Store) -> None:
    store.put("Model", "r1", "b", {"n": 1})
    store.put("Model", "r1", "a", {"n": 2})
    store.put("Model", "r2", "a", {"n": 3})
    store.put("Job", "r1", "a", {"n": 4})
    assert store.get("Model", "r1", "a") == {"n": 2}
    assert store.get("Model", "r3", "a") is None
    assert [d["n"] for d in store.list("Model", "r1")] == [1, 2]
    assert [(r, n) for r, n, _ in store.items("Model")] == [("r1", "b"), ("r1", "a"), ("r2", "a")]


def test_a_second_put_conflicts_unless_it_may_replace(store: Store) -> None:
    store.put("Model", "r", "a", {"n": 1})
    with pytest.raises(Conflict):
        store.put("Model", "r", "a", {"n": 2})
    assert store.get("Model", "r", "a") == {"n": 1}
    store.put("Model", "r", "a", {"n": 3}, unique=False)
    assert store.get("Model", "r", "a") == {"n": 3}


def test_times_come_back_as_times_and_texts_as_texts(store: Store) -> None:
    when = datetime(2026, 3, 4, 5, 6, 7, 123456, tzinfo=UTC)
    document = {"at": when, "rows": [{"at": when}], "text": "ü\ud83d", "map": {"$time": "1.5"}, "none": None}
    store.put("K", "r", "a", document)
    assert store.get("K", "r", "a") == document


def test_what_json_cannot_hold_is_refused_and_nothing_is_kept(store: Store) -> None:
    with pytest.raises(TypeError, match="set"):
        store.put("K", "r", "a", {"bad": {1}})
    assert store.get("K", "r", "a") is None


def test_an_update_that_raises_changes_nothing(store: Store) -> None:
    store.put("K", "r", "a", {"n": 1})

    def mutate(document: dict[str, int]) -> None:
        document["n"] = 2
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        store.update("K", "r", "a", mutate)
    assert store.get("K", "r", "a") == {"n": 1}
    with pytest.raises(Missing):
        store.update("K", "r", "b", mutate)


def test_a_transaction_is_taken_back_whole_and_may_be_nested(store: Store) -> None:
    def put_two_and_fail() -> None:
        with store.transaction():
            store.put("K", "r", "a", {})
            with store.transaction():
                store.put("K", "r", "b", {})
            raise KeyError("stop")

    with pytest.raises(KeyError):
        put_two_and_fail()
    assert store.list("K") == []
    # A refused put inside leaves the rest of the transaction as it is.
    with store.transaction():
        store.put("K", "r", "a", {})
        with pytest.raises(Conflict):
            store.put("K", "r", "a", {})
        store.put("K", "r", "b", {})
    assert len(store.list("K")) == 2


def test_updates_of_many_threads_are_all_counted(store: Store) -> None:
    store.put("K", "r", "a", {"n": 0})

    def add() -> None:
        for _ in range(50):
            store.update("K", "r", "a", lambda d: d.update(n=d["n"] + 1))

    threads = [threading.Thread(target=add) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.get("K", "r", "a") == {"n": 400}


def test_another_process_may_read_and_a_reopened_store_has_everything(store: Store, tmp_path: Path) -> None:
    store.put("K", "r", "a", {"n": 1})
    other = Store(tmp_path / "deep" / "r.sqlite")
    assert other.get("K", "r", "a") == {"n": 1}
    store.close()
    other.close()
    assert store.get("K", "r", "a") == {"n": 1}
    assert store.delete("K", "r", "a")
    assert not store.delete("K", "r", "a")
    store.close()
