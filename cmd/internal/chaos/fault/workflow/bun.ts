import { workflow, task, step, sleep } from "windmill-client";
import fs from "fs";

function note(n: number, place: number, item: number | string = "") {
  fs.appendFileSync("LOG", n + " " + place + " " + item + "\n");
  return place;
}

const apart = task(async (n: number, place: number) => note(n, place));

export const main = workflow(async (n: number) => {
  const branch = async (i: number) => [await step("x" + i, () => note(n, 10, i)), await step("y" + i, () => note(n, 11, i))];
  const got = [await step("a", () => note(n, 1)), await step("b", () => note(n, 2)), await apart(n, 3)];
  const both = await Promise.all([0, 1, 2].map(branch));
  await sleep(1);
  return [...got, ...both, await step("z", () => note(n, 1000))];
});
