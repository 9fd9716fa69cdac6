from wmill import workflow, task, step, sleep
import asyncio

def note(n, place, item=""):
    with open("LOG", "a") as f:
        f.write(f"{n} {place} {item}\n")
    return place

@task
async def apart(n: int, place: int):
    return note(n, place)

@workflow
async def main(n: int):
    async def branch(i):
        return [await step(f"x{i}", lambda: note(n, 10, i)), await step(f"y{i}", lambda: note(n, 11, i))]
    got = [await step("a", lambda: note(n, 1)), await step("b", lambda: note(n, 2)), await apart(n, 3)]
    got += await asyncio.gather(*map(branch, range(3)))
    await sleep(1)
    return got + [await step("z", lambda: note(n, 1000))]
