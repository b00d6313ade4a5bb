import asyncio, json
from datetime import UTC, datetime, timedelta
import pytest
from runner.people import open_questions, decide, decision_on
from schemas.run import Decision
from schemas.task import Task, Approval
from tests.temporal.doubles import *
from runner.ports import Missing
pytestmark = pytest.mark.temporal
async def test_probe(client, unique, temporal_address, goalfile, tmp_path):
    env = {"TEMPORAL_ADDRESS": temporal_address, "GOALFILE_QUEUE": unique, "LOGNAME": "ada"}
    async def cmd(*w, **more):
        t = asyncio.get_running_loop().time()
        s = await asyncio.to_thread(goalfile, *w, env=env | more)
        print("$", [x[:60] for x in w], s.returncode, f"{asyncio.get_running_loop().time()-t:.2f}s", "\n", s.stdout[:1500], "\n--", s.stderr[-1500:])
        return s
    foul = {"path": "a\u202eb\x1b[2J\x1b]0;x\x07", "text": "one\ntwo\r\nthree\u2028four", "zzz": "x" * 100_000}
    model = Thinker(Reply(tuple({"type":"tool_use","id":f"c{i}","name":"DESTRUCTIVE","input":a} for i,a in enumerate([foul,{"n":1}])), "tool_use", Usage()), says("ok"), says("ok2"))
    async with working(client, unique, model, Box()):
        h = await begin(client, unique)
        a, b = await questions_of(client, h, f"t-{unique}", 2)
        await cmd("approve", "")
        await cmd("effects", "--since", "999999w")
        await cmd("effects", "--since", "0s")
        await cmd("effects", "--task", "a' OR 'b\x1b[2J")
        await cmd("approvals", "--task", "a' OR 'b")
        await cmd("approve", f"t-{unique}")
        await cmd("approve", a.waiting.id[:10])
        await cmd("approve", h.id)
        a, b = (a, b) if "path" in a.waiting.arguments else (b, a)
        await decide(client, b, Decision(id=b.waiting.id, fingerprint=b.waiting.fingerprint, approve=True, by="\x1b[2Jeve\u202e\nerror: all is well"), 10)
        await cmd("approve", b.waiting.id, FORCE_COLOR="1")
        s = await cmd("approvals")
        s = await cmd("approvals", "--json")
        s = await cmd("approve", a.waiting.id, "--note", "\udcff bad")
        s = await cmd("approve", a.waiting.id, "--note", "n"*100_000)
        print(await h.result())
        await cmd("logs", h.id)
        await cmd("effects", "--run", h.id[:-2])
        await cmd("effects", "--run", h.id)
        await cmd("effects", "--run", h.id, "--unknown")
        await cmd("effects", "--run", "nope")
        await cmd("recheck", h.id)
        await cmd("retry", h.id, "--json")
        await cmd("retry", "nope\x1b[2J", FORCE_COLOR="1")
        await cmd("effects", "--run", "nope\x1b[2J")
    box = Box(); box.unconnected = (Missing("box", "https://x/1"),)
    async with working(client, unique+"b", Thinker(), box):
        h1 = await begin(client, unique+"b")
        h2 = await begin(client, unique+"b")
        await questions_of(client, h2, f"t-{unique}b", 2)
        await cmd("approve", "box")
        await cmd("approve", h1.id)
        await cmd("recheck", h1.id[:-1])
        await cmd("retry", h1.id)
        await cmd("approvals", "--task", f"t-{unique}b")
