"""Children of `goalfile dev`: restarted when they end, their last words kept, ended when asked."""

import asyncio
import os
import sys
from pathlib import Path

from runner.processes import Child


def child(folder: Path, code: str) -> Child:
    return Child("child", [sys.executable, "-u", "-c", code], os.environ, folder / "log")


async def test_a_child_that_ends_is_started_again_and_its_last_words_are_kept(tmp_path: Path) -> None:
    lives = tmp_path / "lives"
    code = f"""
import pathlib, sys, time
lives = pathlib.Path({str(lives)!r})
lives.open("a").write("x")
if len(lives.read_text()) == 1: sys.exit("the first life ends")
print("the second life", flush=True)
time.sleep(60)
"""
    one = child(tmp_path, code)
    told: asyncio.Queue[str] = asyncio.Queue()
    await one.start()
    keeping = asyncio.create_task(one.keep_alive(told.put_nowait))
    try:
        said = await asyncio.wait_for(told.get(), 30)
        assert said.startswith(f"child ended (exit 1) and was started again as process {one.pid}; see ")
        assert await one.says("the second life", 30)
        assert "the first life ends" in one.log.read_text()
    finally:
        await one.stop(5)
        await keeping
    assert not one.alive


async def test_a_child_that_does_not_listen_is_made_to_end(tmp_path: Path) -> None:
    deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf'); time.sleep(60)"
    one = child(tmp_path, deaf)
    await one.start()
    assert await one.says("deaf", 30)
    await one.stop(0.1)
    assert not one.alive


async def test_a_new_child_begins_a_new_log(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("from yesterday: ready")
    one = child(tmp_path, "pass")
    await one.start()
    assert not await one.says("ready", 30)
